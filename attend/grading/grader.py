"""The student's grader: run a question's test file and print a verdict.

Test files are in the exception format of Otter-Grader, so an instructor can use
Otter as it is. Here, in the notebook, they run without it: a stand-in takes the
place of `otter.test_files` while a file is read.
"""

import re
import sys
import textwrap
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from attend.grading import steady
from attend.grading.explain import (
    Diagnosis,
    explain,
    missing,
    out_of_time,
)
from attend.grading.test_file import TestCase, load
from attend.grading.time_limit import OutOfTimeError, run_with_limit

WIDTH = 100
HIDDEN = Diagnosis("A hidden test finds something wrong.")


@dataclass(frozen=True)
class Verdict:
    """What the grader found for one question.

    That is its points, the first problem, if any, and what the answer printed
    there.
    """

    question: str
    earned: float
    possible: float
    problem: Diagnosis | None
    printed: str = ""

    @property
    def mark(self) -> str:
        """A tick or a cross."""
        return "✗" if self.problem else "✓"

    def __str__(self) -> str:
        unit = "point" if self.possible == 1 else "points"
        lines = [
            f"{self.question}  {self.mark}  {self.earned:g} of "
            f"{self.possible:g} {unit}"
        ]
        if self.problem:
            lines += _wrap(self.problem.message, "    ") + _wrap(
                self.problem.detail, "      "
            )
        return "\n".join(lines)


class Grader:
    """Check the exercises of one chapter.

    Args:
        chapter: The chapter, such as `"02_attention"`.
        tests: A folder with one folder of test files per chapter; by default
            the book's own.
        time_limit: How many seconds one test case may take.

    Raises:
        ValueError: If there are no exercises for the chapter; the message lists
            those there are.
    """

    def __init__(
        self, chapter: str, tests: Path | None = None, time_limit: float = 10.0
    ) -> None:
        root: Traversable = tests or resources.files("attend.exercises")
        chapters = {
            folder.name: _questions(folder) for folder in root.iterdir()
        }
        if not chapters.get(chapter):
            known = (
                ", ".join(
                    sorted(name for name, files in chapters.items() if files)
                )
                or "none"
            )
            raise ValueError(
                f"No exercises for chapter {chapter!r}. There are: {known}."
            )
        self.chapter = chapter
        self.time_limit = time_limit
        self.questions = chapters[chapter]

    def check(
        self, question: str, namespace: dict[str, Any] | None = None
    ) -> None:
        """Check one question and print the verdict.

        Args:
            question: The question, such as `"q1"`.
            namespace: The names to check; by default those of the notebook or
                script that calls.
        """
        if namespace is None:
            namespace = sys._getframe(1).f_globals
        if question not in self.questions:
            known = ", ".join(self.questions)
            print(
                f"There is no question {question!r} in {self.chapter}. The "
                f"questions are: {known}."
            )
            return
        verdict = self.verdict(question, namespace)
        print(f"{verdict.printed}{verdict}")

    def report(self, namespace: dict[str, Any] | None = None) -> None:
        """Check every question and print a table of points.

        What the answers themselves print is left out.

        Args:
            namespace: The names to check; by default those of the notebook or
                script that calls.
        """
        if namespace is None:
            namespace = sys._getframe(1).f_globals
        verdicts = [
            self.verdict(question, namespace) for question in self.questions
        ]
        width = max(len(question) for question in [*self.questions, "total"])
        for verdict in verdicts:
            score = f"{verdict.earned:g} of {verdict.possible:g}"
            print(f"{verdict.question:<{width}}  {verdict.mark}  {score}")
        earned = sum(verdict.earned for verdict in verdicts)
        possible = sum(verdict.possible for verdict in verdicts)
        print(f"{'total':<{width}}     {earned:g} of {possible:g} points")
        failed = [verdict.question for verdict in verdicts if verdict.problem]
        if failed:
            print(
                f"\nNot right yet: {', '.join(failed)}. "
                f'See why: grader.check("{failed[0]}")'
            )

    def verdict(self, question: str, namespace: dict[str, Any]) -> Verdict:
        """Check one question without printing.

        Args:
            question: One of `questions`.
            namespace: The names to check.

        Returns:
            The points, and the problem of the first test case that failed.
        """
        file = self.questions[question]
        with steady.kept():
            steady.reset()
            cases = load(file.read_text(encoding="utf-8"), str(file)).cases
        possible = sum(case.points or 0 for case in cases)
        earned, first, printed = 0.0, None, ""
        for case in cases:
            try:
                with steady.captured() as output:
                    self._run(case, namespace)
                earned += case.points or 0
            except Diagnosis as problem:
                if first is None:
                    first = HIDDEN if case.hidden else problem
                    printed = "" if case.hidden else output.text
                # most likely the others would be, too
                if isinstance(problem.__cause__, OutOfTimeError):
                    break
        return Verdict(question, earned, possible, first, printed)

    def _run(self, case: TestCase, namespace: dict[str, Any]) -> None:
        for name in case.parameters:
            if name not in namespace:
                raise Diagnosis(
                    f"`{name}` is not defined yet: run the cell that defines "
                    "it."
                )
            if message := missing(name, namespace[name]):
                raise Diagnosis(message)
        arguments = {name: namespace[name] for name in case.parameters}
        if case.takes_env:
            arguments["env"] = namespace
        with steady.kept(), steady.keyboard() as pressed:
            steady.reset()
            try:
                run_with_limit(
                    lambda: case.function(**arguments), self.time_limit
                )
            except OutOfTimeError as error:
                raise out_of_time(
                    case.parameters, self.time_limit, error
                ) from error
            except BaseException as error:
                # whatever an answer does, SystemExit too, is its problem
                if pressed():
                    raise
                raise explain(error, case.failure_message) from error


def _questions(folder: Traversable) -> dict[str, Traversable]:
    """Find the test files of a chapter, in the order q1, q2, …, q10."""
    found = {}
    for file in folder.iterdir() if folder.is_dir() else ():
        if match := re.fullmatch(r"q(\d+)\.py", file.name):
            found[int(match[1])] = file
    return {f"q{number}": found[number] for number in sorted(found)}


def _wrap(text: str, indent: str) -> list[str]:
    lines = []
    for line in text.splitlines():
        lead = indent + " " * (len(line) - len(line.lstrip()))
        lines += textwrap.wrap(
            line.strip(),
            WIDTH,
            initial_indent=lead,
            subsequent_indent=lead,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines
