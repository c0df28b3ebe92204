"""Searches that write one sequence a source: greedy search and sampling."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attend.decoding.contract import (
    Decoded,
    Prompt,
    Step,
    check_start,
    checked,
    joined,
    with_prompt,
)
from attend.state import State

Choose = Callable[[Tensor], Tensor]


def greedy(
    step: Step,
    state: State,
    first: Int[Tensor, " batch"],
    eos_id: int,
    pad_id: int,
    max_length: int,
    prompt: Prompt | None = None,
) -> Decoded:
    """Take the most likely token at every step, until every sequence has ended.

    Args:
        step: the model, see `attend.decoding.contract`.
        state: where decoding starts.
        first: the tokens fed first, BOS as a rule, one for each row.
        eos_id: the token that ends a sequence; it is part of the result.
        pad_id: what follows EOS.
        max_length: the most tokens of a sequence, EOS and prompt included.
        prompt: `(batch, prompt)`, padded at the end: what each sequence goes on
            from, after `first`. It is part of the result and of its length, and
            takes no part in its log-probability.

    Raises:
        TypeError: if what `step` returns is not `(log_probs, state)`.
        ValueError: if `max_length` is not positive, the state is empty, `first`
            or the prompts do not fit it, or `step` changes its state in place
            or returns numbers that are no log-probabilities, or of the wrong
            shape.
    """
    ids = (first, eos_id, pad_id, max_length)
    return rollout(step, state, most_likely, *ids, prompt)


def most_likely(
    log_probs: Float[Tensor, "batch vocab"],
) -> Int[Tensor, " batch"]:
    """The most likely token of each row."""
    return log_probs.argmax(dim=-1)


def sample(
    step: Step,
    state: State,
    first: Int[Tensor, " batch"],
    eos_id: int,
    pad_id: int,
    max_length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    prompt: Prompt | None = None,
) -> Decoded:
    """Draw each token from the model's distribution.

    Or from a sharper or shorter one.

    Args:
        step: the model, see `attend.decoding.contract`.
        state: where decoding starts.
        first: the tokens fed first, BOS as a rule, one for each row.
        eos_id: the token that ends a sequence; it is part of the result.
        pad_id: what follows EOS.
        max_length: the most tokens of a sequence, EOS and prompt included.
        temperature: see `truncate`.
        top_k: see `truncate`.
        top_p: see `truncate`.
        generator: for the draws; the global one if None.
        prompt: see `greedy`.

    Returns:
        The sequences drawn. Their `log_probs` are the model's own, whatever the
        temperature.

    Raises:
        TypeError: as `greedy`.
        ValueError: as `greedy`, and as `truncate`.
    """

    def choose(log_probs: Tensor) -> Tensor:
        kept = truncate(log_probs, temperature, top_k, top_p)
        drawn = torch.multinomial(kept.exp(), 1, generator=generator)
        return drawn.squeeze(-1)

    ids = (first, eos_id, pad_id, max_length)
    return rollout(step, state, choose, *ids, prompt)


def truncate(
    log_probs: Float[Tensor, "*batch vocab"],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Float[Tensor, "*batch vocab"]:
    """Sharpen or flatten a distribution, then keep its head only.

    Args:
        log_probs: any scores whose softmax is the distribution.
        temperature: divides the scores. Below 1 the likely becomes likelier,
            above 1 less so.
        top_k: keep the `k` most likely tokens; the whole vocabulary where it
            has no more.
        top_p: then keep the nucleus: the fewest tokens, the most likely first,
            that together have probability `p` or more. The most likely one
            always stays.

    Returns:
        Log-probabilities that sum to one over what was kept, −∞ elsewhere.

    Raises:
        ValueError: if the temperature is not positive, `top_k` not at least 1,
            or `top_p` not above 0 and at most 1.

    Source: Fan et al. 2018 (top-k); Holtzman et al. 2020, section 3.1
    (nucleus).
    """
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(
            f"temperature must be a positive number, got {temperature}; or "
            "use greedy"
        )
    if top_k is not None and top_k < 1:
        raise ValueError(
            f"top_k must be at least 1, got {top_k}: leave it out to keep "
            "every token"
        )
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {top_p}")
    # Beyond these the result is the same, and 32 bits cannot hold them.
    temperature = min(max(temperature, 1e-30), 1e30)
    # taken off first, so that nothing overflows
    largest = log_probs.amax(dim=-1, keepdim=True)
    kept = ((log_probs - largest) / temperature).log_softmax(dim=-1)
    if top_k is not None:
        best = kept.topk(min(top_k, kept.shape[-1]), dim=-1).indices
        outside = torch.ones_like(kept, dtype=torch.bool)
        outside = outside.scatter(-1, best, False)
        kept = kept.masked_fill(outside, float("-inf")).log_softmax(dim=-1)
    if top_p is not None and top_p < 1:
        ordered, order = kept.sort(dim=-1, descending=True, stable=True)
        # what the likelier ones add up to
        before = ordered.exp().cumsum(dim=-1).roll(1, dims=-1)
        before[..., 0] = -1.0  # the first always stays, however small top_p
        outside = (before >= top_p).scatter(-1, order, before >= top_p)
        kept = kept.masked_fill(outside, float("-inf")).log_softmax(dim=-1)
    return kept


@torch.no_grad()
def rollout(
    step: Step,
    state: State,
    choose: Choose,
    first: Int[Tensor, " batch"],
    eos_id: int,
    pad_id: int,
    max_length: int,
    prompt: Prompt | None = None,
) -> Decoded:
    """Write one sequence for each source, each token chosen by `choose`.

    `greedy` and `sample` are this, with their own
    `choose(log_probs) -> tokens`.
    """
    device = check_start(state, first, max_length)
    step, state = with_prompt(step, state, prompt, eos_id, pad_id, max_length)
    token = first.to(device)
    done = torch.zeros(len(first), dtype=torch.bool, device=device)
    total = torch.zeros(len(first), device=device)
    tokens, weights = [], []
    for _ in range(max_length):
        log_probs, state = checked(step, token, state)
        token = choose(log_probs)
        chosen = log_probs.gather(-1, token[:, None]).squeeze(-1)
        token = token.masked_fill(done, pad_id)
        total = total + chosen.masked_fill(done, 0.0)
        tokens.append(token)
        if "weights" in state:
            looks = state["weights"]  # (batch, …, 1, key)
            over = done[(..., *[None] * (looks.dim() - 1))]
            weights.append(looks.masked_fill(over, 0.0))
        done = done | (token == eos_id)
        if bool(done.all()):
            break
    ids = torch.stack(tokens, dim=1)  # (batch, length)
    is_eos = ids == eos_id
    before = is_eos.cumsum(dim=1) - is_eos.long()  # EOS seen before this token
    lengths = (before == 0).sum(dim=1)
    return Decoded(ids, lengths, total, joined(weights))
