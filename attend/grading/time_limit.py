"""Stop Python code that runs too long, on every platform and in any thread."""

import ctypes
import sys
import threading
from collections.abc import Callable


class OutOfTimeError(BaseException):
    """Raised inside code that is out of time.

    It is no `Exception`, so most handlers miss it.
    """


_running = threading.local()


def limited() -> bool:
    """Whether this thread already runs something with a limit."""
    return getattr(_running, "limited", False)


def run_with_limit(function: Callable[[], object], seconds: float) -> None:
    """Call a function; raise `OutOfTimeError` wherever it is when time is up.

    A second thread raises the error in this one, again and again until the call
    ends, so that a bare `except:` can hide it only for a while. It comes
    between two steps of the interpreter: a single long step (a sleep, a huge
    product) is waited for. Within a call that has a limit there is no second
    one.

    Args:
        function: What to call.
        seconds: How long it may take.

    Raises:
        OutOfTimeError: If the call took longer, even where it then ended in
            some other way.
    """
    if limited():
        function()
        return
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    thread = ctypes.c_ulong(threading.get_ident())
    lock, finished, late = (
        threading.Lock(),
        threading.Event(),
        threading.Event(),
    )

    def watch() -> None:
        wait = seconds
        while not finished.wait(wait):
            with lock:
                if not finished.is_set():
                    late.set()
                    raise_in(thread, ctypes.py_object(OutOfTimeError))
            wait = 0.1

    watcher = threading.Thread(target=watch, daemon=True)
    _running.limited = True
    try:
        # in here, since a short time may be up before this returns
        watcher.start()
        function()
    finally:
        # the error may come here too, but no more when this loop is left
        while True:
            try:
                with lock:
                    finished.set()
                    # forget one that is on its way (only then: CPython 3.11
                    # under a profiler never returns from a needless call)
                    if late.is_set():
                        raise_in(thread, None)
                break
            except OutOfTimeError:
                continue
        _running.limited = False
        if late.is_set() and not isinstance(sys.exception(), OutOfTimeError):
            raise OutOfTimeError
