"""What a search goes on from: the tokens fed first, and prompts.

Prompts of different lengths stand in one batch, and some rows have none. The
searches are compared with loops over plain numbers that start after the prompt.
"""

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from attend.decoding import (
    Decoded,
    NBest,
    State,
    beam_search,
    exact_search,
    greedy,
    sample,
    sequence_log_probs,
)
from tests.library import reference_search
from tests.library.reference_search import Goal, Prefix
from tests.library.tables import (
    BOS,
    EOS,
    PAD,
    Tables,
    assert_found,
    bos,
    make_model,
    make_tables,
    padded,
    random_tables,
    sources,
)


@dataclass
class Case:
    """What to start from, row by row.

    Attributes:
        tables: the models.
        first: the token fed first.
        prompts: what follows it.
        pad_id: what pads prompts and results.
        more: padding after the longest prompt.
    """

    tables: Tables
    first: list[int]
    prompts: list[Prefix]
    pad_id: int = PAD
    more: int = 0

    @property
    def given(self) -> tuple[Any, ...]:
        """The first arguments of every search."""
        first = torch.tensor(self.first)
        start = self.tables.start()
        return self.tables.step, start, first, EOS, self.pad_id

    @property
    def prompt(self) -> Tensor:
        return padded(self.prompts, self.pad_id, self.more)

    def model(self, row: int) -> reference_search.Model:
        return self.tables.model(row, self.first[row])

    def only(self, row: int) -> "Case":
        """One row, with its own prompt's padding."""
        tables = self.tables.only([row])
        return Case(tables, [self.first[row]], [self.prompts[row]], self.pad_id)


@st.composite
def cases(
    draw: st.DrawFn, longest: int, batch: int = 3, max_vocab: int = 7
) -> Case:
    """Any first token, and prompts of at most `longest` tokens, many empty."""
    tables = draw(random_tables(batch, max_vocab))
    rows, pad_id = len(tables.log_probs), draw(st.sampled_from([PAD, EOS]))
    tokens = st.sampled_from(
        [i for i in range(tables.vocab_size) if i not in (EOS, pad_id)]
    )
    prompt = st.just([]) | st.lists(tokens, max_size=longest)
    return Case(
        tables,
        [draw(st.integers(0, tables.vocab_size - 1)) for _ in range(rows)],
        [tuple(draw(prompt)) for _ in range(rows)],
        pad_id,
        draw(st.integers(0, 9)),
    )


# --- Against loops ---


@settings(max_examples=200)
@given(data=st.data(), max_length=st.integers(1, 7))
def test_a_beam_with_prompts_is_the_search_in_loops(
    data: st.DataObject, max_length: int
) -> None:
    """Every sequence, length, log-probability, score and weight.

    And the number of steps. The prompt counts where lengths and coverage do.
    """
    case = data.draw(cases(longest=max_length - 1))
    goal = Goal(
        EOS,
        max_length,
        data.draw(st.integers(1, max_length), label="min_length"),
        data.draw(st.sampled_from([0.0, 0.6, 3.0]), label="length_penalty"),
        data.draw(st.sampled_from([0.0, 0.0, 0.2]), label="coverage_penalty"),
    )
    most = case.tables.vocab_size
    beam_size = data.draw(st.integers(1, most), label="beam_size")
    num_best = data.draw(st.integers(1, beam_size), label="num_best")
    found = beam_search(
        *case.given,
        max_length,
        beam_size,
        num_best,
        goal.length_penalty,
        goal.coverage_penalty,
        goal.min_length,
        case.prompt,
    )
    stops = []
    for row, prompt in enumerate(case.prompts):
        expected, stop, _ = reference_search.beam_search(
            case.model(row), replace(goal, prompt=prompt), beam_size, num_best
        )
        assert_found(found, row, expected, pad_id=case.pad_id)
        stops.append(stop)
    assert case.tables.rows == [len(stops) * beam_size] * max(stops)
    assert found.tokens.shape == (len(stops), num_best, found.lengths.max())


