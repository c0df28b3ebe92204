"""Bilinear scores: a matrix product for each sequence, and no scaling.

W must be the right way round.
"""

import warnings

import torch
from otter.test_files import test_case
from torch import Tensor
from torch.nn import functional as F

from attend.grading import expect_close, expect_tensor

OK_FORMAT = False
name = "q2"
points = None


def of_vectors(d_q: int, d_k: int) -> tuple[Tensor, Tensor]:
    """Two sequences, 3 queries, 5 keys."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, d_q, generator=generator), torch.rand(
        2, 5, d_k, generator=generator
    )


@test_case(
    points=1,
    failure_message=(
        "The batch does not stay in front. Did you write `.T`? It turns all "
        "three axes round; `transpose(1, 2)` turns only the last two."
    ),
)
def test_batch_stays_in_front(bilinear_scores):
    with warnings.catch_warnings():
        # PyTorch, too, warns of `.T` with three axes
        warnings.simplefilter("ignore")
        try:
            expect_tensor(
                bilinear_scores(*of_vectors(7, 7), torch.eye(7)), name="scores"
            )
        except RuntimeError as error:
            assert "at non-singleton dimension 0" not in str(error), error
            # the next test explains that
            if "at non-singleton dimension 1" not in str(error):
                raise


@test_case(
    points=1,
    failure_message=(
        "Every query must meet every key: 3 queries and 5 keys make 15 "
        "scores for each sequence. Did you multiply element by element? A "
        "matrix product makes all pairs."
    ),
)
def test_every_query_meets_every_key(bilinear_scores):
    try:
        got = bilinear_scores(*of_vectors(7, 7), torch.eye(7))
    except RuntimeError as error:
        assert "at non-singleton dimension 1" not in str(error), error
        raise
    expect_tensor(got, (2, 3, 5), axes="batch, query, key", name="scores")


@test_case(
    points=1,
    failure_message=(
        "With W the identity, the score is not the inner product. Did you "
        "divide by √d_k? Bilinear scores are not scaled: W can learn that."
    ),
)
def test_not_scaled(bilinear_scores):
    got = bilinear_scores(
        torch.ones(1, 1, 4), torch.ones(1, 1, 4), torch.eye(4)
    )
    expect_close(
        got,
        torch.tensor([[[4.0]]]),
        axes="batch, query, key",
        name="query and key [1, 1, 1, 1]",
    )


@test_case(
    points=1,
    failure_message=(
        "W is the wrong way round. Its rows belong to the query, its columns "
        "to the key. Did you transpose it?"
    ),
)
def test_w_the_right_way_round(bilinear_scores):
    first_with_second = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    got = bilinear_scores(
        torch.tensor([[[1.0, 2.0]]]),
        torch.tensor([[[3.0, 4.0]]]),
        first_with_second,
    )
    expect_close(
        got,
        torch.tensor([[[4.0]]]),
        axes="batch, query, key",
        name="query [1, 2], key [3, 4], W [[0, 1], [0, 0]]",
    )


@test_case(
    points=1,
    failure_message=(
        "One sequence is right, two together are not. Do the queries of one "
        "sequence meet the keys of the other?"
    ),
)
def test_as_pytorch(bilinear_scores):
    q, k = of_vectors(7, 11)
    w = torch.rand(7, 11, generator=torch.Generator().manual_seed(1))
    pairs = (
        q[:, :, None].expand(2, 3, 5, 7),
        k[:, None].expand(2, 3, 5, 11).contiguous(),
    )
    expected = F.bilinear(pairs[0].contiguous(), pairs[1], w[None]).squeeze(-1)
    got = bilinear_scores(q, k, w)
    expect_close(
        got,
        expected,
        axes="batch, query, key",
        name="beside PyTorch's `F.bilinear`",
    )
