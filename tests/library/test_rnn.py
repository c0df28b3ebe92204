"""The LSTM against PyTorch's, encoder-decoders against loops over numbers."""

import itertools
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from attend.attention import ScoreName
from attend.decoding import State, beam_search, greedy
from attend.rnn import (
    AttentionDecoder,
    AttentionName,
    LSTMCell,
    Seq2Seq,
    Seq2SeqConfig,
)
from attend.training import reproducible
from tests.library.reference import Reference

BATCH, LAYERS, SRC, TGT = 3, 2, 5, 7
D_EMBED, D_HIDDEN, SRC_VOCAB, TGT_VOCAB = 11, 13, 17, 19
LENGTHS = (4, 5, 2)

CONFIGS: dict[str, dict[str, Any]] = {
    "none": {"attention": "none"},
    "bahdanau": {"attention": "bahdanau"},
    "luong": {"attention": "luong", "score": "bilinear"},
    "local": {"attention": "luong", "score": "bilinear", "half_width": 2},
}


def config(**options: Any) -> Seq2SeqConfig:
    sizes = {"d_embed": D_EMBED, "d_hidden": D_HIDDEN, "num_layers": LAYERS}
    return Seq2SeqConfig(SRC_VOCAB, TGT_VOCAB, **{**sizes, **options})


def make_model(**options: Any) -> Seq2Seq:
    """Return a model in double precision.

    Its weights are large enough to matter.
    """
    torch.manual_seed(0)
    model = Seq2Seq(config(**options)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6)
    return model


def make_batch() -> tuple[Tensor, Tensor, Tensor]:
    """Return source, its lengths and target; zeros pad the source."""
    generator = torch.Generator().manual_seed(0)
    src = torch.randint(3, SRC_VOCAB, (BATCH, SRC), generator=generator)
    for row, length in zip(src, LENGTHS, strict=True):
        row[length:] = 0
    tgt = torch.randint(3, TGT_VOCAB, (BATCH, TGT), generator=generator)
    return src, torch.tensor(LENGTHS), tgt


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest) -> Seq2Seq:
    return make_model(**CONFIGS[request.param])


# --- LSTM cell ---


def twin_of(cell: nn.LSTMCell) -> LSTMCell:
    own = LSTMCell(cell.input_size, cell.hidden_size)
    own.load_state_dict(cell.state_dict())
    return own


def test_lstm_cell_is_pytorchs() -> None:
    torch.manual_seed(0)
    theirs = nn.LSTMCell(D_EMBED, D_HIDDEN)
    own = twin_of(theirs)
    x, h, c = (
        (torch.rand(BATCH, d) * 4 - 2).requires_grad_()
        for d in (D_EMBED, D_HIDDEN, D_HIDDEN)
    )
    outputs, expected = own(x, h, c), theirs(x, (h, c))
    assert_close(outputs, expected)

    gradients = [
        torch.autograd.grad(
            sum(t.square().sum() for t in new), [x, h, c, *cell.parameters()]
        )
        for new, cell in ((outputs, own), (expected, theirs))
    ]
    assert_close(*gradients)


def test_lstm_cell_starts_as_pytorchs() -> None:
    cell = LSTMCell(D_EMBED, D_HIDDEN)
    theirs = nn.LSTMCell(D_EMBED, D_HIDDEN)
    for (name, p), (their_name, their) in zip(
        cell.named_parameters(), theirs.named_parameters(), strict=True
    ):
        assert (name, p.shape) == (their_name, their.shape)
        assert 0.8 * D_HIDDEN**-0.5 < p.abs().max() <= D_HIDDEN**-0.5


