"""Checkpoints are whole or refused, and never lost."""

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from attend.checkpoints import CheckpointError, load, save, seal, write

CONTENTS = {
    "weights": {"w": torch.arange(30.0).view(5, 6), "b": torch.tensor([True, False])},
    "random": torch.get_rng_state(),
    "losses": [(1.5, 2.5), (1.25, float("inf"))],
    "name": "Übung 注意",
    "nothing": None,
}


def same(a: Any, b: Any) -> bool:
    """Say whether two nested contents are equal, types and bits."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a good checkpoint."""
    save(tmp_path / "last.pt", CONTENTS)
    return tmp_path / "last.pt"


def test_what_is_saved_is_loaded(path: Path) -> None:
    assert same(load(path), CONTENTS)
    assert list(path.parent.iterdir()) == [path], "nothing else may stay in the folder"


def test_pytorch_reads_it_too(path: Path) -> None:
    assert same(torch.load(path, weights_only=True)["contents"], CONTENTS)


def test_saving_replaces_what_was_there(path: Path) -> None:
    save(path, {"step": 3})
    assert load(path) == {"step": 3}


def test_the_same_contents_are_the_same_file(path: Path) -> None:
    save(path.with_name("again.pt"), CONTENTS)
    assert path.read_bytes() == path.with_name("again.pt").read_bytes()


# --- Reading what is not right ---


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*last\.pt"):
        load(tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_cut_off_anywhere(path: Path) -> None:
    content = path.read_bytes()
    for length in [0, *range(200, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="is damaged, or was cut off"):
            load(path)
    for length in range(1, 200):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError):
            load(path)


def test_a_changed_byte_anywhere(path: Path) -> None:
    content = path.read_bytes()
    for place in range(0, len(content), 5):
        changed = bytearray(content)
        changed[place] ^= 0x55
        path.write_bytes(changed)
        with pytest.raises(CheckpointError):
            load(path)


def foreign() -> dict[str, bytes]:
    """Return files that are no checkpoints of this library."""
    plain, old, archive = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"model": torch.ones(2)}, plain)
    torch.save({"format": "x"}, old, _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("notes.txt", "hello")
    return {
        "a state dict": plain.getvalue(),
        "a sealed state dict": seal(plain.getvalue()),
        "PyTorch's old form": old.getvalue(),
        "another archive": archive.getvalue(),
        "a text": b"hello\n",
    }


@pytest.mark.parametrize("kind", foreign())
def test_foreign(path: Path, kind: str) -> None:
    path.write_bytes(foreign()[kind])
    with pytest.raises(CheckpointError, match=r"last\.pt is not a checkpoint of this library"):
        load(path)


class Evil:
    """Unpickling this makes a folder."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("evil",)


def test_nothing_in_a_file_is_executed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    save(path, {"model": Evil()})
    with pytest.raises(CheckpointError, match="holds more than numbers and texts"):
        load(path)
    assert not Path("evil").exists()


# --- Writing when it does not work ---

FULL = """
import resource, sys, torch
from pathlib import Path
from attend.checkpoints import CheckpointError, load, save

path = Path("last.pt")
save(path, {"step": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    save(path, {"step": 2, "weights": torch.zeros(10_000)})
except CheckpointError as error:
    print(error)
assert load(path) == {"step": 1}
assert [p.name for p in Path().iterdir()] == ["last.pt"]
save(path, {"step": 3})
assert load(path) == {"step": 3}
try:
    save(Path("best.pt"), {"weights": torch.zeros(10_000)})
except CheckpointError as error:
    print(error)
"""


def test_a_full_disk_keeps_the_last_good_one(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FULL], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    first, second = run.stdout.splitlines()
    assert first.startswith("last.pt cannot be written: the disk is full")
    assert first.endswith("what was saved there before is still whole")
    assert second.startswith("best.pt cannot be written: the disk is full")
    assert second.endswith("nothing is there")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be written: No such file or directory"):
        save(tmp_path / "nowhere" / "last.pt", CONTENTS)


def test_what_a_killed_save_left_does_no_harm(path: Path) -> None:
    path.with_name("last.pt.tmp").write_bytes(b"half")
    assert same(load(path), CONTENTS)
    write(path, b"new")
    assert path.read_bytes() == b"new"
    assert not path.with_name("last.pt.tmp").exists()
