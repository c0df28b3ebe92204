"""How targets are looked for: the flags of all searches, and the search."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from attend.data import Vocabulary, pad
from attend.decoding import (
    Decoded,
    NBest,
    beam_search,
    greedy,
    mutual_information,
    repeat,
    sample,
)
from attend.decoding.beam import largest_length_penalty
from attend.flags import (
    FlagError,
    require,
    require_counts,
    require_positive,
    require_seed,
)
from attend.state import State

Ids = Sequence[int]


@runtime_checkable
class Translator(Protocol):
    """A model that reads sources and writes targets, token by token."""

    def encode(self, src: Tensor, src_lengths: Tensor) -> State:
        """Read sources, `(batch, src)`; the state to start decoding from."""
        ...

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """One step of decoding; see `attend.decoding.contract`."""
        ...


@dataclass(frozen=True)
class SearchConfig:
    """How a reply is looked for.

    greedy takes the likeliest word at each step; beam looks for the likeliest
    replies; sample draws at random; mmi takes of the likeliest replies those
    that would fit other texts least (mutual information).
    """

    method: Literal["greedy", "beam", "sample", "mmi"] = "beam"
    """How to search, see above."""
    beam_size: int = 5
    """Beam: how many beginnings are kept."""
    num_best: int = 1
    """Beam, sample and mmi: how many replies to give."""
    length_penalty: float = 0.0
    """Beam: favours longer replies; 0.6 to 1 is usual."""
    coverage_penalty: float = 0.0
    """Beam: favours replies that look at all of the text; try 0.2."""
    temperature: float = 1.0
    """Sample: below 1 the likely becomes likelier."""
    top_k: int | None = None
    """Sample: among the k likeliest words only."""
    top_p: float | None = None
    """Sample: among the fewest words that together have this probability."""
    candidates: int = 20
    """Mmi: how many of the likeliest replies to choose from."""
    mmi_weight: float = 0.7
    """Mmi: how much a reply loses that would fit other texts, too."""
    max_length: int = 40
    """The most tokens of a reply."""
    seed: int = 0
    """Sample: decides the draws."""

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be meant, and flags of another method."""
        counts = ("beam_size", "num_best", "max_length", "candidates")
        require_counts(self, *counts)
        for flag in ("length_penalty", "coverage_penalty", "mmi_weight"):
            value = getattr(self, flag)
            wanted = "zero or a positive number"
            require(self, flag, 0 <= value < math.inf, wanted)
            require(self, flag, value <= 10, "at most 10")
        most = largest_length_penalty(self.max_length)
        fits = self.length_penalty <= most
        wanted = f"at most {most:.1f} for {self.max_length} tokens"
        require(self, "length_penalty", fits, wanted)
        require_positive(self, "temperature")
        if self.top_k is not None:
            require_counts(self, "top_k")
        right = self.top_p is None or 0 < self.top_p <= 1
        require(self, "top_p", right, "above 0 and at most 1")
        require_seed(self)
        for field in fields(self):
            methods = METHODS.get(field.name, (self.method,))
            given = getattr(self, field.name) != field.default
            if self.method not in methods and given:
                named = " and ".join(methods)
                raise FlagError(field.name, f"is for --method {named}")
        if self.num_best > self.beam_size and self.method == "beam":
            limit = f"the beam size {self.beam_size}"
            raise FlagError("num_best", f"must be at most {limit}")
        if self.num_best > self.candidates and self.method == "mmi":
            limit = f"the {self.candidates} candidates"
            raise FlagError("num_best", f"must be at most {limit}")

    def refuse_unfit(self, vocab_size: int) -> None:
        """Refuse a beam that is wider than the model's vocabulary.

        Raises:
            FlagError: naming the flag that says how wide it is.
        """
        flag = {"beam": "beam_size", "mmi": "candidates"}.get(self.method)
        if flag and getattr(self, flag) > vocab_size:
            raise FlagError(
                flag,
                f"{getattr(self, flag)} is larger than the model's vocabulary "
                f"of {vocab_size} tokens",
            )


METHODS = {
    "beam_size": ("beam",),
    "num_best": ("beam", "sample", "mmi"),
    "length_penalty": ("beam",),
    "coverage_penalty": ("beam",),
    "temperature": ("sample",),
    "top_k": ("sample",),
    "top_p": ("sample",),
    "candidates": ("mmi",),
    "mmi_weight": ("mmi",),
    "seed": ("sample",),
}
GREEDY = SearchConfig(method="greedy")
BEAM = SearchConfig()


@torch.no_grad()
def search_targets(
    model: Translator,
    vocab: Vocabulary,
    sources: Sequence[Ids],
    search: SearchConfig,
    others: Sequence[Ids] = (),
    device: torch.device | None = None,
) -> NBest:
    """Search for the targets of sources. Special tokens but EOS never come.

    Args:
        model: what reads and writes, in eval mode.
        vocab: of the targets.
        sources: their ids, none of them empty.
        search: how to search.
        others: other sources, against which mutual information is measured;
            needed for that method only.
        device: the model's; the CPU if None.

    Raises:
        ValueError: if the search does not fit the model: a beam larger than the
            vocabulary, a coverage penalty without attention, or mutual
            information without other sources.
    """
    special = [vocab.pad_id, vocab.bos_id, vocab.unk_id]
    never = torch.tensor([i for i in special if i is not None], device=device)

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        log_probs, state = model.step(tokens, state)
        return log_probs.index_fill(1, never, -math.inf), state

    def start(sources: Sequence[Ids]) -> State:
        src, lengths = pad(sources)
        return model.encode(src.to(device), lengths.to(device))

    state = start(sources)
    first = torch.full((len(sources),), vocab.bos_id, device=device)
    ids = (vocab.eos_id, vocab.pad_id, search.max_length)
    if search.method == "beam":
        sizes = (search.beam_size, search.num_best)
        penalties = (search.length_penalty, search.coverage_penalty)
        return beam_search(step, state, first, *ids, *sizes, *penalties)
    if search.method == "mmi":
        sizes = (search.candidates, search.candidates)
        found = beam_search(step, state, first, *ids, *sizes)
        options = (search.mmi_weight, search.num_best)
        return mutual_information(step, found, start(others), first, *options)
    if search.method == "greedy":
        return n_best(greedy(step, state, first, *ids), 1)
    generator = torch.Generator(device or "cpu").manual_seed(search.seed)
    state = repeat(state, search.num_best)
    first = first.repeat_interleave(search.num_best)
    kept = (search.temperature, search.top_k, search.top_p)
    drawn = sample(step, state, first, *ids, *kept, generator)
    return n_best(drawn, search.num_best)


def n_best(found: Decoded, best: int) -> NBest:
    """Group sequences, `best` of them for each source."""
    tokens, lengths, log_probs = (
        tensor.unflatten(0, (-1, best)) for tensor in found[:3]
    )
    weights = found.weights
    if weights is not None:
        weights = weights.unflatten(0, (-1, best))
    return NBest(tokens, lengths, log_probs, log_probs, weights)
