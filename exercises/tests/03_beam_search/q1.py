"""One step of the beam: the best continuations, each with parent and token."""

import torch
from otter.test_files import test_case
from torch import Tensor

from attend.grading import expect_close, expect_tensor, show
from attend.grading.expect import UnusableAnswerError

OK_FORMAT = False
name = "q1"
points = None


def chapter() -> tuple[Tensor, Tensor]:
    """The beam holds `I` and `am`; `I`, `am` or `Chinese` follows each."""
    return torch.tensor([0.4, 0.5]).log(), torch.tensor(
        [[0.3, 0.6, 0.1], [0.3, 0.3, 0.4]]
    ).log()


def one_family() -> tuple[Tensor, Tensor]:
    """Both of the best continuations have parent 0: 0.8 · 0.5 and 0.8 · 0.4."""
    return torch.tensor([0.8, 0.2]).log(), torch.tensor(
        [[0.5, 0.4, 0.1], [0.39, 0.31, 0.3]]
    ).log()


def as_many_words() -> tuple[Tensor, Tensor]:
    """As many beginnings as words: a row can be added to a table either way."""
    following = [[0.2, 0.3, 0.5], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]]
    return torch.tensor([0.6, 0.3, 0.1]).log(), torch.tensor(following).log()


def unlikely() -> tuple[Tensor, Tensor]:
    """Later in a sentence, when whole beginnings have become unlikely."""
    following = [[0.3, 0.25, 0.2, 0.15, 0.1], [0.35, 0.21, 0.19, 0.17, 0.08]]
    return torch.tensor([0.05, 0.04]).log(), torch.tensor(following).log()


def many() -> tuple[Tensor, Tensor]:
    """Five beginnings, eleven tokens."""
    generator = torch.Generator().manual_seed(0)
    live = 4 * torch.rand(5, generator=generator) - 9
    return live, (5 * torch.rand(5, 11, generator=generator)).log_softmax(
        dim=-1
    )


def three(result: object) -> tuple[Tensor, Tensor, Tensor]:
    """The three results, whatever their shapes."""
    if not isinstance(result, tuple) or len(result) != 3:
        kind = (
            f"{type(result).__name__} of {len(result)}"
            if isinstance(result, tuple)
            else None
        )
        kind = kind or type(result).__name__
        raise UnusableAnswerError(
            f"expected three tensors, (best, parents, tokens), got a {kind}"
        )
    best, parents, tokens = result
    return (
        expect_tensor(best, name="best"),
        expect_tensor(parents, dtype=torch.int64, name="parents"),
        expect_tensor(tokens, dtype=torch.int64, name="tokens"),
    )


