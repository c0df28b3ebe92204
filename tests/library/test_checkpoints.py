"""Checkpoints are whole or refused, and never lost."""

import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from attend.respond import Run, load_run
from attend.trainer import CheckpointError, checkpoints, train
from attend.trainer.checkpoints import FORMAT, load, save, seal, write

CONTENTS = {
    "weights": {
        "w": torch.arange(30.0).view(5, 6),
        "b": torch.tensor([True, False]),
    },
    "random": torch.get_rng_state(),
    "losses": [(1.5, 2.5), (1.25, float("inf"))],
    "name": "Übung 注意",
    "nothing": None,
}


def same(a: Any, b: Any) -> bool:
    """Say whether two nested contents are equal, types and bits."""
    if isinstance(a, torch.Tensor):
        return (
            isinstance(b, torch.Tensor)
            and a.dtype == b.dtype
            and torch.equal(a, b)
        )
    if isinstance(a, dict):
        return (
            isinstance(b, dict)
            and a.keys() == b.keys()
            and all(same(a[k], b[k]) for k in a)
        )
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
    assert list(path.parent.iterdir()) == [path], (
        "nothing else may stay in the folder"
    )


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
    with pytest.raises(
        CheckpointError, match=r"there is no checkpoint .*last\.pt"
    ):
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
    with pytest.raises(
        CheckpointError, match=r"last\.pt is not a checkpoint of this library"
    ):
        load(path)


class Evil:
    """Unpickling this makes a folder."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("evil",)


def test_nothing_in_a_file_is_executed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    save(path, {"model": Evil()})
    with pytest.raises(
        CheckpointError, match="holds more than numbers and texts"
    ):
        load(path)
    assert not Path("evil").exists()


# --- Writing when it does not work ---

FULL = """
import resource, sys, torch
from pathlib import Path
from attend.trainer.checkpoints import CheckpointError, load, save

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
        [sys.executable, "-c", FULL],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = run.stdout.splitlines()
    assert first.startswith("last.pt cannot be written: the disk is full")
    assert first.endswith("what was saved there before is still whole")
    assert second.startswith("best.pt cannot be written: the disk is full")
    assert second.endswith("nothing is there")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match="cannot be written: No such file or directory"
    ):
        save(tmp_path / "nowhere" / "last.pt", CONTENTS)


