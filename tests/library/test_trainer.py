"""The trainer: its steps by hand, its folder, and what can go wrong.

Most tests train one weight on a few numbers, so that all of it can be
calculated here.
"""

import errno
import inspect
import itertools
import json
import math
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)
from tensorboard.summary.writer import event_file_writer
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from attend.data import make_batch
from attend.metrics import perplexity
from attend.recipes.chatbot import ChatbotConfig
from attend.recipes.dates import DatesConfig
from attend.recipes.text import prepare
from attend.respond import Run, load_run, respond
from attend.search import SearchConfig
from attend.trainer import (
    CheckpointError,
    Epoch,
    Report,
    Stopped,
    TrainConfig,
    Training,
    checkpoints,
    monitor,
    train,
)
from attend.trainer.loop import make_folder, train_epoch
from attend.trainer.monitor import quiet
from attend.trainer.process import Process, this_process
from attend.trainer.signals import caught_signals

Tiny = Callable[..., ChatbotConfig]
CPU = torch.device("cpu")


# --- A task of numbers ---


class Numbers:
    """One weight that is to come close to numbers: a task for the trainer."""

    def __init__(self, config: "NumbersConfig") -> None:
        self.config = config
        self.model = nn.Linear(1, 1, bias=False)
        self.steps = len(config.numbers)
        self.seeds: list[int] = []  # of the generators that decide the order
        self.measured = 0

    @property
    def weight(self) -> float:
        """Where the model stands."""
        return self.model.weight.item()

    def batches(self, generator: torch.Generator) -> list[float]:
        self.seeds.append(generator.initial_seed())
        order = torch.randperm(self.steps, generator=generator).tolist()
        return [self.config.numbers[i] for i in order]

    def loss(self, batch: float) -> Tensor:
        assert self.model.training
        return (self.model.weight.sum() - batch) ** 2

    def validate(self) -> dict[str, float]:
        assert not self.model.training
        loss = self.config.losses[self.measured % len(self.config.losses)]
        self.measured += 1
        return {"loss": loss, "weight": self.weight}

    def measure(self) -> dict[str, float]:
        assert not self.model.training
        return {"weight": self.weight}

    def contents(self) -> dict[str, Any]:
        return {"what": "numbers"}

    def fingerprint(self) -> int:
        return hash(self.config.numbers)

    def summary(self) -> str:
        return f"on {self.steps} numbers"


@dataclass(frozen=True)
class NumbersConfig(TrainConfig):
    """Flags for one weight and a few numbers.

    The losses on the validation split are told beforehand.
    """

    epochs: int = 3
    lr: float = 0.1
    max_norm: float = 1.0
    numbers: tuple[float, ...] = (5.0, -1.0, 2.0, 0.25)
    losses: tuple[float, ...] = (3.0, 1.0, 2.0)

    name: ClassVar = "numbers"

    def task(self) -> Numbers:
        return Numbers(self)


# --- Steps ---


def test_every_step_is_one_of_adam_with_clipping_by_hand(
    tmp_path: Path,
) -> None:
    """And the learning rate falls in a straight line to zero."""
    config = NumbersConfig(tmp_path, max_norm=0.75)
    training = Training(config)
    total = 3 * 4
    weight, mean, square = training.task.weight, 0.0, 0.0
    training.save()
    for step in range(1, total + 1):
        training.model.train()
        [batch, *_] = training.batches_left()
        lr = config.lr * (1 - (step - 1) / total)
        rate = training.optimizer.param_groups[0]["lr"]
        assert rate == pytest.approx(lr, rel=1e-6)
        values = training.learn(batch)
        gradient = 2 * (weight - batch)
        assert values["loss"] == pytest.approx((weight - batch) ** 2, rel=1e-4)
        assert values["gradient_norm"] == pytest.approx(abs(gradient), rel=1e-4)
        assert values["lr"] == pytest.approx(
            config.lr * (1 - step / total), abs=1e-9
        )
        assert values.keys() == {"loss", "gradient_norm", "lr"}
        gradient *= min(1.0, 0.75 / abs(gradient))
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        move = (mean / (1 - 0.9**step)) / (
            math.sqrt(square / (1 - 0.999**step)) + 1e-8
        )
        weight -= lr * move
        assert training.task.weight == pytest.approx(weight, rel=1e-4)
        assert training.steps_taken == step
        if step % 4 == 0:
            training.model.eval()
            training.finish_epoch()
    assert training.schedule.get_last_lr() == [pytest.approx(0.0, abs=1e-12)]
    assert training.epoch == 3


@pytest.mark.parametrize("lr", [0.1, 0.3])
def test_the_first_step_is_as_long_as_the_learning_rate(
    tmp_path: Path, lr: float
) -> None:
    training = Training(NumbersConfig(tmp_path, lr=lr))
    before = training.task.weight
    training.model.train()
    training.learn(100.0)
    assert training.task.weight - before == pytest.approx(lr, rel=1e-4)


