"""Beam search and exact search: against loops, brute force and known answers.

The loops are over plain numbers. The random tables have the dtype float64, so
that two searches never part over a rounding.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from attend.decoding import (
    Decoded,
    NBest,
    State,
    beam_search,
    continuations,
    exact_search,
    greedy,
    rank,
    reorder,
    repeat,
    sequence_log_probs,
)
from tests.library import reference_search
from tests.library.reference_search import Goal
from tests.library.tables import (
    BOS,
    EOS,
    LONGEST,
    PAD,
    Tables,
    assert_found,
    bos,
    looped,
    make_model,
    make_tables,
    random_tables,
    sources,
)


def search(
    tables: Tables, goal: Goal, beam_size: int, num_best: int = 1
) -> NBest:
    """Search all sources of the tables at once."""
    return beam_search(
        tables.step,
        tables.start(),
        tables.first,
        EOS,
        PAD,
        goal.max_length,
        beam_size,
        num_best,
        goal.length_penalty,
        goal.coverage_penalty,
        goal.min_length,
    )


def decode(
    tables: Tables, how: Callable[..., Decoded], max_length: int, **options: Any
) -> Decoded:
    return how(
        tables.step,
        tables.start(),
        tables.first,
        EOS,
        PAD,
        max_length,
        **options,
    )


@st.composite
def goals(draw: st.DrawFn, max_length: int) -> Goal:
    longest = draw(st.integers(1, max_length))
    return Goal(
        eos_id=EOS,
        max_length=longest,
        min_length=draw(st.integers(1, longest)),
        length_penalty=draw(st.sampled_from([0.0, 0.6, 1.0, 3.0])),
        coverage_penalty=draw(st.sampled_from([0.0, 0.0, 0.2, 2.0])),
    )


# --- Against a search in loops ---


@settings(max_examples=150)
@given(tables=random_tables(), goal=goals(7), data=st.data())
def test_beam_search_is_the_search_in_loops(
    tables: Tables, goal: Goal, data: st.DataObject
) -> None:
    """Every sequence, length, log-probability, score and weight.

    And the number of steps.
    """
    beam_size = data.draw(st.integers(1, tables.vocab_size), label="beam_size")
    num_best = data.draw(st.integers(1, beam_size), label="num_best")
    found = search(tables, goal, beam_size, num_best)
    batch, stops = len(tables.log_probs), []
    for row in range(batch):
        expected, stop, _ = reference_search.beam_search(
            tables.model(row), goal, beam_size, num_best
        )
        assert_found(found, row, expected)
        stops.append(stop)
    assert tables.rows == [batch * beam_size] * max(stops)
    assert found.tokens.shape == (batch, num_best, found.lengths.max())
    if found.lengths.any():
        assert found.weights is not None
        assert found.weights.shape == (*found.tokens.shape, 5)


@pytest.mark.parametrize(
    ("attention", "half_width"),
    [("none", None), ("bahdanau", None), ("luong", None), ("luong", 1)],
)
@pytest.mark.parametrize("coverage_penalty", [0.0, 0.4])
def test_beam_search_with_a_model_is_the_search_in_loops(
    attention: str, half_width: int | None, coverage_penalty: float
) -> None:
    """Model and search in loops; here one padded batch, and real attention.

    The loops go sentence by sentence.
    """
    if attention == "none":
        coverage_penalty = 0.0
    model = make_model(attention, vocab=5, half_width=half_width)
    lengths = [7, 1, 4]
    src, src_lengths = sources(lengths, width=11)
    goal = Goal(
        EOS,
        6,
        min_length=2,
        length_penalty=0.8,
        coverage_penalty=coverage_penalty,
    )
    found = beam_search(
        model.step,
        model.encode(src, src_lengths),
        bos(len(src)),
        EOS,
        PAD,
        goal.max_length,
        beam_size=3,
        num_best=2,
        length_penalty=goal.length_penalty,
        coverage_penalty=coverage_penalty,
        min_length=goal.min_length,
    )
    for row, length in enumerate(lengths):
        in_loops = looped(model, src[row], length)
        expected, _, _ = reference_search.beam_search(
            in_loops, goal, beam_size=3, num_best=2
        )
        assert_found(found, row, expected, rtol=1e-4)
    assert (found.weights is None) == (attention == "none")
    assert not found.scores.requires_grad


# --- Against brute force ---


@settings(max_examples=60)
@given(random_tables(batch=2, max_vocab=5), goals(3), st.integers(1, 11))
def test_a_beam_with_room_for_everything_is_brute_force(
    tables: Tables, goal: Goal, num_best: int
) -> None:
    vocab = tables.vocab_size
    beam_size = vocab**goal.max_length
    num_best = min(num_best, beam_size)
    found = search(tables, goal, beam_size, num_best)
    for row in range(len(tables.log_probs)):
        everything = reference_search.brute_force(
            tables.model(row), goal, vocab
        )
        assert_found(found, row, everything[:num_best])


@pytest.mark.parametrize(
    ("attention", "vocab", "max_length"), [("none", 4, 4), ("luong", 5, 3)]
)
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_a_model_searched_with_room_for_everything_is_brute_force(
    attention: str, vocab: int, max_length: int, length_penalty: float
) -> None:
    model = make_model(attention, vocab)
    lengths = [2, 5]
    src, src_lengths = sources(lengths, width=7)
    goal = Goal(EOS, max_length, length_penalty=length_penalty)
    found = beam_search(
        model.step,
        model.encode(src, src_lengths),
        bos(len(src)),
        EOS,
        PAD,
        max_length,
        beam_size=vocab**max_length,
        num_best=11,
        length_penalty=length_penalty,
    )
    for row, length in enumerate(lengths):
        in_loops = looped(model, src[row], length)
        everything = reference_search.brute_force(in_loops, goal, vocab)
        assert_found(found, row, everything[:11], rtol=1e-4)


# --- A beam of one is greedy search ---


@given(random_tables(batch=5), st.integers(1, 7))
def test_a_beam_of_one_is_greedy_search(
    tables: Tables, max_length: int
) -> None:
    """Also in what is cut off at the limit, and whatever the length penalty."""
    expected = decode(tables, greedy, max_length)
    for length_penalty in (0.0, 1.0):
        goal = Goal(EOS, max_length, length_penalty=length_penalty)
        found = search(tables, goal, beam_size=1).first()
        assert torch.equal(found.tokens, expected.tokens)
        assert torch.equal(found.lengths, expected.lengths)
        assert_close(
            found.log_probs, expected.log_probs, rtol=1e-12, atol=1e-12
        )
        assert found.weights is not None
        assert expected.weights is not None
        assert torch.equal(found.weights, expected.weights)


@pytest.mark.parametrize("attention", ["none", "bahdanau", "luong"])
def test_a_beam_of_one_with_a_model_is_greedy_search(attention: str) -> None:
    model = make_model(attention, vocab=7)
    state = model.encode(
        *sources([1, 2, 3, 5, 7, 11, 11, 11, 11, 11, 11], width=13)
    )
    expected = greedy(model.step, state, bos(11), EOS, PAD, max_length=17)
    ended = expected.tokens[range(11), expected.lengths - 1] == EOS
    assert ended.any(), (
        "the test needs sentences that end and others that are cut off"
    )
    assert not ended.all()
    found = beam_search(
        model.step, state, bos(11), EOS, PAD, max_length=17, beam_size=1
    ).first()
    assert torch.equal(found.tokens, expected.tokens)
    assert torch.equal(found.lengths, expected.lengths)
    assert_close(found.log_probs, expected.log_probs)
    assert_close(found.weights, expected.weights)


# --- What is said of a sequence is what the model says ---


@pytest.mark.parametrize("attention", ["none", "bahdanau", "luong"])
def test_log_probs_scores_and_weights_are_the_models_own(
    attention: str,
) -> None:
    """Teacher forcing gives the probabilities and weights of the search."""
    model = make_model(attention, vocab=7)
    src, src_lengths = sources([2, 11, 5], width=13)
    found = beam_search(
        model.step,
        model.encode(src, src_lengths),
        bos(len(src)),
        EOS,
        PAD,
        max_length=11,
        beam_size=5,
        num_best=5,
        length_penalty=0.7,
    )
    assert len(found.lengths.unique()) > 2, (
        "the test needs sequences of different lengths"
    )
    for place in range(5):
        tokens, lengths = found.tokens[:, place], found.lengths[:, place]
        there = lengths > 0
        start = model.encode(src, src_lengths)
        own = sequence_log_probs(model.step, start, tokens, lengths, bos(3))
        own = own.where(there, -math.inf)
        assert_close(found.log_probs[:, place], own)
        assert_close(found.scores[:, place], own / ((5 + lengths) / 6) ** 0.7)
        tgt_in = torch.cat([torch.full((3, 1), BOS), tokens[:, :-1]], dim=1)
        logits, state = model.decode(tgt_in, model.encode(src, src_lengths))
        each = (
            logits.log_softmax(dim=-1).gather(2, tokens[:, :, None]).squeeze(2)
        )
        written = torch.arange(tokens.shape[1]) < lengths[:, None]
        assert_close(
            found.log_probs[:, place][there], (each * written).sum(dim=1)[there]
        )
        if found.weights is not None:
            weights = state["weights"] * written[:, :, None]
            assert_close(found.weights[:, place], weights)
    assert (found.weights is None) == (attention == "none")


@given(random_tables(), goals(7), st.integers(1, 4))
def test_invariants(tables: Tables, goal: Goal, beam_size: int) -> None:
    found = search(tables, goal, beam_size, num_best=beam_size)
    assert (found.scores[:, :-1] >= found.scores[:, 1:]).all()
    for row in range(len(tables.log_probs)):
        sequences = set()
        for place in range(beam_size):
            length = int(found.lengths[row, place])
            tokens = found.tokens[row, place].tolist()
            assert tokens[length:] == [PAD] * (len(tokens) - length)
            if not length:
                assert (
                    found.scores[row, place]
                    == found.log_probs[row, place]
                    == -math.inf
                )
                continue
            assert goal.min_length <= length <= goal.max_length
            assert EOS not in tokens[: length - 1]
            assert tokens[length - 1] == EOS or length == goal.max_length
            sequences.add(tuple(tokens[:length]))
        filled = int((found.lengths[row] > 0).sum())
        assert (found.lengths[row, :filled] > 0).all()  # empty places come last
        assert len(sequences) == filled  # no sequence comes twice
        ends = {sequence[-1] == EOS for sequence in sequences}
        # what was cut off never stands beside what has ended
        assert len(ends) <= 1
    first, width = found.first(), int(found.lengths[:, 0].max())
    assert torch.equal(first.tokens, found.tokens[:, 0, :width])
    assert torch.equal(first.lengths, found.lengths[:, 0])
    assert torch.equal(first.log_probs, found.log_probs[:, 0])
    if found.weights is not None:
        assert first.weights is not None
        assert torch.equal(first.weights, found.weights[:, 0, :width])


@given(random_tables(batch=1), goals(7), st.integers(2, 4))
def test_more_places_only_add_sequences(
    tables: Tables, goal: Goal, beam_size: int
) -> None:
    """The search may go on for longer, but the best stay the best."""
    many = search(tables, goal, beam_size, num_best=beam_size)
    for number in range(1, beam_size):
        few = search(tables, goal, beam_size, num_best=number)
        width = few.tokens.shape[2]
        assert torch.equal(few.tokens, many.tokens[:, :number, :width])
        assert torch.equal(few.scores, many.scores[:, :number])


def test_nothing_that_ends_and_nothing_that_goes_on() -> None:
    """Two tokens at least, but only EOS is possible: every place is empty."""
    log_probs = torch.full((2, 5), -math.inf).index_fill(
        1, torch.tensor([EOS]), 0.0
    )
    found = beam_search(
        lambda tokens, state: (log_probs.repeat(2, 1)[: len(tokens)], state),
        {"h": torch.zeros(2)},
        bos(2),
        EOS,
        PAD,
        max_length=3,
        beam_size=2,
        num_best=2,
        min_length=2,
    )
    assert found.tokens.shape == (2, 2, 0)
    assert found.lengths.tolist() == [[0, 0], [0, 0]]
    assert (found.scores == -math.inf).all()
    assert (found.log_probs == -math.inf).all()
    assert found.first().tokens.shape == (2, 0)


# --- Other sentences in the batch change nothing ---


@pytest.mark.parametrize("attention", ["none", "bahdanau", "luong"])
def test_results_depend_on_no_other_sentence_and_no_padding(
    attention: str,
) -> None:
    model = make_model(attention, vocab=7)
    lengths = [3, 1, 11, 5, 7]
    src, src_lengths = sources(lengths, width=13)

    def found(src: Tensor, src_lengths: Tensor) -> NBest:
        state = model.encode(src, src_lengths)
        penalty = 0.0 if attention == "none" else 0.3
        first = bos(len(src))
        return beam_search(
            model.step, state, first, EOS, PAD, 11, 3, 2, 0.6, penalty
        )

    together = found(src, src_lengths)
    assert len(together.lengths.unique()) > 1, (
        "the test needs sequences of different lengths"
    )
    order = torch.tensor([4, 2, 0, 1, 3])
    shuffled = found(src[order], src_lengths[order])
    assert torch.equal(shuffled.tokens, together.tokens[order])
    assert_close(shuffled.scores, together.scores[order])
    for row, length in enumerate(lengths):
        alone = found(src[row : row + 1, :length], src_lengths[row : row + 1])
        width = alone.tokens.shape[2]
        assert torch.equal(alone.tokens[0], together.tokens[row, :, :width])
        assert (together.tokens[row, :, width:] == PAD).all()
        assert torch.equal(alone.lengths[0], together.lengths[row])
        assert_close(alone.log_probs[0], together.log_probs[row])
        assert_close(alone.scores[0], together.scores[row])


# --- When the search stops ---


def chain(
    probabilities: dict[tuple[int, int], float], vocab: int = 5
) -> Tables:
    """One table that looks at the last token only.

    What is not listed is impossible.
    """
    table = torch.zeros(vocab, vocab, dtype=torch.float64)
    for pair, probability in probabilities.items():
        table[pair] = probability
    return Tables(
        table.log().expand(1, LONGEST, vocab, vocab, vocab),
        torch.ones(1, LONGEST, vocab, vocab, 1, dtype=torch.float64),
        torch.ones(1, 1, 1, dtype=torch.bool),
        [],
    )


A, B, C = 3, 4, 5
# Ending at once has probability 0.3; "a b" and then the end has 0.7 · 0.9 ·
# 0.9.
TRAP = {
    (BOS, EOS): 0.3,
    (BOS, A): 0.7,
    (A, B): 0.9,
    (A, A): 0.1,
    (B, EOS): 0.9,
    (B, B): 0.1,
}


def test_the_first_to_finish_does_not_end_the_search() -> None:
    tables = chain(TRAP)
    found = search(tables, Goal(EOS, max_length=11), beam_size=2)
    assert found.tokens.tolist() == [[[A, B, EOS]]]
    assert_close(
        found.log_probs.exp(),
        torch.tensor([[0.7 * 0.9 * 0.9]], dtype=torch.float64),
    )
    assert len(tables.rows) == 3  # what is alive then has less than 0.1


@pytest.mark.parametrize(
    ("length_penalty", "max_length", "tokens", "steps"),
    [
        (0.0, 7, [EOS], 1),  # 0.45 is less than 0.55, and can only shrink
        (1.0, 7, [A, B, C, EOS], 4),  # but log 0.45 / (9 / 6) is above log 0.55
        (1.0, 3, [EOS], 1),  # and with three tokens no sequence gets there
    ],
)
def test_the_search_stops_when_nothing_alive_can_win(
    length_penalty: float, max_length: int, tokens: list[int], steps: int
) -> None:
    probabilities = {
        (BOS, EOS): 0.55,
        (BOS, A): 0.45,
        (A, B): 1.0,
        (B, C): 1.0,
        (C, EOS): 1.0,
    }
    tables = chain(probabilities, vocab=7)
    goal = Goal(EOS, max_length, length_penalty=length_penalty)
    assert search(tables, goal, beam_size=2).tokens.tolist() == [[tokens]]
    assert len(tables.rows) == steps


def test_a_sequence_that_may_not_end_yet_is_not_ended() -> None:
    tables = chain(TRAP)
    found = search(tables, Goal(EOS, max_length=7, min_length=4), beam_size=2)
    assert found.tokens.tolist() == [[[A, B, B, EOS]]]
    assert_close(
        found.log_probs.exp(), torch.tensor([[0.7 * 0.9 * 0.1 * 0.9]]).double()
    )


@settings(max_examples=40)
@given(
    random_tables(batch=1), st.integers(1, 4), st.sampled_from([0.0, 0.6, 2.0])
)
def test_a_later_limit_changes_nothing_once_the_search_has_stopped(
    tables: Tables, beam_size: int, length_penalty: float
) -> None:
    found = search(
        tables, Goal(EOS, LONGEST, length_penalty=length_penalty), beam_size
    )
    stopped = len(tables.rows)
    if stopped < LONGEST and found.lengths.any():
        later = search(
            tables, Goal(EOS, stopped, length_penalty=length_penalty), beam_size
        )
        assert torch.equal(later.tokens, found.tokens)
        assert torch.equal(later.scores, found.scores)


def test_most_searches_stop_early_and_few_at_the_first_to_finish() -> None:
    """If this failed, a search with all steps or too few would pass above."""
    early, going_on = 0, 0
    for seed in range(17):
        tables = make_tables(1, 5, seed)
        goal = Goal(EOS, max_length=7)
        _, stop, first = reference_search.beam_search(
            tables.model(0), goal, 3, 1
        )
        early += stop < 7
        going_on += first < stop
    assert early >= 12
    assert going_on >= 4


# --- The state follows its hypothesis ---


def test_the_state_follows_its_hypothesis() -> None:
    """The weights of each step show what the state remembers.

    That must be what was written. One tensor records every token, one does so
    only from the third step on, one only at every other step, one is new with
    the first step, and two change places all the time. Two belong to the source
    and stay as they are.
    """
    batch, vocab, limit = 3, 7, 7
    tables = make_tables(batch, vocab, seed=11, ending=-1.0)
    passed_on: list[tuple[int, int]] = []

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        passed_on.append((id(state["number"]), id(state["source"])))
        log_probs, new = tables.step(
            tokens, {name: state[name] for name in tables.start()}
        )
        time = int(state["time"][0])
        record = state["record"].clone()  # (rows, limit)
        record[:, time] = tokens
        new |= {"record": record, "number": state["number"]}
        new["late"] = (
            state["late"] if time < 2 else state["late"] * vocab + tokens
        )
        new["held"] = (
            state["held"] if time % 2 else state["held"] * vocab + tokens
        )
        new["fresh"] = tokens * 2 if time == 0 else state["fresh"] * 3 + tokens
        new["even"], new["odd"] = (
            state["odd"],
            (state["even"] if time % 2 else tokens.clone()),
        )
        shown = [
            new[name]
            for name in ("number", "late", "held", "fresh", "even", "odd")
        ]
        new["weights"] = torch.cat([record, torch.stack(shown, dim=1)], dim=1)[
            :, None
        ].double()
        return log_probs, new

    number = torch.tensor([13, 17, 19])
    zeros = torch.zeros(batch, dtype=torch.long)
    start = tables.start() | {
        "record": torch.zeros(batch, limit, dtype=torch.long),
        "number": number,
        "late": number,
        "held": zeros,
        "even": zeros,
        "odd": zeros,
    }
    untouched = {name: tensor.clone() for name, tensor in start.items()}
    found = beam_search(
        step, start, bos(batch), EOS, PAD, limit, beam_size=5, num_best=5
    )
    assert found.weights is not None
    for row in range(batch):
        for place in range(5):
            length = int(found.lengths[row, place])
            fed = [BOS, *found.tokens[row, place, : length - 1].tolist()]
            late, held, fresh, even, odd = int(number[row]), 0, 0, 0, 0
            for time, token in enumerate(fed[:length]):
                late = late if time < 2 else late * vocab + token
                held = held if time % 2 else held * vocab + token
                fresh = token * 2 if time == 0 else fresh * 3 + token
                even, odd = odd, even if time % 2 else token
                record = fed[: time + 1] + [0] * (limit - time - 1)
                expected = [
                    *record,
                    int(number[row]),
                    late,
                    held,
                    fresh,
                    even,
                    odd,
                ]
                assert found.weights[row, place, time].tolist() == expected
    assert (found.lengths > 4).sum() > 4, "the test needs long sequences"
    # not copied at every step: the same two tensors
    assert len(set(passed_on)) == 1
    assert list(start) == list(untouched)
    assert all(torch.equal(start[name], untouched[name]) for name in start)


def test_repeat_puts_the_copies_side_by_side() -> None:
    state = {
        "h": torch.arange(6).view(3, 2),
        "mask": torch.tensor([True, False, True]),
    }
    repeated = repeat(state, 2)
    assert repeated["h"].tolist() == [
        [0, 1],
        [0, 1],
        [2, 3],
        [2, 3],
        [4, 5],
        [4, 5],
    ]
    assert repeated["mask"].tolist() == [True, True, False, False, True, True]


def test_reorder_takes_rows() -> None:
    state = {
        "h": torch.arange(6).view(3, 2),
        "c": torch.tensor([5.0, 6.0, 7.0]),
    }
    new = reorder(state, torch.tensor([2, 0, 0, 2]))
    assert new["h"].tolist() == [[4, 5], [0, 1], [0, 1], [4, 5]]
    assert new["c"].tolist() == [7.0, 5.0, 5.0, 7.0]


def test_continuations_on_known_numbers() -> None:
    """The two best of the first source have one parent.

    The second source has one beginning.
    """
    inf = math.inf
    live = torch.tensor([[-1.0, -2.0], [-inf, -3.0]])
    log_probs = torch.tensor(
        [
            [[-0.5, -1.0, -4.0], [-0.75, -5.0, -6.0]],
            [[-0.1, -0.1, -0.1], [-inf, -2.0, -inf]],
        ]
    )
    totals, parents, tokens = continuations(live, log_probs)
    assert totals.tolist() == [[-1.5, -2.0], [-5.0, -inf]]
    assert parents[0].tolist() == [0, 0]
    assert tokens[0].tolist() == [0, 1]
    assert (parents[1, 0], tokens[1, 0]) == (1, 1)


def test_rank_is_gnmts_score() -> None:
    log_probs = torch.tensor([-3.0, -6.0])
    # lp = 12 / 6
    assert_close(rank(log_probs, 7, 1.0), torch.tensor([-1.5, -3.0]))
    assert_close(rank(log_probs, 1, 0.6), log_probs)  # lp = 1, whatever α
    # lp = √4
    assert_close(rank(log_probs, 19, 0.5), torch.tensor([-1.5, -3.0]))
    assert_close(rank(log_probs, 11, 0.0), log_probs)
    cp = torch.tensor([-0.5, 0.0])
    assert_close(rank(log_probs, 7, 1.0, cp), torch.tensor([-2.0, -3.0]))


def test_coverage_on_known_numbers() -> None:
    """The likelier looks at the first word twice; coverage prefers the other.

    Twice 0.9 on the first word counts as 1, twice 0.1 on the second as 0.2;
    padding is no word.
    """
    looks = torch.tensor(
        [[0.9, 0.1, 0.0], [0.5, 0.5, 0.0]], dtype=torch.float64
    )

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        chosen = torch.where(tokens == BOS, state["chosen"], tokens)
        first = torch.tensor(
            [0.0, 0.0, 0.0, 0.6, 0.4], dtype=torch.float64
        ).log()
        ending = torch.tensor(
            [0.0, 0.0, 1.0, 0.0, 0.0], dtype=torch.float64
        ).log()
        log_probs = torch.where((tokens == BOS)[:, None], first, ending)
        weights = looks[(chosen == B).long()][:, None]
        return log_probs, {**state, "chosen": chosen, "weights": weights}

    start = {
        "chosen": torch.tensor([A]),
        "mask": torch.tensor([[[True, True, False]]]),
    }
    for beta, sequence, score in (
        (0.0, [A, EOS], math.log(0.6)),
        # 0.9 + 0.5 counts as 1, 0.1 + 0.5 as 0.6
        (1.0, [B, EOS], math.log(0.4) + math.log(0.6)),
    ):
        found = beam_search(
            step,
            start,
            bos(1),
            EOS,
            PAD,
            3,
            beam_size=2,
            num_best=2,
            coverage_penalty=beta,
        )
        assert found.tokens[0, 0].tolist() == sequence
        assert_close(float(found.scores[0, 0]), score)
        other = math.log(0.4) if beta == 0 else math.log(0.6) + math.log(0.2)
        assert_close(float(found.scores[0, 1]), other)


# --- What beam search refuses ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        ({"beam_size": 0}, "beam_size must be at least 1, got 0"),
        ({"beam_size": -2}, "beam_size must be at least 1, got -2"),
        ({"num_best": 0}, "num_best must be from 1 to beam_size=3, got 0"),
        ({"num_best": 4}, "num_best must be from 1 to beam_size=3, got 4"),
        ({"min_length": 0}, "min_length must be from 1 to max_length=2, got 0"),
        ({"min_length": 3}, "min_length must be from 1 to max_length=2, got 3"),
        (
            {"length_penalty": -0.5},
            "length_penalty must be zero or a positive number, got -0.5",
        ),
        (
            {"length_penalty": math.nan},
            "length_penalty must be zero or a positive number, got nan",
        ),
        (
            {"length_penalty": math.inf},
            "length_penalty must be zero or a positive number, got inf",
        ),
        (
            {"coverage_penalty": -1.0},
            "coverage_penalty must be zero or a positive number, got -1",
        ),
        (
            {"coverage_penalty": math.nan},
            "coverage_penalty must be zero or .* number, got nan",
        ),
        (
            {"beam_size": 6},
            "beam_size=6 is larger than the vocabulary of 5 tokens.* at most 5",
        ),
        (
            {"beam_size": 24},
            "beam_size=24 is larger than the vocabulary of 5 tokens",
        ),
        (
            {"beam_size": 26},
            r"for an exhaustive search exactly vocab_size \*\* max_length",
        ),
    ],
)
def test_beam_search_refuses(options: dict[str, float], message: str) -> None:
    tables = make_tables(batch=2, vocab=5, seed=0)
    options = {"max_length": 2, "beam_size": 3} | options
    with pytest.raises(ValueError, match=message):
        beam_search(tables.step, tables.start(), bos(2), EOS, PAD, **options)


def test_a_beam_as_wide_as_the_vocabulary_or_as_all_sequences() -> None:
    tables = make_tables(batch=2, vocab=5, seed=0)
    for beam_size in (5, 25):
        assert search(tables, Goal(EOS, max_length=2), beam_size).tokens.shape[
            :2
        ] == (2, 1)
    assert tables.rows == [2 * 5] * 2 + [2 * 25] * 2


@pytest.mark.parametrize("max_length", [1, 2, 7])
def test_a_beam_that_is_too_wide_is_refused_at_the_first_step(
    max_length: int,
) -> None:
    tables = make_tables(batch=2, vocab=5, seed=0)
    with pytest.raises(ValueError, match="beam_size=6 is larger than the voc"):
        search(tables, Goal(EOS, max_length), beam_size=6)
    assert tables.rows == [2 * 6]


@pytest.mark.parametrize("missing", ["weights", "mask"])
def test_coverage_needs_attention(missing: str) -> None:
    tables = make_tables(batch=2, vocab=5, seed=0)
    start = {
        name: tensor
        for name, tensor in tables.start().items()
        if name != missing
    }

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        log_probs, new = tables.step(tokens, state)
        return log_probs, {name: new[name] for name in new if name != missing}

    names = {"before", "mask", "source", "time", "weights"} - {missing}
    named = ", ".join(sorted(names))
    message = (
        "coverage_penalty needs the attention `weights` .* which has only "
        f"{named}: use"
    )
    with pytest.raises(ValueError, match=message):
        beam_search(
            step, start, bos(2), EOS, PAD, max_length=2, coverage_penalty=0.2
        )
    found = beam_search(step, start, bos(2), EOS, PAD, max_length=2)
    assert (found.weights is None) == (missing == "weights")


def test_coverage_needs_attention_in_a_model() -> None:
    model = make_model("none")
    state = model.encode(*sources([3, 2], width=5))
    with pytest.raises(
        ValueError,
        match="state, which has only c, h: use a model with attention",
    ):
        beam_search(
            model.step,
            state,
            bos(2),
            EOS,
            PAD,
            max_length=2,
            coverage_penalty=0.2,
        )


# --- Exact search ---


@settings(max_examples=60)
@given(
    random_tables(batch=2, max_vocab=5), st.integers(1, 4), st.integers(0, 3)
)
def test_exact_search_is_brute_force(
    tables: Tables, max_length: int, beam_size: int
) -> None:
    """Wherever it starts: from greedy search or from a beam."""
    if beam_size:
        start = search(tables, Goal(EOS, max_length), beam_size).first()
    else:
        start = decode(tables, greedy, max_length)
    found = decode(tables, exact_search, max_length, start=start)
    for row in range(len(tables.log_probs)):
        everything = reference_search.brute_force(
            tables.model(row), Goal(EOS, max_length), tables.vocab_size
        )
        length, tokens = int(found.lengths[row]), found.tokens[row].tolist()
        assert tokens[length:] == [PAD] * (len(tokens) - length)
        if not everything or everything[0].tokens[-1] != EOS:  # nothing can end
            assert (length, float(found.log_probs[row])) == (0, -math.inf)
            continue
        assert tuple(tokens[:length]) == everything[0].tokens
        assert_close(
            float(found.log_probs[row]),
            everything[0].log_prob,
            rtol=1e-12,
            atol=1e-12,
        )
    assert found.weights is None


@given(random_tables(), st.integers(1, 5), st.integers(1, 4))
def test_exact_search_is_never_below_a_beam(
    tables: Tables, max_length: int, beam_size: int
) -> None:
    """Also where all it is told is what greedy search found."""
    beam = search(tables, Goal(EOS, max_length), beam_size).first()
    found = decode(
        tables,
        exact_search,
        max_length,
        start=decode(tables, greedy, max_length),
    )
    for row, length in enumerate(beam.lengths.tolist()):
        if length and beam.tokens[row, length - 1] == EOS:
            assert found.log_probs[row] >= beam.log_probs[row] - 1e-12


def test_exact_search_finds_what_a_beam_misses() -> None:
    """A sequence that begins with an unlikely token, and is then certain."""
    steps = {(BOS, A): 0.7, (BOS, B): 0.3, (B, EOS): 1.0}
    tables = chain(steps | {(A, A): 0.6, (A, EOS): 0.4})
    start = search(tables, Goal(EOS, max_length=3), beam_size=1).first()
    # cut off: not a sequence that ends
    assert start.tokens.tolist() == [[A, A, A]]
    found = decode(tables, exact_search, max_length=3, start=start)
    assert found.tokens.tolist() == [[B, EOS]]
    assert found.lengths.tolist() == [2]
    assert_close(float(found.log_probs), math.log(0.3))


def test_exact_search_leaves_nothing_of_what_it_replaces() -> None:
    """The first source has a better sequence than the longer one given.

    The second has none.
    """
    ways = {
        (BOS, A): 0.5,
        (BOS, B): 0.5,
        (A, C): 1.0,
        (C, EOS): 0.5,
        (C, C): 0.5,
        (B, EOS): 1.0,
    }
    both = [
        chain(ways, 7),
        chain({(BOS, A): 1.0, (A, C): 1.0, (C, EOS): 1.0}, 7),
    ]
    tables = Tables(
        torch.cat([one.log_probs for one in both]),
        torch.cat([one.weights for one in both]),
        torch.cat([one.mask for one in both]),
        [],
    )
    log_probs = torch.tensor([0.25, 1.0], dtype=torch.float64).log()
    start = Decoded(
        torch.tensor([[A, C, EOS]] * 2), torch.tensor([3, 3]), log_probs, None
    )
    found = decode(tables, exact_search, max_length=5, start=start)
    assert found.tokens.tolist() == [[B, EOS, PAD], [A, C, EOS]]
    assert found.lengths.tolist() == [2, 3]
    assert_close(
        found.log_probs.exp(), torch.tensor([0.5, 1.0], dtype=torch.float64)
    )
    assert start.tokens.tolist() == [[A, C, EOS]] * 2
    assert torch.equal(start.log_probs, log_probs)


@pytest.mark.parametrize("pad_id", [PAD, 6, EOS])
def test_exact_search_pads_what_it_keeps_beside_what_is_longer(
    pad_id: int,
) -> None:
    """What was given is narrower than what is found for another source."""
    both = [
        chain({(BOS, EOS): 0.9, (BOS, A): 0.1}, 7),
        chain({(BOS, EOS): 0.1, (BOS, A): 0.9, (A, B): 1.0, (B, EOS): 1.0}, 7),
    ]
    tables = Tables(
        torch.cat([one.log_probs for one in both]),
        torch.cat([one.weights for one in both]),
        torch.cat([one.mask for one in both]),
        [],
    )
    given = (tables.step, tables.start(), bos(2), EOS, pad_id, 5)
    start = Decoded(
        torch.tensor([[EOS], [EOS]]),
        torch.tensor([1, 1]),
        torch.tensor([0.9, 0.1], dtype=torch.float64).log(),
        None,
    )
    found = exact_search(*given, start)
    assert found.tokens.tolist() == [[EOS, pad_id, pad_id], [A, B, EOS]]
    assert found.lengths.tolist() == [1, 3]


def test_exact_search_is_not_told_of_a_sequence_without_tokens() -> None:
    """Even if its padding is EOS, and whatever its log-probability says."""
    tables = make_tables(3, 5, seed=1)
    given = (tables.step, tables.start(), bos(3), EOS, EOS, 4)
    expected = exact_search(*given, greedy(*given))
    nothing = Decoded(
        torch.full((3, 1), EOS), torch.zeros(3).long(), torch.zeros(3), None
    )
    found = exact_search(*given, nothing)
    assert torch.equal(found.tokens, expected.tokens)
    assert torch.equal(found.lengths, expected.lengths)
    assert_close(found.log_probs, expected.log_probs)


def test_exact_search_keeps_what_it_was_given_if_there_is_no_better() -> None:
    tables = make_tables(3, 5, seed=1)
    best = search(tables, Goal(EOS, max_length=4), beam_size=5**4).first()
    again = decode(tables, exact_search, max_length=4, start=best)
    assert torch.equal(again.tokens, best.tokens)
    assert torch.equal(again.lengths, best.lengths)
    assert torch.equal(again.log_probs, best.log_probs)


def test_a_better_start_leaves_less_to_try() -> None:
    """No beginning is continued that is less likely than the given start."""
    others, fewer = [PAD, BOS, A, B, C, 6], 0
    for seed in range(7):
        tables = make_tables(1, 7, seed, ending=-1.0)
        impossible = torch.full((1,), -math.inf, dtype=torch.float64)
        lengths = torch.zeros(1, dtype=torch.long)
        nothing = Decoded(torch.full((1, 4), PAD), lengths, impossible, None)
        rough = search(tables, Goal(EOS, max_length=4), beam_size=2).first()
        given_nothing = decode(
            tables, exact_search, max_length=4, start=nothing
        )
        from_nothing = sum(tables.rows)
        tables.rows.clear()
        from_rough = decode(tables, exact_search, max_length=4, start=rough)
        assert_close(from_rough.log_probs, given_nothing.log_probs)
        fewer += sum(tables.rows) < from_nothing
        tables.rows.clear()
        best = decode(tables, exact_search, max_length=4, start=given_nothing)
        tables.rows.clear()
        decode(tables, exact_search, max_length=4, start=best)
        judged = (
            reference_search.judge(tables.model(0), Goal(EOS, 4), beginning)
            for length in range(4)
            for beginning in itertools.product(others, repeat=length)
        )
        assert sum(tables.rows) == sum(
            one.log_prob > float(best.log_probs) for one in judged
        )
    assert fewer


@pytest.mark.parametrize("seed", range(3))
def test_each_source_leaves_out_what_it_has_a_better_sequence_for(
    seed: int,
) -> None:
    """Together they try as much as alone."""
    tables, alone = make_tables(3, 5, seed, ending=-1.0), 0
    start = decode(tables, greedy, 4)
    tables.rows.clear()
    decode(tables, exact_search, 4, start=start)
    for row in range(3):
        one = tables.only([row])
        start = decode(one, greedy, 4)
        one.rows.clear()
        decode(one, exact_search, 4, start=start)
        alone += sum(one.rows)
    assert sum(tables.rows) == alone


def test_exact_search_where_nothing_ends() -> None:
    """Padding for each source, and no sequence."""
    tables = make_tables(3, 5, seed=0)
    tables.log_probs[..., EOS] = -math.inf
    found = decode(tables, exact_search, 4, start=decode(tables, greedy, 4))
    assert found.tokens.tolist() == [[PAD]] * 3
    assert found.lengths.tolist() == [0] * 3
    assert found.log_probs.tolist() == [-math.inf] * 3


@pytest.mark.parametrize("attention", ["none", "bahdanau"])
def test_exact_search_with_a_model(attention: str) -> None:
    """Each beginning's state follows it; a batch is many single searches."""
    model = make_model(attention, vocab=5)
    lengths = [2, 5, 3]
    src, src_lengths = sources(lengths, width=7)
    state = model.encode(src, src_lengths)
    start = greedy(model.step, state, bos(3), EOS, PAD, max_length=4)
    found = exact_search(model.step, state, bos(3), EOS, PAD, 4, start)
    for row, length in enumerate(lengths):
        in_loops = looped(model, src[row], length)
        expected = reference_search.brute_force(
            in_loops, Goal(EOS, 4), vocab_size=5
        )[0]
        assert (
            tuple(found.tokens[row, : found.lengths[row]].tolist())
            == expected.tokens
        )
        assert_close(
            float(found.log_probs[row]), expected.log_prob, rtol=1e-4, atol=1e-4
        )
    assert found.lengths.max() > 2, (
        "the test needs sequences that go through many states"
    )
    assert not found.log_probs.requires_grad


