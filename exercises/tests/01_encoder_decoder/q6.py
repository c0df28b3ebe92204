"""Scheduled sampling: a coin for each position, and where predictions stand."""

import torch
from otter.test_files import test_case
from torch import nn, tensor

from attend.grading import Absent, Question, Seen, Share, numbers

OK_FORMAT = False
name = "q6"
points = None

QUESTION = Question("scheduled_inputs", returns={"the inputs": "batch, length"})


def own_inputs(tgt_in, logits):
    """What a model reads that follows only itself."""
    return torch.cat([tgt_in[:, :1], logits.argmax(dim=-1)[:, :-1]], dim=1)


def mixed(coin, tgt_in, logits):
    """The model's own tokens where the coin says so; BOS stays."""
    return torch.where(coin, own_inputs(tgt_in, logits), tgt_in)


def sure_of(tokens, vocab=23):
    """Logits whose maximum is at the given tokens."""
    return nn.functional.one_hot(tensor(tokens), vocab).float()


# --- Answers


@QUESTION.reference
def scheduled_inputs(tgt_in, logits, probability):
    return mixed(torch.rand(tgt_in.shape) < probability, tgt_in, logits)


@QUESTION.mistake(
    "You toss one coin for the whole batch: it is all true or all predicted. "
    "Toss a coin for each position, so that the model learns to go on after a "
    "single slip."
)
def scheduled_inputs(tgt_in, logits, probability):
    return mixed(torch.rand(()) < probability, tgt_in, logits)


@QUESTION.mistake(
    "You toss one coin for a whole sentence: it is all true or all predicted. "
    "Toss a coin for each position, so that the model learns to go on after a "
    "single slip."
)
def scheduled_inputs(tgt_in, logits, probability):
    return mixed(torch.rand(len(tgt_in), 1) < probability, tgt_in, logits)


@QUESTION.mistake(
    "You toss the coins once and use them for every sentence: all of the batch "
    "is replaced at the same positions. Draw a number for each sentence and "
    "each position."
)
def scheduled_inputs(tgt_in, logits, probability):
    return mixed(torch.rand(tgt_in.shape[1]) < probability, tgt_in, logits)


@QUESTION.mistake(
    "Every call tosses the same coins. Do you set a seed inside? Training "
    "would replace the same positions in each batch."
)
def scheduled_inputs(tgt_in, logits, probability):
    generator = torch.Generator().manual_seed(0)
    coin = torch.rand(tgt_in.shape, generator=generator) < probability
    return mixed(coin, tgt_in, logits)


@QUESTION.mistake(
    "You replace a fixed share of the positions instead of tossing a coin for "
    "each: how many tokens are replaced must be left to chance, too."
)
def scheduled_inputs(tgt_in, logits, probability):
    count = round(probability * (tgt_in.shape[1] - 1))
    order = torch.rand(tgt_in[:, 1:].shape).argsort(dim=1).argsort(dim=1)
    coin = nn.functional.pad(order < count, (1, 0))
    return mixed(coin, tgt_in, logits)


@QUESTION.mistake(
    "You replaced BOS by a prediction. It is not a prediction of anything, and "
    "when the model writes by itself BOS comes first as well: leave position 0 "
    "alone. And what the model predicts at position 0, it reads at position 1."
)
def scheduled_inputs(tgt_in, logits, probability):
    coin = torch.rand(tgt_in.shape) < probability
    return torch.where(coin, logits.argmax(dim=-1), tgt_in)


@QUESTION.mistake(
    "You put the last prediction in the place of BOS. `roll` brings it round "
    "to the front: leave position 0 alone."
)
def scheduled_inputs(tgt_in, logits, probability):
    coin = torch.rand(tgt_in.shape) < probability
    return torch.where(coin, logits.argmax(dim=-1).roll(1, dims=1), tgt_in)


@QUESTION.mistake(
    "Your predictions are off by one. What the model predicts at position 0, "
    "after BOS, it reads at position 1: position t takes the one of t - 1."
)
def scheduled_inputs(tgt_in, logits, probability):
    coin = torch.rand(tgt_in.shape) < probability
    coin[:, 0] = False
    return torch.where(coin, logits.argmax(dim=-1), tgt_in)


@QUESTION.mistake(
    "Your probability is the wrong way round. It is the one of the model's own "
    "prediction: 0 is pure teacher forcing."
)
def scheduled_inputs(tgt_in, logits, probability):
    return mixed(torch.rand(tgt_in.shape) >= probability, tgt_in, logits)


