"""Masked softmax: nothing for masked keys, all for the others, and no NaN."""

import torch
from otter.test_files import test_case
from torch import Tensor, tensor

from attend.grading import Question, Seen, numbers
from attend.grading.compare import Absent

OK_FORMAT = False
name = "q3"
points = None

QUESTION = Question(
    "masked_softmax", returns={"the weights": "batch, query, key"}
)
MINUS_INFINITY = float("-inf")


# --- Answers


@QUESTION.reference
def masked_softmax(scores, mask):
    weights = scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)
    return weights.masked_fill(~mask.any(dim=-1, keepdim=True), 0.0)


def without_empty(weights, mask):
    """Zeros for queries that may attend to nothing."""
    return weights.masked_fill(~mask.any(dim=-1, keepdim=True), 0.0)


@QUESTION.mistake(
    "Your softmax goes over the queries. The weights of one query sum to one "
    "over its keys, and the keys are the last axis."
)
def masked_softmax(scores, mask):
    filled = scores.masked_fill(~mask, MINUS_INFINITY)
    return filled.softmax(dim=1).nan_to_num()


@QUESTION.mistake(
    "Your softmax goes over all keys of all queries at once. Each query has "
    "weights of its own, which sum to one over its keys."
)
def masked_softmax(scores, mask):
    filled = scores.masked_fill(~mask, MINUS_INFINITY)
    weights = filled.flatten(1).softmax(dim=1).nan_to_num()
    return weights.view(scores.shape)


@QUESTION.mistake(
    "You have turned the mask round: all weight is on the keys that it "
    "forbids. True means: may attend."
)
def masked_softmax(scores, mask):
    filled = scores.masked_fill(mask, MINUS_INFINITY)
    return without_empty(filled.softmax(dim=-1), ~mask)


@QUESTION.mistake(
    "You have turned the mask round, and a query whose keys are all allowed "
    "gets NaN. True means: may attend."
)
def masked_softmax(scores, mask):
    return scores.masked_fill(mask, MINUS_INFINITY).softmax(dim=-1)


@QUESTION.mistake(
    "A masked key takes part with a score of 0. The exponential of 0 is 1: "
    "only the score −∞ gives weight 0."
)
def masked_softmax(scores, mask):
    return (scores * mask).softmax(dim=-1)


@QUESTION.mistake(
    "A masked key takes part with a score of 0, and only then its weight is "
    "wiped out: its share of the sum is gone. Mask with −∞ before the softmax."
)
def masked_softmax(scores, mask):
    return (scores * mask).softmax(dim=-1) * mask


@QUESTION.mistake(
    "You mask after the softmax: the masked scores have already taken their "
    "share of the sum, and the rest does not sum to one."
)
def masked_softmax(scores, mask):
    return scores.softmax(dim=-1) * mask


@QUESTION.mistake(
    "The masked scores still take part in the softmax, and you divide by what "
    "is left afterwards. Where a masked score is far larger than the others "
    "nothing is left: it has rounded to 0."
)
def masked_softmax(scores, mask):
    weights = scores.softmax(dim=-1) * mask
    return (weights / weights.sum(dim=-1, keepdim=True)).nan_to_num()


@QUESTION.mistake(
    "The masked scores still take part in the softmax, and you divide by what "
    "is left afterwards. Nothing may be left, for a query without keys or "
    "where a masked score is far larger than the others: 0/0 is NaN."
)
def masked_softmax(scores, mask):
    weights = scores.softmax(dim=-1) * mask
    return weights / weights.sum(dim=-1, keepdim=True)


@QUESTION.mistake(
    "The masked scores still take part in the softmax, and you divide by what "
    "is left afterwards. Where a masked score is far larger than the others "
    "nothing is left: it has rounded to 0. A small number in the sum does not "
    "help, and in half precision 1e-9 is 0 itself."
)
def masked_softmax(scores, mask):
    weights = scores.softmax(dim=-1) * mask
    return weights / (weights.sum(dim=-1, keepdim=True) + 1e-9)


@QUESTION.mistake(
    "A query that may attend to nothing gets NaN. Its sum is 0, and 0/0 is "
    "NaN: put zeros there afterwards."
)
def masked_softmax(scores, mask):
    return scores.masked_fill(~mask, MINUS_INFINITY).softmax(dim=-1)


@QUESTION.mistake(
    "You return zeros only where no query at all has a key. A single query "
    "without a key, among others that have some, still gets NaN."
)
def masked_softmax(scores, mask):
    if not mask.any():
        return torch.zeros_like(scores)
    return scores.masked_fill(~mask, MINUS_INFINITY).softmax(dim=-1)


