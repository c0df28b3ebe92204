"""Re-ranking by mutual information: scores in nats, candidates best first."""

import math

import torch
from otter.test_files import test_case
from torch import tensor

from attend.grading import Question, numbers

OK_FORMAT = False
name = "q7"
points = None

# log-probabilities of −200 differ by less than half precision can hold: the
# text rules it out
QUESTION = Question(
    "rerank",
    returns={"the scores": "candidate", "the order": "candidate"},
    without=("float16",),
)


# --- Helpers of the answers


def log_mean(log_p_others):
    return log_p_others.logsumexp(dim=1) - math.log(log_p_others.shape[1])


def right_scores(log_p, log_p_others, penalty):
    return log_p - penalty * log_mean(log_p_others)


def ranked(scores):
    return scores, scores.argsort(descending=True)


# --- Answers


@QUESTION.reference
def rerank(log_p, log_p_others, penalty):
    log_n = math.log(log_p_others.shape[1])
    log_mean = log_p_others.logsumexp(dim=1) - log_n
    scores = log_p - penalty * log_mean
    return scores, scores.argsort(descending=True)


def others_by(estimate):
    """An answer that takes something else for log p(reply)."""

    def rerank(log_p, log_p_others, penalty):
        return ranked(log_p - penalty * estimate(log_p_others))

    return rerank


for message, estimate in [
    (
        "You took the mean of the logarithms. p(reply) is a mean of "
        "probabilities: the logarithm comes after it. A reply that fits one "
        "other prompt well is not rare.",
        lambda others: others.mean(dim=1),
    ),
    (
        "Your mean is a sum. `logsumexp` is the logarithm of a sum: subtract "
        "log N from it.",
        lambda others: others.logsumexp(dim=1),
    ),
    (
        "You divide a logarithm by N. To divide by N within a logarithm, "
        "subtract log N from it.",
        lambda others: others.logsumexp(dim=1) / others.shape[1],
    ),
    (
        "You add log N, where you must subtract it: the logarithm of a sum "
        "divided by N is log Σ minus log N.",
        lambda others: others.logsumexp(dim=1) + math.log(others.shape[1]),
    ),
    (
        "You subtract N, where it should be log N.",
        lambda others: others.logsumexp(dim=1) - others.shape[1],
    ),
    (
        "N is the number of other prompts, `log_p_others.shape[1]`. You take "
        "the number of candidates.",
        lambda others: others.logsumexp(dim=1) - math.log(len(others)),
    ),
    (
        "You take the number of all numbers in `log_p_others` for N. N is the "
        "number of other prompts, `log_p_others.shape[1]`.",
        lambda others: others.logsumexp(dim=1) - math.log(others.numel()),
    ),
    (
        "You take the number of other prompts to be 2. It is "
        "`log_p_others.shape[1]`.",
        lambda others: others.logsumexp(dim=1) - math.log(2),
    ),
    (
        "You subtract the mean probability itself, and not its logarithm.",
        lambda others: others.exp().mean(dim=1),
    ),
    (
        "Your scores are not finite where replies are long. You take the "
        "exponential of a log-probability: exp(−200) is 0 for a computer, and "
        "its logarithm −∞. `logsumexp` never leaves the logarithms.",
        lambda others: others.exp().mean(dim=1).log(),
    ),
    (
        "Your scores are not finite where replies are very long. You take the "
        "exponential of a log-probability: exp(−1000) is 0 in double "
        "precision, too. `logsumexp` never leaves the logarithms.",
        lambda others: others.double().exp().mean(dim=1).log().to(others.dtype),
    ),
    (
        "Of very unlikely replies your p(reply) is too large. Did you "
        "add a small number before the logarithm, or clamp? `logsumexp` needs "
        "neither.",
        lambda others: (others.exp().mean(dim=1) + 1e-12).log(),
    ),
    (
        "Of very unlikely replies your p(reply) is too large. Did you "
        "add a small number before the logarithm, or clamp? `logsumexp` needs "
        "neither.",
        lambda others: (others.exp().mean(dim=1) + 1e-10).log(),
    ),
    (
        "Of very unlikely replies your p(reply) is too large. Did you "
        "add a small number before the logarithm, or clamp? `logsumexp` needs "
        "neither.",
        lambda others: (others.exp().mean(dim=1) + 1e-8).log(),
    ),
    (
        "Of very unlikely replies your p(reply) is too large. Did you "
        "clamp the log-probabilities? `logsumexp` needs no help.",
        lambda others: log_mean(others.clamp(min=-100)),
    ),
    (
        "A long reply next to a short one has p(reply) = 0: you subtract the "
        "greatest number of all candidates before the exponential. Each "
        "candidate needs the greatest of its own row, as in `logsumexp`.",
        lambda others: (
            (others - others.max()).exp().mean(dim=1).log() + others.max()
        ),
    ),
    (
        "You take the largest of a candidate's probabilities after the other "
        "prompts, and not their mean.",
        lambda others: others.amax(dim=1),
    ),
    (
        "Only the first of the other prompts has a say. Take the mean over all "
        "of them.",
        lambda others: others[:, 0],
    ),
    (
        "All candidates get the same second term, a mean over the whole of "
        "`log_p_others`. Each has a row of its own: the mean goes along the "
        "row, dim=1.",
        lambda others: others.flatten().logsumexp(0) - math.log(others.numel()),
    ),
    (
        "Candidates and prompts are mixed up. Each candidate has a row of its "
        "own in `log_p_others`: the sum goes along the row, over the other "
        "prompts, dim=1.",
        lambda others: log_mean(others.T),
    ),
    (
        "The sum goes over the candidates, though N is right. Each candidate "
        "has a row of its own: the sum goes along the row, dim=1.",
        lambda others: others.logsumexp(dim=0) - math.log(others.shape[1]),
    ),
    (
        "With a single other prompt, or a single candidate, the sum goes over "
        "the wrong axis. Do you `squeeze`? A dimension of size 1 is lost then: "
        "leave both, and sum over dim=1.",
        lambda others: (
            others.squeeze().logsumexp(dim=-1) - math.log(others.shape[1])
        ),
    ),
    (
        "Your logarithms have base 2 in one place. log N is the natural one, "
        "like the others.",
        lambda others: others.logsumexp(dim=1) - math.log2(others.shape[1]),
    ),
]:
    QUESTION.mistake(message)(others_by(estimate))


