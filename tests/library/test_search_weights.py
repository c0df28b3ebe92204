"""The attention weights that a search returns, whatever stands between.

A state's are `(batch, …, 1, key)`, where `…` is nothing, layers, or layers and
heads, and the keys are a source's or grow with what was written.
"""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from attend.decoding import (
    NBest,
    State,
    Step,
    beam_search,
    greedy,
    mutual_information,
    sample,
)
from tests.library.tables import (
    BOS,
    EOS,
    PAD,
    Tables,
    bos,
    make_tables,
    padded,
    random_tables,
)

LAYERS, HEADS = 2, 3
BETWEEN: list[tuple[int, ...]] = [(), (LAYERS,), (LAYERS, HEADS), (5, 1, 2)]


def scale(between: tuple[int, ...]) -> Tensor:
    """Another number for each head: 1, 2, 3 …, `(…, 1, 1)`."""
    count = math.prod(between)
    return torch.arange(1, count + 1).double().view(*between, 1, 1)


def remembering(tables: Tables, between: tuple[int, ...]) -> tuple[Step, State]:
    """A step that looks at all it was fed, with a weight that says what.

    There is one key more at each step.
    """
    own = tables.start()

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        log_probs, new = tables.step(
            tokens, {name: state[name] for name in own}
        )
        fed = torch.cat([state["fed"], tokens[:, None]], dim=1)
        looks = (1.0 + fed).view(len(fed), *[1] * len(between), 1, -1)
        return log_probs, new | {"fed": fed, "weights": looks * scale(between)}

    nothing = torch.zeros(len(tables.log_probs), 0, dtype=torch.long)
    return step, own | {"fed": nothing}


def remembered(
    first: int, tokens: Tensor, length: int, between: tuple[int, ...]
) -> Tensor:
    """The weights of that step for one sequence, `(…, length, key)`."""
    fed = [first, *tokens.tolist()][: len(tokens)]
    looks = torch.zeros(len(tokens), len(tokens), dtype=torch.float64)
    for time in range(length):
        for key in range(time + 1):
            looks[time, key] = 1 + fed[key]
    return looks * scale(between)


@given(
    random_tables(),
    st.integers(1, 7),
    st.sampled_from(BETWEEN),
    st.integers(1, 4),
    st.data(),
)
def test_the_weights_of_a_beam_are_each_hypothesis_own(
    tables: Tables,
    max_length: int,
    between: tuple[int, ...],
    beam_size: int,
    data: st.DataObject,
) -> None:
    """After every reordering; zero for later keys and after the end."""
    num_best = data.draw(st.integers(1, beam_size), label="num_best")
    step, start = remembering(tables, between)
    found = beam_search(
        *(step, start, tables.first, EOS, PAD, max_length, beam_size, num_best)
    )
    if not found.lengths.any():
        return
    batch, longest = len(found.lengths), int(found.lengths.max())
    assert found.weights is not None
    expected = (batch, num_best, *between, longest, longest)
    assert found.weights.shape == expected
    for row in range(batch):
        for place, length in enumerate(found.lengths[row].tolist()):
            tokens = found.tokens[row, place]
            own = remembered(BOS, tokens, length, between)
            assert torch.equal(found.weights[row, place], own)
    first, length = found.first(), int(found.lengths[:, 0].max())
    assert first.weights is not None
    assert torch.equal(first.weights, found.weights[:, 0, ..., :length, :])


