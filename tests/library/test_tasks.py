"""The tasks *reverse* and *dates*: right answers and right alignments.

The data are the same for ever.
"""

import datetime
import hashlib
from collections.abc import Iterable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attend.data.dates import (
    FIRST_DAY,
    LOCALES,
    NUM_DAYS,
    STYLES,
    DatePair,
    Style,
    date_alignment,
    dates,
    write_date,
)
from attend.data.reverse import LETTERS, reverse, reverse_alignment


def checksum(pairs: Iterable[tuple[str, ...]]) -> str:
    lines = "\n".join(f"{pair[0]}\t{pair[1]}" for pair in pairs)
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


# --- Reverse ---


@given(st.integers(1, 7), st.integers(0, 6), st.integers(0, 97))
def test_reverse_and_its_alignment(
    min_length: int, more: int, seed: int
) -> None:
    pairs = reverse(5, min_length, min_length + more, seed=seed)
    assert len(pairs) == 5
    lengths = torch.tensor([len(source) for source, _ in pairs])
    gold = reverse_alignment(lengths, 14, 13)
    assert gold.shape == (5, 14, 13)
    for (source, target), row in zip(pairs, gold, strict=True):
        assert min_length <= len(source) <= min_length + more
        assert set(source) <= set(LETTERS)
        assert target == "".join(reversed(source))
        aligned = [(i, source[j], target[i]) for i, j in row.nonzero().tolist()]
        # one each, none beyond
        assert [i for i, _, _ in aligned] == list(range(len(target)))
        assert all(letter == copy for _, letter, copy in aligned)


def test_reverse_uses_every_letter_and_length() -> None:
    pairs = reverse(500, 4, 12)
    assert {len(source) for source, _ in pairs} == set(range(4, 13))
    assert {letter for source, _ in pairs for letter in source} == set(LETTERS)
    assert len(set(LETTERS)) == 20


def test_reverse_is_the_same_for_ever() -> None:
    """Stored outputs depend on these strings."""
    assert checksum(reverse(500, 4, 12)) == "6455fa9b4609460a"
    assert reverse(500, 4, 12, seed=1) != reverse(500, 4, 12)


def test_no_string_is_trained_and_tested_on() -> None:
    train, test = (
        {source for source, _ in reverse(2_000, 1, 3, split)}
        for split in ("train", "test")
    )
    assert train and test and not train & test


@pytest.mark.usefixtures("unchecked")
def test_reverse_knows_two_splits() -> None:
    with pytest.raises(
        ValueError, match='split must be "train" or "test", got \'dev\''
    ):
        reverse(5, 4, 12, "dev")


@pytest.mark.parametrize(("low", "high"), [(0, 5), (5, 3)])
def test_reverse_needs_a_range_of_lengths(low: int, high: int) -> None:
    with pytest.raises(
        ValueError, match=f"1 <= min_length <= max_length, got {low} and {high}"
    ):
        reverse(5, low, high)


# --- Dates ---

# How the name of each month begins, short or long, written down without looking
# at CLDR.
MONTHS = {
    "en": "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
    "de": "Jan Feb Mär Apr Mai Jun Jul Aug Sep Okt Nov Dez",
    "fr": "jan fév mar avr mai juin juil aoû sep oct nov déc",
    "es": "ene feb mar abr may jun jul ago sep oct nov dic",
    "it": "gen feb mar apr mag giu lug ago set ott nov dic",
    "sv": "jan feb mar apr maj jun jul aug sep okt nov dec",
}
WEEKDAYS = {
    "en": "Mon Tue Wed Thu Fri Sat Sun",
    "de": "Mon Die Mit Don Fre Sam Son",
    "fr": "lun mar mer jeu ven sam dim",
    "es": "lun mar mié jue vie sáb dom",
    "it": "lun mar mer gio ven sab dom",
    "sv": "mån tis ons tor fre lör sön",
}


def read_month(text: str, locale: str) -> int:
    if text.isdigit():
        return int(text)
    names = MONTHS[locale[:2]].split()
    [month] = [i for i, name in enumerate(names, 1) if text.startswith(name)]
    return month


