"""Best-first search on a Markov table: what is popped first is best.

Once it is popped, that is certain.
"""

import heapq
import math
from unittest import mock

import torch
from otter.test_files import test_case
from torch import Tensor

from attend.decoding import exact_search, greedy
from attend.grading import expect_close, show
from attend.grading.expect import UnusableAnswerError

OK_FORMAT = False
name = "q5"
points = None

BOS, EOS, A, B, C = 0, 1, 2, 3, 4
NAMES = ("BOS", "EOS", "a", "b", "c")
MOST_POPS = 1000


def markov(*rows: list[float]) -> Tensor:
    """A table of log-probabilities, made from rows of probabilities.

    They are those of EOS, a, b … after BOS, a, b …
    """
    others = len(rows) - 2
    after_eos = [0.1, 0.8] + [0.1 / others] * others  # nobody should ask
    whole = [rows[0], after_eos, *rows[1:]]
    return torch.tensor([[0.0, *row] for row in whole]).log()


def words(ids: list[int]) -> str:
    """Tokens as a person writes them."""
    return " ".join(
        NAMES[token] if 0 <= token < len(NAMES) else str(token) for token in ids
    )


def story(table: Tensor, max_length: int, expected: str, got: list[int]) -> str:
    """The table, what is expected of it, and what came."""
    lines = [f"max_length {max_length}"]
    for last in [BOS, *range(A, len(table))]:
        row = table[last].exp().tolist()
        each = ", ".join(
            f"{NAMES[token]} {row[token]:.3g}" for token in range(EOS, len(row))
        )
        lines.append(f"  after {NAMES[last]}: {each}")
    return "\n".join(
        [*lines, f"  expected {expected}", f"  got {words(got) or 'no token'}"]
    )


def search(
    best_first, table: Tensor, max_length: int
) -> tuple[list[int], float]:
    """The tokens as plain integers, and their log-probability."""
    result = best_first(table.clone(), BOS, EOS, max_length)
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
    if tokens[:1] == [BOS] and math.isfinite(log_prob):
        raise UnusableAnswerError(
            f"tokens: expected them without BOS, got {words(tokens)}"
        )
    return tokens, log_prob


@test_case(
    points=1,
    failure_message=(
        "Two beginnings were equally likely, and your search broke down. "
        "Where the first entries of two tuples are equal, heapq compares the "
        "second ones: they must be things that can be compared, such as "
        "lists of integers. Tensors and dictionaries are not."
    ),
)
def test_equally_likely(best_first):
    table = markov([0.2, 0.4, 0.4], [0.9, 0.05, 0.05], [0.9, 0.05, 0.05])
    try:
        search(best_first, table, 3)
    except (TypeError, RuntimeError) as error:
        text = str(error)
        assert (
            "ambiguous" not in text and "not supported between" not in text
        ), text
        raise


@test_case(
    points=1,
    failure_message=(
        "You did not take the most likely beginning first. heapq pops the "
        "smallest entry: push minus the log-probability, so that the most "
        "likely is the smallest."
    ),
)
def test_the_most_likely_is_popped(best_first):
    table = markov([0.6, 0.3, 0.1], [0.5, 0.3, 0.2], [0.5, 0.2, 0.3])
    got, _ = search(best_first, table, 3)
    assert got == [EOS], story(table, 3, "EOS (0.6)", got)


@test_case(
    points=1,
    failure_message=(
        "The log-probability is above zero. Is it still the entry of the "
        "heap, with the sign turned round? Or a probability? Turn the sign "
        "back before you return it."
    ),
)
def test_sign_of_the_result(best_first):
    table = markov([0.6, 0.3, 0.1], [0.5, 0.3, 0.2], [0.5, 0.2, 0.3])
    _, log_prob = search(best_first, table, 3)
    assert log_prob <= 0, (
        f"EOS with 0.6: expected log 0.6 = -0.5108, got {show(log_prob)}"
    )


@test_case(
    points=1,
    failure_message=(
        "You stopped as soon as an ending was pushed. Something better may "
        "still be in the heap: what ends is certain to be the best only when "
        "it is popped."
    ),
)
def test_stops_when_popped(best_first):
    table = markov([0.3, 0.65, 0.05], [0.9, 0.05, 0.05], [0.9, 0.05, 0.05])
    got, _ = search(best_first, table, 4)
    assert got != [EOS], story(table, 4, "a EOS (0.585)", got)


