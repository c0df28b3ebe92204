"""What people see of a training: curves for TensorBoard, and a bar."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tensorboard.summary.writer import event_file_writer
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from attend.trainer.checkpoints import CheckpointError, trouble


class Monitor:
    """The curves of a run, and its bar on a terminal.

    Args:
        folder: of the run.
        writer: writes the curves.
        bar: the bar.
    """

    def __init__(self, folder: Path, writer: SummaryWriter, bar: tqdm) -> None:
        self.folder, self.writer, self.bar = folder, writer, bar

    def begin_epoch(self, epoch: int) -> None:
        """Show which epoch it is, from 1."""
        self.bar.set_description(f"epoch {epoch}", refresh=False)

    def step(self, at: int, values: dict[str, float]) -> None:
        """Show the step of that number."""
        self.draw("train", at, values)
        self.bar.set_postfix(loss=f"{values['loss']:.2f}", refresh=False)
        self.bar.update()

    def epoch(self, at: int, measured: dict[str, float]) -> None:
        """Show what was measured on the validation split after that step.

        All is on the disk before the checkpoint is, after which none of it
        comes again.
        """
        self.draw("valid", at, measured)
        with drawing(self.folder):
            self.writer.flush()

    def draw(self, split: str, at: int, values: dict[str, float]) -> None:
        """Add a point to each curve."""
        with drawing(self.folder):
            for name, value in values.items():
                self.writer.add_scalar(f"{split}/{name}", value, at)


@contextmanager
def monitored(folder: Path, done: int, total: int) -> Iterator[Monitor]:
    """Open the curves and the bar of a run, and close them.

    Args:
        folder: of the run.
        done: steps taken before.
        total: steps in all.

    Raises:
        CheckpointError: if the curves cannot be written.
    """
    columns = shutil.get_terminal_size().columns - 4  # room for the ^C
    options = {"unit": "step", "leave": False, "ncols": columns}
    with quiet():
        with drawing(folder):
            # What a killed run wrote after its last checkpoint comes again, and
            # shall not be there twice.
            writer = SummaryWriter(folder, purge_step=done + 1)
        try:
            # No bar where there is no terminal.
            with tqdm(
                total=total, initial=done, disable=None, **options
            ) as bar:
                yield Monitor(folder, writer, bar)
        finally:
            with drawing(folder):
                writer.close()


@contextmanager
def drawing(folder: Path) -> Iterator[None]:
    """Say that it is the curves that cannot be written."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"the curves in {folder} cannot be written: {trouble(error)}, and "
            "resume"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Print no traceback of the threads that write curves.

    What they meet is raised by the next call to their writer, too. Other
    threads are heard as ever.
    """
    hook = threading.excepthook

    def others_only(arguments: threading.ExceptHookArgs) -> None:
        if type(arguments.thread).__module__ != event_file_writer.__name__:
            hook(arguments)

    threading.excepthook = others_only
    try:
        yield
    finally:
        threading.excepthook = hook
