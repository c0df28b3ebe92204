"""The nucleus: as few tokens as reach p, in each row, back in their places."""

import math

import torch
from otter.test_files import test_case
from torch import Tensor, tensor

from attend.grading import Question, numbers
from attend.grading.battery import KINDS, describe, results

OK_FORMAT = False
name = "q4"
points = None

QUESTION = Question(
    "nucleus",
    returns={"the distributions": "batch, vocab"},
    # float64 will do for float16, too: see the trials below
    without=("float16",),
    wider=True,
)


# --- Answers


@QUESTION.reference
def nucleus(probs, p):
    ordered, order = probs.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    kept = ordered.masked_fill(before >= p, 0.0)
    kept = kept / kept.sum(dim=-1, keepdim=True)
    return torch.zeros_like(probs).scatter(-1, order, kept)


def divided(kept):
    return kept / kept.sum(dim=-1, keepdim=True)


def back(kept, order):
    """Put what was sorted back in its places."""
    return torch.zeros_like(kept).scatter(-1, order, kept)


def reached(probs, p):
    """The sorted probabilities, their order, and the sum of those before."""
    ordered, order = probs.sort(dim=-1, descending=True)
    return ordered, order, ordered.cumsum(dim=-1) - ordered


@QUESTION.mistake(
    "You compare each probability with p. A token belongs to the nucleus "
    "because of the sum of those before it, not because of its own probability."
)
def nucleus(probs, p):
    return divided(probs.masked_fill(probs < p, 0.0))


@QUESTION.mistake(
    "You keep the tokens whose probability is at least p times the largest. "
    "The nucleus is about sums: the most likely first, until they reach p."
)
def nucleus(probs, p):
    bound = p * probs.amax(dim=-1, keepdim=True)
    return divided(probs.masked_fill(probs < bound, 0.0))


@QUESTION.mistake(
    "You add up the least likely tokens first. The most likely come first: "
    "sort with `descending=True`."
)
def nucleus(probs, p):
    ordered, order = probs.sort(dim=-1)
    before = ordered.cumsum(dim=-1) - ordered
    return back(divided(ordered.masked_fill(before >= p, 0.0)), order)


@QUESTION.mistake(
    "You leave out the token with which the sum passes p. Without it the "
    "nucleus does not reach p; and where the first token is above p by itself "
    "nothing is left, and 0/0 is NaN."
)
def nucleus(probs, p):
    ordered, order, _ = reached(probs, p)
    outside = ordered.cumsum(dim=-1) > p
    return back(divided(ordered.masked_fill(outside, 0.0)), order)


@QUESTION.mistake(
    "You leave out the token that makes the sum reach p, even where it does so "
    "exactly. It is the last one that belongs to the nucleus."
)
def nucleus(probs, p):
    ordered, order, _ = reached(probs, p)
    outside = ordered.cumsum(dim=-1) >= p
    return back(divided(ordered.masked_fill(outside, 0.0)), order)


@QUESTION.mistake(
    "You leave out the token with which the sum passes p, unless it is the "
    "first. Without it the nucleus does not reach p."
)
def nucleus(probs, p):
    ordered, order, _ = reached(probs, p)
    outside = ordered.cumsum(dim=-1) > p
    outside[:, 0] = False
    return back(divided(ordered.masked_fill(outside, 0.0)), order)


@QUESTION.mistake(
    "You leave out the token that makes the sum reach p, unless it is the "
    "first, even where the sum is exactly p. It is the last one that belongs "
    "to the nucleus."
)
def nucleus(probs, p):
    ordered, order, _ = reached(probs, p)
    outside = ordered.cumsum(dim=-1) >= p
    outside[:, 0] = False
    return back(divided(ordered.masked_fill(outside, 0.0)), order)


