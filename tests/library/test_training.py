"""Loss and clipping against PyTorch, and the training loop on a tiny task."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from attend.data import Batch, batches, make_batch
from attend.rnn import Seq2Seq, Seq2SeqConfig
from attend.training import (
    clip_by_global_norm,
    fit,
    reproducible,
    sequence_cross_entropy,
    teacher_forced_loss,
)

BATCH, LENGTH, VOCAB = 3, 5, 7


def test_reproducible_seeds_and_uses_one_thread() -> None:
    torch.set_num_threads(2)
    reproducible(seed=3)
    first = torch.rand(5)
    reproducible(seed=3)
    assert torch.equal(torch.rand(5), first)
    reproducible(seed=5)
    assert not torch.equal(torch.rand(5), first)
    assert torch.get_num_threads() == 1


# --- Loss ---


def logits_and_targets() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    tgt = torch.tensor([[3, 1, 4, 1, 5], [2, 6, 0, 0, 0], [5, 0, 0, 0, 0]])
    return (torch.rand(BATCH, LENGTH, VOCAB) * 5).requires_grad_(), tgt


@pytest.mark.parametrize("pad_id", [0, 1])
def test_loss_is_pytorchs(pad_id: int) -> None:
    logits, tgt = logits_and_targets()
    loss = sequence_cross_entropy(logits, tgt, pad_id)
    expected = cross_entropy(
        logits.flatten(0, 1), tgt.flatten(), ignore_index=pad_id
    )
    assert_close(loss, expected)
    assert_close(
        torch.autograd.grad(loss, logits), torch.autograd.grad(expected, logits)
    )


def test_loss_of_a_guess_is_the_logarithm_of_the_choices() -> None:
    _, tgt = logits_and_targets()
    loss = sequence_cross_entropy(torch.zeros(BATCH, LENGTH, VOCAB), tgt)
    assert_close(loss, torch.tensor(float(VOCAB)).log())


def test_loss_counts_every_token_alike_and_padding_not_at_all() -> None:
    logits, tgt = logits_and_targets()
    loss = sequence_cross_entropy(logits, tgt)
    rows = [
        sequence_cross_entropy(logits[i][None], tgt[i][None])
        for i in range(BATCH)
    ]
    assert_close(loss, (5 * rows[0] + 2 * rows[1] + 1 * rows[2]) / 8)
    wider = nn.functional.pad(logits, (0, 0, 0, 2), value=9.0)
    assert_close(
        sequence_cross_entropy(wider, nn.functional.pad(tgt, (0, 2))), loss
    )


def test_loss_ignores_infinite_logits_of_padding() -> None:
    logits, tgt = logits_and_targets()
    broken = logits.detach().masked_fill((tgt == 0)[..., None], float("inf"))
    assert_close(
        sequence_cross_entropy(broken, tgt),
        sequence_cross_entropy(logits.detach(), tgt),
    )


def test_loss_of_padding_only() -> None:
    with pytest.raises(
        ValueError, match="every target is padding: there is nothing to learn"
    ):
        sequence_cross_entropy(
            torch.zeros(BATCH, LENGTH, VOCAB), torch.zeros(BATCH, LENGTH).long()
        )


# --- Clipping ---


def parameters(scale: float) -> list[nn.Parameter]:
    """Return parameters with gradients of different sizes, and one without."""
    generator = torch.Generator().manual_seed(0)
    result = []
    for i, shape in enumerate([(2, 3), (5,), (7, 1, 11)]):
        p = nn.Parameter(torch.zeros(shape))
        p.grad = (torch.rand(shape, generator=generator) - 0.5) * scale * 10**i
        result.append(p)
    return [*result, nn.Parameter(torch.zeros(13))]


def gradients(ps: list[nn.Parameter]) -> Tensor:
    return torch.cat([p.grad.flatten() for p in ps if p.grad is not None])


@pytest.mark.parametrize("scale", [0.001, 0.01, 1.0, 100.0])
def test_clipping_is_pytorchs(scale: float) -> None:
    own, theirs = parameters(scale), parameters(scale)
    norm, expected = (
        clip_by_global_norm(own, 2.0),
        nn.utils.clip_grad_norm_(theirs, 2.0),
    )
    assert_close(norm, expected)
    # theirs adds 1e-6
    assert_close(gradients(own), gradients(theirs), rtol=1e-5, atol=0)
    assert own[-1].grad is None


def test_clipping_above_the_bound_keeps_the_direction() -> None:
    ps = parameters(1.0)
    before = gradients(ps)
    norm = clip_by_global_norm((p for p in ps), 2.0)
    assert_close(norm, before.norm())
    assert norm > 2
    assert_close(gradients(ps), before * 2 / before.norm())
    assert_close(gradients(ps).norm(), torch.tensor(2.0))


def test_clipping_below_the_bound_changes_nothing() -> None:
    ps = parameters(0.001)
    before = gradients(ps)
    norm = clip_by_global_norm(ps, 2.0)
    assert 0 < norm < 2
    assert torch.equal(gradients(ps), before)


def test_clipping_is_not_clipping_tensor_by_tensor() -> None:
    joint, each = parameters(1.0), parameters(1.0)
    clip_by_global_norm(joint, 2.0)
    for p in each:
        clip_by_global_norm([p], 2.0)
    cosine = torch.cosine_similarity(gradients(joint), gradients(each), dim=0)
    assert cosine < 0.99


def test_clipping_without_gradients() -> None:
    assert clip_by_global_norm([nn.Parameter(torch.ones(3))], 1.0) == 0
    zero = nn.Parameter(torch.ones(3))
    zero.grad = torch.zeros(3)
    assert clip_by_global_norm([zero], 1.0) == 0
    assert torch.equal(zero.grad, torch.zeros(3))


@pytest.mark.parametrize("max_norm", [0.0, -1.0])
def test_clipping_needs_a_positive_bound(max_norm: float) -> None:
    with pytest.raises(
        ValueError, match=f"max_norm must be positive, got {max_norm}"
    ):
        clip_by_global_norm(parameters(1.0), max_norm)


# --- Training loop ---


def tiny(attention: str = "none") -> Seq2Seq:
    reproducible(seed=0)
    return Seq2Seq(
        Seq2SeqConfig(
            7,
            7,
            d_embed=5,
            d_hidden=11,
            num_layers=1,
            dropout=0.0,
            attention=attention,
        )
    )


def copying(steps: int) -> list[Batch]:
    """Return batches of the task to copy two tokens out of four."""
    pairs = [([i, j], [i, j]) for i in range(3, 7) for j in range(3, 7)]
    return batches(pairs, len(pairs), epochs=steps)


@pytest.mark.parametrize("attention", ["none", "bahdanau", "luong"])
def test_fit_learns(attention: str) -> None:
    model = tiny(attention)
    losses = fit(model, copying(60), lr=0.05)
    assert len(losses) == 60
    assert losses[0] == pytest.approx(torch.tensor(7.0).log().item(), abs=0.3)
    assert losses[-1] < 0.2
    assert not model.training


def test_fit_repeats_exactly() -> None:
    runs = [fit(tiny("luong"), copying(5)) for _ in range(2)]
    assert runs[0] == runs[1]


def test_fit_is_adam_with_clipping_and_a_falling_rate() -> None:
    """Against a loop of PyTorch's own parts."""
    steps, lr, max_norm = 7, 0.03, 0.25
    own, theirs, data = tiny(), tiny(), copying(steps)
    optimizer = torch.optim.Adam(theirs.parameters())
    norms = []
    for i, (src, src_lengths, tgt, _) in enumerate(data):
        optimizer.param_groups[0]["lr"] = lr * (1 - i / steps)
        logits = theirs(src, src_lengths, tgt[:, :-1])
        optimizer.zero_grad()
        cross_entropy(
            logits.transpose(1, 2), tgt[:, 1:], ignore_index=0
        ).backward()
        norms.append(nn.utils.clip_grad_norm_(theirs.parameters(), max_norm))
        optimizer.step()
    assert max(norms) > max_norm
    fit(own, data, lr=lr, max_norm=max_norm)
    assert_close(
        list(own.parameters()), list(theirs.parameters()), atol=1e-4, rtol=1e-4
    )