def test_losses_are_means_of_the_steps_and_those_of_the_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[float] = []
    learn = Training.learn

    def noted(self: Training, batch: float) -> dict[str, float]:
        values = learn(self, batch)
        losses.append(values["loss"])
        return values

    monkeypatch.setattr(Training, "learn", noted)
    report = train(NumbersConfig(tmp_path))
    assert len(losses) == 12
    for epoch, (train_loss, valid_loss) in enumerate(report.history):
        mean = sum(losses[4 * epoch : 4 * epoch + 4]) / 4
        assert train_loss == pytest.approx(mean)
        assert valid_loss == (3.0, 1.0, 2.0)[epoch]


@pytest.mark.parametrize("claimed", [3, 5])
def test_a_task_need_not_know_its_number_of_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, claimed: int
) -> None:
    """Means and curves go by the steps that were taken."""
    losses: list[float] = []
    learn, init = Training.learn, Numbers.__init__

    def noted(self: Training, batch: float) -> dict[str, float]:
        values = learn(self, batch)
        losses.append(values["loss"])
        return values

    def claiming(self: Numbers, config: NumbersConfig) -> None:
        init(self, config)
        self.steps = claimed

    def batches(self: Numbers, generator: torch.Generator) -> list[float]:
        return list(self.config.numbers)

    monkeypatch.setattr(Training, "learn", noted)
    monkeypatch.setattr(Numbers, "__init__", claiming)
    monkeypatch.setattr(Numbers, "batches", batches)
    report = train(NumbersConfig(tmp_path))
    assert len(losses) == 12
    for epoch, (train_loss, _) in enumerate(report.history):
        mean = sum(losses[4 * epoch : 4 * epoch + 4]) / 4
        assert train_loss == pytest.approx(mean)
    events = EventAccumulator(str(tmp_path)).Reload()
    steps = [event.step for event in events.Scalars("train/loss")]
    assert steps == list(range(1, 13))


def test_the_bar_counts_the_steps_that_were_taken_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: list[dict[str, Any]] = []

    class Bar(monitor.tqdm):
        def __init__(self, **options: Any) -> None:
            bars.append(options)
            super().__init__(**options)

    monkeypatch.setattr(monitor, "tqdm", Bar)
    training = Training(NumbersConfig(tmp_path))
    training.model.train()
    training.learn(next(training.batches_left()))
    training.save()
    train(NumbersConfig(tmp_path), resume=True)
    [bar] = bars
    assert (bar["total"], bar["initial"], bar["disable"]) == (12, 1, None)


def test_the_first_weights_and_the_order_come_from_the_seed(
    tiny: Tiny, tmp_path: Path
) -> None:
    config = tiny(tmp_path)
    first, again = Training(config), Training(config)
    other = Training(replace(config, seed=1))
    assert torch.equal(first.model.output.weight, again.model.output.weight)
    assert not torch.equal(first.model.output.weight, other.model.output.weight)
    ours, theirs = next(first.batches_left()), next(again.batches_left())
    assert torch.equal(ours.src, theirs.src)
    orders = [
        [batch.src.tolist() for batch in t.batches_left()]
        for t in (first, other)
    ]
    assert orders[0] != orders[1]


def test_every_epoch_of_every_seed_has_another_order(tmp_path: Path) -> None:
    seeds = []
    for seed in (0, 1, 2, 10**15, 2**63 - 1):
        training = Training(NumbersConfig(tmp_path, seed=seed))
        for _ in range(4):
            training.batches_left()
            training.history.append(Epoch(0.0, 0.0))
        seeds += training.task.seeds
        again = Training(NumbersConfig(tmp_path, seed=seed))
        again.batches_left()
        assert again.task.seeds == training.task.seeds[:1]
    assert len(set(seeds)) == len(seeds) == 20


def test_every_epoch_has_another_order_and_every_pair(
    tiny: Tiny, tmp_path: Path
) -> None:
    config = tiny(tmp_path, min_count=1)
    training = Training(config)
    orders = []
    for _ in range(2):
        batches = list(training.batches_left())
        assert len(batches) == training.steps
        orders.append(
            [row[row != 0].tolist() for batch in batches for row in batch.src]
        )
        training.history.append(Epoch(0.0, 0.0))
    assert orders[0] != orders[1]
    assert (
        sorted(orders[0])
        == sorted(orders[1])
        == sorted(list(source) for source, _ in prepare(config).train)
    )


def test_what_is_left_of_an_epoch_is_what_was_not_learned(
    tmp_path: Path,
) -> None:
    training = Training(NumbersConfig(tmp_path))
    training.model.train()
    order = list(training.batches_left())
    assert sorted(order) == sorted(training.config.numbers)
    for step in range(4):
        assert list(training.batches_left()) == order[step:]
        training.learn(order[step])
    assert not list(training.batches_left())


