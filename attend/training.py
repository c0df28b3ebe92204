"""Seeds, the loss over padded sequences, clipping, and the training loop."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attend.data.batching import Batch

BatchLoss = Callable[[nn.Module, Any], Tensor]  # of a model and a batch


def reproducible(seed: int = 0) -> None:
    """Make this process give the same numbers every time.

    It seeds PyTorch and uses one thread: sums over several threads are added in
    a different order from run to run and machine to machine, and the small
    models of this book are fastest with one anyway.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)


def sequence_cross_entropy(
    logits: Float[Tensor, "batch length vocab"],
    tgt: Int[Tensor, "batch length"],
    pad_id: int = 0,
) -> Float[Tensor, ""]:
    """Mean cross-entropy, in nats, over the real tokens of a padded batch.

    Args:
        logits: scores of the next token.
        tgt: the tokens to predict; where they are `pad_id`, nothing is counted.
        pad_id: the padding token.

    Raises:
        ValueError: if there is no real token at all.
    """
    real = tgt != pad_id
    if not bool(real.any()):
        raise ValueError(
            "every target is padding: there is nothing to learn from in this "
            "batch"
        )
    log_probs = logits.log_softmax(dim=-1)
    # (batch, length)
    losses = -log_probs.gather(-1, tgt[..., None]).squeeze(-1)
    return losses.masked_fill(~real, 0.0).sum() / real.sum()


def clip_by_global_norm(
    parameters: Iterable[Tensor], max_norm: float
) -> Float[Tensor, ""]:
    """Scale all gradients, in place, by `m / max(‖g‖, m)`.

    Their joint norm is then at most `m`. It is taken over all gradients as one
    long vector, so the direction of that vector stays.

    Args:
        parameters: parameters; those without a gradient are passed over.
        max_norm: the bound `m`.

    Returns:
        The norm before clipping.

    Raises:
        ValueError: if `max_norm` is not positive.

    Source: Pascanu et al. 2013, algorithm 1.
    """
    if max_norm <= 0:
        raise ValueError(f"max_norm must be positive, got {max_norm}")
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros(())
    norm = torch.stack([g.norm() for g in gradients]).norm()
    for gradient in gradients:
        gradient.mul_(max_norm / norm.clamp(min=max_norm))
    return norm


def teacher_forced_loss(
    model: nn.Module, batch: Batch, pad_id: int = 0
) -> Float[Tensor, ""]:
    """The loss of a batch when the model hears the true prefix each time.

    Args:
        model: called as `model(src, src_lengths, tgt_in)`, returns logits.
        batch: sources and targets.
        pad_id: the padding token, left out of the loss.

    Returns:
        The mean cross-entropy, in nats a token.

    Raises:
        ValueError: as `sequence_cross_entropy`.
    """
    logits = model(batch.src, batch.src_lengths, batch.tgt_in)
    return sequence_cross_entropy(logits, batch.tgt_out, pad_id)


def fit(
    model: nn.Module,
    batches: Sequence[Any],
    lr: float = 8e-3,
    max_norm: float = 1.0,
    batch_loss: BatchLoss = teacher_forced_loss,
) -> list[float]:
    """Train with Adam, one step a batch: the loop of chapter 1.

    The learning rate falls in a straight line from `lr` to zero.

    Args:
        model: what to train.
        batches: the batches to train on, in order.
        lr: the first learning rate.
        max_norm: bound on the joint norm of the gradients.
        batch_loss: called as `batch_loss(model, batch)`.

    Returns:
        The loss of every step, in nats a token.

    Raises:
        ValueError: if there is no batch, or the loss or its gradient stops
            being a finite number.
    """
    if not batches:
        raise ValueError("there is no batch to train on: is the data empty?")
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.LinearLR(
        optimizer, 1.0, 0.0, total_iters=len(batches)
    )
    losses: list[float] = []
    model.train()
    for batch in batches:
        loss = batch_loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        norm = clip_by_global_norm(model.parameters(), max_norm)
        check_finite(loss, norm, f"at step {len(losses)}")
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    model.eval()
    return losses


def check_finite(loss: Tensor, norm: Tensor, when: str) -> None:
    """Refuse a step that would make the weights NaN.

    Args:
        loss: the loss of the step.
        norm: the norm of its gradient.
        when: which step it is.
    """
    if not bool(loss.isfinite() & norm.isfinite()):
        raise ValueError(
            f"the loss became {loss:.4g}, its gradient {norm:.4g} {when}: "
            "train again with a lower lr"
        )
