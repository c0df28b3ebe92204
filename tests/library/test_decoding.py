"""Greedy search, sampling and a step's contract: on known tables and a model.

Beam search and exact search have their own tests, in test_beam_search.py.
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from attend.decoding import (
    Decoded,
    NBest,
    State,
    Step,
    beam_search,
    exact_search,
    greedy,
    mutual_information,
    sample,
    sequence_log_probs,
    truncate,
)
from attend.rnn import Seq2Seq, Seq2SeqConfig
from tests.library import reference_search
from tests.library.reference_search import Goal
from tests.library.tables import (
    BOS,
    EOS,
    PAD,
    Tables,
    bos,
    looped,
    make_model,
    make_tables,
    random_tables,
    sources,
)


def table_step(table: Tensor) -> Step:
    """A model that looks at the last token only.

    After token `i` it gives row `i` of the table, `(vocab, vocab)`.
    """

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        assert tokens.shape == (len(state["seen"]),)
        return table[tokens].log(), {"seen": state["seen"] + 1}

    return step


def search(table: Tensor, max_length: int, batch: int = 1) -> Decoded:
    return greedy(
        table_step(table),
        {"seen": torch.zeros(batch)},
        bos(batch),
        EOS,
        PAD,
        max_length,
    )


#                       pad  bos  eos  a    b
CHAIN = torch.tensor(
    [
        [0.2, 0.2, 0.2, 0.2, 0.2],
        [0.0, 0.0, 0.1, 0.6, 0.3],  # after BOS: a
        [0.0, 0.0, 0.0, 0.9, 0.1],  # after EOS the table would go on
        [0.0, 0.0, 0.2, 0.3, 0.5],  # after a: b
        [0.0, 0.0, 0.7, 0.1, 0.2],  # after b: the end
    ]
)


def test_greedy_on_a_known_table() -> None:
    found = search(CHAIN, max_length=7, batch=2)
    assert found.tokens.tolist() == [[3, 4, EOS]] * 2
    assert found.lengths.tolist() == [3, 3]
    assert_close(found.log_probs, torch.tensor([math.log(0.6 * 0.5 * 0.7)] * 2))
    assert found.weights is None


@pytest.mark.parametrize(("max_length", "probability"), [(1, 0.6), (2, 0.3)])
def test_greedy_is_cut_at_max_length(
    max_length: int, probability: float
) -> None:
    found = search(CHAIN, max_length)
    assert found.tokens.tolist() == [[3, 4][:max_length]]
    assert found.lengths.tolist() == [max_length]
    assert_close(found.log_probs, torch.tensor([math.log(probability)]))


def test_sequences_end_each_at_its_own_time() -> None:
    """Each row has its own end; what the model says later is ignored.

    Where it looks later is, too.
    """
    calls = []

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        calls.append(tokens.tolist())
        ends = state["left"] == 0
        log_probs = torch.tensor([-9.0, -9, -9, -0.5]).repeat(len(tokens), 1)
        log_probs[ends, EOS] = -0.25
        weights = torch.full((len(tokens), 1, 5), float(len(calls)))
        return log_probs, {"left": state["left"] - 1, "weights": weights}

    found = greedy(
        step, {"left": torch.tensor([2, 0, 3])}, bos(3), EOS, PAD, max_length=11
    )
    assert found.tokens.tolist() == [
        [3, 3, EOS, PAD],
        [EOS, PAD, PAD, PAD],
        [3, 3, 3, EOS],
    ]
    assert found.lengths.tolist() == [3, 1, 4]
    assert_close(found.log_probs, torch.tensor([-1.25, -0.25, -1.75]))
    assert calls == [[BOS] * 3, [3, EOS, 3], [3, PAD, 3], [EOS, PAD, 3]]
    assert found.weights is not None
    assert found.weights.shape == (3, 4, 5)
    looks = [[1.0, 2, 3, 0], [1, 0, 0, 0], [1, 2, 3, 4]]
    assert found.weights.tolist() == [
        [[look] * 5 for look in row] for row in looks
    ]


@st.composite
def tables(draw: st.DrawFn) -> Tensor:
    """A table of random probabilities.

    It has at least one letter beside the special tokens.
    """
    vocab = draw(st.integers(4, 7))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    logits = (
        torch.rand(vocab, vocab, generator=generator, dtype=torch.float64) * 8
    )
    return logits.softmax(dim=-1)


@given(tables(), st.integers(1, 11))
def test_greedy_invariants(table: Tensor, max_length: int) -> None:
    batch = 3
    step = table_step(table)
    found = greedy(
        step, {"seen": torch.zeros(batch)}, bos(batch), EOS, PAD, max_length
    )
    tokens, length = found.tokens[0].tolist(), int(found.lengths[0])
    assert found.tokens.shape[0] == batch
    assert (found.tokens == found.tokens[0]).all()
    # all rows are alike: none waits
    assert found.tokens.shape[1] == length <= max_length
    assert EOS not in tokens[:-1]
    assert tokens[-1] == EOS or length == max_length
    expected, last = 0.0, BOS
    for token in tokens:
        assert table[last, token] == table[last].max()
        expected += math.log(table[last, token])
        last = token
    assert_close(
        found.log_probs.double(),
        torch.full((batch,), expected, dtype=torch.float64),
    )


@given(tables(), st.integers(1, 7), st.integers(1, 7))
def test_a_longer_limit_only_adds_tokens(
    table: Tensor, one: int, other: int
) -> None:
    short, long = (search(table, limit) for limit in sorted((one, other)))
    assert torch.equal(long.tokens[:, : short.tokens.shape[1]], short.tokens)


@pytest.mark.parametrize("attention", ["none", "bahdanau", "luong"])
def test_greedy_with_a_model(attention: str) -> None:
    """What was found has the model's probability, and is best at each step."""
    # with these weights some sentences end soon, some late, some never
    torch.manual_seed(8)
    config = Seq2SeqConfig(
        11, 7, d_embed=3, d_hidden=13, num_layers=1, attention=attention
    )
    model = Seq2Seq(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6)
        model.output.bias[EOS] += 0.5
    batch, limit = 13, 19
    src, lengths = (
        torch.randint(3, 11, (batch, 17)),
        torch.randint(1, 18, (batch,)),
    )
    state = model.encode(src, lengths)
    found = greedy(model.step, state, bos(batch), EOS, PAD, limit)
    ended = found.lengths < found.tokens.shape[1]
    assert ended.any(), "the test needs sentences of different lengths"
    assert not ended.all()

    tgt_in = torch.cat(
        [torch.full((batch, 1), BOS), found.tokens[:, :-1]], dim=1
    )
    logits, state = model.decode(tgt_in, model.encode(src, lengths))
    log_probs = logits.log_softmax(dim=-1)
    for row in range(batch):
        length = int(found.lengths[row])
        tokens = found.tokens[row, :length]
        each = log_probs[row, range(length), tokens]
        assert_close(each, log_probs[row, :length].max(dim=-1).values)
        assert_close(found.log_probs[row], each.sum())
        assert EOS not in tokens[:-1]
        assert (found.tokens[row, length:] == PAD).all()
        if found.weights is not None:
            assert_close(
                found.weights[row, :length], state["weights"][row, :length]
            )
            assert (found.weights[row, length:] == 0).all()
    assert (found.weights is None) == (attention == "none")
    assert not found.log_probs.requires_grad