@QUESTION.mistake(
    "You look for empty queries along the wrong axis: a query that may attend "
    "to nothing gets NaN, unless no other does either. Ask each query for its "
    "keys, the last axis."
)
def masked_softmax(scores, mask):
    weights = scores.masked_fill(~mask, MINUS_INFINITY).softmax(dim=-1)
    return weights.masked_fill(~mask.any(dim=-2, keepdim=True), 0.0)


@QUESTION.mistake(
    "A query with one masked key gets zeros, as if all its keys were masked. "
    "Only a query that may attend to nothing does. `any` or `all`?"
)
def masked_softmax(scores, mask):
    weights = scores.masked_fill(~mask, MINUS_INFINITY).softmax(dim=-1)
    return weights.masked_fill(~mask.all(dim=-1, keepdim=True), 0.0)


@QUESTION.mistake(
    "A query that may attend to nothing hands out weight: with −1e9 in place "
    "of every score all are equal. And −1e9 does not fit into half precision, "
    "where no number is above 65,504: fill with −∞, which every float type "
    "has, and put zeros where there is no key."
)
def masked_softmax(scores, mask):
    return scores.masked_fill(~mask, -1e9).softmax(dim=-1)


@QUESTION.mistake(
    "A query that may attend to nothing gets the same weight for every key, as "
    "it does where a finite number stands for −∞: all scores are equal then. "
    "It needs a case of its own: zeros."
)
def masked_softmax(scores, mask):
    lowest = torch.finfo(scores.dtype).min
    return scores.masked_fill(~mask, lowest).softmax(dim=-1)


BILLION = (
    "You put −1e9 in place of masked scores. That does not fit into half "
    "precision, where no number is above 65,504, and a score may be lower. "
    "Fill with −∞, which every float type has."
)


@QUESTION.mistake(BILLION)
def masked_softmax(scores, mask):
    return without_empty(scores.masked_fill(~mask, -1e9).softmax(dim=-1), mask)


@QUESTION.mistake(BILLION)
def masked_softmax(scores, mask):
    return scores.masked_fill(~mask, -1e9).softmax(dim=-1) * mask


@QUESTION.mistake(
    "You add −1e9 where the mask is False. Of half-precision scores that makes "
    "float32, and a score may be lower than that. Fill with −∞."
)
def masked_softmax(scores, mask):
    weights = (scores + ~mask * tensor(-1e9)[None]).softmax(dim=-1)
    return without_empty(weights, mask)


@QUESTION.mistake(
    "You put −10,000 in place of masked scores, or a number near it. A score "
    "that is allowed may be lower, and then the masked key gets its weight. "
    "Only −∞ is below all numbers."
)
def masked_softmax(scores, mask):
    return without_empty(scores.masked_fill(~mask, -1e4).softmax(dim=-1), mask)


@QUESTION.mistake(
    "All your weights are NaN. −∞ times False is NaN, not 0, so add no product "
    "of mask and −∞: `masked_fill` puts −∞ only where you want it."
)
def masked_softmax(scores, mask):
    return (scores + ~mask * MINUS_INFINITY).softmax(dim=-1)


@QUESTION.mistake(
    "All your weights are 0. Do you add −∞ times the mask? −∞ times False is "
    "NaN, not 0: `masked_fill` puts −∞ only where you want it."
)
def masked_softmax(scores, mask):
    return torch.zeros_like(scores)


@QUESTION.mistake(
    "A score of 0 is masked in your function, whatever the mask says. 0 is a "
    "score like any other: ask the mask."
)
def masked_softmax(scores, mask):
    kept = scores * mask
    kept = kept.masked_fill(kept == 0, MINUS_INFINITY)
    return kept.softmax(dim=-1).nan_to_num()


@QUESTION.mistake(
    "Your weights do not depend on the scores: all allowed keys get the same."
)
def masked_softmax(scores, mask):
    even = mask.expand(scores.shape).to(scores.dtype)
    return (even / even.sum(dim=-1, keepdim=True)).nan_to_num()


@QUESTION.mistake(
    "The softmax is applied twice, and the second evens the weights out."
)
def masked_softmax(scores, mask):
    return QUESTION.right["masked_softmax"](scores.softmax(dim=-1), mask)


LARGE = (
    "A large score makes your weights NaN or 0: its exponential is ∞. "
    "`softmax` takes care; by hand, subtract the largest allowed score of each "
    "query first."
)


@QUESTION.mistake(LARGE)
def masked_softmax(scores, mask):
    return normalised(scores.exp() * mask)


@QUESTION.mistake(LARGE)
def masked_softmax(scores, mask):
    return normalised(scores.exp().masked_fill(~mask, 0.0))


