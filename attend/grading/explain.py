"""Say in plain words why a test case failed."""

import dis
import linecache
import traceback
from types import FrameType, FunctionType
from typing import Any, NamedTuple

from attend.grading.expect import UnusableAnswerError
from attend.grading.test_file import TestCase
from attend.grading.time_limit import OutOfTimeError

LONGEST_ERROR = 500
MOST_LINES = 3


class Problem(NamedTuple):
    """Why a test case failed, in a sentence or two.

    `detail` holds the numbers or lines behind them.
    """

    message: str
    detail: str = ""
    out_of_time: bool = False


def explain(
    error: BaseException,
    case: TestCase,
    namespace: dict[str, Any],
    time_limit: float,
) -> Problem:
    """Say why a test case failed.

    The case's own `failure_message` is given only for a plain `assert` of the
    test file. An answer that is empty, too slow, of the wrong kind or stopped
    by an error has not come as far as the mistake which that message names.

    Args:
        error: What the test case raised.
        case: The test case.
        namespace: The student's names.
        time_limit: How many seconds the case had.

    Returns:
        What to tell the student.
    """
    test_file = case.function.__code__.co_filename
    places = list(traceback.walk_tb(error.__traceback__))
    own = [
        n for n, (frame, _) in enumerate(places) if frame.f_globals is namespace
    ]
    tests = [
        n
        for n, (frame, _) in enumerate(places)
        if frame.f_code.co_filename == test_file
    ]
    own_lines = "\n".join(_line(*places[n]) for n in own[-MOST_LINES:])
    test_line = _line(*places[tests[-1]]) if tests else ""
    text = f"{type(error).__name__}: {error}"
    text = text if len(text) <= LONGEST_ERROR else text[:LONGEST_ERROR] + " …"
    answers = (
        " or ".join(f"`{name}`" for name in case.parameters) or "Your code"
    )

    if empty := [
        part
        for name in case.parameters
        for part in _empty(name, namespace[name])
    ]:
        return Problem(f"`{empty[0]}` is still empty: it returned None.")
    if isinstance(error, OutOfTimeError):
        return Problem(
            f"{answers} did not finish within {time_limit:g} seconds. Is "
            "there a loop that never ends? Check that its condition becomes "
            "false in the end.",
            own_lines,
            out_of_time=True,
        )
    if isinstance(error, UnusableAnswerError):
        return Problem("Your answer has the wrong type or shape.", str(error))
    # A test may give the answer a function to call: an assertion in that is the
    # test's, too.
    if isinstance(error, AssertionError) and max(tests, default=-1) > max(
        own, default=-1
    ):
        return Problem(
            case.failure_message or "Your answer is not right yet.",
            str(error) or test_line,
        )
    if own:
        return Problem(f"Your code raised {text}", own_lines)
    if "NoneType" in text:
        return Problem(
            f"{answers} returned None. Is there a `return` at the end?",
            test_line,
        )
    return Problem(
        "Your answer cannot be used as the question says.",
        f"{text}\n{test_line}",
    )


def _line(frame: FrameType, number: int) -> str:
    code = frame.f_code
    source = linecache.getline(
        code.co_filename, number, frame.f_globals
    ).strip()
    return f"line {number} of {code.co_qualname}: {source}"


def _empty(name: str, answer: object) -> list[str]:
    """List those functions of an answer (function or class) that are empty."""
    if isinstance(answer, type):
        methods = vars(answer).items()
        return [
            part
            for method, value in methods
            for part in _empty(f"{name}.{method}", value)
        ]
    does_nothing = isinstance(answer, FunctionType) and all(
        step.opname in {"RESUME", "NOP", "RETURN_VALUE"}
        or (
            step.opname in {"LOAD_CONST", "RETURN_CONST"}
            and step.argval in (None, ...)
        )
        for step in dis.get_instructions(answer)
    )
    return [name] if does_nothing else []
