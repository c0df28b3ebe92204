"""The grader, above all with bad input.

What a student does wrong is said, and the rest goes on.
"""

import contextlib
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import pytest
import torch

from attend.grading import Grader, expect_close, expect_tensor, show
from attend.grading.time_limit import OutOfTimeError, run_with_limit
from tests.grading import toy

with warnings.catch_warnings():
    # Otter imports what warns that others have deprecated
    warnings.simplefilter("ignore")
    from otter.test_files import ExceptionTestFile

RIGHT = """
def masked_softmax(scores, mask):
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=-1).nan_to_num()
"""


@pytest.fixture
def root(tmp_path):
    return toy.make(tmp_path)


@pytest.fixture
def check(root, capsys):
    """Execute an answer as a notebook's cell; return what the check prints."""

    def run(answer, question="q1", time_limit=10.0):
        namespace = {"torch": torch, "__name__": "__main__"}
        cell = root / "cell.py"  # a file, so that a verdict can show its lines
        cell.write_text(answer)
        exec(compile(answer, str(cell), "exec"), namespace)
        capsys.readouterr()
        grader = Grader(toy.CHAPTER, root / "exercises/tests", time_limit)
        assert grader.check(question, namespace) is None
        return capsys.readouterr().out

    return run


def answer(body):
    return "def masked_softmax(scores, mask):\n" + textwrap.indent(
        textwrap.dedent(body), "    "
    )


def test_right_answer(check):
    assert check(RIGHT) == "q1  ✓  2 of 2 points\n"


def test_wrong_answer_names_the_mistake_and_shows_the_numbers(check):
    assert check(answer("return scores.softmax(dim=-1) * mask")) == (
        "q1  ✗  0 of 2 points\n"
        "    The weights do not sum to one. Did you mask after the softmax?\n"
        "      sum of the weights: expected [1], got [0.3348]\n"
    )


def test_partly_right_answer_gets_part_of_the_points(check):
    assert check(RIGHT.replace("~mask", "mask")) == (
        "q1  ✗  1 of 2 points\n    The weights are not those of a softmax. "
        "Did you turn the mask round?\n      scores [1, 2, 3], the last "
        "masked: expected [[0.2689, 0.7311, 0]], got [[0, 0, 1]]\n"
    )


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "",
            "`masked_softmax` is not defined yet: run the cell that defines "
            "it.",
        ),
        (
            "masked_softmax = ...",
            "`masked_softmax` is still empty: it is Ellipsis.",
        ),
        (
            "masked_softmax = None",
            "`masked_softmax` is still empty: it is None.",
        ),
        (answer("..."), "`masked_softmax` is still empty: it returned None."),
        (
            answer("return ..."),
            "`masked_softmax` is still empty: it returned None.",
        ),
        (
            answer("'''Mask.'''\npass"),
            "`masked_softmax` is still empty: it returned None.",
        ),
        (
            answer("w = scores * mask"),
            "expected a tensor, got None. Is a `return` missing?",
        ),
        (
            answer("return scores, mask"),
            "expected a tensor, got a tuple of 2: return one tensor",
        ),
        (answer("return scores.tolist()"), "expected a tensor, got a list"),
        (
            answer("return scores.mT"),
            "expected shape (1, 3) = (query, key), got (3, 1)",
        ),
    ],
)
def test_missing_empty_or_unusable_answer(code, message, check):
    printed = check(code)
    assert printed.startswith("q1  ✗  0 of 2 points\n    ")
    assert message in printed
    # no mistake is named that the answer has not made
    assert "Did you" not in printed


def test_answer_that_raises_shows_error_and_own_lines_only(check):
    code = (
        answer("return helper(scores)")
        + "\n\ndef helper(x):\n    return x.view(2)\n"
    )
    assert check(code) == (
        "q1  ✗  0 of 2 points\n    Your code raised RuntimeError: shape "
        "'[2]' is invalid for input of size 3\n      line 2 of "
        "masked_softmax: return helper(scores)\n      line 5 of helper: "
        "return x.view(2)\n"
    )