@QUESTION.mistake(
    "The penalty stands before the wrong term: it multiplies log p(reply | "
    "prompt). It belongs to the second one."
)
def rerank(log_p, log_p_others, penalty):
    return ranked(penalty * log_p - log_mean(log_p_others))


@QUESTION.mistake(
    "The penalty multiplies both terms. It belongs to the second one only."
)
def rerank(log_p, log_p_others, penalty):
    return ranked(penalty * (log_p - log_mean(log_p_others)))


@QUESTION.mistake(
    "The terms are weighted with 1 − λ and λ. The first one has no weight: it "
    "counts in full."
)
def rerank(log_p, log_p_others, penalty):
    return ranked((1 - penalty) * log_p - penalty * log_mean(log_p_others))


@QUESTION.mistake("You do not use the penalty: your λ is always 1.")
def rerank(log_p, log_p_others, penalty):
    return ranked(log_p - log_mean(log_p_others))


@QUESTION.mistake(
    "Your scores are log p(reply | prompt) alone. Subtract the second term."
)
def rerank(log_p, log_p_others, penalty):
    return ranked(log_p.clone())


@QUESTION.mistake(
    "You add the second term, so a reply that is likely after any prompt gets "
    "more. It is subtracted."
)
def rerank(log_p, log_p_others, penalty):
    return ranked(log_p + penalty * log_mean(log_p_others))


@QUESTION.mistake(
    "Your scores have the wrong sign: the best reply gets the lowest one."
)
def rerank(log_p, log_p_others, penalty):
    scores = right_scores(log_p, log_p_others, penalty)
    return -scores, scores.argsort(descending=True)


@QUESTION.mistake(
    "The penalty is within the exponential: you sum p to the power λ. Multiply "
    "the whole logarithm by it at the end."
)
def rerank(log_p, log_p_others, penalty):
    return ranked(log_p - log_mean(penalty * log_p_others))


@QUESTION.mistake(
    "log N stands outside the bracket that the penalty multiplies, with a "
    "minus. It is part of the second term: λ · (logsumexp − log N)."
)
def rerank(log_p, log_p_others, penalty):
    log_n = math.log(log_p_others.shape[1])
    return ranked(log_p - penalty * log_p_others.logsumexp(dim=1) - log_n)


@QUESTION.mistake(
    "log N stands outside the bracket that the penalty multiplies. It is part "
    "of the second term: λ · (logsumexp − log N)."
)
def rerank(log_p, log_p_others, penalty):
    log_n = math.log(log_p_others.shape[1])
    return ranked(log_p - penalty * log_p_others.logsumexp(dim=1) + log_n)


@QUESTION.mistake(
    "Unless the penalty is 0, log N stands outside the bracket that it "
    "multiplies. It is part of the second term: λ · (logsumexp − log N)."
)
def rerank(log_p, log_p_others, penalty):
    log_n = math.log(log_p_others.shape[1]) if penalty else 0.0
    return ranked(log_p - penalty * log_p_others.logsumexp(dim=1) + log_n)


@QUESTION.mistake(
    "You count the prompt itself among the others. The estimate of p(reply) is "
    "a mean over the N other prompts."
)
def rerank(log_p, log_p_others, penalty):
    everything = torch.cat([log_p[:, None], log_p_others], dim=1)
    return ranked(log_p - penalty * log_mean(everything))


@QUESTION.mistake(
    "You return probabilities. The scores are logarithms, and are returned as "
    "they are."
)
def rerank(log_p, log_p_others, penalty):
    return ranked(right_scores(log_p, log_p_others, penalty).exp())


@QUESTION.mistake(
    "You normalise the scores over the candidates. Return them as the formula "
    "says."
)
def rerank(log_p, log_p_others, penalty):
    scores = right_scores(log_p, log_p_others, penalty)
    return ranked(scores.log_softmax(dim=0))


@QUESTION.mistake(
    "Your scores are a square: each candidate with each. `keepdim=True` leaves "
    "(candidate, 1), which is broadcast. Leave it out."
)
def rerank(log_p, log_p_others, penalty):
    return ranked(log_p - penalty * log_mean(log_p_others)[:, None])


@QUESTION.mistake(
    "You return the order alone. Return two tensors: the scores and the order."
)
def rerank(log_p, log_p_others, penalty):
    return ranked(right_scores(log_p, log_p_others, penalty))[1]


@QUESTION.mistake(
    "You return the scores alone. Return two tensors: the scores and the order."
)
def rerank(log_p, log_p_others, penalty):
    return right_scores(log_p, log_p_others, penalty)


@QUESTION.mistake(
    "Scores and order have changed places. Return the scores first."
)
def rerank(log_p, log_p_others, penalty):
    return ranked(right_scores(log_p, log_p_others, penalty))[::-1]


@QUESTION.mistake(
    "You return the scores sorted. Return them in the order of the candidates: "
    "`scores[i]` is that of candidate i. Only the indices are sorted."
)
def rerank(log_p, log_p_others, penalty):
    scores = right_scores(log_p, log_p_others, penalty)
    return tuple(scores.sort(descending=True))


@QUESTION.mistake(
    "You return the index of the best candidate alone. Return the indices of "
    "all, from the best to the worst."
)
def rerank(log_p, log_p_others, penalty):
    scores = right_scores(log_p, log_p_others, penalty)
    return scores, scores.argmax()


@QUESTION.mistake(
    "Your order begins with the worst. A larger score is better: sort with "
    "`descending=True`."
)
def rerank(log_p, log_p_others, penalty):
    scores = right_scores(log_p, log_p_others, penalty)
    return scores, scores.argsort()


@QUESTION.mistake(
    "Your order holds ranks: how many candidates are better than candidate 0, "
    "1 and so on. It must hold indices: `order[0]` is that of the best "
    "candidate."
)
def rerank(log_p, log_p_others, penalty):
    scores = right_scores(log_p, log_p_others, penalty)
    return scores, scores.argsort(descending=True).argsort()


@QUESTION.mistake(
    "Your order holds the scores, sorted. It must hold the indices of the "
    "candidates: `argsort`, not `sort`."
)
def rerank(log_p, log_p_others, penalty):
    scores = right_scores(log_p, log_p_others, penalty)
    return scores, scores.sort(descending=True).values


