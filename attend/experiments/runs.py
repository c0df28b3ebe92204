"""Training and measuring on the tasks *reverse* and *dates*."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from attend.data import Batch, Vocabulary, batches, make_batch
from attend.data.batching import Pair
from attend.data.dates import DatePair, date_alignment, dates
from attend.data.reverse import LETTERS, cut_short, reverse, reverse_alignment
from attend.decoding import Decoded, greedy
from attend.metrics import alignment_accuracy, exact_match, token_accuracy
from attend.rnn import Seq2Seq, Seq2SeqConfig
from attend.training import fit, reproducible

SEEDS = (0, 1, 2)
LENGTHS = (4, 8, 12, 16, 20, 24)


def encode_pairs(
    vocab: Vocabulary, pairs: Sequence[tuple[str, str]]
) -> list[Pair]:
    """Turn pairs of strings into pairs of ids."""
    return [
        (vocab.encode(source), vocab.encode(target)) for source, target in pairs
    ]


def reverse_batch(vocab: Vocabulary, pairs: Sequence[tuple[str, str]]) -> Batch:
    """Turn pairs of strings into one batch."""
    return make_batch(encode_pairs(vocab, pairs))


def free_running(model: Seq2Seq, batch: Batch) -> Decoded:
    """Translate a batch greedily, the model hearing its own words only."""
    state = model.encode(batch.src, batch.src_lengths)
    ids = (Vocabulary.eos_id, Vocabulary.pad_id)
    longest = batch.tgt.shape[1] + 1
    return greedy(model.step, state, batch.first, *ids, longest)


@torch.no_grad()
def forced_weights(model: Seq2Seq, batch: Batch) -> Tensor:
    """The attention weights `(batch, tgt, src)` when the target is fed in."""
    state = model.encode(batch.src, batch.src_lengths)
    return model.decode(batch.tgt_in, state)[1]["weights"]


def train_reverse(
    seed: int,
    steps: int = 600,
    longest: int = 12,
    batch_size: int = 64,
    lr: float = 8e-3,
    cut: float = 0.0,
    **options: Any,
) -> tuple[Seq2Seq, list[float]]:
    """Train on fresh strings of 4 to `longest` letters.

    A share of the targets is cut short. Options go to `Seq2SeqConfig`.
    """
    reproducible(seed)
    vocab = Vocabulary(LETTERS)
    pairs = reverse(steps * batch_size, 4, longest, seed=seed)
    encoded = encode_pairs(vocab, cut_short(pairs, cut, seed))
    sizes = {"num_layers": 1, "dropout": 0.2, **options}
    model = Seq2Seq(Seq2SeqConfig(len(vocab), len(vocab), **sizes))
    return model, fit(model, batches(encoded, batch_size), lr=lr)


def length_curve(model: Seq2Seq, num: int = 256) -> list[float]:
    """Free-running token accuracy on `num` new strings of each length."""
    vocab = Vocabulary(LETTERS)
    accuracies = []
    for length in LENGTHS:
        batch = reverse_batch(vocab, reverse(num, length, length, "test"))
        tokens = free_running(model, batch).tokens
        accuracies.append(token_accuracy(tokens, batch.tgt_out))
    return accuracies


def reverse_alignment_accuracy(
    model: Seq2Seq, length: int = 12, num: int = 256
) -> float:
    """How often the largest weight falls on the letter to copy."""
    pairs = reverse(num, length, length, "test")
    batch = reverse_batch(Vocabulary(LETTERS), pairs)
    weights = forced_weights(model, batch)
    gold = reverse_alignment(batch.src_lengths, *weights.shape[1:])
    return alignment_accuracy(weights, gold)


@cache
def date_vocabularies() -> tuple[Vocabulary, Vocabulary]:
    """The characters of written dates and of ISO dates."""
    pairs = dates(8_000)
    return (
        Vocabulary(character for pair in pairs for character in pair.source),
        Vocabulary(character for pair in pairs for character in pair.target),
    )


def date_batch(
    src: Vocabulary, tgt: Vocabulary, pairs: Sequence[DatePair]
) -> Batch:
    """Turn written dates into one batch."""
    return make_batch(
        [(src.encode(pair.source), tgt.encode(pair.target)) for pair in pairs]
    )


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
    encoded = [
        (src.encode(pair.source), tgt.encode(pair.target))
        for pair in dates(num, seed=seed)
    ]
    sizes = {"num_layers": 1, "dropout": 0.0, **options}
    model = Seq2Seq(Seq2SeqConfig(len(src), len(tgt), **sizes))
    return model, fit(model, batches(encoded, batch_size, epochs), lr=lr)


def score_dates(model: Seq2Seq, num: int = 1_000) -> dict[str, float]:
    """Measure on test dates: forced and free-running, and the alignment."""
    pairs = dates(num, "test")
    batch = date_batch(*date_vocabularies(), pairs)
    target = batch.tgt_out
    with torch.no_grad():
        logits = model(batch.src, batch.src_lengths, batch.tgt_in)
    forced = logits.argmax(dim=-1).masked_fill(target == 0, 0)
    free = free_running(model, batch).tokens
    scores = {
        "forced_token_accuracy": token_accuracy(forced, target),
        "forced_exact_match": exact_match(forced, target),
        "token_accuracy": token_accuracy(free, target),
        "exact_match": exact_match(free, target),
    }
    if model.config.attention != "none":
        weights = forced_weights(model, batch)[:, :10]
        gold = date_alignment(pairs, weights.shape[2])
        scores["alignment_accuracy"] = alignment_accuracy(weights, gold)
    return scores


def count_parameters(model: torch.nn.Module) -> int:
    """The number of trained values."""
    return sum(parameter.numel() for parameter in model.parameters())


def per_seed(
    run: Callable[..., dict[str, Any]], **options: Any
) -> dict[str, list[Any]]:
    """Run once a seed and collect each measure in a list."""
    runs = [run(seed, **options) for seed in SEEDS]
    return {key: [measures[key] for measures in runs] for key in runs[0]}


def reverse_run(
    seed: int, steps: int = 600, longest: int = 12, **options: Any
) -> dict[str, Any]:
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


def dates_run(seed: int, epochs: int = 2, **options: Any) -> dict[str, Any]:
    """Train and measure one model on *dates*."""
    model, _ = train_dates(seed, epochs=epochs, **options)
    result = {**score_dates(model), "parameters": count_parameters(model)}
    print(seed, epochs, options, result, flush=True)
    return result
