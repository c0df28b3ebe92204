"""Measures: padding never counts."""

import pytest
import torch

from attend.metrics import alignment_accuracy, exact_match, token_accuracy

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
    assert exact_match(swap[GUESS[:, :4]], swap[TGT], pad_id=9) == pytest.approx(1 / 3)


def test_alignment_accuracy_worked_example() -> None:
    weights = torch.tensor([[[0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [0.9, 0.1, 0.0], [0.4, 0.6, 0.0]]])
    gold = torch.tensor([[[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 1, 0]]]).bool()
    assert alignment_accuracy(weights, gold) == pytest.approx(2 / 3)  # the third has no gold


@pytest.mark.usefixtures("unchecked")
def test_alignment_accuracy_needs_equal_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3, 5\) and gold \(2, 3, 7\) must have one shape"):
        alignment_accuracy(torch.rand(2, 3, 5), torch.ones(2, 3, 7).bool())


def test_alignment_accuracy_needs_a_gold_input() -> None:
    with pytest.raises(ValueError, match="no output has a gold input: is the alignment empty"):
        alignment_accuracy(torch.rand(2, 3, 5), torch.zeros(2, 3, 5).bool())


def test_measures_of_nothing() -> None:
    with pytest.raises(ValueError, match="every target is padding"):
        token_accuracy(GUESS, torch.zeros_like(TGT))
    with pytest.raises(ValueError, match="there are no sequences"):
        exact_match(GUESS[:0], TGT[:0])
