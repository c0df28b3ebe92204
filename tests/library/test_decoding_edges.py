"""Searches at their edges: where nothing is possible, nearly nothing is random, or types differ."""

import math

import torch
from torch import Tensor

from attend.decoding import (
    Decoded,
    State,
    Step,
    beam_search,
    exact_search,
    mutual_information,
    sequence_log_probs,
    truncate,
)
from tests.library.tables import BOS, EOS, PAD, make_tables


def test_a_tiny_temperature_is_the_most_likely_token() -> None:
    """log_probs / 1e-40 are all -inf, and log_softmax of that is NaN."""
    kept = truncate(torch.tensor([[0.5, 0.3, 0.2]]).log(), temperature=1e-40)
    assert kept.exp().tolist() == [[1.0, 0.0, 0.0]]


def impossible(ends: bool) -> Step:
    """Two sources: of the first nothing at all is possible in two tokens, of the second all."""
    only_eos = torch.full((5,), -math.inf).index_fill(0, torch.tensor([EOS]), 0.0)
    even = torch.full((5,), 0.2).log()
    table = torch.stack([only_eos, only_eos if ends else even])

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        weights = torch.ones(len(tokens), 1, 3)
        return table[state["source"]], {"source": state["source"], "weights": weights}

    return step


def test_sequence_log_probs_of_empty_sequences() -> None:
    """What `beam_search(...).first()` returns where nothing at all is possible."""
    step, start = impossible(True), {"source": torch.arange(2)}
    found = beam_search(step, start, BOS, EOS, PAD, 3, beam_size=2, min_length=2).first()
    assert sequence_log_probs(step, start, found.tokens, found.lengths, BOS).tolist() == [0.0, 0.0]


def test_mutual_information_where_one_source_has_nothing() -> None:
    step, start = impossible(False), {"source": torch.arange(2)}
    found = beam_search(step, start, BOS, EOS, PAD, 3, beam_size=2, min_length=2)
    assert found.lengths.tolist()[0] == [0]
    new = mutual_information(step, found, {"source": torch.tensor([1, 1, 1])}, BOS)
    assert new.lengths.tolist() == found.lengths.tolist()


def test_weights_where_nothing_was_found_have_no_steps() -> None:
    """None is for a model whose state has none, says NBest."""
    step, start = impossible(True), {"source": torch.arange(2)}
    found = beam_search(step, start, BOS, EOS, PAD, 3, beam_size=2, min_length=2)
    assert found.weights is not None
    assert found.weights.shape == (2, 1, 0, 3)


def test_exact_search_does_not_round_to_the_dtype_of_its_start() -> None:
    tables = make_tables(1, 5, seed=0)
    none = torch.full((1,), -math.inf)
    nothing = Decoded(torch.full((1, 1), PAD), torch.zeros(1).long(), none, None)
    found = exact_search(tables.step, tables.start(), BOS, EOS, PAD, 3, nothing)
    own = sequence_log_probs(tables.step, tables.start(), found.tokens, found.lengths, BOS)
    assert found.log_probs.double().tolist() == own.tolist()
