"""Distinct-n: different n-grams over all n-grams, of all replies together."""

import math

from otter.test_files import test_case
from torch import Tensor

from attend.grading import expect_close, show
from attend.grading.expect import UnusableAnswerError

OK_FORMAT = False
name = "q4"
points = None


def run(distinct, *replies: str, n: int) -> float:
    """Return the measure as a number; spaces separate the words of a reply."""
    got = distinct([reply.split() for reply in replies], n)
    if not isinstance(got, int | float) and not (
        isinstance(got, Tensor) and got.numel() == 1
    ):
        raise UnusableAnswerError(
            f"the measure: expected one number, got a {type(got).__name__}"
        )
    return float(got)


def expect_not(got: float, wrong: list[float], line: str) -> None:
    """Assert that a result is none of the numbers that a mistake leads to."""
    hit = any(math.isclose(got, number, rel_tol=1e-3) for number in wrong)
    assert not hit, f"{line}, got {show(got)}"


@test_case(
    points=1,
    failure_message=(
        "You count single words where it should be n-grams. For n = 2 what "
        "must differ is a pair of neighbours, above and below the line."
    ),
)
def test_counts_ngrams(distinct):
    got = run(distinct, "a b a c a b", n=2)
    line = (
        "'a b a c a b', n 2: 4 different pairs (ab, ba, ac, ca) of 5, "
        "expected 0.8"
    )
    expect_not(got, [3 / 6, 3 / 5], line)


@test_case(
    points=1,
    failure_message=(
        "For n = 1, 2 and 3 your answer is the same. Do you use n, or do you "
        "always take pairs?"
    ),
)
def test_uses_n(distinct):
    first, *others = (run(distinct, "a b a c a b", n=n) for n in (1, 2, 3))
    assert [first, first] != others, (
        f"'a b a c a b': expected 0.5, 0.8 and 1, got {show(first)}"
    )


@test_case(
    points=1,
    failure_message=(
        "The end of a reply is wrong by one. A reply of k words has k − n + "
        "1 n-grams: not k − n, and no shorter ones at its end."
    ),
)
def test_the_last_ngram(distinct):
    got = run(distinct, "a b c a b c", n=2)
    line = (
        "'a b c a b c', n 2: 3 different pairs of 5 (ab, bc, ca, ab, bc), "
        "expected 0.6"
    )
    expect_not(got, [3 / 4, 4 / 6], line)


@test_case(
    points=1,
    failure_message=(
        "Two different n-grams count as one. Did you glue the words "
        "together, or forget their order? A tuple keeps words apart and in "
        "order."
    ),
)
def test_ngrams_are_sequences_of_words(distinct):
    got = run(distinct, "a b a", n=2)
    expect_not(
        got, [1 / 2, 1 / 3], "'a b a', n 2: ab and ba are two pairs, expected 1"
    )
    got = run(distinct, "a bc", "ab c", "d e", n=2)
    expect_not(
        got,
        [2 / 3, 1 / 3],
        "'a bc', 'ab c' and 'd e', n 2: three pairs, expected 1",
    )


@test_case(
    points=1,
    failure_message=(
        "N-grams overlap: every word starts one, as long as n words are "
        "left. Do you step on by n?"
    ),
)
def test_ngrams_overlap(distinct):
    got = run(distinct, "a b c a b c", n=2)
    line = (
        "'a b c a b c', n 2: 3 different pairs of 5 (ab, bc, ca, ab, bc), "
        "expected 0.6"
    )
    expect_not(got, [1.0], line)


@test_case(
    points=1,
    failure_message=(
        "A bot that says the same to everybody gets the best mark. Did you "
        "measure each reply by itself, and take the mean? Count the n-grams "
        "of all replies together."
    ),
)
def test_all_replies_together(distinct):
    got = run(distinct, "a b", "a b", n=2)
    expect_not(
        got, [1.0], "twice 'a b', n 2: 1 different pair of 2, expected 0.5"
    )


@test_case(
    points=1,
    failure_message=(
        "Your n-grams run from one reply into the next. Did you join the "
        "replies first? Take the n-grams of each reply by itself."
    ),
)
def test_ngrams_stay_in_their_reply(distinct):
    got = run(distinct, "a b", "a b", n=2)
    expect_not(
        got, [2 / 3], "twice 'a b', n 2: 1 different pair of 2, expected 0.5"
    )


@test_case(
    points=1,
    failure_message=(
        "You divide by the wrong number. Is it the number of words, or of "
        "replies, or of different words? It is the number of all n-grams, so "
        "that 1 means: nothing comes twice."
    ),
)
def test_share_of_all_ngrams(distinct):
    got = run(distinct, "a b c a b c", n=2)
    expect_close(got, 0.6, name="'a b c a b c', n 2: 3 different pairs of 5")
    got = run(distinct, "i do not know", "i do not think so", n=2)
    expect_close(
        got, 5 / 7, name="'i do not know' and 'i do not think so', n 2: 5 of 7"
    )


@test_case(
    points=1,
    failure_message=(
        "A reply shorter than n changes the result. It has no n-gram at all: "
        "neither a short one, nor −1 of them, as k − n + 1 would say."
    ),
)
def test_short_replies(distinct):
    got = run(distinct, "yes", "a b c a", "a b c", n=3)
    expect_close(
        got,
        2 / 3,
        name="'yes', 'a b c a', 'a b c', n 3: 2 different n-grams of 3",
    )


@test_case(
    points=1,
    failure_message=(
        "Where there is no n-gram at all, there is nothing to measure: raise "
        "a `ValueError` that says so. 0 / 0 is no answer, and neither is 0, "
        "which would mean that all was repeated."
    ),
)
def test_nothing_to_measure(distinct):
    for replies, line in (
        (["yes", "no"], "'yes' and 'no', n 2"),
        ([], "no reply, n 2"),
    ):
        try:
            got = distinct([reply.split() for reply in replies], 2)
        except ValueError:
            continue
        except ZeroDivisionError as error:
            raise AssertionError(
                f"{line}: expected a ValueError, got {error!r}"
            ) from error
        raise AssertionError(f"{line}: expected a ValueError, got {got}")
