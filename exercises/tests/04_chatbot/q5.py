"""Checkpoints: one part for each thing to be saved.

Each part puts all other things right by itself. The edges look at the whole: a
file, copies, a run that goes on undisturbed, and other runs.
"""

import copy
import functools
import io
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import torch
from otter.test_files import test_case
from torch import nn

from attend.grading import Question, Seen, UnusableAnswerError

OK_FORMAT = False
name = "q5"
points = None

QUESTION = Question("checkpoint", "restore")


# --- Runs


class Centred(nn.Module):
    """Subtracts a running mean, which is a buffer.

    A stand-in for batch normalisation that needs no threads.
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(5))
        self.register_buffer("count", torch.tensor(0))

    def forward(self, x):
        if self.training:
            self.mean.lerp_(x.detach().mean(dim=0), 0.3)
            self.count += 1
        return x - self.mean


class Run:
    """The run of the exercise, with other data, or another one altogether."""

    def __init__(self, other=False):
        if other:
            self.model = nn.Sequential(
                nn.Linear(2, 5), Centred(), nn.Dropout(0.3), nn.Linear(5, 1)
            )
            self.optimizer = torch.optim.SGD(
                self.model.parameters(), lr=0.05, momentum=0.9
            )
            # it remembers more than how many steps there have been
            scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts
            self.schedule = scheduler(self.optimizer, 3, 2)
            self.batches = 10
        else:
            self.model = nn.Sequential(
                nn.Linear(2, 7), nn.Tanh(), nn.Dropout(0.5), nn.Linear(7, 1)
            )
            self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.1)
            self.schedule = torch.optim.lr_scheduler.LinearLR(
                self.optimizer, 1.0, 0.0, total_iters=60
            )
            self.batches = 5
        self.epoch, self.position = 0, 0
        self.x = torch.rand(20, 2, generator=torch.Generator().manual_seed(0))

    def step(self):
        order = torch.randperm(
            20, generator=torch.Generator().manual_seed(self.epoch)
        ).view(self.batches, -1)
        x = self.x[order[self.position]]
        loss = (self.model(x) - x.sum(dim=1, keepdim=True)).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.position += 1
        if self.position == self.batches:
            self.epoch, self.position = self.epoch + 1, 0


STATEFUL = ("model", "optimizer", "schedule")


def state_of(run):
    """What the rest of a run depends on, not copied."""
    return {
        **{part: getattr(run, part).state_dict() for part in STATEFUL},
        "random": torch.get_rng_state(),
        "epoch": run.epoch,
        "position": run.position,
    }


def put(run, saved, but=()):
    """Write a state into a run, but for some things."""
    for part, value in saved.items():
        if part in but:
            continue
        if part == "random":
            torch.set_rng_state(value)
        elif part in ("epoch", "position"):
            setattr(run, part, value)
        else:
            getattr(run, part).load_state_dict(copy.deepcopy(value))


# --- Answers


@QUESTION.reference
def checkpoint(run):
    return copy.deepcopy(
        {
            "model": run.model.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "schedule": run.schedule.state_dict(),
            "epoch": run.epoch,
            "position": run.position,
            "random": torch.get_rng_state(),
        }
    )


@QUESTION.reference
def restore(run, saved):
    saved = copy.deepcopy(saved)
    run.model.load_state_dict(saved["model"])
    run.optimizer.load_state_dict(saved["optimizer"])
    run.schedule.load_state_dict(saved["schedule"])
    run.epoch = saved["epoch"]
    run.position = saved["position"]
    torch.set_rng_state(saved["random"])


FORGOTTEN = {
    "model": (
        "After `restore` the run does not have the weights that were saved, "
        "equal to the bit. Save what `model.state_dict()` returns, and write "
        "it into the model that the run has, with `load_state_dict`."
    ),
    "optimizer": (
        "The optimizer starts anew. Adam keeps two running means for each "
        "weight and counts its steps; without them the next steps are others. "
        "It has a `state_dict()` like a model."
    ),
    "schedule": (
        "The schedule starts anew, so the learning rate goes on otherwise than "
        "it would have. It counts its steps: it has a `state_dict()`, too."
    ),
    "random": (
        "Dropout draws other numbers than it would have. Save the state of "
        "PyTorch's random numbers, `torch.get_rng_state()`, and set it again, "
        "as the last thing you do. A seed is not enough: it starts from the "
        "beginning."
    ),
    "epoch": (
        "The resumed run is in another epoch, so its data come in another "
        "order: `run.epoch` does not come back."
    ),
    "position": (
        "The resumed run is at another place of its epoch: `run.position` does "
        "not come back, so some batches are seen twice."
    ),
}


RULES = {
    "model": (
        "After `restore` the run must have the weights that were saved, in a "
        "model that its optimizer moves."
    ),
    "optimizer": "The optimizer must go on as if nothing had been.",
    "schedule": "The learning rate must go on as if nothing had been.",
    "random": (
        "Dropout must draw the numbers that it would have drawn. Restore the "
        "state of the random numbers as the last thing you do."
    ),
    "epoch": "The run must be in the epoch in which it was stopped.",
    "position": "The run must be at the place where it was stopped.",
}


def forgets(parts):
    """Register a `restore` that leaves some things out."""
    message, more = FORGOTTEN[parts[0]], len(parts) - 1
    if more:
        message += (
            f" {more} more {'thing is' if more == 1 else 'things are'} not "
            "restored."
        )
    if more >= 4 and "model" in parts:
        message += " Does what you restore arrive in `run` itself?"

    @QUESTION.mistake(message)
    def restore(run, saved):
        put(run, saved, but=parts)


for count in range(1, len(FORGOTTEN) + 1):
    for parts in combinations(FORGOTTEN, count):
        forgets(parts)


@QUESTION.mistake(
    "The random numbers start again from a seed. They were further on when the "
    "run was saved: keep their state, `torch.get_rng_state()`, and set it as "
    "the last thing you do."
)
def restore(run, saved):
    put(run, saved, but=["random"])
    torch.manual_seed(0)


@QUESTION.mistake(
    "You put a new optimizer into the run, so its schedule goes on with the "
    "old one. Write into the optimizer that the run has: `load_state_dict`."
)
def restore(run, saved):
    run.optimizer = torch.optim.Adam(run.model.parameters(), lr=0.1)
    put(run, saved)


@QUESTION.mistake(
    "You put another model into the run, so its optimizer goes on with the "
    "weights of the old one. Write into the model that the run has: "
    "`load_state_dict`."
)
def restore(run, saved):
    run.model = copy.deepcopy(run.model)
    put(run, saved)


@QUESTION.mistake(
    "The weights come back, the model's buffers do not, such as the means of "
    "batch normalisation. `state_dict()` has both; `parameters()` has not."
)
def restore(run, saved):
    buffers = copy.deepcopy(dict(run.model.named_buffers()))
    put(run, saved)
    run.model.load_state_dict(buffers, strict=False)


@QUESTION.mistake(
    "The schedule is stepped forward 5 · epoch + position times. Another run "
    "has another number of batches in an epoch: restore the schedule's own "
    "state."
)
def restore(run, saved):
    for _ in range(5 * saved["epoch"] + saved["position"]):
        run.schedule.step()
    put(run, saved, but=["schedule"])


@QUESTION.mistake(
    "After `restore` the model is in evaluation mode, without dropout. The run "
    "was in the middle of its training: leave the mode as it is."
)
def restore(run, saved):
    put(run, saved)
    run.model.eval()


@QUESTION.mistake(
    "Epoch and position come back from one number, with 5 batches in an epoch. "
    "Another run has another number of them: save both."
)
def restore(run, saved):
    put(run, saved)
    run.epoch, run.position = divmod(5 * run.epoch + run.position, 5)


@QUESTION.mistake(
    "A checkpoint changes when a run that was restored from it goes on, so it "
    "cannot be used again. An optimizer's `load_state_dict` keeps the very "
    "tensors that it gets: give it a copy."
)
def restore(run, saved):
    run.model.load_state_dict(saved["model"])
    run.optimizer.load_state_dict(saved["optimizer"])
    run.schedule.load_state_dict(saved["schedule"])
    run.epoch, run.position = saved["epoch"], saved["position"]
    torch.set_rng_state(saved["random"])


@QUESTION.mistake(
    "`restore` takes things out of the checkpoint, so it cannot be restored "
    "again. Read them, and do not `pop` them."
)
def restore(run, saved):
    put(run, {name: saved.pop(name) for name in FORGOTTEN})


@QUESTION.mistake(
    "Your checkpoint changes while the run goes on: weights and optimizer are "
    "not copied. `state_dict()` holds the very tensors that the optimizer "
    "writes into, and a `.copy()` of the dict holds them too. Use "
    "`copy.deepcopy`."
)
def checkpoint(run):
    return state_of(run)


@QUESTION.mistake(
    "The optimizer's memory in your checkpoint changes while the run goes on. "
    "`state_dict()` does not copy its tensors: use `copy.deepcopy`, on all of "
    "it."
)
def checkpoint(run):
    saved = state_of(run)
    return {**saved, "model": copy.deepcopy(saved["model"])}


@QUESTION.mistake(
    "The weights in your checkpoint change while the run goes on. "
    "`state_dict()` does not copy them: use `copy.deepcopy`, on all of it."
)
def checkpoint(run):
    saved = state_of(run)
    return {**saved, "optimizer": copy.deepcopy(saved["optimizer"])}


def keeps_one():
    kept = {}

    @QUESTION.mistake(
        "A second checkpoint changes the first: both are the same dict. Make a "
        "new one each time."
    )
    def checkpoint(run):
        kept.update(copy.deepcopy(state_of(run)))
        return kept


keeps_one()


@QUESTION.mistake(
    "`torch.load(…, weights_only=True)` refuses your checkpoint: something in "
    "it is neither a tensor nor a number, a list or a dict. Is it a whole "
    "object, such as the model, or an array of NumPy?"
)
def checkpoint(run):
    saved = copy.deepcopy(state_of(run))
    return {**saved, "more": SimpleNamespace(), "array": np.zeros(2)}


@QUESTION.mistake(
    "Your checkpoint is no dict. Return a dict, so that each thing in it has a "
    "name."
)
def checkpoint(run):
    return list(copy.deepcopy(state_of(run)).values())


@QUESTION.mistake(
    "Saving disturbs the run: `checkpoint` leaves the model in evaluation "
    "mode, without dropout. It may only look."
)
def checkpoint(run):
    run.model.eval()
    return copy.deepcopy(state_of(run))


@QUESTION.mistake(
    "Saving disturbs the run: after `checkpoint` dropout draws other numbers "
    "than it would have. Did you draw a number, or set a seed? `checkpoint` "
    "may only look."
)
def checkpoint(run):
    saved = copy.deepcopy(state_of(run))
    torch.rand(1)  # for the name of the file
    return saved


@QUESTION.mistake(
    "Saving disturbs the run: it goes on with other random numbers than "
    "without it. Does `checkpoint` set a seed, or draw a number? It may only "
    "look: `torch.get_rng_state()`."
)
def checkpoint(run):
    torch.manual_seed(int(torch.randint(2**31, ())))
    return copy.deepcopy(state_of(run))


# --- Runs that were stopped

MORE = 3  # steps after the checkpoint
STATES = {}


def stopped(steps=8, other=False):
    """A run after some steps, its random numbers those of its process."""
    if (steps, other) not in STATES:
        torch.default_generator.manual_seed(0)
        run = Run(other)
        for _ in range(steps):
            run.step()
        STATES[steps, other] = copy.deepcopy(state_of(run))
    run = Run(other)
    put(run, STATES[steps, other])
    return run


def another(other=False):
    """A new run in another process: other first weights and random numbers."""
    torch.default_generator.manual_seed(1)
    return Run(other)


def saved_by(checkpoint, run):
    saved = checkpoint(run)
    if not isinstance(saved, dict):
        end = ". Is a `return` missing?" if saved is None else ""
        raise UnusableAnswerError(
            f"checkpoint(run): expected a dict, got a {type(saved).__name__}"
            f"{end}"
        )
    return saved


def further(run, steps=MORE):
    for _ in range(steps):
        run.step()
    return run


def memory(run):
    """All tensors in the optimizer's memory."""
    found = run.optimizer.state_dict()["state"]
    return [
        found[place][name]
        for place in sorted(found)
        for name in sorted(found[place])
        if torch.is_tensor(found[place][name])
    ]


