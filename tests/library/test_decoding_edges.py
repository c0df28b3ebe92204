"""Searches at their edges.

There nothing is possible, nearly nothing is random, or types differ.
"""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from attend.decoding import (
    Decoded,
    State,
    Step,
    beam_search,
    exact_search,
    greedy,
    mutual_information,
    rank,
    sample,
    sequence_log_probs,
    truncate,
)
from tests.library import reference_search
from tests.library.reference_search import Goal
from tests.library.tables import EOS, PAD, Tables, bos, make_tables

# --- Temperatures that 32 bits cannot hold ---

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("temperature", [1e-30, 1e-40, 1e-46, 1e-300, 5e-324])
def test_a_tiny_temperature_is_the_most_likely_token(
    temperature: float, dtype: torch.dtype
) -> None:
    """log_probs / 1e-40 are all -inf, and log_softmax of that is NaN."""
    log_probs = torch.tensor([[0.3, 0.5, 0.2, 0.0]]).log().to(dtype)
    kept = truncate(log_probs, temperature)
    assert kept.exp().tolist() == [[0.0, 1.0, 0.0, 0.0]]
    assert kept.dtype == dtype


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("temperature", [1e30, 1e39, 1e300])
def test_a_huge_temperature_makes_all_that_is_possible_alike(
    temperature: float, dtype: torch.dtype
) -> None:
    log_probs = torch.tensor([[0.3, 0.699, 0.001, 0.0]]).log().to(dtype)
    kept = truncate(log_probs, temperature).double().exp()
    third = torch.tensor([[1, 1, 1, 0]]).double() / 3
    assert_close(kept, third, atol=1e-2, rtol=0)
    assert kept[0, 3] == 0


@pytest.mark.parametrize("temperature", [1e-40, 1e-46])
def test_samples_of_a_tiny_temperature_are_greedy_search(
    temperature: float,
) -> None:
    tables = make_tables(3, 7, seed=0)
    given = (tables.step, tables.start(), tables.first, EOS, PAD, 7)
    found, best = sample(*given, temperature=temperature), greedy(*given)
    assert torch.equal(found.tokens, best.tokens)
    assert torch.equal(found.log_probs, best.log_probs)


def test_samples_of_a_huge_temperature_are_all_alike() -> None:
    tables = make_tables(1_000, 5, seed=0, sharpness=9.0)
    given = (tables.step, tables.start(), tables.first, EOS, PAD, 1)
    found = sample(
        *given, temperature=1e39, generator=torch.Generator().manual_seed(0)
    )
    counts = found.tokens.flatten().bincount(minlength=5)
    assert 150 < counts.min() <= counts.max() < 250


# --- Penalties that leave nothing of the log-probabilities ---

# Rounded down, so that what is advised is taken.
LIMITS = {
    length: math.floor(300 / math.log10((5 + length) / 6)) / 10
    for length in (2, 5, 7, 97)
}


def single(seed: int) -> Tables:
    """One table in single precision."""
    tables = make_tables(1, 5, seed, ending=1.0)
    tables.log_probs = tables.log_probs.float()
    return tables


@pytest.mark.parametrize("max_length", LIMITS)
@pytest.mark.parametrize(
    "above", [1.0001, 2.0, 1e30, 1e300], ids=lambda factor: f"{factor:g}"
)
def test_a_length_penalty_above_its_limit_is_refused(
    max_length: int, above: float
) -> None:
    """The limit is named; up to it there are scores."""
    tables, limit = single(0), LIMITS[max_length]
    given = (tables.step, tables.start(), bos(1), EOS, PAD, max_length)
    message = (
        rf"length_penalty=[\d.e+]+ divides .* of {max_length} tokens by more "
        f"than 1e30, which leaves nothing .*: choose at most {limit:.1f}; 0.6 "
    )
    with pytest.raises(ValueError, match=message):
        beam_search(*given, length_penalty=limit * above)
    if max_length <= 11:  # the tables end there
        found = beam_search(*given, length_penalty=limit)
        assert found.scores.isfinite().all()
        assert (found.scores < 0).all()


