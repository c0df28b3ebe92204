"""Re-ranking by mutual information: scores in nats, candidates best first."""

import math

import torch
from otter.test_files import test_case
from torch import Tensor

from attend.grading import expect_close, expect_tensor, show
from attend.grading.expect import UnusableAnswerError

OK_FORMAT = False
name = "q7"
points = None


def run(
    rerank, probs: list[float], others: list[list[float]], penalty: float
) -> Tensor:
    """Return the scores of candidates given by their probabilities."""
    return results(
        rerank, torch.tensor(probs).log(), torch.tensor(others).log(), penalty
    )[0]


def results(
    rerank, log_p: Tensor, log_p_others: Tensor, penalty: float
) -> tuple[Tensor, Tensor]:
    """Return scores and order, if they are tensors of the right shape."""
    got = rerank(log_p, log_p_others, penalty)
    if not isinstance(got, tuple) or len(got) != 2:
        kind = (
            f"a tuple of {len(got)}"
            if isinstance(got, tuple)
            else f"a {type(got).__name__}"
        )
        raise UnusableAnswerError(
            f"expected two tensors, (scores, order), got {kind}"
        )
    expect_tensor(got[0], (len(log_p),), axes="candidate", name="scores")
    expect_tensor(
        got[1], (len(log_p),), torch.int64, axes="candidate", name="order"
    )
    return got


@test_case(
    points=1,
    failure_message=(
        "With a penalty of 0 the scores must be log p(reply | prompt), "
        "unchanged. Does the penalty stand before the wrong term?"
    ),
)
def test_no_penalty(rerank):
    got = run(rerank, [0.5, 0.25], [[0.125], [0.5]], 0.0)
    expect_close(
        got, torch.tensor([-0.6931, -1.386]), name="p = ½ and ¼, penalty 0"
    )


@test_case(
    points=1,
    failure_message=(
        "A reply that is likely after any prompt gets more, not less. Did "
        "you add the second term? It is subtracted."
    ),
)
def test_generic_replies_lose(rerank):
    got = run(rerank, [0.5], [[0.125]], 1.0)
    assert got[0] > -0.6931, (
        "p = ½, after one other prompt ⅛, penalty 1: expected log ½ − log ⅛ "
        f"= 1.386, got {show(got[0].item())}"
    )


@test_case(
    points=1,
    failure_message=(
        "Candidates and prompts are mixed up. Each candidate has a row of "
        "its own in `log_p_others`: the sum goes along the row, over the "
        "other prompts, dim=1."
    ),
)
def test_over_the_other_prompts(rerank):
    log_p = torch.zeros(2)
    # the mean of a row is any of it
    others = torch.tensor([[0.5, 0.5], [0.125, 0.125]]).log()
    try:
        got, _ = results(rerank, log_p, others, 1.0)
    except RuntimeError as error:
        assert "must match the size" not in str(error), error
        raise
    assert not math.isclose(got[0].item(), got[1].item(), abs_tol=1e-4), (
        "two candidates, after both other prompts ½ and ⅛: expected a "
        "difference of 1.386, got none"
    )


@test_case(
    points=1,
    failure_message=(
        "Your scores are not finite for replies of ordinary length. Did you "
        "take the exponential first? exp(−200) is 0 for a computer, and its "
        "logarithm −∞. `logsumexp` never leaves the logarithms."
    ),
)
def test_no_underflow(rerank):
    others = torch.tensor([[-200.0, -200.0], [-300.0, -300.0]])
    got, _ = results(rerank, torch.tensor([-200.0, -210.0]), others, 1.0)
    assert got.isfinite().all(), (
        "log p = −200 and −210, with others −200 and −300, penalty 1: "
        f"expected [0, 90], got {show(got)}"
    )


@test_case(
    points=1,
    failure_message=(
        "You took the mean of the logarithms. p(reply) is a mean of "
        "probabilities: the logarithm comes after it. A reply that fits one "
        "other prompt well is not rare."
    ),
)
def test_mean_of_probabilities(rerank):
    got = run(rerank, [1.0], [[0.5, 0.03125]], 1.0)
    wrong = math.log(8)
    assert not math.isclose(got.item(), wrong, abs_tol=1e-3), (
        "p = 1, after two other prompts ½ and 1/32, penalty 1: expected "
        f"−log(17/64) = 1.326, got log 8 = {wrong:.4g}"
    )


@test_case(
    points=1,
    failure_message=(
        "Your mean is a sum. `logsumexp` is the logarithm of a sum: subtract "
        "log N from it, inside the bracket that the penalty multiplies. "
        "Dividing the logarithm by N is something else."
    ),
)
def test_divides_by_the_number_of_prompts(rerank):
    got = run(rerank, [1.0], [[0.25, 0.25, 0.25, 0.25]], 1.0)
    name = "p = 1, after four other prompts ¼ each, penalty 1"
    expect_close(got, torch.tensor([math.log(4)]), name=name)


@test_case(
    points=1,
    failure_message=(
        "Simple examples are right, a larger one is not. Does the penalty "
        "multiply the whole second term, log N too, and nothing else?"
    ),
)
def test_larger_example(rerank):
    generator = torch.Generator().manual_seed(0)
    log_p = -30 * torch.rand(3, generator=generator)
    others = -30 * torch.rand(3, 5, generator=generator)
    got, _ = results(rerank, log_p, others, 0.5)
    expected = log_p.double() - 0.5 * others.double().exp().mean(dim=1).log()
    expect_close(
        got,
        expected,
        axes="candidate",
        name="3 candidates, 5 other prompts, penalty 0.5",
    )


@test_case(
    points=1,
    failure_message=(
        "The order does not begin with the best. A larger score is better: "
        "did you sort upwards? `order[0]` is the index of the best "
        "candidate, `order[1]` of the second best; it is not the rank of "
        "candidate 0."
    ),
)
def test_order(rerank):
    log_p = torch.tensor([-3.0, -1.0, -4.0, -2.0])
    _, order = results(rerank, log_p, torch.zeros(4, 1), 0.0)
    assert order.tolist() == [1, 3, 0, 2], (
        "scores −3, −1, −4, −2: expected the order [1, 3, 0, 2], got "
        f"{order.tolist()}"
    )