def check_pair(pair: DatePair, date: datetime.date, locale: str) -> None:
    """Read the date back from the source's spans and from the target."""
    field = {
        name: pair.source[start:stop]
        for name, (start, stop) in pair.spans.items()
    }
    assert field.keys() == {"y", "M", "d"}
    assert datetime.date.fromisoformat(pair.target) == date
    month = read_month(field["M"], locale)
    assert datetime.date(int(field["y"]), month, int(field["d"])) == date


days = st.integers(0, NUM_DAYS - 1).map(
    lambda day: FIRST_DAY + datetime.timedelta(days=day)
)


@given(days, st.sampled_from(LOCALES), st.sampled_from(STYLES))
def test_a_written_date_can_be_read_back(
    date: datetime.date, locale: str, style: Style
) -> None:
    pair = write_date(date, locale, style)
    check_pair(pair, date, locale)
    if style == "full" and locale != "zh":
        weekday = WEEKDAYS[locale[:2]].split()[date.weekday()]
        assert pair.source.startswith(weekday)


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("style", STYLES)
def test_every_month_in_every_form(locale: str, style: Style) -> None:
    for month in range(1, 13):
        date = datetime.date(2024, month, 23)
        check_pair(write_date(date, locale, style), date, locale)


def test_days_reach_from_1970_to_2049() -> None:
    assert datetime.date(1970, 1, 1) == FIRST_DAY
    assert datetime.date(2049, 12, 31) == FIRST_DAY + datetime.timedelta(
        days=NUM_DAYS - 1
    )


@pytest.mark.parametrize("split", ["train", "test"])
def test_dates_are_distinct_and_alike_only_in_their_day(split: str) -> None:
    pairs = dates(2_000, split)
    assert len({pair.source for pair in pairs}) == 2_000
    years = [int(pair.target[:4]) for pair in pairs]
    assert (min(years), max(years)) == (1970, 2049)


def test_no_day_is_in_both_splits() -> None:
    train, test = (
        {
            datetime.date.fromisoformat(pair.target)
            for pair in dates(3_000, split)
        }
        for split in ("train", "test")
    )
    assert all((day - FIRST_DAY).days % 10 == 0 for day in test)
    assert all((day - FIRST_DAY).days % 10 != 0 for day in train)
    assert len(train) > 2_000
    assert len(test) > 1_000


def test_dates_are_the_same_for_ever() -> None:
    """Stored outputs depend on these dates, and these on the pinned Babel."""
    assert checksum(dates(500)) == "2774c1aed5eabd35"
    assert checksum(dates(500, "test")) == "f5e7d8cab6c38729"
    assert dates(500, seed=1) != dates(500)


def test_date_alignment_spells_each_field() -> None:
    pairs = dates(300)
    width = max(len(pair.source) for pair in pairs) + 3
    gold = date_alignment(pairs, width)
    assert gold.shape == (300, 10, width)
    for pair, rows in zip(pairs, gold, strict=True):
        spelled = [
            "".join(pair.source[j] for j in row.nonzero().flatten().tolist())
            for row in rows
        ]
        year, month, day = (
            pair.source[slice(*pair.spans[name])] for name in "yMd"
        )
        assert spelled == [year] * 4 + [""] + [month] * 2 + [""] + [day] * 2


@pytest.mark.usefixtures("unchecked")
def test_dates_of_an_unknown_split() -> None:
    with pytest.raises(
        ValueError, match='split must be "train" or "test", got \'valid\''
    ):
        dates(5, "valid")


@pytest.mark.parametrize(
    ("split", "limit"), [("train", 315_576), ("test", 35_064)]
)
def test_more_dates_than_there_are(split: str, limit: int) -> None:
    message = (
        f"at most {limit} distinct {split} dates can be drawn, "
        f"got num={limit + 1}"
    )
    with pytest.raises(ValueError, match=message):
        dates(limit + 1, split)