def test_what_a_killed_save_left_does_no_harm(path: Path) -> None:
    left = path.with_name("last.pt.0123abcd.tmp")
    left.write_bytes(b"half")
    assert same(load(path), CONTENTS)
    write(path, b"new")
    assert path.read_bytes() == b"new"
    with checkpoints.locked(path.parent):
        assert not left.exists()


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_save_that_fails_leaves_nothing_of_its_own(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fails(*_: Any) -> None:
        raise OSError(122, "Disk quota exceeded")

    before = path.read_bytes()
    monkeypatch.setattr(os if call == "fsync" else Path, call, fails)
    with pytest.raises(
        CheckpointError, match=r"the disk is full \(Disk quota exceeded\)"
    ):
        save(path, {"step": 2})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


# --- Several processes at once ---

AT_ONCE = """
import os, sys, torch
from pathlib import Path
from attend.trainer.checkpoints import load, save

path, children = Path("last.pt"), []
contents = lambda writer, n: {
    "writer": writer, "n": n, "weights": torch.full((2_000,), float(writer))
}
save(path, contents(0, 0))
for writer in range(1, 5):
    child = os.fork()
    if not child:
        try:
            for n in range(200):
                save(path, contents(writer, n))
                found = load(path)
                assert found.keys() == {"writer", "n", "weights"}
                assert bool((found["weights"] == found["writer"]).all())
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
assert load(path)["n"] == 199
assert [p.name for p in Path().iterdir()] == ["last.pt"]
"""


def test_many_processes_save_to_one_path_at_once(tmp_path: Path) -> None:
    """Every save succeeds, and every read is whole."""
    run = subprocess.run(
        [sys.executable, "-c", AT_ONCE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_every_save_writes_under_a_name_of_its_own(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    rename = Path.replace

    def noted(self: Path, target: Path) -> Path:
        names.append(self.name)
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", noted)
    for step in range(50):
        save(path, {"step": step})
    assert len(set(names)) == 50
    for name in names:
        assert name.startswith("last.pt.") and name.endswith(".tmp")


# --- Checkpoints of other versions ---

USED = {
    *("recipe", "config", "model_config", "src_tokens", "tgt_tokens"),
    *("others", "model"),
}
GOING_ON = {
    *(
        "data",
        "optimizer",
        "schedule",
        "random",
        "step",
        "steps_taken",
        "loss_sum",
    ),
    "history",
}
OTHER = "was made by another version of this library: use it with that version"

Change = Callable[[dict[str, Any]], object]


def unsealed(contents: dict[str, Any], form: str) -> bytes:
    """The file of a version that wrote no checksum."""
    buffer = io.BytesIO()
    torch.save({"format": form, "contents": contents}, buffer)
    return buffer.getvalue()


def first_weight(contents: dict[str, Any]) -> str:
    return next(iter(contents["model"]))


def reshape(contents: dict[str, Any]) -> None:
    name = first_weight(contents)
    contents["model"][name] = contents["model"][name][..., :-1].clone()


def rename(contents: dict[str, Any]) -> None:
    name = first_weight(contents)
    contents["model"][f"old_{name}"] = contents["model"].pop(name)


# What another version may have done otherwise, in either file.
CHANGES: dict[str, Change] = {
    **{f"no {name}": lambda c, name=name: c.pop(name) for name in sorted(USED)},
    "other shapes": reshape,
    "other names": rename,
    "a weight less": lambda c: c["model"].pop(first_weight(c)),
    "a weight more": lambda c: c["model"].update(scale=torch.ones(1)),
    "no weights": lambda c: c.update(model={}),
    "weights of another kind": lambda c: c.update(model=3),
    "a flag more": lambda c: c["config"].update(depth=3),
    "flags of another kind": lambda c: c.update(config=3),
}
FOR_LOADING: dict[str, Change] = {
    "a flag refused today": lambda c: c["config"].update(lr=-1.0),
    "another recipe": lambda c: c.update(recipe="poems"),
    "another setting of the model": lambda c: c["model_config"].update(depth=3),
    "a larger model": lambda c: c["model_config"].update(d_hidden=99),
    "other tokens": lambda c: c.update(src_tokens=None),
}
FOR_RESUMING: dict[str, Change] = {
    **{
        f"no {name}": lambda c, name=name: c.pop(name)
        for name in sorted(GOING_ON)
    },
    "another optimizer": lambda c: c.update(optimizer={"state": {}}),
    "an optimizer of fewer weights": lambda c: c["optimizer"]["param_groups"][
        0
    ]["params"].pop(),
    "other random numbers": lambda c: c.update(random={}),
    "random numbers of another kind": lambda c: c["random"].update(
        cpu=torch.ones(3)
    ),
    "another history": lambda c: c.update(history=[(1.0,)]),
}


def left_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(act: Callable[[], object], folder: Path, name: str) -> None:
    """See that a file is refused as of another version, and nothing changes."""
    before = left_in(folder)
    with pytest.raises(CheckpointError) as error:
        act()
    assert str(error.value) == (
        f"{folder / name} {OTHER}, or train again into another folder"
    )
    assert left_in(folder) == before


def test_every_field_of_a_checkpoint_is_taken_away_below(trained: Run) -> None:
    folder = trained.config.out
    assert set(load(folder / "best.pt")) == USED
    assert set(load(folder / "last.pt")) == USED | GOING_ON


@pytest.mark.parametrize("change", [*CHANGES, *FOR_LOADING])
def test_a_model_of_another_version(copied: Path, change: str) -> None:
    contents = load(copied / "best.pt")
    {**CHANGES, **FOR_LOADING}[change](contents)
    save(copied / "best.pt", contents)
    refused(lambda: load_run(copied), copied, "best.pt")


@pytest.mark.parametrize("change", [*CHANGES, *FOR_RESUMING])
def test_a_training_of_another_version(
    copied: Path, trained: Run, change: str
) -> None:
    contents = load(copied / "last.pt")
    {**CHANGES, **FOR_RESUMING}[change](contents)
    save(copied / "last.pt", contents)
    config = replace(trained.config, out=copied)
    refused(lambda: train(config, resume=True), copied, "last.pt")


def test_a_flag_that_is_newer_than_the_run_had_its_default(
    copied: Path, trained: Run
) -> None:
    """Or every new flag would leave all older runs unfinished."""
    contents = load(copied / "last.pt")
    assert contents["config"].pop("max_norm") == 1.0
    save(copied / "last.pt", contents)
    train(replace(trained.config, out=copied), resume=True)
    del contents["config"]["lr"]
    save(copied / "last.pt", contents)
    with pytest.raises(
        CheckpointError, match=r"lr was 0\.008 and is now 0\.05"
    ):
        train(replace(trained.config, out=copied), resume=True)


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("number", [0, 1, 3, 20, 21])
def test_another_format(
    copied: Path, trained: Run, number: int, sealed: bool
) -> None:
    """The older ones are whole, and are not called damaged."""
    assert FORMAT == "attend checkpoint 2"
    config = replace(trained.config, out=copied)
    for name, act in (
        ("best.pt", lambda: load_run(copied)),
        ("last.pt", lambda: train(config, resume=True)),
    ):
        content = unsealed(load(copied / name), f"attend checkpoint {number}")
        (copied / name).write_bytes(seal(content) if sealed else content)
        refused(act, copied, name)


def test_a_file_of_this_format_without_its_checksum_is_damaged(
    copied: Path,
) -> None:
    contents = load(copied / "best.pt")
    (copied / "best.pt").write_bytes(unsealed(contents, FORMAT))
    with pytest.raises(CheckpointError, match="is damaged, or was cut off"):
        load_run(copied)


def test_the_best_model_is_of_another_version_in_the_end(
    copied: Path, trained: Run
) -> None:
    """A finished run is measured again by resuming it."""
    contents = load(copied / "best.pt")
    rename(contents)
    save(copied / "best.pt", contents)
    last = load(copied / "last.pt")
    last["history"][0] = (1.0, -1.0)  # the best epoch is not the last one
    save(copied / "last.pt", last)
    config = replace(trained.config, out=copied)
    before = left_in(copied)
    with pytest.raises(CheckpointError, match=OTHER):
        train(config, resume=True)
    after = left_in(copied)
    assert {name: after[name] for name in ("best.pt", "last.pt")} == {
        name: before[name] for name in ("best.pt", "last.pt")
    }


def test_what_is_understood_is_not_blamed_on_a_version(copied: Path) -> None:
    """A clear message stays; so does a mistake that is none of the file's."""
    path = copied / "best.pt"
    clear = CheckpointError("the data is another one")
    with pytest.raises(CheckpointError) as error, checkpoints.understood(path):
        raise clear
    assert error.value is clear
    for mistake in (ZeroDivisionError(), OSError(5, "x"), KeyboardInterrupt()):
        with (
            pytest.raises(type(mistake)) as raised,
            checkpoints.understood(path),
        ):
            raise mistake
        assert raised.value is mistake
    for wrong in (KeyError("x"), TypeError(), ValueError(), RuntimeError()):
        with (
            pytest.raises(CheckpointError, match=OTHER) as other,
            checkpoints.understood(path),
        ):
            raise wrong
        assert other.value.__cause__ is wrong