def test_long_error_is_cut(check):
    printed = check(answer("raise ValueError('far too much ' * 1000)"))
    assert "ValueError: far too much" in printed
    assert len(printed) < 1000
    assert all(len(line) <= 100 for line in printed.splitlines())


def test_own_assertion_is_the_students(check):
    assert "Your code raised AssertionError: odd" in check(
        answer("assert False, 'odd'")
    )


def test_system_exit_is_reported(check):
    assert "Your code raised SystemExit" in check(answer("raise SystemExit"))


def test_interrupt_from_the_keyboard_is_passed_on(check):
    with pytest.raises(KeyboardInterrupt):
        check(answer("raise KeyboardInterrupt"))


def test_wrong_signature(check):
    printed = check("def masked_softmax(scores):\n    return scores")
    assert "Your answer cannot be used as the question says." in printed
    assert "takes 1 positional argument but 2 were given" in printed
    assert (
        "line 20 of test_sums_to_one: got = masked_softmax(*masked())"
        in printed
    )


def test_none_is_named_even_without_the_helpers(root, check):
    path = root / f"exercises/tests/{toy.CHAPTER}/q1.py"
    tests = toy.TESTS.replace(
        '    expect_tensor(got, (1, 3), axes="query, key")\n', ""
    )
    path.write_text(tests)
    printed = check(answer("weights = scores * mask"))
    assert (
        "`masked_softmax` returned None. Is there a `return` at the end?"
        in printed
    )


def test_empty_method_is_named(root, check):
    path = root / f"exercises/tests/{toy.CHAPTER}/q1.py"
    path.write_text(toy.TESTS.replace("(*masked())", "()(*masked())"))
    code = """
    class masked_softmax(torch.nn.Module):
        def __init__(self):
            super().__init__()

        def forward(self, scores, mask):
            ...
    """
    assert "`masked_softmax.forward` is still empty" in check(
        textwrap.dedent(code)
    )


def test_assertion_in_a_function_that_the_test_hands_over_is_the_tests(
    root, check
):
    (root / f"exercises/tests/{toy.CHAPTER}/q1.py").write_text(
        "from otter.test_files import test_case\n\nOK_FORMAT = False\nname = "
        "'q1'\n\n@test_case(points=1, failure_message='You feed the wrong "
        "token back.')\ndef test_step(decode):\n    def step(token):\n       "
        " assert token == 1, f'expected token 1, got {token}'\n    "
        "decode(step)\n"
    )
    assert check("def decode(step):\n    step(2)\n") == (
        "q1  ✗  0 of 1 point\n    You feed the wrong token back.\n      "
        "expected token 1, got 2\n"
    )


@pytest.mark.parametrize(
    "body",
    [
        "while True:\n    scores = scores + 1",
        "while True:\n    try:\n        scores = scores + 1\n    except "
        "Exception:\n        pass",
        "while True:\n    try:\n        scores = scores + 1\n    except:\n   "
        "     pass",
        "try:\n    while True:\n        scores = scores + 1\nexcept:\n    "
        "return scores",
        "try:\n    while True:\n        scores = scores + 1\nexcept:\n    "
        "raise ValueError",
    ],
)
def test_endless_loop_is_stopped_and_the_rest_goes_on(body, check):
    start = time.perf_counter()
    printed = check(answer(body), time_limit=0.2)
    assert time.perf_counter() - start < 5
    assert (
        "`masked_softmax` did not finish within 0.2 seconds. Is there a loop"
        in printed
    )
    assert check(RIGHT) == "q1  ✓  2 of 2 points\n"
    time.sleep(0.3)  # nothing is raised afterwards


def test_stopped_loop_shows_where_it_was(check):
    printed = check(answer("n = 0\nwhile True:\n    n += 1"), time_limit=0.2)
    assert "of masked_softmax: " in printed