def test_greedy_needs_a_limit() -> None:
    with pytest.raises(
        ValueError, match="max_length must be at least 1, got 0"
    ):
        search(CHAIN, max_length=0)


def test_greedy_needs_a_state() -> None:
    with pytest.raises(
        ValueError, match=r"the state is empty: pass the state .* encode\(\)"
    ):
        greedy(table_step(CHAIN), {}, bos(1), EOS, PAD, max_length=3)


# --- Truncated distributions ---


def test_truncate_on_known_numbers() -> None:
    probabilities = torch.tensor([[0.1, 0.4, 0.2, 0.3]], dtype=torch.float64)
    for options, expected in [
        ({}, [0.1, 0.4, 0.2, 0.3]),
        (
            {"temperature": 0.5},
            [0.01 / 0.3, 0.16 / 0.3, 0.04 / 0.3, 0.09 / 0.3],
        ),
        ({"top_k": 2}, [0, 4 / 7, 0, 3 / 7]),
        ({"top_k": 4}, [0.1, 0.4, 0.2, 0.3]),
        ({"top_k": 99}, [0.1, 0.4, 0.2, 0.3]),
        ({"top_p": 0.3}, [0, 1, 0, 0]),
        ({"top_p": 0.45}, [0, 4 / 7, 0, 3 / 7]),
        ({"top_p": 0.75}, [0, 4 / 9, 2 / 9, 3 / 9]),
        ({"top_p": 1.0}, [0.1, 0.4, 0.2, 0.3]),
        # 0.4 of 0.7 is more than one half
        ({"top_k": 2, "top_p": 0.5}, [0, 1, 0, 0]),
        ({"temperature": 0.5, "top_p": 0.5}, [0, 1, 0, 0]),  # 0.16 of 0.3 too
    ]:
        kept = truncate(probabilities.log(), **options)
        assert_close(kept.exp(), torch.tensor([expected], dtype=torch.float64))
        assert (kept == -math.inf).tolist() == [[p == 0 for p in expected]]


