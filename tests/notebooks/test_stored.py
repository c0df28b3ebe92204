"""What every stored notebook has in common, whatever it teaches."""

import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import (
    new_code_cell,
    new_markdown_cell,
    new_notebook,
    new_output,
)

from tools.nbval_tolerance import FLOAT
from tools.notebooks import (
    CHAPTERS,
    EXERCISES,
    SETUP,
    SOLUTIONS,
    listed,
    name,
    read,
    tags,
)
from tools.run import MEASURED

TAG = re.compile(r"setup|sync|timing|rtol-0\.\d+|hide-(input|output|cell)")
LONGEST_CELL = 55  # lines of 80 columns: a class
LONGEST_RUN = {CHAPTERS.name: 60, SOLUTIONS.name: 30}  # seconds
# A path of somebody's machine, the address of an object, the sign of a colour
# in a terminal.
PRIVATE = re.compile(
    r"(/home|/root|/Users|/tmp|/var)/|C:\\|site-packages|"
    r"\b0x[0-9a-f]{6,}|\x1b\["
)
DIRECTIVE = re.compile(
    r"^(```+|:::+)\{[\w-]+\}|\{(ref|doc|cite|term|numref|eq)(:\w+)?\}`",
    re.MULTILINE,
)


def shown(cell: NotebookNode) -> str:
    """Return all text that a code cell's outputs show."""
    texts = [output.get("text", "") for output in cell.outputs]
    for output in cell.outputs:
        data = output.get("data", {})
        texts += [
            str(value)
            for kind, value in data.items()
            if not kind.startswith("image/")
        ]
        texts += output.get("traceback", [])
    return "\n".join(texts)


def problems(notebook: NotebookNode, folder: str) -> list[str]:
    """Return what is wrong with a notebook.

    Its folder is `notebooks`, `solutions` or `exercises`.
    """
    found = []
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    prose = "\n\n".join(
        cell.source for cell in notebook.cells if cell.cell_type == "markdown"
    )

    if notebook.nbformat_minor < 5:
        found.append("is older than notebook format 4.5")
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("does not name the kernel python3")
    if "widgets" in notebook.metadata:
        found.append("stores the state of widgets")
    if [cell for cell in code if "setup" in tags(cell)] != code[:1]:
        found.append(
            "its first code cell, and no other, must be tagged `setup`"
        )
    elif code[0].source != SETUP:
        found.append("its set-up cell is not the book's: run `make sync`")
    if directive := DIRECTIVE.search(prose):
        found.append(
            "has a MyST directive or role, which Colab shows raw: "
            f"{directive[0]}"
        )

    times = [int(line.split()[4]) for line in MEASURED.findall(prose)]
    if folder in LONGEST_RUN:
        limit = LONGEST_RUN[folder]
        if len(times) != 1:
            found.append(
                "needs one line `*Measured run time: about 0 s on two CPU "
                "cores.*`"
            )
        elif times[0] > limit:  # rounded up, so what shows 60 s took less
            found.append(f"takes {times[0]} s; the limit is {limit} s")
        run = [cell for cell in code if cell.source.strip()]
        if [cell.execution_count for cell in run] != list(
            range(1, len(run) + 1)
        ):
            found.append("was not run once from top to bottom: `make run NB=…`")
    elif any(cell.outputs or cell.execution_count for cell in code):
        found.append("is an exercise and has outputs")

    for number, cell in enumerate(notebook.cells):
        for problem in cell_problems(cell):
            found.append(f"cell {number} {problem}")
        if folder in LONGEST_RUN and is_idle(cell):
            found.append(
                f"cell {number} has a tolerance, and prints no float that it "
                "is for"
            )
    return found


def is_idle(cell: NotebookNode) -> bool:
    """Say whether a cell's tolerance has nothing to tolerate."""
    asked = any(tag.startswith("rtol-") for tag in tags(cell))
    return asked and not (
        cell.cell_type == "code" and FLOAT.search(shown(cell))
    )


def cell_problems(cell: NotebookNode) -> list[str]:
    """Return what is wrong with one cell."""
    found = [
        f"has the unknown tag {tag}"
        for tag in tags(cell)
        if not TAG.fullmatch(tag)
    ]
    if "execution" in cell.metadata:
        found.append("stores when it ran: `make run NB=…` does not")
    if cell.cell_type != "code":
        return found
    if cell.source.count("\n") >= LONGEST_CELL:
        found.append(f"is longer than {LONGEST_CELL} lines")
    if any(
        marker in cell.source.upper()
        for marker in ("NBVAL_", "NBVAL-", "VALIDATE_IGNORE")
    ):
        found.append("tells nbval what not to test")
    for output in cell.outputs:
        pictures = [
            kind for kind in output.get("data", {}) if kind.startswith("image/")
        ]
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if pictures and len(alt.split()) < 5:
            found.append(
                "shows a picture without alt text: metadata "
                "mystnb.image.alt, a sentence"
            )
        if output.output_type == "error":
            found.append("raised an exception")
        if output.get("name") == "stderr":
            found.append("writes to stderr")
    if private := PRIVATE.search(shown(cell)):
        found.append(f"shows what belongs to one machine: {private[0]}")
    return found


