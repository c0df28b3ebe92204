"""Public data sets: where they are, and what their files must hold.

None of them is part of this book; each has its own licence. Addresses name a
version that stays as it is, such as a commit.
"""

import os
import sys
from pathlib import Path
from typing import NamedTuple

import pooch
import requests

TIMEOUT = 30.0  # seconds without an answer
RETRIES = 2  # of a download that fails


class PublicSet(NamedTuple):
    """A set of files on the web.

    `files` maps each path, below `address`, to the SHA-256 of its content.
    """

    address: str
    licence: str
    files: dict[str, str]


def listed(name: str) -> dict[str, str]:
    """The files of a set, from the list of them beside this module."""
    path = Path(__file__).with_name(f"{name}.txt")
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = (line.split() for line in lines if not line.startswith("#"))
    return {file: checksum for file, checksum in pairs}


REGISTRY = {
    "chatterbot": PublicSet(
        address="https://raw.githubusercontent.com/gunthercox/"
        "chatterbot-corpus/a01efece26661309b870af0251d96f94ee09fb19/"
        "chatterbot_corpus/data",
        licence="BSD-3-Clause",
        files=listed("chatterbot"),
    ),
}


def fetch(name: str) -> Path:
    """Return the folder that holds a public set, downloading what is missing.

    The folder is `$ATTEND_DATA/<name>` if that variable is set: it is checked,
    nothing is downloaded. Otherwise it is `attend/<name>` in the user's cache,
    which is `$XDG_CACHE_HOME` or `~/.cache`. A file comes into the cache in one
    piece, and only with the right checksum: a download that breaks is tried
    again, and leaves good files alone behind, so that the next call goes on
    from there.

    Args:
        name: a name in `REGISTRY`.

    Raises:
        ValueError: for an unknown name, or a file whose checksum differs.
        FileNotFoundError: if a file is missing from `$ATTEND_DATA/<name>`.
        ConnectionError: if a file cannot be downloaded.
    """
    if name not in REGISTRY:
        known = ", ".join(sorted(REGISTRY))
        raise ValueError(f"there is no public set {name!r}, only {known}")
    public = REGISTRY[name]
    if os.environ.get("ATTEND_DATA"):
        folder = Path(os.environ["ATTEND_DATA"]).expanduser() / name
        for file, checksum in public.files.items():
            verify(folder / file, checksum, public)
        return folder
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "attend" / name
    for file in public.files:
        download(public, folder, file)
    return folder


def verify(path: Path, checksum: str, public: PublicSet) -> None:
    """Refuse a file that is not there, or not what it should be.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if its checksum differs.
    """
    remedy = (
        f"get the files from {public.address}, or unset ATTEND_DATA to "
        "download them"
    )
    if not path.is_file():
        raise FileNotFoundError(
            f"ATTEND_DATA is set, but there is no {path}: {remedy}"
        )
    if pooch.file_hash(path) != checksum:
        raise ValueError(
            f"ATTEND_DATA is set, but {path} is not the file expected: {remedy}"
        )


def download(public: PublicSet, folder: Path, file: str) -> None:
    """Download one file of a set, unless it is there.

    Raises:
        ConnectionError: if there is no answer, or not the whole file.
        ValueError: if the checksum differs.
    """
    url = f"{public.address}/{file}"
    store = pooch.create(
        path=folder,
        base_url=f"{public.address}/",
        registry=public.files,
        retry_if_failed=RETRIES,
    )
    pooch.get_logger().setLevel("WARNING")  # no line for each file
    bar = sys.stderr.isatty()
    downloader = pooch.HTTPDownloader(progressbar=bar, timeout=TIMEOUT)
    remedy = (
        f"Or get the files in another way, this one as {folder.name}/{file} in "
        "a folder of yours, and set ATTEND_DATA to that folder"
    )
    try:
        store.fetch(file, downloader=downloader)
    except requests.RequestException as error:
        raise ConnectionError(
            f"could not download {url} ({error!r}): is there a network? Try "
            f"again. {remedy}"
        ) from error
    except OSError as error:
        raise OSError(
            f"{folder} cannot be written ({error}): make room, or name another "
            f"cache with XDG_CACHE_HOME. {remedy}"
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{url} did not give the file expected: {error} Nothing was kept. "
            f"If it stays so, the file was changed. {remedy}"
        ) from error
