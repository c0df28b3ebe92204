"""Files that hold a training run: written whole or not at all, and checked when they are read."""

import errno
import io
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import torch

FORMAT = "attend checkpoint 1"  # stands near the beginning of each file


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
    write(path, seal(buffer.getvalue()))


def seal(archive: bytes) -> bytes:
    """Write the checksum of a zip archive, such as PyTorch makes, into its comment, at its end.

    The checksums inside an archive leave out its table of contents. For other readers, such as
    `torch.load`, the sealed file is the same archive.
    """
    comment = b"crc32 %08x" % zlib.crc32(archive)
    return archive[:-2] + len(comment).to_bytes(2, "little") + comment


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
    if content and FORMAT.encode() not in content[:1024]:
        raise CheckpointError(f"{path} is not a checkpoint of this library")
    unsealed = content[: -len(seal(bytes(2)))] + bytes(2)
    if seal(unsealed) != content:
        raise CheckpointError(
            f"{path} is damaged, or was cut off when it was copied: copy it again, or train again"
        )
    try:
        saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than numbers and texts, and is not loaded: see torch.load"
        ) from error
    contents: dict[str, Any] = saved["contents"]
    return contents
