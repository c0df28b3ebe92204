"""The decoder's state in a batch of beams: each row follows its hypothesis."""

import torch
from otter.test_files import test_case
from torch import Tensor

from attend.grading import expect_close, expect_tensor, show
from attend.grading.expect import UnusableAnswerError

OK_FORMAT = False
name = "q6"
points = None

MOVED = 100.0  # a step adds it to the state


def column(*numbers: float) -> Tensor:
    """A state with one number a row."""
    return torch.tensor(numbers)[:, None]


def two_by_three() -> dict[str, Tensor]:
    """Two sentences, three hypotheses each: rows 10, 11, 12 and 20, 21, 22."""
    rows = column(10.0, 11.0, 12.0, 20.0, 21.0, 22.0)
    return {"h": rows, "c": rows + 0.5}


def step(
    tokens: Tensor, state: dict[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Seven tokens; the new state is the old one plus 100."""
    expect_tensor(
        tokens,
        (len(state["h"]),),
        torch.int64,
        axes="rows",
        name="tokens, for step",
    )
    log_probs = torch.full((len(tokens), 7), 1 / 7).log()
    return log_probs, {part: tensor + MOVED for part, tensor in state.items()}


def chosen(*parents: list[int]):
    """A `choose` that always takes these parents.

    Token k of sentence b is 10 b + k.
    """
    table = torch.tensor(parents)
    batch, beam = table.shape
    tokens = 10 * torch.arange(batch)[:, None] + torch.arange(beam)

    def choose(log_probs: Tensor) -> tuple[Tensor, Tensor]:
        shape = (batch * beam, 7)
        expect_tensor(
            log_probs,
            shape,
            axes="batch · beam, vocab",
            name="log_probs, for choose",
        )
        return table.clone(), tokens.clone()

    return choose


def advanced(
    advance, state: dict[str, Tensor], *parents: list[int]
) -> dict[str, Tensor]:
    """The new state, with as many rows as the old one."""
    rows = len(state["h"])
    result = advance(
        step, chosen(*parents), torch.zeros(rows, dtype=torch.long), state
    )
    if not isinstance(result, tuple) or len(result) != 2:
        raise UnusableAnswerError(
            f"expected (tokens, state), got a {type(result).__name__}"
        )
    tokens, new = result
    expect_tensor(tokens, (rows,), axes="batch · beam", name="the new tokens")
    return whole(new, state, rows)


def whole(new: object, old: dict[str, Tensor], rows: int) -> dict[str, Tensor]:
    """The same names as before, and the right number of rows in each."""
    if not isinstance(new, dict) or new.keys() != old.keys():
        got = (
            f"the names {', '.join(new)}"
            if isinstance(new, dict)
            else f"a {type(new).__name__}"
        )
        raise UnusableAnswerError(
            f"state: expected a dict with {', '.join(old)}, got {got}"
        )
    for part, tensor in new.items():
        expect_tensor(
            tensor, (rows, *old[part].shape[1:]), name=f"state[{part!r}]"
        )
    return new


def line(parents: str, expected: list[float], got: Tensor) -> str:
    """Rows after the step, what is expected, and what came."""
    return (
        "rows after the step 110, 111, 112 and 120, 121, 122, parents "
        f"{parents}:\n  expected {show(expected)}\n  got      "
        f"{show(got.flatten())}"
    )


@test_case(
    points=1,
    failure_message=(
        "The copies of a row do not lie side by side. `repeat` lays the "
        "whole batch end to end: hypothesis 1 of the first sentence gets the "
        "state of the second. `repeat_interleave` repeats row by row."
    ),
)
def test_copies_side_by_side(repeat_state):
    old = {"h": column(1.0, 2.0)}
    new = whole(repeat_state(old, 3), old, 6)
    end_to_end = new["h"].flatten().tolist() == [1, 2, 1, 2, 1, 2]
    assert not end_to_end, (
        "rows [1, 2], beam 3: expected [1, 1, 1, 2, 2, 2], got [1, 2, 1, 2, "
        "1, 2]"
    )


@test_case(
    points=1,
    failure_message=(
        "A small state is repeated well, a larger one is not. It may hold "
        "several tensors, with any number of dimensions and any dtype. Their "
        "rows are repeated and nothing else: `dim=0`."
    ),
)
def test_whole_state_is_repeated(repeat_state):
    generator = torch.Generator().manual_seed(0)
    old = {
        "h": torch.rand(3, 2, 5, generator=generator),
        "mask": torch.arange(7) < torch.tensor([[[7]], [[3]], [[2]]]),
        "length": torch.tensor([7, 3, 2]),
    }
    try:
        new = whole(repeat_state(old, 2), old, 6)
    except (RuntimeError, IndexError) as error:
        raise AssertionError(error) from error
    for part, tensor in new.items():
        expect_tensor(tensor, dtype=old[part].dtype, name=f"state[{part!r}]")
        expected = torch.stack([old[part], old[part]], dim=1).flatten(0, 1)
        expect_close(
            tensor, expected, name=f"state[{part!r}], 3 sentences, beam 2"
        )


@test_case(
    points=1,
    failure_message=(
        "You handed on a state from before the step. The new token goes with "
        "the state after the step, `log_probs, state = step(tokens, state)`: "
        "reorder that one."
    ),
)
def test_state_after_the_step(advance):
    new = advanced(advance, two_by_three(), [2, 0, 0], [1, 1, 2])
    got = new["h"]
    expected = [112.0, 110.0, 110.0, 121.0, 121.0, 122.0]
    assert (got >= MOVED).all(), line("[2, 0, 0] and [1, 1, 2]", expected, got)


@test_case(
    points=1,
    failure_message=(
        "The state stays where it was. Each new hypothesis continues its "
        "*parent*, which may have been in another place: its row must be a "
        "copy of the parent's row."
    ),
)
def test_state_follows_the_parent(advance):
    new = advanced(advance, two_by_three(), [2, 0, 0], [1, 1, 2])
    moved = two_by_three()["h"] + MOVED
    assert not torch.equal(new["h"] % MOVED, moved % MOVED), line(
        "[2, 0, 0] and [1, 1, 2]",
        [112.0, 110.0, 110.0, 121.0, 121.0, 122.0],
        new["h"],
    )


@test_case(
    points=1,
    failure_message=(
        "The second sentence got the state of the first. Parents are counted "
        "within a sentence: parent k of sentence b is row b · beam + k of "
        "the state."
    ),
)
def test_parents_count_within_a_sentence(advance):
    new = advanced(advance, two_by_three(), [0, 1, 2], [1, 1, 2])
    got = new["h"] % MOVED
    assert not (got[3:] < 20).all(), line(
        "[0, 1, 2] and [1, 1, 2]",
        [110.0, 111.0, 112.0, 121.0, 121.0, 122.0],
        new["h"],
    )


@test_case(
    points=1,
    failure_message=(
        "One tensor of the state has followed its hypotheses, another has "
        "not. An LSTM has two, and with attention there are more: reorder "
        "every tensor of the dictionary."
    ),
)
def test_every_tensor_follows(advance):
    new = advanced(advance, two_by_three(), [2, 0, 0], [1, 1, 2])
    first, second = new["h"].flatten(), new["c"].flatten()
    assert torch.equal(first + 0.5, second), (
        "c was h + 0.5 in every row, parents [2, 0, 0] and [1, 1, 2]:\n"
        f"  h is now {show(first)}\n  c is now {show(second)}"
    )


@test_case(
    points=1,
    failure_message=(
        "Two hypotheses change places, and the state of one is lost. Did you "
        "copy row after row within one tensor? The second copy then reads "
        "what the first has overwritten. Index with all rows at once."
    ),
)
def test_two_change_places(advance):
    new = advanced(advance, two_by_three(), [1, 0, 2], [0, 1, 2])
    got = (new["h"] % MOVED)[:2].flatten().tolist()
    assert got[0] != got[1], line(
        "[1, 0, 2] and [0, 1, 2]",
        [111.0, 110.0, 112.0, 120.0, 121.0, 122.0],
        new["h"],
    )


@test_case(
    points=1,
    failure_message=(
        "Rows or tokens are in the wrong order. By what do you multiply b? "
        "Sentence b begins at row b · beam, not b · batch. And the tokens "
        "come row by row, those of the first sentence first."
    ),
)
def test_rows_of_every_sentence(advance):
    new = advanced(advance, two_by_three(), [2, 0, 0], [1, 1, 2])
    expected = [112.0, 110.0, 110.0, 121.0, 121.0, 122.0]
    got = new["h"].flatten()
    assert got.tolist() == expected, line(
        "[2, 0, 0] and [1, 1, 2]", expected, got
    )
    state = two_by_three()
    tokens, _ = advance(
        step,
        chosen([2, 0, 0], [1, 1, 2]),
        torch.zeros(6, dtype=torch.long),
        state,
    )
    expect_close(
        tokens,
        torch.tensor([0, 1, 2, 10, 11, 12]),
        name="tokens 0, 1, 2 and 10, 11, 12",
    )
