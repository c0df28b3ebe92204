import torch
from otter.test_files import test_case

from attend.grading import expect_tensor, show

OK_FORMAT = False
name = "q1"
points = None

AXES = "batch, max_length"


def example():
    lengths = torch.tensor([2, 3, 0])
    expected = [[1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]
    return lengths, torch.tensor(expected, dtype=torch.bool)


@test_case(
    points=1,
    failure_message=(
        "Your mask lies on its side: it has one row per position. Give it "
        "one row per sentence. Which of the two tensors that you compare "
        "needs a new last dimension?"
    ),
)
def test_one_row_per_sentence(padding_mask):
    lengths, _ = example()
    got = expect_tensor(padding_mask(lengths, 5), name="the mask")
    assert got.shape != (5, 3), (
        f"3 sentences: expected shape (3, 5) = ({AXES}), got (5, 3)"
    )
    if got.shape[-1:] == (5,):  # another width has a test case of its own
        expect_tensor(got, (3, 5), axes=AXES, name="the mask")


@test_case(
    points=1,
    failure_message=(
        "Your mask is not as wide as it was asked to be. The batch is padded "
        "to max_length, and that can be more than its longest sentence."
    ),
)
def test_width(padding_mask):
    lengths, _ = example()
    got = expect_tensor(padding_mask(lengths, 5), name="the mask")
    assert got.shape[-1:] == (5,), (
        f"lengths [2, 3, 0], max_length 5: expected shape (3, 5) = ({AXES}), "
        f"got {tuple(got.shape)}"
    )


@test_case(
    points=1,
    failure_message=(
        "Your mask holds numbers instead of True and False. With numbers "
        "`~mask` and `scores[mask]` mean something else, often without an "
        "error. A comparison gives booleans."
    ),
)
def test_boolean(padding_mask):
    lengths, _ = example()
    got = expect_tensor(padding_mask(lengths, 5), name="the mask")
    assert got.dtype == torch.bool, (
        f"expected dtype torch.bool, got {got.dtype}"
    )


@test_case(
    points=1,
    failure_message=(
        "Your mask is the wrong way round. In this book True marks a real "
        "token, one that may be read, and False marks padding."
    ),
)
def test_true_is_real(padding_mask):
    got = padding_mask(torch.tensor([7, 1]), 7)
    expect_tensor(got, (2, 7), axes=AXES, name="the mask")
    first, last = bool(got[0, 0]), bool(got[1, 6])
    assert (first, last) != (False, True), (
        "lengths [7, 1], max_length 7: the first token of sentence 0 must be "
        "True, got False;\nthe last position of sentence 1 must be False, "
        "got True"
    )


@test_case(
    points=1,
    failure_message=(
        "Your mask is wrong at the edge. Positions count from 0, so a "
        "sentence of 2 tokens fills positions 0 and 1, and position 2 is "
        "padding. Is it `<` or `<=`?"
    ),
)
def test_edge(padding_mask):
    lengths, expected = example()
    got = padding_mask(lengths, 5)
    expect_tensor(got, (3, 5), axes=AXES, name="the mask")
    assert torch.equal(got.bool(), expected), (
        "lengths [2, 3, 0], max_length 5, with 1 for True and 0 for False:\n"
        f"  expected {show(expected.int())}\n  got      {show(got.int())}"
    )
