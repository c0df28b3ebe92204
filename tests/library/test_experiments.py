"""The experiments: what each of them runs, and how it is measured.

The long runs themselves are stored in `results/`. Here nothing is trained for
long: the tests look at what would be trained, and compare it with what is
stored.
"""

import inspect
import itertools
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from attend import experiments, results
from attend.data.batching import make_batch
from attend.data.dates import date_alignment, dates
from attend.data.dialogue import detokenize, dialogue, tokenize
from attend.data.reverse import LETTERS, cut_short, reverse, reverse_alignment
from attend.data.splits import SPLITS
from attend.data.vocabulary import Vocabulary
from attend.decoding import Decoded, NBest, beam_search, exact_search
from attend.experiments import __main__ as program
from attend.experiments import beam_search as beams
from attend.experiments import chatbot as chatbots
from attend.experiments import records, runs
from attend.experiments.attention import MODELS
from attend.experiments.chatbot import CHATBOTS, REPLIES, Backwards
from attend.metrics import distinct_n, exact_match, token_accuracy
from attend.recipes.chatbot import ChatbotConfig
from attend.respond import Run, respond
from attend.rnn import Seq2Seq, Seq2SeqConfig
from attend.search import SearchConfig
from attend.trainer import Epoch, Report

STORED = sorted(
    path.stem for path in Path(results.__file__).parent.glob("*.json")
)
EOS = Vocabulary.eos_id


@pytest.fixture
def model() -> Seq2Seq:
    """Return an untrained model of letters."""
    torch.manual_seed(0)
    return Seq2Seq(
        Seq2SeqConfig(
            23,
            23,
            d_embed=3,
            d_hidden=5,
            num_layers=1,
            attention="luong",
            score="dot",
        )
    ).eval()


@pytest.fixture(scope="module")
def vocabularies() -> tuple[Vocabulary, Vocabulary]:
    return runs.date_vocabularies()


class Spy:
    """Notes the arguments of every call, by name, and what comes of it."""

    def __init__(self, function: Callable[..., Any], act: Any = None) -> None:
        self.signature = inspect.signature(function)
        self.act = function if act is None else act
        self.calls: list[dict[str, Any]] = []
        self.given: list[dict[str, Any]] = []  # without the defaults
        self.returned: list[Any] = []

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        bound = self.signature.bind(*arguments, **options)
        self.given.append(dict(bound.arguments))
        bound.apply_defaults()
        flat = dict(bound.arguments)
        flat |= flat.pop("options", {})
        self.calls.append(flat)
        self.returned.append(self.act(*arguments, **options))
        return self.returned[-1]


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Spy]:
    """Return a function that puts a spy into a module."""

    def put(module: Any, name: str, act: Any = None) -> Spy:
        spied = Spy(getattr(module, name), act)
        monkeypatch.setattr(module, name, spied)
        return spied

    return put


# --- Models and data ---


def sizes(src_vocab_size: int, tgt_vocab_size: int) -> dict[str, int]:
    return {
        name: runs.count_parameters(
            Seq2Seq(
                Seq2SeqConfig(
                    src_vocab_size, tgt_vocab_size, num_layers=1, **options
                )
            )
        )
        for name, options in MODELS.items()
    }


def test_models_that_are_compared_have_nearly_one_size(
    vocabularies: tuple[Vocabulary, Vocabulary],
) -> None:
    letters = len(Vocabulary(LETTERS))
    src, tgt = vocabularies
    for counts in (sizes(letters, letters), sizes(len(src), len(tgt))):
        without = counts.pop("none")
        assert all(
            0.9 * without < count <= without for count in counts.values()
        ), counts


def test_the_vocabularies_know_every_test_date(
    vocabularies: tuple[Vocabulary, Vocabulary],
) -> None:
    src, tgt = vocabularies
    pairs = dates(2_000, "test")
    batch = runs.date_batch(src, tgt, pairs)
    assert ["".join(src.decode(row)) for row in batch.src.tolist()] == [
        p.source for p in pairs
    ]
    assert ["".join(tgt.decode(row)) for row in batch.tgt.tolist()] == [
        p.target for p in pairs
    ]


def test_count_parameters() -> None:
    assert runs.count_parameters(torch.nn.Linear(3, 5)) == 3 * 5 + 5


def test_per_seed_collects_each_measure() -> None:
    collected = runs.per_seed(
        lambda seed, more: {"a": seed + more, "b": seed}, more=10
    )
    assert collected == {"a": [10, 11, 12], "b": [0, 1, 2]}


def test_free_running_may_be_one_token_longer_than_the_target(
    model: Seq2Seq,
) -> None:
    batch = runs.reverse_batch(Vocabulary(LETTERS), reverse(3, 5, 5))
    with torch.no_grad():
        model.output.bias[3] += 99  # it never ends
    found = runs.free_running(model, batch)
    assert found.tokens.shape == (3, batch.tgt.shape[1] + 1)


def test_free_running_hears_its_own_words_only(model: Seq2Seq) -> None:
    """Other targets of the same length make no difference."""
    batch = runs.reverse_batch(Vocabulary(LETTERS), reverse(7, 5, 5))
    found = runs.free_running(model, batch)
    other = batch._replace(tgt=batch.tgt.where(batch.tgt < 3, 4))
    assert torch.equal(runs.free_running(model, other).tokens, found.tokens)
    said = torch.ones(7, 1).long()
    state = model.encode(batch.src, batch.src_lengths)
    for time in range(found.tokens.shape[1]):
        log_probs, state = model.step(said[:, -1], state)
        said = torch.cat([said, log_probs.argmax(dim=1)[:, None]], dim=1)
        alive = (said[:, 1:-1] != EOS).all(dim=1)
        assert torch.equal(said[alive, -1], found.tokens[alive, time])


def test_forced_weights_look_at_every_target_token(model: Seq2Seq) -> None:
    batch = runs.reverse_batch(Vocabulary(LETTERS), reverse(3, 5, 5))
    weights = runs.forced_weights(model, batch)
    assert weights.shape == (3, 6, 5)
    assert not weights.requires_grad
    with torch.no_grad():
        state = model.encode(batch.src, batch.src_lengths)
        _, state = model.decode(batch.tgt[:, :-1], state)
    assert_close(weights, state["weights"])


# --- Training on reverse and dates ---


@pytest.fixture
def fitted(spy: Callable[..., Spy]) -> Spy:
    """Let nothing be trained; note what would be."""
    losses = [float(step) for step in range(100)]
    return spy(runs, "fit", lambda model, batches, lr: losses)


