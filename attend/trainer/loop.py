"""One loop for every task, which can be stopped at any moment and resumed.

The folder of a run holds

- `best.pt`, the model with the lowest loss on the validation split,
- `last.pt`, everything that is needed to go on training,
- `events.out.tfevents.*`, the curves, for `tensorboard --logdir`,
- `report.json`, the results on the test split, once training is done, and
- `.lock`, with which a process keeps others from training into the folder.
"""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from attend.trainer import checkpoints
from attend.trainer.checkpoints import CheckpointError
from attend.trainer.monitor import Monitor, monitored
from attend.trainer.process import this_process
from attend.trainer.signals import caught_signals
from attend.trainer.task import TrainConfig
from attend.training import check_finite, clip_by_global_norm, reproducible

Say = Callable[[str], object]


class Epoch(NamedTuple):
    """Losses of one epoch: the mean of its steps, and on the validation split.

    For text, in nats a token.
    """

    train_loss: float
    valid_loss: float


class Report(NamedTuple):
    """What came of a training run.

    Attributes:
        test: the measures on the test split, by name.
        best_epoch: the epoch, from 1, after which the validation loss was
            lowest: its model is the one that is kept and tested.
        history: the losses of every epoch.
    """

    test: dict[str, float]
    best_epoch: int
    history: list[Epoch]


class Stopped(Exception):
    """A signal stopped the training, which has saved where it stands.

    Attributes:
        number: the signal's.
    """

    def __init__(self, number: int, folder: Path) -> None:
        super().__init__(
            f"training was stopped and is saved in {folder}: go on with "
            "resume=True"
        )
        self.number = number


def train(
    config: TrainConfig, resume: bool = False, say: Say = lambda line: None
) -> Report:
    """Train a model into a folder, and measure the best one.

    The folder is `config.out`, and the measures are those on the test split.

    Ctrl-C, or SIGTERM, finishes the step and saves; a second one stops at once.
    However a run is stopped, even by a power cut, it can be resumed, and on a
    CPU it then ends with the weights of a run that was never stopped, equal to
    the bit.

    Args:
        config: the flags of a recipe.
        resume: go on with the run in the folder, which must have the same flags
            and data.
        say: called with a line of text after each epoch.

    Raises:
        CheckpointError: if the folder holds a run and `resume` is False, or
            none to go on with and `resume` is True; if another process trains
            into it; if the disk is full.
        Stopped: after Ctrl-C or SIGTERM.
        ValueError: if the loss stops being a finite number, and as the recipe's
            `task`.
        FileNotFoundError: as the recipe's `task`.
    """
    look_first(config.out, resume)
    training = Training(config)
    make_folder(config.out)
    with checkpoints.locked(config.out):
        check_folder(config.out, resume)
        if resume:
            training.restore()
        else:
            training.save()
        say(training.summary())
        total = config.epochs * training.steps
        with (
            caught_signals() as caught,
            monitored(config.out, training.steps_taken, total) as monitor,
        ):
            while training.epoch < config.epochs:
                train_epoch(training, monitor, caught)
                measured = training.finish_epoch()
                monitor.epoch(training.steps_taken, measured)
                training.save()
                say(training.line(measured))
        if caught:
            raise Stopped(caught[0], config.out)
        return training.report()


def train_epoch(
    training: "Training", monitor: Monitor, caught: list[int]
) -> None:
    """Take the steps that are left of an epoch.

    Raises:
        Stopped: after a signal, once the step is finished and saved.
    """
    training.model.train()
    monitor.begin_epoch(training.epoch + 1)
    for batch in training.batches_left():
        values = training.learn(batch)
        monitor.step(training.steps_taken, values)
        if caught:
            training.save()
            raise Stopped(caught[0], training.config.out)
    training.model.eval()


