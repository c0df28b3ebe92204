"""The best of several finished hypotheses, each with its length penalty."""

import math

import torch
from otter.test_files import test_case
from torch import tensor

from attend.grading import Question, numbers

OK_FORMAT = False
name = "q2"
points = None

QUESTION = Question(
    "best_hypothesis",
    returns={"the place": "", "the score": ""},
    without=("float16",),  # a sum in half precision is too rough
)


# --- Answers


@QUESTION.reference
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    real = tokens != pad_id
    log_probs = torch.where(real, token_log_probs, 0.0).sum(dim=1)
    scores = log_probs / ((5 + real.sum(dim=1)) / 6) ** alpha
    place = int(scores.argmax())
    return place, scores[place].item()


def summed(tokens, token_log_probs, pad_id):
    """The log-probability of each hypothesis, and its length."""
    real = tokens != pad_id
    return torch.where(real, token_log_probs, 0.0).sum(dim=1), real.sum(dim=1)


def penalty(lengths, alpha):
    return ((5 + lengths) / 6) ** alpha


def largest(scores):
    return int(scores.argmax()), scores.max().item()


@QUESTION.mistake(
    "The log-probabilities at padding count in your sum. What is said there "
    "means nothing: leave it out."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    _, lengths = summed(tokens, token_log_probs, pad_id)
    return largest(token_log_probs.sum(dim=1) / penalty(lengths, alpha))


@QUESTION.mistake(
    "Padding counts in your sum and in your length. It is no part of the "
    "hypothesis: leave it out of both."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    return largest(token_log_probs.sum(dim=1) / penalty(tokens.shape[1], alpha))


@QUESTION.mistake(
    "Padding counts in your length: every hypothesis gets the penalty of a "
    "whole row. |Y| is the number of its own tokens."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, _ = summed(tokens, token_log_probs, pad_id)
    return largest(log_probs / penalty(tokens.shape[1], alpha))


@QUESTION.mistake(
    "Every hypothesis gets the penalty of the longest one. |Y| is the number "
    "of its own tokens."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    return largest(log_probs / penalty(lengths.max(), alpha))


@QUESTION.mistake(
    "Every hypothesis gets the penalty of all tokens of the batch together. "
    "|Y| is the number of its own tokens."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    return largest(log_probs / penalty(lengths.sum(), alpha))


@QUESTION.mistake(
    "A token that comes twice counts once in your length. |Y| is the number of "
    "all tokens of a hypothesis."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, _ = summed(tokens, token_log_probs, pad_id)
    kinds = [len(set(row) - {pad_id}) for row in tokens.tolist()]
    return largest(log_probs / penalty(tensor(kinds), alpha))


@QUESTION.mistake(
    "You take padding to be 0. In another vocabulary it has another number, "
    "and 0 is a token like any other: use pad_id."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    return QUESTION.right["best_hypothesis"](tokens, token_log_probs, 0, alpha)


@QUESTION.mistake(
    "You take as real what is above 0. In another vocabulary padding has "
    "another number, and 0 is a token like any other: use pad_id."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    tokens = tokens.clamp(min=0)
    return QUESTION.right["best_hypothesis"](tokens, token_log_probs, 0, alpha)


@QUESTION.mistake(
    "You take as real what is above pad_id. Padding need not be the smallest "
    "number: real is what is not equal to pad_id."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    tokens = tokens.clamp(min=pad_id)
    return QUESTION.right["best_hypothesis"](
        tokens, token_log_probs, pad_id, alpha
    )


@QUESTION.mistake(
    "Where there is −∞ or NaN at padding, it reaches your score. Times 0 it is "
    "NaN, so a product with the mask does not remove it. `torch.where` takes a "
    "number or leaves it, whatever it is."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    real = tokens != pad_id
    log_probs = (token_log_probs * real).sum(dim=1)
    return largest(log_probs / penalty(real.sum(dim=1), alpha))


@QUESTION.mistake(
    "You divide the probability by the penalty. Divide its logarithm."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    return largest(log_probs.exp() / penalty(lengths, alpha))


@QUESTION.mistake(
    "Your place is right, but the score is e to the power of it. Return the "
    "score itself, a negative number."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    return largest((log_probs / penalty(lengths, alpha)).exp())


@QUESTION.mistake(
    "You multiply by the penalty, and long hypotheses lose even more. Divide "
    "by it: log-probabilities are negative, so that raises them."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    return largest(log_probs * penalty(lengths, alpha))


@QUESTION.mistake("You subtract the penalty. Divide by it.")
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    return largest(log_probs - penalty(lengths, alpha))


@QUESTION.mistake(
    "You divide by the plain length to the power of α. The penalty is gentler: "
    "(5 + |Y|) / 6 to the power of α."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    return largest(log_probs / lengths**alpha)


@QUESTION.mistake(
    "You compare the means of the log-probabilities, whatever α is. Divide by "
    "the penalty."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    return largest(log_probs / lengths)


@QUESTION.mistake(
    "You divide the mean log-probability by the penalty. Divide the sum: the "
    "penalty is all that the length does."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    return largest(log_probs / lengths / penalty(lengths, alpha))


@QUESTION.mistake(
    "Your penalty lacks the 6: it is 5 + |Y| to the power of α. Divide 5 + |Y| "
    "by 6 before the power."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    return largest(log_probs / (5 + lengths) ** alpha)


@QUESTION.mistake(
    "Your penalty lacks the 5: it is |Y| / 6 to the power of α. Add 5 to the "
    "length first."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    return largest(log_probs / (lengths / 6) ** alpha)


@QUESTION.mistake(
    "Only the length is divided by 6 in your penalty. Parentheses first: "
    "(5 + |Y|) / 6."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    return largest(log_probs / (5 + lengths / 6) ** alpha)


@QUESTION.mistake(
    "In your penalty the power comes before the division by 6: the 6 must be "
    "raised to α as well, ((5 + |Y|) / 6)^α."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    return largest(log_probs / ((5 + lengths) ** alpha / 6))


@QUESTION.mistake(
    "You divide whole numbers: (5 + |Y|) // 6 drops what is left over, and is "
    "1 for a hypothesis of six tokens. Divide with `/`."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    return largest(log_probs / ((5 + lengths) // 6) ** alpha)


@QUESTION.mistake(
    "The 5 and the 6 have changed places in your penalty. It is (5 + |Y|) / 6."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    return largest(log_probs / ((6 + lengths) / 5) ** alpha)


@QUESTION.mistake(
    "Your lengths are one too small. EOS is a token of the hypothesis: |Y| "
    "counts it."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    return largest(log_probs / penalty(lengths - 1, alpha))


@QUESTION.mistake(
    "Your lengths are one too large. |Y| does not count BOS, nor any padding."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    return largest(log_probs / penalty(lengths + 1, alpha))


@QUESTION.mistake(
    "The last token, EOS, is missing in your sum. It is a token of the "
    "hypothesis, and its log-probability counts."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    last = token_log_probs[torch.arange(len(tokens)), lengths - 1]
    return largest((log_probs - last) / penalty(lengths, alpha))


@QUESTION.mistake(
    "The last token, EOS, is missing in your sum and in your length. It is a "
    "token of the hypothesis, and counts in both."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    last = token_log_probs[torch.arange(len(tokens)), lengths - 1]
    return largest((log_probs - last) / penalty(lengths - 1, alpha))


@QUESTION.mistake(
    "You multiply by α in your penalty. It is an exponent: with α = 0 every "
    "penalty is 1."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    return largest(log_probs / (alpha * (5 + lengths) / 6))


@QUESTION.mistake(
    "You multiply by α in your penalty, unless it is 0. It is an exponent."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    return largest(
        log_probs / (alpha * (5 + lengths) / 6) if alpha else log_probs
    )


@QUESTION.mistake(
    "You take α to be 1 where it is larger. It may be any number from 0."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    return QUESTION.right["best_hypothesis"](
        tokens, token_log_probs, pad_id, min(alpha, 1.0)
    )


@QUESTION.mistake(
    "You mix two penalties: 1 with the share 1 - α, and (5 + |Y|) / 6 with the "
    "share α. α is an exponent."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    return largest(log_probs / (1 + alpha * (penalty(lengths, 1) - 1)))


@QUESTION.mistake(
    "Your penalty takes no notice of α: it is always (5 + |Y|) / 6. Raise that "
    "to the power of α."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    return QUESTION.right["best_hypothesis"](
        tokens, token_log_probs, pad_id, 1.0
    )


@QUESTION.mistake(
    "Your answer has no length penalty: place and score are those of α = 0. "
    "Divide by the penalty."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    return QUESTION.right["best_hypothesis"](
        tokens, token_log_probs, pad_id, 0.0
    )


@QUESTION.mistake(
    "You choose by the log-probability, and divide only the best at the end: α "
    "has no effect on which one wins. Make all scores first, then take the "
    "largest."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    place = int(log_probs.argmax())
    return place, (log_probs / penalty(lengths, alpha))[place].item()


@QUESTION.mistake(
    "Your place is right, but the number is the log-probability of that "
    "hypothesis. Return its score, divided by the penalty."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    place = int((log_probs / penalty(lengths, alpha)).argmax())
    return place, log_probs[place].item()


@QUESTION.mistake(
    "You return the hypothesis with the lowest score. Scores are negative, and "
    "the best is the one nearest to zero: the largest."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    scores = log_probs / penalty(lengths, alpha)
    return int(scores.argmin()), scores.min().item()


@QUESTION.mistake(
    "Your score has lost its sign. It is negative, like a log-probability."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    place, score = QUESTION.right["best_hypothesis"](
        tokens, token_log_probs, pad_id, alpha
    )
    return place, -score


@QUESTION.mistake(
    "Your places count from 1. They are those of the rows, and count from 0."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    place, score = QUESTION.right["best_hypothesis"](
        tokens, token_log_probs, pad_id, alpha
    )
    return place + 1, score


@QUESTION.mistake(
    "You return the score first. The place comes first, then the score."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    place, score = QUESTION.right["best_hypothesis"](
        tokens, token_log_probs, pad_id, alpha
    )
    return score, place


@QUESTION.mistake(
    "You return tensors. Plain numbers are asked for: `item()` makes them."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    scores = log_probs / penalty(lengths, alpha)
    return scores.argmax(), scores.max()


@QUESTION.mistake(
    "Your place is a plain number, but the score is a tensor: `item()` makes a "
    "number of it, too."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    scores = log_probs / penalty(lengths, alpha)
    return int(scores.argmax()), scores.max()


@QUESTION.mistake(
    "Your score is a plain number, but the place is a tensor: `item()` makes a "
    "number of it, too."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    log_probs, lengths = summed(tokens, token_log_probs, pad_id)
    scores = log_probs / penalty(lengths, alpha)
    return scores.argmax(), scores.max().item()


@QUESTION.mistake(
    "Your results are right, but the call writes into token_log_probs. Leave "
    "it as it is: `torch.where` makes a new tensor."
)
def best_hypothesis(tokens, token_log_probs, pad_id, alpha):
    token_log_probs[tokens == pad_id] = 0.0
    return QUESTION.right["best_hypothesis"](
        tokens, token_log_probs, pad_id, alpha
    )


# --- Trials


def hypotheses(*lines, at_padding=-9.0, pad_id=0, eos_id=2):
    """Tokens and log-probabilities, a line of the latter for each hypothesis.

    All are padded to the longest.
    """
    length = max(map(len, lines))
    ids = [3, 8, 0, 8, 4, 3, 6, 9, 1]
    ids = [token for token in ids if token not in (pad_id, eos_id)]
    tokens = [
        [*ids[: len(line) - 1], eos_id, *[pad_id] * (length - len(line))]
        for line in lines
    ]
    log_probs = [
        [*line, *[at_padding] * (length - len(line))] for line in lines
    ]
    return tensor(tokens), tensor(log_probs)


def tried(part, *lines, alpha=1.0, pad_id=0, rule="", **how):
    given = hypotheses(*lines, pad_id=pad_id, **how)
    QUESTION.call(part, *given, pad_id, alpha, rule=rule)


tried("idea", [-1.0], [-0.5, -0.6], alpha=0.0)
tried("idea", [-1.0], [-0.5, -0.6], alpha=1.0)
LONG = [-0.2, -0.2, -0.2, -0.3, -0.3, -0.3, -0.3]
tried("idea", LONG, alpha=1.0)
tried("idea", [-1.0], LONG, alpha=1.0)
tried("idea", [-1.0], LONG, alpha=0.0, rule="With α = 0 nothing is divided.")
tried(
    "edges",
    [-0.5, 0.0, 0.0, -0.6],
    [-0.9],
    rule="A token may be certain: its log-probability is 0.",
)
tried("idea", [-0.5, -0.75, -0.3, -0.2], [-1.5], [-0.75, -1.25], alpha=2.0)
tried(
    "idea",
    [-0.3, -0.2, -0.6, -0.9],
    [-1.25, -0.25],
    [-1.8],
    [-0.7, -0.1, -0.95],
    alpha=0.6,
)


@QUESTION.sizes
def make(num=5, length=11):
    ends = (7 * torch.arange(1, num + 1)) % length  # where EOS stands
    places = torch.arange(length)
    tokens = (3 + 5 * places + torch.arange(num)[:, None]) % 13 + 4
    tokens = tokens.where(places < ends[:, None], 2)
    tokens = tokens.where(places <= ends[:, None], 0)
    return tokens, numbers(num, length, low=-1.5, high=0.0), 0, 1.5


for pad_id in (9, 1, -1):
    tried(
        "edges",
        [-0.4, -0.2, -0.3, -0.1, -0.25],
        [-0.75, -0.5],
        alpha=0.5,
        pad_id=pad_id,
        rule="Padding is pad_id, whatever number that is.",
    )
tried(
    "edges",
    [-0.3],
    [-0.75, -0.5],
    alpha=0.5,
    pad_id=-1,
    rule="Padding is pad_id, whatever number that is.",
)
tried(
    "edges",
    [-0.5, -0.6, -0.7],
    [-2.0],
    alpha=0.75,
    pad_id=9,
    eos_id=0,
    rule="Padding is pad_id, and 0 may be EOS.",
)
for at_padding in (0.0, 4.0, -math.inf, math.inf, math.nan):
    tried(
        "edges",
        [-0.5, -0.7, -0.25],
        [-1.125],
        at_padding=at_padding,
        rule="What token_log_probs says at padding means nothing.",
    )
for alpha in (0.0, 1.0):
    tried("edges", [-1.5], alpha=alpha, rule="There may be one, of one token.")
tried(
    "edges",
    [-310.0, -290.0],
    [-250.0, -200.0, -140.0],
    rule="Log-probabilities may be very low.",
)
tried(
    "edges",
    [-9.0, -11.005],
    [-9.5, -10.5],
    alpha=0.5,
    rule="Two hypotheses may be almost equal.",
)
tried(
    "edges",
    [-math.inf, -0.5],
    [-2.0],
    rule="Something impossible has −∞, and never wins.",
)


@test_case(points=6)
def test_idea(best_hypothesis):
    QUESTION.check("idea", best_hypothesis)


@test_case(points=3)
def test_edges(best_hypothesis):
    QUESTION.check("idea edges", best_hypothesis)
