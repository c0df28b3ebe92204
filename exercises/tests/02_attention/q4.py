"""Luong's local window: a softmax in the window, times a Gaussian.

The centre of the Gaussian is real-valued.
"""

import torch
from otter.test_files import test_case
from torch import Tensor

from attend.attention import local_window as reference
from attend.grading import expect_close, expect_tensor, show

OK_FORMAT = False
name = "q4"
points = None


def equal_scores() -> tuple[Tensor, Tensor, int]:
    """Nine keys with equal scores, the window in the middle: keys 1 to 7."""
    # with D = 2, σ would be 1 and hide much
    return torch.zeros(1, 1, 9), torch.tensor([[4.0]]), 3


def line(got: Tensor) -> str:
    """What is expected of `equal_scores`, and what came."""
    return (
        "9 equal scores, centre 4, D 3:\n  expected [0, 0.01933, 0.05873, "
        "0.1144, 0.1429, 0.1144, 0.05873, 0.01933, 0]\n  got      "
        f"{show(got.flatten())}"
    )


@test_case(
    points=1,
    failure_message=(
        "With the centre in the middle, the keys left and right of it must "
        "get the same. Do your keys count from 1? The first is key 0."
    ),
)
def test_keys_count_from_zero(local_window):
    got = expect_tensor(
        local_window(*equal_scores()),
        (1, 1, 9),
        axes="batch, query, key",
        name="weights",
    )
    assert torch.allclose(got, got.flip(-1), atol=1e-6), line(got)


@test_case(
    points=1,
    failure_message=(
        "A key outside the window gets weight. The Gaussian is small out "
        "there, but not zero: keys further than D from the centre must be "
        "masked."
    ),
)
def test_nothing_outside_the_window(local_window):
    got = expect_tensor(
        local_window(*equal_scores()),
        (1, 1, 9),
        axes="batch, query, key",
        name="weights",
    )
    assert not got[..., [0, 8]].any(), line(got)


@test_case(
    points=1,
    failure_message=(
        "A key exactly D from the centre belongs to the window. Is it `<` "
        "where it should be `<=`?"
    ),
)
def test_the_edge_belongs_to_the_window(local_window):
    got = expect_tensor(
        local_window(*equal_scores()), (1, 1, 9), axes="batch, query, key"
    )
    assert got[..., [1, 7]].all(), line(got)


@test_case(
    points=1,
    failure_message=(
        "Where scores are equal, the Gaussian makes no difference. Is it "
        "there? Or did you multiply the scores by it, before the softmax? It "
        "multiplies the weights."
    ),
)
def test_gaussian_after_the_softmax(local_window):
    got = expect_tensor(
        local_window(*equal_scores()), (1, 1, 9), axes="batch, query, key"
    )
    assert not torch.isclose(got[..., 3], got[..., 4]), line(got)


@test_case(
    points=1,
    failure_message=(
        "Your weights sum to one. Did you normalise again after the "
        "Gaussian? Luong's do not: what the Gaussian takes away is gone, so "
        "a centre far from the best key costs something."
    ),
)
def test_not_normalised_again(local_window):
    got = expect_tensor(
        local_window(*equal_scores()), (1, 1, 9), axes="batch, query, key"
    )
    assert not torch.isclose(got.sum(), torch.tensor(1.0), atol=1e-3), line(got)


@test_case(
    points=1,
    failure_message=(
        "The Gaussian has the wrong width. Its standard deviation is half of "
        "D, σ = D/2. Is yours D? Or is 2σ² not divided by as a whole? `x / 2 "
        "* y` is (x / 2) · y."
    ),
)
def test_width_of_the_gaussian(local_window):
    got = expect_tensor(
        local_window(*equal_scores()), (1, 1, 9), axes="batch, query, key"
    )
    share = got[0, 0, 3] / got[0, 0, 4]
    expect_close(
        share,
        0.8007,
        name="D 3: weight of the key beside the centre / at the centre",
    )


@test_case(
    points=1,
    failure_message=(
        "A key outside the window took a share of the sum. Did you cut the "
        "window out after the softmax? Mask the scores before it."
    ),
)
def test_window_before_the_softmax(local_window):
    scores, center, half_width = equal_scores()
    scores[..., 0] = 5.0  # outside
    got = expect_tensor(local_window(scores, center, half_width), (1, 1, 9))
    expect_close(
        got[0, 0, 4],
        1 / 7,
        name="score 5 at key 0, centre 4, D 3: the weight at the centre",
    )


@test_case(
    points=1,
    failure_message=(
        "A centre between two keys must treat them alike. Did you round it? "
        "It is a real number, and rounding would also stop its gradient."
    ),
)
def test_centre_between_two_keys(local_window):
    got = local_window(torch.zeros(1, 1, 7), torch.tensor([[2.5]]), 2)
    expected = torch.tensor(
        [[[0.0, 0.08116, 0.2206, 0.2206, 0.08116, 0.0, 0.0]]]
    )
    expect_close(
        got,
        expected,
        axes="batch, query, key",
        name="7 equal scores, centre 2.5, D 2",
    )


@test_case(
    points=1,
    failure_message=(
        "Each query has a centre of its own. Did you leave `center` as it "
        "is, (batch, query)? Give it a new last axis, so that it broadcasts "
        "over the keys."
    ),
)
def test_each_query_its_own_centre(local_window):
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(2, 3, 7, generator=generator)
    center = 6 * torch.rand(2, 3, generator=generator)
    try:
        got = local_window(scores, center.clone(), 3)
    except RuntimeError as error:
        assert "must match the size" not in str(error), error
        raise
    expected = reference(scores, center, 3)
    expect_close(
        got, expected, axes="batch, query, key", name="6 queries with 6 centres"
    )


@test_case(
    points=1,
    failure_message=(
        "No gradient reaches the centre, so the model could not learn where "
        "to look. Did you leave PyTorch on the way, with `.item()`, "
        "`.detach()` or `.tolist()`?"
    ),
)
def test_centre_gets_a_gradient(local_window):
    center = torch.tensor([[2.25]], requires_grad=True)
    got = expect_tensor(
        local_window(torch.zeros(1, 1, 7), center, 2), name="weights"
    )
    assert got.requires_grad, "the weights do not depend on the centre"
    got[..., 3].sum().backward()
    assert center.grad is not None and center.grad.item() > 0, (
        "to move the centre 2.25 up should raise the weight of key 3: "
        f"expected a gradient above 0, got {show(center.grad)}"
    )
