"""Perplexity of a corpus: one mean of all real tokens, then one exponential."""

import math

import torch
from otter.test_files import test_case
from torch import Tensor

from attend.grading import expect_close, show
from attend.grading.expect import UnusableAnswerError

OK_FORMAT = False
name = "q3"
points = None


def batch(*replies: list[float], padding: float = 0.0) -> tuple[Tensor, Tensor]:
    """Replies, given as token probabilities, as padded log-probabilities."""
    longest = max(len(reply) for reply in replies)
    log_probs = torch.full((len(replies), longest), padding)
    real = torch.zeros(len(replies), longest, dtype=torch.bool)
    for row, reply in enumerate(replies):
        log_probs[row, : len(reply)] = torch.tensor(reply).log()
        real[row, : len(reply)] = True
    return log_probs, real


def run(perplexity, *batches: tuple[Tensor, Tensor]) -> float:
    """Return the perplexity as a number."""
    got = perplexity(list(batches))
    if not isinstance(got, int | float) and not (
        isinstance(got, Tensor) and got.numel() == 1
    ):
        kind = (
            f"shape {tuple(got.shape)}"
            if isinstance(got, Tensor)
            else type(got).__name__
        )
        raise UnusableAnswerError(
            f"the perplexity: expected one number, got {kind}"
        )
    return float(got)


def line(got: float) -> str:
    """What is expected of two tokens of probability ¼, and what came."""
    return f"two tokens, each of probability ¼: expected 4, got {show(got)}"


@test_case(
    points=1,
    failure_message=(
        "A perplexity is never below 1: a model that is sure has 1. "
        "Log-probabilities are negative; is the minus missing?"
    ),
)
def test_not_below_one(perplexity):
    got = run(perplexity, batch([0.25, 0.25]))
    assert not got < 1, line(got)


@test_case(
    points=1,
    failure_message=(
        "That is the mean loss, in nats. The perplexity is its exponential: "
        "the number of equally likely tokens that the model is as unsure "
        "between."
    ),
)
def test_exponential_of_the_loss(perplexity):
    got = run(perplexity, batch([0.25, 0.25]))
    assert not math.isclose(got, math.log(4), rel_tol=1e-3), line(got)


@test_case(
    points=1,
    failure_message=(
        "The base is wrong. The log-probabilities are natural, so the "
        "exponential has base e. Did you write `2 ** …`? That goes with "
        "logarithms to base 2."
    ),
)
def test_base(perplexity):
    got = run(perplexity, batch([0.25, 0.25]))
    assert not math.isclose(got, 2 ** math.log(4), rel_tol=1e-3), line(got)


@test_case(
    points=1,
    failure_message=(
        "Longer texts get a larger perplexity, however well they are "
        "predicted. Did you divide by the number of tokens before the "
        "exponential?"
    ),
)
def test_does_not_grow_with_length(perplexity):
    got = run(perplexity, batch([0.25, 0.25]))
    assert not math.isclose(got, 16, rel_tol=1e-3), line(got)
    got = run(perplexity, batch([0.25] * 6))
    expect_close(got, 4.0, name="six tokens, each of probability ¼")


@test_case(
    points=1,
    failure_message=(
        "Padding changes the perplexity. Where `real` is False there is no "
        "token: it belongs neither in the sum nor in the count."
    ),
)
def test_padding_does_not_count(perplexity):
    for padding in (0.0, -5.0):
        got = run(perplexity, batch([0.25] * 3, [0.25], padding=padding))
        name = (
            "four tokens of probability ¼, two of padding with "
            f"log-probability {padding:g}"
        )
        expect_close(got, 4.0, name=name)


@test_case(
    points=1,
    failure_message=(
        "Padding with the log-probability −∞ makes the result NaN. Did you "
        "multiply by the mask? 0 · −∞ is NaN. Pick the real tokens instead: "
        "`log_probs[real]`."
    ),
)
def test_padding_may_be_anything(perplexity):
    got = run(perplexity, batch([0.25] * 3, [0.25], padding=-math.inf))
    expect_close(
        got, 4.0, name="four tokens of probability ¼, two of padding with −∞"
    )


@test_case(
    points=1,
    failure_message=(
        "Did you take the mean of the probabilities, or of one over them? "
        "The mean is taken of the log-probabilities, and the exponential "
        "comes last."
    ),
)
def test_mean_of_the_logarithms(perplexity):
    got = run(perplexity, batch([0.5, 0.125]))
    expect_close(got, 4.0, name="two tokens, of probability ½ and ⅛")


@test_case(
    points=1,
    failure_message=(
        "A short reply counts as much as a long one. Did you take a mean, or "
        "even a perplexity, for each reply, and then the mean of those? "
        "Every token counts the same."
    ),
)
def test_every_token_counts_the_same(perplexity):
    got = run(perplexity, batch([0.5, 0.5], [0.125]))
    expect_close(
        got,
        2 ** (5 / 3),
        name="one batch, replies with ½, ½ and with ⅛: 2 to the 5/3",
    )


@test_case(
    points=1,
    failure_message=(
        "The result depends on how the corpus is cut into batches. Did you "
        "take the mean of the batches' means, or of their perplexities? Keep "
        "a sum and a count, and divide once."
    ),
)
def test_batches_do_not_matter(perplexity):
    got = run(perplexity, batch([0.5, 0.5]), batch([0.125]))
    expect_close(
        got,
        2 ** (5 / 3),
        name="two batches, with ½, ½ and with ⅛: 2 to the 5/3",
    )


@test_case(
    points=1,
    failure_message=(
        "A long text is too much for your numbers. Did you multiply the "
        "probabilities, or take the exponential before dividing? A product "
        "of thousands of them is 0 for a computer, or its inverse infinite. "
        "Add logarithms, and take the exponential of their mean."
    ),
)
def test_a_long_corpus(perplexity):
    try:
        got = run(
            perplexity, *[batch([0.1] * 100, [0.1] * 100) for _ in range(20)]
        )
    except (OverflowError, ZeroDivisionError) as error:
        raise AssertionError(
            f"4,000 tokens of probability 0.1: {error}"
        ) from error
    expect_close(got, 10.0, name="4,000 tokens of probability 0.1")
