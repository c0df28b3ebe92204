"""The long runs of chapter 3."""

import copy
from typing import Any

import torch
from torch import Tensor

from attend.data import Vocabulary, batches
from attend.data.batching import Pair
from attend.data.reverse import LETTERS, cut_short, reverse
from attend.decoding import NBest, beam_search, exact_search, repeat
from attend.experiments.attention import MODELS
from attend.experiments.runs import (
    encode_pairs,
    per_seed,
    reverse_batch,
    train_reverse,
)
from attend.metrics import exact_match, fit_length, token_accuracy
from attend.rnn import Seq2Seq
from attend.training import clip_by_global_norm, fit

BEAM_SIZES = (1, 2, 4, 8, 16)
IDS: dict[str, Any] = {"eos_id": Vocabulary.eos_id, "pad_id": Vocabulary.pad_id}


@torch.no_grad()
def beam_scores(
    model: Seq2Seq, length: int, num: int = 256, **options: Any
) -> dict[str, Any]:
    """Search test strings of one length with every beam size.

    A search error is a string for which an exact search finds something more
    likely. Options go to `beam_search`.
    """
    pairs = reverse(num, length, length, "test")
    batch = reverse_batch(Vocabulary(LETTERS), pairs)
    state = model.encode(batch.src, batch.src_lengths)
    given: dict[str, Any] = {
        "step": model.step,
        "state": state,
        "first": batch.first,
        **IDS,
        "max_length": length + 4,
    }
    widest = beam_search(**given, beam_size=max(BEAM_SIZES)).first()
    exact = exact_search(**given, start=widest, max_prefixes=200_000)
    scores: dict[str, Any] = {
        "accuracy": [],
        "exact_match": [],
        "length": [],
        "log_prob": [],
        "search_errors": [],
    }
    for k in BEAM_SIZES:
        found = beam_search(**given, beam_size=k, **options).first()
        target = batch.tgt_out
        scores["accuracy"].append(token_accuracy(found.tokens, target))
        scores["exact_match"].append(exact_match(found.tokens, target))
        scores["length"].append((found.lengths - 1).double().mean().item())
        scores["log_prob"].append(found.log_probs.double().mean().item())
        missed = exact.log_probs - found.log_probs > 1e-4
        scores["search_errors"].append(missed.double().mean().item())
    best = {
        "accuracy": token_accuracy(exact.tokens, batch.tgt_out),
        "length": (exact.lengths - 1).double().mean().item(),
        "log_prob": exact.log_probs.double().mean().item(),
    }
    return {**scores, "exact_search": best}


def beam_run(seed: int, length: int, **options: Any) -> dict[str, Any]:
    """Train one model; search with it plainly, and with penalties."""
    model, _ = train_reverse(seed, **options)
    ways: dict[str, dict[str, Any]] = {
        "plain": {},
        "length penalty 1": {"length_penalty": 1.0},
    }
    if model.config.attention != "none":
        ways["coverage penalty 0.2"] = {"coverage_penalty": 0.2}
    result: dict[str, Any] = {
        way: beam_scores(model, length, **penalties)
        for way, penalties in ways.items()
    }
    print(seed, length, options, result, flush=True)
    return result


def beam_curse() -> dict[str, Any]:
    """Chapter 3: a wider beam on *reverse*.

    With clean training data, and with targets cut short.
    """
    plain, luong = {"d_hidden": 96}, MODELS["luong"]
    ways: dict[str, dict[str, Any]] = {
        "clean": {"length": 12, **plain},
        "a tenth cut short": {"length": 12, "cut": 0.1, **plain},
        "attention, clean": {"length": 16, **luong},
        "attention, a tenth cut short": {"length": 16, "cut": 0.1, **luong},
    }
    return {name: per_seed(beam_run, **way) for name, way in ways.items()}


def pairs_for_tuning(seed: int, steps: int, batch_size: int) -> list[Pair]:
    """Fresh training pairs for models that are trained already.

    A tenth of them is cut short.
    """
    pairs = reverse(steps * batch_size, 4, 12, seed=seed + 100)
    cut = cut_short(pairs, 0.1, seed + 100)
    return encode_pairs(Vocabulary(LETTERS), cut)


def risk(found: NBest, tgt: Tensor) -> Tensor:
    """One minus the share of places that agree, `(batch, best)`.

    `tgt` is `(batch, tgt)`.
    """
    length = max(found.tokens.shape[2], tgt.shape[1])
    pad_id = Vocabulary.pad_id
    tokens = fit_length(found.tokens, length, pad_id)
    target = fit_length(tgt, length, pad_id)[:, None]
    real = (tokens != pad_id) | (target != pad_id)
    return 1 - ((tokens == target) & real).sum(dim=-1) / real.sum(dim=-1)


def minimum_risk(
    model: Seq2Seq,
    seed: int,
    steps: int = 200,
    lr: float = 1e-3,
    beam_size: int = 8,
) -> None:
    """Go on training with a beam in the loop.

    Each step lowers the expected risk over its n-best list.

    Source: Shen et al. 2016, equation 10, who draw their candidates at random
    and flatten their probabilities; here the candidates are a beam's, their
    probabilities as they are.
    """
    torch.manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    limits: dict[str, Any] = {**IDS, "max_length": 16}
    limits |= {"beam_size": beam_size, "num_best": beam_size}
    for batch in batches(pairs_for_tuning(seed, steps, 64), 64):
        model.eval()
        with torch.no_grad():
            start = model.encode(batch.src, batch.src_lengths)
            found = beam_search(model.step, start, batch.first, **limits)
        model.train()
        rows = found.tokens.flatten(0, 1)  # (batch · best, length)
        bos = torch.full_like(rows[:, :1], Vocabulary.bos_id)
        tgt_in = torch.cat([bos, rows[:, :-1]], dim=1)
        state = repeat(model.encode(batch.src, batch.src_lengths), beam_size)
        logits, _ = model.decode(tgt_in, state)
        every = logits.log_softmax(dim=-1)
        each = every.gather(-1, rows[:, :, None]).squeeze(-1)
        real = torch.arange(rows.shape[1]) < found.lengths.flatten()[:, None]
        log_probs = each.where(real, 0.0).sum(dim=1).view(found.lengths.shape)
        log_probs = log_probs.masked_fill(found.lengths == 0, -torch.inf)
        share = log_probs.softmax(dim=1)
        loss = (share * risk(found, batch.tgt_out)).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        clip_by_global_norm(model.parameters(), 1.0)
        optimizer.step()
    model.eval()


def tuning_run(seed: int) -> dict[str, Any]:
    """Train one model on data cut short, then go on in three ways.

    Each way starts from the same weights.
    """
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
    """Chapter 3: 200 more steps with a beam in the loop, or without one.

    Those without are the control.
    """
    return per_seed(tuning_run)
