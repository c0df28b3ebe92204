"""Vocabulary, batches and the embedded tasks."""

from attend.data.batching import (
    Batch,
    batches,
    bucketed_batches,
    make_batch,
    pad,
)
from attend.data.vocabulary import Vocabulary

__all__ = [
    "Batch",
    "Vocabulary",
    "batches",
    "bucketed_batches",
    "make_batch",
    "pad",
]
