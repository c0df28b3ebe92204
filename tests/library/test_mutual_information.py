"""Ranking by mutual information, on a table and on a model.

It is compared with a loop over plain numbers.
"""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from attend.decoding import (
    NBest,
    State,
    beam_search,
    mean_log_probs,
    mutual_information,
    sequence_log_probs,
)
from attend.rnn import Seq2Seq, Seq2SeqConfig
from tests.library.tables import BOS, EOS, PAD, bos

# Source 0 says "a" (3) with probability 0.3 and "dunno" (4) with 0.6; source 1
# mostly "dunno", source 2 only "a".
FIRST = torch.tensor(
    [[0, 0, 0.1, 0.3, 0.6], [0, 0, 0.05, 0.05, 0.9], [0, 0, 0, 1, 0]]
)


def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
    ends = torch.tensor([0.0, 0, 1, 0, 0]).expand(len(tokens), 5)
    return torch.where(
        tokens[:, None] == BOS, FIRST[state["source"]], ends
    ).log(), state


def start(*sources: int) -> State:
    return {"source": torch.tensor(sources)}


def search(*sources: int) -> NBest:
    return beam_search(
        *(step, start(*sources), bos(len(sources)), EOS, PAD, 3),
        beam_size=5,
        num_best=4,
    )


def test_what_fits_any_source_loses() -> None:
    found = search(0)
    assert found.tokens[0, :3].tolist() == [[4, EOS], [3, EOS], [EOS, PAD]]
    ranked = mutual_information(step, found, start(0, 1), bos(1))
    expected = {3: 0.3 / 0.175, 4: 0.6 / 0.75, EOS: 0.1 / 0.075}
    assert ranked.tokens[0, :3, 0].tolist() == [3, EOS, 4]
    assert_close(
        ranked.scores[0, :3].exp(),
        torch.tensor([expected[i] for i in (3, EOS, 4)]),
    )
    assert_close(ranked.log_probs[0, :3].exp(), torch.tensor([0.3, 0.1, 0.6]))
    # the empty place stays last
    assert ranked.lengths.tolist() == [[2, 1, 2, 0]]
    assert ranked.scores[0, 3] == -math.inf
    for number in (1, 2, 9):
        best = mutual_information(
            step, found, start(0, 1), bos(1), num_best=number
        )
        assert torch.equal(best.tokens, ranked.tokens[:, :number])
        assert torch.equal(best.scores, ranked.scores[:, :number])


@pytest.mark.parametrize("others", [(1,), (2,), (2, 2)])
def test_a_weight_of_zero_changes_nothing(others: tuple[int, ...]) -> None:
    """Nor where the others could not be answered so: 0 · ∞ is no number."""
    found = search(0, 1)
    for old, new in zip(
        found,
        mutual_information(step, found, start(*others), bos(2), 0.0),
        strict=True,
    ):
        assert (old is None and new is None) or torch.equal(old, new)


@pytest.mark.parametrize("weight", [0.1, 1.0, 1e30])
def test_what_fits_no_other_source_wins(weight: float) -> None:
    """Source 2 says "a" only: the end and "dunno" come first, as they were."""
    found = search(0)
    ranked = mutual_information(step, found, start(2), bos(1), weight)
    assert ranked.tokens[0, :3, 0].tolist() == [4, EOS, 3]
    assert ranked.scores[0, :2].tolist() == [math.inf, math.inf]
    assert_close(ranked.scores[0, 2], torch.tensor(0.3).log())
    assert ranked.lengths.tolist() == [[2, 1, 2, 0]]


def test_the_largest_weight_gives_numbers() -> None:
    found = search(0)
    ranked = mutual_information(step, found, start(0, 1), bos(1), 1e30)
    assert ranked.scores[0, :3].isfinite().all()
    assert ranked.tokens[0, :3, 0].tolist() == [EOS, 3, 4]  # the rarest first


