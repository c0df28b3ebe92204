"""Files that hold a training run: written whole or not at all, and checked when they are read."""

import errno
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import torch

FORMAT = "attend checkpoint 1"


class CheckpointError(ValueError):
    """A checkpoint that cannot be written or read; the message says why and what to do."""


def save(path: Path, contents: dict[str, Any]) -> None:
    """Write a checkpoint; at any moment the file is the old one or the new one, whole.

    Args:
        path: where; the folder is there already.
        contents: tensors, numbers and strings, in lists and dicts.

    Raises:
        CheckpointError: if the disk is full, or the file cannot be written for another reason.
            What was there before is still there.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "contents": contents}, buffer)
    write(path, buffer.getvalue())


def write(path: Path, content: bytes) -> None:
    """Write a file under another name, wait until it is on the disk, and rename it.

    Raises:
        CheckpointError: as `save`.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        why = f"the disk is full ({error.strerror})" if full else error.strerror
        kept = "what was saved there before is still whole" if path.exists() else "nothing is there"
        raise CheckpointError(
            f"{path} cannot be written: {why}. Make room or choose another folder; {kept}"
        ) from error


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint, its tensors onto the CPU, and refuse one that is damaged.

    Nothing in the file is executed, so one from a stranger does no harm.

    Args:
        path: a file that `save` wrote.

    Raises:
        CheckpointError: if there is no such file, it is cut off or damaged, or it is no
            checkpoint of this library.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    foreign = CheckpointError(f"{path} is not a checkpoint of this library")
    damaged = CheckpointError(
        f"{path} is damaged, or was cut off while it was copied: copy it again, or train again"
    )
    if content and not content.startswith(b"PK"):
        raise foreign
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            whole = archive.testzip() is None  # compares every record with its checksum
            known = any(name.endswith("/data.pkl") for name in archive.namelist())
        if whole and not known:
            raise foreign
        if not whole:
            raise damaged
        saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # a damaged archive can break its reader in any way
        raise damaged from error
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise foreign
    contents: dict[str, Any] = saved["contents"]
    return contents
