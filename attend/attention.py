"""Scoring functions, soft and hard attention, and Luong's local window.

Shapes: queries `(batch, query, d_q)`, keys `(batch, key, d_k)`, values `(batch, key, d_v)`,
scores and weights `(batch, query, key)`, masks boolean with True = may attend, broadcastable to
the scores.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attend.masks import check_mask, masked_softmax

Query = Float[Tensor, "batch query d_q"]
Key = Float[Tensor, "batch key d_k"]
Value = Float[Tensor, "batch key d_v"]
Scores = Float[Tensor, "batch query key"]
Mask = Bool[Tensor, "..."]


def gaussian_scores(q: Query, k: Key, width: float) -> Scores:
    """Score by distance: `-|q - k|² / width`, the kernel of Nadaraya-Watson regression.

    Raises:
        ValueError: if `width` is not positive.

    Source: Nadaraya 1964; Watson 1964.
    """
    if width <= 0:
        raise ValueError(f"width must be positive, got {width}")
    return -(q[:, :, None] - k[:, None]).square().sum(dim=-1) / width


def dot_scores(q: Query, k: Key) -> Scores:
    """Score by inner product, `q · k`. Needs `d_q == d_k`.

    Source: Luong et al. 2015, equation 8 (dot).
    """
    return q @ k.transpose(1, 2)


def scaled_dot_scores(q: Query, k: Key) -> Scores:
    """Score by inner product divided by `√d_k`, so that its variance does not grow with `d_k`.

    Source: Vaswani et al. 2017, equation 1.
    """
    return dot_scores(q, k) / math.sqrt(k.shape[-1])


def bilinear_scores(q: Query, k: Key, w: Float[Tensor, "d_q d_k"]) -> Scores:
    """Score by `qᵀ W k`: an inner product after a learned linear map; it allows `d_q != d_k`.

    Source: Luong et al. 2015, equation 8 (general).
    """
    return q @ w @ k.transpose(1, 2)


def additive_scores(
    q: Query,
    k: Key,
    w_q: Float[Tensor, "d_score d_q"],
    w_k: Float[Tensor, "d_score d_k"],
    v: Float[Tensor, " d_score"],
) -> Scores:
    """Score by a small network with one hidden layer, `vᵀ tanh(W_q q + W_k k)`.

    Source: Bahdanau et al. 2015, appendix A.1.2.
    """
    hidden = (q @ w_q.T)[:, :, None] + (k @ w_k.T)[:, None]  # (batch, query, key, d_score)
    return hidden.tanh() @ v


def concat_scores(
    q: Query, k: Key, w: Float[Tensor, "d_score d_q_plus_d_k"], v: Float[Tensor, " d_score"]
) -> Scores:
    """Score by `vᵀ tanh(W [q; k])`: additive scores whose two matrices stand side by side.

    Source: Luong et al. 2015, equation 8 (concat).
    """
    d_q = q.shape[-1]
    return additive_scores(q, k, w[:, :d_q], w[:, d_q:], v)


def soft_attention(
    scores: Scores, v: Value, mask: Mask | None = None
) -> tuple[Float[Tensor, "batch query d_v"], Scores]:
    """Attend softly: normalise the scores, then take the mean of the values under them.

    Returns:
        The outputs `(batch, query, d_v)` and the attention weights `(batch, query, key)`.

    Raises:
        TypeError: if the mask is not boolean.
        ValueError: if the mask cannot be broadcast to the scores.
    """
    weights = masked_softmax(scores, mask)
    return weights @ v, weights


def hard_attention(
    scores: Scores,
    v: Value,
    mask: Mask | None = None,
    sample: bool = False,
    generator: torch.Generator | None = None,
) -> tuple[Float[Tensor, "batch query d_v"], Scores]:
    """Attend to one key only: the best scored, or one drawn from the attention distribution.

    Args:
        scores: `(batch, query, key)`.
        v: values, `(batch, key, d_v)`.
        mask: True = may attend. Every query needs at least one key.
        sample: draw the key instead of taking the best one.
        generator: for the draw.

    Returns:
        The outputs `(batch, query, d_v)` and one-hot weights `(batch, query, key)`, through which
        no gradient flows to the scores.

    Raises:
        ValueError: if a query may attend to nothing.

    Source: Xu et al. 2015, section 4.1.
    """
    weights = masked_softmax(scores, mask)
    if not bool(weights.any(dim=-1).all()):
        raise ValueError("a query may attend to no key: hard attention has nothing to choose from")
    if sample:
        rows = weights.flatten(0, 1)  # (batch · query, key)
        choice = torch.multinomial(rows, 1, generator=generator).view(scores.shape[:2])
    else:
        choice = weights.argmax(dim=-1)  # (batch, query)
    one_hot = nn.functional.one_hot(choice, scores.shape[-1]).to(v.dtype)
    return one_hot @ v, one_hot


def local_window(
    scores: Scores,
    center: Float[Tensor, "batch query"],
    half_width: int,
    mask: Mask | None = None,
) -> Scores:
    """Weights of Luong's local-p attention: a window around a predicted, real-valued position.

    Keys further than `half_width` from the centre get nothing. The others share a softmax, and
    each share is then multiplied by a Gaussian around the centre with standard deviation
    `half_width / 2`, so the weights sum to at most one, and the centre gets a gradient.

    Args:
        scores: `(batch, query, key)`.
        center: predicted positions `p`, in keys, `(batch, query)`.
        half_width: `D`, in keys.
        mask: True = may attend.

    Raises:
        ValueError: if `half_width` is not positive.

    Source: Luong et al. 2015, section 3.2, equations 9 and 10.
    """
    if half_width < 1:
        raise ValueError(f"half_width must be at least 1 key, got {half_width}")
    positions = torch.arange(scores.shape[-1], device=scores.device)
    distance = positions - center[..., None]  # (batch, query, key)
    near = distance.abs() <= half_width
    if mask is not None:
        check_mask(mask, scores)
        near = near & mask
    return masked_softmax(scores, near) * torch.exp(-2 * (distance / half_width).square())


ScoreName = Literal["dot", "scaled_dot", "bilinear", "additive", "concat"]


class Score(nn.Module):
    """A scoring function with its learned parameters.

    Args:
        name: which function; see the functions of the same names in this module.
        d_q: size of a query.
        d_k: size of a key.
        d_score: hidden units of the additive and concat scores; `d_k` if None.

    Raises:
        ValueError: for an unknown name, or unequal sizes with dot or scaled dot.
    """

    def __init__(self, name: ScoreName, d_q: int, d_k: int, d_score: int | None = None) -> None:
        super().__init__()
        d_score = d_score or d_k
        if name in ("dot", "scaled_dot"):
            if d_q != d_k:
                raise ValueError(f"{name} needs d_q == d_k, got {d_q} and {d_k}: use bilinear")
        elif name == "bilinear":
            self.w = uniform(d_q, d_k)
        elif name == "additive":
            self.w_q, self.w_k = uniform(d_score, d_q), uniform(d_score, d_k)
            self.v = uniform(d_score)
        elif name == "concat":
            self.w, self.v = uniform(d_score, d_q + d_k), uniform(d_score)
        else:
            raise ValueError(f"unknown score {name!r}: choose from {', '.join(SCORES)}")
        self.name = name

    def forward(self, q: Query, k: Key) -> Scores:
        """Score every query against every key."""
        return SCORES[self.name](q, k, **dict(self.named_parameters()))


SCORES: dict[str, Callable[..., Tensor]] = {
    "dot": dot_scores,
    "scaled_dot": scaled_dot_scores,
    "bilinear": bilinear_scores,
    "additive": additive_scores,
    "concat": concat_scores,
}


def uniform(*shape: int) -> nn.Parameter:
    """A parameter drawn uniformly from `±1/√(last dimension)`, as in `nn.Linear`."""
    bound = 1 / math.sqrt(shape[-1])
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
