"""Bilinear scores: a matrix product for each sequence, and no scaling."""

import torch
import torch.nn.functional as F
from otter.test_files import test_case
from torch import tensor

from attend.grading import Question, numbers

OK_FORMAT = False
name = "q2"
points = None

QUESTION = Question(
    "bilinear_scores",
    returns={"the scores": "batch, query, key"},
    gradients=["q", "k", "w"],
)


# --- Answers


@QUESTION.reference
def bilinear_scores(q, k, w):
    return q @ w @ k.transpose(1, 2)


@QUESTION.mistake(
    "The batch does not stay in front: `.T` turns all three axes of the keys "
    "round. `transpose(1, 2)` turns only the last two."
)
def bilinear_scores(q, k, w):
    return q @ w @ k.permute(2, 1, 0)


@QUESTION.mistake(
    "The keys do not come as (batch, d_k, key), so they fit only where there "
    "are as many as they have numbers, and are wrong there. Swap their last "
    "two axes: `k.transpose(1, 2)`."
)
def bilinear_scores(q, k, w):
    return q @ w @ k


@QUESTION.mistake(
    "You multiply element by element, so the first query meets the first key "
    "only, the second query the second key, and other numbers of queries and "
    "keys do not fit. A matrix product makes all pairs."
)
def bilinear_scores(q, k, w):
    return ((q @ w) * k).sum(dim=-1)


@QUESTION.mistake(
    "Your scores lie on their side: they are (batch, key, query). The query "
    "comes first, as in the formula."
)
def bilinear_scores(q, k, w):
    return k @ w.T @ q.transpose(1, 2)


@QUESTION.mistake(
    "You divide by √d_k. Bilinear scores are not scaled: W can learn that."
)
def bilinear_scores(q, k, w):
    return q @ w @ k.transpose(1, 2) / k.shape[-1] ** 0.5


@QUESTION.mistake(
    "You divide by √d_q. Bilinear scores are not scaled: W can learn that."
)
def bilinear_scores(q, k, w):
    return q @ w @ k.transpose(1, 2) / q.shape[-1] ** 0.5


@QUESTION.mistake(
    "You divide by d_k: a mean instead of a sum. Bilinear scores are not "
    "scaled: W can learn that."
)
def bilinear_scores(q, k, w):
    return q @ w @ k.transpose(1, 2) / k.shape[-1]


@QUESTION.mistake(
    "W is the wrong way round: its rows belong to the query, its columns to "
    "the key. Where both have the same size nothing raises."
)
def bilinear_scores(q, k, w):
    return q @ w.T @ k.transpose(1, 2)


@QUESTION.mistake(
    "W is the wrong way round, and your scores are (batch, key, query). Read "
    "the formula from left to right: the query, W, the key."
)
def bilinear_scores(q, k, w):
    return k @ w @ q.transpose(1, 2)


@QUESTION.mistake(
    "Your W has the right shape but its numbers stand elsewhere. It is (d_q, "
    "d_k) already; and `view` and `reshape` do not transpose a matrix."
)
def bilinear_scores(q, k, w):
    return q @ w.T.reshape(w.shape) @ k.transpose(1, 2)


@QUESTION.mistake(
    "Your keys have the right shape but their numbers stand elsewhere. `view` "
    "and `reshape` leave the numbers in their order and only cut the rows "
    "elsewhere: `transpose(1, 2)` swaps two axes."
)
def bilinear_scores(q, k, w):
    return q @ w @ k.reshape(len(k), k.shape[2], k.shape[1])


@QUESTION.mistake(
    "Your scores stand in the wrong order: you go through all queries of the "
    "first key, then of the second, and so on, and cut that into rows of keys. "
    "`view` and `reshape` do not swap axes; `transpose` does."
)
def bilinear_scores(q, k, w):
    scores = k @ w.T @ q.transpose(1, 2)
    return scores.reshape(len(q), q.shape[1], k.shape[1])


@QUESTION.mistake(
    "Your queries meet the keys of all sequences, and the scores of each place "
    "are added up. Each sequence of the batch has keys of its own."
)
def bilinear_scores(q, k, w):
    return torch.einsum("bqd,de,cke->bqk", q, w, k)


@QUESTION.mistake(
    "All your queries meet the keys of the first sequence. Each sequence of "
    "the batch has keys of its own."
)
def bilinear_scores(q, k, w):
    return q @ w @ k[:1].transpose(1, 2)


