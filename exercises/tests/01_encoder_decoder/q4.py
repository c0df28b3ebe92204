"""Clipping by the global norm: one factor for all gradients."""

import torch
from otter.test_files import test_case
from torch import tensor

from attend.grading import Question, numbers

OK_FORMAT = False
name = "q4"
points = None

QUESTION = Question(
    "clip_by_global_norm",
    returns={"the clipped gradients": "", "the norm": ""},
)


# --- Answers


@QUESTION.reference
def clip_by_global_norm(gradients, max_norm):
    squares = torch.stack([gradient.square().sum() for gradient in gradients])
    norm = squares.sum().sqrt()
    factor = max_norm / norm.clamp(min=max_norm)
    return [gradient * factor for gradient in gradients], norm


def global_norm(gradients):
    return torch.cat([gradient.flatten() for gradient in gradients]).norm()


def scaled(gradients, factor):
    return [gradient * factor for gradient in gradients]


@QUESTION.mistake(
    "You clip each tensor by its own norm, so the step points somewhere else. "
    "Take one norm of all tensors together, and one factor for all."
)
def clip_by_global_norm(gradients, max_norm):
    clipped = [
        gradient * max_norm / gradient.norm().clamp(min=max_norm)
        for gradient in gradients
    ]
    return clipped, global_norm(gradients)


@QUESTION.mistake(
    "You change gradients that are small enough: they are made as long as "
    "max_norm. Where the norm is at most max_norm, nothing changes."
)
def clip_by_global_norm(gradients, max_norm):
    norm = global_norm(gradients)
    return scaled(gradients, max_norm / norm), norm


@QUESTION.mistake(
    "You clip each number on its own, to ±max_norm, so the step points "
    "somewhere else. Multiply all of them by one factor."
)
def clip_by_global_norm(gradients, max_norm):
    clipped = [gradient.clamp(-max_norm, max_norm) for gradient in gradients]
    return clipped, global_norm(gradients)


@QUESTION.mistake(
    "Long gradients get the norm 1, whatever max_norm is. Dividing by the norm "
    "is half of it: multiply by max_norm."
)
def clip_by_global_norm(gradients, max_norm):
    norm = global_norm(gradients)
    return scaled(gradients, 1 / norm if norm > max_norm else 1.0), norm


@QUESTION.mistake(
    "The factor is upside down, norm / max_norm: long gradients get longer."
)
def clip_by_global_norm(gradients, max_norm):
    norm = global_norm(gradients)
    return scaled(gradients, norm.clamp(min=max_norm) / max_norm), norm


@QUESTION.mistake(
    "Short gradients are made longer and long ones stay: you take the smaller "
    "of norm and max_norm where the formula takes the larger."
)
def clip_by_global_norm(gradients, max_norm):
    norm = global_norm(gradients)
    return scaled(gradients, max_norm / norm.clamp(max=max_norm)), norm


@QUESTION.mistake(
    "You changed the gradients that you were given. Make a new list of new "
    "tensors, `gradient * factor`, and use neither `*=` nor `mul_`."
)
def clip_by_global_norm(gradients, max_norm):
    norm = global_norm(gradients)
    for gradient in gradients:
        gradient *= max_norm / norm.clamp(min=max_norm)
    return gradients, norm


@QUESTION.mistake(
    "You clip only the tensors that are longer than max_norm by themselves. "
    "All of them get the same factor."
)
def clip_by_global_norm(gradients, max_norm):
    norm = global_norm(gradients)
    factor = max_norm / norm.clamp(min=max_norm)
    return [g * factor if g.norm() > max_norm else g for g in gradients], norm


@QUESTION.mistake(
    "You add up the norms of the tensors. Lengths at right angles do not add "
    "up, their squares do: of 3 and 4 comes 5, and not 7."
)
def clip_by_global_norm(gradients, max_norm):
    norm = torch.stack([gradient.norm() for gradient in gradients]).sum()
    return scaled(gradients, max_norm / norm.clamp(min=max_norm)), norm


@QUESTION.mistake(
    "You take the largest of the tensors' norms instead of that of all of them "
    "together."
)
def clip_by_global_norm(gradients, max_norm):
    norm = torch.stack([gradient.norm() for gradient in gradients]).max()
    return scaled(gradients, max_norm / norm.clamp(min=max_norm)), norm


@QUESTION.mistake(
    "You add up the numbers without their signs. The norm is the root of the "
    "sum of squares."
)
def clip_by_global_norm(gradients, max_norm):
    norm = torch.cat([gradient.flatten() for gradient in gradients]).abs()
    norm = norm.sum()
    return scaled(gradients, max_norm / norm.clamp(min=max_norm)), norm


