"""Alignment error rate over a whole batch: one link an output, no padding."""

import torch
from otter.test_files import test_case
from torch import Tensor

from attend.grading import expect_close

OK_FORMAT = False
name = "q6"
points = None


def table(*rows: list[float]) -> Tensor:
    """One sequence."""
    return torch.tensor([rows])


def links(*rows: list[int]) -> Tensor:
    """One sequence of gold links."""
    return torch.tensor([rows]) == 1


def all_real(weights: Tensor) -> Tensor:
    """No output is padding."""
    return torch.ones(weights.shape[:2], dtype=torch.bool)


@test_case(
    points=1,
    failure_message=(
        "A perfect alignment must have error 0. Did you return the "
        "agreement? The error is one minus it."
    ),
)
def test_perfect_alignment(alignment_error):
    weights, gold = torch.eye(3)[None], torch.eye(3)[None] == 1
    got = alignment_error(weights, gold, gold.clone(), all_real(weights))
    expect_close(got, 0.0, name="all weight on the right inputs")


@test_case(
    points=1,
    failure_message=(
        "The largest weight of an output counts as one whole link, however "
        "small it is. Did you use a threshold, or add up the weights "
        "themselves?"
    ),
)
def test_small_weights_are_links(alignment_error):
    weights = table([0.4, 0.35, 0.25], [0.25, 0.4, 0.35], [0.35, 0.25, 0.4])
    gold = torch.eye(3)[None] == 1
    got = alignment_error(weights, gold, gold.clone(), all_real(weights))
    expect_close(got, 0.0, name="0.4 on each right input")


@test_case(
    points=1,
    failure_message=(
        "Each output has one link, and an input may have many or none. Did "
        "you take the argmax over the outputs? It goes over the inputs, the "
        "last axis."
    ),
)
def test_argmax_over_the_inputs(alignment_error):
    weights, gold = table([0.6, 0.4], [0.7, 0.3]), links([1, 0], [1, 0])
    got = alignment_error(weights, gold, gold.clone(), all_real(weights))
    expect_close(
        got,
        0.0,
        name="weights [[0.6, 0.4], [0.7, 0.3]], both outputs belong to input 0",
    )


@test_case(
    points=1,
    failure_message=(
        "An output that is only padding changed the error. Leave out the "
        "links of outputs that are not real: they count in no sum."
    ),
)
def test_padding_does_not_count(alignment_error):
    weights, gold = table([0.9, 0.1], [0.9, 0.1]), links([1, 0], [0, 0])
    got = alignment_error(
        weights, gold, gold.clone(), torch.tensor([[True, False]])
    )
    expect_close(
        got, 0.0, name="one real output, right, and one that is padding"
    )


@test_case(
    points=1,
    failure_message=(
        "A link that is possible but not sure must not count as an error. "
        "Did you compare with `sure` only? The other half of the sum "
        "compares with `possible`."
    ),
)
def test_possible_link_is_no_error(alignment_error):
    weights = table([0.8, 0.2], [0.3, 0.7])
    got = alignment_error(
        weights, links([1, 0], [0, 0]), links([1, 0], [0, 1]), all_real(weights)
    )
    expect_close(
        got, 0.0, name="one sure link and one possible link, both found"
    )


@test_case(
    points=1,
    failure_message=(
        "A sure link that nobody found must count as an error. Is the number "
        "of sure links missing from your denominator, |A| + |S|?"
    ),
)
def test_missing_link_is_an_error(alignment_error):
    weights, gold = table([0.8, 0.2]), links([1, 1])
    got = alignment_error(weights, gold, gold.clone(), all_real(weights))
    expect_close(
        got, 1 / 3, name="two sure links, one found: 1 − (1 + 1) / (1 + 2)"
    )


@test_case(
    points=1,
    failure_message=(
        "A short sentence counts as much as a long one. Did you take the "
        "mean of the sentences' errors? Count the links of the whole batch "
        "first, then divide once."
    ),
)
def test_counts_over_the_batch(alignment_error):
    gold = torch.cat(
        [links([1, 0], [0, 0], [0, 0]), links([1, 0], [1, 0], [1, 0])]
    )
    weights = torch.tensor([[[1.0, 0.0]] * 3, [[0.0, 1.0]] * 3])
    real = torch.tensor([[True, False, False], [True, True, True]])
    got = alignment_error(weights, gold, gold.clone(), real)
    expect_close(
        got,
        0.75,
        name="1 output, right, and 3 outputs, wrong: 1 − (1 + 1) / (4 + 4)",
    )


@test_case(
    points=1,
    failure_message=(
        "Small examples are right, a larger one is not. Count by hand: one "
        "link for each real output, then the four numbers of the formula."
    ),
)
def test_larger_example(alignment_error):
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(3, 5, 7, generator=generator).softmax(dim=-1)
    real = torch.arange(5) < torch.tensor([[5], [3], [2]])
    possible = (torch.rand(3, 5, 7, generator=generator) < 0.5) & real[
        ..., None
    ]
    sure = (torch.rand(3, 5, 7, generator=generator) < 0.3) & possible

    found = {
        (b, i, int(weights[b, i].argmax())) for b, i in real.nonzero().tolist()
    }
    sure_links, possible_links = (
        set(map(tuple, m.nonzero().tolist())) for m in (sure, possible)
    )
    agree = len(found & sure_links) + len(found & possible_links)
    expected = 1 - agree / (len(found) + len(sure_links))
    got = alignment_error(weights, sure, possible, real)
    expect_close(
        got,
        expected,
        name=f"{len(found)} real outputs, {len(sure_links)} sure links",
    )