@QUESTION.mistake(
    "Your order is that of log p(reply | prompt). Sort by the scores."
)
def rerank(log_p, log_p_others, penalty):
    scores = right_scores(log_p, log_p_others, penalty)
    return scores, log_p.argsort(descending=True)


@QUESTION.mistake(
    "Your order is that of the second term alone. Sort by the scores."
)
def rerank(log_p, log_p_others, penalty):
    scores = right_scores(log_p, log_p_others, penalty)
    return scores, log_mean(log_p_others).argsort()


@QUESTION.mistake("Your order is a list. Return a tensor of indices.")
def rerank(log_p, log_p_others, penalty):
    scores, order = ranked(right_scores(log_p, log_p_others, penalty))
    return scores, order.tolist()


@QUESTION.mistake(
    "You write the scores into log_p. Make a new tensor: whoever calls you "
    "still needs the log-probabilities."
)
def rerank(log_p, log_p_others, penalty):
    log_p -= penalty * log_mean(log_p_others)
    return ranked(log_p)


@QUESTION.mistake(
    "Your scores are always single precision. They must have the dtype of "
    "log_p."
)
def rerank(log_p, log_p_others, penalty):
    return ranked(right_scores(log_p, log_p_others, penalty).float())


@QUESTION.mistake(
    "Your scores are always double precision. They have the dtype of log_p."
)
def rerank(log_p, log_p_others, penalty):
    return ranked(right_scores(log_p, log_p_others, penalty).double())


# --- Inputs


def called(part, probs, others, penalty, rule=""):
    """Register a call with probabilities."""
    QUESTION.call(
        part, tensor(probs).log(), tensor(others).log(), penalty, rule=rule
    )


called("idea", [1 / 4, 1 / 16], [[1 / 4, 1 / 4], [1 / 64, 3 / 64]], 1.0)
called("idea", [1 / 4, 1 / 16], [[1 / 4, 1 / 4], [1 / 64, 3 / 64]], 0.0)
called(
    "idea",
    [1 / 2, 1 / 8, 1 / 4],
    [[1 / 2, 1 / 32], [1 / 4, 1 / 16], [1 / 64, 1 / 128]],
    0.5,
)
called(
    "idea",
    [0.3, 0.2, 0.1, 0.4],
    [[0.3, 0.1, 0.2], [0.01, 0.02, 0.3], [0.002, 0.03, 0.01], [0.9, 0.4, 0.6]],
    0.75,
)


@QUESTION.sizes
def sizes(candidate=5, other=3):
    return (
        numbers(candidate, low=-9, high=-1),
        numbers(candidate, other, low=-8, high=-2),
        0.7,
    )


called("edges", [1 / 2], [[1 / 8]], 1.0, "There may be one candidate.")
called("edges", [1 / 2, 1 / 4], [[1 / 8], [1 / 2]], 0.5)
called("edges", [1.0], [[1 / 4, 1 / 4, 1 / 4, 1 / 4]], 1.0)
QUESTION.call(
    "edges",
    tensor([-200.0, -210.0, -190.0]),
    tensor([[-200.0, -202.0], [-300.0, -301.0], [-150.0, -152.0]]),
    1.0,
    rule="A reply of forty words may have a log-probability of −200.",
)
QUESTION.call(
    "edges",
    tensor([-1.0, -1000.0, -35.0]),
    tensor([[-2.0, -3.0], [-1010.0, -1012.0], [-30.0, -40.0]]),
    0.5,
    rule="Short and long replies may stand side by side.",
)
called(
    "edges",
    [1 / 8, 1 / 4],
    [[1 / 16, 0.0], [0.0, 1 / 2]],
    0.5,
    "A prompt after which the reply is impossible counts in N, too.",
)
called(
    "edges",
    [1 / 2, 1 / 4, 1 / 8],
    [[1 / 4, 1 / 2], [1 / 16, 1 / 8], [1 / 64, 3 / 64]],
    2.0,
    "λ may be larger than 1.",
)
QUESTION.call(
    "edges",
    numbers(11, low=-30, high=-1),
    numbers(11, 7, low=-30, high=-1),
    0.3,
)


@test_case(points=5)
def test_idea(rerank):
    QUESTION.check("idea", rerank)


@test_case(points=3)
def test_edges(rerank):
    QUESTION.check("idea edges", rerank)
