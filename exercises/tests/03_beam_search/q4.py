"""Nucleus sampling: the fewest of the likeliest tokens that reach p.

They are made a distribution again.
"""

import torch
from otter.test_files import test_case
from torch import Tensor

from attend.grading import expect_close, expect_tensor, show

OK_FORMAT = False
name = "q4"
points = None


def kept(nucleus, probs: list[float], p: float) -> Tensor:
    """What is kept of one distribution."""
    got = expect_tensor(nucleus(torch.tensor([probs]), p), name="the result")
    return expect_tensor(
        got, (1, len(probs)), axes="batch, vocab", name="the result"
    )[0]


def line(
    probs: list[float], p: float, expected: list[float], got: Tensor
) -> str:
    """The distribution, what is expected of it, and what came."""
    return (
        f"{show(probs)}, p {p}:\n"
        f"  expected {show(expected)}\n  got      {show(got)}"
    )


@test_case(
    points=1,
    failure_message=(
        "Nothing is kept where no single token has probability p. Did you "
        "compare each probability with p? It is their sum, the likeliest "
        "first, that has to reach it."
    ),
)
def test_the_sum_reaches_p(nucleus):
    probs = [0.24, 0.22, 0.2, 0.18, 0.16]
    got = kept(nucleus, probs, 0.5)
    expected = [0.3636, 0.3333, 0.303, 0.0, 0.0]
    assert got.nan_to_num().sum() > 0, line(probs, 0.5, expected, got)


@test_case(
    points=1,
    failure_message=(
        "The most likely token is not in your nucleus, less likely ones are. "
        "`sort` puts the smallest first, unless you say `descending=True`."
    ),
)
def test_the_likeliest_first(nucleus):
    probs = [0.24, 0.22, 0.2, 0.18, 0.16]
    got = kept(nucleus, probs, 0.5)
    expected = [0.3636, 0.3333, 0.303, 0.0, 0.0]
    assert got[0] != 0 or not got.any(), line(probs, 0.5, expected, got)


@test_case(
    points=1,
    failure_message=(
        "The token that crosses p is missing. Without it the nucleus does "
        "not reach p: keep a token if those *before* it sum to less than p."
    ),
)
def test_the_one_that_crosses(nucleus):
    probs = [0.5, 0.3, 0.2]
    got = kept(nucleus, probs, 0.6)
    assert got[1] != 0, line(probs, 0.6, [0.625, 0.375, 0.0], got)


@test_case(
    points=1,
    failure_message=(
        "Where the first token alone is above p, nothing is left to draw "
        "from. It crosses p, so it stays: the sum of those before it is 0. "
        "Did you shift a mask, and leave its first place as it was?"
    ),
)
def test_the_first_always_stays(nucleus):
    probs = [0.7, 0.2, 0.1]
    got = kept(nucleus, probs, 0.5)
    assert got[0] > 0, line(probs, 0.5, [1.0, 0.0, 0.0], got)


@test_case(
    points=1,
    failure_message=(
        "You keep one token too many: without it the sum was exactly p "
        "already. Is it `<=` where it should be `<`, or `>` where it should "
        "be `>=`?"
    ),
)
def test_no_more_than_needed(nucleus):
    probs = [0.5, 0.375, 0.125]
    got = kept(nucleus, probs, 0.5)
    assert got[1] == 0, line(probs, 0.5, [1.0, 0.0, 0.0], got)


@test_case(
    points=1,
    failure_message=(
        "What is left does not sum to one. Divide it by its sum: a "
        "distribution to draw from must have all of the probability."
    ),
)
def test_sums_to_one(nucleus):
    probs = [0.5, 0.3, 0.2]
    got = kept(nucleus, probs, 0.6)
    lacks = got.isfinite().all() and 0 < got.sum() < 0.99
    assert not lacks, line(probs, 0.6, [0.625, 0.375, 0.0], got)


@test_case(
    points=1,
    failure_message=(
        "Among the tokens kept, the proportions have changed: 0.5 and 0.3 "
        "stay 5 to 3. Did you take a softmax of probabilities? It wants "
        "their logs. Here a division will do."
    ),
)
def test_proportions_stay(nucleus):
    probs = [0.5, 0.3, 0.2]
    got = kept(nucleus, probs, 0.6)
    assert torch.isclose(got[0] / got[1], torch.tensor(5 / 3), rtol=1e-3), line(
        probs, 0.6, [0.625, 0.375, 0.0], got
    )


@test_case(
    points=1,
    failure_message=(
        "You go through the tokens in the order of the vocabulary, and stop "
        "when p is reached. The most likely have to come first: sort."
    ),
)
def test_sorted(nucleus):
    probs = [0.2, 0.5, 0.3]
    got = kept(nucleus, probs, 0.6)
    assert not torch.isclose(got[1], torch.tensor(5 / 7), rtol=1e-3), line(
        probs, 0.6, [0.0, 0.625, 0.375], got
    )


@test_case(
    points=1,
    failure_message=(
        "The probabilities belong to the wrong tokens. Did you return them "
        "in the order of the sort, or take them back with `gather`? Each has "
        "to go to the place that it came from: `scatter(-1, order, …)`."
    ),
)
def test_back_in_their_places(nucleus):
    probs = [0.2, 0.5, 0.3]
    got = kept(nucleus, probs, 0.6)
    expect_close(
        got, torch.tensor([0.0, 0.625, 0.375]), name="[0.2, 0.5, 0.3], p 0.6"
    )


@test_case(
    points=1,
    failure_message=(
        "One distribution is right, two together are not. Each row has a "
        "nucleus of its own, of its own size: sum along the vocabulary, "
        "`dim=-1`."
    ),
)
def test_each_row_its_own(nucleus):
    probs = torch.tensor(
        [[0.2, 0.5, 0.3], [0.9, 0.06, 0.04], [0.3, 0.38, 0.32]]
    )
    expected = torch.tensor(
        [[0.0, 0.625, 0.375], [1.0, 0.0, 0.0], [0.0, 0.38 / 0.7, 0.32 / 0.7]]
    )
    name = "[0.2, 0.5, 0.3], [0.9, 0.06, 0.04] and [0.3, 0.38, 0.32], p 0.6"
    expect_close(nucleus(probs, 0.6), expected, axes="batch, vocab", name=name)


@test_case(
    points=1,
    failure_message=(
        "Your function changed the probabilities that it was given. Did you "
        "write into `probs`? The caller still needs the model's own: make a "
        "new tensor."
    ),
)
def test_leaves_the_probabilities_alone(nucleus):
    probs = torch.tensor([[0.2, 0.5, 0.3]])
    expect_tensor(nucleus(probs, 0.6), name="the result")
    expect_close(
        probs, torch.tensor([[0.2, 0.5, 0.3]]), name="probs after the call"
    )
