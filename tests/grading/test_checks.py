"""The checks of the exercises notice what is wrong.

Each is made to fail on a toy book.
"""

import pytest

from attend.grading import Diagnosis, Grader, battery
from attend.grading.grader import Verdict
from attend.grading.test_file import load
from tests.grading import checks, toy

CHAPTER, QUESTION = toy.CHAPTER, "q1"


def changed(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


CHECKS = [
    checks.check_test_file,
    checks.check_heading,
    checks.check_enough_kinds,
    checks.check_reference_passes,
    checks.check_stub_is_rejected,
    checks.check_solution_passes,
    checks.check_mistakes_are_named,
    checks.check_battery,
    checks.check_otter_agrees,
]


@pytest.mark.parametrize("check", CHECKS)
def test_a_good_question_passes(check, tmp_path):
    check(toy.make(tmp_path), CHAPTER, QUESTION)


def fails(root, check, message):
    with pytest.raises(AssertionError, match=message):
        check(root, CHAPTER, QUESTION)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("scores.softmax(dim=-1) * mask", "right(scores, mask)"), "passes"),
        (
            (
                "return scores.softmax(dim=-1) * mask",
                "return scores.masked_fill(mask, -torch.inf)"
                ".softmax(-1).nan_to_num()",
            ),
            "instead of 'You turned the mask round.' it is told",
        ),
    ],
)
def test_a_mistake_that_is_not_named_is_noticed(change, message, tmp_path):
    right = """

def right(scores, mask):
    return QUESTION.right["masked_softmax"](scores, mask)
"""
    root = toy.make(tmp_path, tests=changed(toy.TESTS, *change) + right)
    fails(root, checks.check_mistakes_are_named, message)


def test_too_few_mistakes_are_noticed(tmp_path):
    tests = changed(toy.TESTS, '    gradients=["scores"],\n', "")
    kinds = ["arguments", "layout", "again"]
    tests = changed(
        tests, '"query, key"},\n', f'"query, key"}}, without={kinds}'
    )
    fails(
        toy.make(tmp_path, tests=tests),
        checks.check_enough_kinds,
        r"3 named mistakes, and of the battery \['float16', 'float64', 'si",
    )


@pytest.mark.parametrize("kind", list(battery.KINDS))
def test_a_kind_of_the_battery_that_sees_nothing_is_noticed(
    kind, tmp_path, monkeypatch
):
    """As when the broken answer of a kind is no longer broken."""
    monkeypatch.setitem(checks.BROKEN, kind, lambda right: right)
    fails(toy.make(tmp_path), checks.check_battery, f"{kind}: a broken answer")


def test_right_answers_are_tried(tmp_path):
    def make(name, answers):
        root = toy.make(tmp_path / name, right=answers)
        return root, checks.check_right_answers

    imports, one = toy.RIGHT_ANSWERS.split("\n\n\n")
    three = "\n\n\n".join([imports, one, one, one])
    check = checks.check_right_answers
    check(make("good", three)[0], CHAPTER, QUESTION)
    fails(*make("few", toy.RIGHT_ANSWERS), "q1 has 1 unusual right answers")
    wrong = changed(three, "torch.where(total > 0, total, 1)", "total")
    fails(*make("wrong", wrong), "right answer 0 is rejected")
    other = changed(three, "def masked_softmax", "def softmax")
    fails(*make("other", other), "the solution defines no `softmax`")


def test_otter_and_the_grader_must_agree(tmp_path, monkeypatch):
    """In points, and in what the student is told."""
    root = toy.make(tmp_path)
    wrong = checks.verdict_with(
        root, CHAPTER, QUESTION, masked_softmax=lambda *_: None
    )
    with monkeypatch.context() as patch:
        patch.setattr(Grader, "verdict", lambda *_: wrong)
        fails(root, checks.check_otter_agrees, "Otter gives 2.*, the grader 0")
    monkeypatch.setattr(Grader, "verdict", lambda *_: other(wrong, *_))
    fails(root, checks.check_otter_agrees, "Otter says otherwise")


def other(verdict, grader, question, namespace):
    """Another message where the answer is wrong, and the right points."""
    cases = load(toy.TESTS, "q1.py").cases
    earned, problem = 0, None
    for case in cases:
        try:
            case.function(namespace["masked_softmax"])
            earned += case.points
        except AssertionError:
            problem = Diagnosis("Something else.")
    return Verdict(question, earned, 2, problem)


def test_a_check_that_takes_too_long_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "MOST_SECONDS", 0.0)
    fails(toy.make(tmp_path), checks.check_reference_passes, "a check takes 0")


def test_a_reference_that_fails_its_own_trials_is_noticed(tmp_path):
    tests = (
        toy.TESTS
        + """

@QUESTION.trial("edges", "a second call", "")
def trial(masked_softmax, seen=[]):
    seen.append(0)
    return len(seen)
"""
    )
    fails(
        toy.make(tmp_path, tests=tests),
        checks.check_reference_passes,
        "the reference is rejected",
    )


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
    tests = (
        toy.TESTS
        + """

@test_case(points=1)
def test_nothing(env):
    pass
"""
    )
    fails(
        toy.make(tmp_path, tests=tests),
        checks.check_stub_is_rejected,
        "the empty stub earns points",
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
        (("points=1", ""), "test_idea needs points"),
        (("test_edges", "test_idea"), "the same name twice"),
        (('"idea edges"', '"edges"'), "must check all parts"),
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
