"""Scoring functions, soft and hard attention, and Luong's local window.

Shapes: queries `(batch, query, d_q)`, keys `(batch, key, d_k)`, values
`(batch, key, d_v)`, scores and weights `(batch, query, key)`, masks boolean
with True = may attend, broadcastable to the scores. The batch may have several
dimensions, such as `(batch, heads, query, d_q)`, or none.
"""

import math
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attend.masks import check_mask, masked_softmax

Query = Float[Tensor, "*batch query d_q"]
Key = Float[Tensor, "*batch key d_k"]
Value = Float[Tensor, "*batch key d_v"]
Output = Float[Tensor, "*batch query d_v"]
Scores = Float[Tensor, "*batch query key"]
Mask = Bool[Tensor, "..."]


def gaussian_scores(q: Query, k: Key, width: float) -> Scores:
    """Score by distance, `-|q - k|² / width`.

    It is the kernel of Nadaraya-Watson regression.

    Raises:
        ValueError: if `width` is not positive.

    Source: Nadaraya 1964; Watson 1964.
    """
    if width <= 0:
        raise ValueError(f"width must be positive, got {width}")
    difference = q[..., :, None, :] - k[..., None, :, :]
    return -difference.square().sum(dim=-1) / width


def dot_scores(q: Query, k: Key) -> Scores:
    """Score by inner product, `q · k`. Needs `d_q == d_k`.

    Source: Luong et al. 2015, equation 8 (dot).
    """
    return q @ k.mT


def scaled_dot_scores(q: Query, k: Key) -> Scores:
    """Score by inner product divided by `√d_k`.

    So its variance does not grow with `d_k`.

    Source: Vaswani et al. 2017, equation 1.
    """
    return dot_scores(q, k) / math.sqrt(k.shape[-1])


def bilinear_scores(q: Query, k: Key, w: Float[Tensor, "d_q d_k"]) -> Scores:
    """Score by `qᵀ W k`: an inner product after a learned linear map.

    It allows `d_q != d_k`.

    Source: Luong et al. 2015, equation 8 (general).
    """
    return q @ w @ k.mT


def additive_scores(
    q: Query,
    k: Key,
    w_q: Float[Tensor, "d_score d_q"],
    w_k: Float[Tensor, "d_score d_k"],
    v: Float[Tensor, " d_score"],
) -> Scores:
    """Score by a network with one hidden layer, `vᵀ tanh(W_q q + W_k k)`.

    Source: Bahdanau et al. 2015, appendix A.1.2.
    """
    return projected_scores(q @ w_q.T, k @ w_k.T, v)


def projected_scores(
    q: Float[Tensor, "*batch query d_score"],
    k: Float[Tensor, "*batch key d_score"],
    v: Float[Tensor, " d_score"],
) -> Scores:
    """Additive scores of queries and keys that are projected already."""
    # (batch, query, key, d_score)
    hidden = q[..., :, None, :] + k[..., None, :, :]
    return hidden.tanh() @ v


def concat_scores(
    q: Query,
    k: Key,
    w: Float[Tensor, "d_score d_q_plus_d_k"],
    v: Float[Tensor, " d_score"],
) -> Scores:
    """Score by `vᵀ tanh(W [q; k])`.

    These are additive scores whose two matrices stand side by side.

    Source: Luong et al. 2015, equation 8 (concat).
    """
    d_q = q.shape[-1]
    return additive_scores(q, k, w[:, :d_q], w[:, d_q:], v)