PROMPTS = padded([(), (5, 3), (4,)])


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("prompt", [None, PROMPTS], ids=["", "prompt"])
def test_greedy_search_and_a_beam_of_one_return_the_same_weights(
    between: tuple[int, ...], seed: int, prompt: Tensor | None
) -> None:
    """And so does sampling, of what it draws."""
    tables = make_tables(3, 7, seed)
    step, start = remembering(tables, between)
    first = torch.tensor([4, BOS, 6])
    given = (step, start, first, EOS, PAD, 7)
    alone = greedy(*given, prompt=prompt)
    beam = beam_search(*given, beam_size=1, prompt=prompt).first()
    drawn = sample(
        *given, generator=torch.Generator().manual_seed(seed), prompt=prompt
    )
    for found in (alone, beam, drawn):
        assert found.weights is not None
        length = found.tokens.shape[1]
        assert found.weights.shape == (3, *between, length, length)
        for row, its in enumerate(found.lengths.tolist()):
            own = remembered(int(first[row]), found.tokens[row], its, between)
            assert torch.equal(found.weights[row], own)
    assert torch.equal(alone.tokens, beam.tokens)
    assert torch.equal(alone.weights, beam.weights)


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("keys", [(2, 5, 3), (5, 3, 2), (2, 3, 5), (3, 3, 3)])
def test_a_key_that_a_step_did_not_have_gets_zero(
    between: tuple[int, ...], keys: tuple[int, ...]
) -> None:
    """Also where a later step has fewer."""

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        time = int(state["time"][0])
        weights = torch.full((len(tokens), *between, 1, keys[time]), 0.5)
        log_probs = torch.tensor([-0.5, -9.0, -9.0, -9.0]).expand(
            len(tokens), 4
        )
        return log_probs, {"time": state["time"] + 1, "weights": weights}

    given = (step, {"time": torch.zeros(2).long()}, bos(2), EOS, PAD, 3)
    for found in (greedy(*given), beam_search(*given, beam_size=2).first()):
        assert found.weights is not None
        assert found.weights.shape == (2, *between, 3, 5 if 5 in keys else 3)
        for time, number in enumerate(keys):
            assert (found.weights[..., time, :number] == 0.5).all()
            assert (found.weights[..., time, number:] == 0).all()


def test_the_rows_above_end_at_different_times() -> None:
    """If this failed, nothing would be zero after the end."""
    lengths = set()
    for seed in range(5):
        tables = make_tables(3, 7, seed)
        first = torch.tensor([4, BOS, 6])
        found = greedy(tables.step, tables.start(), first, EOS, PAD, 7)
        lengths.add(len(found.lengths.unique()))
    assert max(lengths) > 1


# --- A source's keys ---


def with_heads(tables: Tables, between: tuple[int, ...]) -> Step:
    """The tables' weights in every head, some larger and some smaller.

    Their mean is what the tables say.
    """
    shares = scale(between) / scale(between).mean()

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        log_probs, new = tables.step(tokens, state)
        weights = new["weights"]  # (rows, 1, key)
        weights = weights.view(len(weights), *[1] * len(between), 1, -1)
        return log_probs, new | {"weights": weights * shares}

    return step


