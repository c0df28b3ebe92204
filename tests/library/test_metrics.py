"""Measures: padding never counts."""

import math

import pytest
import torch
from torch import Tensor, nn

from attend.data import make_batch
from attend.metrics import (
    alignment_accuracy,
    distinct_n,
    exact_match,
    perplexity,
    token_accuracy,
)

#                      right, wrong end, one letter wrong
TGT = torch.tensor([[3, 4, 2, 0, 0], [5, 2, 0, 0, 0], [3, 4, 5, 6, 2]])
GUESS = torch.tensor([[3, 4, 2, 0, 0], [5, 6, 2, 0, 0], [3, 4, 4, 6, 2]])


def test_token_accuracy_counts_real_tokens() -> None:
    assert token_accuracy(GUESS, TGT) == (3 + 1 + 4) / 10
    assert token_accuracy(TGT, TGT) == 1.0


def test_token_accuracy_does_not_look_past_the_end() -> None:
    noise = GUESS.clone()
    noise[TGT == 0] = 7
    assert token_accuracy(noise, TGT) == 8 / 10
    assert token_accuracy(torch.cat([GUESS, GUESS], dim=1), TGT) == 8 / 10


def test_token_accuracy_counts_missing_tokens_as_wrong() -> None:
    assert token_accuracy(GUESS[:, :3], TGT) == (3 + 1 + 2) / 10


def test_exact_match_needs_every_token_and_the_end() -> None:
    assert exact_match(GUESS, TGT) == pytest.approx(1 / 3)
    assert exact_match(TGT, TGT) == 1.0


def test_exact_match_of_different_lengths() -> None:
    wider = torch.nn.functional.pad(TGT, (0, 2))
    assert exact_match(wider, TGT) == exact_match(TGT, wider) == 1.0
    assert exact_match(TGT[:, :3], TGT) == pytest.approx(2 / 3)
    longer = torch.nn.functional.pad(TGT, (0, 2), value=7)
    assert exact_match(longer, TGT) == 0.0


def test_measures_with_another_padding() -> None:
    swap = torch.tensor([9, 1, 2, 3, 4, 5, 6])
    assert token_accuracy(swap[GUESS], swap[TGT], pad_id=9) == 8 / 10
    assert exact_match(
        swap[GUESS[:, :4]], swap[TGT], pad_id=9
    ) == pytest.approx(1 / 3)


def test_alignment_accuracy_worked_example() -> None:
    weights = torch.tensor(
        [[[0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [0.9, 0.1, 0.0], [0.4, 0.6, 0.0]]]
    )
    gold = torch.tensor([[[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 1, 0]]]).bool()
    # the third has no gold
    assert alignment_accuracy(weights, gold) == pytest.approx(2 / 3)


@pytest.mark.usefixtures("unchecked")
def test_alignment_accuracy_needs_equal_shapes() -> None:
    with pytest.raises(
        ValueError,
        match=r"\(2, 3, 5\) and gold \(2, 3, 7\) must have one shape",
    ):
        alignment_accuracy(torch.rand(2, 3, 5), torch.ones(2, 3, 7).bool())


def test_alignment_accuracy_needs_a_gold_input() -> None:
    with pytest.raises(
        ValueError, match="no output has a gold input: is the alignment empty"
    ):
        alignment_accuracy(torch.rand(2, 3, 5), torch.zeros(2, 3, 5).bool())


def test_measures_of_nothing() -> None:
    with pytest.raises(ValueError, match="every target is padding"):
        token_accuracy(GUESS, torch.zeros_like(TGT))
    with pytest.raises(ValueError, match="there are no sequences"):
        exact_match(GUESS[:0], TGT[:0])


class Guesser(nn.Module):
    """It gives the same scores after every token, whatever the source."""

    def __init__(self, probabilities: list[float]) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.tensor(probabilities).log())

    def forward(
        self, src: Tensor, src_lengths: Tensor, tgt_in: Tensor
    ) -> Tensor:
        assert len(src) == len(src_lengths) == len(tgt_in)
        self.remembers = torch.is_grad_enabled()
        return self.scores.expand(*tgt_in.shape, -1)


PAIRS = [([5], [3, 3, 3]), ([6, 5], [3]), ([6], [4, 3, 4, 3, 3])]
#        <pad>, <bos>, <eos>, then 3 to 6
CHANCES = [0.01, 0.01, 0.25, 0.5, 0.125, 0.1, 0.005]


def test_perplexity_of_pure_chance_is_the_number_of_tokens() -> None:
    model = Guesser([1 / 7] * 7).eval()
    for cut in (1, 2):
        cuts = [make_batch(PAIRS[:cut]), make_batch(PAIRS[cut:])]
        assert perplexity(model, cuts) == pytest.approx(7)


def test_perplexity_worked_example() -> None:
    # seven times 3, twice 4 and three ends: 7 + 2 * 3 + 3 * 2 bits for twelve
    # tokens
    model = Guesser(CHANCES).eval()
    assert perplexity(model, [make_batch(PAIRS)]) == pytest.approx(
        2 ** (19 / 12)
    )
    one_by_one = [make_batch([pair]) for pair in PAIRS]
    assert perplexity(model, one_by_one) == pytest.approx(2 ** (19 / 12))
    assert perplexity(model, iter(one_by_one)) == pytest.approx(2 ** (19 / 12))


def test_perplexity_with_another_padding() -> None:
    batch = make_batch(PAIRS, pad_id=5)
    assert perplexity(Guesser(CHANCES).eval(), [batch], 5) == pytest.approx(
        2 ** (19 / 12)
    )


def test_perplexity_of_a_model_sure_of_the_wrong_is_infinite() -> None:
    model = Guesser([1e-30] * 6 + [1.0]).eval()
    model.scores.data *= 100
    assert perplexity(model, [make_batch(PAIRS)]) == math.inf


def test_perplexity_leaves_no_gradient() -> None:
    model = Guesser(CHANCES).eval()
    perplexity(model, [make_batch(PAIRS)])
    assert model.scores.grad is None
    assert not model.remembers
    assert not model.training


def test_perplexity_needs_eval_mode_and_batches() -> None:
    with pytest.raises(
        ValueError, match="the model is in training mode, .*: call eval()"
    ):
        perplexity(Guesser(CHANCES), [make_batch(PAIRS)])
    with pytest.raises(ValueError, match="there are no batches"):
        perplexity(Guesser(CHANCES).eval(), [])


def test_distinct_n_worked_example() -> None:
    replies = [["i", "do", "not", "know"], ["i", "do"], ["no"]]
    assert distinct_n(replies, 1) == 5 / 7  # i, do, not, know, no
    # i do, do not, not know; none across two replies
    assert distinct_n(replies, 2) == 3 / 4
    assert distinct_n(replies, 3) == 1.0
    assert distinct_n([["a", "b", "a", "b"]], 2) == 2 / 3
    # a text is the sequence of its characters
    assert distinct_n(["abab"], 2) == 2 / 3


def test_distinct_n_of_nothing() -> None:
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        distinct_n([["a"]], 0)
    for sequences in ([], [[]], [["a", "b"], ["c"]]):
        with pytest.raises(
            ValueError, match="no sequence has 3 tokens: there is nothing"
        ):
            distinct_n(sequences, 3)