@given(
    st.integers(0, 2**31),
    st.integers(2, 13),
    st.sampled_from([0.3, 1.0, 1.7]),
    st.none() | st.integers(1, 15),
    st.none() | st.floats(0.01, 1.0),
)
def test_truncate_is_the_head_in_loops(
    seed: int,
    vocab: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
) -> None:
    """Also of logits, also where tokens are impossible, and in any shape."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 3, vocab)
    logits = torch.rand(shape, generator=generator, dtype=torch.float64) * 7
    hidden = torch.rand(shape, generator=generator) < 0.2
    logits = logits.masked_fill(
        hidden & ~hidden.all(dim=-1, keepdim=True), -math.inf
    )
    kept = truncate(logits, temperature, top_k, top_p)
    assert kept.shape == shape
    assert_close(kept.exp().sum(dim=-1), torch.ones(2, 3, dtype=torch.float64))
    for row, own in zip(
        logits.softmax(dim=-1).flatten(0, 1), kept.flatten(0, 1), strict=True
    ):
        expected = reference_search.head(
            row.tolist(), temperature, top_k, top_p
        )
        assert_close(own.exp(), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(
    ("options", "kept"),
    [({"top_k": 1}, [1, 1]), ({"top_k": 3}, [3, 3]), ({"top_p": 0.3}, [1, 2])],
)
def test_tokens_that_are_equally_likely_are_counted_one_by_one(
    options: dict[str, Any], kept: list[int]
) -> None:
    """The fewest tokens stay; which of the equals is nobody's promise."""
    tied = torch.tensor(
        [[0.05, 0.4, 0.4, 0.1, 0.05], [0.2, 0.2, 0.2, 0.2, 0.2]]
    )
    left = truncate(tied.log(), **options).exp()
    assert (left > 0).sum(dim=-1).tolist() == kept
    assert_close(left.sum(dim=-1), torch.ones(2))


def test_a_nucleus_of_everything_keeps_everything() -> None:
    """Even what is too unlikely to change a sum of 32-bit numbers."""
    log_probs = torch.tensor([[0.0, -40.0, -50.0]])
    assert truncate(log_probs, top_p=1.0).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_nucleus_that_has_exactly_enough_is_not_enlarged(
    number: int, dtype: torch.dtype
) -> None:
    """The fewest tokens that have `p` or more; here just `p`."""
    log_probs = torch.tensor([[0.1, 0.4, 0.2, 0.3]], dtype=dtype).log()
    ordered = truncate(log_probs).exp().sort(descending=True).values
    enough = float(ordered.cumsum(dim=-1)[0, number - 1])
    kept = truncate(log_probs, top_p=enough)
    assert int(kept.isfinite().sum()) == number


def test_the_limits_of_temperature() -> None:
    log_probs = torch.tensor([[0.1, 0.4, 0.2, 0.3]]).log()
    assert_close(
        truncate(log_probs, temperature=1e-3).exp(),
        torch.tensor([[0.0, 1, 0, 0]]),
    )
    assert_close(
        truncate(log_probs, temperature=1e6).exp(), torch.full((1, 4), 0.25)
    )