@pytest.mark.parametrize("limit", [0.0, 0.002])
def test_no_interrupt_comes_late_when_calls_end_just_at_the_limit(limit):
    def work():
        while time.perf_counter() < end:
            pass

    threads = threading.active_count()
    for step in range(100):
        end = time.perf_counter() + 0.00004 * step  # from 0 to 4 ms
        with contextlib.suppress(OutOfTimeError):
            run_with_limit(work, limit)
    time.sleep(0.3)
    assert threading.active_count() <= threads


def test_what_an_answer_prints_is_shown_but_not_without_end(check):
    printed = check(answer("print('scores', scores.tolist())\nreturn scores"))
    assert printed.startswith("scores [[1.0, 2.0, 3.0]]\n")
    printed = check(answer("while True:\n    print('again')"), time_limit=0.2)
    assert printed.startswith("again\nagain\n")
    assert "… (the rest of what your code prints is left out)\nq1  ✗" in printed
    assert len(printed) < 6000


def test_answer_that_changes_its_arguments_spoils_no_other_case(check):
    code = RIGHT.replace("masked_fill", "masked_fill_")
    assert check(code) == check(code) == "q1  ✓  2 of 2 points\n"


def test_unknown_question_lists_those_that_exist(check):
    assert (
        check(RIGHT, "q7")
        == "There is no question 'q7' in 01_toy. The questions are: q1.\n"
    )


def test_unknown_chapter_lists_those_that_exist(root):
    with pytest.raises(
        ValueError,
        match="No exercises for chapter '02_toy'. There are: 01_toy.",
    ):
        Grader("02_toy", root / "exercises/tests")


def test_questions_are_in_order_of_number(root):
    for number in (2, 10):
        folder = root / f"exercises/tests/{toy.CHAPTER}"
        (folder / f"q{number}.py").write_text(toy.TESTS)
    assert list(Grader(toy.CHAPTER, root / "exercises/tests").questions) == [
        "q1",
        "q2",
        "q10",
    ]


def test_report(root, capsys):
    path = root / f"exercises/tests/{toy.CHAPTER}/q2.py"
    path.write_text(toy.TESTS.replace("(masked_softmax)", "(other)"))
    namespace = {"torch": torch}
    exec(
        RIGHT.replace("    return", "    print('noise')\n    return"), namespace
    )
    assert (
        Grader(toy.CHAPTER, root / "exercises/tests").report(namespace) is None
    )
    assert capsys.readouterr().out == (
        "q1     ✓  2 of 2\n"
        "q2     ✗  0 of 2\n"
        "total     2 of 4 points\n"
        "\n"
        'Not right yet: q2. See why: grader.check("q2")\n'
    )


def test_report_when_all_is_right(root, capsys):
    namespace = {"torch": torch}
    exec(RIGHT, namespace)
    Grader(toy.CHAPTER, root / "exercises/tests").report(namespace)
    assert (
        capsys.readouterr().out == "q1     ✓  2 of 2\ntotal     2 of 2 points\n"
    )


def run_script(root, code):
    """Run a script as a student would: without the type checks.

    Those draw random numbers.
    """
    script = root / "script.py"
    grader = toy.IMPORTS.format(
        chapter=toy.CHAPTER, tests=str(root / "exercises/tests")
    )
    script.write_text(grader + code)
    run = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_names_are_those_of_the_script_that_calls(root):
    printed = run_script(root, RIGHT + "grader.check('q1')\ngrader.report()\n")
    assert printed.startswith("q1  ✓  2 of 2 points\nq1     ✓  2 of 2\n")


def test_otter_is_neither_needed_nor_imported(root):
    code = """
import sys

assert "otter" not in sys.modules
sys.modules["otter"] = None  # from here on as if it were not installed
grader.check("q1", {})
assert not [name for name in sys.modules if name.startswith("otter.")]
"""
    assert run_script(root, code).startswith("q1  ✗")


