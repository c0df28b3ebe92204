"""Find, read and write the book's notebooks."""

from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS, SOLUTIONS, EXERCISES = (
    ROOT / "notebooks",
    ROOT / "solutions",
    ROOT / "exercises",
)

# The first code cell of every notebook, to the letter.
SETUP = (
    Path(__file__)
    .with_name("setup_cell.py")
    .read_text(encoding="utf-8")
    .rstrip("\n")
)


class ToolError(Exception):
    """Something is wrong that the message explains and its reader can mend."""


def name(path: Path) -> str:
    """Name a file as a person would: from the repository's root, if inside."""
    path = path.resolve()
    return (
        str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
    )


def listed(*folders: Path) -> list[Path]:
    """Return the notebooks of these folders, in order of name."""
    return [
        path for folder in folders for path in sorted(folder.glob("*.ipynb"))
    ]


def find(wanted: str) -> Path:
    """Find a notebook by its path, or a chapter by its name.

    Raises:
        ToolError: if there is none; the message lists those there are.
    """
    for base in (Path.cwd(), ROOT, CHAPTERS):
        for ending in ("", ".ipynb"):
            path = base / (wanted + ending)
            if path.suffix == ".ipynb" and path.is_file():
                return path.resolve()
    there = [name(path) for path in listed(CHAPTERS, SOLUTIONS)]
    raise ToolError(
        f"There is no notebook {wanted!r}. "
        + (
            f"There are: {', '.join(there)}."
            if there
            else "There is none at all yet."
        )
    )


def read(path: Path) -> NotebookNode:
    """Read a notebook.

    Raises:
        ToolError: if it is no valid notebook.
    """
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except (nbformat.ValidationError, nbformat.reader.NotJSONError) as error:
        raise ToolError(
            f"{name(path)} is not a valid notebook: {error}"
        ) from error
    return notebook


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook as text with the same bytes for the same content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text(notebook), encoding="utf-8")


def text(notebook: NotebookNode) -> str:
    """Return the text that `write` writes."""
    return str(nbformat.writes(notebook, version=4)) + "\n"


def tags(cell: NotebookNode) -> list[str]:
    """Return the tags of a cell."""
    return list(cell.metadata.get("tags", []))
