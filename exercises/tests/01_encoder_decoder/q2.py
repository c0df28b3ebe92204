"""The masked loss: the mean over the real tokens of the whole batch."""

import torch
import torch.nn.functional as F
from otter.test_files import test_case
from torch import tensor

from attend.grading import Question, numbers

OK_FORMAT = False
name = "q2"
points = None

QUESTION = Question(
    "masked_loss", returns={"the loss": ""}, gradients=["logits"]
)


# --- Answers


@QUESTION.reference
def masked_loss(logits, tgt, pad_id):
    log_probs = logits.log_softmax(dim=-1)
    right = log_probs.gather(-1, tgt[..., None]).squeeze(-1)
    return -right[tgt != pad_id].mean()


def losses_of(logits, tgt):
    return F.cross_entropy(logits.transpose(1, 2), tgt, reduction="none")


@QUESTION.mistake(
    "You divide by all positions, padding included, so more padding makes your "
    "loss smaller. Divide by the number of real tokens."
)
def masked_loss(logits, tgt, pad_id):
    return (losses_of(logits, tgt) * (tgt != pad_id)).mean()


@QUESTION.mistake(
    "Padding still adds to your loss. Where the target is pad_id there is "
    "nothing to predict: whatever the logits are there, the loss must stay the "
    "same."
)
def masked_loss(logits, tgt, pad_id):
    return losses_of(logits, tgt).mean()


@QUESTION.mistake(
    "The losses at padding are in your sum, and only the count leaves padding "
    "out. Set them to zero before you add up."
)
def masked_loss(logits, tgt, pad_id):
    return losses_of(logits, tgt).sum() / (tgt != pad_id).sum()


@QUESTION.mistake(
    "Your loss is the sum over the real tokens and not their mean. With a sum "
    "a batch of long sentences takes bigger steps than a batch of short ones."
)
def masked_loss(logits, tgt, pad_id):
    return losses_of(logits, tgt)[tgt != pad_id].sum()


@QUESTION.mistake(
    "You divide the sum of all losses by the number of sentences, and not by "
    "that of real tokens."
)
def masked_loss(logits, tgt, pad_id):
    return losses_of(logits, tgt)[tgt != pad_id].sum() / len(tgt)


@QUESTION.mistake(
    "You take the mean of each sentence, then the mean of these means. So the "
    "tokens of a short sentence count for more than those of a long one. Take "
    "one mean over all real tokens."
)
def masked_loss(logits, tgt, pad_id):
    real = tgt != pad_id
    sums = (losses_of(logits, tgt) * real).sum(dim=1)
    return (sums / real.sum(dim=1).clamp(min=1)).mean()


@QUESTION.mistake(
    "You take the mean of each sentence, then the mean of these means, and a "
    "sentence without a real token makes it NaN. Take one mean over all real "
    "tokens."
)
def masked_loss(logits, tgt, pad_id):
    real = tgt != pad_id
    sums = (losses_of(logits, tgt) * real).sum(dim=1)
    return (sums / real.sum(dim=1)).mean()


@QUESTION.mistake(
    "Softmax is applied twice. `F.cross_entropy` and `log_softmax` want raw "
    "logits."
)
def masked_loss(logits, tgt, pad_id):
    return losses_of(logits.softmax(dim=-1), tgt)[tgt != pad_id].mean()


@QUESTION.mistake(
    "The sign is wrong: your loss is the mean log-probability. A loss is minus "
    "that, so that it falls while the model learns."
)
def masked_loss(logits, tgt, pad_id):
    return -losses_of(logits, tgt)[tgt != pad_id].mean()


@QUESTION.mistake(
    "Your loss is in bits. In nats the logarithm is the natural one."
)
def masked_loss(logits, tgt, pad_id):
    return losses_of(logits, tgt)[tgt != pad_id].mean() / tensor(2.0).log()


@QUESTION.mistake(
    "You take minus the raw logit of the right token. First make "
    "log-probabilities of the logits: `log_softmax(dim=-1)`."
)
def masked_loss(logits, tgt, pad_id):
    right = logits.gather(-1, tgt[..., None]).squeeze(-1)
    return -right[tgt != pad_id].mean()


@QUESTION.mistake(
    "You take minus the probability of the right token, without the logarithm."
)
def masked_loss(logits, tgt, pad_id):
    return -(-losses_of(logits, tgt)).exp()[tgt != pad_id].mean()


@QUESTION.mistake(
    "Your softmax goes over the positions. Each position has a distribution of "
    "its own over the vocabulary: `dim=-1`."
)
def masked_loss(logits, tgt, pad_id):
    log_probs = logits.log_softmax(dim=1)
    right = log_probs.gather(-1, tgt[..., None]).squeeze(-1)
    return -right[tgt != pad_id].mean()


