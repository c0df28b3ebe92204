"""What the trainer knows of a task, and what a task can be told."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attend.flags import (
    FlagError,
    require_counts,
    require_positive,
    require_seed,
)


@runtime_checkable
class Task(Protocol):
    """A model, its data, and what is good on it.

    The trainer knows nothing else: texts and pictures are alike to it. A batch
    is whatever the task makes of its data.
    """

    @property
    def model(self) -> nn.Module:
        """What is trained, on the device of this process."""
        ...

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        ...

    def batches(self, generator: torch.Generator) -> Sequence[Any]:
        """The batches of one epoch, in an order that the generator decides."""
        ...

    def loss(self, batch: Any) -> Float[Tensor, ""]:
        """What to lower: the loss of a batch, differentiable."""
        ...

    def validate(self) -> dict[str, float]:
        """Measure on the validation split: a "loss", and what else is shown.

        The model with the lowest loss is kept. It is in eval mode here, and the
        global random numbers stay as they are.
        """
        ...

    def measure(self) -> dict[str, float]:
        """Measure the model on the test split: by name, what is reported."""
        ...

    def contents(self) -> dict[str, Any]:
        """What it takes to build the model again, beside flags and weights."""
        ...

    def fingerprint(self) -> int:
        """A number that is another one for other data."""
        ...

    def summary(self) -> str:
        """What the model is trained on, in a few words."""
        ...


@dataclass(frozen=True)
class TrainConfig:
    """What every training can be told."""

    out: Path
    """The folder of the run."""
    epochs: int = 20
    """How often to go through the training data."""
    batch_size: int = 32
    """Examples in a batch."""
    lr: float = 8e-3
    """The first learning rate of Adam; it falls in a straight line to zero."""
    max_norm: float = 1.0
    """Bound on the joint norm of all gradients."""
    seed: int = 0
    """Decides first weights, order of the data, and what dropout drops."""

    name: ClassVar[str]  # of the recipe
    use: ClassVar[str]  # the command that uses what was trained

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be meant."""
        require_counts(self, "epochs", "batch_size")
        require_positive(self, "lr", "max_norm")
        require_seed(self)
        try:
            str(self.out).encode()
        except UnicodeEncodeError:
            raise FlagError("out", "must be a path that is text") from None

    def task(self) -> Task:
        """Read the data, and make a model with its first weights.

        Raises:
            FileNotFoundError: if the data is not there.
            ValueError: if it is not in the form that the task reads.
        """
        raise NotImplementedError
