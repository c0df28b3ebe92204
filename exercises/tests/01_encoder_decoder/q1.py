"""A padding mask: which positions of a padded batch hold a token."""

import torch
from otter.test_files import test_case
from torch import tensor

from attend.grading import Question

OK_FORMAT = False
name = "q1"
points = None

QUESTION = Question("padding_mask", returns={"the mask": "batch, max_length"})


@QUESTION.reference
def padding_mask(lengths, max_length):
    return torch.arange(max_length) < lengths[:, None]


@QUESTION.mistake(
    "Your mask is wrong at the edge: it has one True too many in each row with "
    "padding. Positions count from 0, so a sentence of 2 tokens fills "
    "positions 0 and 1, and position 2 is padding. Is it `<` or `<=`?"
)
def padding_mask(lengths, max_length):
    return torch.arange(max_length) <= lengths[:, None]


@QUESTION.mistake(
    "Your mask has one True too few in each row. Positions count from 0, so a "
    "sentence of 2 tokens fills positions 0 and 1."
)
def padding_mask(lengths, max_length):
    return torch.arange(max_length) < lengths[:, None] - 1


@QUESTION.mistake(
    "The last position of your mask is never True, not even in a sentence "
    "that fills the whole row. A length may be as large as max_length."
)
def padding_mask(lengths, max_length):
    return torch.arange(max_length) < lengths.clamp(max=max_length - 1)[:, None]


@QUESTION.mistake(
    "An empty sentence gets a token: where the length is 0, the whole row is "
    "padding. Do you set the first position in any case?"
)
def padding_mask(lengths, max_length):
    return torch.arange(max_length) < lengths.clamp(min=1)[:, None]


@QUESTION.mistake(
    "Your mask lies on its side: it has one row per position. Give it one row "
    "per sentence. Which of the two tensors that you compare needs a new last "
    "dimension?"
)
def padding_mask(lengths, max_length):
    return torch.arange(max_length)[:, None] < lengths


@QUESTION.mistake(
    "Your mask is the wrong way round. In this book True marks a real token, "
    "one that may be read, and False marks padding."
)
def padding_mask(lengths, max_length):
    return torch.arange(max_length) >= lengths[:, None]


@QUESTION.mistake(
    "Your mask stands at the wrong end: it marks the last positions of each "
    "row. Here sentences come first and padding after them."
)
def padding_mask(lengths, max_length):
    return torch.arange(max_length).flip(0) < lengths[:, None]


@QUESTION.mistake(
    "Your mask holds numbers instead of True and False: with such a mask "
    "`~mask` and `scores[mask]` raise an error, or mean something else. A "
    "comparison gives booleans."
)
def padding_mask(lengths, max_length):
    return (torch.arange(max_length) < lengths[:, None]).float()


@QUESTION.mistake(
    "Your mask holds numbers instead of True and False: with such a mask "
    "`~mask` and `scores[mask]` raise an error, or mean something else. A "
    "comparison gives booleans."
)
def padding_mask(lengths, max_length):
    return (torch.arange(max_length) < lengths[:, None]).long()


@QUESTION.mistake(
    "Your mask holds numbers instead of True and False: with such a mask "
    "`~mask` and `scores[mask]` raise an error, or mean something else. A "
    "comparison gives booleans."
)
def padding_mask(lengths, max_length):
    return (torch.arange(max_length) < lengths[:, None]).to(torch.uint8)


@QUESTION.mistake(
    "Your mask is only as wide as the longest sentence. The batch is padded to "
    "max_length, and that can be more."
)
def padding_mask(lengths, max_length):
    return torch.arange(lengths.max()) < lengths[:, None]


@QUESTION.mistake(
    "Your mask has the same row for every sentence: that of the first. "
    "Compare the positions with all lengths."
)
def padding_mask(lengths, max_length):
    row = torch.arange(max_length) < lengths[0]
    return row.repeat(len(lengths), 1)


QUESTION.call("idea", tensor([3, 1]), 4)
QUESTION.call("idea", tensor([2, 3, 1]), 5)
QUESTION.call("edges", tensor([2]), 3, rule="A batch of one has one row.")
QUESTION.call(
    "edges",
    tensor([3, 0, 2]),
    3,
    rule="A row may be full, partly full or empty.",
)
QUESTION.call("edges", tensor([0, 0]), 2, rule="All rows may be empty.")
QUESTION.call("edges", tensor([1, 0]), 1, rule="A row may have one place.")
QUESTION.call("edges", tensor([7, 1, 4, 5, 11]), 11)
QUESTION.call(
    "edges",
    tensor([1, 2], dtype=torch.int32),
    2,
    rule="Lengths may be int32, too.",
)


@test_case(points=3)
def test_idea(padding_mask):
    QUESTION.check("idea", padding_mask)


@test_case(points=2)
def test_edges(padding_mask):
    QUESTION.check("idea edges", padding_mask)