@functools.cache
def goal(steps=8, other=False, more=0):
    """A run that was never stopped, to compare with; it steps no more."""
    random = torch.get_rng_state()
    run = further(stopped(steps, other), more)
    torch.set_rng_state(random)
    return run


def same_tensors(ours, theirs):
    ours, theirs = [*ours], [*theirs]
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


def same_weights(run, other):
    return same_tensors(run.model.parameters(), other.model.parameters())


def same_memory(run, other):
    return same_tensors(memory(run), memory(other))


END = f"{MORE} steps later, weights equal to the bit"
IN_TRAINING = "the model is in training mode"
LABEL = "a run that was stopped after 8 steps of 5 an epoch"


def resumed(checkpoint, restore, *parts):
    """A run with these things restored, and all others put right."""
    saved = saved_by(checkpoint, stopped())
    new = another()
    restore(new, saved)
    put(new, STATES[8, False], but=parts)
    return new


@QUESTION.trial("model", LABEL, RULES["model"])
def trial(checkpoint, restore):
    new = resumed(checkpoint, restore, "model")
    moved = {id(w) for g in new.optimizer.param_groups for w in g["params"]}
    return Seen(
        {
            "weights equal to the bit": same_weights(new, goal()),
            "the optimizer moves the weights of the model": (
                moved == {id(weight) for weight in new.model.parameters()}
            ),
            "the schedule is one of the run's optimizer": (
                new.schedule.optimizer is new.optimizer
            ),
        }
    )


