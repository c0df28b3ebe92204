"""A trained model, used: loaded as it was trained, and asked as it was told."""

import inspect
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import attend.search
from attend.data import Vocabulary, make_batch, pad
from attend.data.splits import Split
from attend.decoding import greedy, sequence_log_probs
from attend.recipes import RECIPES
from attend.recipes.chatbot import ChatbotConfig
from attend.recipes.dates import DatesConfig
from attend.recipes.lstm import LSTMConfig
from attend.recipes.text import TokenPair, Tokens, prepare
from attend.respond import Run, load_run, respond, stored_config
from attend.rnn import ATTENTIONS
from attend.search import SearchConfig, search_targets
from attend.trainer import CheckpointError, Training, checkpoints, train
from tests.library.scripted import Scripted

Tiny = Callable[..., ChatbotConfig]
PAD, BOS, EOS, UNK = 0, 1, 2, 3


# --- The model that was trained is the model that is loaded ---


@dataclass(frozen=True)
class CopyConfig(LSTMConfig):
    """Copy a text: two vocabularies that are equal, and not the same object."""

    out: Path = Path("runs/copy")
    hidden_size: int = 7
    embed_size: int = 5
    epochs: int = 1

    name: ClassVar = "copy"
    use: ClassVar = "translate"
    labels: ClassVar = ("in> ", "out> ")

    def read(self, split: Split) -> list[TokenPair]:
        start = {"train": 0, "valid": 40, "test": 50}[split]
        texts = [
            [f"{i}", f"{i % 7}"][: 1 + i % 2] for i in range(start, start + 40)
        ]
        return [(text, text) for text in texts]

    def vocabularies(
        self, pairs: list[TokenPair]
    ) -> tuple[Vocabulary, Vocabulary]:
        known = [str(i) for i in range(90)]
        return Vocabulary(known), Vocabulary(known)

    def tokenize(self, text: str) -> Tokens:
        return text.split()

    def detokenize(self, tokens: Tokens) -> str:
        return " ".join(tokens)

    def measure(self, task: Any) -> dict[str, float]:
        return {"perplexity": task.perplexity(task.data.test)}


@dataclass(frozen=True)
class SharedCopyConfig(CopyConfig):
    """The same with one vocabulary for both sides."""

    name: ClassVar = "shared-copy"

    def vocabularies(
        self, pairs: list[TokenPair]
    ) -> tuple[Vocabulary, Vocabulary]:
        vocab, _ = super().vocabularies(pairs)
        return vocab, vocab


def flags_of(recipe: str, out: Path, talk: Path) -> dict[str, Any]:
    """Flags for a training of a moment."""
    sizes: dict[str, Any] = {"out": out, "epochs": 1, "hidden_size": 7}
    own: dict[str, dict[str, Any]] = {
        "chatbot": {"data": str(talk), "min_count": 1},
        "dates": {"num": 100, "seed": 1},
    }
    return {**sizes, "embed_size": 5, **own.get(recipe, {})}


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("recipe", [*RECIPES, "copy", "shared-copy"])
def test_the_loaded_model_is_the_trained_one(
    talk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recipe: str,
    attention: str,
    layers: int,
) -> None:
    for kind in (CopyConfig, SharedCopyConfig):
        monkeypatch.setitem(RECIPES, kind.name, kind)
    config = RECIPES[recipe](
        **flags_of(recipe, tmp_path, talk),
        attention=attention,
        num_layers=layers,
    )
    kept: list[Training] = []
    init = Training.__init__
    monkeypatch.setattr(
        Training,
        "__init__",
        lambda self, config: kept.append(self) or init(self, config),
    )
    train(config)
    [training] = kept  # its model has the best weights, and was measured
    run = load_run(tmp_path)
    assert run.config == config and type(run.config) is type(config)
    assert run.model.config == training.model.config
    assert not run.model.training
    for names in ("named_parameters", "named_buffers"):
        ours, theirs = (
            dict(getattr(model, names)())
            for model in (run.model, training.model)
        )
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            assert torch.equal(tensor, theirs[name]), name
    batch = make_batch(training.task.data.test)
    given = (batch.src, batch.src_lengths, batch.tgt_in)
    with torch.no_grad():
        assert torch.equal(run.model(*given), training.model(*given))
    for ours, theirs in (
        (run.src_vocab, training.task.data.src_vocab),
        (run.tgt_vocab, training.task.data.tgt_vocab),
    ):
        assert (ours.tokens, ours.unk_id) == (theirs.tokens, theirs.unk_id)
    assert run.others == training.task.data.others() != []
    sources = [source for source, _ in training.task.data.test[:5]]
    search = SearchConfig(method="greedy", max_length=7)
    found = run.search(sources, search)
    again = training.task.search(sources, search)
    assert torch.equal(found.tokens, again.tokens)