def test_random_numbers_are_those_of_a_notebook_without_checks(root):
    code = """
import random

import numpy as np


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


def seed(n):
    random.seed(n)
    np.random.seed(n)
    torch.manual_seed(n)


def masked_softmax(scores, mask):
    draw()
    seed(7)
    return scores


seed(1)
expected = draw()
seed(1)
grader.check("q1")
assert draw() == expected
"""
    assert run_script(root, code).startswith("q1  ✗")


def test_otter_is_left_in_place_where_it_is_installed(check):
    otter = sys.modules["otter.test_files"]
    check(RIGHT)
    assert sys.modules["otter.test_files"] is otter


@pytest.mark.parametrize(
    "change", [("", ""), ("~mask", "mask"), ("return", "raise"), ("soft", "")]
)
def test_points_are_those_that_otter_gives(change, root):
    path = root / f"exercises/tests/{toy.CHAPTER}/q1.py"
    namespace = {"torch": torch}
    exec(RIGHT.replace(*change), namespace)
    otter = ExceptionTestFile.from_file(str(path))
    otter.run(namespace)
    verdict = Grader(toy.CHAPTER, root / "exercises/tests").verdict(
        "q1", namespace
    )
    assert (verdict.earned, verdict.possible) == (otter.score, otter.possible)
    assert (verdict.problem is None) == otter.passed_all


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    points=1,\n", ""),
        ("points = None", "points = 4"),
        ("points = None", "points = [0.5, 2]"),
        ("points = None", "all_or_nothing = True\npoints = None"),
    ],
)
def test_points_in_another_form_are_refused(old, new, root):
    """Otter would share them out; here each case states its own."""
    path = root / f"exercises/tests/{toy.CHAPTER}/q1.py"
    assert old in toy.TESTS
    path.write_text(toy.TESTS.replace(old, new, 1))
    grader = Grader(toy.CHAPTER, root / "exercises/tests")
    with pytest.raises(ValueError, match="state the points of each case"):
        grader.verdict("q1", {"torch": torch})


def test_expect_close():
    expect_close(
        torch.tensor([1.0, -torch.inf]), torch.tensor([1.00001, -torch.inf])
    )
    expect_close(torch.tensor([2], dtype=torch.int32), 2)
    expect_close(0.5, 0.5)
    expect_close(torch.tensor([True]), torch.tensor([True]))
    with pytest.raises(AssertionError, match=r"the result: expected 1, got 2"):
        expect_close(2.0, 1.0)
    with pytest.raises(
        AssertionError, match=r"expected one number, got shape \(2,\)"
    ):
        expect_close(torch.ones(2), 1.0)
    with pytest.raises(
        AssertionError, match=r"loss: expected one number, got NoneType"
    ):
        expect_close(None, 1.0, name="loss")


def test_expect_close_with_many_numbers_shows_the_worst():
    expected = torch.zeros(3, 5, 7)
    got = expected.clone()
    got[2, 1, 3] = 0.25
    got[0, 4, 6] = 0.125
    message = (
        r"2 of 105 numbers differ; the worst is at \[2, 1, 3\]: "
        r"expected 0, got 0.25"
    )
    with pytest.raises(AssertionError, match=message):
        expect_close(got, expected)
    got[1, 0, 0] = torch.nan
    with pytest.raises(
        AssertionError, match=r"3 of 105 .* at \[1, 0, 0\]: expected 0, got nan"
    ):
        expect_close(got, expected)


def test_expect_tensor():
    value = torch.ones(2, 3, dtype=torch.int64)
    assert expect_tensor(value, (2, 3), torch.int64) is value
    with pytest.raises(
        AssertionError,
        match=r"mask: expected dtype torch.bool, got torch.int64",
    ):
        expect_tensor(value, dtype=torch.bool, name="mask")


def test_show():
    assert (
        show(torch.tensor([[0.26894, 1.0], [-torch.inf, torch.nan]]))
        == "[[0.2689, 1], [-inf, nan]]"
    )
    assert show([1, (2.5, True)]) == "[1, [2.5, True]]"
