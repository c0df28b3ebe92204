"""Additive scores: every query meets every key, in one tanh of their sum."""

import torch
from otter.test_files import test_case
from torch import Tensor

from attend.attention import additive_scores as reference
from attend.grading import expect_close, expect_tensor, show

OK_FORMAT = False
name = "q1"
points = None


def of_numbers(
    queries: list[float], keys: list[float], v: float
) -> list[Tensor]:
    """Queries and keys of one number each; both matrices are 1."""
    q, k = (
        torch.tensor(queries)[None, :, None],
        torch.tensor(keys)[None, :, None],
    )
    return [q, k, torch.ones(1, 1), torch.ones(1, 1), torch.tensor([v])]


def of_vectors() -> list[Tensor]:
    """Two sequences, 3 queries, 5 keys, and a different size for everything."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 3, 7), (2, 5, 11), (13, 7), (13, 11), (13,)]
    return [2 * torch.rand(shape, generator=generator) - 1 for shape in shapes]


@test_case(
    points=1,
    failure_message=(
        "Every query must meet every key: 3 queries and 5 keys make 15 "
        "scores for each sequence. Did you add the two projections as they "
        "are? Give each of them a new axis first."
    ),
)
def test_every_query_meets_every_key(additive_scores):
    try:
        got = additive_scores(*of_vectors())
    except RuntimeError as error:
        assert "must match the size" not in str(error), error
        raise
    got = expect_tensor(got, name="scores")
    shape = tuple(got.shape)
    assert got.numel() >= 2 * 3 * 5, (
        f"expected shape (2, 3, 5) = (batch, query, key), got {shape}"
    )
    expect_tensor(got, (2, 3, 5), axes="batch, query, key", name="scores")


@test_case(
    points=1,
    failure_message=(
        "Your scores sum to one over the keys. Is a softmax already in "
        "there? A score is any number; the softmax comes later, after the "
        "mask."
    ),
)
def test_scores_are_no_weights(additive_scores):
    got = expect_tensor(
        additive_scores(*of_numbers([1.0], [-1.0, 1.0], v=2.0)),
        (1, 1, 2),
        axes="batch, query, key",
        name="scores",
    )
    one = torch.isclose(got.sum(), torch.tensor(1.0), atol=1e-4)
    assert not one, (
        "query 1, keys −1 and 1, v 2: expected [0, 1.928], got "
        f"{show(got.flatten())}"
    )


@test_case(
    points=1,
    failure_message=(
        "A score is larger than v allows: each hidden unit is a tanh, so it "
        "lies between −1 and 1. Is the tanh missing?"
    ),
)
def test_hidden_units_are_bounded(additive_scores):
    got = expect_tensor(
        additive_scores(*of_numbers([3.0], [-1.0], v=1.0)),
        (1, 1, 1),
        axes="batch, query, key",
    )
    assert got.abs().max() <= 1, (
        "query 3, key −1, v 1: expected tanh(3 − 1) = 0.964, got "
        f"{show(got.item())}"
    )


@test_case(
    points=1,
    failure_message=(
        "The hidden unit is not the tanh of the sum. Did you take a tanh of "
        "each side and then add? Add first: otherwise the query's part is "
        "the same for every key, and the softmax cancels it."
    ),
)
def test_one_tanh_of_the_sum(additive_scores):
    got = additive_scores(*of_numbers([2.0], [-1.0], v=1.0))
    expect_close(
        got,
        torch.tensor([[[0.7616]]]),
        axes="batch, query, key",
        name="query 2, key −1, v 1",
    )


@test_case(
    points=1,
    failure_message=(
        "One hidden unit is right, several are not. Does v come after the "
        "tanh, as a weight for each hidden unit?"
    ),
)
def test_several_hidden_units(additive_scores):
    got = additive_scores(*of_vectors())
    expect_close(
        got,
        reference(*of_vectors()),
        axes="batch, query, key",
        name="13 hidden units",
    )
