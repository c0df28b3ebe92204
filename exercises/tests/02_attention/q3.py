"""Masked softmax: nothing for masked keys, all for the others, and no NaN."""

import torch
from otter.test_files import test_case
from torch import Tensor
from torch.nn import functional as F

from attend.grading import expect_close, expect_tensor, show

OK_FORMAT = False
name = "q3"
points = None


def last_masked() -> tuple[Tensor, Tensor]:
    """One query, three keys, the last of them masked."""
    return torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor(
        [[[True, True, False]]]
    )


def line(got: Tensor) -> str:
    """What is expected of `last_masked`, and what came."""
    return (
        "scores [1, 2, 3], mask [True, True, False]: "
        f"expected [0.2689, 0.7311, 0], got {show(got.flatten())}"
    )


@test_case(
    points=1,
    failure_message=(
        "Where nothing is masked, the weights of a query do not sum to one "
        "over its keys. Did the softmax go along another axis? The keys are "
        "the last one."
    ),
)
def test_softmax_over_the_keys(masked_softmax):
    scores = torch.tensor([[[0.0, 1.0, 2.0], [3.0, 3.0, 3.0]]])
    got = expect_tensor(
        masked_softmax(scores, torch.ones(1, 2, 3, dtype=torch.bool)),
        (1, 2, 3),
        axes="batch, query, key",
        name="weights",
    )
    sums = got.sum(dim=-1)
    # 0: wrong mask
    elsewhere = (sums > 0) & ~torch.isclose(sums, torch.ones(1, 2), atol=1e-3)
    assert not elsewhere.any(), (
        "scores [0, 1, 2] and [3, 3, 3]: expected sums of 1 and 1, got "
        f"{show(sums.flatten())}"
    )


@test_case(
    points=1,
    failure_message=(
        "All the weight is on the key that the mask forbids. Did you turn "
        "the mask round? True means: may attend."
    ),
)
def test_mask_the_right_way_round(masked_softmax):
    got = expect_tensor(
        masked_softmax(*last_masked()), (1, 1, 3), axes="batch, query, key"
    )
    assert got[..., :2].sum() != 0, line(got)


@test_case(
    points=1,
    failure_message=(
        "A masked key still gets weight. Did you put 0 in place of its "
        "score? The exponential of 0 is 1: only the score −∞ gives weight 0."
    ),
)
def test_masked_key_gets_nothing(masked_softmax):
    got = expect_tensor(
        masked_softmax(*last_masked()), (1, 1, 3), axes="batch, query, key"
    )
    assert got[..., 2] == 0, line(got)


@test_case(
    points=1,
    failure_message=(
        "Your weights do not sum to one where keys are masked. Did you mask "
        "after the softmax? The masked scores still took their share of the "
        "sum."
    ),
)
def test_sums_to_one(masked_softmax):
    got = masked_softmax(*last_masked())
    expected = torch.tensor([[[0.2689, 0.7311, 0.0]]])
    expect_close(
        got,
        expected,
        axes="batch, query, key",
        name="scores [1, 2, 3], mask [True, True, False]",
    )


@test_case(
    points=1,
    failure_message=(
        "A query that may attend to nothing gets NaN. Its sum is 0, and 0/0 "
        "is NaN: put zeros there afterwards."
    ),
)
def test_no_nan(masked_softmax):
    got = expect_tensor(
        masked_softmax(last_masked()[0], torch.zeros(1, 1, 3, dtype=torch.bool))
    )
    assert not got.isnan().any(), (
        "scores [1, 2, 3], all masked: expected [0, 0, 0], got "
        f"{show(got.flatten())}"
    )


@test_case(
    points=1,
    failure_message=(
        "A query that may attend to nothing still hands out weight. Did you "
        "fill with −1e9? When every score is −1e9 they are all equal, and so "
        "are the weights. It needs a case of its own: zeros."
    ),
)
def test_nothing_to_attend_to(masked_softmax):
    got = masked_softmax(
        last_masked()[0], torch.zeros(1, 1, 3, dtype=torch.bool)
    )
    expect_close(got, torch.zeros(1, 1, 3), name="scores [1, 2, 3], all masked")


@test_case(
    points=1,
    failure_message=(
        "Your function does not work in half precision. The largest number "
        "of float16 is 65,504: −1e9 does not fit. Fill with −∞, which every "
        "float type has."
    ),
)
def test_half_precision(masked_softmax):
    scores, mask = last_masked()
    try:
        got = masked_softmax(scores.half(), mask)
    except RuntimeError as error:
        assert "overflow" not in str(error), error
        raise
    expected = torch.tensor([[[0.2689, 0.7311, 0.0]]])
    expect_close(got, expected, atol=1e-3, name="the same in float16")


@test_case(
    points=1,
    failure_message=(
        "A masked key with a large score takes the weight of the others with "
        "it. Did you mask after the softmax and divide by the sum? What is "
        "left can round to zero."
    ),
)
def test_large_masked_score(masked_softmax):
    got = masked_softmax(
        torch.tensor([[[1000.0, 0.0]]]), torch.tensor([[[False, True]]])
    )
    expect_close(
        got,
        torch.tensor([[[0.0, 1.0]]]),
        name="scores [1000, 0], mask [False, True]",
    )


@test_case(
    points=1,
    failure_message=(
        "Your function changed the scores that it was given. Did you write "
        "`masked_fill_` or `scores[…] = …`? The caller may still need them: "
        "make a new tensor."
    ),
)
def test_leaves_the_scores_alone(masked_softmax):
    scores, mask = last_masked()
    expect_tensor(masked_softmax(scores, mask), name="weights")
    expect_close(scores, last_masked()[0], name="scores after the call")


@test_case(
    points=1,
    failure_message=(
        "A mask with one row for all queries, (batch, 1, key), must do as "
        "well. Did you index with the mask? `masked_fill` and `torch.where` "
        "broadcast it."
    ),
)
def test_mask_is_broadcast(masked_softmax):
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(2, 3, 5, generator=generator)
    mask = torch.arange(5) < torch.tensor([[[5]], [[2]]])  # (2, 1, 5)
    try:
        got = masked_softmax(scores, mask)
    except IndexError as error:
        raise AssertionError(error) from error
    # PyTorch's own attention gives the weights themselves when keys and values
    # are unit vectors.
    unit = torch.eye(5).expand(2, 5, 5)
    expected = F.scaled_dot_product_attention(
        scores, unit, unit, attn_mask=mask, scale=1.0
    )
    expect_close(
        got,
        expected,
        axes="batch, query, key",
        name="scores (2, 3, 5), mask (2, 1, 5)",
    )