@QUESTION.mistake(
    "Where the most likely token is enough by itself nothing is left, and 0/0 "
    "is NaN. The first token is always in: if you shift a mask by one place, "
    "set its first place, too."
)
def nucleus(probs, p):
    ordered, order, _ = reached(probs, p)
    outside = ordered.cumsum(dim=-1) >= p
    outside[:, 1:] = outside[:, :-1].clone()
    return back(divided(ordered.masked_fill(outside, 0.0)), order)


@QUESTION.mistake(
    "Where the sum is exactly p you take one token more. That is not as few as "
    "possible: p *or more* is enough. Is it `>` where it should be `>=`, or "
    "`<=` where it should be `<`?"
)
def nucleus(probs, p):
    ordered, order, before = reached(probs, p)
    return back(divided(ordered.masked_fill(before > p, 0.0)), order)


@QUESTION.mistake(
    "You take one token more than needed. The nucleus ends with the token that "
    "makes the sum reach p."
)
def nucleus(probs, p):
    ordered, order, before = reached(probs, p)
    outside = before >= p
    outside[:, 1:] = outside[:, :-1].clone()
    return back(divided(ordered.masked_fill(outside, 0.0)), order)


@QUESTION.mistake(
    "Every token that is as likely as the last one of the nucleus is in yours, "
    "too. The nucleus is as few tokens as possible: of equally likely ones it "
    "takes only those that are needed."
)
def nucleus(probs, p):
    ordered, order, before = reached(probs, p)
    least = ordered.masked_fill(before >= p, torch.inf).amin(-1, keepdim=True)
    return divided(probs.masked_fill(probs < least, 0.0))


@QUESTION.mistake(
    "Your nucleus is right, but what is left does not sum to one. Divide it by "
    "its sum."
)
def nucleus(probs, p):
    ordered, order, before = reached(probs, p)
    return back(ordered.masked_fill(before >= p, 0.0), order)


@QUESTION.mistake(
    "You divide by p. The nucleus may sum to more than p: divide by its own "
    "sum."
)
def nucleus(probs, p):
    ordered, order, before = reached(probs, p)
    return back(ordered.masked_fill(before >= p, 0.0) / p, order)


@QUESTION.mistake(
    "You divide by the largest probability. Divide by the sum of the nucleus."
)
def nucleus(probs, p):
    ordered, order, before = reached(probs, p)
    return back(ordered.masked_fill(before >= p, 0.0) / ordered[:, :1], order)


@QUESTION.mistake(
    "You divide by the sum over the whole batch. Each row is a distribution of "
    "its own, and must sum to one."
)
def nucleus(probs, p):
    ordered, order, before = reached(probs, p)
    kept = ordered.masked_fill(before >= p, 0.0)
    return back(kept / kept.sum(), order)


@QUESTION.mistake(
    "You divide by the sum over the batch, `dim=0`. Each row is a distribution "
    "of its own: sum over the vocabulary."
)
def nucleus(probs, p):
    ordered, order, before = reached(probs, p)
    kept = back(ordered.masked_fill(before >= p, 0.0), order)
    return kept / kept.sum(dim=0)


@QUESTION.mistake(
    "You take a softmax of the probabilities that are left, which makes them "
    "more alike. Divide them by their sum."
)
def nucleus(probs, p):
    ordered, order, before = reached(probs, p)
    kept = ordered.masked_fill(before >= p, -torch.inf)
    return back(kept.softmax(dim=-1), order)


@QUESTION.mistake(
    "You take a softmax over the probabilities and the zeros. It makes them "
    "more alike, and e⁰ is 1: divide what is left by its sum."
)
def nucleus(probs, p):
    ordered, order, before = reached(probs, p)
    return back(ordered.masked_fill(before >= p, 0.0).softmax(dim=-1), order)


@QUESTION.mistake(
    "All tokens of your nucleus are equally likely. They keep their "
    "proportions: divide their probabilities by the sum."
)
def nucleus(probs, p):
    ordered, order, before = reached(probs, p)
    return back(divided((before < p).to(probs.dtype)), order)


