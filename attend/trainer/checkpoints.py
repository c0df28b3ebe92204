"""Files that hold a training run: written whole or not at all.

They are checked when they are read.
"""

import errno
import io
import os
import pickle
import re
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

# Stands near the beginning of each file. The number grows when what is in the
# files changes.
FORMAT = "attend checkpoint 2"
ANY_FORMAT = re.compile(rb"attend checkpoint (\d+)")

# What a file system says that knows no locks.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)

# What `write` leaves behind when its process is killed.
LEFT_BEHIND = re.compile(r"(best\.pt|last\.pt|report\.json)\.[0-9a-f]{8}\.tmp")


class CheckpointError(ValueError):
    """A checkpoint that cannot be written or read.

    The message says why and what to do.
    """


def save(path: Path, contents: dict[str, Any]) -> None:
    """Write a checkpoint; at any moment the file is the old or the new one.

    Args:
        path: where; the folder is there already.
        contents: tensors, numbers and strings, in lists and dicts.

    Raises:
        CheckpointError: if the disk is full, or the file cannot be written for
            another reason. What was there before is still there.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "contents": contents}, buffer)
    write(path, seal(buffer.getvalue()))


def seal(archive: bytes) -> bytes:
    """Write the checksum of a zip archive into its comment, at its end.

    PyTorch makes such archives. The checksums inside one leave out its table of
    contents. For other readers, such as `torch.load`, the sealed file is the
    same archive.
    """
    comment = b"crc32 %08x" % zlib.crc32(archive)
    return archive[:-2] + len(comment).to_bytes(2, "little") + comment


def write(path: Path, content: bytes) -> None:
    """Write a file under a name of its own, see it onto the disk, rename it.

    Raises:
        CheckpointError: as `save`.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise CheckpointError(not_written(path, error)) from error
    finally:
        with suppress(OSError):  # there is none, unless something went wrong
            temporary.unlink()


def not_written(path: Path, error: OSError) -> str:
    """Say why a file cannot be written, and what to do."""
    kept = "what was saved there before is still whole"
    return (
        f"{path} cannot be written: {trouble(error)} or choose another folder; "
        f"{kept if path.exists() else 'nothing is there'}"
    )


def trouble(error: OSError) -> str:
    """Say why something cannot be written, and the first thing to do."""
    why = reason(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"the disk is full ({why}). Make room"
    return f"{why}. See that the folder is there and may be written to"


def reason(error: OSError) -> str:
    """Say in words what the system, or a library, has against it."""
    if error.errno is not None:
        return error.strerror or os.strerror(error.errno)
    return str(error) or type(error).__name__


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint, its tensors onto the CPU, and refuse a damaged one.

    Nothing in the file is executed, so one from a stranger does no harm.

    Args:
        path: a file that `save` wrote.

    Raises:
        CheckpointError: if there is no such file, it is cut off or damaged, it
            is no checkpoint of this library, or one of another version.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}") from error
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read: {reason(error)}"
        ) from error
    form = ANY_FORMAT.search(content[:1024])
    if content and not form:
        raise CheckpointError(f"{path} is not a checkpoint of this library")
    if form and form[0] != FORMAT.encode():
        raise CheckpointError(of_another_version(path))
    unsealed = content[: -len(seal(bytes(2)))] + bytes(2)
    if seal(unsealed) != content:
        raise CheckpointError(
            f"{path} is damaged, or was cut off when it was copied: copy it "
            "again, or train again"
        )
    try:
        saved = torch.load(
            io.BytesIO(content), map_location="cpu", weights_only=True
        )
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than numbers and texts, and is not loaded: see "
            "torch.load"
        ) from error
    contents: dict[str, Any] = saved["contents"]
    return contents


def of_another_version(path: Path) -> str:
    """Say that a checkpoint is not what this version writes."""
    return (
        f"{path} was made by another version of this library: use it with that "
        "version, or train again into another folder"
    )


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Refuse a checkpoint that lacks what the code inside needs of it.

    Raises:
        CheckpointError: if a field is missing, or weights have other names or
            shapes.
    """
    try:
        yield
    except (CheckpointError, torch.cuda.OutOfMemoryError):
        raise
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(of_another_version(path)) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from writing into the folder of a run.

    The lock ends with the process, however that ends. A file system that knows
    no locks is used without one. What a killed process left half written is
    removed.

    Raises:
        CheckpointError: if another process holds it, or the folder cannot be
            written to.
    """
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(blocking=False)
    except NotImplementedError:
        pass
    except Timeout as error:
        raise CheckpointError(
            f"another training is writing into {folder}: wait for its end, or "
            "choose another folder"
        ) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise CheckpointError(
                f"{folder} cannot be written to: {reason(error)}"
            ) from error
    try:
        for path in folder.iterdir():
            if LEFT_BEHIND.fullmatch(path.name):
                path.unlink(missing_ok=True)
        yield
    finally:
        lock.release()
