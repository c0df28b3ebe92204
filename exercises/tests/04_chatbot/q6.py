"""Early stopping with the best weights, on losses written down beforehand."""

import copy
import math

import torch
from otter.test_files import test_case
from torch import nn

from attend.grading import Question, Seen, UnusableAnswerError, show

OK_FORMAT = False
name = "q6"
points = None

QUESTION = Question("early_stopping")


# --- Answers


def weights_of(model):
    return copy.deepcopy(model.state_dict())


@QUESTION.reference
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    losses = []
    lowest, waited = math.inf, 0
    best = copy.deepcopy(model.state_dict())
    while len(losses) < max_epochs and waited < patience:
        train_epoch(model)
        losses.append(valid_loss(model))
        waited += 1
        if losses[-1] < lowest:
            lowest, waited = losses[-1], 0
            best = copy.deepcopy(model.state_dict())
    model.load_state_dict(best)
    return losses


def otherwise(
    *,
    start=math.inf,
    better=lambda loss, lowest, losses: loss < lowest,
    resets=None,
    keeps=None,
    goes_on=lambda count, max_epochs, waited, patience: (
        count < max_epochs and waited < patience
    ),
    puts_back="always",
    result=lambda losses, lowest: losses,
):
    """An answer in which one thing is done otherwise.

    Args:
        start: The lowest loss before the first epoch.
        better: Whether a loss is a new best.
        resets: Whether it gives back the patience, if not as `better`.
        keeps: Whether its weights are kept, if not as `better`.
        goes_on: Whether there is another epoch.
        puts_back: When the best weights are put back.
        result: What is returned.
    """
    resets, keeps = resets or better, keeps or better

    def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
        losses, waited = [], 0
        lowest, best = start, weights_of(model)
        while goes_on(len(losses), max_epochs, waited, patience):
            train_epoch(model)
            loss = valid_loss(model)
            kept = keeps(loss, lowest, losses)
            reset = resets(loss, lowest, losses)
            if kept:
                best = weights_of(model)
            waited = 0 if reset else waited + 1
            if better(loss, lowest, losses):
                lowest = loss
            losses.append(loss)
            if puts_back == "at once" and not kept:
                model.load_state_dict(best)
        if puts_back == "always" or (
            puts_back == "by patience" and waited >= patience
        ):
            model.load_state_dict(best)
        return result(losses, lowest)

    return early_stopping


def as_good(loss, lowest, losses):
    return loss <= lowest


def below_previous(loss, lowest, losses):
    return not losses or loss < losses[-1]


def never(loss, lowest, losses):
    return False


