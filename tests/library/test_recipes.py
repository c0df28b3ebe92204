"""Recipes: flags, data, training into a folder, and replies."""

import json
import math
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from attend import checkpoints, recipes
from attend.checkpoints import CheckpointError
from attend.data import make_batch
from attend.decoding import greedy
from attend.metrics import perplexity
from attend.recipes import (
    ChatbotConfig,
    DatesConfig,
    FlagError,
    Run,
    SearchConfig,
    Training,
    build,
    caught_signals,
    decode,
    load_run,
    prepare,
    respond,
    train,
)


def tiny(out: Path, talk: Path, **options: Any) -> ChatbotConfig:
    """Return flags for a training of a few steps."""
    sizes = {"epochs": 2, "batch_size": 8, "hidden_size": 7, "embed_size": 5, "lr": 0.05}
    sizes |= {"dropout": 0.3, "attention": "luong", "score": "dot"}
    return ChatbotConfig(out=out, data=str(talk), **{**sizes, **options})


@pytest.fixture(scope="session")
def trained(talk: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a model that has learned a little."""
    config = tiny(tmp_path_factory.mktemp("run"), talk, epochs=5)
    train(config)
    return load_run(config.out)


# --- Flags ---


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("epochs", 0, "epochs must be at least 1, got 0"),
        ("batch_size", 0, "batch_size must be at least 1, got 0"),
        ("num_layers", 0, "num_layers must be at least 1, got 0"),
        ("lr", 0.0, "lr must be a positive number, got 0.0"),
        ("lr", math.nan, "lr must be a positive number, got nan"),
        ("max_norm", math.inf, "max_norm must be a positive number, got inf"),
        ("dropout", 1.0, "dropout must be at least 0 and below 1, got 1.0"),
        ("seed", -1, "seed must be zero or more, got -1"),
        ("min_count", 0, "min_count must be at least 1, got 0"),
    ],
)
def test_a_flag_that_cannot_be_meant(flag: str, value: float, message: str) -> None:
    with pytest.raises(FlagError) as error:
        ChatbotConfig(**{flag: value})
    assert str(error.value) == message
    assert error.value.flag == flag


def test_too_few_dates() -> None:
    with pytest.raises(FlagError, match="num must be at least 100, got 10"):
        DatesConfig(num=10)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"beam_size": 0}, "beam_size must be at least 1, got 0"),
        ({"num_best": 6}, "num_best must be at most the beam size 5"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        ({"length_penalty": -1.0}, "length_penalty must be zero or a positive number, got -1.0"),
        ({"temperature": 0.5}, "temperature is for --method sample"),
        ({"top_k": 3}, "top_k is for --method sample"),
        ({"seed": 3}, "seed is for --method sample"),
        ({"method": "greedy", "beam_size": 3}, "beam_size is for --method beam"),
        ({"method": "greedy", "num_best": 3}, "num_best is for --method beam and sample"),
        ({"method": "sample", "length_penalty": 1.0}, "length_penalty is for --method beam"),
        ({"method": "sample", "top_k": 0}, "top_k must be at least 1, got 0"),
        ({"method": "sample", "top_p": 0.0}, "top_p must be above 0 and at most 1, got 0.0"),
        ({"method": "sample", "temperature": 0.0}, "temperature must be a positive number"),
    ],
)
def test_a_search_that_cannot_be_meant(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(FlagError, match=message):
        SearchConfig(**flags)


# --- Data and model ---


def test_a_chatbot_shares_one_vocabulary_and_one_embedding(talk: Path, tmp_path: Path) -> None:
    config = tiny(tmp_path, talk)
    data = prepare(config)
    assert data.src_vocab is data.tgt_vocab
    model = build(config, data.src_vocab, data.tgt_vocab)
    assert model.src_embedding is model.tgt_embedding
    assert [len(pairs) for pairs in data[2:]] == [30, 5, 5]


def test_rare_words_are_unknown_and_so_trained(talk: Path, tmp_path: Path) -> None:
    data = prepare(tiny(tmp_path, talk, min_count=2))
    prompts = [data.src_vocab.decode(source) for source, _ in data.train]
    assert any("<unk>" in prompt for prompt in prompts)
    known = prepare(tiny(tmp_path, talk, min_count=1))
    assert not any(known.src_vocab.unk_id in source for source, _ in known.train)
    assert len(known.src_vocab) > len(data.src_vocab)


def test_data_without_a_word_that_comes_often(talk: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no word of .* comes 1000 times: give more exchanges"):
        prepare(tiny(tmp_path, talk, min_count=1000))


def test_dates_of_a_day_are_in_one_split() -> None:
    config = DatesConfig(num=500)
    days = [{"".join(target) for _, target in config.read(split)} for split in recipes.SPLITS]
    assert not (days[0] & days[1] or days[0] & days[2] or days[1] & days[2])
    assert len(config.read("train")) + len(config.read("valid")) == 500
    assert 20 < len(config.read("valid")) < 100


def test_the_first_weights_and_the_order_come_from_the_seed(talk: Path, tmp_path: Path) -> None:
    config = tiny(tmp_path, talk)
    data = prepare(config)
    first, again = Training(config, data), Training(config, data)
    other = Training(replace(config, seed=1), data)
    assert torch.equal(first.model.output.weight, again.model.output.weight)
    assert not torch.equal(first.model.output.weight, other.model.output.weight)
    assert torch.equal(first.batches_left()[0].src, again.batches_left()[0].src)
    orders = [[batch.src.tolist() for batch in t.batches_left()] for t in (first, other)]
    assert orders[0] != orders[1]


def test_every_epoch_has_another_order_and_every_pair(talk: Path, tmp_path: Path) -> None:
    config = tiny(tmp_path, talk, min_count=1)
    data = prepare(config)
    training = Training(config, data)
    orders = []
    for _ in range(2):
        batches = training.batches_left()
        assert len(batches) == training.steps
        orders.append([row[row != 0].tolist() for batch in batches for row in batch.src])
        training.history.append(recipes.Epoch(0.0, 0.0))
    assert orders[0] != orders[1]
    assert (
        sorted(orders[0]) == sorted(orders[1]) == sorted(list(source) for source, _ in data.train)
    )


# --- Training ---


def test_training_learns_and_reports(talk: Path, tmp_path: Path) -> None:
    said: list[str] = []
    report = train(tiny(tmp_path, talk, epochs=4), say=said.append)
    assert len(report.history) == 4
    assert report.history[-1].train_loss < report.history[0].train_loss
    best = min(report.history, key=lambda epoch: epoch.valid_loss)
    assert report.history[report.best_epoch - 1] == best
    assert set(report.test) == {"perplexity", "distinct_1", "distinct_2"}
    stored = json.loads((tmp_path / "report.json").read_text())
    assert stored["test"] == report.test
    assert stored["best_epoch"] == report.best_epoch
    assert stored["history"][0]["valid_loss"] == report.history[0].valid_loss
    assert stored["config"]["hidden_size"] == 7
    assert said[0].endswith("on 30 pairs (5 to validate, 5 to test), on the CPU")
    assert [line[:9] for line in said[1:]] == [f"epoch  {i}/" for i in (1, 2, 3, 4)]


def test_the_best_model_is_kept_and_not_the_last(talk: Path, tmp_path: Path) -> None:
    """A model that forgets in its second epoch."""
    config = tiny(tmp_path, talk)
    data = prepare(config)
    training = Training(config, data)
    training.begin()
    losses = []
    for scale in (1.0, 30.0):
        with torch.no_grad():
            training.model.output.bias.add_(scale * torch.rand(len(data.tgt_vocab)))
        training.model.eval()
        training.finish_epoch()
        losses.append(training.history[-1].valid_loss)
    assert losses[1] > losses[0] and training.best_epoch == 1
    run = load_run(tmp_path)
    assert math.log(perplexity(run.model, [make_batch(data.valid)])) == pytest.approx(losses[0])


def test_dates_are_learned(tmp_path: Path) -> None:
    config = DatesConfig(out=tmp_path, num=300, epochs=1, batch_size=8, hidden_size=16)
    report = train(config)
    assert set(report.test) == {"exact_match", "token_accuracy"}
    assert report.test["token_accuracy"] > 0.1
    reply = respond(load_run(tmp_path), ["March 5, 2024"], SearchConfig(max_length=11))[0][0]
    assert set(reply.text) <= set("0123456789-")


def test_a_loss_that_is_not_finite_stops_and_keeps_what_was_there(
    talk: Path, tmp_path: Path
) -> None:
    config = tiny(tmp_path, talk, lr=1e30)
    with pytest.raises(ValueError, match="became .* in epoch 1: train again with a lower lr"):
        train(config)
    saved = checkpoints.load(tmp_path / "last.pt")
    assert all(tensor.isfinite().all() for tensor in saved["model"].values())


def test_a_folder_with_a_run_is_left_alone(trained: Run, talk: Path) -> None:
    before = {path: path.read_bytes() for path in trained.config.out.iterdir()}
    with pytest.raises(CheckpointError, match=r"holds a run already: go on with it \(--resume\)"):
        train(tiny(trained.config.out, talk))
    assert {path: path.read_bytes() for path in trained.config.out.iterdir()} == before


def test_resuming_what_is_not_there(talk: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no run to resume in .*nothing"):
        train(tiny(tmp_path / "nothing", talk), resume=True)


def test_resuming_with_other_flags(trained: Run, talk: Path) -> None:
    config = replace(trained.config, lr=0.5, dropout=0.25)
    with pytest.raises(
        CheckpointError, match=r"lr was 0\.05 and is now 0\.5, dropout was 0\.3 and is now 0\.25"
    ):
        train(config, resume=True)
    with pytest.raises(CheckpointError, match="holds a run of chatbot, not of dates"):
        train(DatesConfig(out=trained.config.out, num=100), resume=True)


def test_resuming_with_other_data(talk: Path, tmp_path: Path) -> None:
    changed = tmp_path / "talk.tsv"
    changed.write_text(talk.read_text())
    config = tiny(tmp_path / "run", changed)
    Training(config, prepare(config)).begin()
    changed.write_text(talk.read_text().replace("it is 1 ,", "it is 2 ,"))
    with pytest.raises(CheckpointError, match="the data is not what the run in .* began with"):
        train(config, resume=True)


def test_resuming_in_a_folder_that_moved(talk: Path, tmp_path: Path) -> None:
    config = tiny(tmp_path / "old", talk)
    Training(config, prepare(config)).begin()
    (tmp_path / "old").rename(tmp_path / "new")
    train(replace(config, out=tmp_path / "new"), resume=True)
    assert load_run(tmp_path / "new").config.out == tmp_path / "new"


def test_resuming_what_is_done(trained: Run) -> None:
    said: list[str] = []
    before = checkpoints.load(trained.config.out / "last.pt")
    report = train(trained.config, resume=True, say=said.append)
    assert said == ["all 5 epochs are done: there is nothing left to train"]
    assert len(report.history) == 5
    after = checkpoints.load(trained.config.out / "last.pt")
    assert torch.equal(before["model"]["output.bias"], after["model"]["output.bias"])


def test_a_disk_that_fills_up(talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first epoch is saved, the second cannot be; with room again, the run goes on."""
    expected = train(tiny(tmp_path / "room", talk))
    original, room = checkpoints.write, [True]

    def write(path: Path, content: bytes) -> None:
        if path.name == "last.pt" and not room:
            raise CheckpointError(f"{path} cannot be written: the disk is full")
        original(path, content)
        if path.name == "best.pt":
            room.clear()

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write", write)
        with pytest.raises(CheckpointError, match="the disk is full"):
            train(tiny(tmp_path / "full", talk))
    assert train(tiny(tmp_path / "full", talk), resume=True) == expected


# --- Using a model ---


def test_a_loaded_run_is_the_model_that_was_trained(trained: Run, talk: Path) -> None:
    assert not trained.model.training
    assert trained.src_vocab is trained.tgt_vocab
    assert trained.model.src_embedding is trained.model.tgt_embedding
    again = load_run(trained.config.out)
    assert again.config == trained.config
    assert again.src_vocab.tokens == trained.src_vocab.tokens == prepare(trained.config)[0].tokens


def test_loading_what_is_not_there(talk: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no run in .*: train one, or name another"):
        load_run(tmp_path)
    Training(tiny(tmp_path, talk), prepare(tiny(tmp_path, talk))).begin()
    with pytest.raises(CheckpointError, match="has not finished its first epoch: resume it"):
        load_run(tmp_path)


@pytest.mark.parametrize(
    "change", [lambda c: c.update(recipe="poems"), lambda c: c["config"].update(depth=3)]
)
def test_a_run_of_another_version(
    trained: Run, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    contents = checkpoints.load(trained.config.out / "best.pt")
    change(contents)
    checkpoints.save(tmp_path / "best.pt", contents)
    with pytest.raises(CheckpointError, match="was made by another version of this library"):
        load_run(tmp_path)


TEXTS = ["What is 8 and 1?", "and 3 ?", "What is it, a zebra or 5 ?"]
GREEDY = SearchConfig(method="greedy", max_length=9)


def test_greedy_replies_are_those_of_greedy_search(trained: Run) -> None:
    replies = respond(trained, TEXTS, GREEDY)
    for text, [reply] in zip(TEXTS, replies, strict=True):
        source = trained.src_vocab.encode(trained.config.tokenize(text))
        state = trained.model.encode(torch.tensor([source]), torch.tensor([len(source)]))
        found = greedy(trained.model.step, state, 1, 2, 0, 9)
        if trained.src_vocab.unk_id not in found.tokens:
            assert reply.tokens == trained.tgt_vocab.decode(found.tokens[0].tolist())
            assert reply.log_prob == pytest.approx(found.log_probs.item(), rel=1e-4)
            assert reply.score == reply.log_prob


@pytest.mark.parametrize("search", [GREEDY, SearchConfig(max_length=9)])
def test_a_reply_does_not_depend_on_its_batch(trained: Run, search: SearchConfig) -> None:
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
    for text, replies in zip(TEXTS, respond(trained, TEXTS, SearchConfig(num_best=3)), strict=True):
        for reply in replies:
            assert reply.weights is not None
            assert reply.weights.shape == (
                len(reply.tokens),
                len(trained.config.tokenize(text)),
            )
            torch.testing.assert_close(
                reply.weights.sum(dim=1), torch.ones(len(reply.tokens)), atol=1e-5, rtol=0
            )


def test_the_best_come_first(trained: Run) -> None:
    for replies in respond(trained, TEXTS, SearchConfig(num_best=4, length_penalty=0.7)):
        scores = [reply.score for reply in replies]
        assert scores == sorted(scores, reverse=True)
        assert len({tuple(reply.tokens) for reply in replies}) == len(replies)
        assert all(reply.score >= reply.log_prob for reply in replies)


def test_the_unknown_word_is_never_said(trained: Run) -> None:
    """Not even by a model that wants to say nothing else."""
    unk = trained.tgt_vocab.unk_id
    wishful = load_run(trained.config.out)
    with torch.no_grad():
        for i in (0, 1, unk):
            wishful.model.output.bias[i] = 20.0
    sampled = SearchConfig(method="sample", num_best=7, temperature=3.0, max_length=11)
    for search in (GREEDY, SearchConfig(max_length=9, num_best=5), sampled):
        found = decode(wishful, [[4, 5], [6]], search)
        for row in found.tokens.flatten(0, 1).tolist():
            written = row[: row.index(2)] if 2 in row else row
            assert not {0, 1, unk} & set(written)
    [[reply]] = respond(wishful, ["and ?"], GREEDY)
    assert "<" not in reply.text


def test_samples_come_from_the_seed(trained: Run) -> None:
    def drawn(seed: int) -> list[list[str]]:
        search = SearchConfig(method="sample", num_best=3, seed=seed)
        return [[reply.text for reply in replies] for replies in respond(trained, TEXTS, search)]

    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)
    assert any(len(set(texts)) > 1 for texts in drawn(3)), "the draws of one text differ"
    certain = SearchConfig(method="sample", top_k=1, max_length=9)
    assert [r[0].tokens for r in respond(trained, TEXTS, certain)] == [
        r[0].tokens for r in respond(trained, TEXTS, GREEDY)
    ]


def test_nothing_to_reply_to(trained: Run) -> None:
    with pytest.raises(ValueError, match="there is nothing to reply to in '  ': say something"):
        respond(trained, ["Hello!", "  "])


def test_unknown_words_are_named_once(trained: Run) -> None:
    assert trained.unknown("What is a zebra, zebra or gnu?") == ["a", "zebra", "or", "gnu"]
    assert trained.unknown("What is it?") == []


@pytest.mark.parametrize("attention", ["none", "bahdanau"])
def test_other_models(talk: Path, tmp_path: Path, attention: str) -> None:
    options = {"attention": attention, "score": "additive", "num_layers": 2, "epochs": 1}
    train(tiny(tmp_path, talk, **options))
    run = load_run(tmp_path)
    assert run.model.config.attention == attention and run.model.config.num_layers == 2
    [[reply]] = respond(run, ["What is it?"])
    assert (reply.weights is None) == (attention == "none")


def test_the_embedded_dialogue_trains(tmp_path: Path) -> None:
    config = ChatbotConfig(out=tmp_path, hidden_size=3, embed_size=2)
    data = prepare(config)
    training = Training(config, data)
    loss, norm = training.learn(training.batches_left()[0])
    assert loss == pytest.approx(math.log(len(data.tgt_vocab)), abs=0.5)
    assert norm > 0


# --- Signals ---


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_acts(number: signal.Signals) -> None:
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), caught_signals() as caught:
            signal.raise_signal(number)
            assert caught == [number]
            signal.raise_signal(number)
        assert signal.getsignal(number) is signal.default_int_handler
        with caught_signals():
            pass
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


def test_outside_the_main_thread_no_signal_is_touched() -> None:
    found = []

    def work() -> None:
        with caught_signals() as caught:
            found.append((caught, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [([], signal.getsignal(signal.SIGINT))]
