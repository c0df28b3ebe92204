"""How good is an output? Every measure ignores padding."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def token_accuracy(
    predicted: Int[Tensor, "batch length"], tgt: Int[Tensor, "batch tgt"], pad_id: int = 0
) -> float:
    """The share of real target tokens that the prediction has right, place by place.

    A prediction may be shorter or longer than the target: missing places are wrong, places after
    the target's end are not looked at.

    Raises:
        ValueError: if there is no real target token.
    """
    predicted = fit_length(predicted, tgt.shape[1], pad_id)
    real = tgt != pad_id
    if not bool(real.any()):
        raise ValueError("every target is padding: there is nothing to measure")
    return ((predicted == tgt) & real).sum().item() / int(real.sum())


def exact_match(
    predicted: Int[Tensor, "batch length"], tgt: Int[Tensor, "batch tgt"], pad_id: int = 0
) -> float:
    """The share of sequences that are right in every token, the end included.

    Raises:
        ValueError: if there is no sequence.
    """
    if not len(tgt):
        raise ValueError("there are no sequences: there is nothing to measure")
    length = max(predicted.shape[1], tgt.shape[1])
    same = fit_length(predicted, length, pad_id) == fit_length(tgt, length, pad_id)
    return same.all(dim=1).double().mean().item()


def fit_length(ids: Tensor, length: int, pad_id: int) -> Tensor:
    """Cut or pad `(batch, old)` ids to `(batch, length)`."""
    return torch.nn.functional.pad(ids, (0, length - ids.shape[1]), value=pad_id)


def alignment_accuracy(
    weights: Float[Tensor, "batch query key"], gold: Bool[Tensor, "batch query key"]
) -> float:
    """The share of outputs whose largest attention weight falls on a right input.

    Args:
        weights: attention weights.
        gold: True where an output and an input belong together. Outputs that belong to no input
            (a row of False) are not counted.

    Raises:
        ValueError: if the shapes differ or no output has a gold input.
    """
    if weights.shape != gold.shape:
        raise ValueError(
            f"weights {tuple(weights.shape)} and gold {tuple(gold.shape)} must have one shape"
        )
    counted = gold.any(dim=-1)  # (batch, query)
    if not bool(counted.any()):
        raise ValueError("no output has a gold input: is the alignment empty?")
    hit = gold.gather(-1, weights.argmax(dim=-1, keepdim=True)).squeeze(-1)
    return hit[counted].double().mean().item()