def test_fit_trains_in_training_mode() -> None:
    seen = []
    model = tiny().eval()
    model.register_forward_pre_hook(
        lambda module, _: seen.append(module.training)
    )
    fit(model, copying(2))
    assert seen == [True, True]


def test_fit_leaves_padding_out() -> None:
    short, long = ([3], [4]), ([3, 4, 5], [5, 4, 3])
    both = make_batch([short, long])
    losses = [fit(tiny(), [make_batch([pair])])[0] for pair in (short, long)]
    assert fit(tiny(), [both])[0] == pytest.approx(
        (2 * losses[0] + 4 * losses[1]) / 6, rel=1e-5
    )


def test_fit_stops_when_the_loss_is_not_finite() -> None:
    model = tiny()
    data = copying(3)
    with torch.no_grad():
        model.output.bias[0] = float("nan")
    with pytest.raises(
        ValueError,
        match="the loss became nan, its gradient nan at step 0: train .* lower",
    ):
        fit(model, data)


class Given(torch.autograd.Function):
    """A loss whose value and gradient are given, whatever the weight is."""

    @staticmethod
    def forward(
        context: Any, weight: Tensor, value: float, gradient: float
    ) -> Tensor:
        context.gradient = gradient
        return torch.tensor(value)

    @staticmethod
    def backward(context: Any, _: Tensor) -> tuple[Tensor, None, None]:
        return torch.tensor([0.25, context.gradient, 0.5]), None, None


