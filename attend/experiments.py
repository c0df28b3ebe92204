"""The runs that do not fit into a chapter: `python -m attend.experiments NAME`.

Each one writes `results/NAME.json` with the command, the commit, the seeds, the time and the
machine. Chapters read these files with `attend.results.load` and draw them.
"""

import argparse
import copy
import dataclasses
import json
import math
import os
import platform
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attend.data import Batch, Vocabulary, batches, make_batch, pad
from attend.data.batching import Pair
from attend.data.dates import DatePair, date_alignment, dates
from attend.data.dialogue import detokenize, dialogue, tokenize
from attend.data.reverse import LETTERS, cut_short, reverse, reverse_alignment
from attend.decoding import (
    Decoded,
    NBest,
    beam_search,
    exact_search,
    greedy,
    repeat,
    sequence_log_probs,
)
from attend.metrics import alignment_accuracy, distinct_n, exact_match, fit_length, token_accuracy
from attend.recipes import (
    ChatbotConfig,
    Report,
    Run,
    SearchConfig,
    Split,
    TokenPair,
    load_run,
    respond,
    train,
)
from attend.rnn import Seq2Seq, Seq2SeqConfig
from attend.training import clip_by_global_norm, fit, reproducible

SEEDS = (0, 1, 2)
LENGTHS = (4, 8, 12, 16, 20, 24)

# The three models of chapter 2, of nearly equal size: those with attention are the smaller ones.
MODELS: dict[str, dict[str, Any]] = {
    "none": {"d_hidden": 96},
    "bahdanau": {"d_hidden": 70, "attention": "bahdanau", "score": "additive"},
    "luong": {"d_hidden": 75, "attention": "luong", "score": "dot"},
}


def encode_pairs(vocab: Vocabulary, pairs: Sequence[tuple[str, str]]) -> list[Pair]:
    """Turn pairs of strings into pairs of ids."""
    return [(vocab.encode(source), vocab.encode(target)) for source, target in pairs]


def reverse_batch(vocab: Vocabulary, pairs: Sequence[tuple[str, str]]) -> Batch:
    """Turn pairs of strings into one batch."""
    return make_batch(encode_pairs(vocab, pairs))


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
    cut: float = 0.0,
    **options: Any,
) -> tuple[Seq2Seq, list[float]]:
    """Train on fresh strings of 4 to `longest` letters, a share of the targets cut short.

    Options go to `Seq2SeqConfig`.
    """
    reproducible(seed)
    vocab = Vocabulary(LETTERS)
    pairs = cut_short(reverse(steps * batch_size, 4, longest, seed=seed), cut, seed)
    encoded = encode_pairs(vocab, pairs)
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


BEAM_SIZES = (1, 2, 4, 8, 16)
SPECIAL = {
    "bos_id": Vocabulary.bos_id,
    "eos_id": Vocabulary.eos_id,
    "pad_id": Vocabulary.pad_id,
}


@torch.no_grad()
def beam_scores(model: Seq2Seq, length: int, num: int = 256, **options: Any) -> dict[str, Any]:
    """Search test strings of one length with every beam size; options go to `beam_search`.

    A search error is a string for which an exact search finds something more likely.
    """
    batch = reverse_batch(Vocabulary(LETTERS), reverse(num, length, length, "test"))
    state = model.encode(batch.src, batch.src_lengths)
    limits: dict[str, Any] = {**SPECIAL, "max_length": length + 4}
    widest = beam_search(model.step, state, **limits, beam_size=max(BEAM_SIZES)).first()
    exact = exact_search(model.step, state, **limits, start=widest, max_prefixes=200_000)
    target = batch.tgt[:, 1:]
    scores: dict[str, Any] = {
        "accuracy": [],
        "exact_match": [],
        "length": [],
        "log_prob": [],
        "search_errors": [],
    }
    for k in BEAM_SIZES:
        found = beam_search(model.step, state, **limits, beam_size=k, **options).first()
        scores["accuracy"].append(token_accuracy(found.tokens, target))
        scores["exact_match"].append(exact_match(found.tokens, target))
        scores["length"].append((found.lengths - 1).double().mean().item())
        scores["log_prob"].append(found.log_probs.double().mean().item())
        missed = exact.log_probs - found.log_probs > 1e-4
        scores["search_errors"].append(missed.double().mean().item())
    best = {
        "accuracy": token_accuracy(exact.tokens, target),
        "length": (exact.lengths - 1).double().mean().item(),
        "log_prob": exact.log_probs.double().mean().item(),
    }
    return {**scores, "exact_search": best}


def beam_run(seed: int, length: int, **options: Any) -> dict[str, Any]:
    """Train one model and search with it: plainly, and with the penalties it can have."""
    model, _ = train_reverse(seed, **options)
    ways: dict[str, dict[str, Any]] = {"plain": {}, "length penalty 1": {"length_penalty": 1.0}}
    if model.config.attention != "none":
        ways["coverage penalty 0.2"] = {"coverage_penalty": 0.2}
    result: dict[str, Any] = {
        way: beam_scores(model, length, **penalties) for way, penalties in ways.items()
    }
    print(seed, length, options, result, flush=True)
    return result


