"""Checkpoints: each test looks at one thing to be saved.

It puts all others right by itself.
"""

import copy
import io

import torch
from otter.test_files import test_case
from torch import Tensor, nn

from attend.grading import show
from attend.grading.expect import UnusableAnswerError

OK_FORMAT = False
name = "q5"
points = None


class Run:
    """The run of the exercise, with other data."""

    def __init__(self) -> None:
        self.model = nn.Sequential(
            nn.Linear(2, 7), nn.Tanh(), nn.Dropout(0.5), nn.Linear(7, 1)
        )
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.1)
        self.schedule = torch.optim.lr_scheduler.LinearLR(
            self.optimizer, 1.0, 0.0, total_iters=60
        )
        self.epoch, self.position = 0, 0
        self.x = torch.rand(20, 2, generator=torch.Generator().manual_seed(0))

    def step(self) -> None:
        order = torch.randperm(
            20, generator=torch.Generator().manual_seed(self.epoch)
        ).view(5, 4)
        x = self.x[order[self.position]]  # (4, 2)
        loss = (self.model(x) - x.sum(dim=1, keepdim=True)).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.position += 1
        if self.position == 5:
            self.epoch, self.position = self.epoch + 1, 0


def state(run: Run) -> dict:
    """Everything that the rest of the run depends on."""
    parts = {
        part: getattr(run, part).state_dict()
        for part in ("model", "optimizer", "schedule")
    }
    return copy.deepcopy(
        {
            **parts,
            "random": torch.get_rng_state(),
            "epoch": run.epoch,
            "position": run.position,
        }
    )


def put(run: Run, parts: dict) -> None:
    """Write parts of a state into a run."""
    for part, value in copy.deepcopy(parts).items():
        if part == "random":
            torch.set_rng_state(value)
        elif part in ("epoch", "position"):
            setattr(run, part, value)
        else:
            getattr(run, part).load_state_dict(value)


def stopped() -> Run:
    """A run in the middle of its second epoch."""
    # the grader gives the notebook its own random state back
    torch.manual_seed(0)
    run = Run()
    for _ in range(8):
        run.step()
    return run


def another() -> Run:
    """A new run in another process: other first weights and random numbers."""
    torch.manual_seed(1)
    return Run()


def saved_by(checkpoint, run: Run) -> dict:
    """The checkpoint, if it is a dict."""
    saved = checkpoint(run)
    if not isinstance(saved, dict):
        raise UnusableAnswerError(
            f"checkpoint(run): expected a dict, got {type(saved).__name__}: "
            "is a `return` missing?"
        )
    return saved


def weights(run: Run, steps: int = 0) -> Tensor:
    """All weights in one row, after some more steps."""
    for _ in range(steps):
        run.step()
    return nn.utils.parameters_to_vector(run.model.parameters()).detach()


def expect_equal_end(checkpoint, restore, part: str) -> None:
    """Assert that a run with this part restored ends the same.

    All other parts are made right.
    """
    run = stopped()
    others = {name: value for name, value in state(run).items() if name != part}
    saved = copy.deepcopy(saved_by(checkpoint, run))
    resumed = another()
    restore(resumed, saved)
    put(resumed, others)
    worst = (
        (weights(resumed, steps=9) - weights(stopped(), steps=9))
        .abs()
        .max()
        .item()
    )
    assert worst == 0, (
        "stopped after 8 batches, 9 more: expected equal weights, the "
        f"largest difference is {show(worst)}"
    )


def difference(old: object, new: object, path: str = "saved") -> str:
    """Say where two nested values differ; empty if nowhere."""
    if isinstance(old, dict):
        pairs = [(old[key], new.get(key), f"{path}[{key!r}]") for key in old]
    elif isinstance(old, list | tuple):
        pairs = [
            (a, b, f"{path}[{i}]")
            for i, (a, b) in enumerate(zip(old, new, strict=False))
        ]
        if len(old) != len(new):
            return path
    else:
        if isinstance(old, nn.Module | torch.optim.Optimizer):
            return difference(old.state_dict(), new.state_dict(), path)
        same = (
            torch.equal(old, new)
            if isinstance(old, Tensor)
            else old is new or old == new
        )
        return "" if same else path
    return next(
        (found for a, b, name in pairs if (found := difference(a, b, name))), ""
    )


@test_case(
    points=1,
    failure_message=(
        "The file with your checkpoint cannot be read back safely. Did you "
        "save a whole object, such as the model? Save what its "
        "`state_dict()` returns: a dict of tensors and numbers."
    ),
)
def test_a_file_keeps_it(checkpoint, restore):
    file = io.BytesIO()
    saved = saved_by(checkpoint, stopped())
    try:
        torch.save(saved, file)
        file.seek(0)
        torch.load(file, weights_only=True)
    except Exception as error:
        reason = (
            "`torch.load(…, weights_only=True)` refuses it: "
            f"{type(error).__name__}"
        )
        raise AssertionError(reason) from error