@QUESTION.mistake(LARGE)
def masked_softmax(scores, mask):
    exp = scores.exp().masked_fill(~mask, 0.0)
    return (exp / exp.sum(dim=-1, keepdim=True)).nan_to_num()


def normalised(exp):
    """Divided by the sum, where that is not 0."""
    total = exp.sum(dim=-1, keepdim=True)
    return exp / total.masked_fill(total == 0, 1.0)


@QUESTION.mistake(
    "You subtract the largest score of all queries. Where those of one query "
    "are far below it all its exponentials round to 0. Subtract the largest of "
    "each query, or let `softmax` do it."
)
def masked_softmax(scores, mask):
    filled = scores.masked_fill(~mask, MINUS_INFINITY)
    exp = (filled - filled.max()).exp()
    return (exp / exp.sum(dim=-1, keepdim=True)).nan_to_num()


@QUESTION.mistake(
    "Your function writes into the scores that it was given, as `masked_fill_` "
    "and `scores[…] = …` do. The caller may still need them: make a new tensor."
)
def masked_softmax(scores, mask):
    filled = scores.masked_fill_(~mask, MINUS_INFINITY)
    return without_empty(filled.softmax(dim=-1), mask)


@QUESTION.mistake(
    "A mask that is to be broadcast raises: with `scores[mask]` the shapes "
    "must agree. `masked_fill` and `torch.where` broadcast it."
)
def masked_softmax(scores, mask):
    scores = scores.clone()
    scores[~mask] = MINUS_INFINITY
    return without_empty(scores.softmax(dim=-1), mask)


ROWS = (
    "A mask with one row for all queries raises: you index with "
    "`mask.any(dim=-1)`, which is not (batch, query) then. `masked_fill` and "
    "`torch.where` broadcast a mask."
)


@QUESTION.mistake(ROWS)
def masked_softmax(scores, mask):
    weights = scores.masked_fill(~mask, MINUS_INFINITY).softmax(dim=-1)
    weights[~mask.any(dim=-1)] = 0.0
    return weights


@QUESTION.mistake(ROWS)
def masked_softmax(scores, mask):
    some = mask.any(dim=-1)
    filled = scores.masked_fill(~mask, MINUS_INFINITY)
    weights = torch.zeros_like(scores)
    weights[some] = filled[some].softmax(dim=-1)
    return weights


@QUESTION.mistake(
    "A mask of fewer than three dimensions raises. It can be broadcast: count "
    "axes from the end, `dim=-1`."
)
def masked_softmax(scores, mask):
    weights = scores.masked_fill(~mask, MINUS_INFINITY).softmax(dim=-1)
    return weights.masked_fill(~mask.any(dim=2, keepdim=True), 0.0)


@QUESTION.mistake(
    "Your weights are float32, whatever the scores are. They have the dtype of "
    "the scores."
)
def masked_softmax(scores, mask):
    return QUESTION.right["masked_softmax"](scores.float(), mask)


@QUESTION.mistake(
    "Of half-precision scores your weights are float32. Do you add a tensor "
    "that is float32? They have the dtype of the scores."
)
def masked_softmax(scores, mask):
    wider = torch.promote_types(scores.dtype, torch.float32)
    return QUESTION.right["masked_softmax"](scores.to(wider), mask)


@QUESTION.mistake(
    "No gradient goes from your weights to the scores. `item`, `detach`, "
    "`torch.tensor` and `no_grad` cut it, and nothing can be trained."
)
def masked_softmax(scores, mask):
    return QUESTION.right["masked_softmax"](scores.detach(), mask)


@QUESTION.mistake(
    "You make a new tensor of plain numbers: no gradient goes through them, "
    "and the result is float32 whatever the arguments are."
)
def masked_softmax(scores, mask):
    return tensor(QUESTION.right["masked_softmax"](scores, mask).tolist())


@QUESTION.mistake(
    "The gradient of a query that may attend to nothing is NaN. Where −∞ is "
    "added, the NaN of 0/0 flows back to the scores; `masked_fill` stops it."
)
def masked_softmax(scores, mask):
    bias = torch.zeros_like(scores).masked_fill(~mask, -torch.inf)
    return (scores + bias).softmax(dim=-1).nan_to_num()


# --- Trials: scores are far apart where they are large, since half precision
# knows no small differences there


def masks(*rows):
    """One sequence, with a row such as `"110"` for each query."""
    return tensor([[[place == "1" for place in row] for row in rows]])


