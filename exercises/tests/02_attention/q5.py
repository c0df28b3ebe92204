"""Hard attention: each draw takes one value, many come near the soft mean."""

import torch
from otter.test_files import test_case
from torch import Tensor

from attend.grading import expect_close, expect_tensor, show

OK_FORMAT = False
name = "q5"
points = None


def seeded(seed: int = 0) -> torch.Generator:
    """A source of random numbers that starts anew."""
    return torch.Generator().manual_seed(seed)


def zero_or_ten(*weights: float, queries: int = 1) -> tuple[Tensor, Tensor]:
    """The same weights for every query. The first value is 0, the others 10."""
    values = torch.full((1, len(weights), 1), 10.0)
    values[:, 0] = 0.0
    return torch.tensor([[weights]]).expand(
        1, queries, len(weights)
    ).contiguous(), values


@test_case(
    points=1,
    failure_message=(
        "One draw must give one of the values, and yours lies between them. "
        "Did you return the soft mean, `weights @ v`?"
    ),
)
def test_one_draw_is_one_value(hard_attention):
    weights, v = zero_or_ten(0.5, 0.5)
    got = expect_tensor(
        hard_attention(weights, v, 1, seeded()),
        (1, 1, 1),
        axes="batch, query, d_v",
        name="the output",
    )
    assert got.item() in (0.0, 10.0), (
        "values 0 and 10, weights [0.5, 0.5], 1 draw: expected 0 or 10, got "
        f"{show(got.item())}"
    )


@test_case(
    points=1,
    failure_message=(
        "The draws must not use up the keys: each draw starts from the same "
        "weights. `torch.multinomial` draws without replacement unless you "
        "say `replacement=True`."
    ),
)
def test_with_replacement(hard_attention):
    weights, v = zero_or_ten(0.9, 0.1)
    try:
        expect_tensor(
            hard_attention(weights, v, 100, seeded()), name="the output"
        )
    except RuntimeError as error:
        assert "without replacement" not in str(error), error
        raise


@test_case(
    points=1,
    failure_message=(
        "A key with weight 0 was drawn. Are your draws uniform? Or did you "
        "put the weights through another softmax? They already are a "
        "distribution."
    ),
)
def test_weight_zero_is_never_drawn(hard_attention):
    weights, v = zero_or_ten(1.0, 0.0)
    got = hard_attention(weights, v, 100, seeded())
    name = "values 0 and 10, weights [1, 0], 100 draws"
    expect_close(got, torch.zeros(1, 1, 1), axes="batch, query, d_v", name=name)


@test_case(
    points=1,
    failure_message=(
        "A query got a value of another sequence. Did you flatten the batch "
        "and then index with the number of the key alone?"
    ),
)
def test_values_of_the_right_sequence(hard_attention):
    v = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])
    # no choice: key 1, then key 0
    weights = torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]]])
    got = expect_tensor(
        hard_attention(weights, v, 1, seeded()),
        (2, 1, 1),
        axes="batch, query, d_v",
    )
    expect_close(
        got.flatten(),
        torch.tensor([2.0, 3.0]),
        name="values [1, 2] and [3, 4], all weight on keys 1 and 0",
    )


@test_case(
    points=1,
    failure_message=(
        "A thousand draws are all the same. Did you take the key with the "
        "largest weight? That is hard attention too, but not by chance. Or "
        "did you draw once, and repeat it?"
    ),
)
def test_draws_differ(hard_attention):
    weights, v = zero_or_ten(0.4, 0.6)
    got = expect_tensor(hard_attention(weights, v, 1000, seeded()), (1, 1, 1))
    assert got.item() not in (0.0, 10.0), (
        "values 0 and 10, weights [0.4, 0.6], 1000 draws: expected a mean of "
        f"about 6, got {show(got.item())}"
    )


@test_case(
    points=1,
    failure_message=(
        "All queries get the same draw. Each query of each sequence draws "
        "for itself, from its own row of the weights."
    ),
)
def test_each_query_draws_for_itself(hard_attention):
    weights, v = zero_or_ten(0.5, 0.5, queries=61)
    got = expect_tensor(hard_attention(weights, v, 1, seeded()), (1, 61, 1))
    assert got.unique().numel() == 2, (
        "values 0 and 10, 61 queries with weights [0.5, 0.5]: expected some "
        f"of each, got {show(got.flatten()[:5])[:-1]}, …]"
    )


@test_case(
    points=1,
    failure_message=(
        "Twice the same generator, and two different results. Did you pass "
        "`generator` on to the function that draws? Without it nobody can "
        "repeat your run."
    ),
)
def test_uses_the_generator(hard_attention):
    weights, v = zero_or_ten(0.5, 0.5, queries=61)
    first, second = (
        expect_tensor(hard_attention(weights, v, 3, seeded(1)), (1, 61, 1))
        for _ in range(2)
    )
    differ = int((first != second).sum())
    assert differ == 0, (
        f"61 queries, the same seed twice: {differ} outputs differ"
    )


@test_case(
    points=1,
    failure_message=(
        "The mean over many draws does not come close to soft attention. Did "
        "you add up the draws without dividing by their number?"
    ),
)
def test_mean_comes_close_to_soft_attention(hard_attention):
    weights = (3 * torch.rand(2, 3, 5, generator=seeded(2))).softmax(dim=-1)
    v = torch.rand(2, 5, 7, generator=seeded(3))
    got = expect_tensor(
        hard_attention(weights, v, 5000, seeded()),
        (2, 3, 7),
        axes="batch, query, d_v",
    )
    expect_close(
        got, weights @ v, atol=0.05, name="5000 draws beside `weights @ v`"
    )
