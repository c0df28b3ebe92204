import copy
import json
from pathlib import Path

import pytest

from tools import stamp
from tools.notebooks import SETUP

SOURCE = "git+https://example.org/someone/a-fork@0123abc"


def notebook(
    setup: str | list[str] = SETUP, tag: str = "setup"
) -> dict[str, object]:
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": "SOURCE = prose"},
        {"cell_type": "code", "metadata": {"tags": [tag]}, "source": setup},
    ]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


@pytest.mark.parametrize("setup", [SETUP, SETUP.splitlines(keepends=True)])
def test_only_the_line_changes(setup: str | list[str]) -> None:
    original = notebook(setup)
    before = copy.deepcopy(original)

    stamped = stamp.stamp(original, SOURCE)

    assert original == before
    lines = "".join(stamped["cells"][1]["source"]).splitlines()
    changed = [
        new
        for new, old in zip(lines, SETUP.splitlines(), strict=True)
        if new != old
    ]
    assert changed == [f'SOURCE = "{SOURCE}"']
    assert stamped["cells"][0] == before["cells"][0]  # type: ignore[index]
    assert stamp.stamp(stamped, SOURCE) == stamped, "a stamp may be renewed"


@pytest.mark.parametrize(
    "bad",
    [
        notebook(tag="other"),
        notebook("print(1)"),
        notebook(f"{SETUP}\n{SETUP}"),
    ],
)
def test_a_notebook_needs_one_line_to_stamp(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="needs one line `SOURCE"):
        stamp.stamp(bad, SOURCE)


@pytest.mark.parametrize("source", ["", "two words", 'quo"te', "new\nline"])
def test_a_source_is_one_word(source: str) -> None:
    with pytest.raises(ValueError, match="one word"):
        stamp.stamp(notebook(), source)


def test_copies_keep_their_folders(tmp_path: Path) -> None:
    for folder in stamp.FOLDERS:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "01_topic.ipynb").write_text(
            json.dumps(notebook())
        )
    target = tmp_path / "_build" / "colab"
    target.mkdir(parents=True)
    (target / "stale.ipynb").touch()

    written = stamp.write(SOURCE, target, root=tmp_path)

    assert written == [
        path for path in sorted(target.rglob("*")) if path.is_file()
    ]
    assert [str(path.parent.relative_to(target)) for path in written] == sorted(
        stamp.FOLDERS
    )
    assert all(SOURCE in path.read_text() for path in written)

    (tmp_path / "notebooks" / "02_bad.ipynb").write_text(
        json.dumps(notebook(tag="other"))
    )
    with pytest.raises(
        ValueError, match=r"^notebooks/02_bad.ipynb: a notebook needs"
    ):
        stamp.write(SOURCE, target, root=tmp_path)


@pytest.mark.parametrize(
    ("slug", "rev", "message"),
    [
        ("", "", "SLUG must be owner/repository, got ''"),
        (
            "https://host/owner/repository",
            "0123abc",
            "SLUG must be owner/repository",
        ),
        ("owner", "0123abc", "SLUG must be owner/repository"),
        ("owner/repository", "", "REV must be a commit, got ''"),
        ("owner/repository", "main", "REV must be a commit, got 'main'"),
    ],
)
def test_bad_arguments_are_explained(
    slug: str, rev: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        stamp.main([slug, rev])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert (
        message in error
        and "Example: make colab SLUG=owner/repository REV=" in error
    )