@pytest.mark.parametrize(
    "path", listed(CHAPTERS, SOLUTIONS, EXERCISES), ids=name
)
def test_stored_notebook(path: Path) -> None:
    assert problems(read(path), path.parent.name) == []


@pytest.mark.parametrize("chapter", [path.name for path in listed(CHAPTERS)])
def test_chapter_has_exercises_and_solutions(chapter: str) -> None:
    assert (EXERCISES / chapter).is_file() and (SOLUTIONS / chapter).is_file()


# --- and that a notebook which has not all that in common is found out


def good() -> NotebookNode:
    picture = new_output(
        "display_data", data={"image/png": "iVBO", "text/plain": "<Figure>"}
    )
    alt = {"mystnb": {"image": {"alt": "A line that falls from two to one."}}}
    cells = [
        new_markdown_cell(
            "# Title\n\n*Measured run time: about 10 s on two CPU cores.*"
        ),
        new_code_cell(SETUP, metadata={"tags": ["setup"]}, execution_count=1),
        new_code_cell(
            "plot()", metadata=alt, outputs=[picture], execution_count=2
        ),
        new_code_cell(
            "print(1.5)",
            outputs=[new_output("stream", text="1.5")],
            execution_count=3,
        ),
    ]
    cells[3].metadata["tags"] = ["rtol-0.05"]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    return new_notebook(cells=cells, metadata=metadata)


def test_a_good_notebook_passes() -> None:
    nbformat.validate(good())
    assert problems(good(), "notebooks") == []


def changed(change: str) -> NotebookNode:
    notebook = good()
    exec(
        change, {"nb": notebook, "cells": notebook.cells, "output": new_output}
    )
    return notebook


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            "nb.metadata.kernelspec.name = 'conda'",
            "does not name the kernel python3",
        ),
        ("nb.nbformat_minor = 4", "is older than notebook format 4.5"),
        ("nb.metadata.widgets = {}", "stores the state of widgets"),
        ("cells[1].metadata.tags = []", "must be tagged `setup`"),
        ("cells[3].metadata.tags = ['setup']", "must be tagged `setup`"),
        ("cells[1].source += ' '", "set-up cell is not the book's"),
        ("cells[0].source += '\\n```{note}'", "Colab shows raw: ```{note}"),
        ("cells[0].source += 'see {doc}`x`'", "Colab shows raw: {doc}`"),
        ("cells[0].source = '# Title'", "needs one line `*Measured run time"),
        (
            "cells[0].source = cells[0].source.replace('10', '65')",
            "takes 65 s; the limit is 60",
        ),
        (
            "cells[2].execution_count = None",
            "was not run once from top to bottom",
        ),
        ("cells[3].execution_count = 5", "was not run once from top to bottom"),
        (
            "cells[2].metadata.mystnb.image.alt = 'A figure'",
            "cell 2 shows a picture without alt",
        ),
        (
            "del cells[2].metadata['mystnb']",
            "cell 2 shows a picture without alt",
        ),
        (
            "cells[3].metadata.tags = ['rtol=0.05']",
            "cell 3 has the unknown tag rtol=0.05",
        ),
        (
            "cells[3].outputs[0].text = '15 of 20, in q1.5 of 2.13.0'",
            "cell 3 has a tolerance, and prints no float",
        ),
        (
            "cells[3].outputs = []",
            "cell 3 has a tolerance, and prints no float",
        ),
        (
            "cells[2].metadata.tags = ['rtol-0.10']",
            "cell 2 has a tolerance, and prints no float",
        ),
        (
            "cells[3].metadata.tags = ['nbval-skip']",
            "cell 3 has the unknown tag nbval-skip",
        ),
        (
            "cells[3].source = '# NBVAL_SKIP'",
            "cell 3 tells nbval what not to test",
        ),
        ("cells[3].metadata.execution = {}", "cell 3 stores when it ran"),
        ("cells[3].source = '\\n' * 55", "cell 3 is longer than 55 lines"),
        (
            "cells[3].outputs[0].text = 'in /home/me/x.py'",
            "cell 3 shows what belongs to one",
        ),
        (
            "cells[3].outputs[0].text = '<f at 0x7f3a2b10>'",
            "cell 3 shows what belongs to one",
        ),
        ("cells[3].outputs[0].name = 'stderr'", "cell 3 writes to stderr"),
        (
            "cells[3].outputs = [output('error', ename='E', evalue='')]",
            "cell 3 raised",
        ),
    ],
)
def test_a_bad_notebook_is_found_out(change: str, problem: str) -> None:
    found = problems(changed(change), "notebooks")
    assert any(problem in one for one in found), found


@pytest.mark.parametrize("text", ["0.5", "loss  1e-05", "a: -1.25, b", "3."])
def test_a_tolerance_is_for_floats_of_any_form(text: str) -> None:
    notebook = good()
    notebook.cells[3].outputs[0].text = text
    assert problems(notebook, "notebooks") == []
    data = {"text/plain": text}
    notebook.cells[3].outputs = [new_output("execute_result", data=data)]
    assert problems(notebook, "notebooks") == []


def test_an_exercise_has_no_outputs() -> None:
    assert problems(good(), "exercises") == [
        "is an exercise and has outputs",
    ]