for message, how in [
    (
        "You keep the largest loss, as if it were an accuracy. A loss is good "
        "when it is low.",
        {"start": -math.inf, "better": lambda loss, lowest, _: loss > lowest},
    ),
    (
        "Your lowest loss begins at 0, so a loss above 0 is never a new best. "
        "It begins at infinity.",
        {"start": 0.0},
    ),
    (
        "Your lowest loss begins at 1, so losses above that are never a new "
        "best. It begins at infinity.",
        {"start": 1.0},
    ),
    (
        "Your lowest loss begins at 10, so losses above that are never a new "
        "best. It begins at infinity.",
        {"start": 10.0},
    ),
    *(
        (
            "Your lowest loss begins at 100, or another number, so losses "
            "above it are never a new best. It begins at infinity.",
            {"start": start},
        )
        for start in (100.0, 1e3, 1e4, 1e5, 1e6, 1e9, 1e10)
    ),
    (
        "You train for `patience` epochs and stop, whatever the losses are. "
        "Only epochs that bring no new best use up the patience.",
        {"resets": never},
    ),
    (
        "Training does not end after max_epochs. However good the losses are, "
        "there are no more epochs than that.",
        {"goes_on": lambda _, __, waited, patience: waited < patience},
    ),
    (
        "You ignore the patience: training goes on to max_epochs.",
        {"goes_on": lambda count, max_epochs, *_: count < max_epochs},
    ),
    (
        "You stop at the first epoch that brings no new best, whatever the "
        "patience is.",
        {
            "goes_on": lambda count, max_epochs, waited, _: (
                count < max_epochs and waited < 1
            )
        },
    ),
    (
        "You wait one epoch too long. With patience 2, the second epoch in a "
        "row that brings no new best is the last one.",
        {
            "goes_on": lambda count, max_epochs, waited, patience: (
                count < max_epochs and waited <= patience
            )
        },
    ),
    (
        "You stop one epoch too early. With patience 2, the second epoch in a "
        "row that brings no new best is the last one.",
        {
            "goes_on": lambda count, max_epochs, waited, patience: (
                count < max_epochs and waited < max(patience - 1, 1)
            )
        },
    ),
    (
        "You train one epoch more than max_epochs.",
        {
            "goes_on": lambda count, max_epochs, waited, patience: (
                count <= max_epochs and waited < patience
            )
        },
    ),
    (
        "You train one epoch fewer than max_epochs.",
        {
            "goes_on": lambda count, max_epochs, waited, patience: (
                count < max(max_epochs - 1, 1) and waited < patience
            )
        },
    ),
    (
        "You compare with the previous epoch. Compare with the lowest loss so "
        "far: 2.2 after 2.0 and 2.5 is no new best.",
        {"better": below_previous},
    ),
    (
        "A loss below that of the previous epoch earns the patience again. "
        "Only one below the lowest so far does.",
        {"resets": below_previous},
    ),
    (
        "As good as the lowest counts as a new best with you. It is not below "
        "it: a loss that stands still must use up the patience, and the first "
        "of two equals is kept. Compare with the lowest of the losses before "
        "this one, by `<`.",
        {"better": as_good},
    ),
    (
        "A loss as good as the lowest earns the patience again. It is not "
        "below it: a loss that stands still must use up the patience.",
        {"resets": as_good},
    ),
    (
        "Of two epochs with the same lowest loss you keep the weights of the "
        "later. As good as the lowest is not below it: keep the first.",
        {"keeps": as_good},
    ),
    (
        "A loss that is only a little below the lowest is no new best with "
        "you. Any loss below it is one.",
        {"better": lambda loss, lowest, _: loss < lowest - 1e-3},
    ),
    (
        "A loss that is only a little below the lowest is no new best with "
        "you. Any loss below it is one.",
        {"better": lambda loss, lowest, _: loss < lowest - 1e-4},
    ),
    (
        "The model ends with the weights of its last epoch. Either you do not "
        "put the best ones back into `model`, or you kept them by reference: "
        "`state_dict()` holds the very tensors that training goes on to "
        "change, and a `.copy()` of the dict holds them too. `copy.deepcopy` "
        "makes new ones, and `model.load_state_dict` puts them back.",
        {"puts_back": "never"},
    ),
    (
        "The model ends with the weights that it had before training. Keep "
        "those of each new best.",
        {"keeps": never},
    ),
    (
        "You put the best weights back only where patience ends the training. "
        "Do it where max_epochs ends it, too.",
        {"puts_back": "by patience"},
    ),
    (
        "You put the best weights back after each epoch that brings no new "
        "best, so training does not go on from where it was. Do it once, at "
        "the end.",
        {"puts_back": "at once"},
    ),
    (
        "Your list ends with the best epoch. Return one loss for each epoch "
        "that was trained, the bad ones at the end among them.",
        {"result": lambda losses, low: losses[: losses.index(low) + 1]},
    ),
    (
        "Your list holds only those losses that were a new best. Return one "
        "for each epoch that was trained, good or bad.",
        {
            "result": lambda losses, _: [
                loss
                for place, loss in enumerate(losses)
                if loss < min(losses[:place], default=math.inf)
            ]
        },
    ),
    (
        "Your list holds the lowest loss so far of each epoch. Return the loss "
        "that the epoch had.",
        {
            "result": lambda losses, _: [
                min(losses[: place + 1]) for place in range(len(losses))
            ]
        },
    ),
    (
        "Your list lacks the last epoch. Put a loss into the list before you "
        "decide whether to stop.",
        {"result": lambda losses, _: losses[:-1]},
    ),
    (
        "You return the lowest loss alone. Return the list of all losses, one "
        "for each epoch that was trained.",
        {"result": lambda _, lowest: lowest},
    ),
    (
        "You return the losses and something else. Return the list of losses "
        "alone.",
        {"result": lambda losses, lowest: (losses, lowest)},
    ),
]:
    QUESTION.mistake(message)(otherwise(**how))


