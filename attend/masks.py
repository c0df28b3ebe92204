"""Masks say what may be attended to.

They are boolean, and True means "may attend".
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def padding_mask(
    lengths: Int[Tensor, " batch"], max_length: int
) -> Bool[Tensor, "batch length"]:
    """Mark the real positions of each sequence of a padded batch.

    Args:
        lengths: the number of real tokens of each sequence, `(batch,)`.
        max_length: the padded length.

    Returns:
        `(batch, max_length)`, True where the position holds a real token.

    Raises:
        ValueError: if a length is negative or greater than `max_length`.
    """
    if lengths.numel() and (
        int(lengths.max()) > max_length or int(lengths.min()) < 0
    ):
        raise ValueError(
            f"lengths run from {int(lengths.min())} to {int(lengths.max())}, "
            f"but the batch is padded to {max_length}: pass "
            f"max_length={int(lengths.max())} or cut the sequences"
        )
    positions = torch.arange(max_length, device=lengths.device)
    # (1, length) < (batch, 1) -> (batch, length)
    return positions < lengths[:, None]


def masked_softmax(
    scores: Float[Tensor, "*shape"], mask: Bool[Tensor, "..."] | None = None
) -> Float[Tensor, "*shape"]:
    """Softmax over the last dimension, with exactly zero weight on masked keys.

    The masked scores become minus infinity *before* the softmax, so they take
    no share of the sum. A query that may attend to nothing gets zeros instead
    of NaN.

    Args:
        scores: `(..., query, key)`.
        mask: boolean, broadcastable to `scores`, True = may attend; None allows
            everything.

    Returns:
        Weights of the same shape. Each row sums to one, or to zero where no key
        is allowed.

    Raises:
        TypeError: if the mask is not boolean.
        ValueError: if the mask cannot be broadcast to the scores.
    """
    if mask is None:
        return scores.softmax(dim=-1)
    check_mask(mask, scores)
    weights = scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)
    # no key at all: 0, not NaN
    return weights.masked_fill(~mask.any(dim=-1, keepdim=True), 0.0)


def check_mask(mask: Tensor, scores: Tensor) -> None:
    """Raise a clear error unless `mask` is boolean and fits `scores`.

    It fits if it broadcasts to the shape of the scores.
    """
    kind = mask.dtype if isinstance(mask, Tensor) else type(mask)
    if kind != torch.bool:
        raise TypeError(
            "the mask must be a boolean tensor with True = may attend, got "
            f"{kind}: make one, for example `mask = torch.as_tensor(mask) > 0`"
        )
    try:
        fits = torch.broadcast_shapes(mask.shape, scores.shape) == scores.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"a mask of shape {tuple(mask.shape)} cannot be broadcast to "
            f"scores of shape {tuple(scores.shape)}: a padding mask (batch, "
            "key) needs a query dimension, `mask[:, None, :]`"
        )
