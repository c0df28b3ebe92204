"""What must hold for the exercises: each function asserts one thing.

It does so about one question. `test_wrong_answers.py` applies the functions to
the book; `test_checks.py` makes each of them fail on a toy.
"""

import ast
import contextlib
import functools
import io
import linecache
import re
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from matplotlib import pyplot

from attend.grading import Grader
from attend.grading.grader import Verdict

LEAST_WRONG_ANSWERS = 3
HEADING = re.compile(
    r"### Question (?P<number>\d+) · .+\n+"
    r"(?P<points>[\d.]+) points? · (?P<difficulty>★☆☆|★★☆|★★★) · "
    r"(?P<minutes>\d+) min\n"
)
# What a student reads who has not begun.
EMPTY = ("is still empty", "returned None", "is not defined yet")


@dataclass(frozen=True)
class WrongAnswer:
    """A cell to run in the solved notebook, and what the verdict must say."""

    question: str
    fragment: str
    name: str
    source: str


def chapters(root: Path) -> dict[str, set[str]]:
    """List the chapters that have each part of an exercise."""
    tests = {
        path.parent.name for path in (root / "exercises/tests").glob("*/q*.py")
    }
    wrong = {
        path.stem
        for path in (root / "tests/wrong_answers").glob("chapter_*.py")
    }
    return {
        "tests": tests,
        "solutions": {
            path.stem for path in (root / "solutions").glob("*.ipynb")
        },
        "exercises": {
            path.stem for path in (root / "exercises").glob("*.ipynb")
        },
        "wrong answers": {stem.removeprefix("chapter_") for stem in wrong},
    }


def grader(root: Path, chapter: str) -> Grader:
    """Make the grader of a chapter under a root."""
    return Grader(chapter, root / "exercises/tests")


def wrong_answers(root: Path, chapter: str) -> list[WrongAnswer]:
    """Read the marked definitions of a chapter's module of wrong answers."""
    path = root / f"tests/wrong_answers/chapter_{chapter}.py"
    if not path.is_file():
        return []
    marked, others = [], []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if (
            isinstance(node, ast.ImportFrom)
            and node.module == "tests.wrong_answers"
        ):
            continue
        (marked if "@wrong(" in ast.unparse(node) else others).append(node)
    found = []
    for node in marked:
        assert isinstance(node, ast.FunctionDef | ast.ClassDef)
        [mark] = [
            call for call in node.decorator_list if isinstance(call, ast.Call)
        ]
        question, fragment = (
            ast.literal_eval(argument) for argument in mark.args
        )
        node.decorator_list.remove(mark)
        source = ast.unparse(ast.Module([*others, node], type_ignores=[]))
        found.append(WrongAnswer(question, fragment, node.name, source))
    return found


def execute_cell(source: str, name: str, namespace: dict[str, Any]) -> None:
    """Execute code as a cell of a notebook: a traceback can show its lines."""
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    exec(compile(source, name, "exec"), namespace)


