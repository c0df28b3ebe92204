"""From a model's next-token probabilities to whole sequences.

Every search works through one contract, so it knows nothing of the model:

    step(tokens, state) -> (log_probs, state)

`tokens` `(batch,)` are the last tokens, `log_probs` `(batch, vocab)` those of the next ones. A
state is a dict of tensors whose first dimension is the batch, so that sentences can be dropped,
repeated or reordered by one `index_select(0, …)` a tensor. A step returns a new state and leaves
the tensors of the old one as they are; what it passes on untouched belongs to the source, and is
the same for every hypothesis about it. Two names mean something to a search: `weights`
`(batch, 1, key)`, the attention weights of the step, and `mask` `(batch, 1, key)`, the real keys.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

State = dict[str, Tensor]
Step = Callable[[Tensor, State], tuple[Tensor, State]]
Choose = Callable[[Tensor], Tensor]


class Decoded(NamedTuple):
    """Sequences found by a search, one for each source.

    Attributes:
        tokens: `(batch, length)`, without BOS, ending with EOS unless cut off, then padded.
        lengths: `(batch,)`, the number of tokens, EOS included.
        log_probs: `(batch,)`, the model's log-probability of each sequence, in nats.
        weights: `(batch, length, key)`, the attention weights at each token, or None for a model
            whose state has none.
    """

    tokens: Int[Tensor, "batch length"]
    lengths: Int[Tensor, " batch"]
    log_probs: Float[Tensor, " batch"]
    weights: Float[Tensor, "batch length key"] | None


class NBest(NamedTuple):
    """The best sequences found for each source, the best first.

    Where fewer were found, the last places are empty: length 0, log-probability and score −∞.

    Attributes:
        tokens: `(batch, best, length)`, without BOS, ending with EOS unless cut off, then padded.
        lengths: `(batch, best)`, the number of tokens, EOS included.
        log_probs: `(batch, best)`, the model's log-probability of each sequence, in nats.
        scores: `(batch, best)`, what they are ranked by, falling; see `beam_search`.
        weights: `(batch, best, length, key)`, the attention weights at each token, or None.
    """

    tokens: Int[Tensor, "batch best length"]
    lengths: Int[Tensor, "batch best"]
    log_probs: Float[Tensor, "batch best"]
    scores: Float[Tensor, "batch best"]
    weights: Float[Tensor, "batch best length key"] | None

    def first(self) -> Decoded:
        """The best sequence for each source alone."""
        length = int(self.lengths[:, 0].max())
        weights = None if self.weights is None else self.weights[:, 0, :length]
        return Decoded(
            self.tokens[:, 0, :length], self.lengths[:, 0], self.log_probs[:, 0], weights
        )


def greedy(
    step: Step, state: State, bos_id: int, eos_id: int, pad_id: int, max_length: int
) -> Decoded:
    """Take the most likely token at every step, until every sequence has ended.

    Args:
        step: the model, see the top of `attend.decoding`.
        state: where decoding starts; the batch size is read off it.
        bos_id: the token fed first.
        eos_id: the token that ends a sequence; it is part of the result.
        pad_id: what follows EOS.
        max_length: the most tokens to produce, EOS included.

    Raises:
        TypeError: if what `step` returns is not `(log_probs, state)`.
        ValueError: if `max_length` is not positive, the state is empty, or `step` returns numbers
            that are no log-probabilities, or of the wrong shape.
    """
    return rollout(
        step, state, lambda log_probs: log_probs.argmax(dim=-1), bos_id, eos_id, pad_id, max_length
    )


def sample(
    step: Step,
    state: State,
    bos_id: int,
    eos_id: int,
    pad_id: int,
    max_length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Decoded:
    """Draw each token from the model's distribution, or from a sharper or shorter one.

    Args:
        step: the model, see the top of `attend.decoding`.
        state: where decoding starts; the batch size is read off it.
        bos_id: the token fed first.
        eos_id: the token that ends a sequence; it is part of the result.
        pad_id: what follows EOS.
        max_length: the most tokens to produce, EOS included.
        temperature: see `truncate`.
        top_k: see `truncate`.
        top_p: see `truncate`.
        generator: for the draws; the global one if None.

    Returns:
        The sequences drawn. Their `log_probs` are the model's own, whatever the temperature.

    Raises:
        TypeError: as `greedy`.
        ValueError: as `greedy`, and as `truncate`.
    """

    def choose(log_probs: Tensor) -> Tensor:
        kept = truncate(log_probs, temperature, top_k, top_p)
        return torch.multinomial(kept.exp(), 1, generator=generator).squeeze(-1)

    return rollout(step, state, choose, bos_id, eos_id, pad_id, max_length)


def truncate(
    log_probs: Float[Tensor, "*batch vocab"],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Float[Tensor, "*batch vocab"]:
    """Sharpen or flatten a distribution, then keep its head only.

    Args:
        log_probs: any scores whose softmax is the distribution.
        temperature: divides the scores. Below 1 the likely becomes likelier, above 1 less so.
        top_k: keep the `k` most likely tokens; the whole vocabulary where it has no more.
        top_p: then keep the nucleus: the fewest tokens, the most likely first, that together have
            probability `p` or more. The most likely one always stays.

    Returns:
        Log-probabilities that sum to one over what was kept, −∞ elsewhere.

    Raises:
        ValueError: if the temperature is not positive, `top_k` not at least 1, or `top_p` not
            above 0 and at most 1.

    Source: Fan et al. 2018 (top-k); Holtzman et al. 2020, section 3.1 (nucleus).
    """
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"temperature must be a positive number, got {temperature}; or use greedy")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}: leave it out to keep every token")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {top_p}")
    largest = log_probs.amax(dim=-1, keepdim=True)  # taken off first, so that nothing overflows
    kept = ((log_probs - largest) / temperature).log_softmax(dim=-1)
    if top_k is not None:
        best = kept.topk(min(top_k, kept.shape[-1]), dim=-1).indices
        outside = torch.ones_like(kept, dtype=torch.bool).scatter(-1, best, False)
        kept = kept.masked_fill(outside, float("-inf")).log_softmax(dim=-1)
    if top_p is not None and top_p < 1:
        ordered, order = kept.sort(dim=-1, descending=True, stable=True)
        before = ordered.exp().cumsum(dim=-1).roll(1, dims=-1)  # what the likelier ones add up to
        before[..., 0] = -1.0  # the first always stays, however small top_p
        outside = (before >= top_p).scatter(-1, order, before >= top_p)
        kept = kept.masked_fill(outside, float("-inf")).log_softmax(dim=-1)
    return kept


@torch.no_grad()
def rollout(
    step: Step,
    state: State,
    choose: Choose,
    bos_id: int,
    eos_id: int,
    pad_id: int,
    max_length: int,
) -> Decoded:
    """Write one sequence for each source, each token chosen by `choose` from its log-probabilities.

    `greedy` and `sample` are this, with their own `choose(log_probs) -> tokens`.
    """
    batch, device = check_start(state, max_length)
    token = torch.full((batch,), bos_id, device=device)
    done = torch.zeros(batch, dtype=torch.bool, device=device)
    total = torch.zeros(batch, device=device)
    tokens, weights = [], []
    for _ in range(max_length):
        log_probs, state = checked(step, token, state)
        token = choose(log_probs)
        chosen = log_probs.gather(-1, token[:, None]).squeeze(-1)
        token = token.masked_fill(done, pad_id)
        total = total + chosen.masked_fill(done, 0.0)
        tokens.append(token)
        if "weights" in state:
            weights.append(state["weights"])  # (batch, 1, key)
        done = done | (token == eos_id)
        if bool(done.all()):
            break
    ids = torch.stack(tokens, dim=1)  # (batch, length)
    ended = (ids == eos_id).cumsum(dim=1) - (ids == eos_id).long()  # EOS seen before this token
    lengths = (ended == 0).sum(dim=1)
    return Decoded(ids, lengths, total, torch.cat(weights, dim=1) if weights else None)


@torch.no_grad()
def beam_search(
    step: Step,
    state: State,
    bos_id: int,
    eos_id: int,
    pad_id: int,
    max_length: int,
    beam_size: int = 4,
    num_best: int = 1,
    length_penalty: float = 0.0,
    coverage_penalty: float = 0.0,
    min_length: int = 1,
) -> NBest:
    """Keep the `beam_size` most likely beginnings of a sequence, and return the best that end.

    At every step each beginning is continued with every token, and the `beam_size` most likely
    continuations stay. Those that end with EOS are finished and leave the beam. The search for a
    source stops when no beginning can still overtake its `num_best` finished sequences, or at
    `max_length`. What `max_length` cuts off is returned only where nothing has finished.

    The penalties rank what has finished; which beginnings stay is decided by log-probability
    alone. With a length penalty a beginning counts as able to overtake while its log-probability,
    divided by the largest `lp` still possible, is above the worst score to be returned.

    Args:
        step: the model, see the top of `attend.decoding`.
        state: where decoding starts; the batch size is read off it.
        bos_id: the token fed first.
        eos_id: the token that ends a sequence; it is part of the result.
        pad_id: what follows EOS.
        max_length: the most tokens of a sequence, EOS included.
        beam_size: how many beginnings are kept: 1 (greedy search) to the size of the vocabulary,
            or the size of the vocabulary to the power of `max_length` (exhaustive search).
        num_best: how many sequences to return for each source, at most `beam_size`.
        length_penalty: `α` of GNMT's `lp`: 0 ranks by log-probability, 0.6 to 1 is usual and
            favours longer sequences. See `rank`.
        coverage_penalty: `β` of GNMT's `cp`: 0 leaves coverage out. Others need a step that keeps
            `weights` and `mask` in the state. See `rank`.
        min_length: the fewest tokens of a sequence, EOS included.

    Returns:
        The `num_best` best sequences for each source.

    Raises:
        TypeError: if what `step` returns is not `(log_probs, state)`.
        ValueError: if a number is outside its range, the state is empty, `step` returns numbers
            that are no log-probabilities, or of the wrong shape, or coverage is asked for and the
            state has no `weights` and `mask`.

    Source: Sutskever et al. 2014, section 3.2; Wu et al. 2016 (GNMT), section 7.
    """
    check_start(state, max_length)
    if beam_size < 1:
        raise ValueError(f"beam_size must be at least 1, got {beam_size}")
    if not 1 <= num_best <= beam_size:
        raise ValueError(f"num_best must be from 1 to beam_size={beam_size}, got {num_best}")
    if not 1 <= min_length <= max_length:
        raise ValueError(f"min_length must be from 1 to max_length={max_length}, got {min_length}")
    for name, penalty in (("length", length_penalty), ("coverage", coverage_penalty)):
        if not (penalty >= 0 and math.isfinite(penalty)):
            raise ValueError(f"{name}_penalty must be zero or a positive number, got {penalty}")
    beam = Beam(state, bos_id, max_length, beam_size, num_best, length_penalty, coverage_penalty)
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

    `lp = ((5 + length) / 6) ** α` makes up for the log-probability that each token costs.

    Args:
        log_probs: the model's log-probability of each sequence, in nats.
        length: the number of tokens, EOS included.
        length_penalty: `α`.
        coverage: `cp = β · Σ_j log min(Σ_i α_ij, 1)`, over the source's tokens `j` and the
            sequence's tokens `i`: 0 if each of the source's tokens was looked at with a weight of
            1 in all, else negative. (The logarithm is cut off at 1e-6, about -14.)

    Source: Wu et al. 2016 (GNMT), equation 14.
    """
    return log_probs / ((5 + length) / 6) ** length_penalty + coverage


