"""Additive scores: every query meets every key, in one tanh of their sum."""

import torch
from otter.test_files import test_case
from torch import tensor

from attend.grading import Question, numbers

OK_FORMAT = False
name = "q1"
points = None

QUESTION = Question(
    "additive_scores",
    returns={"the scores": "batch, query, key"},
    gradients=["q", "k", "w_q", "w_k", "v"],
)


# --- Answers


@QUESTION.reference
def additive_scores(q, k, w_q, w_k, v):
    queries = (q @ w_q.T)[:, :, None]
    keys = (k @ w_k.T)[:, None]
    return (queries + keys).tanh() @ v


def sums(q, k, w_q, w_k):
    """What the tanh is taken of: (batch, query, key, d_score)."""
    return (q @ w_q.T)[:, :, None] + (k @ w_k.T)[:, None]


@QUESTION.mistake(
    "You add the two projections as they are, so the first query meets the "
    "first key only, the second query the second key, and other numbers of "
    "queries and keys do not fit. Every query must meet every key: give each "
    "projection a new axis first."
)
def additive_scores(q, k, w_q, w_k, v):
    return (q @ w_q.T + k @ w_k.T).tanh() @ v


@QUESTION.mistake(
    "All your queries get the same row of scores: that of the first query with "
    "the first key, the second query with the second key, and so on. Every "
    "query must meet every key: give each projection a new axis before you add."
)
def additive_scores(q, k, w_q, w_k, v):
    scores = (q @ w_q.T + k @ w_k.T).tanh() @ v
    return scores[:, None].expand(-1, q.shape[1], -1)


@QUESTION.mistake(
    "Some of your pairs come several times, and others not at all: queries and "
    "keys are both repeated in the same order, as `repeat_interleave` does. "
    "With a new axis for each, broadcasting makes all pairs."
)
def additive_scores(q, k, w_q, w_k, v):
    queries, keys = q.shape[1], k.shape[1]
    left = (q @ w_q.T).repeat_interleave(keys, dim=1)
    right = (k @ w_k.T).repeat_interleave(queries, dim=1)
    return ((left + right).tanh() @ v).view(len(q), queries, keys)


@QUESTION.mistake(
    "Your queries meet one key only, the mean of all. Every query must meet "
    "every key: 3 queries and 5 keys make 15 scores for each sequence."
)
def additive_scores(q, k, w_q, w_k, v):
    keys = (k @ w_k.T).mean(dim=1, keepdim=True)
    return (q @ w_q.T + keys).tanh() @ v


@QUESTION.mistake(
    "Your scores lie on their side: they are (batch, key, query). The queries "
    "stand upright, `[:, :, None]`, and the keys lie flat, `[:, None]`."
)
def additive_scores(q, k, w_q, w_k, v):
    return (sums(q, k, w_q, w_k).tanh() @ v).transpose(1, 2)


@QUESTION.mistake(
    "Your scores stand in the wrong order: you go through all queries of the "
    "first key, then of the second, and so on, and cut that into rows of keys. "
    "`view` and `reshape` do not swap axes; `transpose` does."
)
def additive_scores(q, k, w_q, w_k, v):
    scores = sums(q, k, w_q, w_k).tanh() @ v
    return scores.transpose(1, 2).reshape(scores.shape)


@QUESTION.mistake(
    "Your scores have an axis of size 1 too many at the end. A matrix product "
    "with the vector v, `@ v`, has none."
)
def additive_scores(q, k, w_q, w_k, v):
    return sums(q, k, w_q, w_k).tanh() @ v[:, None]


@QUESTION.mistake(
    "You lose an axis where its size is 1. `squeeze()` removes every such "
    "axis, that of a single sequence, query or key, too: say which one, "
    "`squeeze(-1)`."
)
def additive_scores(q, k, w_q, w_k, v):
    return (sums(q, k, w_q, w_k).tanh() @ v[:, None]).squeeze()


@QUESTION.mistake(
    "There is a softmax over the keys in your scores: they sum to one. A score "
    "is any number; the softmax comes later, after the mask."
)
def additive_scores(q, k, w_q, w_k, v):
    return (sums(q, k, w_q, w_k).tanh() @ v).softmax(dim=-1)


@QUESTION.mistake(
    "The tanh is missing. Without it a score is the sum of a part of the query "
    "and a part of the key, and the softmax over the keys cancels the query's."
)
def additive_scores(q, k, w_q, w_k, v):
    return sums(q, k, w_q, w_k) @ v