def step(
    beam_step, given: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """The three results, each of shape (beam,)."""
    results = three(beam_step(*given))
    for result, part in zip(
        results, ("best", "parents", "tokens"), strict=True
    ):
        expect_tensor(result, (len(given[0]),), axes="beam", name=part)
    return results


def line(given: tuple[Tensor, Tensor], expected: str, got: str) -> str:
    """The probabilities that went in, what is expected, and what came."""
    live, following = (numbers.exp() for numbers in given)
    rows = [
        f"  {show(live[place].item())} · {show(row)}\n"
        for place, row in enumerate(following)
    ]
    inside = "".join(rows)
    return (
        f"each beginning times its next tokens:\n{inside}"
        f"  expected {expected}\n  got      {got}"
    )


def same(got: Tensor, expected: list[float]) -> bool:
    """Whether these are the numbers, up to rounding."""
    return torch.allclose(got, torch.tensor(expected), atol=1e-3)


@test_case(
    points=1,
    failure_message=(
        "The log-probability of a beginning belongs to a whole row of the "
        "table, to all of its next tokens. Did you add `live` as it is? "
        "PyTorch lays it along the columns: make it a column first, `live[:, "
        "None]`."
    ),
)
def test_a_beginning_has_a_row(beam_step):
    given = as_many_words()
    wanted = "probabilities [0.3, 0.18, 0.15]"
    best, _, _ = three(beam_step(*given))
    along = best.shape == (3,) and same(best.exp(), [0.3, 0.12, 0.12])
    assert not along, line(given, wanted, show(best.exp()))


@test_case(
    points=1,
    failure_message=(
        "One beginning may have several continuations in the new beam, and "
        "another none. Did you take the best of each parent? All "
        "continuations of all parents compete: flatten, then `topk` once."
    ),
)
def test_all_parents_compete(beam_step):
    given = one_family()
    best, _, _ = three(beam_step(*given))
    wanted = "probabilities 0.4 and 0.32, both with parent 0"
    assert best.dim() != 2, line(
        given, wanted, f"best of shape {tuple(best.shape)}"
    )
    best, _, _ = step(beam_step, given)
    assert not same(best.exp().sort().values, [0.078, 0.4]), line(
        given, wanted, show(best.exp())
    )


@test_case(
    points=1,
    failure_message=(
        "The past does not count: a likely token after an unlikely beginning "
        "wins. Did you forget to add the parent's log-probability, `live[:, "
        "None]`?"
    ),
)
def test_the_parent_counts(beam_step):
    given = one_family()
    best, _, _ = step(beam_step, given)
    assert not same(best.exp(), [0.5, 0.4]), line(
        given, "probabilities [0.4, 0.32]", show(best.exp())
    )


@test_case(
    points=1,
    failure_message=(
        "A log-probability is above zero, so its probability would be above "
        "one. Did you multiply the logs, or return probabilities? "
        "Probabilities are multiplied, so their logs are added."
    ),
)
def test_log_probabilities_come_out(beam_step):
    given = unlikely()
    best, _, _ = step(beam_step, given)
    wanted = "log 0.015 = -4.2 and log 0.014 = -4.269"
    assert (best <= 0).all(), line(given, wanted, show(best))


@test_case(
    points=1,
    failure_message=(
        "A continuation is more likely than its own beginning. Did you add "
        "the probabilities? Both things must happen, so they are multiplied: "
        "add the logs, and there is no need to leave them."
    ),
)
def test_longer_is_less_likely(beam_step):
    given = unlikely()
    best, _, _ = step(beam_step, given)
    assert (best <= given[0].max()).all(), line(
        given, "probabilities [0.015, 0.014]", show(best.exp())
    )


@test_case(
    points=1,
    failure_message=(
        "You kept the least likely continuations. `sort` puts the smallest "
        "first, unless you say `descending=True`; `topk` puts the largest "
        "first."
    ),
)
def test_the_largest_are_kept(beam_step):
    given = unlikely()
    best, _, _ = step(beam_step, given)
    assert not same(best.exp().sort().values, [0.0032, 0.005]), line(
        given, "probabilities [0.015, 0.014]", show(best.exp())
    )


@test_case(
    points=1,
    failure_message=(
        "Parents and tokens have changed places. The flat number is parent · "
        "vocab + token: the division by vocab gives the parent, its "
        "remainder the token."
    ),
)
def test_parents_are_not_tokens(beam_step):
    given = chapter()
    _, parents, tokens = step(beam_step, given)
    swapped = parents.tolist() == [1, 2] and tokens.tolist() == [0, 1]
    wanted = "parents [0, 1] and tokens [1, 2]"
    assert not swapped, line(
        given, wanted, f"parents {show(parents)} and tokens {show(tokens)}"
    )


@test_case(
    points=1,
    failure_message=(
        "The probabilities are right, parents or tokens are not. By what did "
        "you divide? Each parent has a row of as many numbers as there are "
        "tokens, so it is the size of the vocabulary, not of the beam."
    ),
)
def test_divided_by_the_vocabulary(beam_step):
    given = chapter()
    _, parents, tokens = step(beam_step, given)
    right = parents.tolist() == [0, 1] and tokens.tolist() == [1, 2]
    wanted = "parents [0, 1] and tokens [1, 2]"
    assert right, line(
        given, wanted, f"parents {show(parents)} and tokens {show(tokens)}"
    )


@test_case(
    points=1,
    failure_message=(
        "The beam must come out in order, the best first, with parents and "
        "tokens in the same order. Did you sort the flat numbers, or switch "
        "the order of `topk` off?"
    ),
)
def test_best_first(beam_step):
    live, log_probs = given = many()
    best, parents, tokens = step(beam_step, given)
    expected = (
        (live[:, None] + log_probs).flatten().sort(descending=True).values[:5]
    )
    expect_close(
        best,
        expected,
        axes="beam",
        name="beam 5, vocabulary of 11: log-probabilities",
    )
    both = log_probs[parents, tokens] + live[parents]
    expect_close(
        both, expected, name="the same, looked up by your parents and tokens"
    )
