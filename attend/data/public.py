"""Public data sets: where they are, what their files must hold, and how to get them.

None of them is part of this book; each has its own licence.
"""

import hashlib
import os
import tempfile
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError

TIMEOUT = 30.0  # seconds without an answer


class PublicSet(NamedTuple):
    """A set of files on the web.

    `files` maps each path, below `address`, to the SHA-256 of its content.
    """

    address: str
    licence: str
    files: dict[str, str]


def checksums(listing: str) -> dict[str, str]:
    """Read what `sha256sum` prints, a checksum and a path a line, into `{path: checksum}`."""
    return {path: checksum for checksum, path in map(str.split, listing.strip().splitlines())}


CHATTERBOT = """
620a65787a56641db4a03e1419a7578e813967218cf6721e3ea4ef90844916aa  english/ai.yml
1a694c5288f3f8f87d027d2f98dae71d02efa88e28853a6e5d27e6dbce907294  english/botprofile.yml
0de8d7d7e6095164c59d7b0ef97c402c770c2d7982f485ab372dc6736c1a4e79  english/coding.yml
a222c5a432efe4289e6c5edf1c3d99fd26c48df99db0ff893d1d5ab569f5b750  english/computers.yml
1cf105b5802f377b2dc145f741f7df85629c9ca27e450538165286a75b5e3416  english/conversations.yml
510a018938c1880dd0f67e1ae458e26878c91a570daef5a84fb83713c89f0989  english/emotion.yml
68eab2497721d03044d520b70c27d8a0d8ba8e505b3265fb3a1ff3e1a64c7124  english/food.yml
d6f1b1613ed70821fc1c427bdd00395f58b77ff57d76fbe4ab8cb2038cf15c9b  english/gossip.yml
0dd7eb8dcee8e2a38cd1a137bcfbd7f3eb732cddfa1bd396fac5a24b063a4d55  english/greetings.yml
eb88edc5302d688ca096374c7e3f5b9d7cd821f053a17d80204c4acdc20ea4f5  english/health.yml
0ff4beeb6ef9b641dc12e1039a149c6a03eb8f2e183702fad2b0997fcc1d63e3  english/history.yml
d2aa03a63f0e8e054589f642788afbc41b8c76f5d734c50901a9a63b359ea06b  english/humor.yml
9361ff1478273d811259ca307a1e6be23a5e08e776a5bc5d9524fb13deb886f1  english/literature.yml
2911d9766625ff5c2feb3d784f2951b2ebd5e9658547efce7568d0282c49274b  english/money.yml
075ca9d91a527206c635c88bf0353323826a25a6f2057be1bc71888af389f842  english/movies.yml
c436d5efedea6f715a8a811423a8edf396097771eb11e43b1f0a43a6aee7c2f0  english/politics.yml
5047c211d35f715af4fbc3398f111135e99d34afcd0905a661c40bdeb1413a58  english/psychology.yml
3c259799bba36c67a1601fc264ec01ab051e9e63950734ce1ef644e022081fe7  english/science.yml
8d1bcc632cad4058e3b8490daa15dcd7c2a51790a7b9140b252600b794590403  english/sports.yml
8a87cdf32579c8efdd9c5f3ef166ae9fb76dcf271b958f5e2265b9246b430655  english/tech_support.yml
3a9de77e6d82803d1ea3eba48cf6543c884908f4c4f50501fed69f88112994dc  english/trivia.yml
"""

REGISTRY = {
    "chatterbot": PublicSet(
        address="https://raw.githubusercontent.com/gunthercox/chatterbot-corpus/"
        "master/chatterbot_corpus/data",
        licence="BSD-3-Clause",
        files=checksums(CHATTERBOT),
    ),
}


def fetch(name: str) -> Path:
    """Return the folder that holds a public set, downloading what is missing.

    The folder is `$ATTEND_DATA/<name>` if that variable is set: it is checked, nothing is
    downloaded. Otherwise it is `attend/<name>` in the user's cache, which is `$XDG_CACHE_HOME` or
    `~/.cache`. A file comes into the cache in one piece, and only with the right checksum: a
    download that breaks leaves good files alone behind, and the next call goes on from there.

    Args:
        name: a name in `REGISTRY`.

    Raises:
        ValueError: for an unknown name, or a file whose checksum differs.
        FileNotFoundError: if a file is missing from `$ATTEND_DATA/<name>`.
        ConnectionError: if a file cannot be downloaded.
    """
    if name not in REGISTRY:
        raise ValueError(f"there is no public set {name!r}, only {', '.join(sorted(REGISTRY))}")
    public = REGISTRY[name]
    if os.environ.get("ATTEND_DATA"):
        folder = Path(os.environ["ATTEND_DATA"]).expanduser() / name
        for file, checksum in public.files.items():
            check(folder / file, checksum, public)
        return folder
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "attend" / name
    for file, checksum in public.files.items():
        path = folder / file
        if not path.is_file() or sha256(path.read_bytes()) != checksum:
            put(path, download(f"{public.address}/{file}", checksum, f"{name}/{file}"))
    return folder


def sha256(content: bytes) -> str:
    """Return the SHA-256 of a content, as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def check(path: Path, checksum: str, public: PublicSet) -> None:
    """Raise a FileNotFoundError or ValueError unless the file is there and has the checksum."""
    remedy = f"get the files from {public.address}, or unset ATTEND_DATA to download them"
    if not path.is_file():
        raise FileNotFoundError(f"ATTEND_DATA is set, but there is no {path}: {remedy}")
    if sha256(path.read_bytes()) != checksum:
        raise ValueError(f"ATTEND_DATA is set, but {path} is not the file expected: {remedy}")


def download(url: str, checksum: str, place: str) -> bytes:
    """Download one file and return its content, if it has the checksum.

    Args:
        url: the address of the file.
        checksum: the SHA-256 of its content.
        place: where the file belongs in a folder of public data.

    Raises:
        ConnectionError: if there is no answer, or not the whole file.
        ValueError: if the checksum differs.
    """
    remedy = (
        f"Or get the files in another way, this one as {place} in a folder of yours, and set "
        "ATTEND_DATA to that folder"
    )
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            content: bytes = response.read()
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()  # it is an answer too, and holds the connection
        raise ConnectionError(
            f"could not download {url} ({error!r}): is there a network? Try again. {remedy}"
        ) from error
    if sha256(content) != checksum:
        raise ValueError(
            f"{url} did not give the file expected: its SHA-256 is {sha256(content)}, not "
            f"{checksum}. Nothing was kept. If it stays so, the file was changed. {remedy}"
        )
    return content


def put(path: Path, content: bytes) -> None:
    """Write a file in one piece: under another name first, which is gone if anything fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