@QUESTION.mistake(
    "You take a tanh of each side and add them then. Add first, and take one "
    "tanh of the sum: otherwise the query's part is the same for every key, "
    "and the softmax cancels it."
)
def additive_scores(q, k, w_q, w_k, v):
    return sums((q @ w_q.T).tanh(), (k @ w_k.T).tanh(), *eyes(w_q, w_k)) @ v


def eyes(*matrices):
    """For each, the identity of as many dimensions as it has rows."""
    return [torch.eye(len(m), dtype=m.dtype) for m in matrices]


@QUESTION.mistake(
    "You take a tanh of each side, and another of their sum. There is one "
    "tanh, that of the sum."
)
def additive_scores(q, k, w_q, w_k, v):
    queries, keys = (q @ w_q.T).tanh(), (k @ w_k.T).tanh()
    return sums(queries, keys, *eyes(w_q, w_k)).tanh() @ v


@QUESTION.mistake(
    "Your tanh comes last, after the product with v. It belongs to the hidden "
    "units: first the tanh of each, then their sum with the weights v."
)
def additive_scores(q, k, w_q, w_k, v):
    return (sums(q, k, w_q, w_k) @ v).tanh()


@QUESTION.mistake(
    "You take the tanh twice: of the hidden units, and of the score again. A "
    "score is not bounded by 1."
)
def additive_scores(q, k, w_q, w_k, v):
    return (sums(q, k, w_q, w_k).tanh() @ v).tanh()


@QUESTION.mistake(
    "You multiply by v inside the tanh. v weighs the hidden units after it."
)
def additive_scores(q, k, w_q, w_k, v):
    return (sums(q, k, w_q, w_k) * v).tanh().sum(dim=-1)


@QUESTION.mistake(
    "Your hidden units go through a sigmoid. They are a tanh, which may be "
    "negative, too."
)
def additive_scores(q, k, w_q, w_k, v):
    return sums(q, k, w_q, w_k).sigmoid() @ v


@QUESTION.mistake("Your hidden units go through a ReLU. They are a tanh.")
def additive_scores(q, k, w_q, w_k, v):
    return sums(q, k, w_q, w_k).relu() @ v


@QUESTION.mistake(
    "You add up the hidden units without their weights: v is not used."
)
def additive_scores(q, k, w_q, w_k, v):
    return sums(q, k, w_q, w_k).tanh().sum(dim=-1)


@QUESTION.mistake(
    "You take the mean over the hidden units. The score is their sum, with the "
    "weights v: do not divide by their number."
)
def additive_scores(q, k, w_q, w_k, v):
    return sums(q, k, w_q, w_k).tanh() @ v / len(v)


@QUESTION.mistake(
    "You divide your scores by √d_score. Additive scores are not scaled: v "
    "can learn that."
)
def additive_scores(q, k, w_q, w_k, v):
    return sums(q, k, w_q, w_k).tanh() @ v / len(v) ** 0.5


@QUESTION.mistake(
    "You subtract the keys. The formula adds them: W_q q + W_k k."
)
def additive_scores(q, k, w_q, w_k, v):
    return sums(q, -k, w_q, w_k).tanh() @ v


@QUESTION.mistake("You multiply the two projections. Additive scores add them.")
def additive_scores(q, k, w_q, w_k, v):
    return ((q @ w_q.T)[:, :, None] * (k @ w_k.T)[:, None]).tanh() @ v


@QUESTION.mistake(
    "You multiply by w_q and w_k as they are. They are (d_score, d_q) and "
    "(d_score, d_k), so W q is `q @ w_q.T`. Where d_score is another number "
    "that raises, and where it is the same the result is wrong."
)
def additive_scores(q, k, w_q, w_k, v):
    return sums(q, k, w_q.T, w_k.T).tanh() @ v


@QUESTION.mistake(
    "Your w_q and w_k have the right shape but their numbers stand elsewhere. "
    "`view` and `reshape` do not transpose a matrix: `w_q.T` does."
)
def additive_scores(q, k, w_q, w_k, v):
    w_q, w_k = (w.reshape(w.shape[::-1]).T for w in (w_q, w_k))
    return sums(q, k, w_q, w_k).tanh() @ v


@QUESTION.mistake(
    "You swapped the matrices: w_q belongs to the queries, w_k to the keys."
)
def additive_scores(q, k, w_q, w_k, v):
    return sums(q, k, w_k, w_q).tanh() @ v


@QUESTION.mistake(
    "All your queries meet the keys of the first sequence. Each sequence of "
    "the batch has keys of its own."
)
def additive_scores(q, k, w_q, w_k, v):
    return sums(q, k[:1], w_q, w_k).tanh() @ v