@QUESTION.mistake(
    "You replace every position, whatever the probability, unless it is 0. "
    "Toss a coin for each."
)
def scheduled_inputs(tgt_in, logits, probability):
    return own_inputs(tgt_in, logits) if probability else tgt_in.clone()


@QUESTION.mistake(
    "You wrote into tgt_in. In training that is a view of the targets, "
    "`tgt[:, :-1]`, so the model would now be taught its own mistakes. Make a "
    "new tensor."
)
def scheduled_inputs(tgt_in, logits, probability):
    coin = torch.rand(tgt_in.shape) < probability
    tgt_in[coin] = own_inputs(tgt_in, logits)[coin]
    return tgt_in


@QUESTION.mistake(
    "Your token is drawn from the model's distribution. The question asks for "
    "the most likely one."
)
def scheduled_inputs(tgt_in, logits, probability):
    coin = torch.rand(tgt_in.shape) < probability
    flat = logits.float().softmax(dim=-1).flatten(0, 1)
    drawn = torch.multinomial(flat, 1).view(tgt_in.shape)
    own = torch.cat([tgt_in[:, :1], drawn[:, :-1]], dim=1)
    return torch.where(coin, own, tgt_in)


# --- Trials: first where nothing is left to chance

for part, rule, tgt_in, predicted in [
    ("idea", "", [[1, 5, 6, 7]], [[8, 6, 9, 2]]),
    ("idea", "", [[1, 5, 6], [1, 7, 2]], [[8, 9, 3], [4, 10, 11]]),
    (
        "edges",
        "BOS need not be 1: keep what stands at position 0.",
        [[4, 5, 1]],
        [[8, 9, 3]],
    ),
    ("edges", "A sentence may be BOS alone.", [[1], [1]], [[8], [9]]),
]:
    for probability in (0.0, 1.0):
        QUESTION.call(
            part, tensor(tgt_in), sure_of(predicted), probability, rule=rule
        )
QUESTION.call(
    "edges",
    torch.arange(15).view(3, 5) % 11,
    numbers(3, 5, 11, low=-3, high=3),
    1.0,
    rule="The most likely token may be only a little ahead.",
)

# --- Where chance decides

CALLS = 400


def replaced(scheduled_inputs, probability):
    """Where the prediction was taken in many small calls: (call, 2, 3)."""
    tgt_in = tensor([[1, 5, 5, 5], [1, 5, 5, 5]])
    logits = sure_of([[11] * 4] * 2)
    calls = [
        scheduled_inputs(tgt_in.clone(), logits.clone(), probability)
        for _ in range(CALLS)
    ]
    return torch.stack(calls)[:, :, 1:] == 11


for part, probability in [("idea", 0.5), ("edges", 0.25), ("edges", 0.9)]:

    @QUESTION.trial(
        part,
        f"{CALLS} calls with 2 sentences of 4 tokens, probability "
        f"{probability}",
        "Each position of each sentence is replaced with the given "
        "probability, independently of all others.",
    )
    def trial(scheduled_inputs, probability=probability):
        own = replaced(scheduled_inputs, probability)
        p, both = probability, probability**2 + (1 - probability) ** 2
        seen = {
            "position 1 is replaced": (own[:, 0, 1], p),
            "positions 1 and 2 have the same fate": (
                own[:, 0, 0] == own[:, 0, 1],
                both,
            ),
            "position 1 has the same fate in both sentences": (
                own[:, 0, 0] == own[:, 1, 0],
                both,
            ),
            "position 1 has the same fate in two calls that follow each "
            "other": (own[::2, 0, 0] == own[1::2, 0, 0], both),
            "just one position of sentence 0 is replaced": (
                own[:, 0].sum(dim=1) == 1,
                3 * p * (1 - p) ** 2,
            ),
        }
        same = bool((own == own[0]).all())
        return Seen(
            {
                "every call replaces all positions": bool(own.all()),
                "every call replaces the same positions": same,
                **{
                    name: Absent("the same in every call")
                    if same
                    else Share(int(where.sum()), where.numel(), p)
                    for name, (where, p) in seen.items()
                },
            }
        )


@test_case(points=4)
def test_idea(scheduled_inputs):
    QUESTION.check("idea", scheduled_inputs)


@test_case(points=2)
def test_edges(scheduled_inputs):
    QUESTION.check("idea edges", scheduled_inputs)