@test_case(
    points=1,
    failure_message=(
        "After `restore` the run does not have the weights that were saved, "
        "or its parts no longer belong together. Write into the model, the "
        "optimizer and the schedule that the run has, with "
        "`load_state_dict`: a new optimizer is none that the old schedule "
        "knows."
    ),
)
def test_weights(checkpoint, restore):
    run = stopped()
    saved, other = copy.deepcopy(saved_by(checkpoint, run)), another()
    restore(other, saved)
    theirs = {
        id(weight)
        for group in other.optimizer.param_groups
        for weight in group["params"]
    }
    own = {id(weight) for weight in other.model.parameters()}
    assert own == theirs, "the optimizer moves other weights than the model's"
    assert other.schedule.optimizer is other.optimizer, (
        "the schedule belongs to another optimizer"
    )
    got, expected = weights(other), weights(run)
    assert torch.equal(got, expected), (
        f"the first three weights: expected {show(expected[:3])}, got "
        f"{show(got[:3])}"
    )


@test_case(
    points=1,
    failure_message=(
        "The optimizer starts anew. Adam keeps two running means for each "
        "weight and counts its steps; without them the next steps are "
        "others. It has a `state_dict()` like a model."
    ),
)
def test_optimizer(checkpoint, restore):
    expect_equal_end(checkpoint, restore, "optimizer")


@test_case(
    points=1,
    failure_message=(
        "The learning rate falls from the start again. The schedule counts "
        "its steps: it has a `state_dict()`, too."
    ),
)
def test_schedule(checkpoint, restore):
    expect_equal_end(checkpoint, restore, "schedule")


@test_case(
    points=1,
    failure_message=(
        "Dropout draws other numbers than it would have. Save the state of "
        "PyTorch's random numbers, `torch.get_rng_state()`, and set it "
        "again, as the last thing you do. A seed is not enough: it starts "
        "from the beginning."
    ),
)
def test_random_numbers(checkpoint, restore):
    expect_equal_end(checkpoint, restore, "random")


@test_case(
    points=1,
    failure_message=(
        "The resumed run is in another epoch, so its data come in another "
        "order. Is `run.epoch` saved and restored?"
    ),
)
def test_epoch(checkpoint, restore):
    expect_equal_end(checkpoint, restore, "epoch")


@test_case(
    points=1,
    failure_message=(
        "The resumed run starts its epoch again: some batches are seen "
        "twice. The place in the epoch, `run.position`, must be saved and "
        "restored as well."
    ),
)
def test_position(checkpoint, restore):
    expect_equal_end(checkpoint, restore, "position")


@test_case(
    points=1,
    failure_message=(
        "Your checkpoint changes while the run goes on. `state_dict()` does "
        "not copy: its tensors are the ones that the optimizer writes into. "
        "Copy all of it with `copy.deepcopy`."
    ),
)
def test_checkpoint_is_a_copy(checkpoint, restore):
    run = stopped()
    saved = saved_by(checkpoint, run)
    before = copy.deepcopy(saved)
    weights(run, steps=3)
    changed = difference(before, saved)
    assert not changed, (
        f"three steps later, {changed} is no longer what was saved"
    )


@test_case(
    points=1,
    failure_message=(
        "Your checkpoint changes when a run that was restored from it goes "
        "on, so it cannot be used again. An optimizer's `load_state_dict` "
        "keeps the very tensors that it gets: give it a copy."
    ),
)
def test_checkpoint_can_be_used_again(checkpoint, restore):
    saved = copy.deepcopy(saved_by(checkpoint, stopped()))
    before, other = copy.deepcopy(saved), another()
    restore(other, saved)
    weights(other, steps=3)
    changed = difference(before, saved)
    assert not changed, (
        f"restored, and three steps later {changed} is no longer what was saved"
    )


@test_case(
    points=1,
    failure_message=(
        "Saving disturbs the run: it ends with other weights than if you had "
        "not saved. Did you call `eval()`, draw a number, or set a seed? "
        "`checkpoint` may only look."
    ),
)
def test_saving_changes_nothing(checkpoint, restore):
    run = stopped()
    saved_by(checkpoint, run)
    worst = (
        (weights(run, steps=5) - weights(stopped(), steps=5)).abs().max().item()
    )
    assert worst == 0, (
        "5 steps after saving, the largest difference of a weight is "
        f"{show(worst)}"
    )
