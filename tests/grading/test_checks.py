"""The checks of the exercises notice what is wrong.

Each is made to fail on a toy book.
"""

import pytest

from tests.grading import checks, toy

CHAPTER, QUESTION = toy.CHAPTER, "q1"


def changed(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


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
def test_a_good_question_passes(check, tmp_path):
    check(toy.make(tmp_path), CHAPTER, QUESTION)


def test_good_wrong_answers_are_rejected_and_leave_the_notebook_as_it_was(
    tmp_path,
):
    root = toy.make(tmp_path)
    before = dict(checks.solved(root, CHAPTER))
    wrong = checks.wrong_answers(root, CHAPTER)
    verdicts = [
        checks.check_wrong_answer_is_rejected(root, CHAPTER, w) for w in wrong
    ]
    assert [verdict.earned for verdict in verdicts] == [0, 1, 0]
    assert checks.solved(root, CHAPTER) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            (
                "return scores.softmax(dim=-1) * mask",
                "return right(scores, mask)",
            ),
            "passes",
        ),
        (
            ("mask after the softmax", "forgot the scale"),
            "'forgot the scale' is not in the verdict",
        ),
        (
            ("def masked_softmax", "def masked_sotfmax"),
            "defines no `masked_sotfmax`",
        ),
    ],
)
def test_a_bad_wrong_answer_is_noticed(change, message, tmp_path):
    right = (
        "\n\ndef right(s, mask):\n"
        "    return s.masked_fill(~mask, -torch.inf).softmax(-1)\n"
    )
    root = toy.make(tmp_path, wrong=changed(toy.WRONG, *change) + right)
    with pytest.raises(AssertionError, match=message):
        checks.check_wrong_answer_is_rejected(
            root, CHAPTER, checks.wrong_answers(root, CHAPTER)[0]
        )


def test_a_wrong_answer_is_seen_by_the_rest_of_the_notebook(tmp_path):
    solution = (
        toy.SOLUTION + "\n\ndef attend(*a):\n    return masked_softmax(*a)\n"
    )
    tests = changed(toy.TESTS, "masked_softmax(*masked())", "attend(*masked())")
    tests = changed(tests, "(masked_softmax):", "(attend):")
    root = toy.make(tmp_path, solution=solution, tests=tests)
    for wrong in checks.wrong_answers(root, CHAPTER):
        checks.check_wrong_answer_is_rejected(root, CHAPTER, wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ('@wrong("q1", "turn the mask round")\n', ""),
            "q1 has 2 wrong answers",
        ),
        (
            ("turn the mask round", "mask after the softmax"),
            "the same fragment",
        ),
    ],
)
def test_too_few_wrong_answers_are_noticed(change, message, tmp_path):
    root = toy.make(tmp_path, wrong=changed(toy.WRONG, *change))
    with pytest.raises(AssertionError, match=message):
        checks.check_enough_wrong_answers(root, CHAPTER, QUESTION)


def test_a_stub_that_passes_is_noticed(tmp_path):
    solution = changed(toy.SOLUTION, "    # BEGIN SOLUTION\n", "")
    solution = changed(solution, "    # END SOLUTION\n", "")
    with pytest.raises(AssertionError, match="the empty stub passes"):
        checks.check_stub_is_rejected(
            toy.make(tmp_path, solution=solution), CHAPTER, QUESTION
        )


def test_a_stub_that_is_not_called_empty_is_noticed(tmp_path):
    solution = changed(
        toy.SOLUTION, "# END SOLUTION\n", "# END SOLUTION\n    return scores\n"
    )
    with pytest.raises(AssertionError, match="not called empty"):
        checks.check_stub_is_rejected(
            toy.make(tmp_path, solution=solution), CHAPTER, QUESTION
        )


def test_a_stub_that_earns_a_point_is_noticed(tmp_path):
    tests = changed(
        toy.TESTS, "    got = masked_softmax(*masked())\n", "    return\n"
    )
    with pytest.raises(AssertionError, match="the empty stub earns points"):
        checks.check_stub_is_rejected(
            toy.make(tmp_path, tests=tests), CHAPTER, QUESTION
        )


def test_a_wrong_solution_is_noticed(tmp_path):
    solution = changed(toy.SOLUTION, "~mask", "mask")
    with pytest.raises(AssertionError, match="the solution is rejected"):
        checks.check_solution_passes(
            toy.make(tmp_path, solution=solution), CHAPTER, QUESTION
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("2 points", "3 points"),
            "the notebook states 3 points, the tests give 2",
        ),
        (("★★☆", "hard"), "no cell has the heading"),
        (("8 min", "soon"), "no cell has the heading"),
        (("Question 1", "Question 2"), "no cell has the heading"),
        (("<details>", ""), "no folded hint"),
    ],
)
def test_a_wrong_heading_is_noticed(change, message, tmp_path):
    root = toy.make(tmp_path, question=changed(toy.QUESTION, *change))
    with pytest.raises(AssertionError, match=message):
        checks.check_heading(root, CHAPTER, QUESTION)


def test_a_question_that_is_never_checked_is_noticed(tmp_path):
    solution = changed(toy.SOLUTION, 'grader.check("q1")', "")
    with pytest.raises(AssertionError, match="never checks q1"):
        checks.check_heading(
            toy.make(tmp_path, solution=solution), CHAPTER, QUESTION
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("OK_FORMAT = False\n", ""), "'OK_FORMAT': 'missing'"),
        (('name = "q1"', 'name = "q2"'), "settings must be"),
        (("    points=1,\n", ""), "test_sums_to_one needs points"),
        (("failure_message=", "name="), "needs points and a failure_message"),
        (("test_weights", "test_sums_to_one"), "the same name twice"),
        (
            ("points = None", "points = None\nINPUT = torch.ones(3)"),
            "`INPUT = torch.ones",
        ),
        (
            ("points = None", "points = None\nINPUT = [1, 2]"),
            r"`INPUT = \[1, 2\]`",
        ),
    ],
)
def test_a_bad_test_file_is_noticed(change, message, tmp_path):
    root = toy.make(tmp_path, tests=changed(toy.TESTS, *change))
    with pytest.raises(AssertionError, match=message):
        checks.check_test_file(root, CHAPTER, QUESTION)


def test_chapters_lists_what_is_there(tmp_path):
    root = toy.make(tmp_path)
    assert all(found == {CHAPTER} for found in checks.chapters(root).values())
    (root / f"solutions/{CHAPTER}.ipynb").unlink()
    assert checks.chapters(root)["solutions"] == set()