def test_a_loaded_run_is_in_order(trained: Run) -> None:
    assert not trained.model.training
    assert trained.src_vocab.tokens == trained.tgt_vocab.tokens
    assert trained.model.src_embedding is trained.model.tgt_embedding
    again = load_run(trained.config.out)
    assert again.config == trained.config
    data = prepare(trained.config)
    assert (
        again.src_vocab.tokens
        == trained.src_vocab.tokens
        == data.src_vocab.tokens
    )
    assert again.others == data.others()


def test_loading_what_is_not_there(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError,
        match="there is no run in .*: train one, or name another",
    ):
        load_run(tmp_path)
    Training(tiny(tmp_path)).save()
    with pytest.raises(
        CheckpointError, match="has not finished its first epoch: resume it"
    ):
        load_run(tmp_path)


def test_stored_flags_name_the_folder_where_they_are_now(
    tmp_path: Path,
) -> None:
    config = DatesConfig(out=tmp_path / "old", num=123, attention="none")
    saved = {"recipe": "dates", "config": {**asdict(config), "out": "old"}}
    new = stored_config(saved, tmp_path / "new")
    assert new == DatesConfig(out=tmp_path / "new", num=123, attention="none")


# --- What a search is told ---


Spied = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def spied(monkeypatch: pytest.MonkeyPatch) -> Spied:
    """Note what every search is given, by name, and let it search."""
    calls: Spied = []

    def spy(name: str) -> None:
        function = getattr(attend.search, name)
        signature = inspect.signature(function)

        def wrapped(*arguments: Any, **options: Any) -> Any:
            bound = signature.bind(*arguments, **options)
            bound.apply_defaults()
            calls.append((name, dict(bound.arguments)))
            return function(*arguments, **options)

        monkeypatch.setattr(attend.search, name, wrapped)

    for name in ("beam_search", "greedy", "sample", "mutual_information"):
        spy(name)
    return calls


# With each flag at a value that is not its default.
TOLD: list[tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]] = [
    (
        {"method": "greedy", "max_length": 7},
        [("greedy", {"max_length": 7})],
    ),
    (
        {
            "method": "beam",
            "beam_size": 6,
            "num_best": 3,
            "length_penalty": 0.7,
            "coverage_penalty": 0.3,
            "max_length": 8,
        },
        [
            (
                "beam_search",
                {
                    "beam_size": 6,
                    "num_best": 3,
                    "length_penalty": 0.7,
                    "coverage_penalty": 0.3,
                    "max_length": 8,
                },
            )
        ],
    ),
    (
        {
            "method": "sample",
            "num_best": 3,
            "temperature": 0.6,
            "top_k": 5,
            "top_p": 0.8,
            "seed": 11,
            "max_length": 9,
        },
        [
            (
                "sample",
                {
                    "temperature": 0.6,
                    "top_k": 5,
                    "top_p": 0.8,
                    "max_length": 9,
                },
            )
        ],
    ),
    (
        {
            "method": "mmi",
            "candidates": 9,
            "num_best": 4,
            "mmi_weight": 0.35,
            "max_length": 6,
        },
        [
            (
                "beam_search",
                {
                    "beam_size": 9,
                    "num_best": 9,
                    "length_penalty": 0.0,
                    "coverage_penalty": 0.0,
                    "max_length": 6,
                },
            ),
            ("mutual_information", {"weight": 0.35, "num_best": 4}),
        ],
    ),
]
SOURCES = [[5, 6, 4], [7], [8, 9]]