@QUESTION.mistake(
    "You return which tokens are in the nucleus, True or False. Return the "
    "distributions to draw from."
)
def nucleus(probs, p):
    ordered, order, before = reached(probs, p)
    return back(before < p, order)


@QUESTION.mistake(
    "You go through the tokens in the order of the vocabulary. The most likely "
    "come first: sort each row."
)
def nucleus(probs, p):
    before = probs.cumsum(dim=-1) - probs
    return divided(probs.masked_fill(before >= p, 0.0))


@QUESTION.mistake(
    "Your probabilities are in the order of the sort, the largest first. Put "
    "each back in the place of its token."
)
def nucleus(probs, p):
    ordered, _, before = reached(probs, p)
    return divided(ordered.masked_fill(before >= p, 0.0))


@QUESTION.mistake(
    "Your mask is in the order of the sort, and the probabilities are in that "
    "of the vocabulary. Bring both into the same order."
)
def nucleus(probs, p):
    _, _, before = reached(probs, p)
    return divided(probs.masked_fill(before >= p, 0.0))


@QUESTION.mistake(
    "Your probabilities are over the wrong tokens: they are moved by the order "
    "of the sort once more, as `gather` does. `scatter` puts them back, or "
    "`gather` with the `argsort` of the order."
)
def nucleus(probs, p):
    ordered, order, before = reached(probs, p)
    return divided(ordered.masked_fill(before >= p, 0.0)).gather(-1, order)


@QUESTION.mistake(
    "Every row has a nucleus as large as the first one's. Each row has one of "
    "its own size."
)
def nucleus(probs, p):
    ordered, order, before = reached(probs, p)
    size = int((before < p)[0].sum())
    places = torch.arange(probs.shape[1])
    return back(divided(ordered.masked_fill(places >= size, 0.0)), order)


@QUESTION.mistake(
    "Every row has a nucleus as large as the largest of the batch. Each row "
    "has one of its own size."
)
def nucleus(probs, p):
    ordered, order, before = reached(probs, p)
    size = int((before < p).sum(dim=-1).max())
    places = torch.arange(probs.shape[1])
    return back(divided(ordered.masked_fill(places >= size, 0.0)), order)


@QUESTION.mistake(
    "Every row has a nucleus as large as the smallest of the batch. Each row "
    "has one of its own size."
)
def nucleus(probs, p):
    ordered, order, before = reached(probs, p)
    size = int((before < p).sum(dim=-1).min())
    places = torch.arange(probs.shape[1])
    return back(divided(ordered.masked_fill(places >= size, 0.0)), order)


@QUESTION.mistake(
    "All rows are put back in the order of the first one. Each row was sorted "
    "in an order of its own."
)
def nucleus(probs, p):
    ordered, order, before = reached(probs, p)
    kept = divided(ordered.masked_fill(before >= p, 0.0))
    return back(kept, order[:1].expand_as(order))


@QUESTION.mistake(
    "You divide by the sums of the wrong rows: without `keepdim=True` they lie "
    "along the vocabulary."
)
def nucleus(probs, p):
    ordered, order, before = reached(probs, p)
    kept = ordered.masked_fill(before >= p, 0.0)
    kept = kept / kept.sum(dim=-1)
    return torch.zeros_like(probs).scatter(-1, order, kept)


@QUESTION.mistake(
    "You divide by the sums of the wrong rows: without `keepdim=True` they lie "
    "along the vocabulary. Each row is divided by its own."
)
def nucleus(probs, p):
    ordered, order, before = reached(probs, p)
    kept = back(ordered.masked_fill(before >= p, 0.0), order)
    return kept / kept.sum(dim=-1)


@QUESTION.mistake(
    "You keep a share p of the vocabulary, whatever the probabilities are. The "
    "nucleus is as few tokens as have a *sum* of p."
)
def nucleus(probs, p):
    size = max(1, math.ceil(p * probs.shape[1]))
    values, places = probs.topk(size, dim=-1)
    return torch.zeros_like(probs).scatter(-1, places, divided(values))


