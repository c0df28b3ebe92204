"""Perplexity of a corpus: one mean of all real tokens, then one exponential."""

import math

import torch
from otter.test_files import test_case
from torch import tensor

from attend.grading import Question

OK_FORMAT = False
name = "q3"
points = None

# half precision cannot hold sums of many logarithms: the text rules it out
QUESTION = Question(
    "perplexity", returns={"the perplexity": ""}, without=("float16",)
)


# --- Helpers of the answers


def joined(batches):
    """The log-probabilities of all real tokens in a row."""
    return torch.cat([log_probs[real] for log_probs, real in batches])


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def replies(batches, least=0):
    """The log-probabilities of the real tokens of each reply."""
    return [
        row[mask]
        for log_probs, real in batches
        for row, mask in zip(log_probs, real, strict=True)
        if mask.sum() >= least
    ]


def filled(batches):
    """Log-probabilities with 0 at padding, and where tokens are real."""
    return [(x.masked_fill(~real, 0), real) for x, real in batches]


# --- Answers


@QUESTION.reference
def perplexity(batches):
    nats, count = 0.0, 0
    for log_probs, real in batches:
        nats -= log_probs[real].sum().item()
        count += real.sum().item()
    return math.exp(nats / count)


@QUESTION.mistake(
    "Your perplexity is below 1, its own inverse. A model that is sure has 1, "
    "and others have more. Log-probabilities are negative: is the minus "
    "missing?"
)
def perplexity(batches):
    return joined(batches).mean().exp().item()


@QUESTION.mistake(
    "That is the mean loss, in nats. The perplexity is its exponential: the "
    "number of equally likely tokens that the model is as unsure between."
)
def perplexity(batches):
    return -joined(batches).mean().item()


@QUESTION.mistake(
    "Your base is 2. The log-probabilities are natural, so the exponential has "
    "base e. `2 ** …` goes with logarithms to base 2."
)
def perplexity(batches):
    return 2 ** -joined(batches).mean().item()


@QUESTION.mistake(
    "Your base is 10. The log-probabilities are natural, so the exponential "
    "has base e."
)
def perplexity(batches):
    return 10 ** -joined(batches).mean().item()


@QUESTION.mistake(
    "You do not divide by the number of tokens, so longer texts get a larger "
    "perplexity, however well they are predicted. Divide before the "
    "exponential."
)
def perplexity(batches):
    return math.exp(-joined(batches).sum().item())


@QUESTION.mistake(
    "You divide after the exponential. Divide the sum of the logarithms by the "
    "number of tokens first: the exponential comes last."
)
def perplexity(batches):
    log_probs = joined(batches)
    return math.exp(-log_probs.sum().item()) / len(log_probs)


@QUESTION.mistake(
    "You take the exponential before the mean. A mean of 1/p is not what the "
    "formula says: the mean is one of logarithms, and the exponential comes "
    "last."
)
def perplexity(batches):
    return (-joined(batches)).exp().mean().item()


@QUESTION.mistake(
    "You take the mean of the probabilities, and one over it. The mean is one "
    "of logarithms, and the exponential comes last."
)
def perplexity(batches):
    return 1 / joined(batches).exp().mean().item()


@QUESTION.mistake(
    "Padding counts as tokens of yours, both in the sum and in the number. "
    "Where `real` is False there is no token."
)
def perplexity(batches):
    nats = sum(-log_probs.sum().item() for log_probs, _ in batches)
    return math.exp(nats / sum(real.numel() for _, real in batches))


@QUESTION.mistake(
    "Padding is in your sum, though not in your count. Where `real` is False "
    "there is no token."
)
def perplexity(batches):
    nats = sum(-log_probs.sum().item() for log_probs, _ in batches)
    return math.exp(nats / sum(real.sum().item() for _, real in batches))


@QUESTION.mistake(
    "You divide by the number of all places, padding among them. Count the "
    "real tokens only."
)
def perplexity(batches):
    nats = sum(-x.sum().item() for x, _ in filled(batches))
    return math.exp(nats / sum(real.numel() for _, real in batches))


@QUESTION.mistake(
    "You measure the padding and leave the tokens out. `real` is True where "
    "there is a token: is there a `~` too many?"
)
def perplexity(batches):
    log_probs = torch.cat([x[~real] for x, real in batches])
    if not len(log_probs):
        return math.nan
    return (-log_probs.mean()).exp().item()


@QUESTION.mistake(
    "Padding with the log-probability −∞ makes your result NaN. Do you "
    "multiply by the mask? 0 · −∞ is NaN. Pick the real tokens instead: "
    "`log_probs[real]`."
)
def perplexity(batches):
    nats = sum(-(log_probs * real).sum().item() for log_probs, real in batches)
    return math.exp(nats / sum(real.sum().item() for _, real in batches))


@QUESTION.mistake(
    "Real tokens whose probability is 1 are not counted. Their logarithm is 0, "
    "but they are tokens: count with `real`."
)
def perplexity(batches):
    log_probs = joined(batches)
    count = int((log_probs != 0).sum())
    return math.exp(-log_probs.sum().item() / max(count, 1))


