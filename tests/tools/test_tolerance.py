"""The tests of the tests: what makes the check of stored outputs fail.

And what does not.
"""

from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tools import outputs
from tools.nbval_tolerance import RTOL, aligned, rtol_of


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ("loss 0.125", "loss 0.126"),  # one unit of the last digit
        ("0.30", "0.29"),  # as printed, not as binary fractions
        ("perplexity 2345.67", "perplexity 2346.9"),  # 0.1 %
        ("-0.00", "0.00"),
        ("tensor([1., 2.])", "tensor([0.9999, 2.0001])"),
        ("1.00e-05", "1.01e-05"),
        ("1.0e+03", "1.1e+03"),
        ("93.5%", "93.6%"),
        ("0.5/1.5, (0.25) <td>0.75</td>", "0.5/1.6, (0.26) <td>0.74</td>"),
        ("|  9.99|", "| 10.00|"),  # columns keep their width
        ("a -0.51\nb  0.49", "a -0.50\nb  0.50"),
    ],
)
def test_tolerated(stored: str, new: str) -> None:
    assert aligned(new, stored, RTOL) == stored


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ("12 tokens", "13 tokens"),  # integers
        ("1000000", "1000001"),
        ("94%", "95%"),
        ("1", "1.0"),
        ("loss 0.125", "loss 0.127"),  # two units, more than 0.1 %
        ("loss 0.125", "gain 0.125"),  # words
        ("0.5", "-0.5"),
        ("1.", "2."),
        ("1e-05", "2e-05"),  # no digit after the point tells of rounding
        ("1.0e-05", "1.0e-04"),
        ("q1.5", "q1.6"),  # numbers in words
        ("x2", "x3"),
        ("2.13.0", "2.14.0"),
        ("0.1kg", "0.2kg"),
        ("nan", "0.5"),
        ("0.5", "nan"),
        ("inf", "-inf"),
        ("0.5 0.5", "0.5"),  # fewer numbers
        ("0.5  0.5", "0.5 0.5"),  # spaces, with nothing to trade them for
        ("0.5\n0.5", "0.5 0.5"),
    ],
)
def test_not_tolerated(stored: str, new: str) -> None:
    assert aligned(new, stored, RTOL) != stored


def test_a_tag_allows_more() -> None:
    assert rtol_of(["timing", "rtol-0.05"]) == 0.05
    assert rtol_of(["setup"]) == RTOL
    assert aligned("loss 2.10", "loss 2.00", 0.05) == "loss 2.00"
    assert aligned("loss 2.11", "loss 2.00", 0.05) != "loss 2.00"


def text(content: str) -> list[nbformat.NotebookNode]:
    return [new_output("stream", name="stdout", text=content)]


def result(content: str) -> list[nbformat.NotebookNode]:
    return [
        new_output(
            "execute_result", data={"text/plain": content}, execution_count=1
        )
    ]


def picture(pixels: str) -> list[nbformat.NotebookNode]:
    data = {"image/png": pixels, "text/plain": "<Figure>"}
    return [new_output("display_data", data=data)]


DRAW = (
    "display({'image/png': 'iVBORw0KGgo=', 'text/plain': '<Figure>'}, raw=True)"
)

# name: code, stored outputs, tags; whether the check passes
CELLS = {
    "the same": (
        "print('a word, 12, 0.5')",
        text("a word, 12, 0.5\n"),
        [],
        True,
    ),
    "a float within tolerance": ("print(0.125)", text("0.126\n"), [], True),
    "a float within tolerance, as a result": (
        "0.125",
        result("0.126"),
        [],
        True,
    ),
    "a float within the cell's tag": (
        "print(0.525)",
        text("0.500\n"),
        ["rtol-0.05"],
        True,
    ),
    "a timing": ("print(0.525)", text("3.5 s\n"), ["timing"], True),
    "another picture": (DRAW, picture("iVBORw0KGgp="), [], True),
    "another order of keys": (
        "display({'text/plain': '0.5', 'text/html': '<b>0.5</b>'}, raw=True)",
        [
            new_output(
                "display_data",
                data={"text/html": "<b>0.6</b>", "text/plain": "0.6"},
            )
        ],
        [],
        True,
    ),
    "nothing else in the folder": (
        "import os\nprint(os.listdir())",
        text("['cells.ipynb']\n"),
        [],
        True,
    ),
    "a changed integer": ("print(12)", text("13\n"), [], False),
    "a changed integer within the tag": (
        "print(100)",
        text("101\n"),
        ["rtol-0.05"],
        False,
    ),
    "a changed word": ("print('good')", text("bad\n"), [], False),
    "a float beyond tolerance": ("print(0.125)", text("0.127\n"), [], False),
    "a float beyond the cell's tag": (
        "print(0.53)",
        text("0.50\n"),
        ["rtol-0.05"],
        False,
    ),
    "an output not stored": ("print('extra')", [], [], False),
    "an output no longer there": ("0;", text("0\n"), [], False),
    "a picture not stored": (DRAW, result("<Figure>"), [], False),
    "a picture no longer there": (
        "print('<Figure>')",
        picture("iVBORw0KGgo="),
        [],
        False,
    ),
    "one picture of two": (DRAW, picture("iVBORw0KGgo=") * 2, [], False),
    "a warning": ("import warnings\nwarnings.warn('mind')", [], [], False),
    "a warning, though a timing": (
        "warnings.warn('mind')",
        [],
        ["timing"],
        False,
    ),
    "an exception": ("1 / 0", [], [], False),
    "an exception, though a timing": ("1 / 0", [], ["timing"], False),
    "skipped": ("print(1)", text("1\n"), ["nbval-skip"], False),
    "ignored": ("# NBVAL_IGNORE_OUTPUT\nprint(1)", text("1\n"), [], False),
}
NEVER_RUN = {
    "never run": ("x = 1", []),
    "never run, with an output": ("print(1)", text("1\n")),
}


def test_check_of_cells(tmp_path: Path) -> None:
    cells = [
        new_code_cell(
            code, outputs=stored, execution_count=1, metadata={"tags": tags}
        )
        for code, stored, tags, _ in CELLS.values()
    ]
    cells += [
        new_code_cell(code, outputs=stored)
        for code, stored in NEVER_RUN.values()
    ]
    cells += [new_code_cell("")]  # an empty cell needs no run
    notebook = tmp_path / "cells.ipynb"
    nbformat.write(new_notebook(cells=cells), notebook)
    report = tmp_path / "report.xml"

    status = outputs.check([notebook], f"--junitxml={report}")

    assert status == 1
    passed = [
        len(case) == 0 for case in ElementTree.parse(report).iter("testcase")
    ]
    names = [*CELLS, *NEVER_RUN, "an empty cell"]
    expected = [passes for *_, passes in CELLS.values()] + [False, False, True]
    assert dict(zip(names, passed, strict=True)) == dict(
        zip(names, expected, strict=True)
    )