@settings(max_examples=60)
@given(data=st.data(), max_length=st.integers(1, 3), num_best=st.integers(1, 7))
def test_a_beam_with_prompts_and_room_for_everything_is_brute_force(
    data: st.DataObject, max_length: int, num_best: int
) -> None:
    case = data.draw(cases(longest=max_length - 1, batch=2, max_vocab=5))
    vocab = case.tables.vocab_size
    size = (max_length, vocab**max_length, min(num_best, vocab**max_length))
    found = beam_search(*case.given, *size, prompt=case.prompt)
    for row, prompt in enumerate(case.prompts):
        everything = reference_search.brute_force(
            case.model(row), Goal(EOS, max_length, prompt=prompt), vocab
        )
        best = everything[: size[2]]
        assert_found(found, row, best, pad_id=case.pad_id)


def as_n_best(found: Decoded) -> NBest:
    """The sequences as those of a search that returns one for each source."""
    tokens, lengths, log_probs, weights = found
    looks = None if weights is None else weights[:, None]
    total = log_probs[:, None]
    return NBest(tokens[:, None], lengths[:, None], total, total, looks)


@settings(max_examples=150)
@given(data=st.data(), max_length=st.integers(1, 7))
def test_greedy_search_with_prompts_is_the_search_in_loops(
    data: st.DataObject, max_length: int
) -> None:
    """And a beam of one finds the same, weights included."""
    case = data.draw(cases(longest=max_length - 1))
    found = greedy(*case.given, max_length, prompt=case.prompt)
    for row, prompt in enumerate(case.prompts):
        goal = Goal(EOS, max_length, prompt=prompt)
        best, _, _ = reference_search.beam_search(case.model(row), goal, 1, 1)
        assert_found(as_n_best(found), row, best, pad_id=case.pad_id)
    given = (*case.given, max_length)
    beam = beam_search(*given, beam_size=1, prompt=case.prompt).first()
    for own, its in zip(found, beam, strict=True):
        assert_close(own, its, rtol=1e-12, atol=1e-12)


@settings(max_examples=100)
@given(data=st.data(), max_length=st.integers(1, 4), beam=st.integers(1, 4))
def test_exact_search_with_prompts_is_brute_force(
    data: st.DataObject, max_length: int, beam: int
) -> None:
    case = data.draw(cases(longest=max_length - 1, batch=3, max_vocab=5))
    given, prompt = (*case.given, max_length), case.prompt
    if beam == 1:
        start = greedy(*given, prompt=prompt)
    else:
        start = beam_search(*given, beam_size=beam, prompt=prompt).first()
    found = exact_search(*given, start, prompt=prompt)
    for row, its in enumerate(case.prompts):
        goal = Goal(EOS, max_length, prompt=its)
        everything = reference_search.brute_force(
            case.model(row), goal, case.tables.vocab_size
        )
        best = [one for one in everything[:1] if one.tokens[-1] == EOS]
        assert_found(as_n_best(found), row, best, pad_id=case.pad_id)
    assert found.weights is None


def test_samples_after_prompts_come_as_often_as_they_should() -> None:
    """Half of the rows have no prompt, half go on from one of one token."""
    draws, limit, prompts = 10_000, 3, [(), (4,)]
    one = make_tables(1, 5, seed=4, sharpness=2.0)
    tables = Tables(
        one.log_probs.expand(2 * draws, *[-1] * 4),
        one.weights.expand(2 * draws, *[-1] * 4),
        one.mask.expand(2 * draws, -1, -1),
        [],
    )
    case = Case(tables, [BOS] * 2 * draws, prompts * draws)
    generator = torch.Generator().manual_seed(5)
    found = sample(*case.given, limit, generator=generator, prompt=case.prompt)
    rows = list(zip(found.tokens.tolist(), found.lengths, strict=True))
    for number, prompt in enumerate(prompts):
        counts = Counter(tuple(row[:length]) for row, length in rows[number::2])
        goal = Goal(EOS, limit, prompt=prompt)
        shares = reference_search.distribution(one.model(0), goal)
        assert set(counts) <= set(shares)
        statistic, freedom = reference_search.pearson(counts, shares)
        assert freedom > 10
        # four deviations, as in test_decoding.py
        assert statistic < freedom + 4 * math.sqrt(2 * freedom)