@pytest.mark.parametrize(("rank", "size"), [(0, 2), (1, 2), (2, 3)])
def test_each_of_several_processes_has_its_share_of_an_epoch(
    tmp_path: Path, rank: int, size: int
) -> None:
    training = Training(NumbersConfig(tmp_path))
    order = list(training.batches_left())
    training.process = Process(rank, size, CPU)
    share = list(training.process.share(order))
    assert list(training.batches_left()) == share
    assert len(share) == math.ceil(4 / size)
    training.step = 1
    assert list(training.batches_left()) == share[1:]


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    training = Training(NumbersConfig(tmp_path))
    training.process = Process(1, 2, CPU)
    training.save()
    assert list(tmp_path.iterdir()) == []
    training.process = Process(0, 2, CPU)
    training.save()
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]
    report = train(NumbersConfig(tmp_path / "report"))
    before = (tmp_path / "report" / "report.json").read_bytes()
    (tmp_path / "report" / "report.json").unlink()
    training = Training(NumbersConfig(tmp_path / "report"))
    training.restore()
    training.process = Process(1, 2, CPU)
    assert training.report() == report
    assert not (tmp_path / "report" / "report.json").exists()
    training.process = Process(0, 1, CPU)
    training.report()
    assert (tmp_path / "report" / "report.json").read_bytes() == before


# --- What is kept, measured and said ---


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ((3.0, 1.0, 2.0), 2),
        ((1.0, 2.0, 3.0), 1),
        ((3.0, 2.0, 1.0), 3),
        ((2.0, 1.0, 1.0), 2),  # the first of equals
        ((-1.0, -3.0, -2.0), 2),
    ],
)
def test_the_model_with_the_lowest_validation_loss_is_kept_and_measured(
    tmp_path: Path, losses: tuple[float, ...], best: int
) -> None:
    weights: list[float] = []
    finish = Training.finish_epoch

    class Watched(Training):
        def finish_epoch(self) -> dict[str, float]:
            weights.append(self.task.weight)
            return finish(self)

    training = Watched(NumbersConfig(tmp_path, losses=losses))
    make_folder(training.config.out)
    training.save()
    for _ in range(3):
        training.model.train()
        for batch in training.batches_left():
            training.learn(batch)
        training.model.eval()
        training.finish_epoch()
        training.save()
    report = training.report()
    assert report.best_epoch == best
    assert report.test == {"weight": weights[best - 1]}
    kept = checkpoints.load(tmp_path / "best.pt")
    assert kept["model"]["weight"].item() == weights[best - 1]
    last = checkpoints.load(tmp_path / "last.pt")
    assert last["model"]["weight"].item() == weights[-1]
    stored = json.loads((tmp_path / "report.json").read_text())
    assert stored["test"] == report.test
    assert stored["best_epoch"] == best
    assert [epoch["valid_loss"] for epoch in stored["history"]] == list(losses)
    assert stored["recipe"] == "numbers"
    assert stored["config"]["losses"] == list(losses)


def test_what_is_said_of_every_epoch(tmp_path: Path) -> None:
    said: list[str] = []
    report = train(NumbersConfig(tmp_path), say=said.append)
    assert said[0] == "1 parameters, on 4 numbers, on the CPU"
    losses = [epoch.train_loss for epoch in report.history]
    expected = [
        f"epoch  1/3  train loss {losses[0]:.3f}  valid loss 3.000  ",
        f"epoch  2/3  train loss {losses[1]:.3f}  valid loss 1.000  ",
        f"epoch  3/3  train loss {losses[2]:.3f}  valid loss 2.000  ",
    ]
    for line, start in zip(said[1:], expected, strict=True):
        assert line.startswith(start + "valid weight ")
    assert [line.endswith("  best so far") for line in said[1:]] == [
        *(True, True, False)
    ]


def test_what_is_said_on_going_on(tmp_path: Path) -> None:
    training = Training(NumbersConfig(tmp_path))
    make_folder(training.config.out)
    training.save()
    training.model.train()
    for batch in training.batches_left():
        training.learn(batch)
    training.model.eval()
    training.finish_epoch()
    training.model.train()
    training.learn(next(training.batches_left()))
    training.save()
    said: list[str] = []
    train(NumbersConfig(tmp_path), resume=True, say=said.append)
    assert said[0] == (
        "1 parameters, from epoch 2, step 2, on 4 numbers, on the CPU"
    )


def test_the_curves_show_every_step_and_every_epoch(tmp_path: Path) -> None:
    report = train(NumbersConfig(tmp_path))
    events = EventAccumulator(str(tmp_path)).Reload()
    curves = {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }
    assert curves.keys() == {
        *("train/loss", "train/gradient_norm", "train/lr"),
        *("valid/loss", "valid/weight"),
    }
    for tag in ("train/loss", "train/gradient_norm", "train/lr"):
        assert [step for step, _ in curves[tag]] == list(range(1, 13))
    rates = [value for _, value in curves["train/lr"]]
    expected = [0.1 * (1 - step / 12) for step in range(1, 13)]
    assert rates == pytest.approx(expected, abs=1e-7)
    losses = [value for _, value in curves["train/loss"]]
    for epoch, (train_loss, _) in enumerate(report.history):
        mean = sum(losses[4 * epoch : 4 * epoch + 4]) / 4
        assert train_loss == pytest.approx(mean, rel=1e-5)
    assert curves["valid/loss"] == [(4, 3.0), (8, 1.0), (12, 2.0)]