@QUESTION.mistake(
    "You count all epochs since the start that brought no new best. A new best "
    "earns the full patience again: set the count back to 0."
)
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    losses, lowest, bad, best = [], math.inf, 0, weights_of(model)
    while len(losses) < max_epochs and bad < patience:
        train_epoch(model)
        losses.append(valid_loss(model))
        if losses[-1] < lowest:
            lowest, best = losses[-1], weights_of(model)
        else:
            bad += 1
    model.load_state_dict(best)
    return losses


@QUESTION.mistake(
    "Where the lowest loss is 0, any loss is a new best with you. Do you ask "
    "`if not lowest`? 0 counts as false: begin with infinity, or ask `is None`."
)
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    losses, lowest, waited, best = [], None, 0, weights_of(model)
    while len(losses) < max_epochs and waited < patience:
        train_epoch(model)
        losses.append(valid_loss(model))
        waited += 1
        if not lowest or losses[-1] < lowest:
            lowest, waited, best = losses[-1], 0, weights_of(model)
    model.load_state_dict(best)
    return losses


@QUESTION.mistake(
    "You compare with the loss of `patience` epochs before. Training ends when "
    "as many epochs in a row have brought no loss below the lowest of all so "
    "far."
)
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    losses, best = [], weights_of(model)
    while len(losses) < max_epochs:
        train_epoch(model)
        losses.append(valid_loss(model))
        if losses.index(min(losses)) == len(losses) - 1:
            best = weights_of(model)
        if len(losses) > patience and losses[-1] >= losses[-1 - patience]:
            break
    model.load_state_dict(best)
    return losses


@QUESTION.mistake(
    "The weights that you put back are one epoch too old: those from before "
    "the best epoch's training. Copy them after training, when the loss is "
    "known."
)
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    losses, lowest, waited, best = [], math.inf, 0, weights_of(model)
    while len(losses) < max_epochs and waited < patience:
        before = weights_of(model)
        train_epoch(model)
        losses.append(valid_loss(model))
        waited += 1
        if losses[-1] < lowest:
            lowest, waited, best = losses[-1], 0, before
    model.load_state_dict(best)
    return losses


@QUESTION.mistake(
    "The parameters are the best ones, the buffers are those of the last "
    "epoch. A model is more than its parameters: batch normalisation keeps "
    "means in buffers. `state_dict()` has both."
)
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    before = dict(model.named_parameters())
    right = QUESTION.right["early_stopping"]
    last = {}

    def train(model):
        train_epoch(model)
        last.update(weights_of(model))

    losses = right(model, train, valid_loss, patience, max_epochs)
    buffers = {key: value for key, value in last.items() if key not in before}
    model.load_state_dict(buffers, strict=False)
    return losses


@QUESTION.mistake(
    "You validate before the first training, and take that loss for the "
    "lowest. Begin with an epoch of training; the lowest loss so far is "
    "infinite."
)
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    lowest, waited, best = valid_loss(model), 0, weights_of(model)
    losses = []
    while len(losses) < max_epochs and waited < patience:
        train_epoch(model)
        losses.append(valid_loss(model))
        waited += 1
        if losses[-1] < lowest:
            lowest, waited, best = losses[-1], 0, weights_of(model)
    model.load_state_dict(best)
    return losses