class Scripted(nn.Module):
    """A model whose losses and gradients are given, one pair a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0, 3.0, 5.0]))

    def forward(self, value: float, gradient: float) -> Tensor:
        return Given.apply(self.weight, value, gradient)


INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize("at", [0, 2, 4], ids=["first", "middle", "last"])
@pytest.mark.parametrize(
    ("value", "gradient", "norm"),
    [
        (1.5, INF, "inf"),
        (1.5, -INF, "inf"),
        (1.5, NAN, "nan"),
        (NAN, 0.5, r"0\.75"),
        (INF, 0.5, r"0\.75"),
        (-INF, 0.5, r"0\.75"),
        (NAN, NAN, "nan"),
    ],
)
def test_fit_refuses_a_step_that_would_break_the_weights(
    at: int, value: float, gradient: float, norm: str
) -> None:
    """They stay what the steps before have made of them."""
    fine = [(1.25, 0.5)] * 5
    broken = [*fine[:at], (value, gradient), *fine[at + 1 :]]
    model, seen = Scripted(), []

    def loss(model: Scripted, batch: tuple[float, float]) -> Tensor:
        seen.append(model.weight.detach().clone())
        return model(*batch)

    with pytest.raises(
        ValueError,
        match=(
            f"the loss became {value:.4g}, its gradient {norm} at step {at}: "
            "train again with a lower lr"
        ),
    ):
        fit(model, broken, batch_loss=loss)
    assert len(seen) == at + 1
    assert model.weight.isfinite().all()
    assert torch.equal(model.weight, seen[-1])
    assert all(not torch.equal(*two) for two in itertools.pairwise(seen))


def test_fit_calls_the_loss_that_it_is_given() -> None:
    """With the model in training mode and each batch, whatever that is."""
    model, calls = Scripted().eval(), []

    def loss(given: nn.Module, batch: Any) -> Tensor:
        calls.append((given, given.training, batch))
        return given(3.0 + len(calls), 0.5)

    batches = ["a", (2, 3), None]
    assert fit(model, batches, batch_loss=loss) == [4.0, 5.0, 6.0]
    assert calls == [(model, True, batch) for batch in batches]
    assert not model.training


def test_fit_begins_each_step_with_new_gradients() -> None:
    """Adding them up would double the second."""
    seen = []
    model = Scripted()
    model.weight.register_post_accumulate_grad_hook(
        lambda weight: seen.append(weight.grad.tolist())
    )
    turns = [(1.0, 0.5), (1.0, -0.25)]
    fit(model, turns, batch_loss=lambda model, turn: model(*turn))
    assert seen == [[0.25, 0.5, 0.5], [0.25, -0.25, 0.5]]


@pytest.mark.parametrize("pad_id", [0, 3])
def test_the_teacher_forced_loss_is_the_cross_entropy_by_hand(
    pad_id: int,
) -> None:
    """Each target token after the true ones before it, the end included."""
    pairs = [([4, 5, 6], [5]), ([6], [6, 4, 5]), ([5, 4], [])]
    batch, model = make_batch(pairs, pad_id=pad_id), tiny("luong").eval()
    losses = []
    for source, target in pairs:
        whole = [1, *target, 2]
        for place in range(1, len(whole)):
            logits = model(
                torch.tensor([source]),
                torch.tensor([len(source)]),
                torch.tensor([whole[:place]]),
            )
            probabilities = logits[0, -1].softmax(dim=0)
            losses.append(-math.log(probabilities[whole[place]].item()))
    loss = teacher_forced_loss(model, batch, pad_id)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert loss.requires_grad
    if not pad_id:
        assert torch.equal(teacher_forced_loss(model, batch), loss)


def test_fit_needs_a_batch() -> None:
    with pytest.raises(
        ValueError, match="there is no batch to train on: is the data empty"
    ):
        fit(tiny(), [])
