"""The pinned environment, the loose library, and the front door that installs them."""

import os
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tools.notebooks import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PINS = [
    line
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def test_the_environment_is_the_pinned_one() -> None:
    assert [pin for pin in PINS if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []
    wanted = dict(pin.split("==") for pin in PINS)
    installed = {name: version(name).partition("+")[0] for name in wanted}
    assert installed == wanted, "run `make install`"


def test_the_library_asks_for_lower_bounds_only() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">=3.11"
    pinned = {pin.partition("==")[0].lower() for pin in PINS}
    for requirement in map(Requirement, project["dependencies"]):
        assert [bound.operator for bound in requirement.specifier] == [">="], requirement
        assert requirement.name in pinned


def test_the_licences_are_named_and_carried() -> None:
    """The code has one; the small talk that comes with it has that of the book's text."""
    root = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert root["project"]["license"] == "MIT AND CC-BY-4.0"
    assert root["project"]["license-files"] == ["LICENSE", "book/LICENSE"]
    code, text = ((ROOT / file).read_text("utf-8") for file in root["project"]["license-files"])
    assert code.startswith("MIT License")
    assert "SPDX-License-Identifier: CC-BY-4.0" in text and "attend/data/small_talk.tsv" in text
    assert root["tool"]["setuptools"]["package-data"]["attend.data"] == ["*.tsv"]
    assert [path.name for path in (ROOT / "attend/data").glob("*.tsv")] == ["small_talk.tsv"]


@pytest.fixture
def front_door(tmp_path: Path) -> Path:
    """Copy the Makefile to a folder where nothing is installed."""
    for file in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / file, tmp_path)
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", "-C", str(folder), *arguments]
    # As a reader calls it, and not as a part of the `make test` that runs this.
    outer = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(command, capture_output=True, text=True, env=outer)


def test_help_lists_the_targets(front_door: Path) -> None:
    listed = set(re.findall(r"^  make ([a-z-]+) +\S", make(front_door).stdout, re.MULTILINE))
    promised = (
        "book test check lab serve run exercises sync lint results portable bench colab clean help"
    )
    assert listed >= set(promised.split())
    phony = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)", MAKEFILE, re.MULTILINE)
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert phony and set(phony[1].replace("\\\n", " ").split()) == targets


def test_an_old_python_is_refused(front_door: Path) -> None:
    old = front_door / "python3.8"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.8.1" || exit 1\n')
    old.chmod(0o755)
    run = make(front_door, "book", f"PYTHON={old}")
    assert run.returncode != 0
    assert f"needs Python 3.11 or later; `{old}` is Python 3.8.1" in run.stderr
    assert "make PYTHON=python3.12 book" in run.stderr
    assert not (front_door / ".venv").exists()


def test_what_is_installed_is_not_installed_again(front_door: Path) -> None:
    (front_door / ".venv").mkdir()
    (front_door / ".venv" / ".installed").touch()
    assert "Nothing to be done" in make(front_door, "install", "PYTHON=no-python").stdout
    run = make(front_door, "run", "PYTHON=no-python")
    assert run.returncode != 0
    assert "Say which notebook: make run NB=01_encoder_decoder" in run.stderr