def test_curves_are_on_the_disk_before_the_checkpoint_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a checkpoint none of what they show comes again."""
    save, shown = checkpoints.save, []

    def looking(path: Path, contents: dict[str, Any]) -> None:
        if path.name == "last.pt" and contents["history"]:
            events = EventAccumulator(str(tmp_path)).Reload()
            steps = [event.step for event in events.Scalars("train/loss")]
            epochs = [event.step for event in events.Scalars("valid/loss")]
            shown.append((steps[-1], epochs))
        save(path, contents)

    monkeypatch.setattr(checkpoints, "save", looking)
    train(NumbersConfig(tmp_path))
    assert shown == [(4, [4]), (8, [4, 8]), (12, [4, 8, 12])]


def test_training_learns_and_reports(tiny: Tiny, tmp_path: Path) -> None:
    said: list[str] = []
    report = train(tiny(tmp_path, epochs=4), say=said.append)
    assert len(report.history) == 4
    assert report.history[-1].train_loss < report.history[0].train_loss
    best = min(report.history, key=lambda epoch: epoch.valid_loss)
    assert report.history[report.best_epoch - 1] == best
    assert set(report.test) == {"perplexity", "distinct_1", "distinct_2"}
    stored = json.loads((tmp_path / "report.json").read_text())
    assert stored["test"] == report.test
    assert stored["best_epoch"] == report.best_epoch
    assert stored["history"][0]["valid_loss"] == report.history[0].valid_loss
    assert stored["config"]["hidden_size"] == 7
    assert said[0].endswith(
        "on 30 pairs (5 to validate, 5 to test), on the CPU"
    )
    assert [line[:9] for line in said[1:]] == [
        f"epoch  {i}/" for i in (1, 2, 3, 4)
    ]


def test_the_best_model_is_kept_and_not_the_last(
    tiny: Tiny, tmp_path: Path
) -> None:
    """A model that forgets in its second epoch."""
    config = tiny(tmp_path)
    data = prepare(config)
    training = Training(config)
    training.save()
    losses = []
    for scale in (1.0, 30.0):
        with torch.no_grad():
            training.model.output.bias.add_(
                scale * torch.rand(len(data.tgt_vocab))
            )
        training.model.eval()
        training.step = 1
        training.finish_epoch()
        training.save()
        losses.append(training.history[-1].valid_loss)
    assert losses[1] > losses[0] and training.best_epoch == 1
    run = load_run(tmp_path)
    assert math.log(
        perplexity(run.model, [make_batch(data.valid)])
    ) == pytest.approx(losses[0])


def test_dates_are_learned(tmp_path: Path) -> None:
    config = DatesConfig(
        out=tmp_path, num=300, epochs=1, batch_size=8, hidden_size=16
    )
    report = train(config)
    assert set(report.test) == {"exact_match", "token_accuracy"}
    assert report.test["token_accuracy"] > 0.1
    reply = respond(
        load_run(tmp_path), ["March 5, 2024"], SearchConfig(max_length=11)
    )[0][0]
    assert set(reply.text) <= set("0123456789-")


def test_the_embedded_dialogue_trains(tmp_path: Path) -> None:
    config = ChatbotConfig(out=tmp_path, hidden_size=3, embed_size=2)
    training = Training(config)
    values = training.learn(next(training.batches_left()))
    words = len(training.task.data.tgt_vocab)
    assert values["loss"] == pytest.approx(math.log(words), abs=0.5)
    assert values["gradient_norm"] > 0


def test_training_and_measuring_are_told_apart(
    tiny: Tiny, tmp_path: Path
) -> None:
    """Dropout is on for every step, and off for everything else."""
    seen: list[tuple[str, bool]] = []
    training = Training(tiny(tmp_path, epochs=2))
    for name in ("loss", "validate", "measure"):
        function = getattr(training.task, name)
        setattr(
            training.task,
            name,
            lambda *args, name=name, function=function: (
                seen.append((name, training.model.training)) or function(*args)
            ),
        )

    class Quiet:
        def step(self, *_: Any) -> None: ...
        def begin_epoch(self, *_: Any) -> None: ...

    training.save()
    for _ in range(2):
        inspect.unwrap(train_epoch)(training, Quiet(), [])
        training.finish_epoch()
        training.save()
    training.report()
    modes = {name: {mode for n, mode in seen if n == name} for name, _ in seen}
    assert modes == {"loss": {True}, "validate": {False}, "measure": {False}}


# --- Numbers that are none ---


def test_a_loss_that_is_not_finite_stops_and_keeps_what_was_there(
    tiny: Tiny, tmp_path: Path
) -> None:
    config = tiny(tmp_path, lr=1e30)
    with pytest.raises(
        ValueError, match="became .* in epoch 1: train again with a lower lr"
    ):
        train(config)
    saved = checkpoints.load(tmp_path / "last.pt")
    assert all(tensor.isfinite().all() for tensor in saved["model"].values())


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30])
def test_a_step_that_is_not_finite_changes_no_weight(
    tmp_path: Path, bad: float
) -> None:
    """The loss, or (its square) the gradient alone."""
    training = Training(NumbersConfig(tmp_path))
    training.model.train()
    before = training.task.weight
    with pytest.raises(ValueError, match="became .* in epoch 1: train again"):
        training.learn(bad)
    assert training.task.weight == before
    assert (training.step, training.loss_sum) == (0, 0.0)


def test_an_infinite_gradient_of_a_finite_loss_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(NumbersConfig(tmp_path))
    training.model.train()
    weight = training.model.weight.sum
    monkeypatch.setattr(
        training.task,
        "loss",
        lambda batch: (weight() - weight().detach()).sqrt(),
    )
    before = training.task.weight
    with pytest.raises(ValueError, match="the loss became 0, its gradient"):
        training.learn(1.0)
    assert training.task.weight == before


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_validation_loss_that_is_not_finite_stops(
    tmp_path: Path, bad: float
) -> None:
    config = NumbersConfig(tmp_path, losses=(3.0, bad, 2.0))
    with pytest.raises(ValueError) as error:
        train(config)
    assert str(error.value) == (
        f"the validation loss became {bad} in epoch 2: train again with a "
        f"lower lr. {tmp_path / 'last.pt'} still holds the weights from before"
    )
    assert len(checkpoints.load(tmp_path / "last.pt")["history"]) == 1


# --- The folder of a run ---


def left_in(folder: Path) -> dict[str, bytes]:
    """Everything in a folder, and in those below."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_folder_with_a_run_is_left_alone(copied: Path, tiny: Tiny) -> None:
    before = left_in(copied)
    with pytest.raises(
        CheckpointError,
        match=r"holds a run already: go on with it \(--resume\)",
    ):
        train(tiny(copied))
    assert left_in(copied) == before
    for name in ("best.pt", "last.pt"):
        kept = before[name]
        (copied / name).unlink()
        with pytest.raises(CheckpointError, match="holds a run already"):
            train(tiny(copied))
        (copied / name).write_bytes(kept)