def test_train_reverse_trains_on_what_it_is_told(
    spy: Callable[..., Spy], fitted: Spy
) -> None:
    drawn, cut = spy(runs, "reverse"), spy(runs, "cut_short")
    seeded = spy(runs, "reproducible")
    options = {"d_hidden": 6, "d_embed": 4, "attention": "luong"}
    model, losses = runs.train_reverse(
        3, steps=7, longest=9, batch_size=5, lr=0.25, cut=0.5, **options
    )
    assert losses == fitted.returned[0]
    assert drawn.calls == [
        {
            "num": 35,
            "min_length": 4,
            "max_length": 9,
            "split": "train",
            "seed": 3,
        }
    ]
    assert cut.calls == [{"pairs": drawn.returned[0], "share": 0.5, "seed": 3}]
    assert seeded.calls == [{"seed": 3}]
    [given] = fitted.calls
    assert given["model"] is model
    assert (given["lr"], given["max_norm"]) == (0.25, 1.0)
    assert [len(batch.src) for batch in given["batches"]] == [5] * 7
    vocab = Vocabulary(LETTERS)
    seen = sorted(
        ("".join(vocab.decode(src)), "".join(vocab.decode(tgt)))
        for batch in given["batches"]
        for src, tgt in zip(batch.src.tolist(), batch.tgt.tolist(), strict=True)
    )
    assert seen == sorted(cut.returned[0])
    assert model.config == Seq2SeqConfig(
        23, 23, d_embed=4, d_hidden=6, num_layers=1, dropout=0.2,
        attention="luong",
    )  # fmt: skip
    torch.manual_seed(3)
    assert torch.equal(
        model.src_embedding.weight, Seq2Seq(model.config).src_embedding.weight
    )


def test_train_dates_trains_on_what_it_is_told(
    vocabularies: tuple[Vocabulary, Vocabulary],
    spy: Callable[..., Spy],
    fitted: Spy,
) -> None:
    drawn, seeded = spy(runs, "dates"), spy(runs, "reproducible")
    options = {"d_hidden": 6, "attention": "bahdanau"}
    model, losses = runs.train_dates(
        3, num=20, epochs=3, batch_size=8, lr=0.25, **options
    )
    assert losses == fitted.returned[0]
    assert drawn.calls == [{"num": 20, "split": "train", "seed": 3}]
    assert seeded.calls == [{"seed": 3}]
    [given] = fitted.calls
    assert given["model"] is model and given["lr"] == 0.25
    assert [len(batch.src) for batch in given["batches"]] == [8, 8, 4] * 3
    src, tgt = vocabularies
    expected = sorted((pair.source, pair.target) for pair in drawn.returned[0])
    for epoch in range(3):
        assert expected == sorted(
            ("".join(src.decode(source)), "".join(tgt.decode(target)))
            for batch in given["batches"][3 * epoch : 3 * epoch + 3]
            for source, target in zip(
                batch.src.tolist(), batch.tgt.tolist(), strict=True
            )
        )
    assert model.config == Seq2SeqConfig(
        len(src), len(tgt), d_hidden=6, num_layers=1, dropout=0.0,
        attention="bahdanau",
    )  # fmt: skip
    torch.manual_seed(3)
    assert torch.equal(
        model.src_embedding.weight, Seq2Seq(model.config).src_embedding.weight
    )


def test_options_of_the_model_go_before_the_defaults(fitted: Spy) -> None:
    options = {"dropout": 0.45, "num_layers": 2, "d_hidden": 5}
    model, _ = runs.train_reverse(0, steps=1, batch_size=2, **options)
    assert model.config.dropout == 0.45 and model.config.num_layers == 2
    model, _ = runs.train_dates(0, num=3, **options)
    assert model.config.dropout == 0.45 and model.config.num_layers == 2


def test_what_is_trained_unless_said_otherwise() -> None:
    """What the stored figures were made with."""

    def defaults(function: Callable[..., Any]) -> dict[str, Any]:
        parameters = inspect.signature(function).parameters.values()
        return {
            p.name: p.default for p in parameters if p.default is not p.empty
        }

    adam = {"lr": 8e-3}
    assert defaults(runs.train_reverse) == {
        "steps": 600, "longest": 12, "batch_size": 64, "cut": 0.0, **adam,
    }  # fmt: skip
    assert defaults(runs.train_dates) == {
        "num": 8_000, "epochs": 2, "batch_size": 32, **adam,
    }  # fmt: skip
    assert defaults(runs.reverse_run) == {"steps": 600, "longest": 12}
    assert defaults(runs.dates_run) == {"epochs": 2}
    assert defaults(runs.length_curve) == {"num": 256}
    assert defaults(runs.reverse_alignment_accuracy) == {
        "length": 12, "num": 256,
    }  # fmt: skip
    assert defaults(runs.score_dates) == {"num": 1_000}
    assert defaults(beams.beam_scores) == {"num": 256}
    assert defaults(beams.minimum_risk) == {
        "steps": 200, "lr": 1e-3, "beam_size": 8,
    }  # fmt: skip
    assert runs.SEEDS == (0, 1, 2)
    assert runs.LENGTHS == (4, 8, 12, 16, 20, 24)
    assert beams.BEAM_SIZES == (1, 2, 4, 8, 16)


# --- Measures on reverse and dates ---


def decoded(tokens: Tensor) -> Decoded:
    lengths = (tokens != 0).sum(dim=1)
    return Decoded(tokens, lengths, torch.zeros(len(tokens)), None)


def test_length_curve_measures_new_strings_of_every_length(
    model: Seq2Seq, spy: Callable[..., Spy]
) -> None:
    """Free-running: here all is right but each string's first letter."""

    def running(model: Seq2Seq, batch: Any) -> Decoded:
        tokens = batch.tgt_out.clone()
        tokens[:, 0] = tokens[:, 0] % 20 + 3  # another letter
        return decoded(tokens)

    drawn, run = spy(runs, "reverse"), spy(runs, "free_running", running)
    curve = runs.length_curve(model, num=3)
    assert curve == pytest.approx([n / (n + 1) for n in runs.LENGTHS])
    assert [list(call.values())[:4] for call in drawn.calls] == [
        [3, length, length, "test"] for length in runs.LENGTHS
    ]
    assert all(call["model"] is model for call in run.calls)
    vocab = Vocabulary(LETTERS)
    for call, pairs in zip(run.calls, drawn.returned, strict=True):
        sources = [vocab.encode(source) for source, _ in pairs]
        assert call["batch"].src.tolist() == sources


def test_length_curve_of_a_real_model(model: Seq2Seq) -> None:
    curve = runs.length_curve(model, num=3)
    assert len(curve) == len(runs.LENGTHS)
    assert all(0 <= accuracy < 0.5 for accuracy in curve)


@pytest.mark.parametrize(("shift", "accuracy"), [(0, 1.0), (1, 0.0)])
def test_alignment_on_reverse(
    shift: int,
    accuracy: float,
    model: Seq2Seq,
    monkeypatch: pytest.MonkeyPatch,
    spy: Callable[..., Spy],
) -> None:
    gold = reverse_alignment(torch.full((5,), 7), 8, 7).float()
    drawn = spy(runs, "reverse")
    monkeypatch.setattr(
        runs, "forced_weights", lambda *_: gold.roll(shift, dims=-1)
    )
    assert runs.reverse_alignment_accuracy(model, length=7, num=5) == accuracy
    assert [list(call.values())[:4] for call in drawn.calls] == [
        [5, 7, 7, "test"]
    ]


