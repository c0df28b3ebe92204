"""Models of known probabilities: random tables, and an encoder-decoder."""

import functools
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from attend.decoding import NBest, State
from attend.rnn import Seq2Seq, Seq2SeqConfig
from tests.library.reference import Reference
from tests.library.reference_search import Found, Model, Prefix

PAD, BOS, EOS = 0, 1, 2
LONGEST = 11  # the most tokens that a table can write


def bos(rows: int) -> Tensor:
    """The tokens fed first, BOS for each row of a state."""
    return torch.full((rows,), BOS)


@dataclass
class Tables:
    """Models that look at time and the last two tokens, one a source.

    They attend to some keys. Without the time, sequences of the same steps in
    another order would be equally likely.

    Attributes:
        log_probs: `(batch, time, vocab, vocab, vocab)`: token before last, last
            token, next token.
        weights: `(batch, time, vocab, vocab, key)`, zero on the padding.
        mask: `(batch, 1, key)`, the real keys.
        rows: how many rows each call of `step` had.
    """

    log_probs: Tensor
    weights: Tensor
    mask: Tensor
    rows: list[int]

    @property
    def vocab_size(self) -> int:
        return self.log_probs.shape[-1]

    @property
    def first(self) -> Tensor:
        """BOS for each source."""
        return bos(len(self.log_probs))

    def start(self) -> State:
        batch = len(self.log_probs)
        return {
            "source": torch.arange(batch),
            "time": torch.zeros(batch, dtype=torch.long),
            "before": torch.full((batch,), PAD),
            "mask": self.mask,
        }

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        self.rows.append(len(tokens))
        index = state["source"], state["time"], state["before"], tokens
        weights = self.weights[index][:, None]  # (rows, 1, key)
        new = {
            **state,
            "time": state["time"] + 1,
            "before": tokens,
            "weights": weights,
        }
        return self.log_probs[index], new

    def only(self, rows: list[int]) -> "Tables":
        """The models of some of the sources."""
        return Tables(
            self.log_probs[rows], self.weights[rows], self.mask[rows], []
        )

    def model(self, row: int, first: int = BOS) -> Model:
        """One source's model in plain numbers, and the token fed first."""
        log_probs, weights = (
            self.log_probs[row].tolist(),
            self.weights[row].tolist(),
        )
        real = int(self.mask[row].sum())

        def model(prefix: Prefix) -> tuple[list[float], list[float]]:
            time, (before, last) = len(prefix), (PAD, first, *prefix)[-2:]
            return log_probs[time][before][last], weights[time][before][last][
                :real
            ]

        return model


def make_tables(
    batch: int,
    vocab: int,
    seed: int,
    sharpness: float = 4.0,
    ending: float = 0.0,
    forbidden: float = 0.0,
) -> Tables:
    """Random tables: how sharp, how fond of ending, how much is impossible."""
    generator = torch.Generator().manual_seed(seed)
    keys = 5
    shape = (batch, LONGEST, vocab, vocab)
    logits = (
        torch.rand(*shape, vocab, generator=generator, dtype=torch.float64)
        * sharpness
    )
    logits[..., EOS] += ending
    hidden = torch.rand(logits.shape, generator=generator) < forbidden
    hidden &= ~hidden.all(dim=-1, keepdim=True)
    log_probs = logits.masked_fill(hidden, -torch.inf).log_softmax(dim=-1)
    real = torch.randint(1, keys + 1, (batch, 1), generator=generator)
    mask = (torch.arange(keys) < real)[:, None]  # (batch, 1, key)
    looks = (
        torch.rand(*shape, keys, generator=generator, dtype=torch.float64) * 5
    )
    weights = looks.masked_fill(~mask[:, None, None], -torch.inf).softmax(
        dim=-1
    )
    return Tables(log_probs, weights, mask, [])


@st.composite
def random_tables(
    draw: st.DrawFn, batch: int = 3, max_vocab: int = 7
) -> Tables:
    return make_tables(
        batch=draw(st.integers(1, batch)),
        vocab=draw(st.integers(4, max_vocab)),
        seed=draw(st.integers(0, 2**31)),
        sharpness=draw(st.sampled_from([1.0, 4.0, 9.0])),
        ending=draw(st.sampled_from([-4.0, 0.0, 1.0])),
        forbidden=draw(st.sampled_from([0.0, 0.0, 0.3, 0.6])),
    )


def make_model(
    attention: str, vocab: int = 5, half_width: int | None = None
) -> Seq2Seq:
    """An untrained encoder-decoder that is sure of something.

    Its parameters are enlarged until it is. With these seeds some sentences end
    soon, some late, some never.
    """
    torch.manual_seed({"none": 3, "bahdanau": 8, "luong": 3}[attention])
    config = Seq2SeqConfig(
        11,
        vocab,
        d_embed=3,
        d_hidden=7,
        num_layers=1,
        attention=attention,
        score="bilinear",
        half_width=half_width,
    )
    model = Seq2Seq(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6)
        model.output.bias[EOS] += 1
    return model


def sources(lengths: list[int], width: int) -> tuple[Tensor, Tensor]:
    """Random sentences of the given lengths, padded to a common width."""
    tokens = torch.randint(3, 11, (len(lengths), width))
    real = torch.arange(width) < torch.tensor(lengths)[:, None]
    return tokens.where(real, PAD), torch.tensor(lengths)


def looped(model: Seq2Seq, src: Tensor, length: int) -> Model:
    """An encoder-decoder reading one sentence, in loops over plain numbers."""
    reference, sentence = Reference(model), src[:length].tolist()

    @functools.cache
    def looped_model(prefix: Prefix) -> tuple[list[float], list[float]]:
        output = reference.translate(sentence, [BOS, *prefix])
        log_probs = torch.tensor(
            output.logits[-1], dtype=torch.float64
        ).log_softmax(dim=0)
        return log_probs.tolist(), output.weights[-1] if output.weights else []

    return looped_model


def padded(prompts: list[Prefix], pad_id: int = PAD, more: int = 0) -> Tensor:
    """Prompts side by side, with more padding than there must be."""
    width = max(map(len, prompts)) + more
    rows = [[*one, *[pad_id] * (width - len(one))] for one in prompts]
    return torch.tensor(rows, dtype=torch.long).view(len(prompts), width)


def assert_found(
    found: NBest,
    row: int,
    expected: list[Found],
    rtol: float = 1e-12,
    pad_id: int = PAD,
) -> None:
    """One source's sequences are as expected; the places after are empty."""
    close = functools.partial(torch.testing.assert_close, rtol=rtol, atol=rtol)
    width = found.tokens.shape[2]
    for place in range(found.tokens.shape[1]):
        length = int(found.lengths[row, place])
        tokens = found.tokens[row, place].tolist()
        log_prob, score = (
            float(found.log_probs[row, place]),
            float(found.scores[row, place]),
        )
        assert tokens[length:] == [pad_id] * (width - length)
        if place >= len(expected):
            assert (length, log_prob, score) == (0, -torch.inf, -torch.inf)
            continue
        assert tuple(tokens[:length]) == expected[place].tokens
        close(log_prob, expected[place].log_prob)
        close(score, expected[place].score)
        if found.weights is not None:
            weights = torch.zeros(
                found.weights.shape[2:], dtype=found.weights.dtype
            )
            for time, looked in enumerate(expected[place].weights):
                weights[time, : len(looked)] = torch.tensor(
                    looked, dtype=weights.dtype
                )
            close(found.weights[row, place], weights)