@QUESTION.mistake(
    "You validate first and train after that, so each loss is one of the epoch "
    "before. Train, then validate."
)
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    losses, lowest, waited, best = [], math.inf, 0, weights_of(model)
    while len(losses) < max_epochs and waited < patience:
        losses.append(valid_loss(model))
        waited += 1
        if losses[-1] < lowest:
            lowest, waited, best = losses[-1], 0, weights_of(model)
        train_epoch(model)
    model.load_state_dict(best)
    return losses


@QUESTION.mistake(
    "You validate twice in an epoch. Keep what `valid_loss` returns: it may "
    "take long."
)
def early_stopping(model, train_epoch, valid_loss, patience, max_epochs):
    def twice(model):
        valid_loss(model)
        return valid_loss(model)

    right = QUESTION.right["early_stopping"]
    return right(model, train_epoch, twice, patience, max_epochs)


# --- Trials

MOST_CALLS = 60


class Counter(nn.Module):
    """A model whose weight, like its buffers, counts the epochs of training.

    Batch normalisation has buffers: numbers that belong to the model and are no
    parameters.
    """

    def __init__(self):
        super().__init__()
        self.part = nn.Linear(2, 1, bias=False)
        self.weight = nn.Parameter(torch.zeros(()))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("count", torch.tensor(0))
        nn.init.zeros_(self.part.weight)


def stopped(part, losses, patience, max_epochs, rule="", before=1e6):
    """Register losses: what happens, and which weights remain.

    `before` is the loss before any training.
    """
    label = (
        f"losses {show(losses)}, patience {patience}, max_epochs {max_epochs}"
    )

    @QUESTION.trial(part, label, rule)
    def trial(early_stopping):
        model, calls = Counter(), []

        def called(what, given):
            if not isinstance(given, nn.Module):
                raise UnusableAnswerError(
                    f"the argument of `{what}`: expected the model, got a "
                    f"{type(given).__name__}"
                )
            if len(calls) == MOST_CALLS:
                raise RuntimeError(
                    f"train_epoch and valid_loss were called {MOST_CALLS} times"
                )
            calls.append(what[:5])

        def train_epoch(given):
            called("train_epoch", given)
            with torch.no_grad():
                for tensor in given.state_dict().values():
                    tensor.add_(1)

        def valid_loss(given):
            called("valid_loss", given)
            trained = calls.count("train")
            return losses[min(trained, len(losses)) - 1] if trained else before

        got = early_stopping(
            model, train_epoch, valid_loss, patience, max_epochs
        )
        seen = {
            "the epochs trained": calls.count("train"),
            "the calls in the order": " ".join(calls),
            "what you return": got,
            "the model has the weights of epoch": model.weight.item(),
            "and in its part those of epoch": model.part.weight[0, 1].item(),
        }
        if part == "edges":
            seen["the model has the buffers of epoch"] = model.count.item()
            seen["and the mean of epoch"] = model.mean.item()
        return Seen(seen)


