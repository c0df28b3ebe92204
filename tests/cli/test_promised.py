"""The commands that README, pages and chapters tell people to type exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import tyro

from attend.cli import MARKERS, Command
from tools.notebooks import CHAPTERS, ROOT, listed, name, read

BLOCK = re.compile(
    r"^```(bash|console|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "book").rglob("*.md")),
]
TARGETS = re.findall(
    r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE
)


def texts() -> Iterator[tuple[Path, str]]:
    """Yield every page, and the prose of every chapter."""
    for page in PAGES:
        yield page, page.read_text(encoding="utf-8")
    for chapter in listed(CHAPTERS):
        cells = [
            cell.source
            for cell in read(chapter).cells
            if cell.cell_type == "markdown"
        ]
        yield chapter, "\n\n".join(cells)


def typed(text: str) -> Iterator[list[str]]:
    """Yield the words of each command: in a session only what follows a `$`."""
    for language, block in BLOCK.findall(text):
        for line in block.splitlines():
            if language != "console" or line.startswith("$ "):
                words = shlex.split(line.removeprefix("$ "), comments=True)
                yield [word for word in words if not re.match("[A-Z_]+=", word)]


def is_right(words: list[str]) -> bool:
    """Say whether `attend` or `make` would understand a command.

    Other commands are not looked at.
    """
    if words[:1] == ["make"]:
        return set(words[1:]) <= set(TARGETS)
    if words[:1] != ["attend"]:
        return True
    given = words[1 : words.index("<")] if "<" in words else words[1:]
    try:
        tyro.cli(Command, args=given, config=MARKERS)
    except SystemExit as end:
        return end.code == 0  # it was asked for help
    return True


def test_every_promised_command_is_understood() -> None:
    commands = [
        (path, words) for path, text in texts() for words in typed(text)
    ]
    for program in (
        ["attend", "train"],
        ["attend", "chat"],
        ["attend", "translate"],
        ["make"],
    ):
        assert any(words[: len(program)] == program for _, words in commands)
    assert [
        f"{name(path)}: {words}"
        for path, words in commands
        if not is_right(words)
    ] == []


@pytest.mark.parametrize(
    "line",
    [
        "attend train poems",
        "A=b attend chat --k 3",
        "attend chat --beam-size two < x",
        "make tea",
    ],
)
def test_a_wrong_command_is_found(line: str) -> None:
    [words] = typed(f"```console\nWhat it prints.\n$ {line}  # says why\n```\n")
    assert not is_right(words)
