"""Tiny trainings, stopped at many moments and resumed: a program for a test.

Each training is a process of its own, forked from this one, which has loaded
PyTorch once.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from attend.data.dialogue import split_of
from attend.recipes.chatbot import ChatbotConfig
from attend.trainer import (
    CheckpointError,
    Stopped,
    Training,
    checkpoints,
    train,
)

STEPS = 4  # in each of the 2 epochs
# last.pt at the start, best.pt and last.pt after each epoch, the report
WRITES = 6


def config(folder: Path) -> ChatbotConfig:
    """Return a training of half a second, with dropout."""
    return ChatbotConfig(
        out=folder,
        data="talk.tsv",
        min_count=1,
        epochs=2,
        batch_size=8,
        hidden_size=5,
        embed_size=3,
        dropout=0.5,
        lr=0.05,
    )


def write_data() -> None:
    """Write 32 exchanges for training and a few for the other splits."""
    lines: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for number in range(400):
        prompt = f"how about {number} , {number % 7} ?"
        lines[split_of(prompt)].append(
            f"{prompt}\tI like {number % 5} and {number % 3} ."
        )
    kept = lines["train"][:32] + lines["valid"][:5] + lines["test"][:5]
    Path("talk.tsv").write_text("\n".join(kept) + "\n")


def in_child(work: Callable[[], object]) -> int:
    """Run something in a process of its own; return its status.

    Where a signal ended it, the status is minus that signal.
    """
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def before_call(
    owner: Any, name: str, number: int, act: Callable[..., object]
) -> None:
    """Do something just before the call of that number of a function."""
    function, calls = getattr(owner, name), 0

    def wrapped(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            act(*arguments)
        return function(*arguments)

    setattr(owner, name, wrapped)


def send(number: int) -> None:
    """Send a signal to this process."""
    os.kill(os.getpid(), number)


def half_written(path: Path, content: bytes) -> None:
    """Die in the middle of writing a file."""
    half = content[: len(content) // 2]
    path.with_name(f"{path.name}.0a1b2c3d.tmp").write_bytes(half)
    send(signal.SIGKILL)


def killed_at_step(folder: Path, number: int) -> None:
    """Train until just before a step."""
    before_call(Training, "learn", number, lambda *_: send(signal.SIGKILL))
    begin_or_resume(folder)


def killed_while_writing(folder: Path, number: int) -> None:
    """Train until a file is half written."""
    before_call(checkpoints, "write", number, half_written)
    begin_or_resume(folder)


def killed_before_renaming(folder: Path, number: int) -> None:
    """Train until a file is written and not yet renamed."""
    before_call(Path, "replace", number, lambda *_: send(signal.SIGKILL))
    begin_or_resume(folder)


def stopped_at_step(folder: Path, number: int, sent: int) -> None:
    """Train until a signal asks to stop in the middle of a step."""
    before_call(Training, "learn", number, lambda *_: send(sent))
    try:
        begin_or_resume(folder)
    except Stopped as stopped:
        assert stopped.number == sent
        assert signal.getsignal(sent) in (
            signal.SIG_DFL,
            signal.default_int_handler,
        )
        os._exit(0)
    raise AssertionError("the signal was not heard")


def begin_or_resume(folder: Path) -> None:
    """Do what a person does: resume, or begin if there is nothing to resume."""
    try:
        train(config(folder), resume=True)
    except CheckpointError as error:
        if "there is no run to resume" not in str(error):
            raise
        train(config(folder))


def main() -> None:
    """Make a folder for each moment, with what is left in the end."""
    write_data()
    # and what PyTorch loads late is loaded, for all children
    train(config(Path("never stopped")))
    moments: list[tuple[str, Callable[[Path], None], int]] = []
    for i in (1, 2, STEPS, STEPS + 1, 2 * STEPS):
        moments.append(
            (f"killed at step {i}", partial(killed_at_step, number=i), -9)
        )
    for i in range(1, WRITES + 1):
        moments.append(
            (
                f"killed in write {i}",
                partial(killed_while_writing, number=i),
                -9,
            )
        )
    for i in (2, 3):
        moments.append(
            (
                f"killed after write {i}",
                partial(killed_before_renaming, number=i),
                -9,
            )
        )
    for i, sent in ((2, "SIGINT"), (STEPS, "SIGTERM"), (2 * STEPS, "SIGINT")):
        act = partial(stopped_at_step, number=i, sent=signal.Signals[sent])
        moments.append((f"{sent} in step {i}", act, 0))
    for name, act, status in moments:
        folder = Path(name)
        assert stopped(folder, act) == status, name
        assert in_child(lambda folder=folder: begin_or_resume(folder)) == 0, (
            name
        )
    folder = Path("stopped and killed again and again")
    for number in (2, 1, 2):
        stop = partial(stopped_at_step, number=number, sent=signal.SIGINT)
        assert stopped(folder, stop) == 0
        assert stopped(folder, partial(killed_at_step, number=2)) == -9
    assert in_child(lambda: begin_or_resume(folder)) == 0


def stopped(folder: Path, act: Callable[[Path], None]) -> int:
    """Train until something stops it; return the status."""
    status = in_child(lambda: act(folder))
    for number, file in enumerate(sorted(folder.glob("events*"))):
        # they may be of one second
        file.rename(folder / f"events.out.tfevents.{number:03}")
    return status


if __name__ == "__main__":
    sys.exit(main())
