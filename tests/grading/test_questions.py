"""Every exercise: solution, stub, mistakes, right answers, Otter, words."""

from pathlib import Path

import pytest

from tests.grading import checks

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted(checks.chapters(ROOT)["tests"])
QUESTIONS = [
    pytest.param(chapter, question, id=f"{chapter}-{question}")
    for chapter in CHAPTERS
    for question in checks.grader(ROOT, chapter).questions
]


def test_every_chapter_has_all_parts():
    parts = checks.chapters(ROOT)
    assert parts["tests"], "there are no exercises at all"
    assert all(chapters == parts["tests"] for chapters in parts.values()), parts


def test_every_right_answer_belongs_to_a_question():
    known = {tuple(param.values) for param in QUESTIONS}
    assert {
        (chapter, answer.question)
        for chapter in CHAPTERS
        for answer in checks.right_answers(ROOT, chapter)
    } <= known


@pytest.mark.parametrize(("chapter", "question"), QUESTIONS)
@pytest.mark.parametrize(
    "check",
    [
        checks.check_test_file,
        checks.check_heading,
        checks.check_enough_kinds,
        checks.check_reference_passes,
        checks.check_stub_is_rejected,
        checks.check_solution_passes,
        checks.check_mistakes_are_named,
        checks.check_battery,
        checks.check_right_answers,
        checks.check_otter_agrees,
    ],
)
def test_question(check, chapter, question):
    check(ROOT, chapter, question)