class Beam:
    """The beginnings kept for each source, and what has finished.

    Attributes:
        live: `(batch, beam)`, the log-probability of each beginning; −∞ marks an empty place.
        tokens: `(batch, beam)`, the last token of each.
        state: the model's, `batch · beam` rows.
        history: for every step the token, the parent's place and the weights of each beginning.
        best: the finished sequences with the highest scores: score, log-probability, length, and
            place in the history, each `(batch, num_best)`.
        done: whether no beginning can still change `best`.
    """

    def __init__(
        self,
        state: State,
        bos_id: int,
        max_length: int,
        beam_size: int,
        num_best: int,
        length_penalty: float,
        coverage_penalty: float,
    ) -> None:
        first = next(iter(state.values()))
        batch, self.device = first.shape[0], first.device
        self.state, self.max_length = repeat(state, beam_size), max_length
        self.length_penalty, self.coverage_penalty = length_penalty, coverage_penalty
        self.live = first.new_full((batch, beam_size), -math.inf, dtype=torch.float)
        self.live[:, 0] = 0.0  # to begin with there is one beginning, BOS
        self.tokens = torch.full((batch, beam_size), bos_id, device=self.device)
        self.unchanged = set(state)  # by any step: the same for all beginnings of a source
        self.covered: Tensor | None = None
        self.coverage: Tensor | float = 0.0  # the score for what each beginning has looked at
        self.history: list[tuple[Tensor, Tensor, Tensor | None]] = []
        nothing = torch.full((batch, num_best), -math.inf, device=self.device)
        nowhere = torch.zeros((batch, num_best), dtype=torch.long, device=self.device)
        self.best = [nothing, nothing, nowhere, nowhere]
        self.done = False

    def extend(self, step: Step, eos_id: int, may_end: bool) -> None:
        """Continue every beginning by one token and keep the most likely continuations."""
        batch, beam = self.live.shape
        before = self.state
        log_probs, after = checked(step, self.tokens.flatten(), before)
        if not self.history:
            check_beam_fits(beam, log_probs.shape[1], self.max_length)
        if not may_end:
            log_probs = log_probs.index_fill(1, self.tokens.new_tensor([eos_id]), -math.inf)
        self.live, parents, self.tokens = continuations(self.live, log_probs.view(batch, beam, -1))
        rows = (parents + beam * torch.arange(batch, device=self.device)[:, None]).flatten()
        self.unchanged = {name for name in self.unchanged if after.get(name) is before[name]}
        self.state = {name: after[name] for name in self.unchanged} | reorder(
            {name: tensor for name, tensor in after.items() if name not in self.unchanged}, rows
        )
        weights = self.state.get("weights")  # (batch · beam, 1, key)
        weights = None if weights is None else weights.view(batch, beam, -1)
        self.history.append((self.tokens, parents, weights))
        if self.coverage_penalty:
            self.cover(parents, weights)
        ended = self.tokens == eos_id
        self.finish(ended)
        self.live = self.live.masked_fill(ended, -math.inf)
        bound = rank(self.live.amax(dim=1), self.max_length, self.length_penalty)
        settled = bound <= self.best[0][:, -1]  # nothing alive can overtake the last of the best
        self.live = self.live.masked_fill(settled[:, None], -math.inf)
        self.done = bool(settled.all())

    def cover(self, parents: Tensor, weights: Tensor | None) -> None:
        """Add up what each beginning has looked at, `(batch, beam, key)`, and score it."""
        if weights is None or "mask" not in self.state:
            raise ValueError(
                "coverage_penalty needs the attention `weights` of each step and the `mask` of "
                f"the source in the state, which has only {', '.join(sorted(self.state))}: "
                "use a model with attention, or coverage_penalty=0"
            )
        if self.covered is None:
            self.covered = torch.zeros_like(weights)
        parents = parents[:, :, None].expand_as(weights)
        self.covered = self.covered.gather(1, parents) + weights
        logs = self.covered.clamp(min=1e-6, max=1).log()  # a key never looked at: -14, not -inf
        real = self.state["mask"].view_as(logs)
        self.coverage = self.coverage_penalty * logs.where(real, 0.0).sum(dim=-1)

    def finish(self, which: Tensor) -> None:
        """Let those beginnings compete for a place among the best."""
        length = len(self.history)
        scores = rank(self.live, length, self.length_penalty, self.coverage)
        places = torch.arange(scores.shape[1], device=self.device).expand_as(scores)
        new = [scores.where(which, -math.inf), self.live, torch.full_like(places, length), places]
        pool = [torch.cat(pair, dim=1) for pair in zip(self.best, new, strict=True)]
        order = pool[0].sort(dim=1, descending=True, stable=True).indices
        order = order[:, : self.best[0].shape[1]]
        self.best = [values.gather(1, order) for values in pool]

    def result(self, pad_id: int) -> NBest:
        """Follow the parents back from the end of each of the best sequences."""
        self.finish(self.live.isfinite() & self.best[0][:, :1].isinf())  # what was cut off
        scores, log_probs, lengths, places = self.best
        tokens, weights = [], []
        longest = int(lengths.max())
        for time in range(max(longest, 1), 0, -1):
            written, parents, looked = self.history[time - 1]
            here = time <= lengths  # (batch, best)
            tokens.append(written.gather(1, places).where(here, pad_id))
            if looked is not None:
                index = places[:, :, None].expand(-1, -1, looked.shape[2])
                weights.append(looked.gather(1, index).where(here[:, :, None], 0.0))
            places = parents.gather(1, places).where(here, places)
        ids = torch.stack(tokens[::-1], dim=2)[:, :, :longest]
        looks = torch.stack(weights[::-1], dim=2)[:, :, :longest] if weights else None
        return NBest(ids, lengths, log_probs, scores, looks)


def continuations(
    live: Float[Tensor, "batch beam"], log_probs: Float[Tensor, "batch beam vocab"]
) -> tuple[Float[Tensor, "batch beam"], Int[Tensor, "batch beam"], Int[Tensor, "batch beam"]]:
    """One step of the beam: the most likely of all continuations, as many as there were beginnings.

    Args:
        live: the log-probability of each beginning, −∞ for an empty place.
        log_probs: those of its next tokens.

    Returns:
        The log-probability of each continuation, the place of its parent, and its new token.
    """
    totals = live[:, :, None] + log_probs  # (batch, beam, vocab)
    best, flat = totals.flatten(1).topk(live.shape[1])  # (batch, beam)
    return best, flat // log_probs.shape[2], flat % log_probs.shape[2]


def repeat(state: State, times: int) -> State:
    """Repeat every row of a state, the copies side by side: what TensorFlow called `tile_batch`."""
    return {name: tensor.repeat_interleave(times, dim=0) for name, tensor in state.items()}


def reorder(state: State, rows: Int[Tensor, " rows"]) -> State:
    """Take the rows of a state in a new order; rows may be left out or come more than once."""
    return {name: tensor.index_select(0, rows) for name, tensor in state.items()}


@torch.no_grad()
def exact_search(
    step: Step,
    state: State,
    bos_id: int,
    eos_id: int,
    pad_id: int,
    max_length: int,
    start: Decoded,
    max_prefixes: int = 20_000,
) -> Decoded:
    """Find the most likely sequence that ends by `max_length`, with certainty.

    A token can only lower a log-probability. So a beginning no likelier than a sequence that has
    already ended cannot lead to a better one and is dropped; all others are kept, however many.

    Args:
        step: the model, see the top of `attend.decoding`.
        state: where decoding starts.
        bos_id: the token fed first.
        eos_id: the token that ends a sequence; it is part of the result.
        pad_id: what follows EOS.
        max_length: the most tokens of a sequence, EOS included.
        start: sequences found by another search, with the same `max_length`: the more likely they
            are, the less there is to try. Those that were cut off do not count.
        max_prefixes: how many beginnings to keep at most, over all sources.

    Returns:
        The best sequences, without weights. Where none ends by `max_length`: length 0,
        log-probability −∞.

    Raises:
        TypeError: as `greedy`.
        ValueError: as `greedy`.
        RuntimeError: if there are more than `max_prefixes` beginnings to keep.

    Source: Stahlberg & Byrne 2019, section 3, by levels instead of depth first.
    """
    batch, device = check_start(state, max_length)
    found = torch.full((batch, max_length), pad_id, device=device)
    found[:, : start.tokens.shape[1]] = start.tokens
    ended = (found == eos_id).any(dim=1)
    found = found.masked_fill(~ended[:, None], pad_id)
    lengths = start.lengths.masked_fill(~ended, 0)
    best = start.log_probs.masked_fill(~ended, -math.inf)
    owner = torch.arange(batch, device=device)  # the source of each beginning
    total = torch.zeros(batch, device=device)
    prefixes = torch.full((batch, 1), bos_id, device=device)
    for length in range(1, max_length + 1):
        log_probs, state = checked(step, prefixes[:, -1], state)
        totals = total[:, None] + log_probs  # (beginnings, vocab)
        best = best.to(totals.dtype)
        for row in (totals[:, eos_id] > best[owner]).nonzero().flatten().tolist():
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
                f"{len(rows)} beginnings are still more likely than the best sequence found: pass "
                "fewer sources, a better `start` (a wider beam), or a larger max_prefixes"
            )
        if not len(rows):
            break
        state, owner, total = reorder(state, rows), owner[rows], totals[rows, tokens]
        prefixes = torch.cat([prefixes[rows], tokens[:, None]], dim=1)
    return Decoded(found[:, : max(int(lengths.max()), 1)], lengths, best, None)