@QUESTION.trial("optimizer", LABEL, RULES["optimizer"])
def trial(checkpoint, restore):
    new = resumed(checkpoint, restore, "optimizer")
    return Seen(
        {
            "the memory of the optimizer equal to the bit": same_memory(
                new, goal()
            ),
            "the learning rate": new.optimizer.param_groups[0]["lr"],
        }
    )


@QUESTION.trial("schedule", LABEL, RULES["schedule"])
def trial(checkpoint, restore):
    new = resumed(checkpoint, restore, "schedule")
    steps = new.schedule.last_epoch
    new.schedule.step()
    return Seen(
        {
            "the steps of the schedule": steps,
            "the learning rate a step later": (
                new.optimizer.param_groups[0]["lr"]
            ),
        }
    )


@QUESTION.trial("random", LABEL, RULES["random"])
def trial(checkpoint, restore):
    resumed(checkpoint, restore, "random")
    got = torch.rand(4)
    torch.set_rng_state(STATES[8, False]["random"])
    expected = torch.rand(4)
    seed = torch.rand(4, generator=torch.Generator().manual_seed(0))
    return Seen(
        {
            "the next random numbers are those of the run": (
                torch.equal(got, expected)
            ),
            "they are the first after its seed": torch.equal(got, seed),
        }
    )


