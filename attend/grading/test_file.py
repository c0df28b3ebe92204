"""Read a test file in Otter's exception format, without Otter."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

OTTER_MODULE = "otter.test_files"


@dataclass(eq=False)
class TestCase:
    """One test of a question; as `test_case` it stands in for Otter's decorator of that name."""

    __test__ = False  # pytest need not look inside

    name: str | None = None
    points: float | None = None
    hidden: bool = False
    success_message: str | None = None
    failure_message: str | None = None

    def __call__(self, function: Callable[..., object]) -> "TestCase":
        """Decorate a function: keep it, with the names it takes from the student's notebook."""
        self.function = function
        names = list(inspect.signature(function).parameters)
        self.takes_env = "env" in names
        self.parameters = [name for name in names if name != "env"]
        return self


def load(source: str, path: str) -> tuple[list[TestCase], bool]:
    """Execute a test file with the stand-in in place of Otter, installed or not.

    Args:
        source: The text of the file.
        path: Where it is, for tracebacks.

    Returns:
        The test cases with their points, as Otter would share them out; and whether the question
        is all or nothing.
    """
    stand_in = ModuleType(OTTER_MODULE)
    stand_in.test_case = TestCase  # type: ignore[attr-defined]
    content: dict[str, Any] = {}
    otter = sys.modules.get(OTTER_MODULE)
    sys.modules[OTTER_MODULE] = stand_in
    try:
        exec(compile(source, path, "exec"), content)
    finally:
        if otter is None:
            del sys.modules[OTTER_MODULE]
        else:
            sys.modules[OTTER_MODULE] = otter
    cases = [value for value in content.values() if isinstance(value, TestCase)]
    _share_points(content.get("points"), cases)
    return cases, content.get("all_or_nothing", False)


def _share_points(points: float | list[float] | None, cases: list[TestCase]) -> None:
    """Give every case its points: its own, or an equal share of what the question has left."""
    if isinstance(points, list):
        for case, value in zip(cases, points, strict=True):
            case.points = value
        points = None
    stated = sum(case.points or 0 for case in cases)
    total = (stated or 1) if points is None else points
    without = [case for case in cases if case.points is None]
    for case in without:
        case.points = (total - stated) / len(without)