class Training:
    """Everything that changes while a model is trained.

    Attributes:
        model: the model.
        optimizer: Adam.
        schedule: of the learning rate: from `lr` in a straight line to zero.
        steps: in an epoch, as far as the task knows.
        steps_taken: in all epochs.
        step: steps taken in this epoch.
        loss_sum: of those steps.
        history: the losses of the epochs that are finished.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.process = this_process()
        if self.process.size > 1:
            raise ValueError(
                f"this is one of {self.process.size} processes, and training "
                "in several is not there yet: start one, without torchrun"
            )
        reproducible(config.seed)
        self.config, self.task = config, config.task()
        self.fingerprint = self.task.fingerprint()
        self.steps = math.ceil(self.task.steps / self.process.size)
        self.model = self.task.model
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.lr)
        self.schedule = torch.optim.lr_scheduler.LinearLR(
            self.optimizer, 1.0, 0.0, total_iters=config.epochs * self.steps
        )
        self.steps_taken, self.step, self.loss_sum = 0, 0, 0.0
        self.history: list[Epoch] = []

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return len(self.history)

    @property
    def best_epoch(self) -> int:
        """The epoch, from 1, with the lowest validation loss so far."""
        losses = [epoch.valid_loss for epoch in self.history]
        return 1 + losses.index(min(losses))

    def summary(self) -> str:
        """What is trained on what, in a line."""
        if self.epoch == self.config.epochs:
            return (
                f"all {self.epoch} epochs are done: there is nothing left to "
                "train"
            )
        parameters = sum(weight.numel() for weight in self.model.parameters())
        where = ""
        if self.steps_taken:
            where = f"from epoch {self.epoch + 1}, step {self.step + 1}, "
        device = self.process.device.type.upper()
        return (
            f"{parameters:,} parameters, {where}{self.task.summary()}, on the "
            f"{device}"
        )

    def line(self, measured: dict[str, float]) -> str:
        """What came of the epoch just finished, in a line."""
        shown = "  ".join(
            f"valid {name} {value:.3f}"
            if name == "loss"
            else f"valid {name} {value:.4g}"
            for name, value in measured.items()
        )
        best = "  best so far" if self.best_epoch == self.epoch else ""
        return (
            f"epoch {self.epoch:2}/{self.config.epochs}  train loss "
            f"{self.history[-1].train_loss:.3f}  {shown}{best}"
        )

    def batches_left(self) -> Iterator[Any]:
        """The batches of this epoch that are still to come.

        Their order depends on seed and epoch; which of them are this process's,
        on its rank.
        """
        seed = (self.config.seed * 100_003 + self.epoch) % 2**63
        generator = torch.Generator().manual_seed(seed)
        batches = self.task.batches(generator)
        return self.process.share(batches, skip=self.step)

    def learn(self, batch: Any) -> dict[str, float]:
        """Take one step; return its loss, gradient norm and learning rate."""
        loss = self.task.loss(batch)
        self.optimizer.zero_grad()
        loss.backward()
        norm = clip_by_global_norm(
            self.model.parameters(), self.config.max_norm
        )
        try:
            check_finite(loss, norm, f"in epoch {self.epoch + 1}")
        except ValueError as error:
            raise ValueError(f"{error}. {self.kept()}") from None
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        self.steps_taken += 1
        self.loss_sum += loss.item()
        return {
            "loss": loss.item(),
            "gradient_norm": norm.item(),
            "lr": float(self.schedule.get_last_lr()[0]),
        }

    def finish_epoch(self) -> dict[str, float]:
        """Measure on the validation split."""
        measured = self.task.validate()
        if not math.isfinite(measured["loss"]):
            raise ValueError(
                f"the validation loss became {measured['loss']:.4g} in epoch "
                f"{self.epoch + 1}: train again with a lower lr. {self.kept()}"
            )
        mean = self.loss_sum / self.step
        self.history.append(Epoch(mean, measured["loss"]))
        self.step, self.loss_sum = 0, 0.0
        return measured

    def kept(self) -> str:
        """Say what is still there after something went wrong."""
        last = self.config.out / "last.pt"
        return f"{last} still holds the weights from before"

    def run_contents(self) -> dict[str, Any]:
        """What it takes to use the model."""
        return {
            "recipe": self.config.name,
            "config": flags_of(self.config),
            **self.task.contents(),
            "model": self.model.state_dict(),
        }

    def save(self) -> None:
        """Write `last.pt`: what it takes to go on training the model.

        Then `best.pt`, if the model is the best so far.
        """
        state = {
            "data": self.fingerprint,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": random_state(self.process.device),
            "steps_taken": self.steps_taken,
            "step": self.step,
            "loss_sum": self.loss_sum,
            "history": [tuple(epoch) for epoch in self.history],
        }
        self.write("last.pt", {**self.run_contents(), **state})
        self.save_best()

    def save_best(self) -> None:
        """Write `best.pt`, if the model is the best that an epoch has made."""
        if self.epoch and not self.step and self.best_epoch == self.epoch:
            self.write("best.pt", self.run_contents())

    def write(self, name: str, contents: dict[str, Any]) -> None:
        """Write a checkpoint, if this process is the one that writes."""
        if self.process.writes:
            checkpoints.save(self.config.out / name, contents)

    def restore(self) -> None:
        """Read `last.pt`, and stand where the run stood when it was written.

        Raises:
            CheckpointError: if it is damaged, or its flags or data differ, or
                it was made by another version.
        """
        path = self.config.out / "last.pt"
        saved = checkpoints.load(path)
        with checkpoints.understood(path):
            refuse_differences(self.config, saved["recipe"], saved["config"])
            if not self.run_contents().keys() <= saved.keys():
                raise LookupError("a field is missing")
            if saved["data"] != self.fingerprint:
                raise CheckpointError(
                    f"the data is not what the run in {path.parent} began "
                    "with: undo the change, or begin another run in another "
                    "folder"
                )
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.schedule.load_state_dict(saved["schedule"])
            set_random_state(saved["random"], self.process.device)
            self.steps_taken = saved["steps_taken"]
            self.step, self.loss_sum = saved["step"], saved["loss_sum"]
            self.history = [Epoch(*losses) for losses in saved["history"]]
        self.save_best()  # where a kill came between the two files

    def report(self) -> Report:
        """Measure the best model on the test split, and write `report.json`."""
        best = self.config.out / "best.pt"
        saved = checkpoints.load(best)
        with checkpoints.understood(best):
            self.model.load_state_dict(saved["model"])
        self.model.eval()
        report = Report(self.task.measure(), self.best_epoch, self.history)
        contents = {
            "recipe": self.config.name,
            "config": flags_of(self.config),
            "best_epoch": report.best_epoch,
            "history": [epoch._asdict() for epoch in report.history],
            "test": report.test,
        }
        text = json.dumps(contents, indent=1, ensure_ascii=False) + "\n"
        if self.process.writes:
            path = self.config.out / "report.json"
            checkpoints.write(path, text.encode())
        return report


def look_first(folder: Path, resume: bool) -> None:
    """Refuse a folder before much is read; see `check_folder`."""
    there = folder.is_dir()
    with checkpoints.locked(folder) if there else nullcontext():
        check_folder(folder, resume)


def check_folder(folder: Path, resume: bool) -> None:
    """Refuse to begin a run where there is one, or to resume where is none.

    Raises:
        CheckpointError: saying what to do instead.
    """
    if resume and not (folder / "last.pt").exists():
        raise CheckpointError(
            f"there is no run to resume in {folder}: begin one, without "
            "--resume"
        )
    begun = (folder / "last.pt").exists() or (folder / "best.pt").exists()
    if begun and not resume:
        raise CheckpointError(
            f"{folder} holds a run already: go on with it (--resume), choose "
            "another folder (--out), or delete this one"
        )


def make_folder(folder: Path) -> None:
    """Make the folder of a run, where it is not there yet.

    Raises:
        CheckpointError: if it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be made: {checkpoints.reason(error)}"
        ) from error


def flags_of(config: TrainConfig) -> dict[str, Any]:
    """The flags as they are stored: with the folder as a text."""
    return {**asdict(config), "out": str(config.out)}


def refuse_differences(
    given: TrainConfig, recipe: str, saved: dict[str, Any]
) -> None:
    """Refuse to go on with other flags than the run began with.

    The folder may have moved.
    """
    if given.name != recipe:
        raise CheckpointError(
            f"{given.out} holds a run of {recipe}, not of {given.name}"
        )
    flags = flags_of(given)
    # A flag that the run did not know yet had its default.
    saved = {field.name: field.default for field in fields(given)} | saved
    if saved.keys() != flags.keys():
        raise LookupError("there are flags that this version does not know")
    differences = [
        f"{name} was {saved[name]} and is now {value}"
        for name, value in flags.items()
        if name != "out" and saved[name] != value
    ]
    if differences:
        raise CheckpointError(
            f"the run in {given.out} began with other flags: "
            f"{', '.join(differences)}. Give the same ones, or begin another "
            "run in another folder"
        )


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Where PyTorch's random numbers stand."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Go on with PyTorch's random numbers from where they stood."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