@QUESTION.trial("epoch", LABEL, RULES["epoch"])
def trial(checkpoint, restore):
    new = resumed(checkpoint, restore, "epoch")
    return Seen({"run.epoch": new.epoch})


@QUESTION.trial("position", LABEL, RULES["position"])
def trial(checkpoint, restore):
    new = resumed(checkpoint, restore, "position")
    return Seen({"run.position": new.position})


# --- The whole


@QUESTION.trial(
    "edges",
    "a checkpoint that `torch.save` writes and "
    "`torch.load(…, weights_only=True)` reads",
    "A file must be all that is needed to go on in another process.",
)
def trial(checkpoint, restore):
    file = io.BytesIO()
    torch.save(saved_by(checkpoint, stopped()), file)
    file.seek(0)
    try:
        saved = torch.load(file, weights_only=True)
    except Exception:
        return Seen({"it can be read": False, IN_TRAINING: True, END: False})
    new = another()
    restore(new, saved)
    return Seen(
        {
            "it can be read": True,
            IN_TRAINING: new.model.training,
            END: same_weights(further(new), goal(more=MORE)),
        }
    )


@QUESTION.trial(
    "edges",
    "a checkpoint in memory; the run makes 3 more steps and is saved a second "
    "time; then the first checkpoint is restored",
    "What was saved must not change while the run goes on.",
)
def trial(checkpoint, restore):
    run = stopped()
    saved = saved_by(checkpoint, run)
    further(run, 3)
    saved_by(checkpoint, run)
    new = another()
    restore(new, saved)
    return Seen(as_it_was(new))


