"""The runs that do not fit into a chapter: `python -m attend.experiments NAME`.

Each one writes `results/NAME.json` with the command, the commit, the seeds, the time and the
machine. Chapters read these files with `attend.results.load` and draw them.
"""

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attend.data import Batch, Vocabulary, batches, make_batch
from attend.data.dates import DatePair, date_alignment, dates
from attend.data.reverse import LETTERS, reverse, reverse_alignment
from attend.decoding import Decoded, greedy
from attend.metrics import alignment_accuracy, exact_match, token_accuracy
from attend.rnn import Seq2Seq, Seq2SeqConfig
from attend.training import fit, reproducible

SEEDS = (0, 1, 2)
LENGTHS = (4, 8, 12, 16, 20, 24)

# The three models of chapter 2, of nearly equal size: those with attention are the smaller ones.
MODELS: dict[str, dict[str, Any]] = {
    "none": {"d_hidden": 96},
    "bahdanau": {"d_hidden": 70, "attention": "bahdanau", "score": "additive"},
    "luong": {"d_hidden": 75, "attention": "luong", "score": "dot"},
}


def reverse_batch(vocab: Vocabulary, pairs: Sequence[tuple[str, str]]) -> Batch:
    """Turn pairs of strings into one batch."""
    return make_batch([(vocab.encode(source), vocab.encode(target)) for source, target in pairs])


def decode(model: Seq2Seq, batch: Batch) -> Decoded:
    """Translate a batch greedily, free-running."""
    vocab = Vocabulary
    state = model.encode(batch.src, batch.src_lengths)
    return greedy(
        model.step, state, vocab.bos_id, vocab.eos_id, vocab.pad_id, batch.tgt.shape[1] + 1
    )


@torch.no_grad()
def forced_weights(model: Seq2Seq, batch: Batch) -> Tensor:
    """The attention weights `(batch, tgt, src)` when the true target is fed in."""
    _, state = model.decode(batch.tgt[:, :-1], model.encode(batch.src, batch.src_lengths))
    return state["weights"]


def train_reverse(
    seed: int,
    steps: int = 600,
    longest: int = 12,
    batch_size: int = 64,
    lr: float = 8e-3,
    **options: Any,
) -> tuple[Seq2Seq, list[float]]:
    """Train on fresh strings of 4 to `longest` letters; options go to `Seq2SeqConfig`."""
    reproducible(seed)
    vocab = Vocabulary(LETTERS)
    pairs = reverse(steps * batch_size, 4, longest, seed=seed)
    encoded = [(vocab.encode(source), vocab.encode(target)) for source, target in pairs]
    sizes = {"num_layers": 1, "dropout": 0.2, **options}
    model = Seq2Seq(Seq2SeqConfig(len(vocab), len(vocab), **sizes))
    return model, fit(model, batches(encoded, batch_size), lr=lr)


def length_curve(model: Seq2Seq, num: int = 256) -> list[float]:
    """Free-running token accuracy on `num` new strings of each length in `LENGTHS`."""
    vocab = Vocabulary(LETTERS)
    accuracies = []
    for length in LENGTHS:
        batch = reverse_batch(vocab, reverse(num, length, length, "test"))
        accuracies.append(token_accuracy(decode(model, batch).tokens, batch.tgt[:, 1:]))
    return accuracies


def reverse_alignment_accuracy(model: Seq2Seq, length: int = 12, num: int = 256) -> float:
    """How often the largest weight falls on the letter to copy, at one length."""
    pairs = reverse(num, length, length, "test")
    batch = reverse_batch(Vocabulary(LETTERS), pairs)
    weights = forced_weights(model, batch)
    return alignment_accuracy(weights, reverse_alignment(batch.src_lengths, *weights.shape[1:]))


@cache
def date_vocabularies() -> tuple[Vocabulary, Vocabulary]:
    """The characters of written dates and of ISO dates."""
    pairs = dates(8_000)
    return (
        Vocabulary(character for pair in pairs for character in pair.source),
        Vocabulary(character for pair in pairs for character in pair.target),
    )


def date_batch(src: Vocabulary, tgt: Vocabulary, pairs: Sequence[DatePair]) -> Batch:
    """Turn written dates into one batch."""
    return make_batch([(src.encode(pair.source), tgt.encode(pair.target)) for pair in pairs])


def train_dates(
    seed: int,
    num: int = 8_000,
    epochs: int = 2,
    batch_size: int = 32,
    lr: float = 8e-3,
    **options: Any,
) -> tuple[Seq2Seq, list[float]]:
    """Train on written dates; options go to `Seq2SeqConfig`."""
    reproducible(seed)
    src, tgt = date_vocabularies()
    encoded = [(src.encode(pair.source), tgt.encode(pair.target)) for pair in dates(num, seed=seed)]
    sizes = {"num_layers": 1, "dropout": 0.0, **options}
    model = Seq2Seq(Seq2SeqConfig(len(src), len(tgt), **sizes))
    return model, fit(model, batches(encoded, batch_size, epochs), lr=lr)