def test_stacked_lstm_cells_are_pytorchs_lstm() -> None:
    """An encoder of own cells, and a decoder that starts from its states.

    Both have three layers.
    """
    torch.manual_seed(0)
    layers = 3
    theirs = [
        nn.LSTM(D_EMBED, D_HIDDEN, layers, batch_first=True) for _ in range(2)
    ]
    h, c = (
        [torch.zeros(BATCH, D_HIDDEN)] * layers,
        [torch.zeros(BATCH, D_HIDDEN)] * layers,
    )
    their_state = None
    for lstm, steps in zip(theirs, (SRC, TGT), strict=True):
        cells = []
        for layer in range(layers):
            cells.append(LSTMCell(D_HIDDEN if layer else D_EMBED, D_HIDDEN))
            own = dict(cells[-1].named_parameters())
            cells[-1].load_state_dict(
                {k: getattr(lstm, f"{k}_l{layer}") for k in own}
            )
        inputs = torch.rand(BATCH, steps, D_EMBED) * 4 - 2
        outputs = []
        for x in inputs.unbind(dim=1):
            for layer, cell in enumerate(cells):
                h[layer], c[layer] = cell(x, h[layer], c[layer])
                x = h[layer]
            outputs.append(x)
        expected, their_state = lstm(inputs, their_state)
        assert_close(torch.stack(outputs, dim=1), expected)
        assert_close((torch.stack(h), torch.stack(c)), their_state)


# --- Against the equations ---


@pytest.mark.parametrize(
    "options",
    [
        *CONFIGS.values(),
        {"attention": "none", "num_layers": 1},
        *(
            {"attention": "bahdanau", "score": s}
            for s in ("dot", "scaled_dot", "concat")
        ),
        {
            "attention": "luong",
            "score": "additive",
            "num_layers": 3,
            "half_width": 1,
        },
    ],
    ids=lambda options: "-".join(str(value) for value in options.values()),
)
def test_model_follows_the_papers_equations(options: dict[str, Any]) -> None:
    model = make_model(**options)
    src, lengths, tgt = make_batch()
    logits, state = model.decode(tgt, model.encode(src, lengths))
    assert_close(model(src, lengths, tgt), logits)
    for row, length in enumerate(LENGTHS):
        expected = Reference(model).translate(
            src[row, :length].tolist(), tgt[row].tolist()
        )
        assert_close(
            logits[row], torch.tensor(expected.logits, dtype=torch.float64)
        )
        if model.config.attention != "none":
            weights = torch.tensor(expected.weights, dtype=torch.float64)
            assert_close(state["weights"][row, :, :length], weights)
            assert (state["weights"][row, :, length:] == 0).all()
            assert weights.max() - weights.min() > 0.01, (
                "a flat map shows nothing"
            )


def test_local_window_of_a_whole_sentence_is_not_global() -> None:
    src, lengths, tgt = make_batch()
    shared = {"attention": "luong", "score": "bilinear"}
    everywhere, local = (
        make_model(**shared),
        make_model(**shared, half_width=97),
    )
    local.load_state_dict(everywhere.state_dict(), strict=False)
    _, state = everywhere.decode(tgt, everywhere.encode(src, lengths))
    _, windowed = local.decode(tgt, local.encode(src, lengths))
    # nearly flat Gaussian
    assert_close(state["weights"], windowed["weights"], atol=0.02, rtol=0)
    assert not torch.equal(state["weights"], windowed["weights"])


# --- Step by step, padding and batches ---


def steps(model: Seq2Seq, tgt: Tensor, state: State) -> tuple[Tensor, State]:
    """Decode one token at a time; return log-probabilities and a state.

    The log-probabilities are `(batch, tgt, vocab)`.
    """
    log_probs = []
    for tokens in tgt.unbind(dim=1):
        one, state = model.step(tokens, state)
        log_probs.append(one)
    return torch.stack(log_probs, dim=1), state


def test_teacher_forcing_equals_step_by_step(model: Seq2Seq) -> None:
    src, lengths, tgt = make_batch()
    state = model.encode(src, lengths)
    logits, last = model.decode(tgt, state)
    log_probs, stepped = steps(model, tgt, state)
    assert_close(logits.log_softmax(dim=-1), log_probs)
    assert last.keys() == stepped.keys()
    for name in stepped.keys() - {"weights"}:
        assert_close(last[name], stepped[name])
    if "weights" in last:
        assert last["weights"].shape == (BATCH, TGT, SRC)
        assert_close(last["weights"][:, -1:], stepped["weights"])


SCORES: tuple[ScoreName, ...] = get_args(ScoreName)


