"""A step leaves the tensors that it was given as they are, or is refused.

Other hypotheses still need them, and so does whoever began the search.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from attend.decoding import (
    Decoded,
    State,
    Step,
    beam_search,
    exact_search,
    greedy,
    mutual_information,
    sample,
    sequence_log_probs,
)
from tests.library.tables import (
    EOS,
    PAD,
    bos,
    make_model,
    make_tables,
    padded,
    sources,
)

LIMIT, VOCAB = 4, 5
LOG_PROBS = torch.tensor([-1.0, -2.0, -9.0, -1.5, -1.25]).log_softmax(dim=0)
PROMPT = padded([(3,), (4, 3)])


def start() -> State:
    """A state of two rows, each tensor with other numbers."""
    return {
        "source": torch.tensor([3, 5]),
        "h": torch.arange(22.0).view(2, 11),
        "cache": torch.arange(14.0).view(2, 7, 1),
    }


def pure(tokens: Tensor, state: State) -> tuple[Tensor, State]:
    """One tensor is passed on, one is new, one grows."""
    written = tokens[:, None, None].float()
    new = {
        "source": state["source"],
        "h": state["h"] + 1,
        "cache": torch.cat([state["cache"], written], dim=1),
    }
    return LOG_PROBS.expand(len(tokens), VOCAB).clone(), new


# what an exact search may start from: very unlikely
START = Decoded(
    torch.tensor([[EOS], [EOS]]),
    torch.tensor([1, 1]),
    torch.tensor([-99.0, -99.0]),
    None,
)
SEARCHES: dict[str, Callable[..., Any]] = {
    "greedy": lambda step, first, state, **options: greedy(
        step, state, first, EOS, PAD, LIMIT, **options
    ),
    "sample": lambda step, first, state, **options: sample(
        *(step, state, first, EOS, PAD, LIMIT),
        generator=torch.Generator().manual_seed(0),
        **options,
    ),
    "beam_search": lambda step, first, state, **options: beam_search(
        step, state, first, EOS, PAD, LIMIT, beam_size=3, **options
    ),
    "exact_search": lambda step, first, state, **options: exact_search(
        step, state, first, EOS, PAD, LIMIT, START, **options
    ),
    "sequence_log_probs": lambda step, first, state: sequence_log_probs(
        *(step, state, torch.full((2, LIMIT), 3), torch.tensor([4, 2]), first)
    ),
    "mutual_information": lambda step, first, state: mutual_information(
        *(step, beam_search(pure, start(), bos(2), EOS, PAD, LIMIT)),
        *(state, first),
    ),
}
PROMPTED = ("greedy", "sample", "beam_search", "exact_search")


def add(tensor: Tensor) -> None:
    tensor += 1


def one_place(tensor: Tensor) -> None:
    tensor[..., 0] = 3


def one_row(tensor: Tensor) -> None:
    tensor[1:] *= 2


def view(tensor: Tensor) -> None:
    tensor.view(-1)[0] = 3


def view_of_a_view(tensor: Tensor) -> None:
    tensor[None].transpose(0, 1)[:, 0].fill_(3)


def detached(tensor: Tensor) -> None:
    tensor.detach().zero_()


def out(tensor: Tensor) -> None:
    torch.add(tensor, 1, out=tensor)


def by_index(tensor: Tensor) -> None:
    tensor.index_fill_(0, torch.tensor([0]), 3)


def the_same_number(tensor: Tensor) -> None:
    """Nothing comes of it here, but of the next number something would."""
    tensor.copy_(tensor.clone())


CHANGES = (
    add,
    one_place,
    one_row,
    view,
    view_of_a_view,
    detached,
    out,
    by_index,
    the_same_number,
)


def changing(
    name: str, change: Callable[[Tensor], None], when: int, clone: bool = False
) -> Step:
    """A step that changes one tensor, or a clone of it, at one of its calls."""
    calls = 0

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        nonlocal calls
        calls += 1
        if calls > when:
            tensor = tokens if name == "the tokens" else state[name]
            change(tensor.clone() if clone else tensor)
        return pure(tokens, state)

    return step


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["source", "h", "cache", "the tokens"])
@pytest.mark.parametrize("when", [0, 2])
def test_a_change_in_place_is_refused(
    search: str, change: Callable[[Tensor], None], name: str, when: int
) -> None:
    """In what the search was given, and in what it has made itself."""
    with pytest.raises(
        ValueError,
        match=(
            f"step changed '{name}' in place, but other hypotheses still need "
            "it as it was: make a new tensor"
        ),
    ):
        SEARCHES[search](changing(name, change, when), bos(2), start())


@pytest.mark.parametrize("search", PROMPTED)
@pytest.mark.parametrize("name", ["source", "h", "cache", "the tokens"])
@pytest.mark.parametrize("when", [0, 1, 2])
def test_a_change_in_place_is_refused_while_a_prompt_lasts(
    search: str, name: str, when: int
) -> None:
    step = changing(name, add, when)
    with pytest.raises(ValueError, match=f"step changed '{name}' in place"):
        SEARCHES[search](step, bos(2), start(), prompt=PROMPT)


def assert_equal(found: Any, expected: Any) -> None:
    """Two results of a search are the same to the bit."""
    if isinstance(found, Tensor):
        found, expected = (found,), (expected,)
    for own, its in zip(found, expected, strict=True):
        assert (own is its is None) or torch.equal(own, its)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["source", "h", "cache", "the tokens"])
def test_a_clone_may_be_changed(
    search: str, change: Callable[[Tensor], None], name: str
) -> None:
    """And what was given is afterwards as it was."""
    first, state = bos(2), start()
    step = changing(name, change, 0, clone=True)
    found = SEARCHES[search](step, first, state)
    assert_equal(found, SEARCHES[search](pure, bos(2), start()))
    assert torch.equal(first, bos(2))
    assert all(torch.equal(state[name], start()[name]) for name in start())


@pytest.mark.parametrize("search", SEARCHES)
def test_a_step_may_change_what_it_makes(search: str) -> None:
    """A new tensor is its own, in the step that makes it."""

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        log_probs, new = pure(tokens, state)
        new["h"] *= 2
        new["h"].detach()[:, 0] = 7
        log_probs -= 0.0
        return log_probs, new

    found = SEARCHES[search](step, bos(2), start())
    assert_equal(found, SEARCHES[search](pure, bos(2), start()))


with_and_without_prompt = pytest.mark.parametrize(
    ("search", "options"),
    [(name, {}) for name in SEARCHES]
    + [(name, {"prompt": PROMPT}) for name in PROMPTED],
    ids=lambda value: value if isinstance(value, str) else "".join(value),
)


@with_and_without_prompt
@pytest.mark.parametrize("seed", range(5))
def test_a_step_may_fill_in_the_dict_that_it_was_given(
    search: str, options: dict[str, Tensor], seed: int
) -> None:
    """The dict is its own, and the tensors in it still are not."""
    tables, run = make_tables(2, VOCAB, seed, ending=-1.0), SEARCHES[search]

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        log_probs, new = tables.step(tokens, state)
        state.update(new)
        return log_probs, state

    start = tables.start()
    expected = run(tables.step, bos(2), tables.start(), **options)
    assert_equal(run(step, bos(2), start, **options), expected)
    assert_equal(run(step, bos(2), start, **options), expected)  # untouched
    assert start.keys() == tables.start().keys()


@with_and_without_prompt
@pytest.mark.parametrize("attention", ["none", "bahdanau", "luong"])
def test_inference_mode_changes_nothing(
    search: str, options: dict[str, Tensor], attention: str
) -> None:
    """Around the search, around the encoder, and around both."""
    model = make_model(attention, vocab=VOCAB)
    read, run = sources([3, 2], width=5), SEARCHES[search]
    expected = run(model.step, bos(2), model.encode(*read), **options)
    with torch.inference_mode():
        state = model.encode(*read)
        inside = run(model.step, bos(2), state, **options)
    outside = run(model.step, bos(2), state, **options)
    with torch.inference_mode():
        around = run(model.step, bos(2), model.encode(*read), **options)
    for found in (inside, outside, around):
        assert_equal(found, expected)


@pytest.mark.parametrize("search", SEARCHES)
def test_inference_mode_allows_a_step_on_clones(search: str) -> None:
    """There nobody counts changes, but the search goes through."""
    expected = SEARCHES[search](pure, bos(2), start())
    with torch.inference_mode():
        step = changing("h", add, 0, clone=True)
        found = SEARCHES[search](step, bos(2), start())
    assert_equal(found, expected)


def test_a_search_leaves_no_trace_of_gradients() -> None:
    """A state that needs a gradient is searched from, and stays as it was."""
    model = make_model("bahdanau", vocab=VOCAB)
    state = model.encode(*sources([3, 2], width=5))
    assert state["h"].requires_grad
    before = {name: tensor.detach().clone() for name, tensor in state.items()}
    for search in PROMPTED:
        SEARCHES[search](model.step, bos(2), state, prompt=PROMPT)
    assert state["h"].requires_grad
    assert_close({name: state[name].detach() for name in state}, before)
