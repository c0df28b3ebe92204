"""Pinned environment, loose library, and the front door that installs them."""

import os
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tools.notebooks import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PINS = [
    line
    for line in (ROOT / "requirements.txt")
    .read_text(encoding="utf-8")
    .splitlines()
    if line and not line.startswith("#")
]


def test_the_environment_is_the_pinned_one() -> None:
    assert [
        pin for pin in PINS if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)
    ] == []
    wanted = dict(pin.split("==") for pin in PINS)
    installed = {name: version(name).partition("+")[0] for name in wanted}
    assert installed == wanted, "run `make install`"


def test_the_library_asks_for_lower_bounds_only() -> None:
    project = tomllib.loads(
        (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    )["project"]
    assert project["requires-python"] == ">=3.11"
    pinned = {pin.partition("==")[0].lower() for pin in PINS}
    for requirement in map(Requirement, project["dependencies"]):
        assert [bound.operator for bound in requirement.specifier] == [">="], (
            requirement
        )
        assert requirement.name in pinned


def test_the_licences_are_named_and_carried() -> None:
    """The code has one; the small talk with it has that of the book's text."""
    root = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert root["project"]["license"] == "MIT AND CC-BY-4.0"
    assert root["project"]["license-files"] == ["LICENSE", "book/LICENSE"]
    code, text = (
        (ROOT / file).read_text("utf-8")
        for file in root["project"]["license-files"]
    )
    assert code.startswith("MIT License")
    assert (
        "SPDX-License-Identifier: CC-BY-4.0" in text
        and "attend/data/small_talk.tsv" in text
    )
    assert [path.name for path in (ROOT / "attend/data").glob("*.tsv")] == [
        "small_talk.tsv"
    ]


# --- What a wheel holds ---


def setuptools(root: Path) -> dict[str, Any]:
    """The settings of what goes into a wheel."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["tool"]["setuptools"]


def folders(settings: dict[str, Any], root: Path) -> dict[str, Path]:
    """Where each package lives: in a folder of its own name, or another."""
    elsewhere = settings.get("package-dir", {})
    return {
        name: root / elsewhere.get(name, name.replace(".", "/"))
        for name in settings["packages"]
    }


def left_out(root: Path) -> list[str]:
    """Return what a wheel of a package would leave out, or look for in vain."""
    settings, found = setuptools(root), []
    places = folders(settings, root)
    inits = (root / "attend").rglob("__init__.py")
    there = {".".join(p.parent.relative_to(root).parts) for p in inits}
    named = set(settings["packages"]) - set(settings.get("package-dir", {}))
    found += [f"{name} is not among the packages" for name in there - named]
    found += [f"there is no package {name}" for name in named - there]
    for name, folder in places.items():
        if not folder.is_dir():
            found.append(f"there is no folder of {name}")
    covered = {
        path
        for name, patterns in settings.get("package-data", {}).items()
        for pattern in patterns
        for path in places[name].glob(pattern)
    }
    for path in (root / "attend").rglob("*"):
        cached = "__pycache__" in path.parts
        if path.is_file() and not cached and path.suffix != ".py":
            inside = ".".join(path.parent.relative_to(root).parts)
            if path not in covered or inside not in named:
                found.append(f"{path.relative_to(root)} is no package data")
    return sorted(found)


def test_a_wheel_holds_the_whole_package() -> None:
    assert left_out(ROOT) == []
    settings = setuptools(ROOT)
    assert settings["include-package-data"] is False, "so nothing else decides"
    assert len(settings["packages"]) == len(set(settings["packages"]))
    places = folders(settings, ROOT)
    assert places["attend.results"] == ROOT / "results"
    assert places["attend.exercises"] == ROOT / "exercises" / "tests"
    assert settings["package-data"] == {
        "attend": ["py.typed"],
        "attend.data": ["*.tsv", "*.txt"],
        "attend.results": ["*.json"],
        "attend.exercises": ["*/*.py"],
    }
    for name, patterns in settings["package-data"].items():
        for pattern in patterns:
            assert list(places[name].glob(pattern)), f"nothing is {pattern}"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"attend/new/__init__.py": ""}, "attend.new is not among the"),
        ({"attend/data/deep/__init__.py": ""}, "attend.data.deep is not among"),
        ({"attend/data/__init__.py": None}, "there is no package attend.data"),
        ({"attend/data/more.csv": "1"}, "attend/data/more.csv is no package"),
        ({"attend/trainer/x.txt": "1"}, "attend/trainer/x.txt is no package"),
        ({"attend/data/deep/x.txt": "1"}, "attend/data/deep/x.txt is no pack"),
        ({"attend/notes.md": "1"}, "attend/notes.md is no package data"),
    ],
    ids=str,
)
def test_what_a_wheel_would_leave_out_is_found(
    tmp_path: Path, change: dict[str, str | None], problem: str
) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder in folders(setuptools(ROOT), tmp_path).values():
        folder.mkdir(parents=True, exist_ok=True)
        if folder.is_relative_to(tmp_path / "attend"):
            (folder / "__init__.py").touch()
    (tmp_path / "attend/py.typed").touch()
    assert left_out(tmp_path) == []
    for file, content in change.items():
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        if content is None:
            path.unlink()
        else:
            path.write_text(content)
    [found] = left_out(tmp_path)
    assert found.startswith(problem)


# --- The front door ---


@pytest.fixture
def front_door(tmp_path: Path) -> Path:
    """Copy the Makefile to a folder where nothing is installed."""
    for file in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / file, tmp_path)
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", "-C", str(folder), *arguments]
    # As a reader calls it, and not as a part of the `make test` that runs this.
    outer = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("MAKE")
    }
    return subprocess.run(command, capture_output=True, text=True, env=outer)


def test_help_lists_the_targets(front_door: Path) -> None:
    listed = set(
        re.findall(
            r"^  make ([a-z-]+) +\S", make(front_door).stdout, re.MULTILINE
        )
    )
    promised = (
        "book test check lab serve run exercises sync lint results portable "
        "bench colab clean help"
    )
    assert listed >= set(promised.split())
    phony = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)", MAKEFILE, re.MULTILINE)
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert phony and set(phony[1].replace("\\\n", " ").split()) == targets


def test_an_old_python_is_refused(front_door: Path) -> None:
    old = front_door / "python3.8"
    old.write_text(
        '#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.8.1" || exit 1\n'
    )
    old.chmod(0o755)
    run = make(front_door, "book", f"PYTHON={old}")
    assert run.returncode != 0
    assert f"needs Python 3.11 or later; `{old}` is Python 3.8.1" in run.stderr
    assert "make PYTHON=python3.12 book" in run.stderr
    assert not (front_door / ".venv").exists()


def test_what_is_installed_is_not_installed_again(front_door: Path) -> None:
    (front_door / ".venv").mkdir()
    (front_door / ".venv" / ".installed").touch()
    assert (
        "Nothing to be done"
        in make(front_door, "install", "PYTHON=no-python").stdout
    )
    run = make(front_door, "run", "PYTHON=no-python")
    assert run.returncode != 0
    assert "Say which notebook: make run NB=01_encoder_decoder" in run.stderr
