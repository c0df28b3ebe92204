from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import notebooks, run

HEAD = "# A chapter\n\n*Measured run time: about 99 s on two CPU cores.*"


def notebook(path: Path, *codes: str) -> Path:
    cells = [new_markdown_cell(HEAD), *(new_code_cell(code) for code in codes)]
    cells[-1].metadata["execution"] = {
        "iopub.execute_input": "2020-01-01T00:00:00Z"
    }
    nbformat.write(new_notebook(cells=cells), path)
    return path


def test_one_failure_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raises = notebook(tmp_path / "raises.ipynb", "x = 1", "print(x / 0)")
    warns = notebook(
        tmp_path / "warns.ipynb",
        "import warnings\nwarnings.warn('mind the gap')",
    )
    good = notebook(
        tmp_path / "good.ipynb",
        "import os, sys\nprint(os.listdir())",
        "for word in 'one', 'two':\n    print(word, flush=True)\nprint('50 "
        "%\\r100 %')",
    )
    not_json = tmp_path / "not_json.ipynb"
    not_json.write_text("not a notebook")
    before = raises.read_bytes(), warns.read_bytes()

    assert (
        run.main(
            [
                str(path)
                for path in (tmp_path / "none", not_json, raises, warns, good)
            ]
        )
        == 1
    )

    out, err = capsys.readouterr()
    assert f"There is no notebook '{tmp_path / 'none'}'" in err
    assert "not_json.ipynb is not a valid notebook" in err
    assert (
        "cell 2 raised ZeroDivisionError" in err
        and "----> 1 print(x / 0)" in err
    )
    assert "cell 1 writes to stderr" in err and "mind the gap" in err
    assert (raises.read_bytes(), warns.read_bytes()) == before, (
        "failures change nothing"
    )

    assert "good.ipynb: " in out and " s, outputs stored" in out
    ran = nbformat.read(good, as_version=4)
    assert ran.cells[0].source == HEAD.replace("99", "5")
    assert [cell.execution_count for cell in ran.cells[1:]] == [1, 2]
    assert [
        output.text for cell in ran.cells[1:] for output in cell.outputs
    ] == [
        "[]\n",  # the folder is empty
        "one\ntwo\n100 %\n",  # one piece, without what a progress bar overwrote
    ]
    assert ran.cells[-1].metadata == {}
    assert set(ran.metadata) == {"kernelspec", "language_info"}


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.5, 5), (5.0, 5), (5.1, 10), (41.0, 45)]
)
def test_seconds_are_rounded_up(seconds: float, shown: int) -> None:
    changed = new_notebook(cells=[new_markdown_cell(HEAD)])
    run.note_time(changed, seconds)
    assert f"about {shown} s on" in changed.cells[0].source


def test_a_missing_notebook_is_told_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = notebook(tmp_path / "01_here.ipynb", "1")
    monkeypatch.setattr(notebooks, "CHAPTERS", tmp_path)
    monkeypatch.setattr(notebooks, "SOLUTIONS", tmp_path / "solutions")
    assert notebooks.find("01_here") == there
    with pytest.raises(
        notebooks.ToolError,
        match=r"no notebook '02_there'.*There are: .*01_here",
    ):
        notebooks.find("02_there")