@pytest.mark.parametrize("attention", ["none", "bahdanau"])
def test_scores_on_dates_forced_and_free_by_hand(
    vocabularies: tuple[Vocabulary, Vocabulary],
    monkeypatch: pytest.MonkeyPatch,
    spy: Callable[..., Spy],
    attention: str,
) -> None:
    """Of 7 dates: forced 2 are spoilt in 3 characters, free 4 in 5."""
    src, tgt = vocabularies
    monkeypatch.setattr(runs, "date_vocabularies", lambda: vocabularies)
    model = Seq2Seq(
        Seq2SeqConfig(len(src), len(tgt), d_hidden=5, attention=attention)
    ).eval()

    def spoilt(target: Tensor, places: list[tuple[int, int]]) -> Tensor:
        tokens = target.clone()
        for row, place in places:
            tokens[row, place] = 3 + (tokens[row, place] - 2) % 11
        assert (tokens != target).sum() == len(places)
        return tokens

    def forced(src: Tensor, lengths: Tensor, tgt_in: Tensor) -> Tensor:
        ends = torch.full((len(src), 1), EOS)
        target = torch.cat([tgt_in[:, 1:], ends], dim=1)
        right = spoilt(target, [(0, 0), (0, 4), (3, 9)])
        return torch.nn.functional.one_hot(right, len(tgt)).float()

    def free(model: Seq2Seq, batch: Any) -> Decoded:
        places = [(1, 0), (2, 0), (2, 1), (4, 3), (5, 10)]
        return decoded(spoilt(batch.tgt_out, places))

    model.forward = forced
    monkeypatch.setattr(runs, "free_running", free)
    drawn = spy(runs, "dates")
    pairs = dates(7, "test")
    gold = date_alignment(pairs, max(len(p.source) for p in pairs))
    # a row for EOS, and a date that looks at the wrong place throughout
    weights = torch.nn.functional.pad(gold.float(), (0, 0, 0, 1))
    weights[6] = 1 - weights[6]
    monkeypatch.setattr(runs, "forced_weights", lambda *_: weights)
    scores = runs.score_dates(model, num=7)
    assert [list(call.values())[:2] for call in drawn.calls] == [[7, "test"]]
    expected = {
        "forced_token_accuracy": 1 - 3 / 77,
        "forced_exact_match": 5 / 7,
        "token_accuracy": 1 - 5 / 77,
        "exact_match": 3 / 7,
    }
    if attention != "none":
        expected["alignment_accuracy"] = 6 / 7
    assert scores == pytest.approx(expected)


def test_scores_on_dates_of_a_real_model(
    vocabularies: tuple[Vocabulary, Vocabulary],
) -> None:
    torch.manual_seed(0)
    src, tgt = vocabularies
    model = Seq2Seq(
        Seq2SeqConfig(len(src), len(tgt), d_hidden=5, attention="bahdanau")
    ).eval()
    scores = runs.score_dates(model, num=7)
    assert 0 <= scores.pop("alignment_accuracy") <= 1
    assert scores.keys() == {
        "forced_token_accuracy", "forced_exact_match",
        "token_accuracy", "exact_match",
    }  # fmt: skip
    assert all(0 <= value < 0.5 for value in scores.values())


def test_a_run_on_reverse_trains_and_measures_one_model(
    model: Seq2Seq, spy: Callable[..., Spy]
) -> None:
    losses = [float(step) for step in range(120)]
    trained = spy(runs, "train_reverse", lambda *_, **__: (model, losses))
    curve = spy(runs, "length_curve", lambda model: [0.5])
    aligned = spy(runs, "reverse_alignment_accuracy", lambda model: 0.25)
    result = runs.reverse_run(2, 7, 9, d_hidden=5)
    assert trained.given == [
        {"seed": 2, "steps": 7, "longest": 9, "options": {"d_hidden": 5}}
    ]
    assert curve.calls[0]["model"] is aligned.calls[0]["model"] is model
    assert result == {
        "accuracy": [0.5],
        "loss": sum(range(70, 120)) / 50,
        "parameters": runs.count_parameters(model),
        "alignment_accuracy": 0.25,
    }


def test_a_run_on_dates_trains_and_measures_one_model(
    model: Seq2Seq, spy: Callable[..., Spy]
) -> None:
    trained = spy(runs, "train_dates", lambda *_, **__: (model, []))
    scored = spy(runs, "score_dates", lambda model: {"exact_match": 0.5})
    result = runs.dates_run(2, 5, d_hidden=5)
    assert trained.given == [
        {"seed": 2, "epochs": 5, "options": {"d_hidden": 5}}
    ]
    assert scored.calls[0]["model"] is model
    assert result == {
        "exact_match": 0.5,
        "parameters": runs.count_parameters(model),
    }


def test_cut_short_cuts_a_share_of_the_targets_and_nothing_else() -> None:
    pairs = reverse(2_000, 4, 12)
    cut = cut_short(pairs, 0.1, seed=3)
    changed = [
        (old, new) for old, new in zip(pairs, cut, strict=True) if old != new
    ]
    assert 150 < len(changed) < 250
    for (source, target), (same, start) in changed:
        assert (
            source == same
            and target.startswith(start)
            and len(start) < len(target)
        )
    assert any(not start for _, (_, start) in changed), (
        "nothing at all is left of some"
    )
    assert cut == cut_short(pairs, 0.1, seed=3) != cut_short(pairs, 0.1, seed=4)
    assert cut_short(pairs, 0.0) == pairs


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_cut_short_needs_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="share must be from 0 to 1"):
        cut_short([("ab", "ba")], share)


# --- Beams ---