@QUESTION.mistake(
    "Outside of your nucleus there is −∞. Those tokens have probability 0."
)
def nucleus(probs, p):
    result = QUESTION.right["nucleus"](probs, p)
    return result.masked_fill(result == 0, -torch.inf)


@QUESTION.mistake(
    "You return log-probabilities. Return the probabilities to draw from."
)
def nucleus(probs, p):
    return QUESTION.right["nucleus"](probs, p).log()


@QUESTION.mistake(
    "The least likely token of the nucleus is missing, and all that are as "
    "likely. Do you ask for probabilities *above* its own? It is in, too."
)
def nucleus(probs, p):
    ordered, order, before = reached(probs, p)
    least = ordered.masked_fill(before >= p, torch.inf).amin(-1, keepdim=True)
    return divided(probs.masked_fill(probs <= least, 0.0))


@QUESTION.mistake(
    "You sort and add up along the batch, `dim=0`. Each row is a distribution "
    "of its own: go along the vocabulary."
)
def nucleus(probs, p):
    ordered, order = probs.sort(dim=0, descending=True)
    before = ordered.cumsum(dim=0) - ordered
    kept = ordered.masked_fill(before >= p, 0.0)
    return divided(torch.zeros_like(probs).scatter(0, order, kept))


@QUESTION.mistake(
    "You keep only the most likely token. Others belong to the nucleus as "
    "well, until the sum reaches p."
)
def nucleus(probs, p):
    place = probs.argmax(dim=-1, keepdim=True)
    return torch.zeros_like(probs).scatter(-1, place, 1.0)


@QUESTION.mistake(
    "Your nucleus is always that of p = 0.6, as in the example. Use p."
)
def nucleus(probs, p):
    return QUESTION.right["nucleus"](probs, 0.6)


@QUESTION.mistake("Your nucleus is always that of p = 0.9. Use p.")
def nucleus(probs, p):
    return QUESTION.right["nucleus"](probs, 0.9)


@QUESTION.mistake(
    "Where the sum of a row rounds to a little less than p = 1, only one token "
    "is left. Do you look for a place with `argmax`? It gives 0 where nothing "
    "is True. Ask for the tokens with a sum *before* them that is below p."
)
def nucleus(probs, p):
    ordered, order, _ = reached(probs, p)
    last = (ordered.cumsum(dim=-1) >= p).int().argmax(dim=-1, keepdim=True)
    outside = torch.arange(probs.shape[1]) > last
    return back(divided(ordered.masked_fill(outside, 0.0)), order)


@QUESTION.mistake(
    "Your result is right, but the call changes probs. Leave it as it is: make "
    "a new tensor, by `torch.where`, `masked_fill` or `clone`."
)
def nucleus(probs, p):
    probs.copy_(QUESTION.right["nucleus"](probs, p))
    return probs


@QUESTION.mistake(
    "Your result is right, but the call sets the probabilities outside the "
    "nucleus to 0 in probs itself. Leave it as it is: `torch.where` and "
    "`masked_fill` make a new tensor."
)
def nucleus(probs, p):
    probs[QUESTION.right["nucleus"](probs, p) == 0] = 0.0
    return divided(probs)


@QUESTION.mistake(
    "Your result is right, but the call sorts probs itself. Leave it as it is."
)
def nucleus(probs, p):
    result = QUESTION.right["nucleus"](probs, p)
    probs.copy_(probs.sort(dim=-1, descending=True).values)
    return result


@QUESTION.mistake(
    "Your distributions are `float32`, whatever came in. For `float64` "
    "arguments the result is `float64`, too."
)
def nucleus(probs, p):
    return QUESTION.right["nucleus"](probs, p).float()


@QUESTION.mistake(
    "With a batch of one your result has no batch any more. Is there a "
    "`squeeze()`?"
)
def nucleus(probs, p):
    return QUESTION.right["nucleus"](probs, p).squeeze()


