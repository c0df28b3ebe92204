"""The contract between models and searches.

Every search works through one function, so it knows nothing of the model:

    step(tokens, state) -> (log_probs, state)

`tokens` `(batch,)` are the last tokens, `log_probs` `(batch, vocab)` those of
the next ones. A state is a dict of tensors whose first dimension is the batch,
so that sentences can be dropped, repeated or reordered by one
`index_select(0, …)` a tensor. The other dimensions are the model's own, and may
grow from step to step as a cache does.

A step returns a new state and leaves the tensors of the old one as they are:
one that changes them in place is refused. What it passes on untouched belongs
to the source, and is the same for every hypothesis about it.

Two names mean something to a search:

- `weights` `(batch, …, 1, key)`, the attention weights of the step, where `…`
  is nothing, or layers and heads. Weights on what was written itself get one
  key more at each step; those of earlier steps are then filled up with zeros.
- `mask` `(batch, 1, key)`, True for the real keys.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from attend.state import State

Step = Callable[[Tensor, State], tuple[Tensor, State]]
Prompt = Int[Tensor, "batch prompt"]


class Decoded(NamedTuple):
    """Sequences found by a search, one for each source.

    Attributes:
        tokens: `(batch, length)`, without the first tokens, with the prompts,
            ending with EOS unless cut off, then padded.
        lengths: `(batch,)`, the number of tokens, EOS included.
        log_probs: `(batch,)`, the model's log-probability of each sequence, in
            nats; of what follows the prompt, where there is one.
        weights: `(batch, …, length, key)`, the attention weights at each token,
            zero after EOS, or None for a model whose state has none. `…` is
            nothing, or layers and heads.
    """

    tokens: Int[Tensor, "batch length"]
    lengths: Int[Tensor, " batch"]
    log_probs: Float[Tensor, " batch"]
    weights: Float[Tensor, "batch ... length key"] | None


class NBest(NamedTuple):
    """The best sequences found for each source, the best first.

    Where fewer were found, the last places are empty: length 0, log-probability
    and score −∞.

    Attributes:
        tokens: `(batch, best, length)`, as in `Decoded`.
        lengths: `(batch, best)`, the number of tokens, EOS included.
        log_probs: `(batch, best)`, as in `Decoded`.
        scores: `(batch, best)`, what they are ranked by, falling; see
            `beam_search`.
        weights: `(batch, best, …, length, key)`, as in `Decoded`.
    """

    tokens: Int[Tensor, "batch best length"]
    lengths: Int[Tensor, "batch best"]
    log_probs: Float[Tensor, "batch best"]
    scores: Float[Tensor, "batch best"]
    weights: Float[Tensor, "batch best ... length key"] | None

    def first(self) -> Decoded:
        """The best sequence for each source alone."""
        length = int(self.lengths[:, 0].max())
        weights = self.weights
        if weights is not None:
            weights = weights[:, 0, ..., :length, :]
        tokens = self.tokens[:, 0, :length]
        return Decoded(
            tokens, self.lengths[:, 0], self.log_probs[:, 0], weights
        )


def repeat(state: State, times: int) -> State:
    """Repeat every row of a state, the copies side by side.

    TensorFlow called it `tile_batch`.
    """
    return {
        name: tensor.repeat_interleave(times, dim=0)
        for name, tensor in state.items()
    }


def reorder(state: State, rows: Int[Tensor, " rows"]) -> State:
    """Take the rows of a state in a new order.

    Rows may be left out or come more than once.
    """
    return {
        name: tensor.index_select(0, rows) for name, tensor in state.items()
    }


def joined(weights: Sequence[Tensor]) -> Tensor | None:
    """Join the weights of successive steps, `(…, 1, key)`: `(…, step, key)`.

    Keys that an earlier step did not have get zeros. None where there are none.
    """
    if not weights:
        return None
    keys = max(step.shape[-1] for step in weights)
    return torch.cat(
        [F.pad(step, (0, keys - step.shape[-1])) for step in weights], dim=-2
    )


def with_prompt(
    step: Step,
    state: State,
    prompt: Prompt | None,
    eos_id: int,
    pad_id: int,
    max_length: int,
) -> tuple[Step, State]:
    """Make a model go on from a prompt: a step and a state to search with.

    While a row's prompt lasts, its next token is certain. What is left of the
    prompts is in the state, so that it is reordered with the rows.

    Args:
        step: the model.
        state: where decoding starts.
        prompt: `(batch, prompt)`, padded at the end; None for no prompt.
        eos_id: the token that ends a sequence: no prompt may hold it.
        pad_id: the padding.
        max_length: the most tokens of a sequence, those of the prompt included.

    Raises:
        ValueError: if the prompts do not fit the state or `max_length`, hold
            EOS, or are padded before their end.
    """
    if prompt is None:
        return step, state
    check_prompt(prompt, len(rows_of(state)), eos_id, pad_id, max_length)

    def prompted(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        state = dict(state)
        left = state.pop(LEFT, None)
        if left is None:
            return step(tokens, state)
        log_probs, new = checked(step, tokens, state)
        given = left[:, :1]  # (rows, 1)
        free = given == pad_id
        check_ids(given[~free], log_probs.shape[1])
        given = given.masked_fill(free, 0)
        certain = torch.full_like(log_probs, -math.inf).scatter(1, given, 0.0)
        log_probs = log_probs.where(free, certain)
        if left.shape[1] > 1:
            new = {**new, LEFT: left[:, 1:]}
        return log_probs, new

    if prompt.shape[1]:
        state = {**state, LEFT: prompt.to(rows_of(state).device)}
    return prompted, state


LEFT = "the prompt that is left"  # the name in the state; no model has it


def check_prompt(
    prompt: Tensor, batch: int, eos_id: int, pad_id: int, max_length: int
) -> None:
    """Refuse prompts that no search can go on from."""
    fits = isinstance(prompt, Tensor) and prompt.dim() == 2
    if not fits or len(prompt) != batch:
        raise ValueError(
            f"prompt must have the shape ({batch}, tokens), one row for each "
            f"of the state, got {shape_of(prompt)}"
        )
    real = prompt != pad_id
    if bool((real.cumprod(dim=1) != real).any()):
        raise ValueError(
            f"a prompt has padding ({pad_id}) before its end: put the padding "
            "after its tokens"
        )
    if bool(((prompt == eos_id) & real).any()):
        raise ValueError(
            f"a prompt holds EOS ({eos_id}), after which nothing can be "
            "written: leave EOS out"
        )
    longest = int(real.sum(dim=1).max()) if prompt.numel() else 0
    if longest >= max_length:
        raise ValueError(
            f"a prompt has {longest} tokens, which count too: max_length must "
            f"be larger, got {max_length}"
        )


def check_ids(ids: Tensor, vocab_size: int) -> None:
    """Refuse tokens of a prompt that the model does not have."""
    unknown = ids[(ids < 0) | (ids >= vocab_size)]
    if len(unknown):
        raise ValueError(
            f"a prompt holds the token {int(unknown[0])}, which is not in the "
            f"model's vocabulary of {vocab_size}: was it made with another one?"
        )


def rows_of(state: State) -> Tensor:
    """One of the state's tensors: it has the batch size and the device.

    Raises:
        ValueError: if there is none.
    """
    if not state:
        raise ValueError(
            "the state is empty: pass the state that the model's encode() "
            "returned"
        )
    return next(iter(state.values()))


def check_start(state: State, first: Tensor, max_length: int) -> torch.device:
    """Refuse a search that cannot begin; return its device."""
    if max_length < 1:
        raise ValueError(f"max_length must be at least 1, got {max_length}")
    rows = rows_of(state)
    if not len(rows):
        raise ValueError("the state has no rows: there is nothing to write")
    if not isinstance(first, Tensor) or first.shape != rows.shape[:1]:
        raise ValueError(
            f"first must be a tensor of {len(rows)} token ids, one for each "
            f"row of the state, got {shape_of(first)}: for example "
            f"torch.full(({len(rows)},), bos_id)"
        )
    return rows.device


def shape_of(value: object) -> str:
    """What an error shows of a value: a tensor's shape, or what it is."""
    return str(tuple(value.shape) if isinstance(value, Tensor) else value)