@pytest.fixture
def sure(model: Seq2Seq) -> Seq2Seq:
    """Return a model sure enough for an exact search, and often wrong."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
        model.output.bias[2] += 3
    return model


def test_beam_scores_count_what_an_exact_search_finds(sure: Seq2Seq) -> None:
    scores = beams.beam_scores(sure, length=4, num=11)
    errors, log_probs = scores["search_errors"], scores["log_prob"]
    exact = scores["exact_search"]["log_prob"]
    assert all(0 <= error <= 1 for error in errors)
    for error, log_prob in zip(errors, log_probs, strict=True):
        assert (error == 0) == (exact - log_prob < 1e-4), (
            "an error is a loss of probability"
        )
    assert errors[0] > 0, "the test needs a string that greedy search misses"


@pytest.mark.parametrize(
    "options", [{}, {"length_penalty": 1.0}, {"coverage_penalty": 0.2}]
)
def test_beam_scores_are_those_of_every_beam_by_hand(
    sure: Seq2Seq, spy: Callable[..., Spy], options: dict[str, float]
) -> None:
    drawn, found = spy(beams, "reverse"), spy(beams, "beam_search")
    exact = spy(beams, "exact_search")
    scores = beams.beam_scores(sure, length=4, num=11, **options)
    assert [list(call.values())[:4] for call in drawn.calls] == [
        [11, 4, 4, "test"]
    ]
    batch = runs.reverse_batch(Vocabulary(LETTERS), drawn.returned[0])
    start = sure.encode(batch.src, batch.src_lengths)
    given = (sure.step, start, torch.ones(11).long(), 2, 0, 8)
    widest = beam_search(*given, beam_size=16).first()
    best = exact_search(*given, widest, max_prefixes=200_000)
    assert len(exact.calls) == 1 and len(found.calls) == 6
    assert_close(exact.calls[0]["start"].log_probs, widest.log_probs)
    plain, *others = found.calls
    assert [plain["beam_size"]] + [call["beam_size"] for call in others] == [
        *(16, 1, 2, 4, 8, 16),
    ]
    for call in others:
        assert {name: call[name] for name in options} == options
    expected: dict[str, list[float]] = {
        name: []
        for name in (
            *("accuracy", "exact_match", "length", "log_prob"),
            "search_errors",
        )
    }
    for size in (1, 2, 4, 8, 16):
        hand = beam_search(*given, beam_size=size, **options).first()
        target = batch.tgt[:, 1:]
        words = [
            row[: row.index(2)] if 2 in row else row
            for row in hand.tokens.tolist()
        ]
        expected["accuracy"].append(token_accuracy(hand.tokens, target))
        expected["exact_match"].append(exact_match(hand.tokens, target))
        lengths = (hand.lengths.double() - 1).mean().item()
        expected["length"].append(lengths)
        ended = [2 in row for row in hand.tokens.tolist()]
        if all(ended):
            assert lengths == pytest.approx(sum(map(len, words)) / 11)
        expected["log_prob"].append(hand.log_probs.double().mean().item())
        lost = (best.log_probs - hand.log_probs) > 1e-4
        expected["search_errors"].append(lost.double().mean().item())
    ours = scores.pop("exact_search")
    assert scores.keys() == expected.keys()
    for name, values in expected.items():
        assert scores[name] == pytest.approx(values, abs=1e-6), name
    assert ours == pytest.approx(
        {
            "accuracy": token_accuracy(best.tokens, batch.tgt[:, 1:]),
            "length": (best.lengths.double() - 1).mean().item(),
            "log_prob": best.log_probs.double().mean().item(),
        }
    )


@pytest.mark.parametrize("attention", ["none", "luong"])
def test_a_run_with_beams_searches_plainly_and_with_penalties(
    spy: Callable[..., Spy], attention: str
) -> None:
    model = Seq2Seq(Seq2SeqConfig(23, 23, d_hidden=3, attention=attention))
    trained = spy(beams, "train_reverse", lambda *_, **__: (model, []))
    scored = spy(beams, "beam_scores", lambda *_, **given: given)
    result = beams.beam_run(2, 16, cut=0.1, d_hidden=3)
    assert trained.given == [
        {"seed": 2, "cut": 0.1, "options": {"d_hidden": 3}}
    ]
    assert {call["length"] for call in scored.calls} == {16}
    assert all(call["model"] is model for call in scored.calls)
    ways = {"plain": {}, "length penalty 1": {"length_penalty": 1.0}}
    if attention != "none":
        ways["coverage penalty 0.2"] = {"coverage_penalty": 0.2}
    assert result == ways


def test_risk_is_the_share_of_places_that_differ() -> None:
    tokens = torch.tensor([[[3, 4, 2, 0], [3, 2, 0, 0], [3, 5, 6, 2]]])
    empty = torch.zeros(1, 3)
    found = NBest(tokens, torch.tensor([[3, 2, 4]]), empty, empty, None)
    risk = beams.risk(found, torch.tensor([[3, 4, 2, 0, 0]]))
    assert torch.allclose(risk, torch.tensor([[0, 2 / 3, 3 / 4]]))


def test_pairs_for_tuning_are_fresh_and_a_tenth_of_them_cut_short(
    spy: Callable[..., Spy],
) -> None:
    drawn, cut = spy(beams, "reverse"), spy(beams, "cut_short")
    pairs = beams.pairs_for_tuning(7, 3, 5)
    assert drawn.calls == [
        {
            "num": 15,
            "min_length": 4,
            "max_length": 12,
            "split": "train",
            "seed": 107,
        }
    ]
    assert cut.calls == [
        {"pairs": drawn.returned[0], "share": 0.1, "seed": 107}
    ]
    assert pairs == runs.encode_pairs(Vocabulary(LETTERS), cut.returned[0])


@pytest.mark.parametrize("wanted", [True, False])
def test_minimum_risk_moves_probability_to_what_has_less_risk(
    wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let the risk be that a string is empty, or that it is not."""

    def risk(found: NBest, tgt: Tensor) -> Tensor:
        return ((found.lengths == 1) != wanted).float()

    def empty_probability() -> float:
        src, src_lengths, *_ = make_batch(beams.pairs_for_tuning(0, 1, 64))
        with torch.no_grad():
            log_probs, _ = model.step(
                torch.ones(64).long(), model.encode(src, src_lengths)
            )
        return log_probs[:, Vocabulary.eos_id].exp().mean().item()

    monkeypatch.setattr(beams, "risk", risk)
    torch.manual_seed(0)
    config = Seq2SeqConfig(
        23, 23, d_embed=3, d_hidden=7, num_layers=1, dropout=0.0
    )
    model = Seq2Seq(config).eval()
    with torch.no_grad():
        # so that several candidates end
        model.output.bias[Vocabulary.eos_id] += 2
    before = empty_probability()
    beams.minimum_risk(model, seed=0, steps=20, lr=1e-2)
    after = empty_probability()
    assert (after > 1.5 * before) if wanted else (after < before / 1.5), (
        before,
        after,
    )
    assert not model.training


