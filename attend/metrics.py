"""How good is an output? Every measure ignores padding."""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attend.data.batching import Batch
from attend.training import teacher_forced_loss


def token_accuracy(
    predicted: Int[Tensor, "batch length"],
    tgt: Int[Tensor, "batch tgt"],
    pad_id: int = 0,
) -> float:
    """The share of real target tokens that are predicted right, place by place.

    A prediction may be shorter or longer than the target: missing places are
    wrong, places after the target's end are not looked at.

    Raises:
        ValueError: if there is no real target token.
    """
    predicted = fit_length(predicted, tgt.shape[1], pad_id)
    real = tgt != pad_id
    if not bool(real.any()):
        raise ValueError("every target is padding: there is nothing to measure")
    return ((predicted == tgt) & real).sum().item() / int(real.sum())


def exact_match(
    predicted: Int[Tensor, "batch length"],
    tgt: Int[Tensor, "batch tgt"],
    pad_id: int = 0,
) -> float:
    """The share of sequences that are right in every token, the end included.

    Raises:
        ValueError: if there is no sequence.
    """
    if not len(tgt):
        raise ValueError("there are no sequences: there is nothing to measure")
    length = max(predicted.shape[1], tgt.shape[1])
    same = fit_length(predicted, length, pad_id) == fit_length(
        tgt, length, pad_id
    )
    return same.all(dim=1).double().mean().item()


def fit_length(ids: Tensor, length: int, pad_id: int) -> Tensor:
    """Cut or pad `(..., old)` ids to `(..., length)`."""
    return torch.nn.functional.pad(
        ids, (0, length - ids.shape[-1]), value=pad_id
    )


def alignment_accuracy(
    weights: Float[Tensor, "batch query key"],
    gold: Bool[Tensor, "batch query key"],
) -> float:
    """The share of outputs whose largest attention weight is on a right input.

    Args:
        weights: attention weights.
        gold: True where an output and an input belong together. Outputs that
            belong to no input (a row of False) are not counted.

    Raises:
        ValueError: if the shapes differ or no output has a gold input.
    """
    if weights.shape != gold.shape:
        raise ValueError(
            f"weights {tuple(weights.shape)} and gold {tuple(gold.shape)} "
            "must have one shape"
        )
    counted = gold.any(dim=-1)  # (batch, query)
    if not bool(counted.any()):
        raise ValueError("no output has a gold input: is the alignment empty?")
    hit = gold.gather(-1, weights.argmax(dim=-1, keepdim=True)).squeeze(-1)
    return hit[counted].double().mean().item()


@torch.no_grad()
def perplexity(
    model: nn.Module, batches: Iterable[Batch], pad_id: int = 0
) -> float:
    """How many tokens, equally likely, a model is as unsure between.

    It is the exponential of the mean loss, over all real target tokens, the end
    included, of all batches. So it does not depend on how the pairs are cut
    into batches. The model hears the true prefix each time.

    Args:
        model: called as `model(src, src_lengths, tgt_in)`, returns logits; in
            eval mode.
        batches: the batches to measure on.
        pad_id: the padding token, which is not counted.

    Raises:
        ValueError: if the model is in training mode, or there is no real target
            token.
    """
    if model.training:
        raise ValueError(
            "the model is in training mode, where dropout adds loss: call "
            "eval()"
        )
    nats, count = 0.0, 0
    for batch in batches:
        real = int((batch.tgt_lengths - 1).sum())
        nats += teacher_forced_loss(model, batch, pad_id).item() * real
        count += real
    if not count:
        raise ValueError("there are no batches: there is nothing to measure")
    return torch.tensor(nats / count, dtype=torch.float64).exp().item()


def distinct_n(sequences: Sequence[Sequence[str]], n: int) -> float:
    """How varied sequences are: different n-grams as a share of all n-grams.

    1 if no n-gram comes twice. It falls as the sequences grow in number, so
    compare equal numbers.

    Args:
        sequences: tokens of each sequence. Those shorter than `n` have no
            n-gram.
        n: tokens in an n-gram.

    Raises:
        ValueError: if `n` is not positive, or no sequence has `n` tokens.

    Source: after Li et al. 2016, section 5.3, who divide by the number of
        tokens.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    ngrams = [
        tuple(tokens[i : i + n])
        for tokens in sequences
        for i in range(len(tokens) - n + 1)
    ]
    if not ngrams:
        raise ValueError(
            f"no sequence has {n} tokens: there is nothing to measure"
        )
    return len(set(ngrams)) / len(ngrams)