def test_a_vanishing_nucleus_is_the_most_likely_token() -> None:
    """A `top_p` too small for the dtype is no reason to drop every token."""
    log_probs = torch.tensor([[0.1, 0.4, 0.2, 0.3]]).log()
    assert_close(
        truncate(log_probs, top_p=1e-60).exp(), torch.tensor([[0.0, 1, 0, 0]])
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"temperature": 0.0},
            "temperature must be a positive number, got 0.0; or use greedy",
        ),
        (
            {"temperature": -1.0},
            "temperature must be a positive number, got -1.0",
        ),
        (
            {"temperature": math.inf},
            "temperature must be a positive number, got inf",
        ),
        (
            {"temperature": math.nan},
            "temperature must be a positive number, got nan",
        ),
        (
            {"top_k": 0},
            "top_k must be at least 1, got 0: leave it out to keep every token",
        ),
        ({"top_k": -3}, "top_k must be at least 1, got -3"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1, got 0.0"),
        ({"top_p": -0.5}, "top_p must be above 0 and at most 1, got -0.5"),
        ({"top_p": 1.5}, "top_p must be above 0 and at most 1, got 1.5"),
        ({"top_p": math.nan}, "top_p must be above 0 and at most 1, got nan"),
    ],
)
def test_truncate_and_sample_refuse(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        truncate(torch.tensor([[0.5, 0.5]]).log(), **options)
    tables = make_tables(2, 5, seed=0)
    with pytest.raises(ValueError, match=message):
        sample(tables.step, tables.start(), bos(2), EOS, PAD, 3, **options)


# --- Sampling ---


def draw(tables: Tables, max_length: int, seed: int, **options: Any) -> Decoded:
    generator = torch.Generator().manual_seed(seed)
    return sample(
        tables.step,
        tables.start(),
        tables.first,
        EOS,
        PAD,
        max_length,
        generator=generator,
        **options,
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.6},
        {"temperature": 1.8},
        {"top_k": 3},
        {"top_p": 0.7},
        {"temperature": 1.3, "top_k": 4, "top_p": 0.8},
    ],
    ids=str,
)
def test_sequences_are_drawn_as_often_as_they_should(
    options: dict[str, Any],
) -> None:
    """Pearson's statistic over all sequences of at most three tokens.

    There are 20,000 draws.
    """
    draws, limit = 20_000, 3
    one = make_tables(1, 5, seed=4, sharpness=2.0)
    many = Tables(
        one.log_probs.expand(draws, *[-1] * 4),
        one.weights.expand(draws, *[-1] * 4),
        one.mask.expand(draws, -1, -1),
        [],
    )
    found = draw(many, limit, seed=5, **options)
    rows = zip(found.tokens.tolist(), found.lengths.tolist(), strict=True)
    counts = Counter(tuple(row[:length]) for row, length in rows)
    shares = reference_search.distribution(
        one.model(0), Goal(EOS, limit), **options
    )
    assert set(counts) <= set(shares)  # nothing outside the head is ever drawn
    statistic, freedom = reference_search.pearson(counts, shares)
    assert freedom > 10
    # Its mean is `freedom` and its variance twice that: four deviations are
    # rare.
    assert statistic < freedom + 4 * math.sqrt(2 * freedom)


@given(
    random_tables(),
    st.integers(1, 7),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.integers(0, 99),
)
def test_samples_have_the_models_own_log_probs(
    tables: Tables, max_length: int, temperature: float, seed: int
) -> None:
    """Whatever the temperature; and a search could have found each sequence."""
    found = draw(tables, max_length, seed, temperature=temperature)
    for row in range(len(tables.log_probs)):
        length, tokens = int(found.lengths[row]), found.tokens[row].tolist()
        expected = reference_search.judge(
            tables.model(row), Goal(EOS, max_length), tuple(tokens[:length])
        )
        assert_close(
            float(found.log_probs[row]),
            expected.log_prob,
            rtol=1e-12,
            atol=1e-12,
        )
        assert math.isfinite(expected.log_prob)
        assert EOS not in tokens[: length - 1]
        assert tokens[length - 1] == EOS or length == max_length
        assert tokens[length:] == [PAD] * (len(tokens) - length)
        assert found.weights is not None
        for time, looked in enumerate(expected.weights):
            assert found.weights[row, time, : len(looked)].tolist() == looked
        assert (found.weights[row, length:] == 0).all()


@given(random_tables(), st.integers(1, 7), st.integers(0, 99))
def test_a_head_of_one_is_greedy_search(
    tables: Tables, max_length: int, seed: int
) -> None:
    best = greedy(
        tables.step, tables.start(), tables.first, EOS, PAD, max_length
    )
    for options in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-6}):
        found = draw(tables, max_length, seed, **options)
        assert torch.equal(found.tokens, best.tokens)
        assert torch.equal(found.lengths, best.lengths)
        assert torch.equal(found.log_probs, best.log_probs)


def test_a_generator_makes_samples_reproducible() -> None:
    tables = make_tables(11, 7, seed=0, sharpness=1.0)
    first, again, other = (draw(tables, 5, seed) for seed in (3, 3, 4))
    assert torch.equal(first.tokens, again.tokens)
    assert not torch.equal(first.tokens, other.tokens)
    generator = torch.Generator().manual_seed(3)
    arguments = (tables.step, tables.start(), tables.first, EOS, PAD, 5)
    first, second = (sample(*arguments, generator=generator) for _ in range(2))
    assert torch.equal(first.tokens, again.tokens)
    assert not torch.equal(first.tokens, second.tokens)  # the generator goes on
    torch.manual_seed(3)
    from_global = sample(*arguments)
    assert torch.equal(from_global.tokens, again.tokens)
    assert not from_global.log_probs.requires_grad