def test_every_flag_of_a_search_is_told_below() -> None:
    given = {flag for flags, _ in TOLD for flag in flags}
    assert given == {field.name for field in fields(SearchConfig)}
    for flags, _ in TOLD:
        for field in fields(SearchConfig):
            if field.name != "method" and field.name in flags:
                assert flags[field.name] != field.default


@pytest.mark.parametrize(("flags", "expected"), TOLD)
def test_a_search_is_told_every_flag(
    trained: Run,
    spied: Spied,
    flags: dict[str, Any],
    expected: list[tuple[str, dict[str, Any]]],
) -> None:
    search = SearchConfig(**flags)
    others = [[4, 5], [6], [7, 8, 9]]
    found = search_targets(
        trained.model, trained.tgt_vocab, SOURCES, search, others
    )
    assert [name for name, _ in spied] == [name for name, _ in expected]
    for (_, given), (_, wanted) in zip(spied, expected, strict=True):
        assert {name: given[name] for name in wanted} == wanted
    name, given = spied[0]
    copies = search.num_best if name == "sample" else 1
    assert given["first"].tolist() == [BOS] * len(SOURCES) * copies
    assert (given["eos_id"], given["pad_id"]) == (EOS, PAD)
    assert given["prompt"] is None
    start = trained.model.encode(*pad(SOURCES))
    for key, tensor in given["state"].items():
        assert_close(tensor, start[key].repeat_interleave(copies, dim=0))
    assert found.lengths.shape == (len(SOURCES), search.num_best)


def test_the_seed_of_a_sample_is_that_of_its_generator(
    trained: Run, spied: Spied
) -> None:
    search = SearchConfig(method="sample", seed=11)
    search_targets(trained.model, trained.tgt_vocab, SOURCES, search)
    assert spied[0][1]["generator"].initial_seed() == 11


def test_a_sample_is_as_it_is_drawn_from_the_model_by_default(
    trained: Run, spied: Spied
) -> None:
    search = SearchConfig(method="sample")
    search_targets(trained.model, trained.tgt_vocab, SOURCES, search)
    given = spied[0][1]
    assert given["temperature"] == 1.0
    assert given["top_k"] is None and given["top_p"] is None


def test_mutual_information_is_measured_against_the_others(
    trained: Run, spied: Spied
) -> None:
    search = SearchConfig(method="mmi")
    others = [[4, 5], [6], [7, 8, 9]]
    found = search_targets(
        trained.model, trained.tgt_vocab, SOURCES, search, others
    )
    _, given = spied[1]
    start = trained.model.encode(*pad(others))
    for key, tensor in given["others"].items():
        assert_close(tensor, start[key])
    assert given["weight"] == 0.7
    assert given["first"].tolist() == [BOS] * len(SOURCES)
    # by hand, for the first source: what is lost by fitting the others too
    candidates = given["found"]
    assert candidates.lengths.shape == (len(SOURCES), 20)
    real = candidates.lengths[0] > 0
    tokens, lengths = candidates.tokens[0, real], candidates.lengths[0, real]
    first = torch.full((len(tokens),), BOS)

    def log_probs(source: list[int]) -> Tensor:
        state = trained.model.encode(*pad([source] * len(tokens)))
        return sequence_log_probs(
            trained.model.step, state, tokens, lengths, first
        )

    prior = torch.stack([log_probs(other) for other in others])
    prior = prior.logsumexp(dim=0) - math.log(len(others))
    scores = log_probs(SOURCES[0]) - 0.7 * prior
    assert found.scores[0, 0].item() == pytest.approx(scores.max().item(), 1e-4)
    best = tokens[scores.argmax()].tolist()
    assert found.tokens[0, 0].tolist()[: len(best)] == best