def beam_curse() -> dict[str, Any]:
    """Chapter 3: a wider beam on *reverse*, with clean training data and with targets cut short."""
    plain = {"d_hidden": 96}
    luong = MODELS["luong"]
    return {
        "clean": per_seed(beam_run, length=12, **plain),
        "a tenth cut short": per_seed(beam_run, length=12, cut=0.1, **plain),
        "attention, clean": per_seed(beam_run, length=16, **luong),
        "attention, a tenth cut short": per_seed(beam_run, length=16, cut=0.1, **luong),
    }


def pairs_for_tuning(seed: int, steps: int, batch_size: int) -> list[Pair]:
    """Fresh training pairs, a tenth of them cut short, for models that are trained already."""
    pairs = cut_short(reverse(steps * batch_size, 4, 12, seed=seed + 100), 0.1, seed + 100)
    return encode_pairs(Vocabulary(LETTERS), pairs)


def risk(found: NBest, tgt: Tensor) -> Tensor:
    """One minus the share of places that agree, `(batch, best)`; `tgt` is `(batch, tgt)`."""
    length = max(found.tokens.shape[2], tgt.shape[1])
    pad_id = Vocabulary.pad_id
    tokens = fit_length(found.tokens, length, pad_id)
    target = fit_length(tgt, length, pad_id)[:, None]
    real = (tokens != pad_id) | (target != pad_id)
    return 1 - ((tokens == target) & real).sum(dim=-1) / real.sum(dim=-1)


def minimum_risk(
    model: Seq2Seq, seed: int, steps: int = 200, lr: float = 1e-3, beam_size: int = 8
) -> None:
    """Go on training with a beam in the loop: lower the expected risk over its n-best list.

    Source: Shen et al. 2016, equation 10, who draw their candidates at random and flatten their
    probabilities; here the candidates are a beam's, their probabilities as they are.
    """
    torch.manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for src, src_lengths, tgt, _ in batches(pairs_for_tuning(seed, steps, 64), 64):
        model.eval()
        with torch.no_grad():
            start = model.encode(src, src_lengths)
            options: dict[str, Any] = {**SPECIAL, "beam_size": beam_size, "num_best": beam_size}
            found = beam_search(model.step, start, max_length=16, **options)
        model.train()
        rows = found.tokens.flatten(0, 1)  # (batch · best, length)
        bos = torch.full_like(rows[:, :1], Vocabulary.bos_id)
        state = repeat(model.encode(src, src_lengths), beam_size)
        logits, _ = model.decode(torch.cat([bos, rows[:, :-1]], dim=1), state)
        each = logits.log_softmax(dim=-1).gather(-1, rows[:, :, None]).squeeze(-1)
        real = torch.arange(rows.shape[1]) < found.lengths.flatten()[:, None]
        log_probs = each.where(real, 0.0).sum(dim=1).view(found.lengths.shape)
        share = log_probs.masked_fill(found.lengths == 0, -torch.inf).softmax(dim=1)
        loss = (share * risk(found, tgt[:, 1:])).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        clip_by_global_norm(model.parameters(), 1.0)
        optimizer.step()
    model.eval()


def tuning_run(seed: int) -> dict[str, Any]:
    """Train one model on data cut short, then go on in three ways, from the same weights."""
    model, _ = train_reverse(seed, cut=0.1, d_hidden=96)
    result = {"before": beam_scores(model, 12)}
    for lr in (1e-3, 3e-3):
        control = copy.deepcopy(model)
        torch.manual_seed(seed)
        fit(control, batches(pairs_for_tuning(seed, 200, 64), 64), lr=lr)
        result[f"cross-entropy, lr {lr}"] = beam_scores(control, 12)
    minimum_risk(model, seed)
    result["minimum risk, lr 0.001"] = beam_scores(model, 12)
    print(seed, result, flush=True)
    return result


def beam_training() -> dict[str, Any]:
    """Chapter 3: 200 more steps with a beam in the training loop, or without (the control)."""
    return per_seed(tuning_run)


# The chatbots of chapter 4, of nearly equal size: those with attention have the smaller state.
CHATBOTS: dict[str, dict[str, Any]] = {
    "none": {"hidden_size": 168, "attention": "none"},
    "bahdanau": {"hidden_size": 128, "attention": "bahdanau", "score": "additive"},
    "luong": {"hidden_size": 137, "attention": "luong", "score": "dot"},
}


class Backwards(ChatbotConfig):
    """The recipe of the chatbot with the pairs turned round, from replies to prompts."""

    def read(self, split: Split) -> list[TokenPair]:
        """The words of every reply and prompt of a split."""
        return [(reply, prompt) for prompt, reply in super().read(split)]