@given(data=st.data(), max_length=st.integers(1, 7), seed=st.integers(0, 99))
def test_samples_after_prompts_have_the_models_own_log_probs(
    data: st.DataObject, max_length: int, seed: int
) -> None:
    """Whatever the head is cut to: the prompt may lie outside of it."""
    case = data.draw(cases(longest=max_length - 1))
    options = data.draw(
        st.sampled_from(
            [{}, {"temperature": 0.5}, {"top_k": 2}, {"top_p": 0.4}]
        )
    )
    generator = torch.Generator().manual_seed(seed)
    given = (*case.given, max_length)
    options |= {"generator": generator, "prompt": case.prompt}
    found = sample(*given, **options)
    for row, prompt in enumerate(case.prompts):
        tokens = found.tokens[row, : found.lengths[row]].tolist()
        goal = Goal(EOS, max_length, prompt=prompt)
        judged = reference_search.judge(case.model(row), goal, tuple(tokens))
        assert_found(as_n_best(found), row, [judged], pad_id=case.pad_id)
        assert len(tokens) > len(prompt)
        assert tuple(tokens[: len(prompt)]) == prompt
        assert EOS not in tokens[:-1]
        assert tokens[-1] == EOS or len(tokens) == max_length


# --- Each row for itself ---

SEARCHES: dict[str, Callable[..., Decoded]] = {
    "greedy": greedy,
    "beam_search": lambda *given, **options: beam_search(
        *given, beam_size=3, **options
    ).first(),
    "exact_search": lambda *given, **options: exact_search(
        *given, greedy(*given, **options), **options
    ),
}
ALL = SEARCHES | {
    "sample": lambda *given, **options: sample(
        *given, generator=torch.Generator().manual_seed(1), **options
    ),
}


def make_case(seed: int, pad_id: int = PAD, ending: float = 0.0) -> Case:
    """Five rows, each with its own first token; two without a prompt."""
    prompts: list[Prefix] = [(4,), (), (3, 6, BOS), (), (5, 5)]
    tables = make_tables(5, 7, seed, ending=ending)
    return Case(tables, [BOS, 3, 6, 5, BOS], prompts, pad_id)


def assert_same(found: Decoded, row: int, alone: Decoded, pad_id: int) -> None:
    """A row is what was found alone, then padding and zeros."""
    width = alone.tokens.shape[1]
    assert torch.equal(found.tokens[row, :width], alone.tokens[0])
    assert (found.tokens[row, width:] == pad_id).all()
    assert torch.equal(found.lengths[row], alone.lengths[0])
    assert_close(found.log_probs[row], alone.log_probs[0])
    if found.weights is not None:
        assert alone.weights is not None
        assert_close(found.weights[row, :width], alone.weights[0])
        assert (found.weights[row, width:] == 0).all()


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("prompted", [False, True])
def test_a_row_alone_equals_a_row_among_others(
    search: str, seed: int, prompted: bool
) -> None:
    """Its first token is its own, and so is its prompt."""
    case, limit = make_case(seed, ending=-1.0), 5
    options = {"prompt": case.prompt} if prompted else {}
    found = SEARCHES[search](*case.given, limit, **options)
    assert len({*map(tuple, found.tokens.tolist())}) > 1
    for row in range(5):
        one = case.only(row)
        options = {"prompt": one.prompt} if prompted else {}
        alone = SEARCHES[search](*one.given, limit, **options)
        assert_same(found, row, alone, PAD)