def test_a_run_searches_with_its_own_others_and_vocabulary(
    trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def spied(*arguments: Any) -> Any:
        given.append(arguments)
        return search_targets(*arguments)

    monkeypatch.setattr("attend.respond.search_targets", spied)
    search = SearchConfig(method="mmi", candidates=7)
    [[reply]] = respond(trained, ["What is it?"], search)
    model, vocab, sources, asked, others, device = given[0]
    assert model is trained.model and vocab is trained.tgt_vocab
    assert sources == [trained.src_vocab.encode(["what", "is", "it", "?"])]
    assert asked is search
    assert others is trained.others and len(others) == 30
    assert device == trained.device
    [[other]] = respond(trained._replace(others=[[4]]), ["What is it?"], search)
    assert other.score != reply.score


def test_a_search_goes_to_the_device_it_is_told(
    trained: Run, monkeypatch: pytest.MonkeyPatch, spied: Spied
) -> None:
    """Everything that a search is fed is made there, or moved there."""
    moved: list[Any] = []
    to = Tensor.to
    monkeypatch.setattr(
        Tensor,
        "to",
        lambda self, *args, **kw: (
            moved.append((self.shape, *args)) or to(self, *args, **kw)
        ),
    )
    device, others = torch.device("cpu"), [[4, 5], [6]]
    for method in ("greedy", "beam", "sample", "mmi"):
        moved.clear()
        search = SearchConfig(method=method, max_length=3)
        given = (trained.model, trained.tgt_vocab, SOURCES, search, others)
        search_targets(*given, device)
        expected = [(3, 3), (3,)] + [(2, 2), (2,)] * (method == "mmi")
        fed = [shape for shape, *where in moved if where == [device]]
        assert all(torch.Size(shape) in fed for shape in expected)


# --- What is never written ---


def test_a_search_is_refused_where_it_does_not_fit(trained: Run) -> None:
    given = (trained.model, trained.tgt_vocab, SOURCES)
    with pytest.raises(ValueError, match="at least one sequence, got none"):
        search_targets(*given, SearchConfig(method="mmi"))
    wide = SearchConfig(beam_size=500)
    with pytest.raises(ValueError, match="beam_size"):
        search_targets(*given, wide)


@pytest.mark.parametrize(
    "search",
    [
        SearchConfig(method="greedy"),
        SearchConfig(),
        SearchConfig(method="mmi", candidates=5),
        SearchConfig(method="sample", num_best=9),
    ],
    ids=lambda search: search.method,
)
@pytest.mark.parametrize("unknown", [True, False])
def test_no_special_token_but_the_end_is_ever_written(
    search: SearchConfig, unknown: bool
) -> None:
    """Not even by a model that wants to say nothing else."""
    vocab = Vocabulary("abcdef", unknown)
    for wanted in [PAD], [BOS], [UNK] * unknown:
        check_never(vocab, wanted, search)


def check_never(
    vocab: Vocabulary, wanted: list[int], search: SearchConfig
) -> None:
    """See what a model writes that wants to write a special token."""
    model = Scripted({(4,): wanted * 3}, len(vocab), {(4,): 0.999})
    found = search_targets(model, vocab, [[4]], search, [[4]])
    written = set(found.tokens.flatten().tolist())
    assert not {BOS, vocab.unk_id} & written
    for row, length in zip(
        found.tokens.flatten(0, 1).tolist(),
        found.lengths.flatten().tolist(),
        strict=True,
    ):
        assert PAD not in row[:length]


def test_without_an_unknown_word_its_id_is_a_word_like_others() -> None:
    vocab = Vocabulary("abcdef")
    model = Scripted({(4,): [UNK, UNK]}, len(vocab))
    found = search_targets(model, vocab, [[4]], SearchConfig(method="greedy"))
    assert found.tokens.tolist() == [[[3, 3, EOS]]]


def test_the_unknown_word_is_never_said(trained: Run) -> None:
    """Not even by a trained model that wants to say nothing else."""
    unk = trained.tgt_vocab.unk_id
    wishful = load_run(trained.config.out)
    with torch.no_grad():
        for i in (0, 1, unk):
            wishful.model.output.bias[i] = 20.0
    sampled = SearchConfig(
        method="sample", num_best=7, temperature=3.0, max_length=11
    )
    for search in (GREEDY, SearchConfig(max_length=9, num_best=5), sampled):
        found = wishful.search([[4, 5], [6]], search)
        for row in found.tokens.flatten(0, 1).tolist():
            written = row[: row.index(2)] if 2 in row else row
            assert not {0, 1, unk} & set(written)
    [[reply]] = respond(wishful, ["and ?"], GREEDY)
    assert "<" not in reply.text


# --- Replies ---


TEXTS = ["What is 8 and 1?", "and 3 ?", "What is it, a zebra or 5 ?"]
GREEDY = SearchConfig(method="greedy", max_length=9)


def test_greedy_replies_are_those_of_greedy_search(trained: Run) -> None:
    compared = 0
    replies = respond(trained, TEXTS, GREEDY)
    for text, [reply] in zip(TEXTS, replies, strict=True):
        source = trained.src_vocab.encode(trained.config.tokenize(text))
        state = trained.model.encode(
            torch.tensor([source]), torch.tensor([len(source)])
        )
        found = greedy(trained.model.step, state, torch.tensor([1]), 2, 0, 9)
        if trained.src_vocab.unk_id not in found.tokens:
            compared += 1
            assert reply.tokens == trained.tgt_vocab.decode(
                found.tokens[0].tolist()
            )
            assert reply.log_prob == pytest.approx(
                found.log_probs.item(), rel=1e-4
            )
            assert reply.score == reply.log_prob
    assert compared


@pytest.mark.parametrize("search", [GREEDY, SearchConfig(max_length=9)])
def test_a_reply_does_not_depend_on_its_batch(
    trained: Run, search: SearchConfig
) -> None:
    together = respond(trained, TEXTS, search)
    for text, [reply] in zip(TEXTS, together, strict=True):
        [[alone]] = respond(trained, [text], search)
        assert alone.tokens == reply.tokens
        assert alone.log_prob == pytest.approx(reply.log_prob, rel=1e-4)


def test_a_reply_is_written_as_a_sentence(trained: Run) -> None:
    for [reply] in respond(trained, TEXTS):
        assert reply.text == trained.config.detokenize(reply.tokens)
        assert "<" not in reply.text


def test_weights_are_those_of_the_words(trained: Run) -> None:
    for text, replies in zip(
        TEXTS, respond(trained, TEXTS, SearchConfig(num_best=3)), strict=True
    ):
        for reply in replies:
            assert reply.weights is not None
            assert reply.weights.shape == (
                len(reply.tokens),
                len(trained.config.tokenize(text)),
            )
            torch.testing.assert_close(
                reply.weights.sum(dim=1),
                torch.ones(len(reply.tokens)),
                atol=1e-5,
                rtol=0,
            )


def test_weights_are_those_of_the_model(trained: Run) -> None:
    """Of each reply, not of another one in the batch or the beam."""
    for search in (
        GREEDY,
        SearchConfig(num_best=3),
        SearchConfig(method="sample", num_best=3, max_length=9),
        SearchConfig(method="mmi", num_best=3),
    ):
        for text, replies in zip(
            TEXTS, respond(trained, TEXTS, search), strict=True
        ):
            source = trained.src_vocab.encode(trained.config.tokenize(text))
            for reply in replies:
                if not reply.tokens:
                    continue
                said = trained.tgt_vocab.encode(reply.tokens)
                batch = make_batch([(source, said)])
                with torch.no_grad():
                    state = trained.model.encode(batch.src, batch.src_lengths)
                    _, state = trained.model.decode(batch.tgt_in, state)
                expected = state["weights"][0, : len(said)]
                assert reply.weights is not None
                assert_close(reply.weights, expected, atol=1e-5, rtol=1e-4)


def test_the_best_come_first(trained: Run) -> None:
    for replies in respond(
        trained, TEXTS, SearchConfig(num_best=4, length_penalty=0.7)
    ):
        scores = [reply.score for reply in replies]
        assert scores == sorted(scores, reverse=True)
        assert len({tuple(reply.tokens) for reply in replies}) == len(replies)
        assert all(reply.score >= reply.log_prob for reply in replies)


@pytest.mark.parametrize(
    ("flags", "many"),
    [
        ({"method": "greedy"}, 1),
        ({"num_best": 4}, 4),
        ({"method": "sample", "num_best": 3}, 3),
        ({"method": "mmi", "num_best": 5}, 5),
    ],
)
def test_as_many_replies_as_asked_for(
    trained: Run, flags: dict[str, Any], many: int
) -> None:
    for replies in respond(trained, TEXTS, SearchConfig(**flags)):
        assert len(replies) == many


def test_samples_come_from_the_seed(trained: Run) -> None:
    def drawn(seed: int) -> list[list[str]]:
        search = SearchConfig(method="sample", num_best=3, seed=seed)
        return [
            [reply.text for reply in replies]
            for replies in respond(trained, TEXTS, search)
        ]

    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)
    assert any(len(set(texts)) > 1 for texts in drawn(3)), (
        "the draws of one text differ"
    )
    certain = SearchConfig(method="sample", top_k=1, max_length=9)
    assert [r[0].tokens for r in respond(trained, TEXTS, certain)] == [
        r[0].tokens for r in respond(trained, TEXTS, GREEDY)
    ]