@QUESTION.mistake(
    "Your norm is the sum of squares, without the root at the end."
)
def clip_by_global_norm(gradients, max_norm):
    norm = global_norm(gradients) ** 2
    return scaled(gradients, max_norm / norm.clamp(min=max_norm)), norm


@QUESTION.mistake(
    "Your norm is divided by a count: it is a root mean square. The length of "
    "a long vector is not."
)
def clip_by_global_norm(gradients, max_norm):
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    norm = flat.square().mean().sqrt()
    return scaled(gradients, max_norm / norm.clamp(min=max_norm)), norm


@QUESTION.mistake(
    "The norm that you return is that of the clipped gradients. Return the one "
    "from before clipping."
)
def clip_by_global_norm(gradients, max_norm):
    norm = global_norm(gradients)
    clipped = scaled(gradients, max_norm / norm.clamp(min=max_norm))
    return clipped, global_norm(clipped)


@QUESTION.mistake(
    "Your function works for vectors only: tensors of two dimensions or none "
    "cannot be joined as they are. Flatten each of them, or add up their "
    "squares."
)
def clip_by_global_norm(gradients, max_norm):
    norm = torch.cat(gradients).norm()
    return scaled(gradients, max_norm / norm.clamp(min=max_norm)), norm


@QUESTION.mistake(
    "You return the clipped gradients alone. Return two things: `return "
    "clipped, norm`."
)
def clip_by_global_norm(gradients, max_norm):
    norm = global_norm(gradients)
    return scaled(gradients, max_norm / norm.clamp(min=max_norm))


@QUESTION.mistake(
    "Your norm is a plain number. Return a tensor without dimensions: where "
    "gradients are on a GPU, `item` would wait for it."
)
def clip_by_global_norm(gradients, max_norm):
    norm = global_norm(gradients)
    clipped = scaled(gradients, max_norm / norm.clamp(min=max_norm))
    return clipped, norm.item()


@QUESTION.mistake(
    "Where all gradients are zero, yours become NaN: 0 / 0. In the formula the "
    "larger of norm and max_norm divides."
)
def clip_by_global_norm(gradients, max_norm):
    norm = global_norm(gradients)
    return scaled(gradients, (max_norm / norm).clamp(max=1) * norm / norm), norm


@QUESTION.mistake(
    "All gradients are clipped, and joined in one long vector. Return one "
    "tensor for each, of its own shape."
)
def clip_by_global_norm(gradients, max_norm):
    norm = global_norm(gradients)
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    return flat * (max_norm / norm.clamp(min=max_norm)), norm


# --- Trials

QUESTION.call("idea", [tensor([3.0]), tensor([4.0])], 1.0)
QUESTION.call("idea", [tensor([3.0]), tensor([4.0])], 10.0)
QUESTION.call("idea", [tensor([3.0]), tensor([-4.0])], 2.0)
QUESTION.call("idea", [tensor([0.3]), tensor([-0.4])], 0.25)
QUESTION.call("idea", [tensor([1.0, -2.0, 3.0]), tensor([4.0])], 0.5)
QUESTION.call(
    "edges",
    [tensor([[1.0, -2.0], [3.0, 4.0]]), tensor([2.0])],
    0.5,
    rule="Gradients have any shapes: matrices, too.",
)
QUESTION.call("edges", [tensor(2.0), tensor([[1.0]])], 1.5)
QUESTION.call("edges", [tensor([3.0, 4.0])], 2.5, rule="There may be one.")
QUESTION.call(
    "edges",
    [tensor([0.0, 0.0]), tensor([0.0])],
    1.0,
    rule="All gradients may be zero: they stay zero.",
)
QUESTION.call(
    "edges",
    [tensor([0.0, 0.0]), tensor([4.0])],
    1.0,
    rule="A gradient may be zero: it stays zero.",
)
QUESTION.call(
    "edges",
    [tensor([3.0]), tensor([4.0])],
    5.0,
    rule="A norm of just max_norm is not too long.",
)
QUESTION.call(
    "edges",
    [tensor([3.0]), tensor([4.0])],
    2,
    rule="max_norm may be a whole number.",
)
QUESTION.call("edges", [numbers(3, 5, 2), numbers(7), numbers(1, 11)], 1.25)


@test_case(points=4)
def test_idea(clip_by_global_norm):
    QUESTION.check("idea", clip_by_global_norm)


@test_case(points=2)
def test_edges(clip_by_global_norm):
    QUESTION.check("idea edges", clip_by_global_norm)