# --- The log-probability of given sequences ---


def test_sequence_log_probs_on_a_known_table() -> None:
    """Tokens after the length, and EOS before it, are tokens like any other."""
    tokens = torch.tensor([[3, 4, EOS], [3, 3, 4], [EOS, 3, 4], [4, EOS, PAD]])
    lengths = torch.tensor([3, 2, 3, 0])
    state = {"seen": torch.zeros(4)}
    found = sequence_log_probs(
        table_step(CHAIN), state, tokens, lengths, bos(4)
    )
    expected = torch.tensor(
        [0.6 * 0.5 * 0.7, 0.6 * 0.3, 0.1 * 0.9 * 0.5, 1.0]
    ).log()
    assert_close(found, expected)


def test_an_impossible_sequence_has_no_probability() -> None:
    tokens = torch.tensor([[3, 4, EOS], [BOS, 4, EOS]])
    found = sequence_log_probs(
        table_step(CHAIN),
        {"seen": torch.zeros(2)},
        tokens,
        torch.tensor([3, 3]),
        bos(2),
    )
    assert found.isfinite().tolist() == [True, False]
    assert found[1] == -math.inf


@pytest.mark.parametrize("attention", ["none", "bahdanau", "luong"])
def test_sequence_log_probs_with_a_model(attention: str) -> None:
    """The probabilities of all sequences are those of the model in loops."""
    model = make_model(attention, vocab=5)
    src, src_lengths = sources([3], width=5)
    # (25, 2)
    sequences = torch.tensor(list(itertools.product(range(5), repeat=2)))
    count = len(sequences)
    state = model.encode(src.expand(count, -1), src_lengths.expand(count))
    lengths = torch.full((count,), 2)
    found = sequence_log_probs(
        model.step, state, sequences, lengths, bos(count)
    )
    in_loops = looped(model, src[0], 3)
    for sequence, log_prob in zip(
        sequences.tolist(), found.tolist(), strict=True
    ):
        expected = reference_search.judge(
            in_loops, Goal(EOS, 2), tuple(sequence)
        ).log_prob
        assert_close(log_prob, expected, rtol=1e-4, atol=1e-4)
    assert_close(float(found.exp().sum()), 1.0)
    assert not found.requires_grad


# --- Padding ---


@pytest.mark.parametrize(
    "decoder", ["greedy", "sample", "beam_search", "exact_search"]
)
def test_padding_is_the_token_that_was_asked_for(decoder: str) -> None:
    """Not the zero of other tests, but a `pad_id` that the model writes too."""
    tables, limit = make_tables(5, 5, seed=12), 7

    def found(pad_id: int) -> Decoded:
        arguments = (
            tables.step,
            tables.start(),
            tables.first,
            EOS,
            pad_id,
            limit,
        )
        if decoder == "greedy":
            return greedy(*arguments)
        if decoder == "sample":
            return sample(
                *arguments, generator=torch.Generator().manual_seed(1)
            )
        beam = beam_search(*arguments, beam_size=3, num_best=2)
        if decoder == "beam_search":
            return Decoded(
                beam.tokens[:, 1],
                beam.lengths[:, 1],
                beam.log_probs[:, 1],
                None,
            )
        return exact_search(*arguments, beam.first())

    zeros, fours = found(PAD), found(4)
    written = torch.arange(zeros.tokens.shape[1]) < zeros.lengths[:, None]
    assert not written.all(), "the test needs sequences of different lengths"
    assert torch.equal(fours.lengths, zeros.lengths)
    assert torch.equal(fours.tokens, zeros.tokens.where(written, 4))
    assert (zeros.tokens[~written] == PAD).all()


# --- The contract of a step ---