@test_case(
    points=1,
    failure_message=(
        "The best sequence does not begin with the most likely token, and "
        "you missed it. Push all continuations of what you pop, not only the "
        "best one. Those that do not look good now wait in the heap. Or is "
        "the sign of what you add wrong? A child costs what its parent "
        "costs, *minus* the new log-probability."
    ),
)
def test_all_continuations_are_pushed(best_first):
    table = markov([0.05, 0.6, 0.35], [0.5, 0.3, 0.2], [0.9, 0.05, 0.05])
    got, _ = search(best_first, table, 4)
    assert got != [A, EOS], story(table, 4, "b EOS (0.315)", got)


@test_case(
    points=1,
    failure_message=(
        "Your sequence has more tokens than `max_length`. What is that long "
        "already must not be continued."
    ),
)
def test_not_longer_than_max_length(best_first):
    table = markov([0.1, 0.85, 0.05], [0.05, 0.05, 0.9], [0.9, 0.05, 0.05])
    got, _ = search(best_first, table, 2)
    assert len(got) <= 2, story(table, 2, "EOS (0.1)", got)


@test_case(
    points=1,
    failure_message=(
        "You returned a beginning that was cut off at `max_length`. It is "
        "more likely only because it never paid for its end. Drop it: the "
        "answer is what ends with EOS."
    ),
)
def test_what_is_cut_off_is_dropped(best_first):
    table = markov([0.1, 0.85, 0.05], [0.05, 0.05, 0.9], [0.9, 0.05, 0.05])
    got, _ = search(best_first, table, 2)
    assert got[-1:] == [EOS], story(table, 2, "EOS (0.1)", got)


@test_case(
    points=1,
    failure_message=(
        "A sequence of exactly `max_length` tokens was the best, and you "
        "missed it. EOS counts as one of them. Do you count BOS too?"
    ),
)
def test_as_long_as_max_length(best_first):
    table = markov([0.1, 0.85, 0.05], [0.05, 0.05, 0.9], [0.9, 0.05, 0.05])
    got, _ = search(best_first, table, 3)
    assert len(got) >= 3, story(table, 3, "a b EOS (0.689)", got)


@test_case(
    points=1,
    failure_message=(
        "Do you continue each token only once, as Dijkstra's algorithm does "
        "with places? The same token reached by fewer steps is less likely "
        "here, but it has more steps left."
    ),
)
def test_a_token_may_come_again(best_first):
    table = markov(
        [0.1, 0.6, 0.28, 0.02],
        [0.04, 0.04, 0.9, 0.02],
        [0.04, 0.03, 0.03, 0.9],
        [0.9, 0.04, 0.03, 0.03],
    )
    got, _ = search(best_first, table, 3)
    assert got != [EOS], story(
        table, 3, "b c EOS (0.227): a b c EOS is too long", got
    )


@test_case(
    points=1,
    failure_message=(
        "You went on until the heap was empty. There is no need: all that is "
        "left in it is less likely than the first ending that is popped, and "
        "can only become less likely still."
    ),
)
def test_stops_in_time(best_first):
    table = markov([0.2, 0.5, 0.3], [0.3, 0.35, 0.35], [0.5, 0.3, 0.2])
    pop, pops = heapq.heappop, [0]

    def counted(heap):
        pops[0] += 1
        assert pops[0] <= MOST_POPS, (
            "max_length 30: 4 pops are enough, yours were more than "
            f"{MOST_POPS}"
        )
        return pop(heap)

    with mock.patch.object(heapq, "heappop", counted):
        search(best_first, table, 30)


@test_case(
    points=1,
    failure_message=(
        "Small tables are right, larger ones are not. Follow the heap by "
        "hand: what is popped, and what is pushed after it?"
    ),
)
def test_larger_tables(best_first):
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        table = (4 * torch.rand(6, 6, generator=generator)).log_softmax(dim=-1)
        table[:, BOS] = -torch.inf
        given = (
            lambda tokens, state, table=table: (table[tokens], state),
            {"none": torch.zeros(1)},
            torch.tensor([BOS]),
            EOS,
            BOS,
            5,
        )
        found = exact_search(*given, start=greedy(*given))
        got, log_prob = search(best_first, table, 5)
        expected = found.tokens[0, : found.lengths[0]].tolist()
        assert got == expected, (
            f"6 tokens, max_length 5: expected {expected}, got {got}"
        )
        expect_close(
            log_prob,
            found.log_probs.item(),
            name=f"log-probability of {expected}",
        )
