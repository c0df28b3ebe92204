"""Public data: a local server stands for the web."""

import gc
import hashlib
import http.server
import io
import logging
import os
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pooch
import pytest

from attend.data import public
from attend.data.dialogue import Exchange, dialogue, read_chatterbot
from attend.data.public import REGISTRY, RETRIES, PublicSet, fetch, listed

# In the form of the corpus, its slips included: a plain text among the
# conversations, an exchange said twice, a listing, words that YAML would read
# as numbers and truth values.
FILES = {
    "english/small.yml": """\
categories:
- small
conversations:
- - Hello
  - Hi
  - How are you?
- - Hello
  - Hi
- A slip
""",
    "english/more.yml": """\
categories: [more]
conversations:
- - Is it?
  - yes
- - How many?
  - 42
- - Write a program
  - |
    print(1)
    print(2)
""",
}
# Answers that tell of an error are left to the garbage collector by pooch.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket")
TRUE_DATA = os.environ.get("ATTEND_DATA")


class Web(http.server.ThreadingHTTPServer):
    """A server of `contents`.

    A path in `cut` breaks off in the middle, one in `slow` never answers, one
    in `wrong` gives something else. One in `once` does so the first time only.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.contents = {
            f"/{name}": text.encode() for name, text in FILES.items()
        }
        self.cut: set[str] = set()
        self.slow: set[str] = set()
        self.wrong: set[str] = set()
        self.once: set[str] = set()
        self.closing = threading.Event()
        self.asked: list[str] = []
        self.slept: list[float] = []


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers from the server's contents."""

    server: Web

    def do_GET(self) -> None:
        server, path = self.server, self.path
        server.asked.append(path)
        good = path in server.once and server.asked.count(path) > 1
        if path in server.slow and not good:
            server.closing.wait(20)
            return
        content = server.contents.get(path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if path in server.wrong and not good:
            content = content[::-1]
        if path in server.cut and not good:
            content = content[: len(content) // 2]
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Web]:
    """Serve a small corpus from here, and keep the cache in an empty folder."""
    server = Web()
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}
    )
    thread.start()
    files = {
        name: hashlib.sha256(text.encode()).hexdigest()
        for name, text in FILES.items()
    }
    small = PublicSet(f"http://127.0.0.1:{server.server_port}", "none", files)
    monkeypatch.setitem(REGISTRY, "chatterbot", small)
    monkeypatch.delenv("ATTEND_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    # between two tries
    patient = SimpleNamespace(sleep=server.slept.append)
    monkeypatch.setattr(pooch.core, "time", patient)
    yield server
    server.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()
    if server.slept:  # something failed
        gc.collect()  # here, and not in another test


def stored(folder: Path) -> dict[str, str]:
    """Return the text of every file below a folder."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_text() for path in paths}


# --- Downloads ---


def test_a_set_is_downloaded_once(web: Web, tmp_path: Path) -> None:
    folder = fetch("chatterbot")
    assert folder == tmp_path / "cache" / "attend" / "chatterbot"
    assert stored(folder) == FILES
    assert fetch("chatterbot") == folder
    assert web.asked == [f"/{name}" for name in FILES]


def test_the_cache_is_at_home_by_default(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert fetch("chatterbot") == tmp_path / ".cache" / "attend" / "chatterbot"


def test_a_damaged_or_missing_file_in_the_cache_is_downloaded_again(
    web: Web,
) -> None:
    folder = fetch("chatterbot")
    (folder / "english" / "small.yml").write_text("damaged")
    fetch("chatterbot")
    (folder / "english" / "more.yml").unlink()
    fetch("chatterbot")
    assert stored(folder) == FILES
    assert web.asked[2:] == ["/english/small.yml", "/english/more.yml"]


def test_a_wrong_checksum_is_refused(web: Web, tmp_path: Path) -> None:
    web.contents["/english/more.yml"] += b"changed"
    with pytest.raises(
        ValueError, match="did not give the file expected"
    ) as error:
        fetch("chatterbot")
    assert hashlib.sha256(web.contents["/english/more.yml"]).hexdigest() in str(
        error.value
    )
    assert "this one as chatterbot/english/more.yml in a folder" in str(
        error.value
    )
    assert stored(tmp_path / "cache" / "attend") == {
        "chatterbot/english/small.yml": FILES["english/small.yml"]
    }


@pytest.mark.parametrize(
    ("trouble", "named"),
    [
        ("cut", "IncompleteRead"),
        ("missing", "HTTPError 404"),
        ("slow", "TimeoutError"),
        ("no server", "refused"),
    ],
)
def test_a_download_that_fails_leaves_nothing_half_done(
    web: Web,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
    named: str,
) -> None:
    monkeypatch.setattr(public, "TIMEOUT", 0.2)
    files = REGISTRY["chatterbot"].files
    if trouble == "no server":
        # the port that discards
        gone = PublicSet("http://127.0.0.1:9", "none", files)
        monkeypatch.setitem(REGISTRY, "chatterbot", gone)
    elif trouble == "missing":
        web.contents.clear()
    else:
        getattr(web, trouble).add("/english/small.yml")
    with pytest.raises(ConnectionError) as error:
        fetch("chatterbot")
    assert re.search(
        r"could not download http\S+/english/small\.yml .*Try again",
        str(error.value),
    )
    assert re.search(named.replace(" ", ".*"), str(error.value))
    assert stored(tmp_path) == {}


def test_a_download_that_broke_goes_on(web: Web) -> None:
    web.cut.add("/english/more.yml")
    with pytest.raises(ConnectionError):
        fetch("chatterbot")
    web.cut.clear()
    assert stored(fetch("chatterbot")) == FILES
    assert web.asked.count("/english/small.yml") == 1


def test_a_full_disk_leaves_nothing(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    class Full(io.FileIO):
        write = full

    for module, name, value in (
        (pooch.core, "shutil", SimpleNamespace(move=full)),  # on renaming
        (pooch.downloaders, "open", Full),  # on writing
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value, raising=False)
            with pytest.raises(OSError, match="No space left") as error:
                fetch("chatterbot")
            folder = tmp_path / "cache" / "attend" / "chatterbot"
            assert str(error.value).startswith(f"{folder} cannot be written (")
            assert "make room, or name another cache" in str(error.value)
        assert stored(tmp_path) == {}


def test_a_download_that_is_stopped_leaves_nothing(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Any, url: str, path: str, *_: object) -> None:
        Path(path).write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", stop)
    with pytest.raises(KeyboardInterrupt):
        fetch("chatterbot")
    assert stored(tmp_path) == {}


# --- Tries, and what is shown of them ---


@pytest.mark.parametrize("trouble", ["cut", "wrong", "slow"])
def test_a_download_that_fails_once_is_tried_again(
    web: Web, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    monkeypatch.setattr(public, "TIMEOUT", 0.2)
    getattr(web, trouble).add("/english/small.yml")
    web.once.add("/english/small.yml")
    assert stored(fetch("chatterbot")) == FILES
    assert web.asked == [
        "/english/small.yml",
        "/english/small.yml",
        "/english/more.yml",
    ]
    assert len(web.slept) == 1


@pytest.mark.parametrize("trouble", ["cut", "wrong", "missing"])
def test_a_download_that_fails_each_time_is_given_up(
    web: Web, trouble: str
) -> None:
    if trouble == "missing":
        web.contents.clear()
    else:
        getattr(web, trouble).add("/english/small.yml")
    assert RETRIES == 2
    with pytest.raises((ConnectionError, ValueError)):
        fetch("chatterbot")
    assert Counter(web.asked) == {"/english/small.yml": 3}
    assert len(web.slept) == 2 and max(web.slept) <= 10


@pytest.mark.parametrize("works", [True, False])
def test_nothing_is_printed_where_there_is_no_terminal(
    web: Web,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    works: bool,
) -> None:
    """Nor does pooch log a line for each file and each try."""
    log, lines = pooch.get_logger(), io.StringIO()
    monkeypatch.setattr(log, "handlers", [logging.StreamHandler(lines)])
    log.setLevel("INFO")  # as pooch does
    web.cut.add("/english/small.yml")
    if works:
        web.once.add("/english/small.yml")
        fetch("chatterbot")
    else:
        with pytest.raises(ConnectionError):
            fetch("chatterbot")
    assert capfd.readouterr() == ("", "") and not lines.getvalue()


class Terminal(io.StringIO):
    """A terminal that keeps what is written."""

    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal(
    web: Web,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", screen)
        fetch("chatterbot")
    assert "100%" in screen.getvalue()
    assert capsys.readouterr() == ("", "")
    screen = Terminal()
    with monkeypatch.context() as patch:  # and nothing of what is there
        patch.setattr(sys, "stderr", screen)
        fetch("chatterbot")
    assert screen.getvalue() == ""


# --- What is promised of every set ---


@pytest.mark.parametrize("name", REGISTRY)
def test_a_set_is_pinned(name: str) -> None:
    """Its address names a commit, and every file has a checksum."""
    pinned = REGISTRY[name]
    assert pinned.address.startswith("https://")
    assert re.search(r"/[0-9a-f]{40}/", pinned.address)
    assert pinned.licence
    assert pinned.files == listed(name)
    for file, checksum in pinned.files.items():
        assert re.fullmatch("[0-9a-f]{64}", checksum)
        assert re.fullmatch(r"[\w.-]+(/[\w.-]+)*", file) and ".." not in file
    assert len(set(pinned.files.values())) == len(pinned.files)


def test_the_corpus_has_all_its_files() -> None:
    files = REGISTRY["chatterbot"].files
    assert len(files) == 21
    assert files["english/food.yml"] == (
        "68eab2497721d03044d520b70c27d8a0d8ba8e505b3265fb3a1ff3e1a64c7124"
    )


def test_unknown_set() -> None:
    with pytest.raises(
        ValueError, match="there is no public set 'chatter', only chatterbot"
    ):
        fetch("chatter")


# --- A folder of one's own ---


def test_a_local_folder_is_checked_and_used(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTEND_DATA", str(tmp_path / "own"))
    folder = tmp_path / "own" / "chatterbot"
    with pytest.raises(
        FileNotFoundError,
        match=r"there is no \S+small\.yml: get the files from",
    ):
        fetch("chatterbot")
    (folder / "english").mkdir(parents=True)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    assert fetch("chatterbot") == folder
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ATTEND_DATA", "~/own")
    assert fetch("chatterbot") == folder
    (folder / "english" / "more.yml").write_text("damaged")
    with pytest.raises(
        ValueError,
        match=r"\S+more\.yml is not the file expected: get the files",
    ):
        fetch("chatterbot")
    assert web.asked == []


# --- The ChatterBot corpus ---


def test_chatterbot_as_a_dialogue(web: Web) -> None:
    assert read_chatterbot(fetch("chatterbot")) == [
        Exchange("Hello", "Hi"),
        Exchange("Hi", "How are you?"),
        Exchange("Is it?", "yes"),
        Exchange("How many?", "42"),
    ]
    assert dialogue("train", "chatterbot") == [Exchange("Hi", "How are you?")]


@pytest.mark.parametrize("true", [False] + [True] * bool(TRUE_DATA))
def test_chatterbot_has_distinct_exchanges_of_one_line(
    request: pytest.FixtureRequest, true: bool
) -> None:
    if not true:  # the true files are there where ATTEND_DATA says so
        request.getfixturevalue("web")
    exchanges = read_chatterbot(fetch("chatterbot"))
    assert len(set(exchanges)) == len(exchanges) == (1078 if true else 4)
    assert not any("\n" in text for exchange in exchanges for text in exchange)
    splits = ["train", "test"] + ["valid"] * true
    assert sum(len(dialogue(split, "chatterbot")) for split in splits) == len(
        exchanges
    )
