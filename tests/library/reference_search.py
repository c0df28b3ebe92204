"""Searches in loops over plain numbers, written from their docstrings.

They take one sentence at a time. Nothing is batched, padded or reordered, and
nothing stops early. A model is a function of what was written so far: it
returns the log-probability of every next token, and the attention weights on
the source's real tokens (none, for a model without attention).
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

Prefix = tuple[int, ...]
Model = Callable[[Prefix], tuple[list[float], list[float]]]


@dataclass(frozen=True)
class Goal:
    """What a sequence is ranked by, and which sequences there are.

    All go on from the prompt. It counts as a part of each, at no cost.
    """

    eos_id: int
    max_length: int
    min_length: int = 1
    length_penalty: float = 0.0
    coverage_penalty: float = 0.0
    prompt: Prefix = ()

    def lp(self, length: int) -> float:
        return ((5 + length) / 6) ** self.length_penalty

    def cp(self, covered: list[float]) -> float:
        """Score the source's tokens, a millionth where nobody looked."""
        return self.coverage_penalty * sum(
            math.log(min(max(c, 1e-6), 1)) for c in covered
        )


@dataclass(frozen=True)
class Found:
    """A sequence, its log-probability, score, and weights at each token."""

    tokens: Prefix
    log_prob: float
    score: float
    weights: list[list[float]]


def judge(model: Model, goal: Goal, tokens: Prefix) -> Found:
    """Go through a sequence token by token."""
    log_prob, weights = 0.0, []
    for place, token in enumerate(tokens):
        log_probs, looked = model(tokens[:place])
        if place >= len(goal.prompt):
            log_prob += log_probs[token]
        weights.append(looked)
    covered = [sum(column) for column in zip(*weights, strict=True)]
    return Found(
        tokens,
        log_prob,
        log_prob / goal.lp(len(tokens)) + goal.cp(covered),
        weights,
    )


def best(found: list[Found], number: int) -> list[Found]:
    return sorted(found, key=lambda one: one.score, reverse=True)[:number]


def beam_search(
    model: Model, goal: Goal, beam_size: int, num_best: int
) -> tuple[list[Found], int, int]:
    """Search to the very end.

    Returns:
        The best sequences, the first step after which stopping would have
        changed nothing for sure, and the first step at which a sequence ended
        (0 if none did).
    """
    live: dict[Prefix, float] = {goal.prompt: 0.0}
    finished: list[Found] = []
    stop, first = 0, 0
    for length in range(len(goal.prompt) + 1, goal.max_length + 1):
        totals = {
            (*prefix, token): total + log_prob
            for prefix, total in live.items()
            for token, log_prob in enumerate(model(prefix)[0])
            if log_prob > -math.inf
            and not (token == goal.eos_id and length < goal.min_length)
        }
        kept = sorted(totals, key=lambda prefix: totals[prefix], reverse=True)[
            :beam_size
        ]
        finished += [
            judge(model, goal, prefix)
            for prefix in kept
            if prefix[-1] == goal.eos_id
        ]
        live = {
            prefix: totals[prefix]
            for prefix in kept
            if prefix[-1] != goal.eos_id
        }
        if finished and not first:
            first = length
        # No token makes a sequence more likely, and no coverage adds more than
        # zero.
        hopes = [
            total / goal.lp(later)
            for total in live.values()
            for later in range(length + 1, goal.max_length + 1)
        ]
        last = [one.score for one in best(finished, num_best)][num_best - 1 :]
        if not stop and (not hopes or (last and max(hopes) <= last[0])):
            stop = length
    candidates = finished or [judge(model, goal, prefix) for prefix in live]
    return best(candidates, num_best), stop, first


def brute_force(model: Model, goal: Goal, vocab_size: int) -> list[Found]:
    """Try every sequence there is; return those that end.

    Where none can, return those cut off.
    """
    ends: list[Found] = []
    cut: list[Found] = []
    others = [token for token in range(vocab_size) if token != goal.eos_id]
    given = len(goal.prompt)
    for length in range(given + 1, goal.max_length + 1):
        for more in itertools.product(others, repeat=length - 1 - given):
            beginning = (*goal.prompt, *more)
            if length >= goal.min_length:
                ends.append(judge(model, goal, (*beginning, goal.eos_id)))
            if length == goal.max_length:
                cut += [
                    judge(model, goal, (*beginning, token)) for token in others
                ]
    possible = [one for one in ends if one.log_prob > -math.inf]
    possible = possible or [one for one in cut if one.log_prob > -math.inf]
    return best(possible, len(possible))


def head(
    probabilities: list[float],
    temperature: float,
    top_k: int | None,
    top_p: float | None,
) -> list[float]:
    """Sharpen a distribution, and keep only its head.

    The head is the `top_k` most likely tokens, then of these the nucleus.
    """
    powers = [p ** (1 / temperature) for p in probabilities]
    ordered = sorted(
        range(len(powers)), key=lambda token: powers[token], reverse=True
    )[:top_k]
    if top_p is not None:
        total, reached, nucleus = (
            sum(powers[token] for token in ordered),
            0.0,
            [],
        )
        for token in ordered:
            if reached < top_p:
                nucleus.append(token)
            reached += powers[token] / total
        ordered = nucleus
    total = sum(powers[token] for token in ordered)
    return [
        power / total if t in ordered else 0.0 for t, power in enumerate(powers)
    ]


def distribution(
    model: Model,
    goal: Goal,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> dict[Prefix, float]:
    """Return the probability of drawing each sequence that can be drawn."""
    shares: dict[Prefix, float] = {}
    growing: dict[Prefix, float] = {goal.prompt: 1.0}
    while growing:
        prefix, share = growing.popitem()
        probabilities = [math.exp(log_prob) for log_prob in model(prefix)[0]]
        for token, p in enumerate(
            head(probabilities, temperature, top_k, top_p)
        ):
            ended = token == goal.eos_id or len(prefix) + 1 == goal.max_length
            if p:
                (shares if ended else growing)[(*prefix, token)] = share * p
    return shares


def pearson(
    counts: dict[Prefix, int], shares: dict[Prefix, float]
) -> tuple[float, int]:
    """Return Pearson's statistic of counts, and its degrees of freedom.

    The rare are one class.
    """
    draws = sum(counts.values())
    often = [
        (counts.get(key, 0), draws * p)
        for key, p in shares.items()
        if draws * p >= 5
    ]
    rest = (
        draws - sum(count for count, _ in often),
        draws - sum(number for _, number in often),
    )
    groups = [*often, rest] if rest[1] >= 5 else often
    return sum((count - number) ** 2 / number for count, number in groups), len(
        groups
    ) - 1
