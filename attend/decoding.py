"""From a model's next-token probabilities to whole sequences.

Every search works through one contract, so it knows nothing of the model:

    step(tokens, state) -> (log_probs, state)

`tokens` `(batch,)` are the last tokens, `log_probs` `(batch, vocab)` those of the next ones. A
state is a dict of tensors whose first dimension is the batch, so that sentences can be dropped,
repeated or reordered by one `index_select(0, …)` a tensor.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

State = dict[str, Tensor]
Step = Callable[[Tensor, State], tuple[Tensor, State]]


class Decoded(NamedTuple):
    """Sequences found by a search.

    Attributes:
        tokens: `(batch, length)`, without BOS, ending with EOS unless cut off, then padded.
        lengths: `(batch,)`, the number of tokens, EOS included.
        log_probs: `(batch,)`, the model's log-probability of each sequence, in nats.
        weights: `(batch, length, key)`, the attention weights at each token, or None for a model
            whose state has none.
    """

    tokens: Int[Tensor, "batch length"]
    lengths: Int[Tensor, " batch"]
    log_probs: Float[Tensor, " batch"]
    weights: Float[Tensor, "batch length key"] | None


@torch.no_grad()
def greedy(
    step: Step, state: State, bos_id: int, eos_id: int, pad_id: int, max_length: int
) -> Decoded:
    """Take the most likely token at every step, until every sequence has ended.

    Args:
        step: the model, see the top of this module.
        state: where decoding starts; the batch size is read off it.
        bos_id: the token fed first.
        eos_id: the token that ends a sequence; it is part of the result.
        pad_id: what follows EOS.
        max_length: the most tokens to produce, EOS included.

    Raises:
        ValueError: if `max_length` is not positive or the state is empty.
    """
    if max_length < 1:
        raise ValueError(f"max_length must be at least 1, got {max_length}")
    if not state:
        raise ValueError("the state is empty: pass the state that the model's encode() returned")
    first = next(iter(state.values()))
    batch = first.shape[0]
    token = torch.full((batch,), bos_id, device=first.device)
    done = torch.zeros(batch, dtype=torch.bool, device=first.device)
    total = torch.zeros(batch, device=first.device)
    tokens, weights = [], []
    for _ in range(max_length):
        log_probs, state = step(token, state)
        best, token = log_probs.max(dim=-1)  # (batch,)
        token = token.masked_fill(done, pad_id)
        total = total + best.masked_fill(done, 0.0)
        tokens.append(token)
        if "weights" in state:
            weights.append(state["weights"])  # (batch, 1, key)
        done = done | (token == eos_id)
        if bool(done.all()):
            break
    ids = torch.stack(tokens, dim=1)  # (batch, length)
    ended = (ids == eos_id).cumsum(dim=1) - (ids == eos_id).long()  # EOS seen before this token
    lengths = (ended == 0).sum(dim=1)
    return Decoded(ids, lengths, total, torch.cat(weights, dim=1) if weights else None)