def test_a_step_of_minimum_risk_lowers_the_expected_risk_by_hand(
    model: Seq2Seq, spy: Callable[..., Spy]
) -> None:
    """The gradient is that of the risk's mean over the beam's candidates."""
    few = beams.pairs_for_tuning(4, 1, 7)
    drawn = spy(beams, "pairs_for_tuning", lambda *_: few)
    found = spy(beams, "beam_search")
    clipped = spy(beams, "clip_by_global_norm", lambda *_: None)
    model.dropout.p = model.decoder.dropout.p = 0.0  # to be done again below
    before = {k: v.clone() for k, v in model.state_dict().items()}
    beams.minimum_risk(model, seed=4, steps=1, lr=1e-3, beam_size=6)
    assert drawn.calls == [{"seed": 4, "steps": 1, "batch_size": 64}]
    [searched] = found.calls
    wanted = {"beam_size": 6, "num_best": 6, "max_length": 16}
    wanted |= {"length_penalty": 0.0, "coverage_penalty": 0.0}
    assert {name: searched[name] for name in wanted} == wanted
    assert clipped.calls[0]["max_norm"] == 1.0
    gradients = [p.grad.clone() for p in model.parameters()]
    moves = [
        (p - before[name]).abs().max().item()
        for name, p in model.named_parameters()
    ]
    assert max(moves) == pytest.approx(1e-3, rel=1e-2), "the first of Adam"
    model.load_state_dict(before)
    torch.manual_seed(4)
    [batch] = beams.batches(few, 64)
    candidates = found.returned[0]
    state = model.encode(batch.src, batch.src_lengths)
    total = torch.zeros(())
    risks = beams.risk(candidates, batch.tgt_out)
    for row in range(7):
        log_probs, costs = [], []
        for place in range(6):
            length = int(candidates.lengths[row, place])
            if not length:
                continue
            tokens = candidates.tokens[row, place, :length]
            heard = torch.cat([torch.ones(1).long(), tokens[:-1]])
            mine = {k: v[row : row + 1] for k, v in state.items()}
            logits, _ = model.decode(heard[None], mine)
            each = logits[0].log_softmax(dim=-1)
            log_probs.append(each[range(length), tokens].sum())
            costs.append(risks[row, place])
        share = torch.stack(log_probs).softmax(dim=0)
        total = total + (share * torch.stack(costs)).sum()
    model.zero_grad()
    (total / 7).backward()
    for ours, parameter in zip(gradients, model.parameters(), strict=True):
        assert_close(ours, parameter.grad, atol=1e-6, rtol=1e-3)


def test_tuning_goes_on_from_the_same_weights_in_three_ways(
    model: Seq2Seq, spy: Callable[..., Spy]
) -> None:
    weight = model.output.weight.clone()
    names = itertools.count()
    trained = spy(beams, "train_reverse", lambda *_, **__: (model, []))
    scored = spy(beams, "beam_scores", lambda *_: {"scores": next(names)})
    pairs = [([3, 4], [4, 3])]
    drawn = spy(beams, "pairs_for_tuning", lambda *_: pairs)
    started: list[Tensor] = []
    draws: list[float] = []

    def go_on(model: Seq2Seq, *_: Any, **__: Any) -> list[float]:
        started.append(model.output.weight.detach().clone())
        draws.append(torch.rand(()).item())
        with torch.no_grad():
            model.output.weight.add_(1)
        return []

    fitted = spy(beams, "fit", go_on)
    lowered = spy(beams, "minimum_risk", go_on)
    result = beams.tuning_run(5)
    assert trained.given == [
        {"seed": 5, "cut": 0.1, "options": {"d_hidden": 96}}
    ]
    assert [call["lr"] for call in fitted.calls] == [1e-3, 3e-3]
    assert lowered.given == [{"model": model, "seed": 5}]
    assert drawn.calls == [{"seed": 5, "steps": 200, "batch_size": 64}] * 2
    for start in started:
        assert torch.equal(start, weight)
    torch.manual_seed(5)
    beams.batches(pairs, 64)
    assert draws[:2] == [torch.rand(()).item()] * 2, "the seed of each run"
    tested = [call["model"] for call in scored.calls]
    assert tested[0] is tested[3] is model
    assert tested[1:3] == [call["model"] for call in fitted.calls]
    assert all(call["length"] == 12 for call in scored.calls)
    assert result == {
        "before": {"scores": 0},
        "cross-entropy, lr 0.001": {"scores": 1},
        "cross-entropy, lr 0.003": {"scores": 2},
        "minimum risk, lr 0.001": {"scores": 3},
    }
    assert result.keys() == results.load("beam_training")["data"].keys()


# --- Chatbots ---


def test_a_chatbot_is_trained_in_a_folder_that_is_forgotten(
    tiny: Callable[..., ChatbotConfig], tmp_path: Path, spy: Callable[..., Spy]
) -> None:
    trained = spy(chatbots, "train")
    run, report = chatbots.train_chatbot(
        tiny(tmp_path / "unused"), seed=3, epochs=1, hidden_size=5
    )
    [given] = trained.calls
    config = given["config"]
    assert (config.seed, config.epochs, config.hidden_size) == (3, 1, 5)
    assert config.data == tiny(tmp_path).data
    assert report is trained.returned[0] and len(report.history) == 1
    assert run.config == config and run.model.config.d_hidden == 5
    assert not config.out.exists() and not config.out.parent.exists()
    assert not (tmp_path / "unused").exists()


def test_the_judge_is_trained_backwards(
    talk: Path, tiny: Callable[..., ChatbotConfig], tmp_path: Path
) -> None:
    options = {"data": str(talk), "min_count": 1}
    for split in SPLITS:
        forwards = tiny(tmp_path).read(split)
        assert Backwards(**options).read(split) == [
            (reply, prompt) for prompt, reply in forwards
        ]
    judge, _ = chatbots.train_chatbot(
        Backwards(hidden_size=4, embed_size=3, epochs=1, **options)
    )
    replies = [reply for _, reply in tiny(tmp_path).read("train")]
    assert judge.others == [judge.src_vocab.encode(r) for r in replies]


def test_reply_measures_by_hand() -> None:
    replies = [["a", "b"], ["a", "b"], ["c"], [], ["a", "c", "b", "a"]]
    assert chatbots.reply_measures(replies, 0.75) == {
        "distinct_1": 3 / 9,
        "distinct_2": 4 / 5,
        "commonest": 2 / 5,
        "length": 9 / 5,
        "traced": 0.75,
    }