@pytest.mark.parametrize("attention", ["bahdanau", "luong"])
@pytest.mark.parametrize("score", SCORES)
def test_a_source_is_projected_once(
    attention: AttentionName, score: ScoreName, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the encoder: neither steps, nor decoding, nor a search repeat it."""
    model = make_model(attention=attention, score=score)
    projected, project = [], model.decoder.score.project

    def counted(k: Tensor) -> Tensor:
        projected.append(k)
        return project(k)

    monkeypatch.setattr(model.decoder.score, "project", counted)
    src, lengths, tgt = make_batch()
    state = model.encode(src, lengths)
    assert len(projected) == 1
    assert projected[0] is state["memory"]
    makes_others = score in ("additive", "concat")
    assert ("keys" in state) == makes_others, "no copy of the memory"
    if makes_others:
        assert torch.equal(state["keys"], project(state["memory"]))
    log_probs, last = steps(model, tgt, state)
    logits, _ = model.decode(tgt, state)
    assert_close(logits.log_softmax(dim=-1), log_probs)
    assert last.get("keys") is state.get("keys")
    first = torch.ones(BATCH, dtype=torch.long)
    for search in (greedy, beam_search):
        search(model.step, state, first, eos_id=2, pad_id=0, max_length=TGT)
    assert len(projected) == 1


@pytest.mark.parametrize("attention", ["bahdanau", "luong"])
def test_what_is_asked_are_the_keys(attention: AttentionName) -> None:
    """Other keys, other weights; what is read there is the memory still."""
    model = make_model(attention=attention)
    src, lengths, tgt = make_batch()
    state = model.encode(src, lengths)
    order = torch.tensor([1, 0, 2, 3, 4])  # the two first are always real
    _, moved = model.step(tgt[:, 0], {**state, "keys": state["keys"][:, order]})
    _, there = model.step(tgt[:, 0], state)
    assert_close(moved["weights"], there["weights"][:, :, order])
    _, both = model.step(
        tgt[:, 0],
        {
            **state,
            "keys": state["keys"][:, order],
            "memory": state["memory"][:, order],
        },
    )
    assert_close(both["h"], there["h"])
    if attention == "bahdanau":  # it looks before it moves
        assert not torch.allclose(moved["h"], there["h"])


def test_decoding_leaves_the_given_state_alone(model: Seq2Seq) -> None:
    src, lengths, tgt = make_batch()
    state = model.encode(src, lengths)
    before = {name: tensor.clone() for name, tensor in state.items()}
    steps(model, tgt, state)
    assert state.keys() == before.keys()
    assert all(torch.equal(state[name], before[name]) for name in before)


def test_state_shapes(model: Seq2Seq) -> None:
    src, lengths, tgt = make_batch()
    state = model.encode(src, lengths)
    _, later = model.decode(tgt, state)
    shapes = {name: tuple(tensor.shape) for name, tensor in later.items()}
    expected = {"h": (BATCH, LAYERS, D_HIDDEN), "c": (BATCH, LAYERS, D_HIDDEN)}
    if model.config.attention != "none":
        expected |= {"memory": (BATCH, SRC, D_HIDDEN), "mask": (BATCH, 1, SRC)}
        if model.config.score in ("additive", "concat"):
            expected |= {"keys": (BATCH, SRC, D_HIDDEN)}
        expected |= {"weights": (BATCH, TGT, SRC)}
    if model.config.attention == "luong":
        expected |= {"feed": (BATCH, D_HIDDEN)}
    assert shapes == expected
    for name in state:
        assert shapes[name] == state[name].shape


def decoded(
    model: Seq2Seq, src: Tensor, lengths: Tensor, tgt: Tensor
) -> list[Tensor]:
    """Return logits and everything that a greedy search finds."""
    state = model.encode(src, lengths)
    logits, _ = model.decode(tgt, state)
    first = torch.ones(len(src), dtype=torch.long)
    found = greedy(model.step, state, first, eos_id=2, pad_id=0, max_length=TGT)
    return [logits, found.tokens, found.lengths, found.log_probs]


@pytest.mark.parametrize("more", [0, 2])
def test_padding_is_never_read(model: Seq2Seq, more: int) -> None:
    src, lengths, tgt = make_batch()
    junk = torch.cat([src, torch.zeros(BATCH, more, dtype=torch.long)], dim=1)
    for row, length in zip(junk, LENGTHS, strict=True):
        row[length:] = 3 + torch.arange(SRC + more - length)
    assert_close(
        decoded(model, junk, lengths, tgt), decoded(model, src, lengths, tgt)
    )
    memory = [
        model.encoder(model.src_embedding(ids), lengths)[0][:, :SRC]
        for ids in (src, junk)
    ]
    assert torch.equal(*memory)


def test_a_sentence_alone_equals_a_sentence_in_a_batch(model: Seq2Seq) -> None:
    src, lengths, tgt = make_batch()
    together = decoded(model, src, lengths, tgt)
    for row, length in enumerate(LENGTHS):
        alone = decoded(
            model,
            src[row : row + 1, :length],
            lengths[row : row + 1],
            tgt[row][None],
        )
        for all_rows, one in zip(together, alone, strict=True):
            if one.dtype == torch.float64:
                assert_close(all_rows[row], one[0])
            # tokens: the longest sentence of the batch decides how far they are
            # padded
            else:
                cut = (
                    all_rows[row : row + 1, : one.shape[1]]
                    if one.dim() > 1
                    else all_rows[row]
                )
                assert_close(cut.squeeze(0), one[0])


def test_the_source_matters(model: Seq2Seq) -> None:
    src, lengths, tgt = make_batch()
    for row, length in enumerate(LENGTHS):
        for i in range(length):
            other = src.clone()
            other[row, i] = (src[row, i] + 1) % SRC_VOCAB
            changed = (
                (model(other, lengths, tgt) != model(src, lengths, tgt))
                .flatten(1)
                .any(dim=1)
            )
            assert changed.tolist() == [r == row for r in range(BATCH)]


def test_the_future_does_not_matter(model: Seq2Seq) -> None:
    src, lengths, tgt = make_batch()
    later = tgt.clone()
    later[:, 3:] = (tgt[:, 3:] + 1) % TGT_VOCAB
    one, other = model(src, lengths, tgt), model(src, lengths, later)
    assert torch.equal(one[:, :3], other[:, :3])
    assert (one[:, 3:] != other[:, 3:]).any(dim=-1).all()


@pytest.mark.parametrize("index", [[2, 0, 1], [1, 1, 1, 0, 2], [2]])
def test_index_select_reorders_the_state(
    model: Seq2Seq, index: list[int]
) -> None:
    src, lengths, tgt = make_batch()
    order = torch.tensor(index)
    _, state = steps(model, tgt[:, :3], model.encode(src, lengths))
    picked = {
        name: tensor.index_select(0, order) for name, tensor in state.items()
    }
    log_probs, _ = steps(model, tgt[:, 3:], state)
    reordered, _ = steps(model, tgt[order, 3:], picked)
    assert_close(reordered, log_probs[order])


# --- Parameters ---


@pytest.mark.parametrize(
    "options",
    [
        {"attention": "none"},
        *(
            {"attention": attention, "score": score, "half_width": half_width}
            for attention, score, half_width in itertools.product(
                ("bahdanau", "luong"),
                ("dot", "scaled_dot", "bilinear", "additive", "concat"),
                (None, 2),
            )
            if attention == "luong" or half_width is None
        ),
    ],
    ids=lambda options: "-".join(str(value) for value in options.values()),
)
def test_gradients_reach_every_parameter(options: dict[str, Any]) -> None:
    model = make_model(**options)
    model(*make_batch()).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert (parameter.grad != 0).any(), name


def test_shared_embedding_is_one_table() -> None:
    shared = replace(config(), tgt_vocab_size=SRC_VOCAB, share_embedding=True)
    model = Seq2Seq(shared)
    assert model.src_embedding is model.tgt_embedding
    apart = Seq2Seq(replace(shared, share_embedding=False))
    sizes = [sum(p.numel() for p in m.parameters()) for m in (apart, model)]
    assert sizes[0] - sizes[1] == SRC_VOCAB * D_EMBED
    src, lengths, tgt = make_batch()
    model(src, lengths, tgt % SRC_VOCAB).sum().backward()
    assert model.src_embedding.weight.grad is not None


def test_a_shared_embedding_needs_one_vocabulary() -> None:
    with pytest.raises(
        ValueError,
        match="one vocabulary for source and target, got sizes 17 and",
    ):
        config(share_embedding=True)


@pytest.mark.usefixtures("unchecked")
def test_unknown_attention() -> None:
    with pytest.raises(
        ValueError,
        match="unknown attention 'self': choose from none, bahdanau, lu",
    ):
        config(attention="self")


@pytest.mark.parametrize("attention", ["bahdanau", "luong"])
def test_dropout_is_on_in_training_only(attention: AttentionName) -> None:
    model = make_model(attention=attention, dropout=0.5)
    batch = make_batch()
    assert torch.equal(model(*batch), model(*batch))
    model.train()
    assert not torch.equal(model(*batch), model(*batch))


def test_one_layer_without_attention_does_not_warn_of_dropout() -> None:
    # PyTorch warns, and a warning fails the test
    Seq2Seq(config(num_layers=1, dropout=0.5))


def test_lengths_beyond_the_batch_are_refused() -> None:
    src, lengths, _ = make_batch()
    with pytest.raises(
        ValueError,
        match="lengths run from 3 to 6, but the batch is padded to 5",
    ):
        make_model().encode(src, lengths + 1)


def test_abstract_decoder_cannot_read() -> None:
    with pytest.raises(NotImplementedError):
        AttentionDecoder(config()).read(torch.zeros(BATCH, D_EMBED), {})


# Stored outputs depend on these numbers. `total` sees every weight and its
# place; `last` is drawn last, so it moves when anything before it draws more or
# less.
@pytest.mark.parametrize(
    ("attention", "score", "half_width", "total", "last"),
    [
        ("none", "additive", None, 9.743842, -0.0787587),
        ("bahdanau", "additive", None, 9.776267, -0.0488369),
        ("luong", "bilinear", None, 13.089739, 0.0633446),
        ("luong", "dot", 4, 12.018455, -0.0036917),
    ],
)
def test_initial_weights(
    attention: AttentionName,
    score: ScoreName,
    half_width: int | None,
    total: float,
    last: float,
) -> None:
    reproducible(seed=0)
    model = Seq2Seq(
        Seq2SeqConfig(
            23, 29, attention=attention, score=score, half_width=half_width
        )
    )
    weights = torch.cat(
        [p.detach().double().flatten() for p in model.parameters()]
    )
    positions = torch.linspace(0, 1, len(weights), dtype=torch.float64)
    assert (weights * positions).sum().item() == pytest.approx(total, abs=1e-6)
    assert model.output.bias[-1].item() == pytest.approx(last, abs=1e-6)


def test_a_window_is_for_luong() -> None:
    with pytest.raises(
        ValueError, match="half_width is for attention='luong', not 'bahdanau'"
    ):
        Seq2SeqConfig(13, 11, attention="bahdanau", half_width=2)


def test_an_empty_source_is_named() -> None:
    model = Seq2Seq(Seq2SeqConfig(13, 11, d_hidden=5))
    with pytest.raises(ValueError, match="a source is empty: drop it"):
        model.encode(torch.ones(2, 3, dtype=torch.long), torch.tensor([3, 0]))


def test_dropout_is_between_decoder_layers_only() -> None:
    config = Seq2SeqConfig(
        13, 11, d_hidden=5, num_layers=1, dropout=0.9, attention="luong"
    )
    decoder = Seq2Seq(config).train().decoder
    state = decoder.start(
        torch.rand(2, 3, 5),
        torch.ones(2, 1, 3).bool(),
        torch.rand(2, 1, 5),
        torch.rand(2, 1, 5),
    )
    embedded = torch.rand(2, 7, 32)
    assert torch.equal(decoder(embedded, state)[0], decoder(embedded, state)[0])
