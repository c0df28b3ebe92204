"""Every exercise of the book: solution, empty stub, wrong answers, heading."""

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
WRONG_ANSWERS = [
    pytest.param(
        chapter, wrong, id=f"{chapter}-{wrong.question}-{wrong.fragment}"
    )
    for chapter in CHAPTERS
    for wrong in checks.wrong_answers(ROOT, chapter)
]


def test_every_chapter_has_all_parts():
    parts = checks.chapters(ROOT)
    assert parts["tests"], "there are no exercises at all"
    assert all(chapters == parts["tests"] for chapters in parts.values()), parts


def test_every_wrong_answer_belongs_to_a_question():
    known = {tuple(param.values) for param in QUESTIONS}
    assert {
        (param.values[0], param.values[1].question) for param in WRONG_ANSWERS
    } <= known


@pytest.mark.parametrize(("chapter", "question"), QUESTIONS)
@pytest.mark.parametrize(
    "check",
    [
        checks.check_test_file,
        checks.check_heading,
        checks.check_enough_wrong_answers,
        checks.check_stub_is_rejected,
        checks.check_solution_passes,
    ],
)
def test_question(check, chapter, question):
    check(ROOT, chapter, question)


@pytest.mark.parametrize(("chapter", "wrong"), WRONG_ANSWERS)
def test_wrong_answer_is_rejected(chapter, wrong):
    checks.check_wrong_answer_is_rejected(ROOT, chapter, wrong)