@QUESTION.mistake(
    "You take the first places of each row, as many as it has real tokens. "
    "Padding may stand before and between tokens as well: `real` says where "
    "they are."
)
def perplexity(batches):
    found = [
        row[: int(mask.sum())]
        for log_probs, real in batches
        for row, mask in zip(log_probs, real, strict=True)
    ]
    return (-torch.cat(found).mean()).exp().item()


for least in (0, 1):  # with and without a look for empty replies

    @QUESTION.mistake(
        "A reply of few tokens counts as much as one of many: you take a mean "
        "for each reply, and then the mean of those. Every token counts the "
        "same."
    )
    def perplexity(batches, least=least):
        rows = replies(batches, least)
        return math.exp(mean(-row.mean().item() for row in rows))

    @QUESTION.mistake(
        "You take a perplexity for each reply, and then the mean of those. "
        "Every token counts the same: one mean of the logarithms of all, and "
        "then one exponential."
    )
    def perplexity(batches, least=least):
        rows = replies(batches, least)
        return mean(math.exp(-row.mean().item()) for row in rows)


for least in (0, 1):  # with and without a look for empty batches

    @QUESTION.mistake(
        "You take the mean of the batches' mean losses, so a batch of few "
        "tokens counts as much as one of many. Keep a sum and a count, and "
        "divide once."
    )
    def perplexity(batches, least=least):
        flat = [x[real] for x, real in batches if real.sum() >= least]
        return math.exp(mean(-values.mean().item() for values in flat))

    @QUESTION.mistake(
        "You take the mean of the batches' perplexities. Keep a sum and a "
        "count over all batches, divide once, and take the exponential at the "
        "end."
    )
    def perplexity(batches, least=least):
        flat = [x[real] for x, real in batches if real.sum() >= least]
        return mean(math.exp(-values.mean().item()) for values in flat)


@QUESTION.mistake(
    "You weigh each batch by the number of its replies. Every token counts the "
    "same: keep a sum and a count of tokens, and divide once."
)
def perplexity(batches):
    nats = sum(-x[real].mean().item() * len(real) for x, real in batches)
    return math.exp(nats / sum(len(real) for _, real in batches))


@QUESTION.mistake(
    "You divide by the number of replies. Divide by the number of tokens."
)
def perplexity(batches):
    count = sum(len(real) for _, real in batches)
    return math.exp(-joined(batches).sum().item() / count)


@QUESTION.mistake(
    "Only the first batch has a say in your result. Is the `return` inside the "
    "loop?"
)
def perplexity(batches):
    return QUESTION.right["perplexity"](batches[:1])


@QUESTION.mistake(
    "Only the last batch has a say in your result. Do the sum and the count "
    "begin anew in each batch, or is `=` written for `+=`?"
)
def perplexity(batches):
    return QUESTION.right["perplexity"](batches[-1:])


@QUESTION.mistake(
    "Your sum is that of the last batch, your count that of all. Is `=` "
    "written for `+=`?"
)
def perplexity(batches):
    last = joined(batches[-1:])
    return math.exp(-last.sum().item() / len(joined(batches)))


@QUESTION.mistake(
    "Your sum is that of all batches, your count that of the last. Is `=` "
    "written for `+=`?"
)
def perplexity(batches):
    count = int(batches[-1][1].sum())
    if not count:
        return math.nan
    return math.exp(-joined(batches).sum().item() / count)


@QUESTION.mistake(
    "Batches of different shapes cannot be put together with `cat` or "
    "`stack`. Pick the real tokens of each batch first: those are flat."
)
def perplexity(batches):
    log_probs = torch.cat([x for x, _ in batches])
    real = torch.cat([real for _, real in batches])
    return (-log_probs[real].mean()).exp().item()


def by_product(wide_exp, wide_product, infinite):
    """The product of all probabilities, in one precision or the other."""

    def perplexity(batches):
        probs = joined(batches)
        probs = probs.double().exp() if wide_exp else probs.exp()
        probs = probs.double() if wide_product else probs
        product = probs.prod().item()
        if not product and infinite:
            return math.inf
        return product ** (-1 / len(probs))

    return perplexity


for precisions in [(False, False), (False, True), (True, True)]:
    for infinite in (True, False):
        QUESTION.mistake(
            "Small probabilities, or many, make your perplexity infinite or "
            "your code fail: you multiply the probabilities, and the product "
            "is 0 for a computer. Add logarithms, and take the exponential of "
            "their mean."
        )(by_product(*precisions, infinite))


@QUESTION.mistake(
    "A long text makes your code fail or its result infinite: you take the "
    "exponential before you divide. Take it of the mean."
)
def perplexity(batches):
    log_probs = joined(batches)
    return math.exp(-log_probs.sum().item()) ** (1 / len(log_probs))


@QUESTION.mistake(
    "Very small probabilities count as larger ones. Do you clamp them, or add "
    "a small number before a logarithm? Take the log-probabilities as they are."
)
def perplexity(batches):
    return (-joined(batches).clamp(min=-20).mean()).exp().item()