START = Decoded(
    torch.zeros(2, 1, dtype=torch.long),
    torch.ones(2).long(),
    torch.zeros(2),
    None,
)
ONE_BEST = NBest(
    torch.tensor([[[3, 4, 3]], [[4, EOS, PAD]]]),
    torch.tensor([[3], [2]]),
    torch.tensor([[-3.0], [-2.0]]),
    torch.tensor([[-3.0], [-2.0]]),
    None,
)
DECODERS: dict[str, Callable[[Step, State], object]] = {
    "greedy": lambda step, state: greedy(step, state, bos(2), EOS, PAD, 3),
    "sample": lambda step, state: sample(step, state, bos(2), EOS, PAD, 3),
    "beam_search": lambda step, state: beam_search(
        step, state, bos(2), EOS, PAD, 3, beam_size=1
    ),
    "exact_search": lambda step, state: exact_search(
        step, state, bos(2), EOS, PAD, 3, START
    ),
    "sequence_log_probs": lambda step, state: sequence_log_probs(
        step, state, torch.full((2, 3), 3), torch.tensor([3, 2]), bos(2)
    ),
    "mutual_information": lambda step, state: mutual_information(
        step, ONE_BEST, state, bos(2)
    ),
}
EVEN = torch.full((2, 5), 0.2).log()  # two sentences, five tokens, all alike
ONE_NAN = EVEN.index_fill(1, torch.tensor([4]), math.nan)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (EVEN, TypeError, r"step must return \(log_probs, state\), got Tensor"),
        (
            (EVEN, {}, {}),
            TypeError,
            r"step must return \(log_probs, state\), got tuple",
        ),
        (
            [EVEN, {}],
            TypeError,
            r"step must return \(log_probs, state\), got list",
        ),
        ((EVEN, [EVEN]), TypeError, r"a dict of tensors, got \(Tensor, list\)"),
        (
            (EVEN.tolist(), {}),
            TypeError,
            r"a dict of tensors, got \(list, dict\)",
        ),
        (
            (EVEN[:, None], {}),
            ValueError,
            r"of shape \(2, vocab\), got \(2, 1, 5\): one row",
        ),
        (
            (EVEN[0], {}),
            ValueError,
            r"of shape \(2, vocab\), got \(5,\): one row for each",
        ),
        (
            (EVEN[:1], {}),
            ValueError,
            r"of shape \(2, vocab\), got \(1, 5\): one row for each",
        ),
        (
            (EVEN, {"c": torch.zeros(2, 3), "h": torch.zeros(1, 2)}),
            ValueError,
            r"2 rows, one for each token; 'h' has shape \(1, 2\)",
        ),
        (
            (EVEN, {"time": torch.tensor(3)}),
            ValueError,
            r"'time' has shape \(\)",
        ),
        (
            (EVEN, {"weights": torch.zeros(2, 5)}),
            ValueError,
            r"`weights` of shape \(batch, …, 1, key\), .*, got \(2, 5\)",
        ),
        (
            (EVEN, {"weights": torch.zeros(2, 3, 5)}),
            ValueError,
            r"`weights` of shape \(batch, …, 1, key\), .*, got \(2, 3, 5\)",
        ),
        (
            (EVEN, {"weights": torch.zeros(3, 1, 5)}),
            ValueError,
            r"2 rows, one for each token; 'weights' has shape \(3, 1, 5\)",
        ),
        (
            (ONE_NAN, {}),
            ValueError,
            "step returned NaN: has training diverged, or is a row fully",
        ),
        (
            (EVEN.index_fill(0, torch.tensor([1]), math.inf), {}),
            ValueError,
            "log_probs up to inf, but no logarithm of a probability is above",
        ),
        (
            (torch.arange(10.0).view(2, 5) - 7.5, {}),
            ValueError,
            (
                r"log_probs up to 1.5, but .* did it return logits\? "
                r"`log_softmax\(dim=-1\)`"
            ),
        ),
    ],
)
def test_a_step_that_breaks_the_contract(
    decoder: str, returned: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        DECODERS[decoder](
            lambda tokens, state: returned, {"h": torch.zeros(2, 7)}
        )


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_needs_a_state(decoder: str) -> None:
    with pytest.raises(
        ValueError, match=r"the state is empty: pass the state .* encode\(\)"
    ):
        DECODERS[decoder](lambda tokens, state: (EVEN, state), {})


@pytest.mark.parametrize("decoder", DECODERS)
def test_rounding_may_lift_a_log_probability_above_zero(decoder: str) -> None:
    """As `log_softmax` of 16-bit numbers does; no reason to refuse them."""
    certain = torch.full((2, 5), -math.inf).index_fill(
        1, torch.tensor([EOS]), 1e-5
    )
    DECODERS[decoder](
        lambda tokens, state: (certain[: len(tokens)], state),
        {"h": torch.zeros(2)},
    )