@torch.no_grad()
def sequence_log_probs(
    step: Step,
    state: State,
    tokens: Int[Tensor, "batch length"],
    lengths: Int[Tensor, " batch"],
    bos_id: int,
) -> Float[Tensor, " batch"]:
    """The model's log-probability of given sequences, in nats: its tokens are fed one by one.

    Args:
        step: the model, see the top of `attend.decoding`.
        state: where decoding starts.
        tokens: without BOS, padded, as in `Decoded`.
        lengths: the number of tokens of each sequence, EOS included.
        bos_id: the token fed first.

    Raises:
        TypeError: as `greedy`.
        ValueError: as `greedy`.
    """
    batch, device = check_start(state, max_length=max(tokens.shape[1], 1))
    total = torch.zeros(batch, device=device)
    last = torch.full((batch,), bos_id, device=device)
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
    bos_id: int,
    weight: float = 1.0,
    num_best: int | None = None,
) -> NBest:
    """Rank sequences anew: what would be written about any source loses.

    The new score is `log p(y | x) - weight · log p(y)`, where `p(y)` is the mean of `p(y | x')`
    over other sources `x'`. With weight 1 that is the pointwise mutual information of `x` and `y`.

    Args:
        step: the model, see the top of `attend.decoding`.
        found: what a search has found.
        others: the state from which decoding the other sources starts.
        bos_id: the token fed first.
        weight: 0 ranks by log-probability alone.
        num_best: how many sequences to return for each source; all if None.

    Returns:
        The best of the sequences in their new order, with their new scores.

    Raises:
        TypeError: as `greedy`.
        ValueError: as `greedy`, or if the weight is negative.

    Source: after Li et al. 2016 (MMI-antiLM). There `p(y)` is a language model's and counts for
    the first words of `y` only.
    """
    if not (weight >= 0 and math.isfinite(weight)):
        raise ValueError(f"weight must be zero or a positive number, got {weight}")
    scores = torch.full_like(found.log_probs, -math.inf)
    for row, lengths in enumerate(found.lengths):
        real = lengths > 0  # the others are empty places
        if bool(real.any()):
            tokens = found.tokens[row, real, : int(lengths.max())]
            prior = mean_log_probs(step, others, tokens, lengths[real], bos_id)
            scores[row, real] = found.log_probs[row, real] - weight * prior
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    scores, order = scores[:, :num_best], order[:, :num_best]
    rows, weights = torch.arange(len(order), device=order.device)[:, None], found.weights
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
    bos_id: int,
) -> Float[Tensor, " best"]:
    """The logarithm of the mean probability of sequences, over sources they were not written for.

    Args:
        step: the model, see the top of `attend.decoding`.
        others: the state from which decoding those sources starts.
        tokens: the sequences, without BOS, padded.
        lengths: the number of tokens of each, EOS included.
        bos_id: the token fed first.
    """
    num, _ = check_start(others, tokens.shape[1])
    state = repeat(others, len(tokens))  # every source with every sequence
    each = sequence_log_probs(step, state, tokens.repeat(num, 1), lengths.repeat(num), bos_id)
    return each.view(num, -1).logsumexp(dim=0) - math.log(num)  # the mean of p, not of log p


