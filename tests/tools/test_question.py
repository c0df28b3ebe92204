"""`make question`: the table of named mistakes, and mutants that survive."""

import pytest

from tests.grading import toy
from tools import question

QUESTION = f"{toy.CHAPTER}/q1"


@pytest.fixture
def make(tmp_path, monkeypatch):
    def make(tests=toy.TESTS):
        root = toy.make(tmp_path, tests=tests)
        monkeypatch.setattr(question, "TESTS", root / "exercises/tests")

    return make


def changed(old, new):
    assert old in toy.TESTS
    return toy.TESTS.replace(old, new, 1)


def test_the_table_and_the_mutants(make, capsys):
    make()
    assert question.main([QUESTION]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("reference: q1  ✓  2 of 2 points, ")
    assert "battery: sizes, arguments, layout, again, gradients, f" in printed
    for line in (
        "  0 points  named   You mask after the softmax.\n",
        "  0 points  named   You turned the mask round.\n",
        "  1 points  named   A query without a key gets NaN.\n",
    ):
        assert line in printed
    assert " mutants survive (seed 0)\n" in printed


def test_a_mutant_that_survives_is_printed(make, capsys):
    """Without the query that has no key, nothing asks for `nan_to_num`."""
    tests = changed("tensor([[0, 0]]).bool()", "tensor([[0, 1]]).bool()")
    tests = tests.replace("numbers(query, key) < 1", "numbers(query, key) < 9")
    make(tests)
    question.main([QUESTION, "--mutants", "200"])
    printed = capsys.readouterr().out
    assert "PASSES  A query without a key gets NaN.\n" in printed
    line = "return scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)\n"
    assert f"  {line}" in printed.partition("mutants survive")[2]


def test_a_mistake_that_is_told_something_else(make, capsys):
    same = "return scores.masked_fill(mask, -torch.inf).softmax(-1)"
    make(
        changed("return scores.softmax(dim=-1) * mask", f"{same}.nan_to_num()")
    )
    assert question.main([QUESTION, "--mutants", "0"]) == 1
    assert "TOLD: You mask after the softmax." in capsys.readouterr().out


@pytest.mark.parametrize("name", ["q1", "01_toy/q9", "01_toy", "../q1"])
def test_an_unknown_question(name, make, capsys):
    make()
    assert question.main([name]) == 2
    assert "say for example Q=02_attention/q3" in capsys.readouterr().err


def test_a_file_without_a_question(make, capsys):
    make(toy.PLAIN)
    assert question.main([QUESTION]) == 2
    assert "makes no attend.grading.Question" in capsys.readouterr().err


def test_every_kind_of_token_is_changed():
    def function(x, y, n=2):
        if x < n and not y:
            return -x + y.abs() * 3.0
        return x[True] in max(x, key=n)

    lines = {line for _, line in question.mutants(function)}
    for line in (
        "if x <= n and (not y):",
        "if x < n or not y:",
        "if x < n and y:",
        "if y < n and (not y):",
        "return x + y.abs() * 3.0",
        "return -x - y.abs() * 3.0",
        "return -x + y.abs() / 3.0",
        "return -x + y.abs() * 4.0",
        "return -x + y * 3.0",
        "return x[False] in max(x, key=n)",
        "return x[True] not in max(x, key=n)",
        "return x[True] in max(x)",
        "def function(x, y, n=3):",
    ):
        assert line in lines
