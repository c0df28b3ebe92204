"""Beam search: the most likely beginnings, side by side."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attend.decoding.contract import (
    NBest,
    Prompt,
    Step,
    check_start,
    checked,
    joined,
    reorder,
    repeat,
    rows_of,
    with_prompt,
)
from attend.state import State


@torch.no_grad()
def beam_search(
    step: Step,
    state: State,
    first: Int[Tensor, " batch"],
    eos_id: int,
    pad_id: int,
    max_length: int,
    beam_size: int = 4,
    num_best: int = 1,
    length_penalty: float = 0.0,
    coverage_penalty: float = 0.0,
    min_length: int = 1,
    prompt: Prompt | None = None,
) -> NBest:
    """Keep the `beam_size` most likely beginnings, return the best that end.

    At every step each beginning is continued with every token, and the
    `beam_size` most likely continuations stay. Those that end with EOS are
    finished and leave the beam. The search for a source stops when no beginning
    can still overtake its `num_best` finished sequences, or at `max_length`.
    What `max_length` cuts off is returned only where nothing has finished.

    The penalties rank what has finished; which beginnings stay is decided by
    log-probability alone. With a length penalty a beginning counts as able to
    overtake while its log-probability, divided by the largest `lp` still
    possible, is above the worst score to be returned.

    Args:
        step: the model, see `attend.decoding.contract`.
        state: where decoding starts.
        first: the tokens fed first, BOS as a rule, one for each row.
        eos_id: the token that ends a sequence; it is part of the result.
        pad_id: what follows EOS.
        max_length: the most tokens of a sequence, EOS included.
        beam_size: how many beginnings are kept: 1 (greedy search) to the size
            of the vocabulary, or the size of the vocabulary to the power of
            `max_length` (exhaustive search).
        num_best: how many sequences to return for each source, at most
            `beam_size`.
        length_penalty: `α` of GNMT's `lp`: 0 ranks by log-probability, 0.6 to 1
            is usual and favours longer sequences. See `rank`.
        coverage_penalty: `β` of GNMT's `cp`: 0 leaves coverage out. Others need
            a step that keeps `weights` and `mask` in the state. See `rank`.
        min_length: the fewest tokens of a sequence, EOS included.
        prompt: see `greedy`.

    Returns:
        The `num_best` best sequences for each source.

    Raises:
        TypeError: if what `step` returns is not `(log_probs, state)`.
        ValueError: if a number is outside its range, the state is empty, `step`
            returns numbers that are no log-probabilities, or of the wrong
            shape, or coverage is asked for and the state has no `weights` and
            `mask`.

    Source: Sutskever et al. 2014, section 3.2; Wu et al. 2016 (GNMT),
    section 7.
    """
    check_start(state, first, max_length)
    if beam_size < 1:
        raise ValueError(f"beam_size must be at least 1, got {beam_size}")
    if not 1 <= num_best <= beam_size:
        raise ValueError(
            f"num_best must be from 1 to beam_size={beam_size}, got {num_best}"
        )
    if not 1 <= min_length <= max_length:
        raise ValueError(
            f"min_length must be from 1 to max_length={max_length}, got "
            f"{min_length}"
        )
    check_penalties(length_penalty, coverage_penalty, max_length)
    step, state = with_prompt(step, state, prompt, eos_id, pad_id, max_length)
    penalties = (length_penalty, coverage_penalty)
    beam = Beam(state, first, max_length, beam_size, num_best, *penalties)
    for length in range(1, max_length + 1):
        beam.extend(step, eos_id, may_end=length >= min_length)
        if beam.done:
            break
    return beam.result(pad_id)


def rank(
    log_probs: Float[Tensor, "*batch"],
    length: int,
    length_penalty: float,
    coverage: Float[Tensor, "*batch"] | float = 0.0,
) -> Float[Tensor, "*batch"]:
    """Score sequences of one length as GNMT does: `log p / lp + cp`.

    `lp = ((5 + length) / 6) ** α` makes up for the log-probability that each
    token costs.

    Args:
        log_probs: the model's log-probability of each sequence, in nats.
        length: the number of tokens, EOS included.
        length_penalty: `α`.
        coverage: `cp = β · Σ_j log min(Σ_i α_ij, 1)`, over the source's tokens
            `j` and the sequence's tokens `i`: 0 if each of the source's tokens
            was looked at with a weight of 1 in all, else negative. (The
            logarithm is cut off at 1e-6, about -14.)

    Source: Wu et al. 2016 (GNMT), equation 14.
    """
    return log_probs / ((5 + length) / 6) ** length_penalty + coverage


class Beam:
    """The beginnings kept for each source, and what has finished.

    Attributes:
        live: `(batch, beam)`, the log-probability of each beginning; −∞ marks
            an empty place.
        tokens: `(batch, beam)`, the last token of each.
        state: the model's, `batch · beam` rows.
        history: for every step the token, the parent's place and the weights of
            each beginning.
        best: the finished sequences with the highest scores: score,
            log-probability, length, and place in the history, each
            `(batch, num_best)`.
        done: whether no beginning can still change `best`.
    """

    def __init__(
        self,
        state: State,
        first: Int[Tensor, " batch"],
        max_length: int,
        beam_size: int,
        num_best: int,
        length_penalty: float,
        coverage_penalty: float,
    ) -> None:
        batch, self.device = len(first), rows_of(state).device
        self.state, self.max_length = repeat(state, beam_size), max_length
        self.length_penalty = length_penalty
        self.coverage_penalty = coverage_penalty
        self.live = torch.full((batch, beam_size), -math.inf)
        self.live[:, 0] = 0.0  # to begin with there is one beginning
        self.live = self.live.to(self.device)
        self.tokens = first[:, None].repeat(1, beam_size).to(self.device)
        # by any step: the same for all beginnings of a source
        self.unchanged = set(state)
        self.covered: Tensor | None = None
        # the score for what each beginning has looked at
        self.coverage: Tensor | float = 0.0
        self.history: list[tuple[Tensor, Tensor, Tensor | None]] = []
        nothing = torch.full((batch, num_best), -math.inf, device=self.device)
        nowhere = torch.zeros(
            (batch, num_best), dtype=torch.long, device=self.device
        )
        self.best = [nothing, nothing, nowhere, nowhere]
        self.done = False

    def extend(self, step: Step, eos_id: int, may_end: bool) -> None:
        """Continue every beginning by one token and keep the most likely."""
        batch, beam = self.live.shape
        before = self.state
        log_probs, after = checked(step, self.tokens.flatten(), before)
        if not self.history:
            check_beam_fits(beam, log_probs.shape[1], self.max_length)
        if not may_end:
            never = self.tokens.new_tensor([eos_id])
            log_probs = log_probs.index_fill(1, never, -math.inf)
        log_probs = log_probs.view(batch, beam, -1)
        best = continuations(self.live, log_probs)
        self.live, parents, self.tokens = best
        first_rows = beam * torch.arange(batch, device=self.device)
        rows = (first_rows[:, None] + parents).flatten()
        self.unchanged = {
            name for name in self.unchanged if after.get(name) is before[name]
        }
        kept = {name: after[name] for name in self.unchanged}
        moved = {name: after[name] for name in after.keys() - kept.keys()}
        self.state = kept | reorder(moved, rows)
        weights = self.state.get("weights")  # (batch · beam, …, 1, key)
        if weights is not None:
            weights = weights.unflatten(0, (batch, beam))
        self.history.append((self.tokens, parents, weights))
        if self.coverage_penalty:
            self.cover(parents, weights)
        ended = self.tokens == eos_id
        self.finish(ended)
        self.live = self.live.masked_fill(ended, -math.inf)
        alive = self.live.amax(dim=1)
        bound = rank(alive, self.max_length, self.length_penalty)
        # nothing alive can overtake the last of the best
        settled = bound <= self.best[0][:, -1]
        self.live = self.live.masked_fill(settled[:, None], -math.inf)
        self.done = bool(settled.all())

    def cover(self, parents: Tensor, weights: Tensor | None) -> None:
        """Add up what each beginning has looked at, and score it."""
        if weights is None or "mask" not in self.state:
            raise ValueError(
                "coverage_penalty needs the attention `weights` of each step "
                "and the `mask` of the source in the state, which has only "
                f"{', '.join(sorted(self.state))}: use a model with "
                "attention, or coverage_penalty=0"
            )
        # the mean over layers and heads, (batch, beam, key)
        looks = weights.flatten(2, -2).mean(dim=2)
        mask = self.state["mask"]
        before = looks if self.covered is None else self.covered
        keys = looks.shape[2]
        if mask.shape[1:] != (1, keys) or before.shape[2] != keys:
            raise ValueError(
                "coverage_penalty needs weights on the source and a mask "
                f"(batch, 1, {looks.shape[2]}) of it, got a mask "
                f"{tuple(mask.shape)}: use coverage_penalty=0"
            )
        if self.covered is None:
            self.covered = torch.zeros_like(looks)
        parents = parents[:, :, None].expand_as(looks)
        self.covered = self.covered.gather(1, parents) + looks
        # a key never looked at: -14, not -inf
        logs = self.covered.clamp(min=1e-6, max=1).log()
        logs = logs.where(mask.view_as(logs), 0.0)
        self.coverage = self.coverage_penalty * logs.sum(dim=-1)

    def finish(self, which: Tensor) -> None:
        """Let those beginnings compete for a place among the best."""
        length = len(self.history)
        scores = rank(self.live, length, self.length_penalty, self.coverage)
        places = torch.arange(scores.shape[1], device=self.device)
        places = places.expand_as(scores)
        lengths = torch.full_like(places, length)
        new = [scores.where(which, -math.inf), self.live, lengths, places]
        pairs = zip(self.best, new, strict=True)
        pool = [torch.cat(pair, dim=1) for pair in pairs]
        order = pool[0].sort(dim=1, descending=True, stable=True).indices
        order = order[:, : self.best[0].shape[1]]
        self.best = [values.gather(1, order) for values in pool]

    def result(self, pad_id: int) -> NBest:
        """Follow the parents back from the end of each of the best."""
        # what was cut off
        self.finish(self.live.isfinite() & self.best[0][:, :1].isinf())
        scores, log_probs, lengths, places = self.best
        sources = torch.arange(len(places), device=self.device)[:, None]
        tokens, weights = [], []
        longest = int(lengths.max())
        for time in range(max(longest, 1), 0, -1):
            written, parents, looked = self.history[time - 1]
            here = time <= lengths  # (batch, best)
            tokens.append(written.gather(1, places).where(here, pad_id))
            if looked is not None:
                look = looked[sources, places]  # (batch, best, …, 1, key)
                real = here[(..., *[None] * (look.dim() - 2))]
                weights.append(look.where(real, 0.0))
            places = parents.gather(1, places).where(here, places)
        ids = torch.stack(tokens[::-1], dim=2)[:, :, :longest]
        looks = joined(weights[::-1])
        if looks is not None:
            looks = looks[..., :longest, :]
        return NBest(ids, lengths, log_probs, scores, looks)


def continuations(
    live: Float[Tensor, "batch beam"],
    log_probs: Float[Tensor, "batch beam vocab"],
) -> tuple[
    Float[Tensor, "batch beam"],
    Int[Tensor, "batch beam"],
    Int[Tensor, "batch beam"],
]:
    """One step of the beam: the most likely of all continuations.

    As many are kept as there were beginnings.

    Args:
        live: the log-probability of each beginning, −∞ for an empty place.
        log_probs: those of its next tokens.

    Returns:
        The log-probability of each continuation, the place of its parent, and
        its new token.
    """
    totals = live[:, :, None] + log_probs  # (batch, beam, vocab)
    best, flat = totals.flatten(1).topk(live.shape[1])  # (batch, beam)
    return best, flat // log_probs.shape[2], flat % log_probs.shape[2]


def check_beam_fits(beam_size: int, vocab_size: int, max_length: int) -> None:
    """Refuse a beam wider than the vocabulary.

    Unless it has room for every sequence there is.
    """
    if beam_size > vocab_size and beam_size != vocab_size**max_length:
        raise ValueError(
            f"beam_size={beam_size} is larger than the vocabulary of "
            f"{vocab_size} tokens, so the first step cannot fill it: choose "
            f"at most {vocab_size} (for an exhaustive search exactly "
            "vocab_size ** max_length)"
        )


def largest_length_penalty(max_length: int) -> float:
    """The `α` that divides log-probabilities by no more than 1e30.

    32 bits hold no number below 1e-38. It is rounded down to a tenth.
    """
    return math.floor(300 / math.log10(max(5 + max_length, 7) / 6)) / 10


def check_penalties(
    length_penalty: float, coverage_penalty: float, max_length: int
) -> None:
    """Refuse penalties under which scores are no longer numbers."""
    for name, penalty in (
        ("length_penalty", length_penalty),
        ("coverage_penalty", coverage_penalty),
    ):
        if not (penalty >= 0 and math.isfinite(penalty)):
            raise ValueError(
                f"{name} must be zero or a positive number, got {penalty}"
            )
    most = largest_length_penalty(max_length)
    if length_penalty > most:
        raise ValueError(
            f"length_penalty={length_penalty:g} divides log-probabilities of "
            f"{max_length} tokens by more than 1e30, which leaves nothing of "
            f"them: choose at most {most:.1f}; 0.6 to 1 is usual"
        )
    if coverage_penalty > 1e30:
        raise ValueError(
            f"coverage_penalty={coverage_penalty:g} leaves nothing of the "
            "log-probabilities: around 0.2 is usual"
        )
