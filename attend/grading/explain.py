"""Say in plain words what is wrong with an answer."""

import dis
import functools
import inspect
import linecache
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType, FunctionType

from attend.grading.compare import UnusableAnswerError

LONGEST_ERROR = 500
MOST_LINES = 3
USUAL_RULE = "Your answer is not right yet."
UNUSABLE = "Your answer cannot be used as the question says."
# Where code lies that is not the student's.
INSTALLED = tuple(
    {
        str(Path(sysconfig.get_path(name)).resolve())
        for name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
    | {str(Path(__file__).resolve().parents[1])}
)


class Diagnosis(AssertionError):
    """What is wrong with an answer, in a sentence or two.

    Attributes:
        message: The mistake, or the rule that is broken.
        detail: The input, what was expected and what came.
        mistake: Whether a named mistake did just the same.
    """

    def __init__(
        self, message: str, detail: str = "", mistake: bool = False
    ) -> None:
        self.message, self.detail, self.mistake = message, detail, mistake
        super().__init__(f"{message}\n{detail}" if detail else message)


def explain(error: BaseException, failure_message: str | None) -> Diagnosis:
    """Say why a test case without a `Question` failed.

    Args:
        error: What it raised.
        failure_message: What the test case says of its own assertions. An
            answer that is stopped by an error, or has the wrong type, has not
            come as far as the mistake which it names.

    Returns:
        What to tell the student.
    """
    if isinstance(error, Diagnosis):
        return error
    if isinstance(error, UnusableAnswerError):
        return Diagnosis(UNUSABLE, str(error))
    *_, (innermost, _) = traceback.walk_tb(error.__traceback__)
    if isinstance(error, AssertionError) and not _is_own(innermost):
        return Diagnosis(failure_message or USUAL_RULE, str(error))
    lines = own_lines(error)
    if lines:
        return Diagnosis(f"Your code raised {in_words(error)}", lines)
    return Diagnosis(UNUSABLE, in_words(error))


def in_words(error: BaseException) -> str:
    """Write an error on one line, and not without end."""
    text = f"{type(error).__name__}: {error}"
    return text if len(text) <= LONGEST_ERROR else text[:LONGEST_ERROR] + " …"


def missing(name: str, answer: object) -> str:
    """Say that an answer is not there yet, if so.

    Args:
        name: Its name.
        answer: The function or class that a student wrote; `None` where there
            is none.

    Returns:
        A sentence; nothing for an answer that is more than a stub.
    """
    if answer is None or answer is ...:
        return f"`{name}` is still empty: it is {answer}."
    if not callable(answer):
        return f"`{name}` is no function: it is {answer!r}."
    if empty := list(_empty(name, answer)):
        return f"`{empty[0]}` is still empty: it returned None."
    return ""


def out_of_time(
    names: Iterable[str], seconds: float, error: BaseException
) -> Diagnosis:
    """Say that an answer did not finish, and where it was.

    Args:
        names: What the student wrote.
        seconds: How long it had.
        error: What stopped it.
    """
    answers = " or ".join(f"`{name}`" for name in names) or "Your code"
    return Diagnosis(
        f"{answers} did not finish within {seconds:g} seconds. Is there a loop "
        "that never ends? Check that its condition becomes false in the end.",
        own_lines(error),
    )


def own_lines(error: BaseException) -> str:
    """List the last lines of the student's own code that led to an error."""
    lines = [
        _line(frame, number)
        for frame, number in traceback.walk_tb(error.__traceback__)
        if _is_own(frame)
    ]
    return "\n".join(lines[-MOST_LINES:])


def _is_own(frame: FrameType) -> bool:
    """Whether a frame runs the student's code, however it was defined.

    Not theirs are the library, what is installed, and test files.
    """
    names = frame.f_globals
    if "OK_FORMAT" in names or names.get("__name__", "").startswith("attend."):
        return False
    file = frame.f_code.co_filename
    return file.startswith("<") or not str(Path(file).resolve()).startswith(
        INSTALLED
    )


def _line(frame: FrameType, number: int) -> str:
    code = frame.f_code
    source = linecache.getline(
        code.co_filename, number, frame.f_globals
    ).strip()
    return f"line {number} of {code.co_qualname}: {source}"


def _empty(name: str, answer: object) -> Iterator[str]:
    """List those functions of an answer (function or class) that are empty."""
    if isinstance(answer, type):
        for method, value in vars(answer).items():
            yield from _empty(f"{name}.{method}", value)
        return
    if isinstance(answer, functools.partial):
        answer = answer.func
    answer = inspect.unwrap(answer) if callable(answer) else answer
    if isinstance(answer, FunctionType) and all(
        step.opname in {"RESUME", "NOP", "RETURN_VALUE"}
        or (
            step.opname in {"LOAD_CONST", "RETURN_CONST"}
            and step.argval in (None, ...)
        )
        for step in dis.get_instructions(answer)
    ):
        yield name
