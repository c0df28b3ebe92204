"""Streams that end or are not there, signals, and two programs at once.

The command is a process of its own here, as a shell starts it.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

import attend.cli
from attend import start
from attend.recipes.chatbot import ChatbotConfig
from attend.respond import Run
from attend.trainer import Epoch, Report, checkpoints, train
from tools.notebooks import ROOT

Attend = Callable[..., Any]  # see conftest.py
Started = Callable[..., "subprocess.Popen[str]"]
Tiny = Callable[..., ChatbotConfig]


EPOCHS = 12


@pytest.fixture(scope="module")
def alone(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return what comes of a training that nothing disturbs."""
    return train(tiny(tmp_path_factory.mktemp("alone"), epochs=EPOCHS))


def same_report(folder: Path, expected: Report) -> bool:
    """Say whether a training came to the same end."""
    report = json.loads((folder / "report.json").read_text())
    history = [Epoch(**losses) for losses in report["history"]]
    return (report["test"], report["best_epoch"], history) == expected


def flags(config: ChatbotConfig) -> list[str]:
    """The words that train with these flags."""
    return shlex.split(attend.cli.resuming(config))[1:-1]


def wait_for(process: subprocess.Popen[str], start: str) -> str:
    """Read lines up to one that starts so."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(start):
            return line
    raise AssertionError(f"it never said {start!r}")


def wait_until(there: Callable[[], object]) -> None:
    """Wait until something is there."""
    for _ in range(600):
        if there():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")


# --- Ctrl-C while PyTorch is imported ---

# In place of PyTorch: it says that it is there, and takes its time.
SLOW = """
import pathlib, time
pathlib.Path("importing").touch()
end = time.monotonic() + {seconds}
while time.monotonic() < end:
    try:
        time.sleep(0.05)
    except BaseException:
        pass  # as code in C that loses an exception
