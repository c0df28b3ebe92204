"""The experiments' small parts: the long runs themselves are stored in `results/`."""

import inspect
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from attend import experiments, results
from attend.data.batching import make_batch
from attend.data.dates import date_alignment, dates
from attend.data.reverse import LETTERS, cut_short, reverse, reverse_alignment
from attend.data.vocabulary import Vocabulary
from attend.decoding import NBest
from attend.rnn import Seq2Seq, Seq2SeqConfig

STORED = sorted(path.stem for path in Path(results.__file__).parent.glob("*.json"))


@pytest.fixture
def tiny() -> Seq2Seq:
    torch.manual_seed(0)
    return Seq2Seq(
        Seq2SeqConfig(23, 23, d_embed=3, d_hidden=5, num_layers=1, attention="luong", score="dot")
    ).eval()


@pytest.fixture(scope="module")
def vocabularies() -> tuple[Vocabulary, Vocabulary]:
    return experiments.date_vocabularies()


def sizes(src_vocab_size: int, tgt_vocab_size: int) -> dict[str, int]:
    return {
        name: experiments.count_parameters(
            Seq2Seq(Seq2SeqConfig(src_vocab_size, tgt_vocab_size, num_layers=1, **options))
        )
        for name, options in experiments.MODELS.items()
    }


def test_models_that_are_compared_have_nearly_one_size(
    vocabularies: tuple[Vocabulary, Vocabulary],
) -> None:
    letters = len(Vocabulary(LETTERS))
    src, tgt = vocabularies
    for counts in (sizes(letters, letters), sizes(len(src), len(tgt))):
        without = counts.pop("none")
        assert all(0.9 * without < count <= without for count in counts.values()), counts


def test_the_vocabularies_know_every_test_date(
    vocabularies: tuple[Vocabulary, Vocabulary],
) -> None:
    src, tgt = vocabularies
    pairs = dates(2_000, "test")
    batch = experiments.date_batch(src, tgt, pairs)
    assert ["".join(src.decode(row)) for row in batch.src.tolist()] == [p.source for p in pairs]
    assert ["".join(tgt.decode(row)) for row in batch.tgt.tolist()] == [p.target for p in pairs]


def test_count_parameters() -> None:
    assert experiments.count_parameters(torch.nn.Linear(3, 5)) == 3 * 5 + 5


def test_per_seed_collects_each_measure() -> None:
    collected = experiments.per_seed(lambda seed, more: {"a": seed + more, "b": seed}, more=10)
    assert collected == {"a": [10, 11, 12], "b": [0, 1, 2]}


def test_decode_may_be_one_token_longer_than_the_target(tiny: Seq2Seq) -> None:
    batch = experiments.reverse_batch(Vocabulary(LETTERS), reverse(3, 5, 5))
    with torch.no_grad():
        tiny.output.bias[3] += 99  # it never ends
    found = experiments.decode(tiny, batch)
    assert found.tokens.shape == (3, batch.tgt.shape[1] + 1)


def test_forced_weights_look_at_every_target_token(tiny: Seq2Seq) -> None:
    batch = experiments.reverse_batch(Vocabulary(LETTERS), reverse(3, 5, 5))
    weights = experiments.forced_weights(tiny, batch)
    assert weights.shape == (3, 6, 5)
    assert not weights.requires_grad


def test_length_curve_measures_every_length(tiny: Seq2Seq) -> None:
    curve = experiments.length_curve(tiny, num=3)
    assert len(curve) == len(experiments.LENGTHS)
    assert all(0 <= accuracy < 0.5 for accuracy in curve)


@pytest.mark.parametrize(("shift", "accuracy"), [(0, 1.0), (1, 0.0)])
def test_alignment_on_reverse(
    shift: int, accuracy: float, tiny: Seq2Seq, monkeypatch: pytest.MonkeyPatch
) -> None:
    gold = reverse_alignment(torch.full((5,), 7), 8, 7).float()
    monkeypatch.setattr(experiments, "forced_weights", lambda *_: gold.roll(shift, dims=-1))
    assert experiments.reverse_alignment_accuracy(tiny, length=7, num=5) == accuracy