def test_replies_are_looked_for_with_a_beam_unless_said_otherwise(
    trained: Run,
) -> None:
    assert SearchConfig() == SearchConfig(method="beam", beam_size=5)
    told = respond(trained, TEXTS, SearchConfig(method="beam", beam_size=5))
    for [default], [reply] in zip(respond(trained, TEXTS), told, strict=True):
        assert default.tokens == reply.tokens


def test_places_of_a_beam_that_stay_empty_are_no_replies(trained: Run) -> None:
    """Of all sequences of one token there is one that ends."""
    model = Scripted({}, len(trained.tgt_vocab))
    search = SearchConfig(beam_size=5, num_best=5, max_length=1)
    [replies] = respond(trained._replace(model=model), ["What?"], search)
    assert [reply.tokens for reply in replies] == [[]]
    assert replies[0].weights is None


def test_each_side_has_its_own_words(trained_dates: Run) -> None:
    """Dates are read with one vocabulary, and written with another."""
    run = trained_dates
    assert run.src_vocab.tokens != run.tgt_vocab.tokens
    text = "March 5, 2024"
    source = run.src_vocab.encode(text)
    found = run.search([source], SearchConfig(num_best=5, max_length=9))
    [replies] = respond(run, [text], SearchConfig(num_best=5, max_length=9))
    assert [reply.tokens for reply in replies] == [
        run.tgt_vocab.decode(row) for row in found.tokens[0].tolist()
    ]
    assert any(reply.tokens for reply in replies)
    assert {*"".join(reply.text for reply in replies)} <= {*"0123456789-"}
    assert run.unknown("March ß") == ["ß"]