def execute(notebook: Path, *, go_on: bool = False) -> dict[str, Any]:
    """Execute the code cells of a notebook in an empty folder.

    What calls the grader is left out.

    Args:
        notebook: Which notebook.
        go_on: Whether to go on after a cell that fails, as in an exercise that
            is not solved.

    Returns:
        The names that it defines.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    cells = nbformat.read(notebook, as_version=4).cells
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        # what a notebook prints is tested elsewhere
        warnings.simplefilter("ignore")
        for number, cell in enumerate(cells):
            if cell.cell_type != "code":
                continue
            source = re.sub(
                r"(?m)^grader\.(check|report)\(.*$", "pass", cell.source
            )
            name = f"<{notebook.parent.name}/{notebook.name}, cell {number}>"
            with (
                contextlib.suppress(Exception)
                if go_on
                else contextlib.nullcontext()
            ):
                execute_cell(source, name, namespace)
    pyplot.close("all")
    return namespace


@functools.cache
def solved(root: Path, chapter: str) -> dict[str, Any]:
    """Execute a solution notebook, once for all that ask."""
    return execute(root / f"solutions/{chapter}.ipynb")


@functools.cache
def unsolved(root: Path, chapter: str) -> dict[str, Any]:
    """Execute an exercise as a student gets it, once for all that ask."""
    return execute(root / f"exercises/{chapter}.ipynb", go_on=True)


@contextlib.contextmanager
def replaced(
    namespace: dict[str, Any], wrong: WrongAnswer
) -> Iterator[dict[str, Any]]:
    """Put a wrong answer into a notebook, and then take it out.

    While it is there, all that calls it sees it.
    """
    before = dict(namespace)
    assert wrong.name in namespace, f"the solution defines no `{wrong.name}`"
    try:
        execute_cell(
            wrong.source, f"<wrong answer: {wrong.fragment}>", namespace
        )
        yield namespace
    finally:
        namespace.clear()
        namespace.update(before)


def check_solution_passes(root: Path, chapter: str, question: str) -> None:
    """The solution gets every point."""
    verdict = grader(root, chapter).verdict(question, solved(root, chapter))
    assert verdict.problem is None, f"the solution is rejected:\n{verdict}"
    assert verdict.earned == verdict.possible > 0


def check_stub_is_rejected(root: Path, chapter: str, question: str) -> None:
    """The exercise as it is handed out gets no point, and is called empty."""
    verdict = grader(root, chapter).verdict(question, unsolved(root, chapter))
    assert verdict.problem, "the empty stub passes"
    assert verdict.earned == 0, f"the empty stub earns points:\n{verdict}"
    assert any(text in verdict.problem.message for text in EMPTY), (
        f"not called empty:\n{verdict}"
    )


def check_enough_wrong_answers(root: Path, chapter: str, question: str) -> None:
    """The question has its wrong answers, each named by its own message."""
    found = [
        w.fragment
        for w in wrong_answers(root, chapter)
        if w.question == question
    ]
    assert len(found) >= LEAST_WRONG_ANSWERS, (
        f"{question} has {len(found)} wrong answers: {found}"
    )
    assert len(found) == len(set(found)), (
        f"two wrong answers with the same fragment: {found}"
    )


def check_wrong_answer_is_rejected(
    root: Path, chapter: str, wrong: WrongAnswer
) -> Verdict:
    """The verdict on a wrong answer names the mistake."""
    with replaced(solved(root, chapter), wrong) as namespace:
        verdict = grader(root, chapter).verdict(wrong.question, namespace)
    assert verdict.problem, f"the wrong answer {wrong.fragment!r} passes"
    # the verdict breaks lines where it will
    printed = " ".join(str(verdict).split())
    assert wrong.fragment in printed, (
        f"{wrong.fragment!r} is not in the verdict:\n{verdict}"
    )
    return verdict


def check_heading(root: Path, chapter: str, question: str) -> None:
    """The notebook states points, a difficulty and minutes, and has a hint.

    The points are those of the tests.
    """
    notebook = nbformat.read(root / f"solutions/{chapter}.ipynb", as_version=4)
    cells = [
        cell.source for cell in notebook.cells if cell.cell_type == "markdown"
    ]
    stated = {
        f"q{m['number']}": (m, cell)
        for cell in cells
        if (m := HEADING.search(cell + "\n"))
    }
    assert question in stated, (
        f"no cell has the heading of {question}: '### Question {question[1:]} "
        "· its name', then a line such as '2 points · ★★☆ · 8 min'"
    )
    heading, cell = stated[question]
    points = grader(root, chapter).verdict(question, {}).possible
    assert float(heading["points"]) == points, (
        f"{question}: the notebook states {heading['points']} points, the "
        f"tests give {points:g}"
    )
    assert "<details><summary>Hint" in cell, (
        f"{question} has no folded hint beside its heading"
    )
    code = "\n".join(
        cell.source for cell in notebook.cells if cell.cell_type == "code"
    )
    assert f'grader.check("{question}")' in code, (
        f"the notebook never checks {question}"
    )


def check_test_file(root: Path, chapter: str, question: str) -> None:
    """The test file is one for Otter, and no test case can spoil another."""
    path = root / f"exercises/tests/{chapter}/{question}.py"
    body = ast.parse(path.read_text(encoding="utf-8")).body
    settings = {}
    for node in body:
        if isinstance(node, ast.Assign):
            line = ast.unparse(node)
            try:
                settings[ast.unparse(node.targets[0])] = value = (
                    ast.literal_eval(node.value)
                )
                hash(value)
            except (ValueError, TypeError):
                raise AssertionError(
                    f"an answer could change what `{line}` shares between "
                    "test cases: build it in a function that each of them "
                    "calls"
                ) from None
    wanted = {"OK_FORMAT": False, "name": question, "points": None}
    got = {setting: settings.get(setting, "missing") for setting in wanted}
    assert got == wanted, f"the settings must be {wanted}, and are {got}"
    functions = [node for node in body if isinstance(node, ast.FunctionDef)]
    marks = {f.name: mark for f in functions for mark in f.decorator_list}
    assert marks, "there is no test case"
    for name, mark in marks.items():
        given = (
            {word.arg for word in mark.keywords}
            if isinstance(mark, ast.Call)
            else set()
        )
        assert {"points", "failure_message"} <= given, (
            f"{name} needs points and a failure_message"
        )
    names = [f.name for f in functions]
    assert len(names) == len(set(names)), (
        f"the same name twice, so one is never run: {names}"
    )