@pytest.mark.parametrize("search", SEARCHES)
def test_the_order_of_rows_does_not_matter(search: str) -> None:
    case, order = make_case(seed=1), [3, 0, 4, 2, 1]
    found = SEARCHES[search](*case.given, 5, prompt=case.prompt)
    other = replace(
        case,
        tables=case.tables.only(order),
        first=[case.first[row] for row in order],
    )
    prompt = case.prompt[order]
    shuffled = SEARCHES[search](*other.given, 5, prompt=prompt)
    assert torch.equal(shuffled.tokens, found.tokens[order])
    assert torch.equal(shuffled.lengths, found.lengths[order])
    assert_close(shuffled.log_probs, found.log_probs[order])


def test_sequence_log_probs_with_different_first_tokens() -> None:
    case = make_case(seed=2)
    step, start, first, *_ = case.given
    tokens, lengths = torch.full((5, 3), 4), torch.tensor([3, 1, 2, 3, 0])
    together = sequence_log_probs(step, start, tokens, lengths, first)
    for row, length in enumerate(lengths.tolist()):
        judged = reference_search.judge(
            case.model(row), Goal(EOS, 3), (4,) * length
        )
        assert_close(float(together[row]), judged.log_prob)
    assert len(set(together.tolist())) == 5


# --- What a prompt is worth ---


@pytest.mark.parametrize("search", ALL)
@pytest.mark.parametrize("seed", range(3))
def test_log_probs_are_those_of_all_without_those_of_the_prompt(
    search: str, seed: int
) -> None:
    case = make_case(seed)
    found = ALL[search](*case.given, 6, prompt=case.prompt)
    step, start, first, *_ = case.given
    whole, given = (
        sequence_log_probs(step, start, tokens, lengths, first)
        for tokens, lengths in (
            (found.tokens, found.lengths),
            (case.prompt, (case.prompt != PAD).sum(dim=1)),
        )
    )
    assert (found.lengths > 0).all()
    assert_close(found.log_probs.double(), whole - given)
    assert (given < 0).sum() == 3  # and nothing is taken off where none is


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("attention", ["none", "bahdanau", "luong"])
def test_a_prompt_is_what_a_model_has_read_before(
    search: str, attention: str
) -> None:
    """Searching with it equals searching from the state after it."""
    model = make_model(attention, vocab=7)
    state = model.encode(*sources([3, 11, 5], width=13))
    prompt = torch.tensor([[3, 6], [4, 4], [BOS, 5]])
    given = (model.step, state, bos(3), EOS, PAD, 6)
    found = SEARCHES[search](*given, prompt=prompt)
    with torch.no_grad():
        for token in (bos(3), prompt[:, 0]):
            _, state = model.step(token, state)
    after = (model.step, state, prompt[:, 1], EOS, PAD, 4)
    later = SEARCHES[search](*after)
    real = later.lengths > 0
    assert real.any()
    assert torch.equal(found.tokens[real, :2], prompt[real])
    assert torch.equal(found.tokens[real, 2:], later.tokens[real])
    assert torch.equal(found.lengths[real], later.lengths[real] + 2)
    assert_close(found.log_probs, later.log_probs)
    if found.weights is not None and later.weights is not None:
        assert_close(found.weights[:, 2:], later.weights)
        assert (found.weights[:, :2].sum(dim=-1) > 0).all()


def test_the_shortest_length_counts_the_prompt() -> None:
    tables = make_tables(2, 5, seed=0, ending=9.0)  # it would end at once
    prompt = torch.tensor([[4, 3], [PAD, PAD]])
    given = (tables.step, tables.start(), tables.first, EOS, PAD, 7)
    for least, lengths in ((1, [3, 1]), (3, [3, 3]), (4, [4, 4])):
        found = beam_search(*given, 2, min_length=least, prompt=prompt)
        assert found.lengths.flatten().tolist() == lengths