def test_nothing_to_reply_to(trained: Run) -> None:
    with pytest.raises(
        ValueError, match="there is nothing to reply to in '  ': say something"
    ):
        respond(trained, ["Hello!", "  "])


def test_unknown_words_are_named_once(trained: Run) -> None:
    assert trained.unknown("What is a zebra, zebra or gnu?") == [
        "a",
        "zebra",
        "or",
        "gnu",
    ]
    assert trained.unknown("What is it?") == []


@pytest.mark.parametrize("attention", ["none", "bahdanau"])
def test_other_models(tiny: Tiny, tmp_path: Path, attention: str) -> None:
    options = {
        "attention": attention,
        "score": "additive",
        "num_layers": 2,
        "epochs": 1,
    }
    train(tiny(tmp_path, **options))
    run = load_run(tmp_path)
    assert (
        run.model.config.attention == attention
        and run.model.config.num_layers == 2
    )
    [[reply]] = respond(run, ["What is it?"])
    assert (reply.weights is None) == (attention == "none")


def test_a_checkpoint_of_a_run_is_what_it_takes_to_talk_to_it(
    trained: Run,
) -> None:
    saved = checkpoints.load(trained.config.out / "best.pt")
    assert set(saved) == {
        *("recipe", "config", "model_config", "src_tokens", "tgt_tokens"),
        *("others", "model"),
    }