def test_resuming_what_is_not_there(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match="there is no run to resume in .*nothing"
    ):
        train(tiny(tmp_path / "nothing"), resume=True)
    assert list(tmp_path.iterdir()) == []


def test_resuming_with_other_flags(copied: Path, trained: Run) -> None:
    config = replace(trained.config, out=copied, lr=0.5, dropout=0.25)
    before = left_in(copied)
    with pytest.raises(
        CheckpointError,
        match=(
            r"lr was 0\.05 and is now 0\.5, "
            r"dropout was 0\.3 and is now 0\.25"
        ),
    ):
        train(config, resume=True)
    with pytest.raises(
        CheckpointError, match="holds a run of chatbot, not of dates"
    ):
        train(DatesConfig(out=copied, num=100), resume=True)
    assert left_in(copied) == before


OTHERS: dict[str, Any] = {
    "epochs": 4,
    "batch_size": 5,
    "lr": 0.2,
    "max_norm": 2.0,
    "seed": 1,
    "numbers": (1.0, 2.0),
    "losses": (1.0,),
}


def test_every_flag_but_the_folder_is_given_another_value_below() -> None:
    named = {field.name for field in fields(NumbersConfig)}
    assert named == {*OTHERS, "out"}


@pytest.mark.parametrize("flag", OTHERS)
def test_resuming_with_any_other_flag(tmp_path: Path, flag: str) -> None:
    config = NumbersConfig(tmp_path)
    training = Training(config)
    training.save()
    other = replace(config, **{flag: OTHERS[flag]})
    with pytest.raises(CheckpointError) as error:
        train(other, resume=True)
    assert str(error.value) == (
        f"the run in {tmp_path} began with other flags: {flag} was "
        f"{getattr(config, flag)} and is now {OTHERS[flag]}. Give the same "
        "ones, or begin another run in another folder"
    )