# Ways to reply: a name, and what `respond` is told.
REPLIES = {
    "greedy": SearchConfig(method="greedy"),
    "beam of 5": SearchConfig(),
    "beam of 20": SearchConfig(beam_size=20),
    "beam of 20, length penalty 1": SearchConfig(beam_size=20, length_penalty=1.0),
    "sampling": SearchConfig(method="sample"),
    "sampling, nucleus 0.9, temperature 0.7": SearchConfig(
        method="sample", temperature=0.7, top_p=0.9
    ),
    "mutual information": SearchConfig(method="mmi"),
}


def train_chatbot(config: ChatbotConfig, **options: Any) -> tuple[Run, Report]:
    """Train a chatbot in a folder that is then forgotten."""
    with tempfile.TemporaryDirectory(prefix="attend-") as folder:
        config = dataclasses.replace(config, out=Path(folder) / "run", **options)
        report = train(config)
        return load_run(config.out), report


def reply_measures(replies: Sequence[Sequence[str]], traced: float) -> dict[str, float]:
    """How varied replies to different prompts are, and how well a judge finds their prompts."""
    commonest = Counter(map(tuple, replies)).most_common(1)[0][1]
    return {
        "distinct_1": distinct_n(replies, 1),
        "distinct_2": distinct_n(replies, 2),
        "commonest": commonest / len(replies),
        "length": sum(map(len, replies)) / len(replies),
        "traced": traced,
    }


@torch.no_grad()
def traced(judge: Run, prompts: Sequence[Sequence[int]], replies: Sequence[Sequence[int]]) -> float:
    """How well a judge finds the prompt that a reply was given to among all prompts.

    The judge is a model that was trained to write the prompt for a reply. It orders the prompts by
    how much their probability rises by knowing the reply: their mutual information.

    Args:
        judge: the model, trained backwards.
        prompts: different prompts, as ids.
        replies: a reply to each, as ids, none of them empty.

    Returns:
        The share of the other prompts that it puts below the right one: 1 if it always finds the
        right one, 0.5 if it guesses.
    """
    tokens, lengths = pad([[*prompt, Vocabulary.eos_id] for prompt in prompts])
    num = len(prompts)
    table = torch.empty(num, num)  # (reply, prompt)
    for row, reply in enumerate(replies):
        state = repeat(judge.model.encode(*pad([reply])), num)
        table[row] = sequence_log_probs(judge.model.step, state, tokens, lengths, Vocabulary.bos_id)
    scores = table - table.logsumexp(dim=0)
    right = scores.diagonal()[:, None]
    below = (scores < right).double() + 0.5 * (scores == right).double()  # a tie is a guess
    return ((below.sum(dim=1) - 0.5) / (num - 1)).mean().item()


def chat_run(seed: int) -> dict[str, Any]:
    """Train a chatbot and a judge; measure the replies to all test prompts in every way."""
    run, report = train_chatbot(ChatbotConfig(), seed=seed)
    judge, _ = train_chatbot(Backwards(), seed=seed)
    exchanges = {exchange.prompt: exchange.reply for exchange in dialogue("test")}
    prompts = list(exchanges)
    said = {"people": [tokenize(reply) for reply in exchanges.values()]}
    for name, search in REPLIES.items():
        said[name] = [found[0].tokens for found in respond(run, prompts, search)]
    asked = [judge.tgt_vocab.encode(tokenize(prompt)) for prompt in prompts]
    result: dict[str, Any] = {"perplexity": report.test["perplexity"], "prompts": len(prompts)}
    for name, replies in said.items():
        ids = [judge.src_vocab.encode(reply) or [Vocabulary.eos_id] for reply in replies]
        result[name] = reply_measures(replies, traced(judge, asked, ids))
    result["transcript"] = {
        prompt: {name: detokenize(replies[i]) for name, replies in said.items()}
        for i, prompt in enumerate(prompts)
    }
    print(seed, {k: v for k, v in result.items() if k != "transcript"}, flush=True)
    return result


def chatbot() -> dict[str, Any]:
    """Chapter 4: replies to all test prompts, looked for in different ways."""
    return per_seed(chat_run)


def perplexity_run(seed: int, **options: Any) -> dict[str, Any]:
    """Train one chatbot and report its perplexity."""
    run, report = train_chatbot(ChatbotConfig(), seed=seed, **options)
    valid = [math.exp(epoch.valid_loss) for epoch in report.history]
    result = {
        "perplexity": report.test["perplexity"],
        "valid": valid,
        "train": [math.exp(epoch.train_loss) for epoch in report.history],
        "best_epoch": report.best_epoch,
        "parameters": count_parameters(run.model),
    }
    print(seed, options, result, flush=True)
    return result


def chatbot_attention() -> dict[str, Any]:
    """Chapter 4: does small talk need attention? Three models of nearly equal size."""
    return {name: per_seed(perplexity_run, **options) for name, options in CHATBOTS.items()}


def chatbot_public() -> dict[str, Any]:
    """Chapter 4: the same program on the ChatterBot corpus, by one flag."""
    return per_seed(perplexity_run, data="chatterbot")


EXPERIMENTS = (
    bottleneck,
    layers,
    attention_reverse,
    attention_dates,
    scores_dates,
    beam_curse,
    beam_training,
    chatbot,
    chatbot_attention,
    chatbot_public,
)


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
