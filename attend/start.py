"""Where the command `attend` starts, before anything heavy is imported."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def main() -> None:
    """Run the command, on streams that are there, and ready for Ctrl-C."""
    fill_streams()
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, stop_at_once)
    from attend import cli  # PyTorch is imported here, which takes a second

    signal.signal(signal.SIGINT, handler)
    cli.main()


def stop_at_once(number: int, frame: FrameType | None) -> NoReturn:
    """End, in a moment when an exception might go astray."""
    os.write(2, b"attend: stopped at once\n")
    os._exit(128 + number)


def fill_streams() -> None:
    """Let streams that the caller has closed lead nowhere.

    Otherwise the next file to be opened would take their place.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            stream = os.fdopen(number, "w" if number else "r", closefd=False)
            setattr(sys, name, stream)
