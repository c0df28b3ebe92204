"""What must hold for the exercises: each function asserts one thing.

It does so about one question. `test_questions.py` applies the functions to the
book; `test_checks.py` makes each of them fail on a toy.
"""

import ast
import contextlib
import functools
import io
import linecache
import re
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import torch
from matplotlib import pyplot
from torch import Tensor

from attend.grading import Diagnosis, Grader, Question, battery, show
from attend.grading.grader import Verdict
from attend.grading.test_file import load

with warnings.catch_warnings():
    # Otter imports what warns that others have deprecated
    warnings.simplefilter("ignore")
    from otter.test_files import ExceptionTestFile

Answer = Callable[..., Any]

LEAST_KINDS = 8
LEAST_RIGHT_ANSWERS = 3
MOST_SECONDS = 2.0
HEADING = re.compile(
    r"### Question (?P<number>\d+) · .+\n+"
    r"(?P<points>[\d.]+) points? · (?P<difficulty>★☆☆|★★☆|★★★) · "
    r"(?P<minutes>\d+) min\n"
)
# What a student reads who has not begun.
EMPTY = ("is still empty", "returned None", "is not defined yet")


@dataclass(frozen=True)
class RightAnswer:
    """A cell to run in the solved notebook."""

    question: str
    name: str
    source: str


def chapters(root: Path) -> dict[str, set[str]]:
    """List the chapters that have each part of an exercise."""
    tests = {
        path.parent.name for path in (root / "exercises/tests").glob("*/q*.py")
    }
    right = {
        path.stem
        for path in (root / "tests/right_answers").glob("chapter_*.py")
    }
    return {
        "tests": tests,
        "solutions": {
            path.stem for path in (root / "solutions").glob("*.ipynb")
        },
        "exercises": {
            path.stem for path in (root / "exercises").glob("*.ipynb")
        },
        "right answers": {stem.removeprefix("chapter_") for stem in right},
    }


def grader(root: Path, chapter: str) -> Grader:
    """Make the grader of a chapter under a root."""
    return Grader(chapter, root / "exercises/tests")


def question_of(root: Path, chapter: str, number: str) -> Question:
    """Load the question that a test file makes."""
    path = root / f"exercises/tests/{chapter}/{number}.py"
    question = load(path.read_text(encoding="utf-8"), str(path)).question
    assert question, f"{path} makes no Question"
    return question


def right_answers(root: Path, chapter: str) -> list[RightAnswer]:
    """Read the marked definitions of a chapter's module of right answers."""
    path = root / f"tests/right_answers/chapter_{chapter}.py"
    if not path.is_file():
        return []
    marked, others = [], []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if (
            isinstance(node, ast.ImportFrom)
            and node.module == "tests.right_answers"
        ):
            continue
        (marked if "@right(" in ast.unparse(node) else others).append(node)
    found = []
    for node in marked:
        assert isinstance(node, ast.FunctionDef | ast.ClassDef)
        [mark] = [
            call
            for call in node.decorator_list
            if ast.unparse(call).startswith("right(")
        ]
        node.decorator_list.remove(mark)
        source = ast.unparse(ast.Module([*others, node], type_ignores=[]))
        number = ast.literal_eval(mark.args[0])
        found.append(RightAnswer(number, node.name, source))
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


def check_enough_kinds(root: Path, chapter: str, question: str) -> None:
    """It has mistakes and kinds of the battery, and inputs for every part."""
    asked = question_of(root, chapter, question)
    kinds = {trial.kind for trial in asked.trials if trial.kind}
    messages = {mistake.message for mistake in asked.mistakes}
    assert len(messages) + len(kinds) >= LEAST_KINDS, (
        f"{question} has {len(messages)} named mistakes, and of the battery "
        f"{sorted(kinds)}"
    )
    assert asked.right.keys() == set(asked.names), "a reference is missing"


def check_reference_passes(root: Path, chapter: str, question: str) -> None:
    """The reference gets every point, and soon."""
    start = time.process_time()
    verdict = verdict_with(root, chapter, question)
    seconds = time.process_time() - start
    assert verdict.problem is None, f"the reference is rejected:\n{verdict}"
    assert seconds < MOST_SECONDS, f"a check takes {seconds:.1f} s"


def verdict_with(
    root: Path, chapter: str, question: str, **changed: Any
) -> Verdict:
    """Check the reference with some of its functions replaced."""
    right = question_of(root, chapter, question).right
    return grader(root, chapter).verdict(question, {**right, **changed})


def check_mistakes_are_named(root: Path, chapter: str, question: str) -> None:
    """Each named mistake loses points, and is told just its own message."""
    asked = question_of(root, chapter, question)
    parts = " ".join({trial.part for trial in asked.trials})
    for mistake in asked.mistakes:
        answers = {**asked.right, mistake.name: mistake.function}
        try:
            asked.check(parts, *(answers[name] for name in asked.names))
        except Diagnosis as problem:
            assert problem.message == mistake.message, (
                f"instead of {mistake.message!r} it is told:\n{problem}"
            )
        else:
            raise AssertionError(f"the mistake {mistake.message!r} passes")


def check_battery(root: Path, chapter: str, question: str) -> None:
    """Each kind of the battery rejects what is broken in this way alone."""
    asked = question_of(root, chapter, question)
    name = asked.names[0]
    for kind in dict.fromkeys(trial.kind for trial in asked.trials):
        if kind:
            broken = BROKEN[kind](asked.right[name])
            verdict = verdict_with(root, chapter, question, **{name: broken})
            assert verdict.problem, f"{kind}: a broken answer passes"