def as_it_was(new):
    """What of a restored run is equal to the run that was stopped."""
    return {
        "the weights are as they were": same_weights(new, goal()),
        "the optimizer's memory is as it was": same_memory(new, goal()),
        "epoch, position and steps of the schedule": [
            new.epoch,
            new.position,
            new.schedule.last_epoch,
        ],
    }


@QUESTION.trial(
    "edges",
    "a checkpoint that is restored, and, when that run has made 3 steps, "
    "restored again",
    "The same checkpoint may be restored more than once.",
)
def trial(checkpoint, restore):
    saved = copy.deepcopy(saved_by(checkpoint, stopped()))
    first, second = another(), another()
    restore(first, saved)
    further(first, 3)
    restore(second, saved)
    return Seen(as_it_was(second))


@QUESTION.trial(
    "edges",
    "a run that is saved and goes on",
    "Saving must not disturb the run.",
)
def trial(checkpoint, restore):
    run = stopped()
    saved_by(checkpoint, run)
    kept = torch.equal(torch.get_rng_state(), STATES[8, False]["random"])
    return Seen(
        {
            IN_TRAINING: run.model.training,
            "the random numbers are untouched": kept,
            END: same_weights(further(run), goal(more=MORE)),
        }
    )


def whole(label, steps, other, rule):
    """Register a run of another kind, or stopped at another place."""

    @QUESTION.trial("edges", label, rule)
    def trial(checkpoint, restore):
        run = stopped(steps, other)
        saved = copy.deepcopy(saved_by(checkpoint, run))
        run = goal(steps, other)
        new = another(other)
        restore(new, saved)
        seen = {
            "the weights": same_weights(new, run),
            "the buffers of the model": same_tensors(
                new.model.buffers(), run.model.buffers()
            ),
            "the optimizer's memory": same_memory(new, run),
            "run.epoch": new.epoch,
            "run.position": new.position,
            "the steps of the schedule": new.schedule.last_epoch,
        }
        return Seen(
            {**seen, END: same_weights(further(new), goal(steps, other, MORE))}
        )


whole("a run that has made no step", 0, False, "A run may have just begun.")
whole(
    "a run that was stopped after its second epoch",
    10,
    False,
    "A run may be stopped between two epochs.",
)
whole(
    "a run with buffers in its model, SGD with momentum, warm restarts and 10 "
    "batches an epoch, stopped after 17",
    17,
    True,
    "A run may have another model, optimizer, schedule and other data.",
)


@test_case(points=1)
def test_weights(checkpoint, restore):
    QUESTION.check("model", checkpoint, restore)


@test_case(points=1)
def test_optimizer(checkpoint, restore):
    QUESTION.check("optimizer", checkpoint, restore)


@test_case(points=1)
def test_schedule(checkpoint, restore):
    QUESTION.check("schedule", checkpoint, restore)


@test_case(points=1)
def test_random_numbers(checkpoint, restore):
    QUESTION.check("random", checkpoint, restore)


@test_case(points=1)
def test_epoch(checkpoint, restore):
    QUESTION.check("epoch", checkpoint, restore)


@test_case(points=1)
def test_position(checkpoint, restore):
    QUESTION.check("position", checkpoint, restore)


@test_case(points=4)
def test_edges(checkpoint, restore):
    QUESTION.check(
        "model optimizer schedule random epoch position edges",
        checkpoint,
        restore,
    )