def checked(step: Step, tokens: Tensor, state: State) -> tuple[Tensor, State]:
    """Take one step, and refuse what breaks the contract above."""
    given = {"the tokens": tokens, **state}
    before = {name: version(tensor) for name, tensor in given.items()}
    returned = step(tokens, dict(state))  # a step may fill in its own dict
    for name, tensor in given.items():
        if version(tensor) != before[name]:
            raise ValueError(
                f"step changed {name!r} in place, but other hypotheses still "
                "need it as it was: make a new tensor, for example with "
                "torch.cat or clone(), and return it in a new state"
            )
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise TypeError(
            "step must return (log_probs, state), got "
            f"{type(returned).__name__}"
        )
    log_probs, new = returned
    if not isinstance(log_probs, Tensor) or not isinstance(new, dict):
        raise TypeError(
            "step must return (log_probs, state), a tensor and a dict of "
            f"tensors, got ({type(log_probs).__name__}, {type(new).__name__})"
        )
    if log_probs.dim() != 2 or len(log_probs) != len(tokens):
        raise ValueError(
            f"step must return log_probs of shape ({len(tokens)}, vocab), got "
            f"{tuple(log_probs.shape)}: one row for each of the tokens it was "
            "given"
        )
    check_state(new, len(tokens))
    largest = log_probs.amax().item()  # NaN if there is one anywhere
    if math.isnan(largest):
        raise ValueError(
            "step returned NaN: has training diverged, or is a row fully "
            "masked?"
        )
    if largest > 1e-3:
        raise ValueError(
            f"step returned log_probs up to {largest:.4g}, but no logarithm of "
            "a probability is above 0: did it return logits? "
            "`log_softmax(dim=-1)` turns them into log_probs"
        )
    return log_probs, new


def check_state(state: State, rows: int) -> None:
    """Refuse a state whose tensors have not the shapes of the contract."""
    for name, tensor in state.items():
        if tensor.shape[:1] != (rows,):
            raise ValueError(
                f"step must return a state whose tensors have {rows} rows, one "
                f"for each token; {name!r} has shape {tuple(tensor.shape)}"
            )
    weights = state.get("weights")
    if weights is not None and (weights.dim() < 3 or weights.shape[-2] != 1):
        raise ValueError(
            "step must return `weights` of shape (batch, …, 1, key), those of "
            f"one token, got {tuple(weights.shape)}"
        )


def version(tensor: Tensor) -> int:
    """How often a tensor was changed in place.

    0 for a tensor made under `torch.inference_mode`, which does not count.
    """
    return 0 if tensor.is_inference() else tensor._version
