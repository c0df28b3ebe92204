"""From a model's next-token probabilities to whole sequences.

`attend.decoding.contract` says what a model and a search ask of each other.
"""

from attend.decoding.beam import Beam, beam_search, continuations, rank
from attend.decoding.contract import (
    Decoded,
    NBest,
    Step,
    checked,
    reorder,
    repeat,
)
from attend.decoding.exact import exact_search
from attend.decoding.rerank import (
    mean_log_probs,
    mutual_information,
    sequence_log_probs,
)
from attend.decoding.sampling import greedy, rollout, sample, truncate
from attend.state import State

__all__ = [
    "Beam",
    "Decoded",
    "NBest",
    "State",
    "Step",
    "beam_search",
    "checked",
    "continuations",
    "exact_search",
    "greedy",
    "mean_log_probs",
    "mutual_information",
    "rank",
    "reorder",
    "repeat",
    "rollout",
    "sample",
    "sequence_log_probs",
    "truncate",
]
