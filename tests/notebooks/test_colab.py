"""A stamped exercise on a machine like Colab's.

It installs the library, and changes nothing else.

The machine is a virtual environment that has only what Colab has preinstalled
and the book needs, each file of it a link to the same file here. The address
stamped is one as on GitHub; git is told to take it from a local repository
instead. What Colab lacks is small, and comes from the package index as it does
there.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tools.notebooks import EXERCISES, ROOT, listed
from tools.stamp import stamp

HOME = "https://github.com/somebody/a-fork"
PREINSTALLED = [
    *("torch", "numpy", "matplotlib", "babel", "tensorboard", "tqdm", "pyyaml"),
    *("ipykernel", "nbclient", "pip"),
]


def closure(names: list[str]) -> set[str]:
    """Return these distributions and all that they need."""
    found: set[str] = set()
    while names:
        name = re.sub(r"[-_.]+", "-", names.pop()).lower()
        if name not in found:
            found.add(name)
            needs = map(Requirement, distribution(name).requires or [])
            names += [
                need.name
                for need in needs
                if not need.marker or need.marker.evaluate({"extra": ""})
            ]
    return found


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command, and return what it prints.

    It runs as for somebody who knows nothing of this repository.
    """
    hidden = re.compile("PYTHONPATH|PYTEST_.*")
    clean = {
        key: value
        for key, value in os.environ.items()
        if not hidden.fullmatch(key)
    }
    clean |= {
        "IPYTHONDIR": str(cwd / ".ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    done = subprocess.run(
        command,
        cwd=cwd,
        env=clean | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def colab(tmp_path: Path) -> Path:
    """Make the environment, and return its Python."""
    environment = tmp_path / "environment"
    run(
        sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path
    )
    python = environment / "bin" / "python"
    site = Path(
        run(
            python,
            "-c",
            "import sysconfig; print(sysconfig.get_path('purelib'))",
            cwd=tmp_path,
        ).strip()
    )
    for name in closure([*PREINSTALLED]):
        for file in distribution(name).files or []:
            if ".." not in file.parts:  # programs, which nobody calls here
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                (site / file).symlink_to(Path(str(file.locate())))
    return python


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Commit the files as they are to a new repository; return its folder."""
    copied = tmp_path / "repository"
    listing = run(
        "git", "ls-files", "-z", "-c", "-o", "--exclude-standard", cwd=ROOT
    )
    for file in listing.split("\0"):
        left_out = (
            file.startswith(("book/", "tests/")) and file != "book/LICENSE"
        )
        if (ROOT / file).is_file() and not left_out:
            (copied / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, copied / file)
    author = ("-c", "user.name=A reader", "-c", "user.email=reader@example.org")
    run("git", "init", "--quiet", cwd=copied)
    run("git", "add", ".", cwd=copied)
    run("git", *author, "commit", "--quiet", "--message=As it is", cwd=copied)
    return copied


RUN_ALL = """
import nbformat, sys
from nbclient import NotebookClient
notebook = nbformat.read("exercise.ipynb", as_version=4)
client = NotebookClient(notebook, kernel_name="python3", timeout=100, \
allow_errors=True)
client.execute()
nbformat.write(notebook, "ran.ipynb")
"""


def test_an_exercise_installs_the_library_and_changes_nothing(
    colab: Path, repository: Path, tmp_path: Path
) -> None:
    notebook = json.loads(listed(EXERCISES)[0].read_text(encoding="utf-8"))
    commit = run("git", "rev-parse", "HEAD", cwd=repository).strip()
    stamped = stamp(notebook, f"git+{HOME}@{commit}")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "exercise.ipynb").write_text(json.dumps(stamped))
    freeze = (
        colab,
        "-m",
        "pip",
        "freeze",
        "--all",
        "--disable-pip-version-check",
    )
    before = set(run(*freeze, cwd=empty).splitlines())
    assert any(line.startswith("torch==") for line in before)

    run(
        *(colab, "-c", RUN_ALL),
        cwd=empty,
        GIT_CONFIG_COUNT="1",
        GIT_CONFIG_KEY_0=f"url.{repository.as_uri()}.insteadOf",
        GIT_CONFIG_VALUE_0=HOME,
    )

    after = set(run(*freeze, cwd=empty).splitlines())
    assert before - after == set(), "what was there must stay as it was"
    added = {re.split(r"==| @ ", line)[0].lower() for line in after - before}
    assert "attend" in added and not added & {"otter-grader", "jupyter-book"}
    cells = json.loads((empty / "ran.ipynb").read_text(encoding="utf-8"))[
        "cells"
    ]
    outputs = [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]
    assert [
        output for output in outputs[0] if output["output_type"] == "error"
    ] == [], "set-up"
    assert [
        output for output in outputs[1] if output["output_type"] == "error"
    ] == [], "imports"
    report = "".join("".join(output.get("text", "")) for output in outputs[-1])
    assert "q1" in report and "points" in report, outputs[-1]
