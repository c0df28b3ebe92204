"""Exact search: the most likely sequence, with certainty."""

import math

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from attend.decoding.contract import (
    Decoded,
    Prompt,
    Step,
    check_start,
    checked,
    reorder,
    with_prompt,
)
from attend.state import State


@torch.no_grad()
def exact_search(
    step: Step,
    state: State,
    first: Int[Tensor, " batch"],
    eos_id: int,
    pad_id: int,
    max_length: int,
    start: Decoded,
    max_prefixes: int = 20_000,
    prompt: Prompt | None = None,
) -> Decoded:
    """Find the most likely sequence that ends by `max_length`, with certainty.

    A token can only lower a log-probability. So a beginning no likelier than a
    sequence that has already ended cannot lead to a better one and is dropped;
    all others are kept, however many.

    Args:
        step: the model, see `attend.decoding.contract`.
        state: where decoding starts.
        first: the tokens fed first, BOS as a rule, one for each row.
        eos_id: the token that ends a sequence; it is part of the result.
        pad_id: what follows EOS.
        max_length: the most tokens of a sequence, EOS included.
        start: sequences found by another search, with the same `max_length`:
            the more likely they are, the less there is to try. Those that were
            cut off do not count, nor those without the prompt.
        max_prefixes: how many beginnings to keep at most, over all sources.
        prompt: see `greedy`.

    Returns:
        The best sequences, without weights. Where none ends by `max_length`:
        length 0, log-probability −∞.

    Raises:
        TypeError: as `greedy`.
        ValueError: as `greedy`.
        RuntimeError: if there are more than `max_prefixes` beginnings to keep.

    Source: Stahlberg & Byrne 2019, section 3, by levels instead of depth first.
    """
    device = check_start(state, first, max_length)
    step, state = with_prompt(step, state, prompt, eos_id, pad_id, max_length)
    batch = len(first)
    found = torch.full((batch, max_length), pad_id, device=device)
    found[:, : start.tokens.shape[1]] = start.tokens
    ends = start.lengths.clamp(min=1)[:, None] - 1  # the last place of each
    ended = found.gather(1, ends).squeeze(1) == eos_id
    ended &= start.lengths > 0  # an empty place is no sequence
    if prompt is not None:
        ended &= begins_with(found, prompt.to(device), pad_id)
    found = found.masked_fill(~ended[:, None], pad_id)
    lengths = start.lengths.masked_fill(~ended, 0)
    best = start.log_probs.masked_fill(~ended, -math.inf)
    owner = torch.arange(batch, device=device)  # the source of each beginning
    total = torch.zeros(batch, device=device)
    prefixes = first[:, None].to(device)
    for length in range(1, max_length + 1):
        log_probs, state = checked(step, prefixes[:, -1], state)
        totals = total[:, None] + log_probs  # (beginnings, vocab)
        best = best.to(totals.dtype)
        better = (totals[:, eos_id] > best[owner]).nonzero().flatten()
        for row in better.tolist():
            source = int(owner[row])
            if totals[row, eos_id] > best[source]:
                best[source], lengths[source] = totals[row, eos_id], length
                found[source] = pad_id
                found[source, : length - 1] = prefixes[row, 1:]
                found[source, length - 1] = eos_id
        if length == max_length:
            break
        alive = totals > best[owner][:, None]
        rows, tokens = alive.nonzero(as_tuple=True)
        if len(rows) > max_prefixes:
            raise RuntimeError(
                f"{len(rows)} beginnings are still more likely than the best "
                "sequence found: pass fewer sources, a better `start` (a "
                "wider beam), or a larger max_prefixes"
            )
        if not len(rows):
            break
        state, owner = reorder(state, rows), owner[rows]
        total = totals[rows, tokens]
        prefixes = torch.cat([prefixes[rows], tokens[:, None]], dim=1)
    return Decoded(found[:, : max(int(lengths.max()), 1)], lengths, best, None)


def begins_with(
    tokens: Int[Tensor, "batch length"], prompt: Prompt, pad_id: int
) -> Bool[Tensor, " batch"]:
    """Say which sequences begin with their prompts."""
    begins = tokens[:, : prompt.shape[1]]
    given = prompt[:, : begins.shape[1]]
    return ((begins == given) | (given == pad_id)).all(dim=1)