def check_start(state: State, max_length: int) -> tuple[int, torch.device]:
    """Refuse a search that cannot begin; return its batch size and device."""
    if max_length < 1:
        raise ValueError(f"max_length must be at least 1, got {max_length}")
    if not state:
        raise ValueError("the state is empty: pass the state that the model's encode() returned")
    first = next(iter(state.values()))
    return first.shape[0], first.device


def check_beam_fits(beam_size: int, vocab_size: int, max_length: int) -> None:
    """Refuse a beam wider than the vocabulary, unless it has room for every sequence there is."""
    if beam_size > vocab_size and beam_size != vocab_size**max_length:
        raise ValueError(
            f"beam_size={beam_size} is larger than the vocabulary of {vocab_size} tokens, so the "
            f"first step cannot fill it: choose at most {vocab_size} (for an exhaustive search "
            "exactly vocab_size ** max_length)"
        )


def checked(step: Step, tokens: Tensor, state: State) -> tuple[Tensor, State]:
    """Take one step, and refuse what breaks the contract at the top of this module."""
    returned = step(tokens, state)
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise TypeError(f"step must return (log_probs, state), got {type(returned).__name__}")
    log_probs, state = returned
    if not isinstance(log_probs, Tensor) or not isinstance(state, dict):
        raise TypeError(
            "step must return (log_probs, state), a tensor and a dict of tensors, got "
            f"({type(log_probs).__name__}, {type(state).__name__})"
        )
    if log_probs.dim() != 2 or len(log_probs) != len(tokens):
        raise ValueError(
            f"step must return log_probs of shape ({len(tokens)}, vocab), got "
            f"{tuple(log_probs.shape)}: one row for each of the tokens it was given"
        )
    for name, tensor in state.items():
        if tensor.shape[:1] != tokens.shape:
            raise ValueError(
                f"step must return a state whose tensors have {len(tokens)} rows, one for each "
                f"token; {name!r} has shape {tuple(tensor.shape)}"
            )
    largest = log_probs.amax().item()  # NaN if there is one anywhere
    if math.isnan(largest):
        raise ValueError("step returned NaN: has training diverged, or is a row fully masked?")
    if largest > 1e-3:
        raise ValueError(
            f"step returned log_probs up to {largest:.4g}, but no logarithm of a probability is "
            "above 0: did it return logits? `log_softmax(dim=-1)` turns them into log_probs"
        )
    return log_probs, state
