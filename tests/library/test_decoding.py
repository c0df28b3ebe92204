"""Greedy search: on tables of probabilities, where the answer is known, and on a model."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from attend.decoding import Decoded, State, Step, greedy
from attend.rnn import Seq2Seq, Seq2SeqConfig

PAD, BOS, EOS = 0, 1, 2


def table_step(table: Tensor) -> Step:
    """A model that looks at the last token only: row `i` of the table, `(vocab, vocab)`."""

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        assert tokens.shape == (len(state["seen"]),)
        return table[tokens].log(), {"seen": state["seen"] + 1}

    return step


def search(table: Tensor, max_length: int, batch: int = 1) -> Decoded:
    return greedy(table_step(table), {"seen": torch.zeros(batch)}, BOS, EOS, PAD, max_length)


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
def test_greedy_is_cut_at_max_length(max_length: int, probability: float) -> None:
    found = search(CHAIN, max_length)
    assert found.tokens.tolist() == [[3, 4][:max_length]]
    assert found.lengths.tolist() == [max_length]
    assert_close(found.log_probs, torch.tensor([math.log(probability)]))


def test_sequences_end_each_at_its_own_time() -> None:
    """Row `i` ends after `i` tokens; what the model says afterwards is not listened to."""
    calls = []

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        calls.append(tokens.tolist())
        ends = state["left"] == 0
        log_probs = torch.tensor([-9.0, -9, -9, -0.5]).repeat(len(tokens), 1)
        log_probs[ends, EOS] = -0.25
        weights = torch.full((len(tokens), 1, 5), float(len(calls)))
        return log_probs, {"left": state["left"] - 1, "weights": weights}

    found = greedy(step, {"left": torch.tensor([2, 0, 3])}, BOS, EOS, PAD, max_length=11)
    assert found.tokens.tolist() == [[3, 3, EOS, PAD], [EOS, PAD, PAD, PAD], [3, 3, 3, EOS]]
    assert found.lengths.tolist() == [3, 1, 4]
    assert_close(found.log_probs, torch.tensor([-1.25, -0.25, -1.75]))
    assert calls == [[BOS] * 3, [3, EOS, 3], [3, PAD, 3], [EOS, PAD, 3]]
    assert found.weights is not None
    assert found.weights.shape == (3, 4, 5)
    assert_close(found.weights[:, :, 0], torch.arange(1.0, 5).expand(3, 4))


@st.composite
def tables(draw: st.DrawFn) -> Tensor:
    """A table of random probabilities, of at least one letter beside the special tokens."""
    vocab = draw(st.integers(4, 7))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    logits = torch.rand(vocab, vocab, generator=generator, dtype=torch.float64) * 8
    return logits.softmax(dim=-1)


@given(tables(), st.integers(1, 11))
def test_greedy_invariants(table: Tensor, max_length: int) -> None:
    batch = 3
    step = table_step(table)
    found = greedy(step, {"seen": torch.zeros(batch)}, BOS, EOS, PAD, max_length)
    tokens, length = found.tokens[0].tolist(), int(found.lengths[0])
    assert found.tokens.shape[0] == batch
    assert (found.tokens == found.tokens[0]).all()
    assert found.tokens.shape[1] == length <= max_length  # all rows are alike: none waits
    assert EOS not in tokens[:-1]
    assert tokens[-1] == EOS or length == max_length
    expected, last = 0.0, BOS
    for token in tokens:
        assert table[last, token] == table[last].max()
        expected += math.log(table[last, token])
        last = token
    assert_close(found.log_probs.double(), torch.full((batch,), expected, dtype=torch.float64))


@given(tables(), st.integers(1, 7), st.integers(1, 7))
def test_a_longer_limit_only_adds_tokens(table: Tensor, one: int, other: int) -> None:
    short, long = (search(table, limit) for limit in sorted((one, other)))
    assert torch.equal(long.tokens[:, : short.tokens.shape[1]], short.tokens)


@pytest.mark.parametrize("attention", ["none", "bahdanau", "luong"])
def test_greedy_with_a_model(attention: str) -> None:
    """What was found has the probability that the model gives it, and is the best at each step."""
    torch.manual_seed(8)  # with these weights some sentences end soon, some late, some never
    config = Seq2SeqConfig(11, 7, d_embed=3, d_hidden=13, num_layers=1, attention=attention)
    model = Seq2Seq(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6)
        model.output.bias[EOS] += 0.5
    batch, limit = 13, 19
    src, lengths = torch.randint(3, 11, (batch, 17)), torch.randint(1, 18, (batch,))
    found = greedy(model.step, model.encode(src, lengths), BOS, EOS, PAD, limit)
    ended = found.lengths < found.tokens.shape[1]
    assert ended.any(), "the test needs sentences of different lengths"
    assert not ended.all()

    tgt_in = torch.cat([torch.full((batch, 1), BOS), found.tokens[:, :-1]], dim=1)
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
            assert_close(found.weights[row, :length], state["weights"][row, :length])
    assert (found.weights is None) == (attention == "none")
    assert not found.log_probs.requires_grad


def test_greedy_needs_a_limit() -> None:
    with pytest.raises(ValueError, match="max_length must be at least 1, got 0"):
        search(CHAIN, max_length=0)


def test_greedy_needs_a_state() -> None:
    with pytest.raises(ValueError, match=r"the state is empty: pass the state .* encode\(\)"):
        greedy(table_step(CHAIN), {}, BOS, EOS, PAD, max_length=3)
