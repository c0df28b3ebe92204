from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import (
    new_code_cell,
    new_markdown_cell,
    new_notebook,
    new_output,
)

from tools import exercises
from tools.notebooks import EXERCISES, SOLUTIONS, ToolError, listed

SOLVED = """\
def double(x):
    # (n,) -> (n,)
    # BEGIN SOLUTION
    twice = 2 * x

    return twice
    # END SOLUTION

# BEGIN SOLUTION
answer = 42
# END SOLUTION
print(double(2))  # not a marker: # BEGIN SOLUTION"""

STUB = """\
def double(x):
    # (n,) -> (n,)
    ...

...
print(double(2))  # not a marker: # BEGIN SOLUTION"""


def test_solutions_become_stubs() -> None:
    assert exercises.without_solution(SOLVED) == STUB


@pytest.mark.parametrize(
    "markers", ["BEGIN", "END", "BEGIN BEGIN END", "BEGIN END END", "END BEGIN"]
)
def test_markers_come_in_pairs(markers: str) -> None:
    source = "\n".join(
        f"# {marker} SOLUTION\nx = 1" for marker in markers.split()
    )
    with pytest.raises(ToolError, match="is not paired"):
        exercises.without_solution(source)


def solution(path: Path, code: str = SOLVED) -> None:
    cells = [
        new_markdown_cell("**Question 1**"),
        new_code_cell(
            code, outputs=[new_output("stream", text="4")], execution_count=3
        ),
        new_markdown_cell("<!-- solution -->\nWhy it is so."),
        new_code_cell('grader.check("q1")'),
    ]
    path.parent.mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=cells), path)


def test_exercises_follow_solutions(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(exercises, "SOLUTIONS", tmp_path / "solutions")
    monkeypatch.setattr(exercises, "EXERCISES", tmp_path / "exercises")
    path = tmp_path / "solutions" / "01_topic.ipynb"
    made = tmp_path / "exercises" / "01_topic.ipynb"
    solution(path)

    assert exercises.main(["--check"]) == 1
    assert "01_topic.ipynb differs from its solution: run `make exercises`" in (
        capsys.readouterr().out
    )
    assert not made.exists()

    assert exercises.main([]) == 0
    assert exercises.main(["--check"]) == 0
    cells = nbformat.read(made, as_version=4).cells
    assert [cell.source for cell in cells] == [
        "**Question 1**",
        STUB,
        'grader.check("q1")',
    ]
    assert cells[1].outputs == [] and cells[1].execution_count is None
    assert [cell.id for cell in cells[:2]] == [
        cell.id for cell in nbformat.read(path, as_version=4).cells[:2]
    ]

    made.write_text(made.read_text().replace("print", "input"))
    assert exercises.main(["--check"]) == 1

    solution(path, "# BEGIN SOLUTION")
    made.rename(made.with_stem("02_orphan"))
    capsys.readouterr()
    assert exercises.main([]) == 1
    errors = capsys.readouterr().err
    assert "cell 1: `# BEGIN SOLUTION` is not paired" in errors
    assert "exercises/02_orphan.ipynb has no solution" in errors


def test_the_exercises_are_made_from_the_solutions() -> None:
    assert listed(SOLUTIONS) and listed(EXERCISES)
    assert exercises.main(["--check"]) == 0