@pytest.mark.parametrize("attention", ["none", "bahdanau"])
def test_on_a_model(attention: str) -> None:
    torch.manual_seed(3)
    config = Seq2SeqConfig(
        11, 7, d_embed=3, d_hidden=5, num_layers=1, attention=attention
    )
    model = Seq2Seq(config).eval()
    src, lengths = torch.randint(3, 11, (5, 7)), torch.tensor([7, 2, 5, 1, 3])
    with torch.no_grad():
        here, others = (
            model.encode(src[:2], lengths[:2]),
            model.encode(src[2:], lengths[2:]),
        )
    found = beam_search(
        model.step, here, bos(2), EOS, PAD, 6, beam_size=7, num_best=6
    )
    ranked = mutual_information(model.step, found, others, bos(2), 0.7)
    assert (ranked.scores[:, :-1] >= ranked.scores[:, 1:]).all()
    for row in range(2):
        order = []
        for place in range(6):
            tokens, length = found.tokens[row, place], found.lengths[row, place]
            shares = []
            for i in range(3):
                with torch.no_grad():
                    alone = model.encode(
                        src[2 + i : 3 + i], lengths[2 + i : 3 + i]
                    )
                one = sequence_log_probs(
                    model.step, alone, tokens[None], length[None], bos(1)
                )
                shares.append(math.exp(one))
            order.append(
                float(found.log_probs[row, place])
                - 0.7 * math.log(sum(shares) / 3)
            )
        assert_close(
            ranked.scores[row], torch.tensor(sorted(order, reverse=True))
        )
        best = max(range(6), key=order.__getitem__)
        assert torch.equal(ranked.tokens[row, 0], found.tokens[row, best])
        if found.weights is not None and ranked.weights is not None:
            assert torch.equal(ranked.weights[row, 0], found.weights[row, best])


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf, 1e31, -1e-9])
def test_a_weight_must_be_a_positive_number(weight: float) -> None:
    with pytest.raises(
        ValueError, match="weight must be zero or a positive number"
    ):
        mutual_information(step, search(0), start(1), bos(1), weight)


def test_mean_log_probs_is_the_mean_of_the_probabilities() -> None:
    """Each sequence after its own first token, over all sources."""
    tokens = torch.tensor([[3, EOS], [EOS, PAD], [4, EOS], [4, EOS]])
    first = torch.tensor([BOS, 3, BOS, BOS])
    found = mean_log_probs(
        step, start(0, 1, 2), tokens, torch.tensor([2, 1, 1, 2]), first
    )
    expected = [(0.3 + 0.05 + 1) / 3, 1.0, 0.5, 0.5]
    assert_close(found.exp(), torch.tensor(expected))


def test_what_is_equally_good_stays_in_its_order() -> None:
    """Also where there is so much of it that a sort would shuffle it."""
    count = 29
    tokens = torch.full((1, count, 1), 4)
    log_probs = -torch.arange(1.0, count + 1)[None]
    lengths = torch.ones(1, count, dtype=torch.long)
    found = NBest(tokens, lengths, log_probs, log_probs, None)
    ranked = mutual_information(step, found, start(2), bos(1))
    assert (ranked.scores == math.inf).all()
    assert torch.equal(ranked.log_probs, log_probs)


@pytest.mark.parametrize("num_best", [0, -1])
def test_at_least_one_sequence_is_returned(num_best: int) -> None:
    with pytest.raises(
        ValueError, match=f"num_best must be at least 1, got {num_best}"
    ):
        mutual_information(step, search(0), start(1), bos(1), num_best=num_best)


def test_each_row_is_judged_after_its_own_first_token() -> None:
    """In the priors, too: after "a" the others would end."""
    first = torch.tensor([3, BOS])

    def ranked(source: State, first: Tensor) -> NBest:
        given = (step, source, first, EOS, PAD, 3)
        found = beam_search(*given, beam_size=5, num_best=4)
        return mutual_information(step, found, start(0, 1), first)

    both = ranked(start(0, 0), first)
    assert both.tokens[:, 0].tolist() == [[EOS, PAD], [3, EOS]]
    assert both.scores[0, 0] == 0  # certain here, and anywhere
    for row in range(2):
        alone = ranked(start(0), first[row : row + 1])
        assert torch.equal(both.lengths[row], alone.lengths[0])
        assert_close(both.scores[row], alone.scores[0])


def test_others_are_needed() -> None:
    with pytest.raises(ValueError, match="the state is empty"):
        mutual_information(step, search(0), {}, bos(1))