raise SystemExit(7)
"""


@pytest.fixture
def slow(tmp_path: Path) -> Callable[[float], dict[str, str]]:
    """Return a function: the environment in which PyTorch takes long."""

    def environment(seconds: float) -> dict[str, str]:
        folder = tmp_path / "slow"
        folder.mkdir()
        (folder / "torch.py").write_text(SLOW.format(seconds=seconds))
        return {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"}

    return environment


@pytest.mark.parametrize("command", ["--help", "chat", "train"])
def test_ctrl_c_while_pytorch_is_imported(
    started: Started, slow: Callable[..., Any], tmp_path: Path, command: str
) -> None:
    process = started(command, env=slow(60))
    wait_until((tmp_path / "importing").exists)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (
        *(130, "", "attend: stopped at once\n"),
    )


def test_an_ignored_ctrl_c_does_not_stop_the_import(
    started: Started, slow: Callable[..., Any], tmp_path: Path
) -> None:
    process = started("chat", env=slow(1), shell="""trap "" INT; exec "$@" """)
    wait_until((tmp_path / "importing").exists)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (7, "", "")


@pytest.mark.parametrize(
    "handler",
    [signal.default_int_handler, signal.SIG_IGN, lambda *_: None],
    ids=["as ever", "ignored", "one of its own"],
)
def test_ctrl_c_is_handled_afterwards_as_it_was_before(
    monkeypatch: pytest.MonkeyPatch, handler: Any
) -> None:
    found = []
    monkeypatch.setattr(start, "fill_streams", lambda: None)
    monkeypatch.setattr(
        attend.cli,
        "main",
        lambda: found.append(signal.getsignal(signal.SIGINT)),
    )
    before = signal.signal(signal.SIGINT, handler)
    try:
        start.main()
    finally:
        signal.signal(signal.SIGINT, before)
    assert found == [handler]


# --- Jobs in the background, and being told to end ---


def test_a_job_in_the_background_hears_no_ctrl_c_but_can_be_ended(
    started: Started, tiny: Tiny, tmp_path: Path
) -> None:
    config = tiny(tmp_path / "run", epochs=500)
    process = started(*flags(config), shell="""trap "" INT; exec "$@" """)
    wait_for(process, "epoch  1/500")
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        wait_for(process, "epoch ")
        wait_for(process, "epoch ")
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (143, "")
    assert "\nStopped, and saved. To go on:\n\n  attend train chatbot" in out
    saved = checkpoints.load(config.out / "last.pt")
    assert 3 < len(saved["history"]) < 500


# --- A reader who has seen enough ---


def hear(process: subprocess.Popen[str], lines: int) -> None:
    """Read some lines of a training, and no more.

    It waits meanwhile, or it might say all it has to say.
    """
    assert process.stdout is not None
    for _ in range(lines):
        process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    process.stdout.close()
    process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("lines", [1, 3])
def test_training_stops_when_nobody_reads_on(
    started: Started,
    attend: Attend,
    tiny: Tiny,
    alone: Report,
    tmp_path: Path,
    lines: int,
) -> None:
    """As in `attend train … | head -1`; the curves have no part in it."""
    config = tiny(tmp_path / "run", epochs=EPOCHS)
    process = started(*flags(config))
    hear(process, lines)
    assert process.stderr is not None
    err = process.stderr.read()
    assert process.wait(timeout=30) == 1
    said, _, words = err.partition(" To go on: ")
    assert said == "attend: stopped, for nobody reads this."
    command = shlex.split(words)
    assert command[0] == "attend" and command[-1] == "--resume"
    assert words.count("\n") == 1
    assert len(checkpoints.load(config.out / "last.pt")["history"]) < EPOCHS
    assert attend(*command[1:]).status == 0
    assert same_report(config.out, alone)


def test_nobody_reads_what_goes_wrong_either(
    started: Started, tiny: Tiny, tmp_path: Path
) -> None:
    """As in `attend train … 2>&1 | head -1`."""
    config = tiny(tmp_path / "run", epochs=EPOCHS)
    process = started(*flags(config), stderr=subprocess.STDOUT)
    hear(process, 1)
    assert process.wait(timeout=30) == 1
    assert len(checkpoints.load(config.out / "last.pt")["history"]) < EPOCHS


# --- Streams that the caller has closed ---


def test_closed_streams_lead_nowhere(talk: Path, tmp_path: Path) -> None:
    """Whichever are closed: no traceback, and nothing of it in a file."""
    shutil.copy(talk, tmp_path)
    run = subprocess.run(
        [sys.executable, ROOT / "tests" / "cli" / "closed.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    statuses = json.loads((tmp_path / "statuses.json").read_text())
    assert len(statuses) == 4 * 8
    opened = {
        name: tmp_path / f"{name} without "
        for name in ("train", "chat", "translate", "fails")
    }
    for name, status in statuses.items():
        folder, (command, _, closed) = tmp_path / name, name.partition(" ")
        assert status == (1 if command == "fails" else 0), name
        assert not (folder / "traceback").exists(), name
        for stream in ("stdout", "stderr"):
            expected = (opened[command] / stream).read_text()
            expected = expected.replace(opened[command].name, name)
            if stream in closed or (command == "chat" and "stdin" in closed):
                expected = ""  # nobody hears it, or nobody asked
            assert (folder / stream).read_text() == expected, name
    for name in ("chat", "translate"):
        assert (opened[name] / "stdout").read_text()
    assert "there is no run" in (opened["fails"] / "stderr").read_text()
    runs = [tmp_path / name / "run" for name in statuses if "train" in name]
    first = checkpoints.load(runs[0] / "best.pt")["model"]
    for folder in runs:
        again = checkpoints.load(folder / "best.pt")["model"]
        assert all(torch.equal(first[key], again[key]) for key in first)
        checkpoints.load(folder / "last.pt")
        report = json.loads((folder / "report.json").read_text())
        assert report["test"].keys() == {
            *("perplexity", "distinct_1", "distinct_2"),
        }
        curves = EventAccumulator(str(folder)).Reload()
        assert [e.step for e in curves.Scalars("train/loss")] == [1]


def test_a_shell_closes_streams(
    started: Started, trained: Run, tiny: Tiny, tmp_path: Path
) -> None:
    """As Python itself finds them then."""
    config = tiny(tmp_path / "run", epochs=1)
    training = started(*flags(config), shell='exec "$@" <&- >&- 2>&-')
    chat = started("chat", "--run", trained.config.out, shell='exec "$@" <&-')
    for process in (training, chat):
        assert process.communicate(timeout=60) == ("", "")
        assert process.returncode == 0
    assert json.loads((config.out / "report.json").read_text())["test"]


# --- Two trainings at once ---


def test_a_second_training_is_refused_and_the_first_ends_well(
    started: Started,
    attend: Attend,
    tiny: Tiny,
    alone: Report,
    tmp_path: Path,
) -> None:
    config = tiny(tmp_path / "run", epochs=EPOCHS)
    first = started(*flags(config))
    assert first.stdout is not None
    assert "parameters, on 30 pairs" in first.stdout.readline()
    first.send_signal(signal.SIGSTOP)  # so that it does not end before
    for more in ([], ["--resume"]):
        second = attend(*flags(config), *more)
        assert (second.status, second.out) == (1, "")
        assert second.err == (
            f"attend: another training is writing into {config.out}: wait for "
            "its end, or choose another folder\n"
        )
    first.send_signal(signal.SIGCONT)
    out, err = first.communicate(timeout=60)
    assert (first.returncode, err) == (0, "")
    assert same_report(config.out, alone)
    again = attend(*flags(config), "--resume")
    assert again.status == 0 and "nothing left to train" in again.out


def test_after_a_kill_the_folder_is_free_and_swept(
    started: Started,
    attend: Attend,
    tiny: Tiny,
    alone: Report,
    tmp_path: Path,
) -> None:
    config = tiny(tmp_path / "run", epochs=EPOCHS)
    first = started(*flags(config))
    wait_for(first, f"epoch  1/{EPOCHS}")
    first.send_signal(signal.SIGKILL)
    first.wait(timeout=30)
    (config.out / "last.pt.01234567.tmp").write_bytes(b"half")
    again = attend(*flags(config), "--resume")
    assert (again.status, again.err) == (0, "")
    assert not list(config.out.glob("*.tmp"))
    assert same_report(config.out, alone)