@pytest.mark.parametrize("search", ALL)
@pytest.mark.parametrize("width", [0, 1, 13])
def test_an_empty_prompt_is_none(search: str, width: int) -> None:
    """Also where there is more padding than tokens are written."""
    case = make_case(seed=3)
    expected = ALL[search](*case.given, 4)
    empty = torch.full((5, width), PAD)
    for own, its in zip(
        ALL[search](*case.given, 4, prompt=empty), expected, strict=True
    ):
        assert (own is its is None) or torch.equal(own, its)


@pytest.mark.parametrize("search", ALL)
def test_an_impossible_prompt_is_gone_on_from(search: str) -> None:
    """What a person has written need not be what the model would write."""
    tables = make_tables(2, 5, seed=0)
    tables.log_probs[..., 3] = -math.inf
    given = (tables.step, tables.start(), tables.first, EOS, PAD, 5)
    prompt = torch.tensor([[3, 3], [PAD, PAD]])
    found = ALL[search](*given, prompt=prompt)
    assert found.tokens[0, :2].tolist() == [3, 3]
    assert found.log_probs.isfinite().all()
    assert (found.tokens[:, 2:] != 3).all()
    assert (found.tokens[1] != 3).all()


@pytest.mark.parametrize("search", ALL)
def test_a_model_sees_its_own_state_only(search: str) -> None:
    """Nothing of the prompt, and neither tensor is changed."""
    case, seen = make_case(seed=4), set()

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        seen.update(state)
        return case.tables.step(tokens, state)

    _, start, first, *ids = case.given
    prompt, names = case.prompt, list(start)
    before = first.clone(), prompt.clone()
    ALL[search](step, start, first, *ids, 6, prompt=prompt)
    assert seen == {"source", "time", "before", "mask", "weights"}
    assert list(start) == names
    assert torch.equal(first, before[0])
    assert torch.equal(prompt, before[1])


# --- Padding that is EOS, as GPT-2 has it ---


@pytest.mark.parametrize("search", ALL)
@pytest.mark.parametrize("seed", range(3))
def test_padding_may_be_the_token_that_ends(search: str, seed: int) -> None:
    """In the prompts and in the result: nothing but the padding changes."""
    apart, same = make_case(seed), make_case(seed, pad_id=EOS)
    assert (same.prompt == EOS).any()
    expected = ALL[search](*apart.given, 6, prompt=apart.prompt)
    found = ALL[search](*same.given, 6, prompt=same.prompt)
    written = torch.arange(expected.tokens.shape[1]) < expected.lengths[:, None]
    assert not written.all(), "the test needs sequences of different lengths"
    assert torch.equal(found.tokens, expected.tokens.where(written, EOS))
    assert torch.equal(found.lengths, expected.lengths)
    assert torch.equal(found.log_probs, expected.log_probs)
    if expected.weights is not None:
        assert found.weights is not None
        assert torch.equal(found.weights, expected.weights)


# --- What is refused ---


def even(tokens: Tensor, state: State) -> tuple[Tensor, State]:
    """A step that leaves everything open."""
    return torch.full((len(tokens), 7), 1 / 7).log(), state


# what an exact search may start from: very unlikely
START = Decoded(
    torch.tensor([[EOS], [EOS]]),
    torch.tensor([1, 1]),
    torch.tensor([-99.0, -99.0]),
    None,
)
Open = Callable[..., object]  # of first, max_length and prompt
TAKES_A_PROMPT: dict[str, Open] = {
    "greedy": lambda step, state, first, limit, **options: greedy(
        step, state, first, EOS, PAD, limit, **options
    ),
    "sample": lambda step, state, first, limit, **options: sample(
        step, state, first, EOS, PAD, limit, **options
    ),
    "beam_search": lambda step, state, first, limit, **options: beam_search(
        step, state, first, EOS, PAD, limit, **options
    ),
    "exact_search": lambda step, state, first, limit, **options: exact_search(
        step, state, first, EOS, PAD, limit, START, **options
    ),
}


