"""Assertions for test files: they show what was expected and what came."""

from typing import Any

import torch
from torch import Tensor

LARGEST_SHOWN = 16
LONGEST_LINE = 90


class UnusableAnswerError(AssertionError):
    """The answer is of the wrong kind, so nothing else is tested.

    It is nothing at all, or has a wrong type or shape. The grader shows this
    message in place of the test case's `failure_message`.
    """


def show(value: Any) -> str:
    """Write a tensor, list or number compactly: `[[0.27, 0.73], [1, 0]]`."""
    if isinstance(value, Tensor):
        value = value.detach().tolist()
    if isinstance(value, list | tuple):
        return f"[{', '.join(show(item) for item in value)}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def expect_tensor(
    value: Any,
    shape: tuple[int, ...] | None = None,
    dtype: torch.dtype | None = None,
    axes: str = "",
    name: str = "the result",
) -> Tensor:
    """Assert that a value is a tensor of the given shape and dtype.

    Args:
        value: What the student's code returned.
        shape: The shape it must have; `None` accepts any.
        dtype: The dtype it must have; `None` accepts any.
        axes: What the dimensions of `shape` mean, such as
            `"batch, query, key"`.
        name: What to call the value in the message.

    Returns:
        The same value, now known to be a tensor.

    Raises:
        UnusableAnswerError: If the value is anything else; the message says
            what came instead.
    """
    if value is None or value is Ellipsis:
        raise UnusableAnswerError(
            f"{name}: expected a tensor, got {value}. Is a `return` missing?"
        )
    if not isinstance(value, Tensor):
        hint = ""
        if isinstance(value, tuple):
            hint = f" of {len(value)}: return one tensor only"
        raise UnusableAnswerError(
            f"{name}: expected a tensor, got a {type(value).__name__}{hint}"
        )
    if shape is not None and value.shape != shape:
        meaning = f" = ({axes})" if axes else ""
        raise UnusableAnswerError(
            f"{name}: expected shape {shape}{meaning}, got {tuple(value.shape)}"
        )
    if dtype is not None and value.dtype != dtype:
        raise UnusableAnswerError(
            f"{name}: expected dtype {dtype}, got {value.dtype}"
        )
    return value


def expect_close(
    got: Any,
    expected: Tensor | float,
    *,
    rtol: float = 1e-3,
    atol: float = 1e-4,
    axes: str = "",
    name: str = "the result",
) -> None:
    """Assert that a result has the expected shape and numbers.

    The numbers may differ from the expected ones within a tolerance.

    Args:
        got: What the student's code returned.
        expected: A tensor, or a number; for a number, a tensor with one element
            will do as well.
        rtol: Tolerance relative to the expected number.
        atol: Absolute tolerance, added to the relative one.
        axes: What the dimensions mean, for the message about a wrong shape.
        name: What was computed, and from what: it starts the message.

    Raises:
        UnusableAnswerError: If `got` is not a number or tensor of the expected
            shape.
        AssertionError: If the numbers differ; the message shows them.
    """
    if isinstance(expected, Tensor):
        result = expect_tensor(got, tuple(expected.shape), axes=axes, name=name)
    elif isinstance(got, bool | int | float) or (
        isinstance(got, Tensor) and got.numel() == 1
    ):
        result = torch.as_tensor(got, dtype=torch.float64).reshape(())
    else:
        kind = (
            f"shape {tuple(got.shape)}"
            if isinstance(got, Tensor)
            else type(got).__name__
        )
        raise UnusableAnswerError(f"{name}: expected one number, got {kind}")
    result = result.detach().to("cpu", torch.float64)
    target = torch.as_tensor(expected).detach().to("cpu", torch.float64)
    wrong = ~torch.isclose(result, target, rtol=rtol, atol=atol)
    if not wrong.any():
        return
    if result.numel() <= LARGEST_SHOWN:
        line = f"{name}: expected {show(target)}, got {show(result)}"
        lines = f"{name}:\n  expected {show(target)}\n  got      {show(result)}"
        raise AssertionError(line if len(line) <= LONGEST_LINE else lines)
    # A NaN is the worst difference: it counts as infinite.
    worst = int(
        (result - target)
        .abs()
        .nan_to_num(nan=torch.inf)
        .where(wrong, 0)
        .argmax()
    )
    where = tuple(
        int(i) for i in torch.unravel_index(torch.tensor(worst), result.shape)
    )
    raise AssertionError(
        f"{name}: {int(wrong.sum())} of {wrong.numel()} numbers differ; the "
        f"worst is at {list(where)}: expected {target[where]:.4g}, got "
        f"{result[where]:.4g}"
    )