@QUESTION.mistake(
    "Only the diagonal of W counts in your scores. All of it does: each number "
    "of the query is paired with each of the key."
)
def bilinear_scores(q, k, w):
    return q @ (w * torch.eye(*w.shape, dtype=w.dtype)) @ k.transpose(1, 2)


@QUESTION.mistake(
    "There is a tanh around your scores. That belongs to additive scores; the "
    "bilinear ones are only matrix products."
)
def bilinear_scores(q, k, w):
    return (q @ w @ k.transpose(1, 2)).tanh()


@QUESTION.mistake(
    "There is a softmax over the keys in your scores: they sum to one. A score "
    "is any number; the softmax comes later, after the mask."
)
def bilinear_scores(q, k, w):
    return (q @ w @ k.transpose(1, 2)).softmax(dim=-1)


@QUESTION.mistake(
    "You scale queries and keys to length 1. Their length counts in a bilinear "
    "score."
)
def bilinear_scores(q, k, w):
    q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
    return q @ w @ k.transpose(1, 2)


@QUESTION.mistake(
    "You lose an axis where its size is 1. `squeeze()` removes every such "
    "axis, that of a single sequence, query or key, too: say which one."
)
def bilinear_scores(q, k, w):
    return (q @ w @ k.transpose(1, 2)).squeeze()


@QUESTION.mistake("Your scores have an axis of size 1 too many at the end.")
def bilinear_scores(q, k, w):
    return (q @ w @ k.transpose(1, 2))[..., None]


@QUESTION.mistake(
    "No gradient goes from your scores to the arguments. `item`, `detach`, "
    "`torch.tensor` and `no_grad` cut it, and nothing can be trained."
)
def bilinear_scores(q, k, w):
    return (q @ w @ k.transpose(1, 2)).detach()


@QUESTION.mistake(
    "You make a new tensor of plain numbers: no gradient goes through them, "
    "and the result is float32 whatever the arguments are."
)
def bilinear_scores(q, k, w):
    return tensor(QUESTION.right["bilinear_scores"](q, k, w).tolist())


@QUESTION.mistake(
    "Your scores are float32, whatever the arguments are, as those of "
    "`torch.zeros` are. A result has the dtype of the arguments."
)
def bilinear_scores(q, k, w):
    return QUESTION.right["bilinear_scores"](q, k, w).float()


# --- Trials

QUESTION.call(
    "idea",
    tensor([[[1.0, 2.0]]]),
    tensor([[[3.0, 4.0]]]),
    tensor([[0.0, 1.0], [0.0, 0.0]]),
)
QUESTION.call(
    "idea",
    tensor([[[1.0, 2.0], [2.0, -1.0]]]),
    tensor([[[3.0, 4.0], [1.0, 0.5]]]),
    tensor([[1.0, 2.0], [-1.0, 0.5]]),
    rule="Every query meets every key.",
)
QUESTION.call(
    "idea",
    tensor([[[1.0]], [[2.0]]]),
    tensor([[[3.0], [1.0]], [[4.0], [-1.0]]]),
    tensor([[2.0]]),
    rule="Each sequence of the batch has keys of its own.",
)
QUESTION.call(
    "edges",
    numbers(1, 5, 3, low=0),
    numbers(1, 2, 3, low=0),
    numbers(3, 3, low=-0.5, high=1.5),
    rule="There may be more queries than keys.",
)


def turned(tensor):
    """The same numbers, in another order in memory."""
    order = range(tensor.dim())[::-1]
    return tensor.permute(*order).contiguous().permute(*order)


QUESTION.call(
    "edges",
    turned(numbers(2, 3, 5, low=0)),
    turned(numbers(2, 7, 3, low=0)),
    turned(numbers(5, 3, low=-0.1, high=0.25)),
    rule="These tensors are transposed views, and not contiguous.",
)


@QUESTION.sizes
def general(batch=2, query=3, key=5, d_q=7, d_k=11):
    """Little cancels out, so that half precision is good for two digits."""
    return (
        numbers(batch, query, d_q, low=0),
        numbers(batch, key, d_k, low=0),
        numbers(d_q, d_k, low=-0.1, high=0.25),
    )


@test_case(points=3)
def test_idea(bilinear_scores):
    QUESTION.check("idea", bilinear_scores)


@test_case(points=2)
def test_edges(bilinear_scores):
    QUESTION.check("idea edges", bilinear_scores)
