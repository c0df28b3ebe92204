"""The best of several finished hypotheses.

Each is divided by the penalty of its own length.
"""

import torch
from otter.test_files import test_case
from torch import Tensor

from attend.grading import expect_close, show
from attend.grading.expect import UnusableAnswerError

OK_FORMAT = False
name = "q2"
points = None

PAD, EOS = 0, 2
AT_PADDING = -9.0  # what a model says there means nothing
SEVEN = (
    "7 tokens, log-probability -1.8, α 1: expected a score of -1.8 / 2 = -0.9"
)


def hypotheses(*lines: list[float]) -> tuple[Tensor, Tensor]:
    """Tokens and their log-probabilities: a line for each hypothesis.

    All are padded to the longest.
    """
    length = max(len(line) for line in lines)
    tokens = [
        [5] * (len(line) - 1) + [EOS] + [PAD] * (length - len(line))
        for line in lines
    ]
    log_probs = [line + [AT_PADDING] * (length - len(line)) for line in lines]
    return torch.tensor(tokens), torch.tensor(log_probs)


def short_and_long() -> tuple[Tensor, Tensor]:
    """One token with −1.0; seven tokens with −1.8, which wins for α = 1."""
    return hypotheses([-1.0], [-0.2, -0.2, -0.2, -0.3, -0.3, -0.3, -0.3])


def seven() -> tuple[Tensor, Tensor]:
    """The long one alone."""
    return hypotheses([-0.2, -0.2, -0.2, -0.3, -0.3, -0.3, -0.3])


def best_of(
    best_hypothesis, given: tuple[Tensor, Tensor], alpha: float
) -> tuple[int, float]:
    """The place of the best hypothesis and its score, as plain numbers."""
    result = best_hypothesis(*given, PAD, alpha)
    if not isinstance(result, tuple) or len(result) != 2:
        raise UnusableAnswerError(
            f"expected (place, score), got a {type(result).__name__}"
        )
    for part, number in zip(("place", "score"), result, strict=True):
        if isinstance(number, Tensor) and number.numel() != 1:
            raise UnusableAnswerError(
                f"{part}: expected one number, got {tuple(number.shape)}"
            )
        if not isinstance(number, Tensor | int | float):
            raise UnusableAnswerError(
                f"{part}: expected a number, got a {type(number).__name__}"
            )
    place, score = result
    return int(place), float(score)


@test_case(
    points=1,
    failure_message=(
        "You did not return the hypothesis with the highest score. Scores "
        "are negative, and the best is the one nearest to zero: the largest."
    ),
)
def test_the_highest_score_wins(best_hypothesis):
    given = hypotheses([-0.5, -0.5], [-0.25, -0.25], [-1.5])
    place, _ = best_of(best_hypothesis, given, alpha=1.0)
    assert place == 1, (
        "log-probabilities -1.0 and -0.5 with 2 tokens, -1.5 with 1 token, α "
        f"1: expected place 1, got place {place}"
    )


@test_case(
    points=1,
    failure_message=(
        "Padding counts. A model goes on to say something after EOS, but it "
        "means nothing: leave the log-probabilities at padding out of the "
        "sum."
    ),
)
def test_no_padding_in_the_sum(best_hypothesis):
    given = hypotheses([-1.0, -2.0], [-8.0, -8.0, -8.0, -8.0])
    _, score = best_of(best_hypothesis, given, alpha=0.0)
    assert abs(score + 21) > 1e-3, (
        "log-probabilities [-1, -2, and -9 twice at padding] and [-8, -8, "
        f"-8, -8], α 0: expected the score -3, got {show(score)}"
    )


@test_case(
    points=1,
    failure_message=(
        "A score is above zero. Did you divide the probability? It is the "
        "log-probability, a negative number, that is divided: so a larger "
        "penalty brings it nearer to zero."
    ),
)
def test_logs_are_divided(best_hypothesis):
    _, score = best_of(best_hypothesis, seven(), alpha=1.0)
    assert score <= 0, f"{SEVEN}, got {show(score)}"


@test_case(
    points=1,
    failure_message=(
        "The penalty made a long hypothesis worse. Did you multiply by it? "
        "Log-probabilities are negative: to make up for the length you "
        "divide."
    ),
)
def test_divided_not_multiplied(best_hypothesis):
    _, score = best_of(best_hypothesis, seven(), alpha=1.0)
    assert score >= -1.81, f"{SEVEN}, got {show(score)}"


@test_case(
    points=1,
    failure_message=(
        "Did you divide by the plain length? That is the mean per token, an "
        "older and much stronger remedy. GNMT's penalty is (5 + length) / 6, "
        "to the power of α: it begins at 1 and grows six times more slowly."
    ),
)
def test_not_the_plain_length(best_hypothesis):
    _, score = best_of(best_hypothesis, seven(), alpha=1.0)
    assert abs(score + 1.8 / 7) > 1e-3, f"{SEVEN}, got {show(score)}"


@test_case(
    points=1,
    failure_message=(
        "The penalty of one hypothesis, without padding and with α = 1, is "
        "wrong. It is (5 + length) / 6. Is the 5 or the 6 missing? Do the "
        "parentheses come before the division? The length counts all tokens, "
        "EOS included."
    ),
)
def test_formula(best_hypothesis):
    _, score = best_of(best_hypothesis, seven(), alpha=1.0)
    expect_close(
        score, -0.9, name="7 tokens, log-probability -1.8, α 1: score -1.8 / 2"
    )


@test_case(
    points=1,
    failure_message=(
        "For α = 1 the score is right, for another α it is not. Is α a "
        "factor in yours? It is a power: 0 leaves the log-probability as it "
        "is."
    ),
)
def test_alpha_is_a_power(best_hypothesis):
    _, score = best_of(best_hypothesis, hypotheses([-0.5] * 13), alpha=2.0)
    name = "13 tokens, log-probability -6.5, α 2: score -6.5 / 3²"
    expect_close(score, -6.5 / 9, name=name)
    _, score = best_of(best_hypothesis, hypotheses([-0.5] * 13), alpha=0.0)
    expect_close(
        score, -6.5, name="13 tokens, log-probability -6.5, α 0: score"
    )


@test_case(
    points=1,
    failure_message=(
        "The length of a short hypothesis counts its padding. Did you take "
        "`tokens.shape[1]`? Each hypothesis has a length of its own, its "
        "tokens that are not padding."
    ),
)
def test_no_padding_in_the_length(best_hypothesis):
    given = hypotheses([-0.2, -0.2, -0.2, -0.3, -0.3, -0.3, -0.3], [-1.0] * 13)
    _, score = best_of(best_hypothesis, given, alpha=1.0)
    expect_close(
        score,
        -0.9,
        name="7 tokens padded to 13, log-probability -1.8, α 1: score",
    )


@test_case(
    points=1,
    failure_message=(
        "Did you choose by the log-probability, and divide only the best at "
        "the end? Then the penalty changes a number but never the choice. "
        "Divide all of them, then compare."
    ),
)
def test_divides_before_it_compares(best_hypothesis):
    place, score = best_of(best_hypothesis, short_and_long(), alpha=1.0)
    assert place != 0, (
        "log-probability -1.0 with 1 token, -1.8 with 7 tokens, α 1: "
        f"expected place 1 with the score -1.8 / 2 = -0.9, got place {place} "
        f"with {show(score)}"
    )