@QUESTION.mistake(
    "A large logit makes your loss infinite or NaN: the exponential leaves the "
    "range of floats. `log_softmax` does not take it."
)
def masked_loss(logits, tgt, pad_id):
    exp = logits.exp()
    log_probs = (exp / exp.sum(dim=-1, keepdim=True)).log()
    right = log_probs.gather(-1, tgt[..., None]).squeeze(-1)
    return -right[tgt != pad_id].mean()


@QUESTION.mistake(
    "Where the model is sure and wrong your loss is infinite: the softmax "
    "underflows to 0 before you take its logarithm. `log_softmax` is both in "
    "one."
)
def masked_loss(logits, tgt, pad_id):
    log_probs = logits.softmax(dim=-1).log()
    right = log_probs.gather(-1, tgt[..., None]).squeeze(-1)
    return -right[tgt != pad_id].mean()


@QUESTION.mistake(
    "You take padding to be 0. Another vocabulary pads with another number, "
    "and then 0 is a token like any other: use pad_id."
)
def masked_loss(logits, tgt, pad_id):
    return losses_of(logits, tgt)[tgt != 0].mean()


@QUESTION.mistake(
    "You count only ids above pad_id as real tokens. Padding is what equals "
    "pad_id; smaller ids are tokens like any other."
)
def masked_loss(logits, tgt, pad_id):
    return losses_of(logits, tgt)[tgt > pad_id].mean()


@QUESTION.mistake(
    "You mixed up positions and vocabulary. To swap two dimensions, transpose "
    "them. `view` and `reshape` leave the numbers in their order and only cut "
    "the rows elsewhere."
)
def masked_loss(logits, tgt, pad_id):
    batch, length, vocab = logits.shape
    return F.cross_entropy(
        logits.reshape(batch, vocab, length), tgt, ignore_index=pad_id
    )


@QUESTION.mistake(
    "No gradient goes from your loss to the logits. `item`, `detach` and "
    "`torch.tensor` cut it, and `backward` has nowhere to go."
)
def masked_loss(logits, tgt, pad_id):
    return losses_of(logits, tgt)[tgt != pad_id].mean().detach()


# --- Trials

GUESS, SURE = [0.0, 0.0, 0.0], [0.0, 0.0, 9.0]
QUESTION.call("idea", tensor([[[0.0, 1.0, 2.0]]]), tensor([[2]]), 0)
QUESTION.call("idea", tensor([[GUESS, GUESS]]), tensor([[2, 1]]), 0)
QUESTION.call(
    "idea",
    tensor([[SURE, [0.0, 9.0, 0.0]]]),
    tensor([[2, 1]]),
    0,
    rule="Each position is compared with its own target.",
)
QUESTION.call(
    "idea",
    tensor([[GUESS, [5.0, 0.0, 0.0]]]),
    tensor([[2, 0]]),
    0,
    rule="Padding adds nothing to the loss, and is not counted.",
)
QUESTION.call(
    "idea",
    tensor([[SURE, SURE, SURE], [GUESS, [0.0, 4.0, 0.0], SURE]]),
    tensor([[2, 2, 2], [2, 0, 0]]),
    0,
    rule="The mean goes over all real tokens of the batch.",
)
QUESTION.call(
    "edges",
    tensor([[GUESS, [0.0, 9.0, 0.0], [1.0, 0.0, 3.0]]]),
    tensor([[0, 2, 1]]),
    2,
    rule="Padding has the number pad_id, and 0 may be a token.",
)
QUESTION.call(
    "edges",
    tensor([[[1.0, 0.0, 3.0], [0.0, 2.0, 0.0]]]),
    tensor([[0, 1]]),
    2,
    rule="There may be no padding at all.",
)
QUESTION.call(
    "edges",
    tensor([[SURE, [0.0, 4.0, 0.0]], [GUESS, SURE]]),
    tensor([[2, 1], [0, 0]]),
    0,
    rule="A sentence may have no real token.",
)
QUESTION.call(
    "edges",
    tensor([[[0.0, 200.0, -200.0], [1.0, 2.0, 3.0]]]),
    tensor([[2, 1]]),
    0,
    rule="Logits may be large: a loss of 400 is a number like any other.",
)
QUESTION.call(
    "edges",
    tensor([[[1000.0, 1001.0, 1002.0], [1.0, 2.0, 3.0]]]),
    tensor([[2, 0]]),
    0,
    rule="Logits may be large: only their differences count.",
)


@QUESTION.sizes
def general(batch=2, length=5, vocab=7):
    """The targets 1, 2, …, with padding among them."""
    tgt = torch.arange(1, batch * length + 1).view(batch, length) % vocab
    pad_id = 0 if vocab > 1 else 1
    return numbers(batch, length, vocab), tgt, pad_id


@test_case(points=4)
def test_idea(masked_loss):
    QUESTION.check("idea", masked_loss)


@test_case(points=3)
def test_edges(masked_loss):
    QUESTION.check("idea edges", masked_loss)
