"""From lists of different lengths to rectangular tensors."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

Pair = tuple[Sequence[int], Sequence[int]]


class Batch(NamedTuple):
    """Padded source and target sequences; targets are framed by BOS and EOS.

    The decoder reads `tgt[:, :-1]` and is to predict `tgt[:, 1:]`.
    """

    src: Int[Tensor, "batch src"]
    src_lengths: Int[Tensor, " batch"]
    tgt: Int[Tensor, "batch tgt"]
    tgt_lengths: Int[Tensor, " batch"]

    @property
    def tgt_in(self) -> Int[Tensor, "batch tgt_minus_1"]:
        """What the decoder reads: the targets without their last place."""
        return self.tgt[:, :-1]

    @property
    def tgt_out(self) -> Int[Tensor, "batch tgt_minus_1"]:
        """What the decoder is to predict: the targets without BOS."""
        return self.tgt[:, 1:]

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return Batch(*(tensor.to(device) for tensor in self))

    @property
    def first(self) -> Int[Tensor, " batch"]:
        """What a search feeds first: the BOS of each target."""
        return self.tgt[:, 0]


def pad(
    sequences: Sequence[Sequence[int]],
    pad_id: int = 0,
) -> tuple[Int[Tensor, "batch length"], Int[Tensor, " batch"]]:
    """Fill up sequences with `pad_id` to the length of the longest.

    Args:
        sequences: lists of ids.
        pad_id: what to fill up with.

    Returns:
        The ids, `(batch, length)`, and the lengths before padding, `(batch,)`.

    Raises:
        ValueError: if there is no sequence.
    """
    if not sequences:
        raise ValueError(
            "a batch needs at least one sequence, got none: is the data empty?"
        )
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    longest = int(lengths.max())
    ids = torch.full((len(sequences), longest), pad_id)
    for row, sequence in zip(ids, sequences, strict=True):
        row[: len(sequence)] = torch.tensor(sequence, dtype=ids.dtype)
    return ids, lengths


def make_batch(
    pairs: Sequence[Pair], pad_id: int = 0, bos_id: int = 1, eos_id: int = 2
) -> Batch:
    """Pad `(source ids, target ids)` pairs into one batch; frame the targets.

    Raises:
        ValueError: if there is no pair.
    """
    src, src_lengths = pad([source for source, _ in pairs], pad_id)
    tgt, tgt_lengths = pad(
        [[bos_id, *target, eos_id] for _, target in pairs], pad_id
    )
    return Batch(src, src_lengths, tgt, tgt_lengths)


def batches(
    pairs: Sequence[Pair],
    batch_size: int,
    epochs: int = 1,
    generator: torch.Generator | None = None,
) -> list[Batch]:
    """Cut the pairs into batches, in a new random order every epoch.

    Args:
        pairs: `(source ids, target ids)`.
        batch_size: pairs in a batch; the last one of an epoch may be smaller.
        epochs: how often to go through the pairs.
        generator: decides the order; the global one if None.

    Raises:
        ValueError: if there is no pair or `batch_size` is not positive.
    """
    if not pairs:
        raise ValueError(
            "there are no pairs to make batches of: is the data empty?"
        )
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    result = []
    for _ in range(epochs):
        order = torch.randperm(len(pairs), generator=generator).tolist()
        for start in range(0, len(order), batch_size):
            result.append(
                make_batch(
                    [pairs[i] for i in order[start : start + batch_size]]
                )
            )
    return result


def bucketed_batches(
    pairs: Sequence[Pair],
    batch_size: int,
    generator: torch.Generator | None = None,
    bucket: int = 8,
) -> list[Batch]:
    """Cut the pairs, once through, into batches of similar length.

    That leaves little padding. The pairs are shuffled and cut into chunks of
    `bucket` batches; each chunk is sorted by length and cut into batches; the
    batches are shuffled.

    Args:
        pairs: `(source ids, target ids)`.
        batch_size: pairs in a batch; one may be smaller.
        generator: decides the order; the global one if None.
        bucket: batches in a chunk: more leave less padding and less chance.

    Raises:
        ValueError: if there is no pair, or `batch_size` or `bucket` is not
            positive.
    """
    if not pairs:
        raise ValueError(
            "there are no pairs to make batches of: is the data empty?"
        )
    if batch_size < 1 or bucket < 1:
        raise ValueError(
            "batch_size and bucket must be at least 1, got "
            f"batch_size={batch_size} and bucket={bucket}"
        )
    order = torch.randperm(len(pairs), generator=generator).tolist()
    made = []
    for start in range(0, len(order), batch_size * bucket):
        chunk = [pairs[i] for i in order[start : start + batch_size * bucket]]
        chunk.sort(key=lambda pair: (len(pair[0]), len(pair[1])))
        for first in range(0, len(chunk), batch_size):
            made.append(make_batch(chunk[first : first + batch_size]))
    return [
        made[i] for i in torch.randperm(len(made), generator=generator).tolist()
    ]