@pytest.mark.parametrize("max_length", [5, 7])
@pytest.mark.parametrize(("share", "wrong"), [(1.0, False), (2.0, True)])
def test_a_length_penalty_that_is_refused_would_rank_wrongly(
    max_length: int, share: float, wrong: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In single precision scores become zero; at the limit none does."""
    monkeypatch.setattr("attend.decoding.beam.check_penalties", lambda *_: None)
    penalty, mistakes, zeros = LIMITS[max_length] * share, 0, 0
    for seed in range(11):
        tables = single(seed)
        goal = Goal(EOS, max_length, length_penalty=penalty)
        best, _, _ = reference_search.beam_search(tables.model(0), goal, 5, 3)
        found = beam_search(
            *(tables.step, tables.start(), bos(1), EOS, PAD, max_length),
            *(5, 3, penalty),
        )
        lengths = [len(one.tokens) for one in best]
        mistakes += found.lengths[0, : len(best)].tolist() != lengths
        zeros += bool((found.scores == 0).any())
    assert bool(mistakes) == bool(zeros) == wrong


def test_the_limit_of_the_length_penalty_keeps_an_order_of_single_floats() -> (
    None
):
    """One part in a million of a millionth still counts, and above nothing."""
    log_probs = torch.tensor([-1e-6, -1.000001e-6, -1.0, -1.000001, -99.0])
    for length, limit in LIMITS.items():
        scores = rank(log_probs, length, limit)
        assert (scores[:-1] > scores[1:]).all()
        assert (rank(log_probs, length, 2 * limit) == 0).all()


def test_a_coverage_penalty_may_be_large_and_not_too_large() -> None:
    tables = single(0)
    given = (tables.step, tables.start(), bos(1), EOS, PAD, 5)
    found = beam_search(*given, num_best=4, coverage_penalty=1e30)
    assert not found.scores.isnan().any()
    assert found.scores[0, 0].isfinite()
    with pytest.raises(
        ValueError,
        match=(
            r"coverage_penalty=1e\+31 leaves nothing of the log-probabilities: "
            "around 0.2 is usual"
        ),
    ):
        beam_search(*given, coverage_penalty=1e31)


# --- Where nothing is possible ---


def impossible(ends: bool) -> Step:
    """Two sources: in two tokens the first allows nothing, the second all."""
    only_eos = torch.full((5,), -math.inf).index_fill(
        0, torch.tensor([EOS]), 0.0
    )
    even = torch.full((5,), 0.2).log()
    table = torch.stack([only_eos, only_eos if ends else even])

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        weights = torch.ones(len(tokens), 1, 3)
        return table[state["source"]], {
            "source": state["source"],
            "weights": weights,
        }

    return step


def test_sequence_log_probs_of_empty_sequences() -> None:
    """What `beam_search(...).first()` returns where nothing is possible."""
    step, start = impossible(True), {"source": torch.arange(2)}
    found = beam_search(
        step, start, bos(2), EOS, PAD, 3, beam_size=2, min_length=2
    ).first()
    assert sequence_log_probs(
        step, start, found.tokens, found.lengths, bos(2)
    ).tolist() == [0.0, 0.0]


def test_mutual_information_where_one_source_has_nothing() -> None:
    step, start = impossible(False), {"source": torch.arange(2)}
    found = beam_search(
        step, start, bos(2), EOS, PAD, 3, beam_size=2, min_length=2
    )
    assert found.lengths.tolist()[0] == [0]
    new = mutual_information(
        step, found, {"source": torch.tensor([1, 1, 1])}, bos(2)
    )
    assert new.lengths.tolist() == found.lengths.tolist()


def test_weights_where_nothing_was_found_have_no_steps() -> None:
    """None is for a model whose state has none, says NBest."""
    step, start = impossible(True), {"source": torch.arange(2)}
    found = beam_search(
        step, start, bos(2), EOS, PAD, 3, beam_size=2, min_length=2
    )
    assert found.weights is not None
    assert found.weights.shape == (2, 1, 0, 3)


def test_exact_search_does_not_round_to_the_dtype_of_its_start() -> None:
    tables = make_tables(1, 5, seed=0)
    none = torch.full((1,), -math.inf)
    nothing = Decoded(
        torch.full((1, 1), PAD), torch.zeros(1).long(), none, None
    )
    found = exact_search(
        tables.step, tables.start(), bos(1), EOS, PAD, 3, nothing
    )
    own = sequence_log_probs(
        tables.step, tables.start(), found.tokens, found.lengths, bos(1)
    )
    assert found.log_probs.double().tolist() == own.tolist()
