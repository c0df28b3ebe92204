"""The grader, above all with bad input.

What a student does wrong is said, and the rest goes on.
"""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import numpy as np
import pytest
import torch

from attend.grading import Grader
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
        "    You mask after the softmax.\n"
        "      scores [[1, 2, 3]], mask [[True, True, False]]:\n"
        "        the weights: expected [[0.2689, 0.7311, 0]], got [[0.09003, "
        "0.2447, 0]]\n"
    )


def test_partly_right_answer_gets_part_of_the_points(check):
    assert check(RIGHT.replace(".nan_to_num()", "")) == (
        "q1  ✗  1 of 2 points\n    A query without a key gets NaN.\n"
        "      scores [[1, 2]], mask [[False, False]]:\n"
        "        the weights: expected [[0, 0]], got [[nan, nan]]\n"
    )


def test_what_is_no_named_mistake_is_told_facts_alone(check):
    body = "return scores.masked_fill(~mask, -1e9).softmax(dim=-1)"
    assert check(answer(body)) == (
        "q1  ✗  1 of 2 points\n    A query may have no key.\n"
        "      scores [[1, 2]], mask [[False, False]]:\n"
        "        the weights: expected [[0, 0]], got [[0.5, 0.5]]\n"
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
            "expected a tensor, got a tuple of 2",
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
    assert "softmax." not in printed and "round" not in printed


def test_answer_that_raises_shows_error_and_own_lines_only(check):
    code = (
        answer("return helper(scores)")
        + "\n\ndef helper(x):\n    return x.view(2)\n"
    )
    assert check(code) == (
        "q1  ✗  0 of 2 points\n    Your code raised RuntimeError: shape "
        "'[2]' is invalid for input of size 3\n      It was given scores "
        "[[1, 2, 3]], mask [[True, True, False]].\n      line 2 of "
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


def test_interrupt_that_an_answer_raises_costs_that_question_only(check):
    assert "Your code raised KeyboardInterrupt" in check(
        answer("raise KeyboardInterrupt")
    )


@pytest.mark.parametrize("tests", [toy.TESTS, toy.PLAIN])
def test_interrupt_from_the_keyboard_is_passed_on(tests, root, check):
    (root / f"exercises/tests/{toy.CHAPTER}/q1.py").write_text(tests)
    before = signal.getsignal(signal.SIGINT)
    body = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    with pytest.raises(KeyboardInterrupt):
        check(answer(body + "import time\ntime.sleep(5)"))
    assert signal.getsignal(signal.SIGINT) is before


def test_wrong_signature(check):
    printed = check("def masked_softmax(scores):\n    return scores")
    assert "Your answer cannot be used as the question says." in printed
    assert "takes 1 positional argument but 2 were given" in printed
    assert "line " not in printed, "the test file is of no use to a student"


@pytest.mark.parametrize("tests", [toy.TESTS, toy.PLAIN])
@pytest.mark.parametrize(
    "code",
    [
        RIGHT,
        answer("return None"),
        answer("return scores.softmax(dim=-1)"),
        answer("return scores.view(7)"),
        answer("while True: pass"),
        answer("return 3"),
        "def masked_softmax():\n    pass",
        "def masked_softmax(scores):\n    return scores",
    ],
)
def test_nothing_of_the_test_file_reaches_a_student(tests, code, root, check):
    (root / f"exercises/tests/{toy.CHAPTER}/q1.py").write_text(tests)
    printed = check(code, time_limit=0.2)
    for word in ("test_", "q1.py", "QUESTION", "attend", "trial", "lambda"):
        assert word not in printed


def test_empty_method_is_named(root, check):
    path = root / f"exercises/tests/{toy.CHAPTER}/q1.py"
    path.write_text(toy.PLAIN.replace("(*masked())", "()(*masked())"))
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


COPIED = """
import functools, types


def keep(function):
    @functools.wraps(function)
    def inner(*given):
        return function(*given)
    return inner


{}

masked_softmax = {}
"""


@pytest.mark.parametrize(
    "how",
    [
        "keep(masked_softmax)",
        "functools.partial(masked_softmax)",
        "types.FunctionType(masked_softmax.__code__, {'torch': torch})",
    ],
)
def test_a_definition_copied_or_decorated_is_found(how, check):
    def written(body):
        return COPIED.format(answer(body), how)

    assert check(COPIED.format(RIGHT, how)).startswith("q1  ✓  2 of 2")
    assert "`masked_softmax` is still empty" in check(written("..."))
    assert "of masked_softmax: return scores.view(7)" in check(
        written("return scores.view(7)")
    )


def test_plain_test_cases_work_too(root, check):
    (root / f"exercises/tests/{toy.CHAPTER}/q1.py").write_text(toy.PLAIN)
    assert check(RIGHT) == "q1  ✓  2 of 2 points\n"
    assert check(answer("return scores.softmax(dim=-1) * mask")) == (
        "q1  ✗  0 of 2 points\n    The weights do not sum to one.\n"
        "      expected 1, got 0.3348\n"
    )
    assert check(answer("return scores.mT")) == (
        "q1  ✗  0 of 2 points\n"
        "    Your answer cannot be used as the question says.\n"
        "      the result: expected shape (1, 3) = (query, key), got (3, 1)\n"
    )
    assert "Your code raised AssertionError: odd" in check(
        answer("assert False, 'odd'")
    )


def test_a_hidden_case_stays_hidden(root, check):
    path = root / f"exercises/tests/{toy.CHAPTER}/q1.py"
    hidden = toy.PLAIN.replace(
        "    points=1,\n", "    points=1, hidden=True,\n"
    )
    path.write_text(hidden)
    body = "print('secret', scores)\nreturn scores"
    assert check(answer(body)) == (
        "q1  ✗  0 of 2 points\n    A hidden test finds something wrong.\n"
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


@pytest.mark.parametrize("to", ["", ", file=sys.stderr"])
def test_what_an_answer_prints_is_shown_but_not_without_end(to, check):
    body = f"import sys\nprint('scores', scores.tolist(){to})\nreturn scores"
    printed = check(answer(body))
    assert printed.startswith("scores [[1.0, 2.0, 3.0]]\nq1  ✗"), "once"
    body = f"import sys\nwhile True:\n    print('again'{to})"
    printed = check(answer(body), time_limit=0.2)
    assert printed.startswith("again\nagain\n")
    assert "… (the rest of what your code prints is left out)\nq1  ✗" in printed
    assert len(printed) < 6000


def test_only_what_is_printed_in_the_trial_that_is_shown(check):
    body = "print(scores.tolist())\nreturn masked(scores, mask)"
    masked = RIGHT.replace("masked_softmax", "masked")
    assert check(answer(body) + masked) == "q1  ✓  2 of 2 points\n"
    masked = masked.replace(".nan_to_num()", "")
    assert check(answer(body) + masked).startswith("[[1.0, 2.0]]\nq1  ✗  1 of")


LEAKS = {
    "device": "torch.set_default_device('meta')",
    "dtype": "torch.set_default_dtype(torch.float64)",
    "gradients": "torch.set_grad_enabled(False)",
    "threads": "torch.set_num_threads(3)",
    "folder": "import os; os.chdir('/')",
    "environment": "import os; os.environ['LEAK'] = '1'",
    "recursion": "import sys; sys.setrecursionlimit(99)",
    "stdout": "import sys; sys.stdout = None; sys.stderr = None",
    "random": "torch.manual_seed(3)",
    "numpy": "import numpy; numpy.random.seed(3)",
    "warnings": "import warnings; warnings.simplefilter('error')",
    "determinism": "torch.use_deterministic_algorithms(True)",
}


def state():
    """What an answer could leave behind.

    The type checks of the tests draw from `random`; a script below looks at it.
    """
    return (
        torch.get_default_device(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        os.getcwd(),
        dict(os.environ),
        sys.getrecursionlimit(),
        sys.stdout,
        sys.stderr,
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),
        list(warnings.filters),
    )


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS)
@pytest.mark.parametrize("tests", [toy.TESTS, toy.PLAIN], ids=["", "plain"])
def test_nothing_leaks_into_the_next_question(tests, leak, root, check):
    (root / f"exercises/tests/{toy.CHAPTER}/q1.py").write_text(tests)
    before = state()
    printed = check(answer(f"{leak}\nraise ValueError"))
    assert "raised ValueError" in printed
    assert state() == before
    assert check(RIGHT) == "q1  ✓  2 of 2 points\n"


@pytest.mark.parametrize(
    "change",
    [
        "torch.set_default_device('meta')",
        "torch.set_default_dtype(torch.float64)",
        "torch.set_grad_enabled(False)",
    ],
)
def test_what_a_notebook_has_set_does_not_matter(change, check):
    try:
        assert check(f"{change}\n{RIGHT}") == "q1  ✓  2 of 2 points\n"
        with torch.inference_mode():
            assert check(RIGHT) == "q1  ✓  2 of 2 points\n"
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)


LIAR = """
class Liar(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function is torch.Tensor.allclose or "isclose" in str(function):
            return torch.ones(1, 3).bool()
        return super().__torch_function__(function, types, args, kwargs or {})


def masked_softmax(scores, mask):
    return scores.as_subclass(Liar)
"""


def test_a_tensor_that_lies_is_no_tensor(check):
    assert "expected a tensor, got a Liar" in check(LIAR)


def test_an_answer_that_changes_its_arguments_is_told_so(check):
    printed = check(RIGHT.replace("masked_fill", "masked_fill_"))
    assert printed.startswith(
        "q1  ✗  1 of 2 points\n    Your code changes what it was given."
    )
    assert "`scores` afterwards: expected [[1, 2, 3]], got" in printed


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


def run_script(root, code, *options):
    """Run a script as a student would: without the type checks.

    Those draw random numbers.
    """
    script = root / "script.py"
    grader = toy.IMPORTS.format(
        chapter=toy.CHAPTER, tests=str(root / "exercises/tests")
    )
    script.write_text(grader + code)
    run = subprocess.run(
        [sys.executable, *options, script],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_python_without_assertions_checks_the_same(root):
    """Under `python -O` the plain tests' assertions would vanish."""
    (root / f"exercises/tests/{toy.CHAPTER}/q1.py").write_text(toy.PLAIN)
    code = answer("return scores") + "\n\ngrader.check('q1')\n"
    assert run_script(root, code, "-O").startswith("q1  ✗  0 of 2")


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
    "change",
    [
        ("", ""),
        ("~mask", "mask"),
        ("return", "raise"),
        ("soft", ""),
        (".nan_to_num()", ""),
        ("return", "import sys; sys.exit()\n    return"),
        ("return", "raise KeyboardInterrupt\n    return"),
    ],
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
        ("points=1", ""),
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