@given(
    random_tables(),
    st.integers(1, 7),
    st.sampled_from(BETWEEN),
    st.sampled_from([0.2, 2.0]),
    st.sampled_from([0.0, 0.6]),
)
def test_coverage_with_heads_is_that_of_their_mean(
    tables: Tables,
    max_length: int,
    between: tuple[int, ...],
    coverage_penalty: float,
    length_penalty: float,
) -> None:
    given = (tables.start(), tables.first, EOS, PAD, max_length)
    options = {
        "num_best": 4,
        "length_penalty": length_penalty,
        "coverage_penalty": coverage_penalty,
    }
    expected = beam_search(tables.step, *given, **options)
    found = beam_search(with_heads(tables, between), *given, **options)
    assert torch.equal(found.tokens, expected.tokens)
    assert_close(found.scores, expected.scores, rtol=1e-12, atol=1e-12)
    assert found.weights is not None and expected.weights is not None
    assert found.weights.shape[2 : 2 + len(between)] == between
    mean = (
        found.weights.flatten(2, -3).mean(dim=2) if between else found.weights
    )
    assert_close(mean, expected.weights, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("between", BETWEEN)
def test_weights_where_nothing_was_found_have_no_steps(
    between: tuple[int, ...],
) -> None:
    only_end = torch.full((2, 5), -math.inf).index_fill(1, torch.tensor([2]), 0)

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        weights = torch.ones(len(tokens), *between, 1, 7)
        return only_end.repeat(2, 1)[: len(tokens)], {"weights": weights}

    found = beam_search(
        *(step, {"h": torch.zeros(2)}, bos(2), EOS, PAD, 3),
        beam_size=2,
        min_length=2,
    )
    assert found.weights is not None
    assert found.weights.shape == (2, 1, *between, 0, 7)


def test_mutual_information_takes_the_weights_along() -> None:
    tables = make_tables(3, 7, seed=1, sharpness=2.0)
    step, start = remembering(tables, (LAYERS, HEADS))
    given = (step, start, tables.first, EOS, PAD, 5)
    found = beam_search(*given, beam_size=5, num_best=5)
    ranked = mutual_information(step, found, start, tables.first, num_best=3)
    assert not torch.equal(ranked.tokens, found.tokens[:, :3])
    assert ranked.weights is not None
    for row in range(3):
        for place, length in enumerate(ranked.lengths[row].tolist()):
            tokens = ranked.tokens[row, place]
            own = remembered(BOS, tokens, length, (LAYERS, HEADS))
            assert torch.equal(ranked.weights[row, place], own)


# --- What is refused ---


def looking(weights: Tensor, mask: Tensor) -> tuple[Step, State]:
    """A step that always looks in the same way, for each of its rows."""

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        looks = weights[:1].expand(len(tokens), *weights.shape[1:])
        log_probs = torch.full((len(tokens), 5), 0.2).log()
        return log_probs, {**state, "weights": looks}

    return step, {"mask": mask}


@pytest.mark.parametrize(
    "shape", [(1, 1, 4), (1, 1, 6), (1, 2, 5), (1, 5), (1, 3, 1, 5), (1, 1, 1)]
)
@pytest.mark.parametrize("between", BETWEEN)
def test_coverage_needs_a_mask_of_the_keys(
    shape: tuple[int, ...], between: tuple[int, ...]
) -> None:
    mask = torch.ones(2, *shape[1:]).bool()
    step, start = looking(torch.rand(1, *between, 1, 5), mask)
    given = (step, start, bos(2), EOS, PAD, 3)
    message = (
        r"needs weights on the source and a mask \(batch, 1, 5\) of it, got a "
        rf"mask \({', '.join(map(str, mask.shape))}\): use coverage_penalty=0"
    ).replace(r"mask \(2", r"mask \(\d+")
    with pytest.raises(ValueError, match=message):
        beam_search(*given, coverage_penalty=0.2)
    beam_search(*given)  # without it nobody looks at the mask


@pytest.mark.parametrize("between", BETWEEN)
def test_coverage_of_what_was_written_is_refused(
    between: tuple[int, ...],
) -> None:
    """Its keys become more, and the mask of a source does not."""
    tables = make_tables(2, 5, seed=0, ending=-9.0)
    step, start = remembering(tables, between)
    start["mask"] = torch.ones(2, 1, 3).bool()
    with pytest.raises(ValueError, match="needs weights on the source and a"):
        beam_search(*(step, start, bos(2), EOS, PAD, 5), coverage_penalty=0.2)


SEARCHES: dict[str, Callable[..., object]] = {
    "greedy": greedy,
    "sample": sample,
    "beam_search": lambda *given: beam_search(*given, beam_size=1),
}


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    "shape", [(), (5,), (1,), (2, 5), (5, 1), (LAYERS, 3, 5), (3, 1, 2, 5)]
)
def test_weights_are_those_of_one_token(
    search: str, batch: int, shape: tuple[int, ...]
) -> None:
    """Not of several, and not without a dimension for the one."""
    step, start = looking(torch.rand(1, *shape), torch.ones(batch, 1, 5).bool())
    with pytest.raises(
        ValueError,
        match=(
            r"step must return `weights` of shape \(batch, …, 1, key\), those "
            rf"of one token, got \({batch}{''.join(f', {n}' for n in shape)}"
        ),
    ):
        SEARCHES[search](step, start, bos(batch), EOS, PAD, 3)


@pytest.mark.parametrize("between", BETWEEN)
def test_the_first_of_several_is_cut_to_its_own_length(
    between: tuple[int, ...],
) -> None:
    tokens = torch.tensor([[[3, EOS, PAD], [3, 4, EOS]], [[EOS, PAD, PAD]] * 2])
    lengths = torch.tensor([[2, 3], [1, 1]])
    scores = torch.tensor([[-1.0, -2.0], [-3.0, -5.0]])
    weights = torch.rand(2, 2, *between, 3, 7)
    found = NBest(tokens, lengths, 2 * scores, scores, weights).first()
    assert found.tokens.tolist() == [[3, EOS], [EOS, PAD]]
    assert found.lengths.tolist() == [2, 1]
    assert found.log_probs.tolist() == [-2, -6]
    assert found.weights is not None
    assert torch.equal(found.weights, weights[:, 0, ..., :2, :])
    assert NBest(tokens, lengths, scores, scores, None).first().weights is None