def test_resuming_with_other_data(
    tiny: Tiny, talk: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "talk.tsv"
    changed.write_text(talk.read_text())
    config = tiny(tmp_path / "run", data=str(changed))
    training = Training(config)
    make_folder(training.config.out)
    training.save()
    changed.write_text(talk.read_text().replace("it is 1 ,", "it is 2 ,"))
    with pytest.raises(
        CheckpointError, match="the data is not what the run in .* began with"
    ):
        train(config, resume=True)


def test_resuming_in_a_folder_that_moved(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny(tmp_path / "old")
    training = Training(config)
    make_folder(training.config.out)
    training.save()
    (tmp_path / "old").rename(tmp_path / "new")
    train(replace(config, out=tmp_path / "new"), resume=True)
    assert load_run(tmp_path / "new").config.out == tmp_path / "new"


def test_resuming_what_is_done(copied: Path, trained: Run) -> None:
    said: list[str] = []
    before = checkpoints.load(copied / "last.pt")
    config = replace(trained.config, out=copied)
    report = train(config, resume=True, say=said.append)
    assert said == ["all 12 epochs are done: there is nothing left to train"]
    assert len(report.history) == 12
    after = checkpoints.load(copied / "last.pt")
    assert torch.equal(
        before["model"]["output.bias"], after["model"]["output.bias"]
    )


def test_a_disk_that_fills_up(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first epoch is saved, the second cannot be.

    With room again, the run goes on.
    """
    expected = train(tiny(tmp_path / "room"))
    original, room = checkpoints.write, [True]

    def write(path: Path, content: bytes) -> None:
        if path.name == "last.pt" and not room:
            raise CheckpointError(f"{path} cannot be written: the disk is full")
        original(path, content)
        if path.name == "best.pt":
            room.clear()

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write", write)
        with pytest.raises(CheckpointError, match="the disk is full"):
            train(tiny(tmp_path / "full"))
    assert train(tiny(tmp_path / "full"), resume=True) == expected


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in ("file", "file/run"):
        with pytest.raises(CheckpointError, match="cannot be made: .*[a-z]$"):
            train(NumbersConfig(tmp_path / out))


# --- One training in a folder at a time ---


@pytest.mark.parametrize("resume", [True, False])
def test_a_second_training_into_a_folder_is_refused(
    copied: Path, trained: Run, resume: bool
) -> None:
    config = replace(trained.config, out=copied)
    before = left_in(copied)
    with checkpoints.locked(copied):
        with pytest.raises(
            CheckpointError,
            match=r"^another training is writing into .*copied: wait for its "
            "end, or choose another folder$",
        ):
            train(config, resume)
        assert left_in(copied) == before
    train(config, resume=True)


def test_a_folder_is_locked_from_the_first_write_to_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = NumbersConfig(tmp_path / "run")
    write, tried = checkpoints.write, []

    def noted(path: Path, content: bytes) -> None:
        with pytest.raises(CheckpointError, match="another training is"):
            train(config, resume=(path.parent / "last.pt").exists())
        tried.append(path.name)
        write(path, content)

    monkeypatch.setattr(checkpoints, "write", noted)
    train(config)
    assert tried[0] == "last.pt" and tried[-1] == "report.json"
    with checkpoints.locked(config.out):  # it is free again
        pass


@pytest.mark.parametrize("resume", [True, False])
def test_the_folder_is_looked_at_again_once_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resume: bool
) -> None:
    """Another run may have come and gone while the data was read."""
    config = NumbersConfig(tmp_path / "run")
    if resume:
        train(config)
    task = NumbersConfig.task

    def slow(self: NumbersConfig) -> Numbers:
        monkeypatch.setattr(NumbersConfig, "task", task)
        if resume:
            shutil.rmtree(config.out)
        else:
            train(config)
        return task(self)

    monkeypatch.setattr(NumbersConfig, "task", slow)
    message = "there is no run to resume" if resume else "holds a run already"
    with pytest.raises(CheckpointError, match=message):
        train(config, resume)


@pytest.mark.parametrize("wrong", [ValueError("stop"), KeyboardInterrupt()])
def test_a_training_that_fails_leaves_the_folder_unlocked(
    tmp_path: Path, wrong: BaseException
) -> None:
    def say(line: str) -> None:
        raise wrong

    with pytest.raises(type(wrong)):
        train(NumbersConfig(tmp_path), say=say)
    with checkpoints.locked(tmp_path):
        pass


def test_what_a_killed_training_left_half_written_is_swept(
    copied: Path, trained: Run
) -> None:
    for name in ("last.pt.0a1b2c3d.tmp", "report.json.ffffffff.tmp"):
        (copied / name).write_bytes(b"half")
    train(replace(trained.config, out=copied), resume=True)
    assert not list(copied.glob("*.tmp"))


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    """As in a folder of somebody's own, named with `--out .`."""
    (tmp_path / "notes.tmp").write_text("mine")
    (tmp_path / "folder.tmp").mkdir()
    (tmp_path / "folder.tmp" / "last.pt").write_text("mine")
    train(NumbersConfig(tmp_path))
    assert (tmp_path / "notes.tmp").read_text() == "mine"
    assert (tmp_path / "folder.tmp" / "last.pt").read_text() == "mine"


def test_a_folder_that_cannot_be_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(CheckpointError, match="cannot be written to: Is a"):
        train(NumbersConfig(tmp_path))


# --- Errors of the system are called what they are ---


OS_ERRORS = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError("the quota is used up"),
    OSError(),
    OSError(errno.EIO, None),
]


def full(error: OSError, after: int = 0) -> Callable[..., None]:
    """Return a function that raises an error, from the call of that number."""
    calls = itertools.count()

    def fails(*_: Any, **__: Any) -> None:
        if next(calls) >= after:
            raise error

    return fails


@pytest.mark.parametrize("error", OS_ERRORS, ids=str)
@pytest.mark.parametrize("call", ["__init__", "add_scalar", "flush", "close"])
def test_curves_that_cannot_be_written_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: OSError
) -> None:
    monkeypatch.setattr(SummaryWriter, call, full(error))
    with pytest.raises(CheckpointError) as raised:
        train(NumbersConfig(tmp_path))
    start = f"the curves in {tmp_path} cannot be written: "
    message = str(raised.value)
    assert message.startswith(start) and raised.value.__cause__ is error
    why, remedy = message.removeprefix(start).split(". ", 1)
    assert why and "None" not in why
    if error.errno == errno.ENOSPC:
        assert remedy == "Make room, and resume"
        assert why == f"the disk is full ({error.strerror})"
    else:
        assert remedy.startswith("See that the folder is there and may be ")
        assert why == (error.strerror or why)
    monkeypatch.undo()
    assert len(train(NumbersConfig(tmp_path), resume=True).history) == 3


@pytest.mark.parametrize("error", OS_ERRORS, ids=str)
@pytest.mark.parametrize("call", ["batches", "loss", "validate", "measure"])
def test_an_error_in_the_data_is_not_blamed_on_the_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: OSError
) -> None:
    monkeypatch.setattr(Numbers, call, full(error))
    with pytest.raises(OSError) as raised:
        train(NumbersConfig(tmp_path))
    assert raised.value is error


