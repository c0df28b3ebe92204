"""What a model remembers between two steps of decoding."""

from torch import Tensor

# The first dimension of each tensor is the batch. The rest is the model's own.
State = dict[str, Tensor]