@pytest.mark.parametrize("search", TAKES_A_PROMPT)
@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (
            [3, 4],
            r"the shape \(2, tokens\), one row .* state, got \(2,\)",
        ),
        (
            [[[3], [4]], [[3], [4]]],
            r"the shape \(2, tokens\), one row .* state, got \(2, 2, 1\)",
        ),
        (
            [[3, 4]],
            r"the shape \(2, tokens\), one row .* state, got \(1, 2\)",
        ),
        (
            [[3, 4], [5, PAD], [6, 4]],
            r"the shape \(2, tokens\), one row .* state, got \(3, 2\)",
        ),
        (
            [[3, 4], [PAD, 4]],
            r"has padding \(0\) before its end: put the padding after its to",
        ),
        (
            [[3, PAD, 4, PAD], [4, 4, 4, PAD]],
            r"has padding \(0\) before its end: put the padding after its to",
        ),
        (
            [[3, 4], [4, EOS]],
            r"holds EOS \(2\), after which nothing can be written: leave EOS",
        ),
        (
            [[EOS, PAD], [4, 3]],
            r"holds EOS \(2\), after which nothing can be written: leave EOS",
        ),
        (
            [[3, 4, 5, 6, 3], [4, PAD, PAD, PAD, PAD]],
            "a prompt has 5 tokens, which .* must be larger, got 5",
        ),
        (
            [[PAD] * 7, [4] * 7],
            "a prompt has 7 tokens, which .* must be larger, got 5",
        ),
        (
            [[3, 7], [4, PAD]],
            "the token 7, which is not in .* vocabulary of 7",
        ),
        (
            [[3, 5], [-1, PAD]],
            "the token -1, which is not in .* vocabulary of 7",
        ),
    ],
    ids=str,
)
@pytest.mark.usefixtures("unchecked")
def test_prompts_that_no_search_can_go_on_from(
    search: str, prompt: list[Any], message: str
) -> None:
    given = (even, {"h": torch.zeros(2, 3)}, bos(2), 5)
    with pytest.raises(ValueError, match=message):
        TAKES_A_PROMPT[search](*given, prompt=torch.tensor(prompt))


@pytest.mark.parametrize("search", TAKES_A_PROMPT)
@pytest.mark.parametrize("prompt", [[[3], [4]], "34", 3])
@pytest.mark.usefixtures("unchecked")
def test_a_prompt_is_a_tensor(search: str, prompt: Any) -> None:
    given = (even, {"h": torch.zeros(2, 3)}, bos(2), 5)
    got = re.escape(str(prompt))
    with pytest.raises(
        ValueError, match=rf"the shape \(2, tokens\), .* state, got {got}"
    ):
        TAKES_A_PROMPT[search](*given, prompt=prompt)


@pytest.mark.parametrize("search", TAKES_A_PROMPT)
def test_a_prompt_may_be_one_shorter_than_the_limit(search: str) -> None:
    """And its padding may go beyond."""
    given = (even, {"h": torch.zeros(2, 3)}, bos(2), 5)
    prompt = padded([(3, 4, 5, 6), ()], more=5)
    TAKES_A_PROMPT[search](*given, prompt=prompt)
    with pytest.raises(ValueError, match="4 tokens.* must be larger, got 4"):
        TAKES_A_PROMPT[search](*given[:3], 4, prompt=prompt)


@pytest.mark.parametrize("search", TAKES_A_PROMPT)
def test_the_shape_of_a_prompt_is_in_the_annotations(search: str) -> None:
    given = (even, {"h": torch.zeros(2, 3)}, bos(2), 5)
    with pytest.raises(jaxtyping.TypeCheckError, match="prompt"):
        TAKES_A_PROMPT[search](*given, prompt=torch.tensor([3, 4]))


