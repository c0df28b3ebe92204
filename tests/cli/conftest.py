"""The command `attend`, run in this process, and as one of its own."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tools.notebooks import ROOT


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture
def attend(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Callable[..., Ended]:
    """Return a function that runs the command in an empty folder.

    Lines can be piped into the command.
    """
    from attend.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, typed: bytes = b"") -> Ended:
        monkeypatch.setattr(
            sys, "stdin", io.TextIOWrapper(io.BytesIO(typed), encoding="utf-8")
        )
        try:
            main([str(argument) for argument in arguments])
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        return Ended(status, *capsys.readouterr())

    return run


@pytest.fixture
def started(
    tmp_path: Path,
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts the command in a process of its own.

    It is the program as `pip` installs it. None outlives the test.
    """
    program = Path(sys.executable).with_name("attend")
    processes: list[subprocess.Popen[str]] = []

    def start(
        *arguments: str | Path, shell: str = "", **options: Any
    ) -> subprocess.Popen[str]:
        words = [str(program), *map(str, arguments)]
        command = ["sh", "-c", shell, "sh", *words]  # where "$@" is the command
        pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
        process = subprocess.Popen(
            command if shell else words,
            **{
                "cwd": tmp_path,
                "stdin": subprocess.DEVNULL,
                "text": True,
                "env": {**os.environ, "PYTHONPATH": str(ROOT)},
                **pipes,
                **options,
            },
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