QUESTION.call("idea", tensor([[[1.0, 2.0, 3.0]]]), masks("110"))
QUESTION.call(
    "idea",
    tensor([[[1.0, 2.0, 3.0]]]),
    masks("111"),
    rule="Nothing may be masked.",
)
QUESTION.call(
    "idea",
    tensor([[[1.0, 0.0, 2.0], [0.0, 3.0, 1.0]]]),
    masks("110", "011"),
    rule="Each query has a mask and weights of its own.",
)
QUESTION.call(
    "edges",
    tensor([[[1.0, 2.0, 3.0]]]),
    masks("000"),
    rule="A query that may attend to nothing gets zeros.",
)
QUESTION.call(
    "edges",
    tensor([[[1.0, 2.0, 3.0], [1.0, 0.0, 2.0], [0.5, 1.0, 2.0]]]),
    masks("110", "000", "111"),
    rule="A query that may attend to nothing gets zeros, others their weights.",
)
QUESTION.call(
    "edges",
    tensor([[[1.0, 2.0]], [[3.0, 1.0]], [[0.5, 1.0]]]),
    tensor([[[True, True]], [[False, False]], [[False, True]]]),
    rule="A query that may attend to nothing gets zeros, others their weights.",
)
QUESTION.call(
    "edges",
    tensor([[[1000.0, 0.0]]]),
    masks("01"),
    rule="A masked score may be far larger than the others.",
)
QUESTION.call(
    "edges",
    tensor([[[1000.0, 1100.0, 1200.0]]]),
    masks("110"),
    rule="Scores may be large.",
)
QUESTION.call(
    "edges",
    tensor([[[1000.0, 1100.0], [0.0, 1.0]]]),
    masks("11", "11"),
    rule="One query may have far larger scores than another.",
)
QUESTION.call(
    "edges",
    tensor([[[-30000.0, -30016.0, 5.0]]]),
    masks("110"),
    rule="Scores may be very negative.",
)


@QUESTION.trial(
    "edges",
    "scores [[[-3e9, -4e9, 1]]], mask [[[True, True, False]]]",
    "Scores may be very negative.",
)
def trial(masked_softmax):
    # written out, since float16 has no such number
    scores = tensor([[[-3e9, -4e9, 1.0]]])
    return Seen({"the weights": masked_softmax(scores, masks("110"))})


def broadcast(*shape):
    """A mask that has some True and some False in each row of keys."""
    size = tensor(shape).prod()
    return (torch.arange(size) * 3 % 7 < 4).view(shape)


for shape in [(2, 1, 5), (1, 3, 5), (3, 5), (5,), (2, 3, 1)]:
    QUESTION.call(
        "edges",
        numbers(2, 3, 5),
        broadcast(*shape),
        rule=f"A mask of shape {shape} can be broadcast to the scores.",
    )


def gradient_of(masked_softmax, rows, mask):
    scores = tensor(rows, requires_grad=True)
    weights = masked_softmax(scores.clone(), mask)
    if isinstance(weights, Tensor) and weights.requires_grad:
        weights[..., :1].sum().backward()
    gradient = scores.grad
    if gradient is None:
        gradient = Absent("none: it does not reach the weights")
    return Seen({"the gradient of `scores`, of the sum over key 0": gradient})


@QUESTION.trial(
    "edges",
    "scores [[[1, 2, 3], [0, 2, 1]]], mask [[[True, True, False], [True, "
    "True, True]]]",
    "Your weights do not have the gradient that they should have.",
)
def trial(masked_softmax):
    rows = [[[1.0, 2.0, 3.0], [0.0, 2.0, 1.0]]]
    return gradient_of(masked_softmax, rows, masks("110", "111"))


@QUESTION.trial(
    "edges",
    "scores [[[1, 2], [0, 2]]], mask [[[True, True], [False, False]]]",
    "A query that may attend to nothing hands on a gradient of zeros.",
)
def trial(masked_softmax):
    rows = [[[1.0, 2.0], [0.0, 2.0]]]
    return gradient_of(masked_softmax, rows, masks("11", "00"))


def turned(tensor):
    """The same numbers, in another order in memory."""
    order = range(tensor.dim())[::-1]
    return tensor.permute(*order).contiguous().permute(*order)


QUESTION.call(
    "edges",
    turned(numbers(2, 3, 5)),
    turned(broadcast(2, 3, 5)),
    rule="These tensors are transposed views, and not contiguous.",
)


@QUESTION.sizes
def general(batch=2, query=3, key=5):
    return numbers(batch, query, key), broadcast(batch, query, key)


@test_case(points=6)
def test_idea(masked_softmax):
    QUESTION.check("idea", masked_softmax)


@test_case(points=4)
def test_edges(masked_softmax):
    QUESTION.check("idea edges", masked_softmax)
