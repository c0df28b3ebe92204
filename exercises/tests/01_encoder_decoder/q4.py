import torch
from otter.test_files import test_case

from attend.grading import expect_close, show
from attend.grading.expect import UnusableAnswerError

OK_FORMAT = False
name = "q4"
points = None


def run(clip_by_global_norm, gradients, max_norm):
    """Clip; return the gradients and the norm if the answer has that form."""
    answer = clip_by_global_norm(
        [torch.tensor(gradient) for gradient in gradients], max_norm
    )
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise UnusableAnswerError(
            "expected two things, `return clipped, norm`, got one "
            f"{type(answer).__name__}"
        )
    clipped, norm = answer
    if not isinstance(clipped, list | tuple) or len(clipped) != len(gradients):
        raise UnusableAnswerError(
            f"the first of the two: expected a list of {len(gradients)} "
            f"tensors, one for each gradient, got {type(clipped).__name__}"
        )
    return clipped, norm


def expect_clipped(clip_by_global_norm, gradients, max_norm, expected):
    clipped, _ = run(clip_by_global_norm, gradients, max_norm)
    for i, (got, wanted) in enumerate(zip(clipped, expected, strict=True)):
        name = (
            f"gradients {show(gradients)}, max_norm {max_norm:g}: gradient {i}"
        )
        expect_close(got, torch.tensor(wanted), name=name)


@test_case(
    points=1,
    failure_message=(
        "The norm that you return is not the global norm before clipping. "
        "Lay all gradients end to end as one long vector: square every "
        "number, add them all up, take one root."
    ),
)
def test_norm(clip_by_global_norm):
    _, norm = run(clip_by_global_norm, [[3.0], [4.0]], 1.0)
    expect_close(norm, 5.0, name="gradients [3] and [4], so √(9 + 16)")


@test_case(
    points=1,
    failure_message=(
        "Your clipped gradient is wrong. Did you clip each number on its "
        "own? That changes the direction of the step: [6, 8] becomes [1, 1]. "
        "Multiply all numbers by the same factor."
    ),
)
def test_direction_stays(clip_by_global_norm):
    expect_clipped(clip_by_global_norm, [[6.0, 8.0]], 1.0, [[0.6, 0.8]])


@test_case(
    points=1,
    failure_message=(
        "With two tensors your clipping is wrong. Did you clip each tensor "
        "by its own norm? Then a small one keeps its size while a large one "
        "shrinks, and the direction of the step changes. Use one factor for "
        "all of them."
    ),
)
def test_one_factor_for_all(clip_by_global_norm):
    gradients, expected = (
        [[6.0, 0.0], [0.0, 8.0, 0.0]],
        [[0.6, 0.0], [0.0, 0.8, 0.0]],
    )
    expect_clipped(clip_by_global_norm, gradients, 1.0, expected)


@test_case(
    points=1,
    failure_message=(
        "You change gradients that are small enough. Clipping sets a "
        "ceiling, not a size: a norm below max_norm leaves every number as "
        "it is. That is what the max in the formula does."
    ),
)
def test_small_gradients_stay(clip_by_global_norm):
    expect_clipped(clip_by_global_norm, [[0.3], [0.4]], 1.0, [[0.3], [0.4]])


@test_case(
    points=1,
    failure_message=(
        "Your clipped gradients do not have the norm max_norm. Did you only "
        "divide by the norm? That makes it 1; multiply by max_norm as well."
    ),
)
def test_max_norm_is_used(clip_by_global_norm):
    expect_clipped(clip_by_global_norm, [[6.0, 8.0]], 5.0, [[3.0, 4.0]])


@test_case(
    points=1,
    failure_message=(
        "You changed the gradients that you were given. The question asks "
        "for new tensors: `*=` and `mul_` write into the caller's memory, "
        "while `g * factor` makes a new one."
    ),
)
def test_input_is_left_alone(clip_by_global_norm):
    gradients = [torch.tensor([6.0]), torch.tensor([8.0])]
    if clip_by_global_norm(gradients, 1.0) is None:
        raise UnusableAnswerError(
            "expected two things, `return clipped, norm`, got None"
        )
    assert show(gradients) == "[[6], [8]]", (
        "gradients [[6], [8]] before the call: expected the same after it, "
        f"got {show(gradients)}"
    )
