"""Read a test file in Otter's exception format, without Otter."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from attend.grading.question import Question

OTTER_MODULE = "otter.test_files"


@dataclass(eq=False)
class TestCase:
    """One test of a question.

    As `test_case` it stands in for Otter's decorator of that name.
    """

    __test__ = False  # pytest need not look inside

    name: str | None = None
    points: float | None = None
    hidden: bool = False
    success_message: str | None = None
    failure_message: str | None = None

    def __call__(self, function: Callable[..., object]) -> "TestCase":
        """Decorate a function: keep it, with the student's names it takes."""
        self.function = function
        names = list(inspect.signature(function).parameters)
        self.takes_env = "env" in names
        self.parameters = [name for name in names if name != "env"]
        return self


@dataclass(frozen=True)
class TestFile:
    """What a test file defines."""

    __test__ = False

    cases: list[TestCase]
    question: Question | None


def load(source: str, path: str) -> TestFile:
    """Execute a test file with the stand-in in Otter's place, installed or not.

    Args:
        source: The text of the file.
        path: Where it is, for tracebacks.

    Returns:
        The test cases with their points, and the `Question` that the file
        makes, if it makes one.

    Raises:
        ValueError: if a case states no points of its own, or the file shares
            points out in another of Otter's ways.
    """
    stand_in = ModuleType(OTTER_MODULE)
    stand_in.test_case = TestCase  # type: ignore[attr-defined]
    content: dict[str, Any] = {}
    otter = sys.modules.get(OTTER_MODULE)
    sys.modules[OTTER_MODULE] = stand_in
    try:
        # under `python -O`, too, which leaves out `assert`
        exec(
            compile(source, path, "exec", optimize=0, dont_inherit=True),
            content,
        )
    finally:
        if otter is None:
            del sys.modules[OTTER_MODULE]
        else:
            sys.modules[OTTER_MODULE] = otter
    cases = [value for value in content.values() if isinstance(value, TestCase)]
    shared = content.get("points") or content.get("all_or_nothing")
    if shared or any(case.points is None for case in cases):
        raise ValueError(
            f"{path}: state the points of each case, `@test_case(points=…)`, "
            "and `points = None` for the file"
        )
    questions = [v for v in content.values() if isinstance(v, Question)]
    return TestFile(cases, questions[0] if questions else None)