# --- Trials


EXACT = "Where the sum is exactly p it is reached."
SURE = "The first token may be enough by itself."
OWN = "Each row is a distribution with a nucleus of its own."

QUESTION.call("idea", tensor([[0.2, 0.5, 0.3]]), 0.6)
QUESTION.call("idea", tensor([[0.1, 0.4, 0.2, 0.3]]), 0.8)
QUESTION.call("idea", tensor([[0.15, 0.75, 0.1]]), 0.6, rule=SURE)
QUESTION.call(
    "idea",
    tensor([[0.1, 0.2, 0.7], [0.4, 0.35, 0.25], [0.15, 0.5, 0.35]]),
    0.8,
    rule=OWN,
)
QUESTION.call("idea", tensor([[0.25, 0.125, 0.5, 0.125]]), 0.5, rule=EXACT)
QUESTION.call("idea", tensor([[0.0625, 0.25, 0.1875, 0.5]]), 0.75, rule=EXACT)


@QUESTION.sizes
def make(batch=3, vocab=7):
    return (2 * numbers(batch, vocab)).softmax(dim=-1), 0.7


for p in (0.95, 0.5, 0.3):
    QUESTION.call("edges", (1.5 * numbers(5, 11)).softmax(dim=-1), p, rule=OWN)
QUESTION.call(
    "edges",
    tensor([[0.2, 0.5, 0.3], [0.05, 0.05, 0.9]]),
    1.0,
    rule="With p = 1 all tokens are in the nucleus.",
)
QUESTION.call(
    "edges",
    tensor([[0.2, 0.5, 0.3]]),
    1e-6,
    rule="The nucleus holds at least one token.",
)
QUESTION.call(
    "edges",
    tensor([[0.0, 1.0, 0.0], [0.25, 0.0, 0.75]]),
    0.9,
    rule="A probability may be 0.",
)
QUESTION.call(
    "edges",
    tensor([[0.0, 1.0, 0.0], [0.25, 0.0, 0.75]]),
    1.0,
    rule="A probability may be 0.",
)
QUESTION.call("edges", tensor([[1.0], [1.0]]), 0.4)
QUESTION.call(
    "edges",
    tensor([[0.13, 0.53, 0.19, 0.04, 0.11]]),
    1.0,
    rule="The sum of a row may round to a little less than 1.",
)

# Two right answers may take different ones of equally likely tokens.
for probs, p in [
    ([[0.3, 0.4, 0.3]], 0.6),
    ([[0.25, 0.25, 0.25, 0.25]], 0.5),
    ([[0.2, 0.2, 0.2, 0.2, 0.2], [0.1, 0.15, 0.15, 0.45, 0.15]], 0.7),
]:

    @QUESTION.trial(
        "edges",
        f"probs {probs}, p {p}, and your rows sorted",
        "The nucleus is as few tokens as possible, with equally likely ones, "
        "too.",
    )
    def trial(nucleus, probs=probs, p=p):
        got = nucleus(tensor(probs), p)
        if isinstance(got, Tensor):
            got = got.sort(dim=-1, descending=True).values
        return results(got, QUESTION.returns)


for probs, p in [(tensor([[0.2, 0.5, 0.3]]), 0.6), make()]:

    @QUESTION.trial(
        "edges",
        f"{describe(['probs', 'p'], (probs, p))}, torch.float16",
        KINDS["float16"],
    )
    def trial(nucleus, probs=probs, p=p):
        got = nucleus(probs.half(), p)
        if isinstance(got, Tensor) and got.dtype == torch.float64:
            got = got.half()
        return results(got, QUESTION.returns)


@test_case(points=7)
def test_idea(nucleus):
    QUESTION.check("idea", nucleus)


@test_case(points=4)
def test_edges(nucleus):
    QUESTION.check("idea edges", nucleus)