def score_dates(model: Seq2Seq, num: int = 1_000) -> dict[str, float]:
    """Measure on test dates: teacher-forced and free-running accuracy, and alignment."""
    pairs = dates(num, "test")
    batch = date_batch(*date_vocabularies(), pairs)
    target = batch.tgt[:, 1:]
    with torch.no_grad():
        forced = model(batch.src, batch.src_lengths, batch.tgt[:, :-1]).argmax(dim=-1)
    free = decode(model, batch)
    scores = {
        "forced_token_accuracy": token_accuracy(forced, target),
        "forced_exact_match": exact_match(forced.masked_fill(target == 0, 0), target),
        "token_accuracy": token_accuracy(free.tokens, target),
        "exact_match": exact_match(free.tokens, target),
    }
    if model.config.attention != "none":
        weights = forced_weights(model, batch)[:, :10]
        scores["alignment_accuracy"] = alignment_accuracy(
            weights, date_alignment(pairs, weights.shape[2])
        )
    return scores


def count_parameters(model: torch.nn.Module) -> int:
    """The number of trained values."""
    return sum(parameter.numel() for parameter in model.parameters())


def per_seed(run: Callable[..., dict[str, Any]], **options: Any) -> dict[str, list[Any]]:
    """Run once a seed and collect each measure in a list."""
    runs = [run(seed, **options) for seed in SEEDS]
    return {key: [measures[key] for measures in runs] for key in runs[0]}


def reverse_run(seed: int, steps: int = 600, longest: int = 12, **options: Any) -> dict[str, Any]:
    """Train and measure one model on *reverse*."""
    model, losses = train_reverse(seed, steps, longest, **options)
    result = {
        "accuracy": length_curve(model),
        "loss": sum(losses[-50:]) / 50,
        "parameters": count_parameters(model),
    }
    if model.config.attention != "none":
        result["alignment_accuracy"] = reverse_alignment_accuracy(model)
    print(seed, steps, longest, options, result, flush=True)
    return result


def bottleneck() -> dict[str, Any]:
    """Chapter 1: accuracy against length on *reverse*, and whether a larger state cures it."""
    return {
        "96 units": per_seed(reverse_run, d_hidden=96),
        "192 units": per_seed(reverse_run, d_hidden=192),
        "96 units, twice the steps": per_seed(reverse_run, steps=1_200, d_hidden=96),
        "96 units, lengths 4 to 24": per_seed(reverse_run, longest=24, d_hidden=96),
    }


def layers() -> dict[str, Any]:
    """Chapter 1: one LSTM layer or two of about the same total size, on *dates*."""
    return {
        "one layer of 96": per_seed(dates_run, epochs=4, d_hidden=96),
        "two layers of 60": per_seed(dates_run, epochs=4, d_hidden=60, num_layers=2),
    }


def attention_reverse() -> dict[str, Any]:
    """Chapter 2: accuracy against length on *reverse*, without and with attention.

    Once with chapter 1's lengths in training, 4 to 12, and once with all the lengths of the test.
    """
    return {
        f"{name}, lengths 4 to {longest}": per_seed(reverse_run, longest=longest, **options)
        for longest in (12, 24)
        for name, options in MODELS.items()
    }


def dates_run(seed: int, epochs: int = 2, **options: Any) -> dict[str, Any]:
    """Train and measure one model on *dates*."""
    model, _ = train_dates(seed, epochs=epochs, **options)
    result = {**score_dates(model), "parameters": count_parameters(model)}
    print(seed, epochs, options, result, flush=True)
    return result


def attention_dates() -> dict[str, Any]:
    """Chapter 2: *dates*, without and with attention; without it also for twice the steps."""
    results = {name: per_seed(dates_run, **options) for name, options in MODELS.items()}
    return {**results, "none, twice as long": per_seed(dates_run, epochs=4, **MODELS["none"])}


def scores_dates() -> dict[str, Any]:
    """Chapter 2: Luong's decoder on *dates* with every scoring function, and a local window.

    The sizes give all of them nearly the same number of parameters.
    """
    sizes = {"dot": 75, "scaled_dot": 75, "bilinear": 73, "additive": 71, "concat": 71}
    base = {"attention": "luong"}
    results = {
        name: per_seed(dates_run, **base, score=name, d_hidden=size) for name, size in sizes.items()
    }
    local = per_seed(dates_run, **base, score="dot", half_width=4, d_hidden=73)
    return {**results, "dot, window of ±4": local}


EXPERIMENTS = (bottleneck, layers, attention_reverse, attention_dates, scores_dates)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one experiment and store its result."""
    names = {experiment.__name__: experiment for experiment in EXPERIMENTS}
    parser = argparse.ArgumentParser(prog="python -m attend.experiments", description=__doc__)
    parser.add_argument("name", choices=names, help="which run to make again")
    name = parser.parse_args(arguments).name
    start, revision = time.perf_counter(), commit()
    data = names[name]()
    record = {
        "command": f"python -m attend.experiments {name}",
        "commit": revision,
        "seeds": SEEDS,
        "minutes": round((time.perf_counter() - start) / 60, 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread, "
        f"Python {platform.python_version()}, PyTorch {torch.__version__.split('+')[0]}",
        "data": data,
    }
    path = Path(str(files("attend.results"))) / f"{name}.json"
    path.write_text(json.dumps(round_floats(record), indent=1) + "\n")
    print(f"wrote {path.name}")


def commit() -> str:
    """The commit this package was run from, or "unknown" outside a repository."""
    here = Path(__file__).parent
    run = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False
    )
    return run.stdout.strip() or "unknown"


def round_floats(value: Any) -> Any:
    """Round every float in nested lists and dicts to four places."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: round_floats(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [round_floats(item) for item in value]
    return value


if __name__ == "__main__":
    main()