def soft_attention(
    scores: Scores, v: Value, mask: Mask | None = None
) -> tuple[Output, Scores]:
    """Attend softly: normalise the scores, then take the mean of the values.

    Returns:
        The outputs `(batch, query, d_v)` and the attention weights
        `(batch, query, key)`.

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
) -> tuple[Output, Scores]:
    """Attend to one key only: the best scored, or one drawn by its weight.

    Args:
        scores: `(batch, query, key)`.
        v: values, `(batch, key, d_v)`.
        mask: True = may attend. Every query needs at least one key.
        sample: draw the key instead of taking the best one.
        generator: for the draw.

    Returns:
        The outputs `(batch, query, d_v)` and one-hot weights
        `(batch, query, key)`, through which no gradient flows to the scores.

    Raises:
        ValueError: if a query may attend to nothing.

    Source: Xu et al. 2015, section 4.1.
    """
    weights = masked_softmax(scores, mask)
    if not bool(weights.any(dim=-1).all()):
        raise ValueError(
            "a query may attend to no key: hard attention has nothing to "
            "choose from"
        )
    if sample:
        rows = weights.flatten(0, -2)  # (batch · query, key)
        choice = torch.multinomial(rows, 1, generator=generator)
        choice = choice.view(scores.shape[:-1])
    else:
        choice = weights.argmax(dim=-1)  # (batch, query)
    one_hot = nn.functional.one_hot(choice, scores.shape[-1]).to(v.dtype)
    return one_hot @ v, one_hot


def local_window(
    scores: Scores,
    center: Float[Tensor, "*batch query"],
    half_width: int,
    mask: Mask | None = None,
) -> Scores:
    """Weights of Luong's local-p attention: a window around a predicted place.

    The place is a real number. Keys further than `half_width` from the centre
    get nothing. The others share a softmax, and each share is then multiplied
    by a Gaussian around the centre with standard deviation `half_width / 2`, so
    the weights sum to at most one, and the centre gets a gradient.

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
    bell = torch.exp(-2 * (distance / half_width).square())
    return masked_softmax(scores, near) * bell


ScoreName = Literal["dot", "scaled_dot", "bilinear", "additive", "concat"]


class Score(nn.Module):
    """A scoring function with its learned parameters.

    Args:
        name: which function; see the functions of the same names in this
            module.
        d_q: size of a query.
        d_k: size of a key.
        d_score: hidden units of the additive and concat scores; `d_k` if None.

    Raises:
        ValueError: for an unknown name, or unequal sizes with dot or scaled
            dot.
    """

    def __init__(
        self, name: ScoreName, d_q: int, d_k: int, d_score: int | None = None
    ) -> None:
        super().__init__()
        d_score = d_score or d_k
        if name in ("dot", "scaled_dot"):
            if d_q != d_k:
                raise ValueError(
                    f"{name} needs d_q == d_k, got {d_q} and {d_k}: use "
                    "bilinear"
                )
        elif name == "bilinear":
            self.w = uniform(d_q, d_k)
        elif name == "additive":
            self.w_q, self.w_k = uniform(d_score, d_q), uniform(d_score, d_k)
            self.v = uniform(d_score)
        elif name == "concat":
            self.w, self.v = uniform(d_score, d_q + d_k), uniform(d_score)
        else:
            raise ValueError(
                f"unknown score {name!r}: choose from "
                f"{', '.join(get_args(ScoreName))}"
            )
        self.name = name

    def project(self, k: Key) -> Float[Tensor, "*batch key d"]:
        """What this score compares queries with: work it out once a source."""
        if self.name == "additive":
            return k @ self.w_k.T
        if self.name == "concat":
            return k @ self.w[:, -k.shape[-1] :].T
        return k

    def forward(self, q: Query, k: Key) -> Scores:
        """Score every query against every key."""
        return self.compare(q, self.project(k))

    def compare(
        self, q: Query, projected: Float[Tensor, "*batch key d"]
    ) -> Scores:
        """Score every query against keys that `project` has projected."""
        if self.name == "additive":
            return projected_scores(q @ self.w_q.T, projected, self.v)
        if self.name == "concat":
            w_q = self.w[:, : q.shape[-1]]
            return projected_scores(q @ w_q.T, projected, self.v)
        if self.name == "bilinear":
            return bilinear_scores(q, projected, self.w)
        if self.name == "scaled_dot":
            return scaled_dot_scores(q, projected)
        return dot_scores(q, projected)


def uniform(*shape: int) -> nn.Parameter:
    """A parameter drawn uniformly from `±1/√(last dimension)`.

    As in `nn.Linear`.
    """
    bound = 1 / math.sqrt(shape[-1])
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
