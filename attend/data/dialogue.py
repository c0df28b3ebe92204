"""The task *dialogue*: a remark, and what a person answers.

`small_talk.tsv` beside this file was written for this book and has the book's
licence, CC BY 4.0. The one who answers is always Robin, who works in a bookshop
by the sea.
"""

import re
import unicodedata
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import yaml

from attend.data.public import REGISTRY, fetch
from attend.data.splits import SPLITS, Split

SMALL_TALK = Path(__file__).with_name("small_talk.tsv")
CHINESE = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
LETTER = rf"[^\W_{CHINESE}]"
TOKEN = re.compile(rf"[{CHINESE}]|{LETTER}+(?:'{LETTER}+)*|\S")
PEOPLE = {"anna", "nora", "pepper", "robin", "sam", "tom"}
DAYS = {
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
}
NAMES = PEOPLE | DAYS | {"english", "french"}


class Exchange(NamedTuple):
    """What one person says, and what the other answers."""

    prompt: str
    reply: str


def tokenize(text: str) -> list[str]:
    """Cut a text into words, in lower case, and punctuation marks.

    A word keeps the apostrophes inside it (`don't`). Every other mark is a
    token of its own, and so is every Chinese character.
    """
    text = unicodedata.normalize("NFC", text.lower()).replace("\u2019", "'")
    return TOKEN.findall(text)


def detokenize(tokens: Iterable[str]) -> str:
    """Write tokens as a person would: capitals, no space before punctuation.

    A capital is written where a sentence starts, for `i`, and for the names in
    `NAMES`.
    """
    text, glued, starts, quoted = "", True, True, False
    for token in tokens:
        if token == '"':
            closes, opens, quoted = quoted, not quoted, not quoted
        else:
            closes, opens = token in ".,;:!?)]}%-'…", token in "([{$#-"
        wide = unicodedata.east_asian_width(token[0]) in "WF"
        gap = not (glued or closes or wide)
        capital = starts or token in NAMES or re.fullmatch("i('.*)?", token)
        text += " " * gap + (token[0].upper() + token[1:] if capital else token)
        glued = opens or wide
        starts = token in ".!?" or (starts and not any(map(str.isalnum, token)))
    return text


def dialogue(split: Split, source: str = "small-talk") -> list[Exchange]:
    """Return the exchanges of one split, in the order of the source.

    A prompt belongs to one split by what it says: the CRC-32 of its words
    modulo 10 is 0 for the test split, 1 for validation. Case and punctuation
    make no difference, and all the replies to a prompt are in one split, so no
    model is ever tested on a prompt that it was trained on.

    Args:
        split: `"train"`, `"valid"` or `"test"`.
        source: `"small-talk"`, `"chatterbot"` (a public set, downloaded: see
            `fetch`), or the path of a file with one exchange a line: prompt,
            tab, reply.

    Raises:
        FileNotFoundError: if `source` is neither a known name nor a file.
        ValueError: for an unknown split, a file that is empty or not in this
            form, or a split without an exchange.
        ConnectionError: if the public set cannot be downloaded.
    """
    if split not in SPLITS:
        raise ValueError(
            f'split must be "train", "valid" or "test", got {split!r}'
        )
    if source == "chatterbot":
        exchanges = read_chatterbot(fetch("chatterbot"))
    else:
        exchanges = read_exchanges(
            SMALL_TALK if source == "small-talk" else Path(source)
        )
    chosen = [
        exchange for exchange in exchanges if split_of(exchange.prompt) == split
    ]
    if not chosen:
        raise ValueError(
            f"none of the {len(exchanges)} exchanges of {source} is in the "
            f"{split} split, where a tenth of all prompts go by chance: add "
            "exchanges"
        )
    return chosen


def split_of(prompt: str) -> Split:
    """Say which split a prompt belongs to, by its words alone.

    Case and punctuation make no difference.
    """
    words = [token for token in tokenize(prompt) if token[0].isalnum()]
    remainder = zlib.crc32(" ".join(words).encode()) % 10
    return "test" if remainder == 0 else "valid" if remainder == 1 else "train"


def read_exchanges(path: Path) -> list[Exchange]:
    """Read a file with one exchange a line, `prompt<TAB>reply`, in UTF-8.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not UTF-8 or empty, or a line is not two texts and
            one tab.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f'there is no dialogue {str(path)!r}: give "small-talk", '
            '"chatterbot" or the path of a file'
        )
    try:
        # programs on Windows put a mark in front
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not in UTF-8 ({error}): save it in UTF-8"
        ) from error
    if not text.strip():
        raise ValueError(
            f"{path} is empty: write one exchange a line: prompt, tab, reply"
        )
    exchanges = []
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        columns = line.split("\t")
        if len(columns) != 2 or not all(tokenize(column) for column in columns):
            raise ValueError(
                f"line {number} of {path} is {line!r}: it must be a prompt, "
                "one tab and a reply"
            )
        exchanges.append(Exchange(*columns))
    return exchanges


def read_chatterbot(folder: Path) -> list[Exchange]:
    """Read the English ChatterBot corpus.

    Every turn of a conversation answers the one before. An exchange found many
    times is kept once (one file says ten exchanges over and over), and those
    with several lines, which hold listings of programs, are left out.
    """
    exchanges: dict[Exchange, None] = {}  # a set in order
    for file in REGISTRY["chatterbot"].files:
        # The base loader leaves `yes` and `42` the texts that they are.
        corpus = yaml.load(
            (folder / file).read_text(encoding="utf-8"), yaml.BaseLoader
        )
        for turns in corpus["conversations"]:
            # one is, by a slip of its authors, a single text
            if isinstance(turns, list):
                exchanges |= dict.fromkeys(map(Exchange, turns, turns[1:]))
    return [exchange for exchange in exchanges if "\n" not in "".join(exchange)]
