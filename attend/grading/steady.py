"""Keep what an answer does to the process from what runs after it."""

import contextlib
import io
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from types import FrameType

import numpy as np
import torch

SEED = 20_26
LONGEST_OUTPUT = 5_000
LEFT_OUT = "\n… (the rest of what your code prints is left out)\n"


class Captured(io.TextIOBase):
    """What code prints, but not without end: it would fill the page."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        """Keep the text, while there is room."""
        room = LONGEST_OUTPUT - len(self.text)
        if room > 0:
            self.text += text[:room] + LEFT_OUT * (len(text) >= room)
        return len(text)


@contextlib.contextmanager
def captured() -> Iterator[Captured]:
    """Keep what is printed to stdout and stderr.

    Returns:
        Where it is kept.
    """
    kept = Captured()
    with contextlib.redirect_stdout(kept), contextlib.redirect_stderr(kept):
        yield kept


def reset() -> None:
    """Set what answers may rely on.

    PyTorch's usual dtype and device, gradients, and a fixed seed of each source
    of random numbers.
    """
    torch.set_grad_enabled(True)
    if torch.get_default_dtype() != torch.float32:
        torch.set_default_dtype(torch.float32)
    if torch.get_default_device().type != "cpu":
        torch.set_default_device(None)
    random.seed(SEED)
    np.random.seed(SEED)
    # `torch.manual_seed` also notes where it was called, for each accelerator
    torch.default_generator.manual_seed(SEED)


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Put back, at the end, what an answer can change for all that follows.

    That is: the states of the random numbers, PyTorch's default dtype, device,
    threads, gradients and determinism, the working directory and the
    environment, the limit of recursion, the filters of warnings, stdout and
    stderr. Warnings are not shown: an answer runs many times.
    """
    python, numpy = random.getstate(), np.random.get_state()
    generator = torch.get_rng_state()
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    threads, gradients = torch.get_num_threads(), torch.is_grad_enabled()
    determinism = torch.are_deterministic_algorithms_enabled()
    folder, environment = os.getcwd(), dict(os.environ)
    recursion, output, errors = sys.getrecursionlimit(), sys.stdout, sys.stderr
    try:
        # inputs are small, and threads would only wait for each other
        torch.set_num_threads(1)
        with warnings.catch_warnings(), torch.inference_mode(False):
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.stdout, sys.stderr = output, errors
        if sys.getrecursionlimit() != recursion:
            sys.setrecursionlimit(recursion)
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)
        os.chdir(folder)
        torch.use_deterministic_algorithms(determinism)
        torch.set_grad_enabled(gradients)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        if torch.get_default_dtype() != dtype:
            torch.set_default_dtype(dtype)
        torch.set_rng_state(generator)
        np.random.set_state(numpy)
        random.setstate(python)


@contextlib.contextmanager
def keyboard() -> Iterator[Callable[[], bool]]:
    """Tell a Ctrl-C from a `KeyboardInterrupt` that an answer raises.

    Returns:
        A function that says whether there has been a Ctrl-C.
    """
    pressed = False

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        if callable(before):
            before(number, frame)

    before = None
    if threading.current_thread() is threading.main_thread():
        before = signal.getsignal(signal.SIGINT)
    # Where it is ignored, or handled outside of Python, it stays so.
    if callable(before):
        signal.signal(signal.SIGINT, handler)
    try:
        yield lambda: pressed
    finally:
        if callable(before):
            signal.signal(signal.SIGINT, before)