def tensors(value: Any) -> list[Tensor]:
    """List the tensors in a value."""
    return battery.leaves(value)


def large_only(right: Answer) -> Answer:
    def answer(*given: Any) -> Any:
        if any(1 in tensor.shape for tensor in tensors(given)):
            raise IndexError("dimension out of range")
        return right(*given)

    return answer


def meddling(right: Answer) -> Answer:
    def answer(*given: Any) -> Any:
        result = right(*battery.copied(given))
        for value in given:
            if isinstance(value, list):
                value.append(value[0] if value else None)
        for tensor in tensors(given):
            tensor.copy_(~tensor if tensor.dtype == torch.bool else tensor + 1)
        return result

    return answer


def contiguous_only(right: Answer) -> Answer:
    def answer(*given: Any) -> Any:
        if not all(tensor.is_contiguous() for tensor in tensors(given)):
            raise RuntimeError("view size is not compatible")
        return right(*given)

    return answer


def once(right: Answer) -> Answer:
    before: list[str] = []

    def answer(*given: Any) -> Any:
        result = right(*given)
        called, before[:] = [*before], [show(list(given))]
        return None if called == before else result

    return answer


def narrowing(dtype: torch.dtype) -> Callable[[Answer], Answer]:
    def broken(right: Answer) -> Answer:
        def answer(*given: Any) -> Any:
            if any(tensor.dtype == dtype for tensor in tensors(given)):
                raise RuntimeError("not implemented for this dtype")
            return right(*given)

        return answer

    return broken


def detached(right: Answer) -> Answer:
    def answer(*given: Any) -> Any:
        return battery.mapped(
            lambda v: v.detach() if isinstance(v, Tensor) else v,
            right(*given),
        )

    return answer


# An answer that is right but for one kind of the battery.
BROKEN: dict[str, Callable[[Answer], Answer]] = {
    "sizes": large_only,
    "arguments": meddling,
    "layout": contiguous_only,
    "again": once,
    "float64": narrowing(torch.float64),
    "float16": narrowing(torch.float16),
    "gradients": detached,
}


def check_right_answers(root: Path, chapter: str, question: str) -> None:
    """Right answers that are written in unusual ways get every point."""
    answers = [
        answer
        for answer in right_answers(root, chapter)
        if answer.question == question
    ]
    assert len(answers) >= LEAST_RIGHT_ANSWERS, (
        f"{question} has {len(answers)} unusual right answers"
    )
    for number, answer in enumerate(answers):
        namespace = dict(solved(root, chapter))
        assert answer.name in namespace, (
            f"the solution defines no `{answer.name}`"
        )
        execute_cell(
            answer.source, f"<{question}, right answer {number}>", namespace
        )
        verdict = grader(root, chapter).verdict(question, namespace)
        assert verdict.problem is None, (
            f"right answer {number} is rejected:\n{verdict}\n{answer.source}"
        )


def check_otter_agrees(root: Path, chapter: str, question: str) -> None:
    """Otter gives the same points and messages.

    On the solution, the stub, and a wrong answer.
    """
    asked = question_of(root, chapter, question)
    first = asked.mistakes[0]
    path = root / f"exercises/tests/{chapter}/{question}.py"
    for namespace in (
        solved(root, chapter),
        unsolved(root, chapter),
        {**solved(root, chapter), first.name: first.function},
    ):
        otter = ExceptionTestFile.from_file(str(path))
        otter.run(namespace)
        verdict = grader(root, chapter).verdict(question, namespace)
        assert (verdict.earned, verdict.possible) == (
            otter.score,
            otter.possible,
        ), f"Otter gives {otter.score}, the grader {verdict.earned}"
        if verdict.problem:
            told = next(
                result.message
                for result in otter.test_case_results
                if not result.passed
            )
            assert str(verdict.problem) in told, (
                f"Otter says otherwise:\n{told}\n{verdict}"
            )


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
            with contextlib.suppress(ValueError):
                settings[ast.unparse(node.targets[0])] = ast.literal_eval(
                    node.value
                )
    wanted = {"OK_FORMAT": False, "name": question, "points": None}
    got = {setting: settings.get(setting, "missing") for setting in wanted}
    assert got == wanted, f"the settings must be {wanted}, and are {got}"
    marks = [
        (node.name, mark)
        for node in body
        if isinstance(node, ast.FunctionDef)
        for mark in node.decorator_list
        if ast.unparse(mark).startswith("test_case")
    ]
    assert marks, "there is no test case"
    for name, mark in marks:
        given = (
            {word.arg for word in mark.keywords}
            if isinstance(mark, ast.Call)
            else set()
        )
        assert "points" in given, f"{name} needs points"
    names = [name for name, _ in marks]
    assert len(names) == len(set(names)), (
        f"the same name twice, so one is never run: {names}"
    )
    asked = question_of(root, chapter, question)
    parts = {trial.part for trial in asked.trials}
    checked = [
        set(ast.literal_eval(call.args[0]).split())
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) == "QUESTION.check"
    ]
    assert checked[-1] == parts, (
        f"the last test case must check all parts, {sorted(parts)}: edges do "
        "not count without the idea"
    )
