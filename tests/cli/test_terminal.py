"""The program as a reader installs it, in a real terminal.

It is in a folder of its own.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from tools.notebooks import ROOT

# pexpect makes terminals by forking, which Python 3.12 warns of where there are
# threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")

SIZES = [
    "--batch-size",
    "8",
    "--hidden-size",
    "9",
    "--embed-size",
    "5",
    "--min-count",
    "1",
]


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command that must succeed; return what it prints."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install a wheel of the files as they are, and return the program."""
    source, installed = (
        tmp_path_factory.mktemp("source"),
        tmp_path_factory.mktemp("installed"),
    )
    listing = run(
        "git", "ls-files", "-z", "-c", "-o", "--exclude-standard", cwd=ROOT
    )
    kept = (
        "attend/",
        "results/",
        "exercises/tests/",
        "pyproject.toml",
        "README.md",
    )
    kept += ("LICENSE", "book/LICENSE")
    for file in listing.split("\0"):
        if file.startswith(kept) and (ROOT / file).is_file():
            (source / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, source / file)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    offline = ("--quiet", "--no-deps", "--no-index")
    run(
        *pip,
        "wheel",
        *offline,
        "--no-build-isolation",
        "-w",
        source,
        source,
        cwd=source,
    )
    [wheel] = source.glob("attend-*.whl")
    run(*pip, "install", *offline, "--target", installed, wheel, cwd=source)
    return installed / "bin" / "attend"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, talk: Path) -> Path:
    """Return a folder with some exchanges."""
    path = tmp_path_factory.mktemp("folder")
    shutil.copy(talk, path)
    return path


def terminal(program: Path, folder: Path, *arguments: str) -> pexpect.spawn:
    """Run the program in a terminal of 24 lines of 80 columns."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(program.parents[1]),
        "TERM": "xterm",
    }
    return pexpect.spawn(
        str(program),
        list(arguments),
        cwd=str(folder),
        env=environment,
        dimensions=(24, 80),
        encoding="utf-8",
        timeout=90,
    )


def end(session: pexpect.spawn) -> tuple[int | None, str]:
    """Wait for the end; return the exit status and what was printed.

    That is, what was printed since the last match.
    """
    session.expect(pexpect.EOF)
    session.close()
    assert "Traceback" not in session.before
    return session.exitstatus, session.before


def test_train_stop_resume_and_chat(program: Path, folder: Path) -> None:
    where = "import attend; print(attend.__file__)"
    environment = {"PYTHONPATH": str(program.parents[1])}
    imported = subprocess.check_output(
        [sys.executable, "-c", where], cwd=folder, env=environment, text=True
    )
    assert imported.startswith(str(program.parents[1])), (
        "the installed package, not this one"
    )

    training = terminal(
        program,
        folder,
        "train",
        "chatbot",
        "--data",
        "talk.tsv",
        "--epochs",
        "50",
        *SIZES,
    )
    training.expect(r"epoch \d+: +\d+%.*step/s, loss=\d")  # the bar
    training.expect(r"epoch  2/50  train loss \d")
    training.sendintr()
    training.expect(r"Stopped, and saved\. To go on:\r\n\r\n  (attend .*)\r\n")
    words = shlex.split(training.match[1])
    assert end(training)[0] == 130
    assert not (folder / "runs/chatbot/report.json").exists()

    assert (
        words[:3] == ["attend", "train", "chatbot"] and words[-1] == "--resume"
    )
    training = terminal(program, folder, *words[1:])
    training.expect(r"parameters, from epoch \d+, step \d, on 30 pairs")
    training.expect(r"epoch 50/50  ")
    status, printed = end(training)
    assert status == 0
    assert "attend chat --run runs/chatbot" in printed
    assert (folder / "runs/chatbot/report.json").exists()

    sessions = [terminal(program, folder, "chat") for _ in range(3)]
    for session, leave in zip(
        sessions, ("quit\n", "\x04", "\x03"), strict=True
    ):
        session.expect(r"To end: quit, Ctrl-D or Ctrl-C\.\r\nyou> ")
        session.send("What is 8 and 1?\n")
        session.expect(r"bot> \S.*\r\nyou> ")
        session.send("   \n")
        session.expect(r"\(Say something\.\)\r\nyou> ")
        session.send("What is a zebra?\n")
        session.expect(
            r"\(The model has never learned: a, zebra\)\r\nbot> \S.*\r\nyou> "
        )
        session.send(leave)
        status, printed = end(session)
        assert status == 0
        assert re.search(r"\r\nBye!\r\n$", printed)