@pytest.mark.parametrize("error", OS_ERRORS, ids=str)
@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("after", [0, 1, 2, 6])
def test_an_error_in_a_checkpoint_is_not_blamed_on_the_curves(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    after: int,
    error: OSError,
) -> None:
    owner = os if call == "fsync" else Path
    original, calls = getattr(owner, call), itertools.count()

    def fails(*arguments: Any) -> Any:
        if next(calls) >= after:
            raise error
        return original(*arguments)

    monkeypatch.setattr(owner, call, fails)
    with pytest.raises(CheckpointError) as raised:
        train(NumbersConfig(tmp_path))
    name = ("last.pt", "last.pt", "best.pt", "report.json")[min(after, 3)]
    message = str(raised.value)
    assert message.startswith(f"{tmp_path / name} cannot be written: ")
    assert "curves" not in message and "None" not in message
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("line", [0, 1, 2])
def test_nobody_who_listens_is_not_blamed_on_the_curves(
    tmp_path: Path, line: int
) -> None:
    """And what was said before is saved."""
    expected = train(NumbersConfig(tmp_path / "heard"))
    lines = itertools.count()

    def say(text: str) -> None:
        if next(lines) >= line:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    config = NumbersConfig(tmp_path / "unheard")
    with pytest.raises(BrokenPipeError):
        train(config, say=say)
    saved = checkpoints.load(config.out / "last.pt")
    assert len(saved["history"]) == line
    if line == 0:  # the task of numbers counts its own validations
        assert train(config, resume=True) == expected


# --- Other threads ---


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Note what threads die of; see that they are heard again in the end."""
    names: list[str] = []

    def hook(arguments: threading.ExceptHookArgs) -> None:
        names.append(str(arguments.exc_value))

    monkeypatch.setattr(threading, "excepthook", hook)
    yield names
    assert threading.excepthook is hook


def die(message: str) -> None:
    """Let a thread die."""

    def work() -> None:
        raise RuntimeError(message)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_other_threads_are_heard_while_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: list[str]
) -> None:
    loss = Numbers.loss

    def dying(self: Numbers, batch: float) -> Tensor:
        die(f"at {batch}")
        return loss(self, batch)

    monkeypatch.setattr(Numbers, "loss", dying)
    train(NumbersConfig(tmp_path, epochs=1))
    assert sorted(heard) == ["at -1.0", "at 0.25", "at 2.0", "at 5.0"]


@pytest.mark.parametrize("after", [0, 1, 2, 5])
def test_the_thread_that_writes_curves_is_not_heard_but_what_it_met(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    heard: list[str],
    after: int,
) -> None:
    writer = event_file_writer.RecordWriter
    write, calls = writer.write, itertools.count()

    def fails(self: Any, data: bytes) -> None:
        if next(calls) >= after:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, data)

    monkeypatch.setattr(writer, "write", fails)
    with pytest.raises(CheckpointError, match="the curves in .*No space left"):
        train(NumbersConfig(tmp_path))
    assert heard == []


@pytest.mark.parametrize("wrong", [None, ValueError("x"), KeyboardInterrupt()])
def test_silence_ends_however_a_training_ends(
    heard: list[str], wrong: BaseException | None
) -> None:
    before = threading.excepthook
    ending = pytest.raises(type(wrong)) if wrong else nullcontext()
    with ending, quiet():
        assert threading.excepthook is not before
        die("aloud")
        if wrong:
            raise wrong
    assert threading.excepthook is before
    assert heard == ["aloud"]


# --- Signals ---


class Heard(Exception):
    """A signal did what it does where nobody catches it."""


def hear(number: int, frame: object) -> None:
    raise Heard


@pytest.fixture
def hearing() -> Iterator[None]:
    """Let both signals raise an exception of this test."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, hear) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("hearing")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_acts(
    number: signal.Signals,
) -> None:
    with caught_signals() as caught:
        signal.raise_signal(number)
        assert caught == [number]
        with pytest.raises(Heard):
            signal.raise_signal(number)
    assert signal.getsignal(number) is hear
    with caught_signals():
        assert signal.getsignal(number) is not hear
    assert signal.getsignal(number) is hear


