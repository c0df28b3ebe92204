"""However a training is stopped, resuming it ends where it would have ended."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

from attend.trainer import checkpoints
from tools.notebooks import ROOT

# how many folders tests/cli/killed.py makes, beside the one never stopped
MOMENTS = 17


def same(a: Any, b: Any) -> bool:
    """Say whether two nested contents are equal to the bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Read the curves as TensorBoard shows them."""
    events = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def results(folder: Path) -> dict[str, Any]:
    """Read everything that a run leaves, but the name of its folder."""
    kept = {
        name: checkpoints.load(folder / name) for name in ("best.pt", "last.pt")
    }
    kept["report.json"] = json.loads((folder / "report.json").read_text())
    for contents in kept.values():
        contents["config"]["out"] = ""
    return {**kept, "curves": curves(folder)}


def test_stopped_at_any_moment_and_resumed_equals_never_stopped(
    tmp_path: Path,
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = ROOT / "tests" / "cli" / "killed.py"
    run = subprocess.run(
        [sys.executable, program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    expected = results(tmp_path / "never stopped")
    assert expected["last.pt"]["model"]["output.bias"].isfinite().all()
    assert [step for step, _ in expected["curves"]["train/loss"]] == list(
        range(1, 9)
    )
    assert [step for step, _ in expected["curves"]["valid/perplexity"]] == [
        4,
        8,
    ]
    folders = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert len(folders) == MOMENTS + 1
    for folder in folders:
        found = results(folder)
        for what in expected:
            assert same(found[what], expected[what]), (
                f"{what} differs: {folder.name}"
            )
        assert not list(folder.glob("*.tmp")), folder.name
