"""Which process this is, of how many, and where it computes."""

import itertools
import math
import os
from collections.abc import Sequence
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

    def share(self, batches: Sequence[Any]) -> list[Any]:
        """Its batches of those of an epoch: as many as each other process has.

        Where they do not come out even, the first ones are read twice.
        """
        even = math.ceil(len(batches) / self.size) * self.size
        enough = itertools.islice(itertools.cycle(batches), even)
        return list(enough)[self.rank :: self.size]


def this_process() -> Process:
    """Say which process this is, as `torchrun` tells it, and its device.

    The device is the GPU of its number if there is one, or the CPU.
    """
    rank, size, local = (
        int(os.environ.get(name, default))
        for name, default in (
            ("RANK", "0"),
            ("WORLD_SIZE", "1"),
            ("LOCAL_RANK", "0"),
        )
    )
    gpu = torch.cuda.is_available()
    return Process(rank, size, torch.device("cuda", local) if gpu else CPU)


CPU = torch.device("cpu")
