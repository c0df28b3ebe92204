"""Early stopping with the best weights, on losses written down beforehand."""

import math

import torch
from otter.test_files import test_case
from torch import nn

from attend.grading.expect import UnusableAnswerError

OK_FORMAT = False
name = "q6"
points = None


class EndlessError(Exception):
    """Far more epochs than `max_epochs` were trained."""


class Counter(nn.Module):
    """A model whose weight, like its buffer, counts the epochs of its training.

    Batch normalisation has buffers: numbers that belong to the model and are no
    parameters.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.register_buffer("mean", torch.zeros(()))
        self.loads = 0

    def load_state_dict(self, *arguments, **named):
        self.loads += 1
        return super().load_state_dict(*arguments, **named)


def run(
    early_stopping, losses: list[float], patience: int, max_epochs: int = 9
):
    """Train on the losses given; return the model and its number of epochs."""
    model, trained = Counter(), []

    def train_epoch(given: nn.Module) -> None:
        if len(trained) == 20:
            raise EndlessError
        trained.append(given)
        with torch.no_grad():
            given.weight.add_(1)
            given.mean.add_(1)

    def valid_loss(given: nn.Module) -> float:
        return (losses + [losses[-1]] * 20)[round(given.weight.item()) - 1]

    try:
        got = early_stopping(
            model, train_epoch, valid_loss, patience, max_epochs
        )
    except EndlessError:
        return model, len(trained), []
    if not isinstance(got, list):
        raise UnusableAnswerError(
            "expected a list with the loss of each epoch, got a "
            f"{type(got).__name__}"
        )
    return model, len(trained), got


def epochs_line(
    losses: list[float], patience: int, expected: int, got: int
) -> str:
    """What was expected, and what came."""
    text = ", ".join(f"{loss:g}" for loss in losses)
    return (
        f"losses {text}, …, patience {patience}: "
        f"expected {expected} epochs, got {got}"
    )


@test_case(
    points=1,
    failure_message=(
        "The loss falls in every epoch, and yet you stop. Do you keep the "
        "largest loss, as if it were an accuracy? Does your best begin at 0, "
        "or at another number that a loss may exceed? It begins at infinity. "
        "Do you count every epoch as a bad one?"
    ),
)
def test_goes_on_while_the_loss_falls(early_stopping):
    losses = [900.0 - 100 * epoch for epoch in range(7)]
    _, epochs, _ = run(early_stopping, losses, patience=2, max_epochs=7)
    assert epochs >= 7, epochs_line(losses[:4], 2, 7, epochs)


@test_case(
    points=1,
    failure_message=(
        "Training must end after `max_epochs`, also where every epoch is "
        "better than the last, and the result is one loss for each epoch "
        "trained, good or bad."
    ),
)
def test_one_loss_for_each_epoch(early_stopping):
    losses = [9.0, 8.0, 8.5, 7.0]
    _, epochs, got = run(early_stopping, losses, patience=2, max_epochs=4)
    assert epochs <= 4, epochs_line(losses, 2, 4, epochs) + "; max_epochs is 4"
    assert [float(loss) for loss in got] == losses[:epochs], (
        f"max_epochs 4, patience 2: expected {losses}, got {got}"
    )


@test_case(
    points=1,
    failure_message=(
        "You count all bad epochs since the start. A new best earns the full "
        "patience again: set the count back to 0."
    ),
)
def test_a_new_best_restores_the_patience(early_stopping):
    losses = [5.0, 6.0, 4.0, 5.0, 3.0, 4.0, 2.0]
    _, epochs, _ = run(early_stopping, losses, patience=3, max_epochs=7)
    assert epochs >= 7, epochs_line(losses, 3, 7, epochs)


@test_case(
    points=1,
    failure_message=(
        "A loss below the one before it does not make it the best. Do you "
        "compare with the previous epoch? Compare with the lowest loss so "
        "far."
    ),
)
def test_compares_with_the_best(early_stopping):
    losses = [3.0, 2.0, 2.9, 2.8, 2.7, 2.6]
    _, epochs, _ = run(early_stopping, losses, patience=3)
    assert epochs <= 6, epochs_line(losses[:5], 3, 5, epochs)


@test_case(
    points=1,
    failure_message=(
        "As good as the best is not better: a loss that stands still must "
        "use up the patience. Is it `<=` where it should be `<`?"
    ),
)
def test_a_tie_is_not_better(early_stopping):
    losses = [3.0, 2.0, 2.0, 2.0]
    _, epochs, _ = run(early_stopping, losses, patience=2)
    assert epochs <= 5, epochs_line(losses, 2, 4, epochs)


@test_case(
    points=1,
    failure_message=(
        "You stop an epoch too early or too late. With patience 2, the "
        "second epoch in a row that brings no new best is the last one."
    ),
)
def test_patience(early_stopping):
    for patience in (1, 3):
        losses = [3.0, 2.0, *[2.5 + epoch for epoch in range(5)]]
        _, epochs, _ = run(early_stopping, losses, patience)
        assert epochs == 2 + patience, epochs_line(
            losses[:5], patience, 2 + patience, epochs
        )


@test_case(
    points=1,
    failure_message=(
        "The model ends with the weights of its last epoch. At the end, "
        "`load_state_dict` must put the best ones back into it."
    ),
)
def test_best_weights_are_put_back(early_stopping):
    model, epochs, _ = run(early_stopping, [3.0, 2.0, 4.0, 5.0], patience=2)
    got = model.weight.item()
    assert got == 2 or model.loads or epochs <= 2, (
        "losses 3, 2, 4, 5: expected the weights after epoch 2, got those "
        f"after epoch {got:g}"
    )


@test_case(
    points=1,
    failure_message=(
        "What you put back are not the best weights. Did you keep them by "
        "reference? `state_dict()` holds the very tensors that training goes "
        "on to change, and a `.copy()` of the dict holds them too. "
        "`copy.deepcopy` makes new ones."
    ),
)
def test_best_weights_are_a_copy(early_stopping):
    model, _, _ = run(early_stopping, [3.0, 2.0, 4.0, 5.0], patience=2)
    got = model.weight.item()
    assert got == 2, (
        "losses 3, 2, 4, 5: expected the weights after epoch 2, got those "
        f"after epoch {got:g}"
    )


@test_case(
    points=1,
    failure_message=(
        "When `max_epochs` ends the training, the model is not the best one. "
        "Do you put the best weights back only where patience ends it?"
    ),
)
def test_best_weights_also_after_max_epochs(early_stopping):
    model, _, _ = run(early_stopping, [3.0, 2.0, 4.0], patience=5, max_epochs=3)
    got = model.weight.item()
    assert got == 2, (
        "losses 3, 2, 4, patience 5, max_epochs 3: expected the weights "
        f"after epoch 2, got those after epoch {got:g}"
    )


@test_case(
    points=1,
    failure_message=(
        "The parameters are the best ones, the buffers are not. A model is "
        "more than its parameters: batch normalisation keeps means in "
        "buffers. `state_dict()` has both."
    ),
)
def test_buffers_too(early_stopping):
    model, _, _ = run(early_stopping, [3.0, 2.0, 4.0, 5.0], patience=2)
    got = model.mean.item()
    assert math.isclose(got, model.weight.item()) and got == 2, (
        "losses 3, 2, 4, 5: expected the buffer after epoch 2, got the one "
        f"after epoch {got:g}"
    )
