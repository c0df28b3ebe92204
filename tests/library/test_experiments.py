"""The experiments' small parts: the long runs themselves are stored in `results/`."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from attend import experiments, results
from attend.data.dates import date_alignment, dates
from attend.data.reverse import LETTERS, reverse, reverse_alignment
from attend.data.vocabulary import Vocabulary
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