@pytest.mark.usefixtures("hearing")
@pytest.mark.parametrize("ignored", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_is_ignored_stays_ignored(
    ignored: signal.Signals,
) -> None:
    """As in jobs that a shell runs in the background; the other is caught."""
    [other] = {signal.SIGINT, signal.SIGTERM} - {ignored}
    signal.signal(ignored, signal.SIG_IGN)
    with caught_signals() as caught:
        signal.raise_signal(ignored)
        assert caught == []
        signal.raise_signal(other)
        assert caught == [other]
        signal.raise_signal(ignored)
    assert signal.getsignal(ignored) is signal.SIG_IGN


def test_outside_the_main_thread_no_signal_is_touched() -> None:
    found = []

    def work() -> None:
        with caught_signals() as caught:
            found.append((caught, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [([], signal.getsignal(signal.SIGINT))]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_training_which_saves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    config = NumbersConfig(tmp_path)
    loss, calls = Numbers.loss, itertools.count(1)

    def stopping(self: Numbers, batch: float) -> Tensor:
        if next(calls) == 3:
            signal.raise_signal(number)
        return loss(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Numbers, "loss", stopping)
        with pytest.raises(Stopped, match="is saved in .*resume=True") as error:
            train(config)
    assert error.value.number == number
    assert checkpoints.load(tmp_path / "last.pt")["step"] == 3
    elsewhere = train(NumbersConfig(tmp_path / "never stopped"))
    assert train(config, resume=True) == elsewhere


@pytest.mark.parametrize("step", [5, 6, 8])
def test_a_stop_in_the_middle_of_an_epoch_leaves_the_best_model_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Here the best one is that of the first epoch, of four steps."""
    config = NumbersConfig(tmp_path, losses=(1.0, 2.0, 3.0))
    expected = train(replace(config, out=tmp_path / "never stopped"))
    best = checkpoints.load(tmp_path / "never stopped" / "best.pt")
    stop_at(step, monkeypatch)
    with pytest.raises(Stopped):
        train(config)
    weights = [best["model"]["weight"]]
    weights.append(checkpoints.load(tmp_path / "best.pt")["model"]["weight"])
    monkeypatch.undo()
    report = train(config, resume=True)
    weights.append(checkpoints.load(tmp_path / "best.pt")["model"]["weight"])
    assert weights[0] == weights[1] == weights[2]
    assert report.test == expected.test and report.best_epoch == 1


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a signal come in the middle of a step."""
    loss, calls = Numbers.loss, itertools.count(1)

    def stopping(self: Numbers, batch: float) -> Tensor:
        if next(calls) == step:
            signal.raise_signal(signal.SIGINT)
        return loss(self, batch)

    monkeypatch.setattr(Numbers, "loss", stopping)


# --- Processes ---


@pytest.mark.parametrize(
    ("environment", "rank", "size"),
    [
        ({}, 0, 1),
        ({"RANK": "0", "WORLD_SIZE": "1"}, 0, 1),
        ({"RANK": "3", "WORLD_SIZE": "5"}, 3, 5),
    ],
)
def test_a_process_knows_its_rank(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    rank: int,
    size: int,
) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    process = this_process()
    assert (process.rank, process.size) == (rank, size)
    assert process.writes == (rank == 0)


@pytest.mark.parametrize(
    ("gpu", "local", "device"),
    [
        (False, "0", "cpu"),
        (False, "2", "cpu"),
        (True, None, "cuda:0"),
        (True, "2", "cuda:2"),
    ],
)
def test_a_process_computes_on_the_gpu_of_its_number_if_there_is_one(
    monkeypatch: pytest.MonkeyPatch, gpu: bool, local: str | None, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setenv("RANK", "7")
    monkeypatch.setenv("WORLD_SIZE", "8")
    if local is None:
        monkeypatch.delenv("LOCAL_RANK", raising=False)
    else:
        monkeypatch.setenv("LOCAL_RANK", local)
    assert this_process().device == torch.device(device)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("num", [1, 2, 3, 4, 5, 7, 12, 15])
def test_processes_share_the_batches_of_an_epoch(size: int, num: int) -> None:
    """Each of them at once; the first ones again, where it does not come out.

    With fewer batches than processes that may be more than once.
    """
    batches = list(range(num))
    shares = [
        list(Process(rank, size, CPU).share(batches)) for rank in range(size)
    ]
    steps = math.ceil(num / size)
    assert [len(share) for share in shares] == [steps] * size
    in_order = [share[step] for step in range(steps) for share in shares]
    assert in_order[:num] == batches, "side by side, in their order"
    again = in_order[num:]
    assert again == [i % num for i in range(len(again))]
    if num >= size:
        assert max(Counter(in_order).values()) <= 2


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "1"}, "RANK=1 and WORLD_SIZE=1 do not go together"),
        ({"RANK": "one"}, "RANK=one, which is no number: unset it"),
        ({"WORLD_SIZE": "-2"}, "WORLD_SIZE=-2, which is no number"),
        ({"LOCAL_RANK": "0.5"}, "LOCAL_RANK=0.5, which is no number"),
    ],
)
def test_half_an_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        this_process()


def test_empty_variables_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.setenv(name, "")
    assert (this_process().rank, this_process().size) == (0, 1)


def test_training_in_several_processes_is_refused_for_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(
        ValueError,
        match="this is one of 2 processes, and training in several is not "
        "there yet: start one, without torchrun",
    ):
        train(NumbersConfig(tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


def test_a_report_is_plain(tmp_path: Path) -> None:
    report = train(NumbersConfig(tmp_path))
    assert isinstance(report, Report)
    assert report.history == [Epoch(*losses) for losses in report.history]