@QUESTION.mistake(
    "Your queries meet the keys of all sequences, and the scores of each place "
    "are added up. Each sequence of the batch has keys of its own."
)
def additive_scores(q, k, w_q, w_k, v):
    pairs = (q @ w_q.T)[:, None, :, None] + (k @ w_k.T)[None, :, None]
    return (pairs.tanh() @ v).sum(dim=1)


@QUESTION.mistake(
    "Where the sum in the tanh is large your score is NaN: the exponential "
    "leaves the range of floats, and ∞/∞ is NaN. `torch.tanh` takes care."
)
def additive_scores(q, k, w_q, w_k, v):
    x = sums(q, k, w_q, w_k)
    return ((x.exp() - (-x).exp()) / (x.exp() + (-x).exp())) @ v


@QUESTION.mistake(
    "Where the sum in the tanh is large and positive your score is NaN: the "
    "exponential leaves the range of floats, and ∞/∞ is NaN. `torch.tanh` "
    "takes care."
)
def additive_scores(q, k, w_q, w_k, v):
    x = (2 * sums(q, k, w_q, w_k)).exp()
    return ((x - 1) / (x + 1)) @ v


@QUESTION.mistake(
    "No gradient goes from your scores to the arguments. `item`, `detach`, "
    "`torch.tensor` and `no_grad` cut it, and nothing can be trained."
)
def additive_scores(q, k, w_q, w_k, v):
    return (sums(q, k, w_q, w_k).tanh() @ v).detach()


@QUESTION.mistake(
    "You make a new tensor of plain numbers: no gradient goes through them, "
    "and the result is float32 whatever the arguments are."
)
def additive_scores(q, k, w_q, w_k, v):
    return tensor(QUESTION.right["additive_scores"](q, k, w_q, w_k, v).tolist())


@QUESTION.mistake(
    "Your scores are float32, whatever the arguments are, as those of "
    "`torch.zeros` are. A result has the dtype of the arguments."
)
def additive_scores(q, k, w_q, w_k, v):
    return QUESTION.right["additive_scores"](q, k, w_q, w_k, v).float()


# --- Trials

ONE = tensor([[1.0]])
QUESTION.call(
    "idea",
    tensor([[[1.0]]]),
    tensor([[[-1.0], [1.0]]]),
    ONE,
    ONE,
    tensor([2.0]),
)
QUESTION.call(
    "idea",
    tensor([[[2.0], [-0.5]]]),
    tensor([[[-1.0], [0.25]]]),
    ONE,
    ONE,
    tensor([1.0]),
    rule="Every query meets every key.",
)
QUESTION.call(
    "idea",
    tensor([[[1.0, -0.5], [0.5, 1.0]]]),
    tensor([[[0.5, 1.0], [-1.0, 0.5]]]),
    tensor([[0.5, 1.0], [-1.0, 0.25]]),
    tensor([[-0.5, 0.25], [1.0, 0.5]]),
    tensor([1.5, -1.0]),
    rule="With two hidden units your result is wrong.",
)
QUESTION.call(
    "edges",
    numbers(1, 5, 3),
    numbers(1, 2, 3, low=-1, high=1),
    numbers(7, 3),
    numbers(7, 3, low=-1, high=1),
    numbers(7),
    rule="There may be more queries than keys.",
)
QUESTION.call(
    "edges",
    tensor([[[60.0], [-60.0]]]),
    tensor([[[40.0], [-40.0], [60.0]]]),
    ONE,
    ONE,
    tensor([1.5]),
    rule="The sum in the tanh may be large.",
)


def turned(tensor):
    """The same numbers, in another order in memory."""
    order = range(tensor.dim())[::-1]
    return tensor.permute(*order).contiguous().permute(*order)


QUESTION.call(
    "edges",
    turned(numbers(2, 3, 5, low=0)),
    turned(numbers(2, 7, 5, low=0)),
    turned(numbers(3, 5, low=-0.1, high=0.25)),
    turned(numbers(3, 5, low=-0.1, high=0.5)),
    numbers(3, low=0.5),
    rule="These tensors are transposed views, and not contiguous.",
)


@QUESTION.sizes
def general(batch=2, query=3, key=5, d_q=7, d_k=11, d_score=13):
    """Little cancels out, so that half precision is good for two digits."""
    return (
        numbers(batch, query, d_q, low=0),
        numbers(batch, key, d_k, low=0),
        numbers(d_score, d_q, low=-0.1, high=0.25),
        numbers(d_score, d_k, low=-0.1, high=0.25),
        numbers(d_score, low=0.5),
    )


@test_case(points=3)
def test_idea(additive_scores):
    QUESTION.check("idea", additive_scores)


@test_case(points=2)
def test_edges(additive_scores):
    QUESTION.check("idea edges", additive_scores)
