"""Scores, soft and hard attention, and the local window.

They are compared with PyTorch and the equations.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.testing import assert_close

from attend.attention import (
    Score,
    ScoreName,
    additive_scores,
    bilinear_scores,
    concat_scores,
    dot_scores,
    gaussian_scores,
    hard_attention,
    local_window,
    projected_scores,
    scaled_dot_scores,
    soft_attention,
)
from tests.library import reference

BATCH, QUERIES, KEYS, D_Q, D_K, D_V, D_SCORE = 2, 3, 5, 7, 11, 13, 17
NAMES: tuple[ScoreName, ...] = (
    "dot",
    "scaled_dot",
    "bilinear",
    "additive",
    "concat",
)


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def draw(random: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(shape, generator=random, dtype=torch.float64) * 2 - 1


def each_pair(q: Tensor, k: Tensor) -> Tensor:
    """Return every query beside every key: `(batch, query, key, d_q + d_k)`."""
    return torch.stack(
        [
            torch.stack(
                [
                    torch.stack([torch.cat([a, b]) for b in keys])
                    for a in queries
                ]
            )
            for queries, keys in zip(q, k, strict=True)
        ]
    )


def test_gaussian_scores(random: torch.Generator) -> None:
    q, k = draw(random, BATCH, QUERIES, D_K), draw(random, BATCH, KEYS, D_K)
    pairs = each_pair(q, k)
    expected = -((pairs[..., :D_K] - pairs[..., D_K:]).norm(dim=-1) ** 2) / 19
    assert_close(gaussian_scores(q, k, 19), expected)


def test_softmax_of_gaussian_scores_is_kernel_regression() -> None:
    x, y = (
        torch.tensor([[[0.0], [1.0], [3.0]]]),
        torch.tensor([[[2.0], [5.0], [7.0]]]),
    )
    output, _ = soft_attention(
        gaussian_scores(torch.tensor([[[1.0]]]), x, 2.0), y
    )
    kernel = [math.exp(-(((1 - x) ** 2) / 2)) for x in (0, 1, 3)]
    expected = (2 * kernel[0] + 5 * kernel[1] + 7 * kernel[2]) / sum(kernel)
    assert output.item() == pytest.approx(expected)


@pytest.mark.parametrize("width", [0.0, -1.0])
def test_gaussian_scores_reject_a_width(width: float) -> None:
    with pytest.raises(
        ValueError, match=f"width must be positive, got {width}"
    ):
        gaussian_scores(
            torch.rand(BATCH, QUERIES, D_K), torch.rand(BATCH, KEYS, D_K), width
        )


def test_dot_scores(random: torch.Generator) -> None:
    q, k = draw(random, BATCH, QUERIES, D_K), draw(random, BATCH, KEYS, D_K)
    pairs = each_pair(q, k)
    assert_close(
        dot_scores(q, k), (pairs[..., :D_K] * pairs[..., D_K:]).sum(dim=-1)
    )


def test_scaled_dot_scores_divide_by_the_root_of_the_size(
    random: torch.Generator,
) -> None:
    q, k = draw(random, BATCH, QUERIES, D_K), draw(random, BATCH, KEYS, D_K)
    assert_close(scaled_dot_scores(q, k), dot_scores(q, k) / D_K**0.5)


def test_bilinear_scores(random: torch.Generator) -> None:
    q, k = draw(random, BATCH, QUERIES, D_Q), draw(random, BATCH, KEYS, D_K)
    w = draw(random, D_Q, D_K)
    assert_close(
        bilinear_scores(q, k, w), torch.einsum("bqd,de,bke->bqk", q, w, k)
    )


def test_bilinear_with_the_identity_is_dot(random: torch.Generator) -> None:
    q, k = draw(random, BATCH, QUERIES, D_K), draw(random, BATCH, KEYS, D_K)
    assert_close(
        bilinear_scores(q, k, torch.eye(D_K, dtype=torch.float64)),
        dot_scores(q, k),
    )


def test_additive_and_concat_scores(random: torch.Generator) -> None:
    q, k = draw(random, BATCH, QUERIES, D_Q), draw(random, BATCH, KEYS, D_K)
    w, v = draw(random, D_SCORE, D_Q + D_K), draw(random, D_SCORE)
    expected = (each_pair(q, k) @ w.T).tanh() @ v
    assert_close(concat_scores(q, k, w, v), expected)
    assert_close(additive_scores(q, k, w[:, :D_Q], w[:, D_Q:], v), expected)


@pytest.mark.parametrize(
    "mask_shape", [None, (BATCH, 1, KEYS), (QUERIES, KEYS)]
)
def test_soft_attention_is_pytorchs(
    mask_shape: tuple[int, ...] | None, random: torch.Generator
) -> None:
    q, k = draw(random, BATCH, QUERIES, D_K), draw(random, BATCH, KEYS, D_K)
    v = draw(random, BATCH, KEYS, D_V)
    mask = None
    if mask_shape:
        mask = torch.rand(mask_shape, generator=random) < 0.6
        mask[..., 2] = True
    output, weights = soft_attention(scaled_dot_scores(q, k), v, mask)
    assert_close(output, scaled_dot_product_attention(q, k, v, attn_mask=mask))
    assert_close(output, weights @ v)
    assert_close(
        weights.sum(dim=-1), torch.ones(BATCH, QUERIES, dtype=torch.float64)
    )


def test_soft_attention_of_a_query_without_keys_is_zero(
    random: torch.Generator,
) -> None:
    scores = draw(random, BATCH, QUERIES, KEYS).requires_grad_()
    v = draw(random, BATCH, KEYS, D_V).requires_grad_()
    mask = torch.ones(BATCH, QUERIES, KEYS).bool()
    mask[1, 2] = False
    output, weights = soft_attention(scores, v, mask)
    assert (output[1, 2] == 0).all()
    assert (weights[1, 2] == 0).all()
    assert (output[1, 1] != 0).any()
    output.sum().backward()
    for tensor in (scores, v):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()


def test_soft_weights_have_a_gradient_of_their_own(
    random: torch.Generator,
) -> None:
    """A loss may be on where a query looks, not only on what it sees."""
    scores = draw(random, BATCH, QUERIES, KEYS).requires_grad_()
    v, wanted = draw(random, BATCH, KEYS, D_V), draw(random, KEYS)
    _, weights = soft_attention(scores, v)
    own, expected = (
        torch.autograd.grad((w * wanted).sum(), scores)
        for w in (weights, scores.softmax(dim=-1))
    )
    assert_close(own, expected)
    assert (own[0] != 0).all()


@pytest.mark.parametrize("sample", [False, True])
def test_hard_attention_returns_the_type_of_its_values(
    sample: bool, random: torch.Generator
) -> None:
    scores = draw(random, BATCH, QUERIES, KEYS)
    v = draw(random, BATCH, KEYS, D_V).float()
    output, weights = hard_attention(scores, v, sample=sample)
    assert output.dtype == weights.dtype == torch.float32


def test_hard_attention_takes_the_best_allowed_key(
    random: torch.Generator,
) -> None:
    scores, v = (
        draw(random, BATCH, QUERIES, KEYS),
        draw(random, BATCH, KEYS, D_V),
    )
    mask = torch.ones(BATCH, QUERIES, KEYS).bool()
    mask[0, 1, scores[0, 1].argmax()] = False
    output, weights = hard_attention(scores, v, mask)
    for b in range(BATCH):
        for i in range(QUERIES):
            allowed = [j for j in range(KEYS) if mask[b, i, j]]
            best = max(allowed, key=lambda j: scores[b, i, j].item())
            assert torch.equal(output[b, i], v[b, best])
            assert weights[b, i].tolist() == [
                float(j == best) for j in range(KEYS)
            ]


def test_hard_attention_samples_from_the_soft_weights() -> None:
    p = torch.tensor([0.5, 0.3, 0.0, 0.2])
    num = 10_007
    # the masked key scores best
    scores = p.log().nan_to_num(neginf=2.0).expand(1, num, 4)
    output, weights = hard_attention(
        scores,
        torch.tensor([[[1.0], [2.0], [3.0], [4.0]]]),
        p > 0,
        sample=True,
        generator=torch.Generator().manual_seed(0),
    )
    assert ((weights == 0) | (weights == 1)).all()
    assert (weights.sum(dim=-1) == 1).all()
    assert (weights[..., 2] == 0).all()
    # four standard errors
    assert_close(weights[0].mean(dim=0), p, atol=0.02, rtol=0)
    assert_close(output[..., 0], 1.0 + weights.argmax(dim=-1))


def test_hard_attention_samples_each_row_for_itself(
    random: torch.Generator,
) -> None:
    sure = torch.randint(KEYS, (BATCH, QUERIES), generator=random)
    scores = torch.nn.functional.one_hot(sure, KEYS) * 1e4
    _, weights = hard_attention(
        scores, draw(random, BATCH, KEYS, D_V).float(), sample=True
    )
    assert torch.equal(weights.argmax(dim=-1), sure)


def test_hard_attention_repeats_with_its_generator(
    random: torch.Generator,
) -> None:
    scores, v = torch.zeros(BATCH, QUERIES, KEYS), torch.rand(BATCH, KEYS, D_V)
    first, second, other = (
        hard_attention(
            scores,
            v,
            sample=True,
            generator=torch.Generator().manual_seed(seed),
        )[1]
        for seed in (3, 3, 5)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("sample", [False, True])
def test_hard_attention_gives_the_scores_no_gradient(
    sample: bool, random: torch.Generator
) -> None:
    scores = draw(random, BATCH, QUERIES, KEYS).requires_grad_()
    v = draw(random, BATCH, KEYS, D_V)
    output, weights = hard_attention(scores, v, sample=sample)
    assert not output.requires_grad
    assert not weights.requires_grad
    output, _ = hard_attention(scores, v.requires_grad_(), sample=sample)
    output.sum().backward()
    assert scores.grad is None
    assert v.grad is not None


def test_hard_attention_needs_a_key() -> None:
    mask = torch.ones(BATCH, QUERIES, KEYS).bool()
    mask[1, 0] = False
    with pytest.raises(ValueError, match="a query may attend to no key"):
        hard_attention(
            torch.rand(BATCH, QUERIES, KEYS), torch.rand(BATCH, KEYS, D_V), mask
        )


@pytest.mark.parametrize("half_width", [1, 2, 3, 19])
def test_local_window_is_equation_10(
    half_width: int, random: torch.Generator
) -> None:
    keys = 11
    scores = draw(random, BATCH, QUERIES, keys) * 5
    center = torch.rand(
        BATCH, QUERIES, generator=random, dtype=torch.float64
    ) * (keys - 1)
    weights = local_window(scores, center, half_width)
    for b in range(BATCH):
        for i in range(QUERIES):
            expected = reference.window(
                scores[b, i].tolist(), center[b, i].item(), half_width
            )
            assert_close(
                weights[b, i], torch.tensor(expected, dtype=torch.float64)
            )
    assert (weights.sum(dim=-1) <= 1).all()


def test_local_window_ends_at_the_half_width() -> None:
    weights = local_window(torch.zeros(1, 1, 7), torch.tensor([[3.0]]), 2)
    gauss = torch.tensor(
        [0, math.exp(-2), math.exp(-0.5), 1, math.exp(-0.5), math.exp(-2), 0]
    )
    assert_close(weights[0, 0], gauss / 5)


def test_local_window_with_a_mask_shares_among_allowed_keys(
    random: torch.Generator,
) -> None:
    scores, center = (
        draw(random, BATCH, QUERIES, KEYS),
        torch.full((BATCH, QUERIES), 2.5),
    )
    mask = torch.tensor([[[True] * 3 + [False] * 2], [[True] * 5]])
    weights = local_window(scores, center.double(), 2, mask)
    assert (weights[0, :, 3:] == 0).all()
    expected = reference.window(scores[0, 0, :3].tolist(), 2.5, 2)
    assert_close(weights[0, 0, :3], torch.tensor(expected, dtype=torch.float64))
    assert_close(weights[1], local_window(scores, center.double(), 2)[1])


def test_local_window_without_an_allowed_key_is_zero(
    random: torch.Generator,
) -> None:
    scores = draw(random, 1, 1, KEYS).requires_grad_()
    center = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([False, False, False, True, True])
    weights = local_window(scores, center, 1, mask)
    assert (weights == 0).all()
    weights.sum().backward()
    for tensor in (scores, center):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()


def test_local_window_moves_its_centre_by_gradient() -> None:
    center = torch.tensor([[2.25]], requires_grad=True)
    local_window(torch.zeros(1, 1, 7), center, 2)[0, 0, 4].backward()
    assert center.grad is not None
    # a centre nearer to key 4 gives it more weight
    assert center.grad.item() > 0


def test_local_window_rejects_an_empty_window() -> None:
    with pytest.raises(
        ValueError, match="half_width must be at least 1 key, got 0"
    ):
        local_window(torch.rand(1, 1, KEYS), torch.zeros(1, 1), 0)


@pytest.mark.usefixtures("unchecked")
def test_every_attention_checks_its_mask() -> None:
    scores, v = torch.rand(BATCH, QUERIES, KEYS), torch.rand(BATCH, KEYS, D_V)
    for mask, error, hint in (
        (
            torch.ones(BATCH, QUERIES, KEYS),
            TypeError,
            "must be a boolean tensor",
        ),
        (torch.ones(BATCH, KEYS).bool(), ValueError, "needs a query dimension"),
    ):
        with pytest.raises(error, match=hint):
            soft_attention(scores, v, mask)
        with pytest.raises(error, match=hint):
            hard_attention(scores, v, mask)
        with pytest.raises(error, match=hint):
            local_window(scores, torch.zeros(BATCH, QUERIES), 2, mask)


@pytest.mark.parametrize("name", NAMES)
def test_score_module_learns_its_own_parameters(
    name: ScoreName, random: torch.Generator
) -> None:
    d_q = D_K if name in ("dot", "scaled_dot") else D_Q
    torch.manual_seed(0)
    module = Score(name, d_q, D_K).double()
    q, k = draw(random, BATCH, QUERIES, d_q), draw(random, BATCH, KEYS, D_K)
    p = dict(module.named_parameters())
    expected = {
        "dot": lambda: dot_scores(q, k),
        "scaled_dot": lambda: scaled_dot_scores(q, k),
        "bilinear": lambda: bilinear_scores(q, k, p["w"]),
        "additive": lambda: additive_scores(q, k, p["w_q"], p["w_k"], p["v"]),
        "concat": lambda: concat_scores(q, k, p["w"], p["v"]),
    }[name]()
    scores = module(q, k)
    assert_close(scores, expected)
    if p:
        scores.square().sum().backward()
    for parameter in p.values():
        assert parameter.grad is not None
        assert (parameter.grad != 0).any()
        bound = parameter.shape[-1] ** -0.5
        assert bound / 2 < parameter.abs().max() <= bound


# --- Any number of batch dimensions ---

BATCHES: list[tuple[int, ...]] = [(), (BATCH,), (BATCH, 19), (BATCH, 19, 23)]
any_batch = pytest.mark.parametrize("batch", BATCHES, ids=str)


def flat(tensor: Tensor, last: int = 2) -> Tensor:
    """The same with one batch dimension; the `last` dimensions stay."""
    return tensor.reshape(-1, *tensor.shape[tensor.dim() - last :])


SCORING: dict[str, Callable[..., Tensor]] = {
    "gaussian": lambda q, k, p: gaussian_scores(q, k, 1.5),
    "dot": lambda q, k, p: dot_scores(q, k),
    "scaled_dot": lambda q, k, p: scaled_dot_scores(q, k),
    "bilinear": lambda q, k, p: bilinear_scores(q, k, p["w"]),
    "additive": lambda q, k, p: additive_scores(
        q, k, p["w_q"], p["w_k"], p["v"]
    ),
    "concat": lambda q, k, p: concat_scores(q, k, p["both"], p["v"]),
    "projected": lambda q, k, p: projected_scores(
        q @ p["w_q"].T, k @ p["w_k"].T, p["v"]
    ),
}
SAME_SIZE = ("gaussian", "dot", "scaled_dot")  # of queries and keys


@any_batch
@pytest.mark.parametrize("name", SCORING)
def test_scores_of_any_batch_are_those_of_a_flat_one(
    batch: tuple[int, ...], name: str, random: torch.Generator
) -> None:
    d_q = D_K if name in SAME_SIZE else D_Q
    q, k = draw(random, *batch, QUERIES, d_q), draw(random, *batch, KEYS, D_K)
    p = {
        "w": draw(random, D_Q, D_K),
        "w_q": draw(random, D_SCORE, D_Q),
        "w_k": draw(random, D_SCORE, D_K),
        "both": draw(random, D_SCORE, D_Q + D_K),
        "v": draw(random, D_SCORE),
    }
    scores = SCORING[name](q, k, p)
    assert scores.shape == (*batch, QUERIES, KEYS)
    assert_close(flat(scores), SCORING[name](flat(q), flat(k), p))


def masks(
    batch: tuple[int, ...], random: torch.Generator
) -> dict[str, Tensor | None]:
    """Masks of every kind that fits; key 2 is always allowed."""
    shapes = {
        "each": (*batch, QUERIES, KEYS),
        "keys": (*batch, 1, KEYS),
        "outer batch": (*batch[:1], *[1] * len(batch[1:]), 1, KEYS),
        "queries and keys": (QUERIES, KEYS),
        "one": (KEYS,),
    }
    made: dict[str, Tensor | None] = {"none": None}
    for name, shape in shapes.items():
        mask = torch.rand(shape, generator=random) < 0.5
        mask[..., 2] = True
        made[name] = mask
    return made


@any_batch
@pytest.mark.parametrize(
    "attend",
    [
        soft_attention,
        hard_attention,
        lambda *given: hard_attention(
            *given,
            sample=True,
            generator=torch.Generator().manual_seed(7),
        ),
    ],
    ids=["soft", "hard", "sampled"],
)
def test_attention_of_any_batch_is_that_of_a_flat_one(
    batch: tuple[int, ...],
    attend: Callable[..., tuple[Tensor, Tensor]],
    random: torch.Generator,
) -> None:
    scores = draw(random, *batch, QUERIES, KEYS)
    v = draw(random, *batch, KEYS, D_V)
    for mask in masks(batch, random).values():
        output, weights = attend(scores, v, mask)
        assert output.shape == (*batch, QUERIES, D_V)
        assert weights.shape == (*batch, QUERIES, KEYS)
        whole = None if mask is None else flat(mask.expand_as(scores))
        expected = attend(flat(scores), flat(v), whole)
        assert_close((flat(output), flat(weights)), expected)
        if mask is not None:
            assert (weights[~mask.expand_as(scores)] == 0).all()


@any_batch
def test_a_local_window_of_any_batch_is_that_of_a_flat_one(
    batch: tuple[int, ...], random: torch.Generator
) -> None:
    scores = draw(random, *batch, QUERIES, KEYS)
    center = (draw(random, *batch, QUERIES) + 1) / 2 * (KEYS - 1)
    for mask in masks(batch, random).values():
        weights = local_window(scores, center, 2, mask)
        assert weights.shape == scores.shape
        whole = None if mask is None else flat(mask.expand_as(scores))
        expected = local_window(flat(scores), flat(center, 1), 2, whole)
        assert_close(flat(weights), expected)


@any_batch
@pytest.mark.parametrize("name", NAMES)
def test_a_score_of_any_batch_is_its_function(
    batch: tuple[int, ...], name: ScoreName, random: torch.Generator
) -> None:
    """Of keys that are projected first, once for any number of queries."""
    d_q = D_K if name in SAME_SIZE else D_Q
    module = Score(name, d_q, D_K, D_SCORE).double()
    k = draw(random, *batch, KEYS, D_K)
    projected = module.project(k)
    hidden = D_SCORE if name in ("additive", "concat") else D_K
    assert projected.shape == (*batch, KEYS, hidden)
    p = dict(module.named_parameters())
    p["both"] = p.get("w")
    for queries in (1, QUERIES):
        q = draw(random, *batch, queries, d_q)
        scores = module.compare(q, projected)
        assert scores.shape == (*batch, queries, KEYS)
        assert_close(scores, SCORING[name](q, k, p))
        assert torch.equal(module(q, k), scores)
        again = module(flat(q), flat(k))
        assert_close(flat(scores), again)


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_of_a_score_goes_through_the_projected_keys(
    name: ScoreName, random: torch.Generator
) -> None:
    """And is that of the function, for the keys as for the parameters."""
    d_q = D_K if name in SAME_SIZE else D_Q
    module = Score(name, d_q, D_K, D_SCORE).double()
    q, k = draw(random, BATCH, QUERIES, d_q), draw(random, BATCH, KEYS, D_K)
    inputs = [q.requires_grad_(), k.requires_grad_(), *module.parameters()]
    p = dict(module.named_parameters())
    p["both"] = p.get("w")
    own, expected = (
        torch.autograd.grad(scores.square().sum(), inputs)
        for scores in (module(q, k), SCORING[name](q, k, p))
    )
    assert_close(own, expected)


def test_score_module_sizes() -> None:
    shapes = {
        name: {
            key: tuple(p.shape)
            for key, p in Score(name, D_Q, D_K, D_SCORE).named_parameters()
        }
        for name in ("bilinear", "additive", "concat")
    }
    assert shapes == {
        "bilinear": {"w": (D_Q, D_K)},
        "additive": {
            "w_q": (D_SCORE, D_Q),
            "w_k": (D_SCORE, D_K),
            "v": (D_SCORE,),
        },
        "concat": {"w": (D_SCORE, D_Q + D_K), "v": (D_SCORE,)},
    }
    assert Score("additive", D_Q, D_K).v.shape == (D_K,)


@pytest.mark.parametrize("name", ["dot", "scaled_dot"])
def test_dot_products_need_equal_sizes(name: ScoreName) -> None:
    with pytest.raises(
        ValueError, match=f"{name} needs d_q == d_k, got 7 and 11: use bilinear"
    ):
        Score(name, D_Q, D_K)


@pytest.mark.usefixtures("unchecked")
def test_unknown_score() -> None:
    with pytest.raises(
        ValueError,
        match="unknown score 'cosine': choose from dot, scaled_dot, bi",
    ):
        Score("cosine", D_Q, D_K)