def test_scores_on_dates(
    vocabularies: tuple[Vocabulary, Vocabulary], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    src, tgt = vocabularies
    monkeypatch.setattr(experiments, "date_vocabularies", lambda: vocabularies)
    model = Seq2Seq(Seq2SeqConfig(len(src), len(tgt), d_hidden=5, attention="bahdanau")).eval()
    gold = date_alignment(dates(7, "test"), max(len(p.source) for p in dates(7, "test")))
    gold = torch.nn.functional.pad(gold.float(), (0, 0, 0, 1))  # a row for EOS
    monkeypatch.setattr(experiments, "forced_weights", lambda *_: gold)
    scores = experiments.score_dates(model, num=7)
    assert scores.pop("alignment_accuracy") == 1.0
    assert scores.keys() == {
        "forced_token_accuracy", "forced_exact_match", "token_accuracy", "exact_match",
    }  # fmt: skip
    assert all(0 <= value < 0.5 for value in scores.values())


def test_round_floats_goes_into_lists_and_dicts() -> None:
    nested = {"a": [1.23456, 2, "x", (0.00004, None)], "b": {"c": 1 / 3}, "d": True}
    rounded = {"a": [1.2346, 2, "x", [0.0, None]], "b": {"c": 0.3333}, "d": True}
    assert experiments.round_floats(nested) == rounded


def test_commit_outside_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiments, "__file__", str(tmp_path / "experiments.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert experiments.commit() == "unknown"


def test_main_stores_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def quick() -> dict[str, Any]:
        return {"accuracy": [1 / 3]}

    monkeypatch.setattr(experiments, "EXPERIMENTS", (quick,))
    monkeypatch.setattr(experiments, "files", lambda _: tmp_path)
    experiments.main(["quick"])
    record = json.loads((tmp_path / "quick.json").read_text())
    assert record.keys() == {"command", "commit", "seeds", "minutes", "machine", "data"}
    assert record["command"] == "python -m attend.experiments quick"
    assert record["data"] == {"accuracy": [0.3333]}
    assert capsys.readouterr().out == "wrote quick.json\n"


def test_main_with_an_unknown_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        experiments.main(["alchemy"])
    assert "invalid choice: 'alchemy'" in capsys.readouterr().err


# --- Beams and chatbots ---


def test_beam_scores_count_what_an_exact_search_finds(tiny: Seq2Seq) -> None:
    with torch.no_grad():
        for parameter in tiny.parameters():
            parameter.mul_(4)  # sure enough for an exact search, and often wrong
        tiny.output.bias[2] += 3
    scores = experiments.beam_scores(tiny, length=4, num=11)
    errors, log_probs = scores["search_errors"], scores["log_prob"]
    exact = scores["exact_search"]["log_prob"]
    assert all(0 <= error <= 1 for error in errors)
    for error, log_prob in zip(errors, log_probs, strict=True):
        assert (error == 0) == (exact - log_prob < 1e-4), "an error is a loss of probability"
    assert errors[0] > 0, "the test needs a string that greedy search misses"


def test_risk_is_the_share_of_places_that_differ() -> None:
    tokens = torch.tensor([[[3, 4, 2, 0], [3, 2, 0, 0], [3, 5, 6, 2]]])
    empty = torch.zeros(1, 3)
    found = NBest(tokens, torch.tensor([[3, 2, 4]]), empty, empty, None)
    risk = experiments.risk(found, torch.tensor([[3, 4, 2, 0, 0]]))
    assert torch.allclose(risk, torch.tensor([[0, 2 / 3, 3 / 4]]))


@pytest.mark.parametrize("wanted", [True, False])
def test_minimum_risk_moves_probability_to_what_has_less_risk(
    wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let the risk be that a string is empty, or that it is not."""

    def risk(found: NBest, tgt: Tensor) -> Tensor:
        return ((found.lengths == 1) != wanted).float()

    def empty_probability() -> float:
        src, src_lengths, *_ = make_batch(experiments.pairs_for_tuning(0, 1, 64))
        with torch.no_grad():
            log_probs, _ = model.step(torch.ones(64).long(), model.encode(src, src_lengths))
        return log_probs[:, Vocabulary.eos_id].exp().mean().item()

    monkeypatch.setattr(experiments, "risk", risk)
    torch.manual_seed(0)
    config = Seq2SeqConfig(23, 23, d_embed=3, d_hidden=7, num_layers=1, dropout=0.0)
    model = Seq2Seq(config).eval()
    with torch.no_grad():
        model.output.bias[Vocabulary.eos_id] += 2  # so that several candidates end
    before = empty_probability()
    experiments.minimum_risk(model, seed=0, steps=20, lr=1e-2)
    after = empty_probability()
    assert (after > 1.5 * before) if wanted else (after < before / 1.5), (before, after)
    assert not model.training


@pytest.mark.parametrize(("right", "share"), [(True, 1.0), (False, 0.0)])
def test_traced_is_the_share_of_prompts_below_the_right_one(right: bool, share: float) -> None:
    """A judge that knows which prompt a reply belongs to, or holds it for the least likely."""

    class Judge:
        def encode(self, src: Tensor, lengths: Tensor) -> dict[str, Tensor]:
            return {"reply": src[:, 0]}

        def step(self, tokens: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict]:
            log_probs = torch.full((len(tokens), 9), -3.0)
            log_probs[torch.arange(len(tokens)), state["reply"]] = -1.0 if right else -5.0
            return log_probs, state

    ids = [[4], [6], [7], [8]]  # the prompt of a reply is the same word
    judge = SimpleNamespace(model=Judge())
    assert inspect.unwrap(experiments.traced)(judge, ids, ids) == share


def test_cut_short_cuts_a_share_of_the_targets_and_nothing_else() -> None:
    pairs = reverse(2_000, 4, 12)
    cut = cut_short(pairs, 0.1, seed=3)
    changed = [(old, new) for old, new in zip(pairs, cut, strict=True) if old != new]
    assert 150 < len(changed) < 250
    for (source, target), (same, start) in changed:
        assert source == same and target.startswith(start) and len(start) < len(target)
    assert any(not start for _, (_, start) in changed), "nothing at all is left of some"
    assert cut == cut_short(pairs, 0.1, seed=3) != cut_short(pairs, 0.1, seed=4)
    assert cut_short(pairs, 0.0) == pairs


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_cut_short_needs_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="share must be from 0 to 1"):
        cut_short([("ab", "ba")], share)


def test_the_chatbots_that_are_compared_have_nearly_one_size() -> None:
    stored = results.load("chatbot_attention")["data"]
    assert stored.keys() == experiments.CHATBOTS.keys()
    counts = [runs["parameters"][0] for runs in stored.values()]
    assert max(counts) < 1.01 * min(counts)


# --- Stored results ---


@pytest.mark.parametrize("name", STORED)
def test_stored_result_says_where_it_comes_from(name: str) -> None:
    record = results.load(name)
    assert record["command"] == f"python -m attend.experiments {name}"
    assert name in {experiment.__name__ for experiment in experiments.EXPERIMENTS}
    assert record["seeds"] == list(experiments.SEEDS)
    assert record["minutes"] > 0
    assert len(record["commit"]) == 40
    assert "one thread" in record["machine"]
    assert record["data"]


def test_unknown_result_names_the_known_ones() -> None:
    with pytest.raises(FileNotFoundError, match=f"no result 'alchemy', only .*{STORED[-1]}.*: mak"):
        results.load("alchemy")