class Judge(torch.nn.Module):
    """Knows from a table how probable each prompt is, given a reply.

    All it is fed must be where it computes, which `where` says of a tensor.
    """

    def __init__(
        self, table: Sequence[Sequence[float]], where: Callable[[Tensor], bool]
    ) -> None:
        super().__init__()
        self.table, self.where = torch.tensor(table), where
        self.fed: list[tuple[list[int], list[int]]] = []

    def encode(self, src: Tensor, src_lengths: Tensor) -> dict[str, Tensor]:
        assert self.where(src) and self.where(src_lengths)
        assert src.shape == (1, int(src_lengths))
        return {"reply": src[:, 0] - 4}

    def step(
        self, tokens: Tensor, state: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """After BOS the prompt's word; after the word EOS, with certainty."""
        assert self.where(tokens)
        self.fed.append((tokens.tolist(), state["reply"].tolist()))
        log_probs = torch.full((len(tokens), 12), -50.0)
        begins = tokens == Vocabulary.bos_id
        log_probs[begins, 4 : 4 + len(self.table)] = self.table[
            state["reply"][begins]
        ].log()
        log_probs[~begins, EOS] = 0.0
        return log_probs, state


def by_hand(table: Sequence[Sequence[float]]) -> float:
    """The share of other prompts below the right one, a tie a half."""
    num, total = len(table), 0.0
    for reply, row in enumerate(table):
        scores = [
            row[prompt] / sum(other[prompt] for other in table)
            for prompt in range(num)
        ]
        right = scores[reply]
        for prompt, score in enumerate(scores):
            if prompt != reply:
                tie = math.isclose(score, right, rel_tol=1e-6)
                total += 0.5 if tie else float(score < right)
    return total / (num * (num - 1))


TABLES = {
    "always right": [[0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.2, 0.2, 0.6]],
    "always wrong": [[0.1, 0.45, 0.45], [0.45, 0.1, 0.45], [0.45, 0.45, 0.1]],
    "guesses": [[0.25, 0.25, 0.5]] * 3,
    # The first prompt is the likeliest for every reply, and so tells nothing.
    "one fits all": [[0.8, 0.15, 0.05], [0.7, 0.25, 0.05], [0.7, 0.1, 0.2]],
    "partly": [[0.3, 0.3, 0.4], [0.4, 0.3, 0.3], [0.1, 0.1, 0.8]],
}


@pytest.mark.parametrize("name", TABLES)
def test_traced_is_the_share_of_prompts_below_the_right_one(name: str) -> None:
    table = TABLES[name]
    judge = SimpleNamespace(
        model=Judge(table, lambda tensor: True), device=torch.device("cpu")
    )
    ids = [[4], [5], [6]]  # the prompt of a reply is the same word
    share = inspect.unwrap(chatbots.traced)(judge, ids, ids)
    assert share == pytest.approx(by_hand(table), abs=1e-6)
    expected = {"always right": 1.0, "always wrong": 0.0, "guesses": 0.5}
    if name in expected:
        assert share == pytest.approx(expected[name])
    # each prompt is read to its end, from BOS on, for each reply
    assert judge.model.fed == [
        fed
        for reply in range(3)
        for fed in (([1, 1, 1], [reply] * 3), ([4, 5, 6], [reply] * 3))
    ]


def test_traced_feeds_the_judge_where_it_computes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a device of this test's own, whose tensors are marked as its own."""
    device, to = object(), Tensor.to
    there: list[Tensor] = []  # kept, so that no other gets the same address

    def mark(tensor: Tensor) -> Tensor:
        there.append(tensor)
        return tensor

    def moved(self: Tensor, *where: Any, **options: Any) -> Tensor:
        if where == (device,):
            return mark(self.clone())
        return to(self, *where, **options)

    def made(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def wrapped(*arguments: Any, **options: Any) -> Tensor:
            if options.get("device") is device:
                del options["device"]
                return mark(function(*arguments, **options))
            return function(*arguments, **options)

        return wrapped

    def step_through(step: Any, state: Any, tokens: Tensor, *rest: Any) -> Any:
        for tensor in (tokens, *rest):
            assert is_there(tensor)
        return mark(torch.tensor([0.1, 0.2, 0.3]))

    def is_there(tensor: Tensor) -> bool:
        return any(tensor is marked for marked in there)

    monkeypatch.setattr(Tensor, "to", moved)
    for name in ("full", "empty"):
        monkeypatch.setattr(torch, name, made(getattr(torch, name)))
    monkeypatch.setattr(chatbots, "sequence_log_probs", step_through)
    judge = SimpleNamespace(
        model=Judge(TABLES["guesses"], is_there), device=device
    )
    ids = [[4], [5], [6]]
    # The same for each reply, so that nothing can be told.
    assert inspect.unwrap(chatbots.traced)(judge, ids, ids) == 0.5


def test_a_run_with_a_chatbot_measures_replies_to_all_test_prompts(
    trained: Run,
    talk: Path,
    monkeypatch: pytest.MonkeyPatch,
    spy: Callable[..., Spy],
) -> None:
    """The judge is another model than the one that replies."""
    judge = trained._replace(others=[])
    report = Report({"perplexity": 12.5, "distinct_1": 0.5}, 1, [])

    def bot(config: ChatbotConfig, **_: Any) -> tuple[Run, Report]:
        backwards = isinstance(config, Backwards)
        return (judge, report._replace(test={})) if backwards else (
            trained, report,
        )  # fmt: skip

    trainings = spy(chatbots, "train_chatbot", bot)
    read = spy(chatbots, "dialogue", lambda split: dialogue(split, str(talk)))
    shares = itertools.count(1)
    tracing = spy(chatbots, "traced", lambda *_: next(shares) / 100)
    result = chatbots.chat_run(2)
    assert [call["seed"] for call in trainings.calls] == [2, 2]
    configs = [call["config"] for call in trainings.calls]
    assert configs == [ChatbotConfig(), Backwards()]
    assert [type(config) for config in configs] == [ChatbotConfig, Backwards]
    assert [call["split"] for call in read.calls] == ["test"]
    exchanges = dict(dialogue("test", str(talk)))
    prompts = list(exchanges)
    said = {"people": [tokenize(reply) for reply in exchanges.values()]}
    for name, search in REPLIES.items():
        said[name] = [
            best.tokens for best, *_ in respond(trained, prompts, search)
        ]
    assert result["perplexity"] == 12.5
    assert result["prompts"] == len(prompts) == 5
    for place, (name, replies) in enumerate(said.items()):
        assert result[name] == {
            "distinct_1": distinct_n(replies, 1),
            "distinct_2": distinct_n(replies, 2),
            "commonest": max(map(replies.count, replies)) / 5,
            "length": sum(map(len, replies)) / 5,
            "traced": (place + 1) / 100,
        }
        asked = tracing.calls[place]
        assert asked["judge"] is judge
        encode = trained.src_vocab.encode
        assert asked["prompts"] == [encode(tokenize(p)) for p in prompts]
        assert asked["replies"] == [encode(r) or [EOS] for r in replies]
        for prompt, reply in zip(prompts, replies, strict=True):
            assert result["transcript"][prompt][name] == detokenize(reply)
    assert list(result["transcript"]) == prompts
    assert result.keys() == {
        *("perplexity", "prompts", "transcript"),
        *said,
    }
    assert result.keys() == results.load("chatbot")["data"].keys()


def test_ways_to_reply_do_what_their_names_say() -> None:
    assert {
        "greedy": SearchConfig(method="greedy"),
        "beam of 5": SearchConfig(method="beam", beam_size=5),
        "beam of 20": SearchConfig(method="beam", beam_size=20),
        "beam of 20, length penalty 1": SearchConfig(
            method="beam", beam_size=20, length_penalty=1.0
        ),
        "sampling": SearchConfig(method="sample"),
        "sampling, nucleus 0.9, temperature 0.7": SearchConfig(
            method="sample", top_p=0.9, temperature=0.7
        ),
        "mutual information": SearchConfig(
            method="mmi", candidates=20, mmi_weight=0.7
        ),
    } == REPLIES


def test_a_run_for_perplexity_reports_that_of_every_epoch(
    trained: Run, spy: Callable[..., Spy]
) -> None:
    history = [Epoch(3.0, 2.0), Epoch(2.5, 1.5)]
    report = Report({"perplexity": 12.5, "distinct_1": 0.5}, 2, history)
    training = spy(
        chatbots, "train_chatbot", lambda *_, **__: (trained, report)
    )
    result = chatbots.perplexity_run(3, hidden_size=7)
    assert result == {
        "perplexity": 12.5,
        "valid": [math.exp(2.0), math.exp(1.5)],
        "train": [math.exp(3.0), math.exp(2.5)],
        "best_epoch": 2,
        "parameters": runs.count_parameters(trained.model),
    }
    [call] = training.calls
    assert call["config"] == ChatbotConfig()
    assert (call["seed"], call["hidden_size"]) == (3, 7)


def test_the_chatbots_that_are_compared_have_nearly_one_size() -> None:
    stored = results.load("chatbot_attention")["data"]
    assert stored.keys() == CHATBOTS.keys()
    counts = [entry["parameters"][0] for entry in stored.values()]
    assert max(counts) < 1.01 * min(counts)


# --- What each experiment runs ---


PLAIN, BAHDANAU, LUONG = (
    {"d_hidden": 96},
    {"d_hidden": 70, "attention": "bahdanau", "score": "additive"},
    {"d_hidden": 75, "attention": "luong", "score": "dot"},
)
TUNED: dict[str, Any] = {"attention": "luong"}
# For each experiment its runs: what is run, and what it is told.
RUNS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "bottleneck": {
        "96 units": ("reverse_run", {"d_hidden": 96}),
        "192 units": ("reverse_run", {"d_hidden": 192}),
        "96 units, twice the steps": (
            "reverse_run",
            {"d_hidden": 96, "steps": 1200},
        ),
        "96 units, lengths 4 to 24": (
            "reverse_run",
            {"d_hidden": 96, "longest": 24},
        ),
    },
    "layers": {
        "one layer of 96": ("dates_run", {"epochs": 4, "d_hidden": 96}),
        "two layers of 60": (
            "dates_run",
            {"epochs": 4, "d_hidden": 60, "num_layers": 2},
        ),
    },
    "attention_reverse": {
        f"{name}, lengths 4 to {longest}": (
            "reverse_run",
            {"longest": longest, **options},
        )
        for longest in (12, 24)
        for name, options in zip(
            ("none", "bahdanau", "luong"),
            (PLAIN, BAHDANAU, LUONG),
            strict=True,
        )
    },
    "attention_dates": {
        "none": ("dates_run", PLAIN),
        "bahdanau": ("dates_run", BAHDANAU),
        "luong": ("dates_run", LUONG),
        "none, twice as long": ("dates_run", {"epochs": 4, **PLAIN}),
    },
    "scores_dates": {
        "dot": ("dates_run", {**TUNED, "score": "dot", "d_hidden": 75}),
        "scaled_dot": (
            "dates_run",
            {**TUNED, "score": "scaled_dot", "d_hidden": 75},
        ),
        "bilinear": (
            "dates_run",
            {**TUNED, "score": "bilinear", "d_hidden": 73},
        ),
        "additive": (
            "dates_run",
            {**TUNED, "score": "additive", "d_hidden": 71},
        ),
        "concat": ("dates_run", {**TUNED, "score": "concat", "d_hidden": 71}),
        "dot, window of ±4": (
            "dates_run",
            {**TUNED, "score": "dot", "d_hidden": 73, "half_width": 4},
        ),
    },
    "beam_curse": {
        "clean": ("beam_run", {"length": 12, **PLAIN}),
        "a tenth cut short": (
            "beam_run",
            {"length": 12, "cut": 0.1, **PLAIN},
        ),
        "attention, clean": ("beam_run", {"length": 16, **LUONG}),
        "attention, a tenth cut short": (
            "beam_run",
            {"length": 16, "cut": 0.1, **LUONG},
        ),
    },
    "beam_training": {"": ("tuning_run", {})},
    "chatbot": {"": ("chat_run", {})},
    "chatbot_attention": {
        "none": ("perplexity_run", {"hidden_size": 168, "attention": "none"}),
        "bahdanau": (
            "perplexity_run",
            {"hidden_size": 128, "attention": "bahdanau", "score": "additive"},
        ),
        "luong": (
            "perplexity_run",
            {"hidden_size": 137, "attention": "luong", "score": "dot"},
        ),
    },
    "chatbot_public": {"": ("perplexity_run", {"data": "chatterbot"})},
}


def test_every_stored_result_has_an_experiment_and_the_other_way_round() -> (
    None
):
    assert sorted(experiments.EXPERIMENTS) == STORED == sorted(RUNS)


@pytest.mark.parametrize("name", RUNS)
def test_an_experiment_runs_what_its_names_say(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def noted(run: Callable[..., Any], **options: Any) -> dict[str, Any]:
        return {"ran": (run.__name__, options)}

    for module in (
        experiments.encoder_decoder,
        experiments.attention,
        beams,
        chatbots,
    ):
        monkeypatch.setattr(module, "per_seed", noted)
    ran = experiments.EXPERIMENTS[name]()
    if list(ran) == ["ran"]:
        assert {"": ran["ran"]} == RUNS[name]
        return
    assert list(ran) == list(RUNS[name]), "in the order of the stored result"
    assert {key: value["ran"] for key, value in ran.items()} == RUNS[name]
    assert list(ran) == list(results.load(name)["data"])


def small(function: Callable[..., Any], num: int) -> Callable[..., Any]:
    """Draw a few only."""
    return lambda _, *arguments, **options: function(num, *arguments, **options)


TRAINED_RUNS = [
    (name, key)
    for name, entries in RUNS.items()
    for key, (run, _) in entries.items()
    if run in ("reverse_run", "dates_run")
]


@pytest.mark.parametrize(("name", "key"), TRAINED_RUNS)
def test_the_models_of_an_experiment_are_those_of_the_stored_result(
    name: str,
    key: str,
    fitted: Spy,
    spy: Callable[..., Spy],
    vocabularies: tuple[Vocabulary, Vocabulary],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By their number of parameters; and the measures are those stored."""
    spy(runs, "reverse", small(reverse, 4))
    spy(runs, "dates", small(dates, 4))
    run, options = RUNS[name][key]
    result = getattr(runs, run)(1, **options)
    stored = results.load(name)["data"][key]
    assert result.keys() == stored.keys()
    assert [result["parameters"]] * 3 == stored["parameters"]


@pytest.mark.parametrize("name", ["beam_curse", "beam_training"])
def test_the_beams_of_an_experiment_are_those_of_the_stored_result(
    name: str,
) -> None:
    data = results.load(name)["data"]
    entries = data.values() if name == "beam_curse" else [data]
    for ways in entries:
        for scores in itertools.chain.from_iterable(ways.values()):
            for measure, values in scores.items():
                if measure != "exact_search":
                    assert len(values) == len(beams.BEAM_SIZES)


@pytest.mark.parametrize("name", CHATBOTS)
def test_the_chatbots_are_those_of_the_stored_result(name: str) -> None:
    config = ChatbotConfig(**CHATBOTS[name])
    stored = results.load("chatbot_attention")["data"][name]
    model = config.task().model
    assert [runs.count_parameters(model)] * 3 == stored["parameters"]
    assert all(len(valid) == config.epochs for valid in stored["valid"])


# --- Records ---


def test_round_floats_goes_into_lists_and_dicts() -> None:
    nested = {
        "a": [1.23456, 2, "x", (0.00004, None)],
        "b": {"c": 1 / 3},
        "d": True,
    }
    rounded = {
        "a": [1.2346, 2, "x", [0.0, None]],
        "b": {"c": 0.3333},
        "d": True,
    }
    assert records.round_floats(nested) == rounded


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a git repository with a package `attend` and one commit."""
    here = tmp_path / "attend" / "experiments"
    here.mkdir(parents=True)
    (here / "records.py").write_text("1\n")
    (tmp_path / "README.md").write_text("1\n")
    monkeypatch.setattr(records, "HERE", here)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for person in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{person}_NAME", "Robin")
        monkeypatch.setenv(f"GIT_{person}_EMAIL", "robin@example.org")
    git(tmp_path, "init", "--quiet")
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def test_commit_of_a_repository_clean_and_changed(repository: Path) -> None:
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "one")
    head = git(repository, "rev-parse", "HEAD")
    assert re.fullmatch("[0-9a-f]{40}", head)
    assert records.commit() == head
    (repository / "README.md").write_text("2\n")
    (repository / "notes").write_text("2\n")
    assert records.commit() == head, "what is not of the package is no matter"
    code = repository / "attend" / "experiments" / "records.py"
    code.write_text("2\n")
    assert records.commit() == f"{head} with uncommitted changes"
    git(repository, "add", "attend")
    assert records.commit() == f"{head} with uncommitted changes"
    git(repository, "commit", "--quiet", "-m", "two")
    second = git(repository, "rev-parse", "HEAD")
    assert records.commit() == second != head
    (repository / "attend" / "new.py").write_text("3\n")
    assert records.commit() == f"{second} with uncommitted changes"


def test_commit_where_nothing_was_committed_yet(repository: Path) -> None:
    assert records.commit() == "unknown"


def test_commit_outside_a_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inside").mkdir()
    monkeypatch.setattr(records, "HERE", tmp_path / "inside")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert records.commit() == "unknown"


def test_commit_without_git(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "one")
    monkeypatch.setenv("PATH", str(repository))
    assert records.commit() == "unknown"


CPUINFO = """\
processor\t: 0
vendor_id\t: GenuineExample
model name\t: Example(R) CPU @ 2.00GHz
processor\t: 1
model name\t: Another
"""


def test_the_processor_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    monkeypatch.setattr(records, "CPUINFO", cpuinfo)
    monkeypatch.setattr(records.platform, "processor", lambda: "arm")
    assert records.processor() == "arm"
    cpuinfo.write_text(CPUINFO)
    assert records.processor() == "Example(R) CPU @ 2.00GHz"
    cpuinfo.write_text("processor\t: 0\nBogoMIPS\t: 48.00\n")  # as on ARM
    assert records.processor() == "arm"
    monkeypatch.setattr(records.platform, "processor", lambda: "")
    assert records.processor() == "unknown processor"
    cpuinfo.write_bytes(b"model name\t: \xff odd\n")
    assert records.processor().endswith(" odd")


def test_the_machine_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(CPUINFO)
    monkeypatch.setattr(records, "CPUINFO", cpuinfo)
    monkeypatch.setattr(records.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(records.os, "cpu_count", lambda: 7)
    monkeypatch.setattr(records.torch, "__version__", "2.13.0+cpu")
    python = ".".join(map(str, sys.version_info[:3]))
    assert records.machine() == (
        "Example(R) CPU @ 2.00GHz (x86_64), 7 cores, one thread, Python "
        f"{python}, PyTorch 2.13.0"
    )


def test_main_stores_a_record(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = itertools.count(0, 90)  # seconds between two looks

    def quick() -> dict[str, Any]:
        return {"accuracy": [1 / 3]}

    monkeypatch.setattr(experiments, "EXPERIMENTS", {"quick": quick})
    monkeypatch.setattr(program, "files", lambda _: tmp_path)
    monkeypatch.setattr(program, "commit", lambda: "abc with changes")
    monkeypatch.setattr(program, "machine", lambda: "a machine")
    monkeypatch.setattr(
        program, "time", SimpleNamespace(perf_counter=lambda: next(clock))
    )
    program.main(["quick"])
    record = json.loads((tmp_path / "quick.json").read_text())
    assert record == {
        "command": "python -m attend.experiments quick",
        "commit": "abc with changes",
        "seeds": [0, 1, 2],
        "minutes": 1.5,
        "machine": "a machine",
        "data": {"accuracy": [0.3333]},
    }
    assert capsys.readouterr().out == "wrote quick.json\n"


def test_a_record_names_the_commit_of_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of its end, an hour later."""
    now = ["before"]

    def slow() -> dict[str, Any]:
        now[0] = "after"
        return {}

    monkeypatch.setattr(experiments, "EXPERIMENTS", {"slow": slow})
    monkeypatch.setattr(program, "files", lambda _: tmp_path)
    monkeypatch.setattr(program, "commit", lambda: now[0])
    program.main(["slow"])
    record = json.loads((tmp_path / "slow.json").read_text())
    assert record["commit"] == "before"


def test_main_with_an_unknown_experiment(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        program.main(["alchemy"])
    assert "invalid choice: 'alchemy'" in capsys.readouterr().err


def test_the_command_that_is_stored_is_the_one_that_works() -> None:
    words = [sys.executable, "-m", "attend.experiments", "--help"]
    run = subprocess.run(words, capture_output=True, text=True, check=True)
    for name in STORED:
        assert name in run.stdout


# --- Stored results ---


@pytest.mark.parametrize("name", STORED)
def test_stored_result_says_where_it_comes_from(name: str) -> None:
    record = results.load(name)
    assert record["command"] == f"python -m attend.experiments {name}"
    assert name in experiments.EXPERIMENTS
    assert record["seeds"] == list(runs.SEEDS)
    assert record["minutes"] > 0
    assert len(record["commit"]) == 40
    assert "one thread" in record["machine"]
    assert record["data"]


def test_unknown_result_names_the_known_ones() -> None:
    with pytest.raises(
        FileNotFoundError,
        match=f"no result 'alchemy', only .*{STORED[-1]}.*: mak",
    ):
        results.load("alchemy")
