"""A beam on a Markov table: what happens to the hypotheses that have ended."""

import torch
from otter.test_files import test_case
from torch import Tensor

from attend.decoding import beam_search
from attend.grading import expect_close
from attend.grading.expect import UnusableAnswerError

OK_FORMAT = False
name = "q3"
points = None

BOS, EOS, A, B, C = 0, 1, 2, 3, 4
NAMES = ("BOS", "EOS", "a", "b", "c")


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


def story(
    table: Tensor, beam_size: int, max_length: int, expected: str, got: object
) -> str:
    """The table, what is expected of it, and what came."""
    lines = [f"beam {beam_size}, max_length {max_length}"]
    for last in [BOS, *range(A, len(table))]:
        row = table[last].exp().tolist()
        each = ", ".join(
            f"{NAMES[token]} {row[token]:.3g}" for token in range(EOS, len(row))
        )
        lines.append(f"  after {NAMES[last]}: {each}")
    came = words(got) or "no token" if isinstance(got, list) else got
    return "\n".join([*lines, f"  expected {expected}", f"  got {came}"])


def decode(
    beam_decode, table: Tensor, beam_size: int, max_length: int
) -> tuple[list[int], float]:
    """The tokens as plain integers, and their log-probability."""
    result = beam_decode(table.clone(), BOS, EOS, beam_size, max_length)
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
    if tokens[:1] == [BOS]:
        raise UnusableAnswerError(
            f"tokens: expected them without BOS, got {words(tokens)}"
        )
    if isinstance(log_prob, Tensor) and log_prob.numel() == 1:
        log_prob = log_prob.item()
    if not isinstance(log_prob, int | float):
        raise UnusableAnswerError(
            f"log_prob: expected a number, got a {type(log_prob).__name__}"
        )
    return tokens, log_prob


def overtaken() -> Tensor:
    """`EOS` (0.3) ends first; `a EOS` (0.585) ends later, and is better."""
    return markov([0.3, 0.65, 0.05], [0.9, 0.05, 0.05], [0.9, 0.05, 0.05])


def hard_to_end() -> Tensor:
    """After a comes a: three times with 0.9 · 0.9 · 0.9 = 0.729."""
    return markov([0.1, 0.85, 0.05], [0.04, 0.9, 0.06], [0.04, 0.06, 0.9])


@test_case(
    points=1,
    failure_message=(
        "There is something after EOS. A hypothesis that has ended is "
        "finished: put it aside, and do not continue it."
    ),
)
def test_nothing_after_eos(beam_decode):
    table = markov([0.5, 0.4, 0.1], [0.6, 0.2, 0.2], [0.6, 0.2, 0.2])
    got, _ = decode(beam_decode, table, 2, 3)
    assert EOS not in got[:-1], story(table, 2, 3, "EOS (0.5)", got)


@test_case(
    points=1,
    failure_message=(
        "Your result has more tokens than `max_length`. EOS counts as one of "
        "them, BOS does not. How many times does your loop go round?"
    ),
)
def test_not_longer_than_max_length(beam_decode):
    table = markov([0.06, 0.9, 0.04], [0.05, 0.05, 0.9], [0.9, 0.05, 0.05])
    got, _ = decode(beam_decode, table, 2, 2)
    assert len(got) <= 2, story(
        table, 2, 2, "at most 2 tokens: EOS (0.06)", got
    )


@test_case(
    points=1,
    failure_message=(
        "When all hypotheses of the beam have ended, none is left to "
        "continue. Your code does not expect that: is there a maximum over "
        "nothing?"
    ),
)
def test_all_have_ended(beam_decode):
    table = markov([0.9, 0.05, 0.05], [0.9, 0.05, 0.05], [0.9, 0.05, 0.05])
    try:
        decode(beam_decode, table, 1, 3)
    except (ValueError, IndexError, RuntimeError) as error:
        raise AssertionError(
            f"beam 1, EOS comes first with 0.9: {error}"
        ) from error


@test_case(
    points=1,
    failure_message=(
        "Your beam is wider than it may be. Did you keep every continuation? "
        "After each step only the `beam_size` most likely stay, of all "
        "together. With beam 1 that is greedy search."
    ),
)
def test_only_beam_size_stay(beam_decode):
    table = markov([0.05, 0.6, 0.35], [0.5, 0.3, 0.2], [0.9, 0.05, 0.05])
    got, _ = decode(beam_decode, table, 1, 5)
    assert got != [B, EOS], story(
        table, 1, 5, "a EOS (0.3): b never was in a beam of 1", got
    )


