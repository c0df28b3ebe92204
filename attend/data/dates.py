"""The task *dates*: a date as people write it, to ISO 8601.

People write it in several languages: `"Tuesday, March 5, 2024"` becomes
`"2024-03-05"`. The months, the weekdays and the order come from the Unicode
CLDR tables shipped with Babel, so which characters of the source hold the year,
the month and the day is known: a gold alignment.
"""

import datetime
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from babel import Locale
from babel.dates import DateTimeFormat, get_date_format, tokenize_pattern
from jaxtyping import Bool
from torch import Tensor

LOCALES = ("en_US", "en_GB", "de", "fr", "es", "it", "sv", "zh")
Style = Literal["medium", "long", "full"]
STYLES: tuple[Style, ...] = ("medium", "long", "full")
FIRST_DAY = datetime.date(1970, 1, 1)
NUM_DAYS = 29_220  # up to 2049-12-31
# which field each character is of
ISO_FIELDS = ("y", "y", "y", "y", "", "M", "M", "", "d", "d")


class DatePair(NamedTuple):
    """A written date, its ISO form, and where each field stands in the source.

    `spans` maps `"y"`, `"M"` and `"d"` to `(start, stop)` in `source`.
    """

    source: str
    target: str
    spans: dict[str, tuple[int, int]]


def write_date(date: datetime.date, locale: str, style: Style) -> DatePair:
    """Write a date in a locale and CLDR style, and note where its fields stand.

    Args:
        date: the date.
        locale: a locale that Babel knows, such as `"en_US"` or `"zh"`.
        style: `"medium"`, `"long"` or `"full"`.
    """
    formatter = DateTimeFormat(date, Locale.parse(locale))
    text, spans = "", {}
    for kind, token in tokenize_pattern(get_date_format(style, locale).pattern):
        if kind == "field":
            # ("M", 4) is the month's full name
            letter, count = str(token[0]), int(token[1])
            written = formatter[letter * count]
            if letter in "yMd":
                spans[letter] = (len(text), len(text) + len(written))
        else:
            written = str(token)
        text += written
    return DatePair(text, date.isoformat(), spans)


def dates(
    num: int, split: Literal["train", "test"] = "train", seed: int = 0
) -> list[DatePair]:
    """Draw distinct pairs: a random day, locale and style each.

    Every tenth day belongs to the test split, in all its languages and styles,
    so a model never trains on a day that it is tested on.

    Args:
        num: how many pairs.
        split: `"train"` or `"test"`.
        seed: the same seed gives the same pairs on every machine with the same
            CLDR tables.

    Raises:
        ValueError: for an unknown split, or more pairs than half of those that
            exist.
    """
    if split not in ("train", "test"):
        raise ValueError(f'split must be "train" or "test", got {split!r}')
    limit = (
        NUM_DAYS
        // 10
        * (9 if split == "train" else 1)
        * len(LOCALES)
        * len(STYLES)
        // 2
    )
    if num > limit:
        raise ValueError(
            f"at most {limit} distinct {split} dates can be drawn, got "
            f"num={num}"
        )
    generator = torch.Generator().manual_seed(seed)
    pairs: dict[str, DatePair] = {}
    while len(pairs) < num:
        day, locale, style = (
            int(torch.randint(n, (), generator=generator))
            for n in (NUM_DAYS, len(LOCALES), len(STYLES))
        )
        if (day % 10 == 0) == (split == "test"):
            date = FIRST_DAY + datetime.timedelta(days=day)
            pair = write_date(date, LOCALES[locale], STYLES[style])
            pairs.setdefault(pair.source, pair)
    return list(pairs.values())


def date_alignment(
    pairs: Sequence[DatePair], src_length: int
) -> Bool[Tensor, "batch 10 src"]:
    """Mark which source characters each output character comes from.

    They are those of its field. The hyphens come from nowhere: their rows are
    False.

    Args:
        pairs: the pairs, in batch order.
        src_length: the padded source length.

    Returns:
        `(batch, 10, src_length)`, True where an output and an input belong
        together.
    """
    gold = torch.zeros(
        len(pairs), len(ISO_FIELDS), src_length, dtype=torch.bool
    )
    for row, pair in zip(gold, pairs, strict=True):
        for i, field in enumerate(ISO_FIELDS):
            if field:
                start, stop = pair.spans[field]
                row[i, start:stop] = True
    return gold
