"""Ctrl-C, and being told to end, without losing a step."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def caught_signals() -> Iterator[list[int]]:
    """Collect the first SIGINT or SIGTERM in a list.

    A second one acts as it always does. One that the process was told to
    ignore, as a shell tells its jobs in the background, stays ignored. Only the
    main thread can catch signals; in others the list stays empty.
    """
    caught: list[int] = []
    before: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def catch(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        restore()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, catch)
    try:
        yield caught
    finally:
        restore()