@test_case(
    points=1,
    failure_message=(
        "You returned the first hypothesis that ended. One that is still "
        "alive was more likely, and it ended later: go on while a live one "
        "can overtake the best finished one."
    ),
)
def test_not_the_first_to_end(beam_decode):
    table = overtaken()
    got, _ = decode(beam_decode, table, 2, 5)
    assert got != [EOS], story(table, 2, 5, "a EOS (0.585)", got)


@test_case(
    points=1,
    failure_message=(
        "You stopped too early. Is it enough for you that as many hypotheses "
        "have ended as the beam has places? One is still alive that is more "
        "likely than all of them, and nothing but its end can make it worse."
    ),
)
def test_not_the_first_k_to_end(beam_decode):
    table = markov([0.2, 0.75, 0.05], [0.3, 0.05, 0.65], [0.9, 0.05, 0.05])
    got, _ = decode(beam_decode, table, 2, 5)
    assert got != [A, EOS], story(table, 2, 5, "a b EOS (0.439)", got)


@test_case(
    points=1,
    failure_message=(
        "A short hypothesis that ended early was the best, and you returned "
        "one that ended after it. Did you forget those that ended before the "
        "last step? Collect them from all steps."
    ),
)
def test_early_ones_are_remembered(beam_decode):
    table = markov([0.4, 0.55, 0.05], [0.6, 0.2, 0.2], [0.6, 0.2, 0.2])
    got, _ = decode(beam_decode, table, 2, 5)
    assert got[-1:] != [EOS] or len(got) == 1, story(
        table, 2, 5, "EOS (0.4)", got
    )


@test_case(
    points=1,
    failure_message=(
        "You returned a hypothesis that was cut off at `max_length`, and "
        "others had ended. It is more likely only because it never paid for "
        "its end. What has finished comes first."
    ),
)
def test_finished_before_cut_off(beam_decode):
    table = hard_to_end()
    got, _ = decode(beam_decode, table, 2, 3)
    assert got[-1:] == [EOS], story(table, 2, 3, "EOS (0.1)", got)


@test_case(
    points=1,
    failure_message=(
        "Nothing has ended by `max_length`, and your code has no answer to "
        "that. Return the most likely of those that were cut off."
    ),
)
def test_nothing_has_ended(beam_decode):
    table = hard_to_end()
    expected = "a a (0.765)"
    try:
        got, _ = decode(beam_decode, table, 1, 2)
    except (ValueError, IndexError, RuntimeError) as error:
        raise AssertionError(story(table, 1, 2, expected, error)) from error
    assert got == [A, A], story(table, 1, 2, expected, got)


@test_case(
    points=1,
    failure_message=(
        "One hypothesis has ended, and your beam has become narrower. The "
        "next step again keeps `beam_size` continuations, however few are "
        "left to be continued."
    ),
)
def test_the_beam_keeps_its_width(beam_decode):
    table = markov(
        [0.15, 0.8, 0.03, 0.02],
        [0.05, 0.05, 0.5, 0.4],
        [0.3, 0.5, 0.1, 0.1],
        [0.9, 0.04, 0.03, 0.03],
    )
    got, _ = decode(beam_decode, table, 2, 6)
    assert got != [EOS], story(table, 2, 6, "a c EOS (0.288)", got)


@test_case(
    points=1,
    failure_message=(
        "The tokens are right, their log-probability is not. It is the sum "
        "of the logs of all tokens, EOS included, and it is not divided by "
        "anything."
    ),
)
def test_log_probability(beam_decode):
    _, log_prob = decode(beam_decode, overtaken(), 2, 5)
    expect_close(log_prob, -0.5361, name="a EOS, log 0.65 + log 0.9")


@test_case(
    points=1,
    failure_message=(
        "Small tables are right, larger ones are not. Write down the beam of "
        "each step by hand, those that stay and those that have ended."
    ),
)
def test_larger_tables(beam_decode):
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        table = (4 * torch.rand(7, 7, generator=generator)).log_softmax(dim=-1)
        table[:, BOS] = -torch.inf
        found = beam_search(
            lambda tokens, state, table=table: (table[tokens], state),
            {"none": torch.zeros(1)},
            torch.tensor([BOS]),
            EOS,
            pad_id=BOS,
            max_length=4,
            beam_size=3,
        ).first()
        got, log_prob = decode(beam_decode, table, 3, 4)
        expected = found.tokens[0, : found.lengths[0]].tolist()
        assert got == expected, (
            f"7 tokens, beam 3, max_length 4: expected {expected}, got {got}"
        )
        expect_close(
            log_prob,
            found.log_probs.item(),
            name=f"log-probability of {expected}",
        )
