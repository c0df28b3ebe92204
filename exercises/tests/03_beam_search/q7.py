"""A beam search with three bugs: each test looks at one of them.

It can do so once all hypotheses differ.
"""

from collections.abc import Callable

import torch
from otter.test_files import test_case
from torch import Tensor

from attend.decoding import beam_search
from attend.grading import expect_close, show
from attend.grading.expect import UnusableAnswerError

OK_FORMAT = False
name = "q7"
points = None

BOS, EOS, A, B = 0, 1, 2, 3
NAMES = ("BOS", "EOS", "a", "b")


def words(ids: list[int]) -> str:
    """Tokens as a person writes them."""
    each = [
        NAMES[token] if 0 <= token < len(NAMES) else str(token) for token in ids
    ]
    return " ".join(each) or "no token"


def markov(
    bos: list[float], a: list[float], b: list[float]
) -> Callable[..., object]:
    """A step that looks at the last token only.

    Each row holds the probabilities of EOS, a and b after that token.
    """
    rows = [bos, [0.1, 0.8, 0.1], a, b]
    table = torch.tensor([[0.0, *row] for row in rows]).log()
    return lambda tokens, state: (table[tokens], state)


def two_back(
    tokens: Tensor, state: dict[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """A step that remembers, in its state, the token before the last one.

    Most likely is `b a EOS`; but the a after a likes to go on.
    """
    table = torch.tensor(
        [
            [0.0, 0.05, 0.6, 0.35],  # after BOS
            [0.0, 0.1, 0.8, 0.1],
            [0.0, 0.2, 0.5, 0.3],  # after a
            [0.0, 0.04, 0.95, 0.01],  # after b
        ]
    )
    probs = table[tokens]
    a_after = {A: [0.0, 0.1, 0.45, 0.45], B: [0.0, 0.9, 0.05, 0.05]}
    for row, (before, last) in enumerate(
        zip(state["before"].tolist(), tokens.tolist(), strict=True)
    ):
        if last == A and before in a_after:
            probs[row] = torch.tensor(a_after[before])
    return probs.log(), {"before": tokens.clone()}


def search(
    function, step, state: dict[str, Tensor], beam_size: int, max_length: int
):
    """The tokens as plain integers, and their log-probability."""
    result = function(step, state, BOS, EOS, beam_size, max_length)
    if not isinstance(result, tuple) or len(result) != 2:
        raise UnusableAnswerError(
            f"expected (tokens, log_prob), got a {type(result).__name__}"
        )
    tokens, log_prob = result
    if not isinstance(tokens, list) or not all(
        type(token) is int for token in tokens
    ):
        raise UnusableAnswerError(
            "tokens: expected a list of plain integers; `.tolist()` or "
            "`.item()` makes them"
        )
    if isinstance(log_prob, Tensor) and log_prob.numel() == 1:
        log_prob = log_prob.item()
    if not isinstance(log_prob, int | float):
        raise UnusableAnswerError(
            f"log_prob: expected a number, got a {type(log_prob).__name__}"
        )
    return tokens, log_prob


def one_row() -> dict[str, Tensor]:
    """The state of a step that needs none."""
    return {"none": torch.zeros(1, 1)}


@test_case(
    points=1,
    failure_message=(
        "A beam of 2 finds what a beam of 1 finds. Do all hypotheses begin "
        "with log-probability 0? Then they are one hypothesis many times "
        "over, and their best continuations are the same, step after step. "
        "To begin with only one place is filled; the others are −∞."
    ),
)
def test_hypotheses_differ(search_one):
    step = markov(bos=[0.05, 0.6, 0.35], a=[0.4, 0.3, 0.3], b=[0.9, 0.05, 0.05])
    got, log_prob = search(
        search_one, step, one_row(), beam_size=2, max_length=4
    )
    assert abs(log_prob + 1.1552) < 1e-3, (
        "after BOS: EOS 0.05, a 0.6, b 0.35; after a: EOS 0.4; after b: EOS "
        "0.9\n  expected the log-probability of b EOS, log 0.315 = -1.155\n  "
        f"got {show(log_prob)}, for {words(got)}"
    )


@test_case(
    points=1,
    failure_message=(
        "The state does not follow its hypothesis. When hypotheses change "
        "places, row k of the state after the step belongs to the old one. "
        "Which row does the new hypothesis k need?"
    ),
)
def test_state_follows(search_one):
    state = {"before": torch.tensor([BOS])}
    got, log_prob = search(
        search_one, two_back, state, beam_size=2, max_length=5
    )
    assert abs(log_prob + 1.2065) < 1e-3, (
        "a beam of a and b becomes one of b a and a a, and after b a comes "
        "EOS with 0.9\n  expected the log-probability of b a EOS, log (0.35 "
        f"· 0.95 · 0.9) = -1.206\n  got {show(log_prob)}, for {words(got)}"
    )


@test_case(
    points=1,
    failure_message=(
        "There are tokens of another hypothesis among yours. Two children of "
        "one parent share its list, and `append` changes it for both. Make a "
        "new list for each child."
    ),
)
def test_siblings_have_their_own_list(search_one):
    step = markov(bos=[0.05, 0.6, 0.35], a=[0.2, 0.3, 0.5], b=[0.9, 0.05, 0.05])
    got, _ = search(search_one, step, one_row(), beam_size=2, max_length=4)
    assert len(got) == 2, (
        "after BOS: a 0.6, b 0.35; after a: b 0.5; after b: EOS 0.9\n"
        f"  expected b EOS (0.315)\n  got {words(got)}"
    )


@test_case(
    points=1,
    failure_message=(
        "The tokens are not those whose log-probability you return. A new "
        "hypothesis has the tokens of its *parent*, and then its own: did "
        "you take those that stood in the same place?"
    ),
)
def test_tokens_follow_the_parent(search_one):
    step = markov(bos=[0.05, 0.6, 0.35], a=[0.2, 0.3, 0.5], b=[0.9, 0.05, 0.05])
    got, _ = search(search_one, step, one_row(), beam_size=2, max_length=4)
    assert got == [B, EOS], (
        "after BOS: a 0.6, b 0.35; after a: b 0.5; after b: EOS 0.9\n"
        f"  expected b EOS (0.315)\n  got {words(got)}"
    )


@test_case(
    points=1,
    failure_message=(
        "Small models are right, a larger one is not. Did you change "
        "something that was no bug? Compare your function with "
        "`broken_search`, line by line."
    ),
)
def test_beside_the_library(search_one):
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        tables = 8 * torch.rand(3, 7, 7, generator=generator) - 4
        # no BOS, and an end before 8
        bias = torch.tensor([-99.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0])

        def step(tokens, state, tables=tables, bias=bias):
            h = (tables[0][tokens] + state["h"] @ tables[1] / 3).sin()
            return (h @ tables[2] + bias).log_softmax(dim=-1), {"h": h}

        start, first = {"h": torch.zeros(1, 7)}, torch.tensor([BOS])
        found = beam_search(
            step, start, first, EOS, BOS, max_length=8, beam_size=3
        ).first()
        expected = found.tokens[0, : found.lengths[0]].tolist()
        got, log_prob = search(
            search_one, step, start, beam_size=3, max_length=8
        )
        assert got == expected, (
            f"7 tokens, beam 3: expected {expected}, got {got}"
        )
        expect_close(
            log_prob,
            found.log_probs.item(),
            name=f"log-probability of {expected}",
        )
