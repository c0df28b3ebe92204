"""The task *reverse*: a string of random letters, and the same backwards.

Nothing can be guessed, so every letter of the source has to get through to the
decoder. Output `i` of a source of length `n` copies input `n - 1 - i`: the gold
alignment.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

LETTERS = "abcdefghijklmnopqrst"


def reverse(
    num: int,
    min_length: int,
    max_length: int,
    split: Literal["train", "test"] = "train",
    seed: int = 0,
) -> list[tuple[str, str]]:
    """Draw `(source, target)` pairs with lengths spread evenly over a range.

    Every string belongs to one split by what it says: number the letters from
    0, add them up, and if the sum ends in 0 it is a test string. So no model
    ever trains on a string it is tested on.

    Args:
        num: how many pairs.
        min_length: the shortest source.
        max_length: the longest source.
        split: `"train"` or `"test"`.
        seed: the same seed gives the same pairs on every machine.

    Raises:
        ValueError: for an unknown split, or if the range of lengths is empty or
            starts below 1.
    """
    if not 1 <= min_length <= max_length:
        raise ValueError(
            f"need 1 <= min_length <= max_length, got {min_length} and "
            f"{max_length}"
        )
    if split not in ("train", "test"):
        raise ValueError(f'split must be "train" or "test", got {split!r}')
    generator = torch.Generator().manual_seed(seed)
    pairs: list[tuple[str, str]] = []
    while len(pairs) < num:
        lengths = torch.randint(
            min_length, max_length + 1, (num,), generator=generator
        )
        letters = torch.randint(
            len(LETTERS), (num, max_length), generator=generator
        )
        for row, length in zip(letters.tolist(), lengths.tolist(), strict=True):
            if (sum(row[:length]) % 10 == 0) == (split == "test"):
                source = "".join(LETTERS[i] for i in row[:length])
                pairs.append((source, source[::-1]))
    return pairs[:num]


def cut_short(
    pairs: list[tuple[str, str]], share: float, seed: int = 0
) -> list[tuple[str, str]]:
    """Spoil a share of the pairs: their targets break off at random places.

    So do some of the pairs that are collected from the web. What is left of a
    target is from nothing at all to all but its last letter.

    Args:
        pairs: `(source, target)` pairs.
        share: how probable it is that a target is cut, from 0 to 1.
        seed: the same seed cuts the same targets on every machine.

    Raises:
        ValueError: if the share is outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be from 0 to 1, got {share}")
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(len(pairs), 2, generator=generator).tolist()
    return [
        (source, target[: int(place * len(target))] if draw < share else target)
        for (source, target), (draw, place) in zip(pairs, draws, strict=True)
    ]


def reverse_alignment(
    lengths: Int[Tensor, " batch"], tgt_length: int, src_length: int
) -> Bool[Tensor, "batch tgt src"]:
    """Mark which source letter each output letter copies.

    Output `i` copies input `n - 1 - i`.

    Args:
        lengths: the source lengths `n`, `(batch,)`.
        tgt_length: the padded output length; rows past the end are False.
        src_length: the padded source length.
    """
    i = torch.arange(tgt_length)[:, None]  # (tgt, 1)
    j = torch.arange(src_length)  # (src,)
    return i + j == lengths[:, None, None] - 1  # (batch, tgt, src)
