"""What given sequences are worth: their probability, and their order."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attend.decoding.contract import (
    NBest,
    Step,
    check_start,
    checked,
    repeat,
    rows_of,
    shape_of,
)
from attend.state import State


@torch.no_grad()
def sequence_log_probs(
    step: Step,
    state: State,
    tokens: Int[Tensor, "batch length"],
    lengths: Int[Tensor, " batch"],
    first: Int[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """The model's log-probability of given sequences, in nats.

    Their tokens are fed one by one.

    Args:
        step: the model, see `attend.decoding.contract`.
        state: where decoding starts.
        tokens: without the first ones, padded, as in `Decoded`.
        lengths: the number of tokens of each sequence, EOS included.
        first: the tokens fed first, BOS as a rule, one for each row.

    Raises:
        TypeError: as `greedy`.
        ValueError: as `greedy`.
    """
    device = check_start(state, first, max_length=max(tokens.shape[1], 1))
    total = torch.zeros(len(first), device=device)
    last = first.to(device)
    for time, token in enumerate(tokens.unbind(dim=1)):
        log_probs, state = checked(step, last, state)
        each = log_probs.gather(-1, token[:, None]).squeeze(-1)
        total = total + each.where(time < lengths, 0.0)
        last = token
    return total


@torch.no_grad()
def mutual_information(
    step: Step,
    found: NBest,
    others: State,
    first: Int[Tensor, " batch"],
    weight: float = 1.0,
    num_best: int | None = None,
) -> NBest:
    """Rank sequences anew: what would be written about any source loses.

    The new score is `log p(y | x) - weight · log p(y)`, where `p(y)` is the
    mean of `p(y | x')` over other sources `x'`. With weight 1 that is the
    pointwise mutual information of `x` and `y`.

    Args:
        step: the model, see `attend.decoding.contract`.
        found: what a search has found, without a prompt.
        others: the state from which decoding the other sources starts.
        first: the tokens fed first, BOS as a rule, one for each source.
        weight: 0 ranks by log-probability alone.
        num_best: how many sequences to return for each source; all if None.

    Returns:
        The best of the sequences in their new order, with their new scores.

    Raises:
        TypeError: as `greedy`.
        ValueError: as `greedy`, or if the weight is not from 0 to 1e30, or
            `num_best` not positive.

    Source: after Li et al. 2016 (MMI-antiLM). There `p(y)` is a language
    model's and counts for the first words of `y` only.
    """
    if not 0 <= weight <= 1e30:
        raise ValueError(
            f"weight must be zero or a positive number, got {weight}"
        )
    if not isinstance(first, Tensor) or first.shape != found.tokens.shape[:1]:
        raise ValueError(
            f"first must be a tensor of {len(found.tokens)} token ids, one for "
            f"each source, got {shape_of(first)}"
        )
    if num_best is not None and num_best < 1:
        raise ValueError(f"num_best must be at least 1, got {num_best}")
    scores = found.log_probs.clone()  # −∞ in the empty places
    for row, lengths in enumerate(found.lengths if weight else ()):
        real = lengths > 0
        if bool(real.any()):
            tokens = found.tokens[row, real, : int(lengths.max())]
            begin = first[row].expand(len(tokens))
            given = (tokens, lengths[real], begin)
            prior = mean_log_probs(step, others, *given)
            scores[row, real] -= weight * prior
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    scores, order = scores[:, :num_best], order[:, :num_best]
    rows = torch.arange(len(order), device=order.device)[:, None]
    weights = found.weights
    return NBest(
        found.tokens[rows, order],
        found.lengths.gather(1, order),
        found.log_probs.gather(1, order),
        scores,
        None if weights is None else weights[rows, order],
    )


@torch.no_grad()
def mean_log_probs(
    step: Step,
    others: State,
    tokens: Int[Tensor, "best length"],
    lengths: Int[Tensor, " best"],
    first: Int[Tensor, " best"],
) -> Float[Tensor, " best"]:
    """The logarithm of the mean probability of sequences.

    The mean is over sources that they were not written for.

    Args:
        step: the model, see `attend.decoding.contract`.
        others: the state from which decoding those sources starts.
        tokens: the sequences, without the first tokens, padded.
        lengths: the number of tokens of each, EOS included.
        first: the tokens fed first.
    """
    num = len(rows_of(others))
    state = repeat(others, len(tokens))  # every source with every sequence
    again = (tokens.repeat(num, 1), lengths.repeat(num), first.repeat(num))
    each = sequence_log_probs(step, state, *again)
    # the mean of p, not of log p
    return each.view(num, -1).logsumexp(dim=0) - math.log(num)
