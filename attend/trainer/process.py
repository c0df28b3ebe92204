"""Which process this is, of how many, and where it computes."""

import math
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch


class Process(NamedTuple):
    """One of the processes that train a model together; often the only one.

    Attributes:
        rank: its number, from 0.
        size: how many there are.
        device: where it computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def writes(self) -> bool:
        """Whether it is the one that writes files and talks to people."""
        return self.rank == 0

    def share(self, batches: Sequence[Any], skip: int = 0) -> Iterator[Any]:
        """Its batches of those of an epoch: as many as each other process has.

        Where they do not come out even, the first ones are read twice. `skip`
        of its own were read before.
        """
        for i in range(skip, math.ceil(len(batches) / self.size)):
            yield batches[(i * self.size + self.rank) % len(batches)]


def this_process() -> Process:
    """Say which process this is, as `torchrun` tells it, and its device.

    The device is the GPU of its number if there is one, or the CPU.
    """
    rank, local = number("RANK", 0), number("LOCAL_RANK", 0)
    size = number("WORLD_SIZE", 1)
    if not rank < size:
        raise ValueError(
            f"RANK={rank} and WORLD_SIZE={size} do not go together: unset "
            "both, or start the processes with torchrun"
        )
    gpu = torch.cuda.is_available()
    return Process(rank, size, torch.device("cuda", local) if gpu else CPU)


def number(name: str, default: int) -> int:
    """Read a number, zero or more, from the environment."""
    text = os.environ.get(name) or str(default)
    if not text.isdecimal():
        raise ValueError(
            f"the environment says {name}={text}, which is no number: unset it"
        )
    return int(text)


CPU = torch.device("cpu")
