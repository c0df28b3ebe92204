"""Masks: who may be attended to, and the softmax that keeps to it."""

import jaxtyping
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.testing import assert_close

from attend.masks import masked_softmax, padding_mask


def test_annotations_are_checked() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="mask"):
        masked_softmax(torch.zeros(3, 5), torch.ones(3, 5))


def test_padding_mask_marks_the_real_positions() -> None:
    mask = padding_mask(torch.tensor([2, 0, 3]), 3)
    assert mask.tolist() == [[True, True, False], [False] * 3, [True] * 3]


def test_padding_mask_of_an_empty_batch() -> None:
    assert padding_mask(torch.tensor([], dtype=torch.long), 5).shape == (0, 5)


@pytest.mark.parametrize("lengths", [[2, 7], [-1, 2]])
def test_padding_mask_rejects_impossible_lengths(lengths: list[int]) -> None:
    with pytest.raises(
        ValueError, match="lengths run from .* padded to 5: pass max_length="
    ):
        padding_mask(torch.tensor(lengths), 5)


def test_masked_softmax_worked_example() -> None:
    weights = masked_softmax(
        torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[True, True, False]])
    )
    assert_close(weights, torch.tensor([[0.268941, 0.731059, 0.0]]))


def test_masked_softmax_without_a_mask_is_the_softmax() -> None:
    scores = torch.rand(2, 3, 5)
    assert torch.equal(masked_softmax(scores), scores.softmax(dim=-1))


floats = st.floats(-30, 30, width=32)


@st.composite
def masked_scores(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    queries, keys = draw(st.integers(1, 5)), draw(st.integers(1, 7))
    scores = draw(
        st.lists(floats, min_size=queries * keys, max_size=queries * keys)
    )
    mask = draw(
        st.lists(
            st.booleans(), min_size=queries * keys, max_size=queries * keys
        )
    )
    return (
        torch.tensor(scores, dtype=torch.float64).view(queries, keys),
        torch.tensor(mask).view(queries, keys),
    )


@given(masked_scores())
def test_masked_softmax_sums_to_one_or_to_zero(
    drawn: tuple[torch.Tensor, torch.Tensor],
) -> None:
    scores, mask = drawn
    weights = masked_softmax(scores, mask)
    assert (weights >= 0).all()
    assert (weights[~mask] == 0).all()
    assert_close(weights.sum(dim=-1), mask.any(dim=-1).double())


@given(masked_scores(), floats)
def test_masked_softmax_does_not_see_a_shift(
    drawn: tuple[torch.Tensor, torch.Tensor], shift: float
) -> None:
    scores, mask = drawn
    assert_close(
        masked_softmax(scores + shift, mask), masked_softmax(scores, mask)
    )


@given(masked_scores(), floats)
def test_masked_softmax_does_not_see_masked_scores(
    drawn: tuple[torch.Tensor, torch.Tensor], other: float
) -> None:
    scores, mask = drawn
    changed = scores.masked_fill(~mask, other)
    assert torch.equal(
        masked_softmax(changed, mask), masked_softmax(scores, mask)
    )


@given(masked_scores())
def test_masked_softmax_equals_a_softmax_over_the_allowed_keys(
    drawn: tuple[torch.Tensor, torch.Tensor],
) -> None:
    scores, mask = drawn
    assume(mask[0].any())
    weights = masked_softmax(scores, mask)
    assert_close(weights[0, mask[0]], scores[0, mask[0]].softmax(dim=-1))


@pytest.mark.parametrize(
    "shape", [(3, 5, 7), (1, 5, 7), (3, 1, 7), (7,), (1, 1), (3, 5, 1), ()]
)
def test_masked_softmax_broadcasts_the_mask(shape: tuple[int, ...]) -> None:
    scores = torch.rand(3, 5, 7)
    mask = torch.rand(shape) < 0.5
    weights = masked_softmax(scores, mask)
    assert_close(weights, masked_softmax(scores, mask.expand(3, 5, 7).clone()))


def test_a_query_without_keys_gets_zeros_and_finite_gradients() -> None:
    scores = torch.rand(3, 5, requires_grad=True)
    mask = torch.tensor([[True] * 5, [False] * 5, [True] + [False] * 4])
    weights = masked_softmax(scores, mask)
    assert (weights[1] == 0).all()
    weights.square().sum().backward()
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()
    assert (scores.grad[1] == 0).all()
    assert (scores.grad[0] != 0).any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_masked_softmax_in_half_precision(dtype: torch.dtype) -> None:
    scores = torch.tensor(
        [[60_000.0, -60_000, 3], [1, 2, 3], [1, 2, 3]], dtype=dtype
    )
    mask = torch.tensor([[False, True, True], [True, True, False], [False] * 3])
    weights = masked_softmax(scores, mask)
    assert weights.dtype == dtype
    expected = torch.tensor(
        [[0, 0, 1], [0.2689, 0.7311, 0], [0, 0, 0]], dtype=dtype
    )
    assert_close(weights, expected, atol=1e-2, rtol=0)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.uint8])
def test_a_mask_must_be_boolean(dtype: torch.dtype) -> None:
    with pytest.raises(
        TypeError,
        match=r"boolean tensor with True = may attend, got torch\..*> 0",
    ):
        masked_softmax(torch.rand(3, 5), torch.ones(3, 5).to(dtype))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "mask", [[[True] * 5] * 3, torch.ones(3, 5).bool().numpy()]
)
def test_a_mask_must_be_a_tensor(mask: object) -> None:
    with pytest.raises(
        TypeError, match="boolean tensor with True = .*got <class .*as_tensor"
    ):
        masked_softmax(torch.rand(3, 5), mask)


@pytest.mark.parametrize("shape", [(3, 7), (2, 3, 5, 7), (5,), (7, 5)])
def test_a_mask_must_fit_the_scores(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"cannot be broadcast .* `mask\[:, None, :\]`"
    ):
        masked_softmax(torch.rand(3, 5, 7), torch.ones(shape).bool())


def test_a_mask_may_not_widen_the_scores() -> None:
    with pytest.raises(
        ValueError, match=r"shape \(3, 5\) cannot be broadcast .* \(1, 5\)"
    ):
        masked_softmax(torch.rand(1, 5), torch.ones(3, 5).bool())