stopped("idea", [3.0, 2.0, 2.5, 2.2, 1.0], 2, 9)
stopped("idea", [3.0, 2.0, 4.0, 5.0, 6.0, 7.0, 8.0], 3, 9)
stopped(
    "idea", [5.0, 4.0, 3.0, 2.0], 2, 4, "Training must end after max_epochs."
)
stopped(
    "idea",
    [5.0, 6.0, 4.0, 5.0, 3.0, 4.0, 2.0, 3.0, 4.0, 5.0],
    3,
    20,
    "A new best earns the full patience again.",
)
stopped(
    "idea",
    [3.0, 2.0, 2.9, 2.8, 2.7, 2.6, 2.5],
    3,
    9,
    "A new best is below the lowest loss so far.",
)
stopped(
    "edges",
    [3.0, 2.0, 2.0, 2.0, 2.0, 1.0],
    2,
    9,
    "As good as the lowest is not below it.",
)
stopped(
    "edges",
    [2.0, 3.0, 2.0, 3.0, 2.0, 1.0],
    3,
    9,
    "As good as the lowest is not below it.",
)
stopped("edges", [3.0, 2.0, 2.5, 1.0], 1, 9, "patience may be 1.")
stopped("edges", [3.0, 4.0, 5.0], 1, 9, "The first epoch may be the best.")
stopped("edges", [3.0, 2.0], 3, 1, "max_epochs may be 1.")
stopped(
    "edges",
    [3.0, 2.0, 4.0, 1.0],
    5,
    3,
    "The best weights must be put back where max_epochs ends it, too.",
)
stopped(
    "edges",
    [3.0, 2.0, 4.0, 5.0, 1.0],
    2,
    4,
    "patience and max_epochs may come together.",
)
stopped(
    "edges",
    [900.0, 800.0, 700.0, 650.0, 640.0, 630.0, 700.0],
    2,
    7,
    "A loss may be large.",
)
stopped("edges", [5e4, 4e4, 3e4, 2e4, 1e4], 2, 5, "A loss may be very large.")
stopped("edges", [5e8, 4e8, 3e8, 2e8, 1e8], 2, 5, "A loss may be very large.")
stopped("edges", [5e12, 4e12, 3e12, 2e12], 2, 4, "A loss may be very large.")
stopped("edges", [40.0, 30.0, 20.0, 25.0, 15.0, 16.0], 2, 6)
stopped("edges", [5.0, 4.0, 3.0, 2.5, 2.0, 2.25], 2, 6)
stopped(
    "edges",
    [-1.0, -3.0, -2.5, -2.0, -4.0],
    2,
    9,
    "A loss may be below 0: it is low that counts.",
)
stopped("edges", [1.0, 0.0, 0.5, 0.4, 0.3], 2, 9, "A loss may be 0.")
stopped(
    "edges",
    [1.0, 0.9996, 0.9992, 0.9988, 0.9984, 0.998, 0.9976],
    2,
    7,
    "A loss that is only a little below the lowest is a new best.",
)
stopped(
    "edges",
    [1.0, 0.99995, 0.9999, 0.99985, 0.9998, 0.99975, 0.9997],
    2,
    7,
    "A loss that is only a little below the lowest is a new best.",
)
stopped(
    "edges",
    [4.0, 2.0, 3.0, 2.5],
    2,
    9,
    "Begin with an epoch of training.",
    before=1.0,
)
stopped("edges", [1.0, 2.0, 0.5, 2.1, 0.3, 1.0, 2.0], 2, 9)
stopped("edges", [9.0, 8.0, 7.0, 6.5, 7.0, 6.0, 8.0, 5.0, 9.0, 9.5], 2, 40)


@QUESTION.trial(
    "edges",
    "losses [3, 2, 4, 5], patience 2, and the same again with another model",
    "A second call must not know of the first.",
)
def trial(early_stopping):
    seen = []
    for _ in range(2):
        model, losses = nn.Linear(1, 1, bias=False), [3.0, 2.0, 4.0, 5.0, 6.0]
        nn.init.zeros_(model.weight)

        def train_epoch(given):
            with torch.no_grad():
                given.weight += 1

        def valid_loss(given, losses=losses):
            return losses.pop(0)

        got = early_stopping(model, train_epoch, valid_loss, 2, 5)
        seen.append([got, model.weight.item()])
    return Seen({"what you return, and the weight": seen})


@test_case(points=6)
def test_idea(early_stopping):
    QUESTION.check("idea", early_stopping)


@test_case(points=4)
def test_edges(early_stopping):
    QUESTION.check("idea edges", early_stopping)