TAKES_FIRST: dict[str, Open] = TAKES_A_PROMPT | {
    "sequence_log_probs": lambda step, state, first, limit: sequence_log_probs(
        step, state, torch.full((2, limit), 3), torch.tensor([1, 1]), first
    ),
}


@pytest.mark.parametrize("search", TAKES_FIRST)
@pytest.mark.parametrize(
    ("first", "got"),
    [
        (bos(1), r"\(1,\)"),
        (bos(3), r"\(3,\)"),
        (bos(2)[:, None], r"\(2, 1\)"),
        (torch.tensor(BOS), r"\(\)"),
        (BOS, "1"),
        ([BOS, BOS], r"\[1, 1\]"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("unchecked")
def test_the_first_tokens_must_be_one_for_each_row(
    search: str, first: Any, got: str
) -> None:
    message = (
        "first must be a tensor of 2 token ids, one for each row of the state, "
        rf"got {got}: for example torch.full\(\(2,\), bos_id\)"
    )
    with pytest.raises(ValueError, match=message):
        TAKES_FIRST[search](even, {"h": torch.zeros(2, 3)}, first, 5)


@pytest.mark.parametrize("search", TAKES_A_PROMPT)
def test_a_search_needs_a_row(search: str) -> None:
    for prompt in (None, torch.zeros(0, 2, dtype=torch.long)):
        with pytest.raises(ValueError, match="no rows: there is nothing to wr"):
            TAKES_A_PROMPT[search](
                *(even, {"h": torch.zeros(0, 3)}, bos(0), 5), prompt=prompt
            )


@pytest.mark.parametrize("search", TAKES_A_PROMPT)
@pytest.mark.parametrize("limit", [0, -1])
def test_a_search_needs_a_limit(search: str, limit: int) -> None:
    for prompt in (None, padded([(3,), ()])):
        with pytest.raises(
            ValueError, match=f"max_length must be at least 1, got {limit}"
        ):
            TAKES_A_PROMPT[search](
                *(even, {"h": torch.zeros(2, 3)}, bos(2), limit), prompt=prompt
            )


@pytest.mark.parametrize("search", TAKES_A_PROMPT)
def test_a_search_with_a_prompt_needs_a_state(search: str) -> None:
    with pytest.raises(ValueError, match=r"the state is empty: .* encode\(\)"):
        TAKES_A_PROMPT[search](even, {}, bos(2), 5, prompt=padded([(3,), ()]))


OPEN = torch.full((2, 7), -2.0)


@pytest.mark.parametrize("search", TAKES_A_PROMPT)
@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (OPEN, TypeError, r"\(log_probs, state\), got Tensor"),
        ((OPEN, []), TypeError, r"a dict of tensors, got \(Tensor, list\)"),
        ((OPEN * math.nan, {}), ValueError, "step returned NaN"),
        ((OPEN + 3.5, {}), ValueError, r"up to 1.5, .* return logits\?"),
        ((OPEN[0], {}), ValueError, r"of shape \(2, vocab\), got \(7,\)"),
        (
            (OPEN, {"h": torch.zeros(11, 3)}),
            ValueError,
            r"2 rows, one for each token; 'h' has shape \(11, 3\)",
        ),
        (
            (OPEN, {"weights": torch.zeros(2, 5)}),
            ValueError,
            r"`weights` of shape \(batch, …, 1, key\).*, got \(2, 5\)",
        ),
    ],
)
def test_a_step_is_checked_while_the_prompt_lasts(
    search: str, returned: Any, error: type[Exception], message: str
) -> None:
    options: dict[str, Any] = {"prompt": torch.tensor([[3], [4]])}
    if search == "beam_search":
        options["beam_size"] = 1
    given = (lambda tokens, state: returned, {"h": torch.zeros(2, 3)})
    with pytest.raises(error, match=message):
        TAKES_A_PROMPT[search](*given, bos(2), 5, **options)
