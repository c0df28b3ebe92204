from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tools import sync
from tools.notebooks import SETUP, ToolError

MODULE = '''\
"""A module."""

SCALE = {
    "small": 1,
}

LEVEL: int = 3


@wrapped
@also(
    SCALE
)
def function(x):
    """Do."""
    return x  # as is


class Kind:
    @property
    def method(self):
        if self:

            return 1
'''


DOCUMENTED = '''\
class Kind:
    """A kind.

    ::

        a = b

    Args:
        size: how large; a longer text
            goes on here.

            And here.

    Attributes:
        size: as above.

    Source: somebody 2015.
    """

    def method(self, x: int) -> int:
        """Do.

        Args:
            x: what.

        Returns:
            It.

        Raises:
            ValueError: never.
        """
        text = """
        Args:
            these stay
        """
        return x
'''
TAUGHT = '''\
class Kind:
    """A kind.

    ::

        a = b

    Source: somebody 2015.
    """

    def method(self, x: int) -> int:
        """Do."""
        text = """
        Args:
            these stay
        """
        return x'''


def test_a_cell_has_no_lists_of_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.py").write_text(DOCUMENTED)
    monkeypatch.setattr(sync, "ROOT", tmp_path)
    assert sync.source_of("m:Kind") == TAUGHT
    method = sync.source_of("m:Kind.method")
    assert method.startswith(
        'def method(self, x: int) -> int:\n    """Do."""\n    text = '
    )
    assert sync.taught(TAUGHT) == TAUGHT


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "package" / "inner").mkdir(parents=True)
    (tmp_path / "package" / "module.py").write_text(MODULE)
    (tmp_path / "package" / "inner" / "__init__.py").write_text("HERE = 1\n")
    monkeypatch.setattr(sync, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.usefixtures("root")
def test_source_of_objects() -> None:
    def source(name: str) -> str:
        return sync.source_of(f"package.module:{name}")

    assert source("SCALE") == 'SCALE = {\n    "small": 1,\n}'
    assert source("LEVEL") == "LEVEL: int = 3"
    assert source("function").startswith(
        "@wrapped\n@also(\n    SCALE\n)\ndef function(x):"
    )
    assert source("function").endswith("return x  # as is")
    assert source("Kind") == MODULE[MODULE.index("class Kind") :].rstrip()
    assert source("Kind.method") == (
        "@property\ndef method(self):\n    if self:\n\n        return 1"
    )
    assert sync.source_of("package.inner:HERE") == "HERE = 1"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("package.module:lost", "module.py defines no 'lost'"),
        ("package.module:Kind.lost", "defines no 'Kind.lost'"),
        ("package.module:function.inner", "defines no 'function.inner'"),
        ("package.lost:function", "is not `module:object`"),
        ("package.module", "is not `module:object`"),
    ],
)
@pytest.mark.usefixtures("root")
def test_unknown_objects(reference: str, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        sync.source_of(reference)


def synced(source: str | list[str], code: str = "") -> nbformat.NotebookNode:
    return new_code_cell(
        code, metadata={"tags": ["sync"], "attend": {"source": source}}
    )


def test_drift_is_found_and_mended(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sync, "CHAPTERS", root)
    monkeypatch.setattr(sync, "SOLUTIONS", root / "none")
    path = root / "chapter.ipynb"
    cells = [
        new_code_cell("# old", metadata={"tags": ["setup"]}),
        synced(["package.module:LEVEL", "package.inner:HERE"], "LEVEL = 4"),
        synced("package.inner:HERE", "HERE = 1"),
        new_code_cell("free = 1"),
    ]
    cells[1].outputs = [nbformat.v4.new_output("stream", text="kept")]
    nbformat.write(new_notebook(cells=cells), path)
    before = path.read_bytes()

    assert sync.main(["--check"]) == 1
    assert path.read_bytes() == before
    said = capsys.readouterr().out
    assert (
        "cell 0 differs" in said
        and "cell 1 differs" in said
        and "`make sync`" in said
    )
    assert "cell 2" not in said and "cell 3" not in said

    assert sync.main([]) == 0
    after = nbformat.read(path, as_version=4)
    assert [cell.source for cell in after.cells] == [
        SETUP,
        "LEVEL: int = 3\n\n\nHERE = 1",
        "HERE = 1",
        "free = 1",
    ]
    assert after.cells[1].outputs[0].text == "kept"
    assert sync.main(["--check"]) == 0

    # what is in order is not written again
    path.write_text(path.read_text() + "\n\n")
    assert sync.main([]) == 0
    assert path.read_text().endswith("\n\n")


@pytest.mark.parametrize(
    "metadata",
    [{"tags": ["sync"]}, {"attend": {"source": "package.inner:HERE"}}],
)
def test_half_a_wish_is_an_error(metadata: dict[str, object]) -> None:
    notebook = new_notebook(
        cells=[new_code_cell("1"), new_code_cell("1", metadata=metadata)]
    )
    with pytest.raises(ToolError, match="cell 1: a synced cell needs both"):
        sync.drifted(notebook)


def test_the_chapters_show_the_package() -> None:
    assert sync.main(["--check"]) == 0