@QUESTION.mistake(
    "You write into `log_probs` where there is padding. Leave what you are "
    "given as it is: `masked_fill` makes a new tensor, and `log_probs[real]` "
    "needs none."
)
def perplexity(batches):
    result = QUESTION.right["perplexity"](batches)
    for log_probs, real in batches:
        log_probs[~real] = 0
    return result


@QUESTION.mistake(
    "Your perplexity is a tensor. Return a plain number: `.item()` turns a "
    "tensor of one number into it."
)
def perplexity(batches):
    return (-joined(batches).mean()).exp()


@QUESTION.mistake(
    "Your perplexity is rounded. Return it as it is; round where you print it."
)
def perplexity(batches):
    return round(QUESTION.right["perplexity"](batches), 2)


# --- Inputs


def batch(*rows, padding=-1.0):
    """Probabilities of tokens as a batch; `None` is padding."""
    longest = max(map(len, rows))
    rows = [[*row, *[None] * (longest - len(row))] for row in rows]
    log_probs = [
        [padding if p is None else math.log(p) for p in row] for row in rows
    ]
    return tensor(log_probs), tensor([[p is not None for p in r] for r in rows])


def logs(*rows):
    """Log-probabilities as a batch without padding."""
    return tensor(rows), torch.ones(len(rows), len(rows[0]), dtype=torch.bool)


HALF, QUARTER, EIGHTH = 1 / 2, 1 / 4, 1 / 8

QUESTION.call("idea", [batch([QUARTER, QUARTER])])
QUESTION.call("idea", [batch([HALF, EIGHTH, HALF])])
QUESTION.call(
    "idea",
    [batch([HALF, HALF], [EIGHTH])],
    rule="Every real token counts the same, and padding does not count.",
)
QUESTION.call(
    "idea",
    [batch([HALF, HALF]), batch([EIGHTH])],
    rule="It must not matter how the corpus is cut into batches.",
)
QUESTION.call(
    "idea",
    [
        batch([0.5, 0.2, 0.3], [0.1], padding=-3.0),
        batch([0.4, 0.9, 0.3, 0.6, 0.1], [0.7, 0.5], [0.05], padding=-3.0),
        batch([0.01, 0.6], padding=-3.0),
    ],
    rule="Batches have different shapes.",
)
QUESTION.call(
    "edges",
    [batch([QUARTER] * 3, [QUARTER], padding=0.0)],
    rule="What log_probs holds at padding means nothing.",
)
QUESTION.call(
    "edges",
    [batch([QUARTER] * 3, [HALF], padding=-math.inf)],
    rule="What log_probs holds at padding means nothing, and may be −∞.",
)
QUESTION.call(
    "edges",
    [batch([QUARTER] * 3, [HALF], padding=5.0), batch([HALF])],
    rule="What log_probs holds at padding means nothing.",
)
QUESTION.call(
    "edges",
    [batch([QUARTER] * 3, [HALF], padding=math.nan)],
    rule="What log_probs holds at padding means nothing.",
)
QUESTION.call(
    "edges",
    [batch([1.0, EIGHTH, 1.0], [1.0])],
    rule="A token with the probability 1 is a token, too.",
)
QUESTION.call(
    "edges", [batch([1.0, 1.0])], rule="A model that is sure has perplexity 1."
)
QUESTION.call(
    "edges",
    [batch([None, HALF, EIGHTH], [QUARTER, None, HALF], padding=-4.0)],
    rule="Padding may stand before and between tokens.",
)
QUESTION.call(
    "edges",
    [batch([HALF, EIGHTH], [None, None]), batch([EIGHTH], padding=-2.0)],
    rule="A reply may be empty: a whole row of padding.",
)
QUESTION.call(
    "edges",
    [batch([HALF, EIGHTH]), batch([None, None, None]), batch([EIGHTH])],
    rule="A batch may be all padding.",
)
QUESTION.call(
    "edges",
    [batch([HALF, EIGHTH]), batch([None], [None])],
    rule="A batch may be all padding.",
)
QUESTION.call(
    "edges",
    [logs([-200.0, -1.0, -3.0, -0.5]), logs([-0.25], [-1.5])],
    rule="A token may have a log-probability of −200.",
)
QUESTION.call(
    "edges", [logs([-40.0, -60.0])], rule="A perplexity may be very large."
)
QUESTION.call(
    "edges",
    [batch([0.1] * 100, [0.1] * 100) for _ in range(20)],
    rule="A corpus may be long: 4,000 tokens of probability 0.1.",
)
QUESTION.call(
    "edges",
    [(torch.full((211, 199), -2.5), torch.ones(211, 199, dtype=torch.bool))],
    rule="A batch may be large: 41,989 tokens with the log-probability −2.5.",
)
QUESTION.call(
    "edges",
    [batch([0.995] * 13, [0.999, 0.995]), batch([0.9] * 2)],
    rule="A perplexity may be close to 1.",
)


@test_case(points=6)
def test_idea(perplexity):
    QUESTION.check("idea", perplexity)


@test_case(points=4)
def test_edges(perplexity):
    QUESTION.check("idea edges", perplexity)
