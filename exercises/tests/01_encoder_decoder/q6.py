import torch
from otter.test_files import test_case
from torch import nn

from attend.grading import expect_tensor, show

OK_FORMAT = False
name = "q6"
points = None

AXES = "batch, length"


def run(scheduled_inputs, tgt_in, predicted, probability):
    """Mix, with logits whose maximum is at the tokens given as predicted."""
    logits = nn.functional.one_hot(predicted, 23).float()
    got = scheduled_inputs(tgt_in, logits, probability)
    return expect_tensor(
        got, tuple(tgt_in.shape), torch.int64, axes=AXES, name="the inputs"
    )


def small():
    return torch.tensor([[1, 5, 6, 7]]), torch.tensor([[11, 12, 13, 14]])


def many(scheduled_inputs):
    """Mix half and half; return where the prediction was taken.

    There are 101 sentences of 103 tokens.
    """
    torch.manual_seed(0)
    tgt_in, predicted = torch.full((101, 103), 5), torch.full((101, 103), 11)
    tgt_in[:, 0] = 1
    # (101, 102)
    return run(scheduled_inputs, tgt_in, predicted, 0.5)[:, 1:] == 11


@test_case(
    points=1,
    failure_message=(
        "With probability 0 nothing may change. Is your probability the "
        "wrong way round? It is the one of the model's own prediction: 0 is "
        "pure teacher forcing."
    ),
)
def test_zero_is_teacher_forcing(scheduled_inputs):
    tgt_in, predicted = small()
    got = run(scheduled_inputs, tgt_in, predicted, 0.0)
    assert torch.equal(got, tgt_in), (
        f"true [1, 5, 6, 7], predicted [11, 12, 13, 14], probability 0:\n"
        f"  expected [[1, 5, 6, 7]]\n  got      {show(got)}"
    )


@test_case(
    points=1,
    failure_message=(
        "You replaced BOS. It is not a prediction of anything, and when the "
        "model writes by itself BOS comes first as well: leave position 0 "
        "alone."
    ),
)
def test_bos_stays(scheduled_inputs):
    tgt_in, predicted = small()
    got = run(scheduled_inputs, tgt_in, predicted, 1.0)
    assert got[0, 0] == 1, (
        "true [1, 5, 6, 7] with BOS = 1, predicted [11, 12, 13, 14], "
        f"probability 1:\n  expected [[1, 11, 12, 13]]\n  got      {show(got)}"
    )


@test_case(
    points=1,
    failure_message=(
        "Your predictions stand in the wrong places. Are they off by one? "
        "What the model predicts at position 0, after BOS, it reads at "
        "position 1: position t takes the one of t - 1."
    ),
)
def test_shift(scheduled_inputs):
    tgt_in, predicted = small()
    got = run(scheduled_inputs, tgt_in, predicted, 1.0)
    assert got[0, 1:].tolist() == [11, 12, 13], (
        f"true [1, 5, 6, 7], predicted [11, 12, 13, 14], probability 1:\n"
        f"  expected [[1, 11, 12, 13]]\n  got      {show(got)}"
    )


@test_case(
    points=1,
    failure_message=(
        "You toss one coin for a whole sentence, or for the whole batch: it "
        "is all true or all predicted. Toss a coin for each position, so "
        "that the model learns to go on after a single slip."
    ),
)
def test_a_coin_for_each_position(scheduled_inputs):
    own = many(scheduled_inputs)
    mixed = int((own.any(dim=1) & ~own.all(dim=1)).sum())
    assert mixed == 101, (
        "101 sentences, probability 0.5: expected both kinds in all of them, "
        f"got it in {mixed}"
    )


@test_case(
    points=1,
    failure_message=(
        "You toss the coins once and use them for every sentence: all of the "
        "batch is replaced at the same positions. Draw a number for each "
        "sentence and each position."
    ),
)
def test_a_coin_for_each_sentence(scheduled_inputs):
    own = many(scheduled_inputs)
    mixed = int((own.any(dim=0) & ~own.all(dim=0)).sum())
    assert mixed == 102, (
        "102 positions, probability 0.5: expected both kinds at all of them, "
        f"got it at {mixed}"
    )


@test_case(
    points=1,
    failure_message=(
        "You wrote into tgt_in. In training that is a view of the targets, "
        "`tgt[:, :-1]`, so the model would now be taught its own mistakes. "
        "Make a new tensor."
    ),
)
def test_targets_are_left_alone(scheduled_inputs):
    tgt_in, predicted = small()
    run(scheduled_inputs, tgt_in, predicted, 1.0)
    assert tgt_in.tolist() == [[1, 5, 6, 7]], (
        "tgt_in [[1, 5, 6, 7]]: expected the same after the call, got "
        f"{show(tgt_in)}"
    )