def test_exact_search_gives_up_where_there_is_too_much_to_try() -> None:
    tables = make_tables(2, 5, seed=7, ending=-1.0)
    start = decode(tables, greedy, max_length=6)
    tables.rows.clear()
    enough = decode(tables, exact_search, max_length=6, start=start)
    widest = max(tables.rows)
    assert tables.rows[-1] < widest  # over both sources together
    again = decode(
        tables, exact_search, max_length=6, start=start, max_prefixes=widest
    )
    assert torch.equal(again.tokens, enough.tokens)
    message = (
        f"{widest} beginnings .*: pass fewer sources, a better `start`.* "
        "larger max_prefixes"
    )
    with pytest.raises(RuntimeError, match=message):
        decode(
            tables,
            exact_search,
            max_length=6,
            start=start,
            max_prefixes=widest - 1,
        )


def test_exact_search_keeps_no_beginnings_at_the_last_step() -> None:
    """With one token there is nothing to continue: room for none is enough."""
    tables = make_tables(1, 7, seed=0, ending=-4.0)
    start = decode(tables, greedy, max_length=1)
    assert start.tokens.tolist() != [[EOS]]
    found = decode(
        tables, exact_search, max_length=1, start=start, max_prefixes=0
    )
    assert found.tokens.tolist() == [[EOS]]


@pytest.mark.parametrize(
    "message", ["the state is empty", "max_length must be at least 1, got 0"]
)
def test_exact_search_refuses(message: str) -> None:
    tables = make_tables(1, 5, seed=1)
    start = decode(tables, greedy, max_length=3)
    state, limit = ({}, 3) if "empty" in message else (tables.start(), 0)
    with pytest.raises(ValueError, match=message):
        exact_search(tables.step, state, bos(1), EOS, PAD, limit, start)
