"""Compare what an answer did with what it should have done, in words."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

LARGEST_SHOWN = 16
LONGEST_SHOWN = 240
LONGEST_LINE = 90
# A right answer fails a test of chance at most once in a million.
FALSE_ALARM = 1e-6
# Relative and absolute: what rounding may change in numbers about 1 to 100.
TOLERANCE = {torch.float16: (1e-2, 1e-3), torch.bfloat16: (5e-2, 1e-2)}
USUAL_TOLERANCE = 1e-3, 1e-5


class UnusableAnswerError(Exception):
    """The answer, or what it gives to a function, is of the wrong kind.

    The message says what was expected and what came.
    """


class Seen(dict[str, Any]):
    """What was seen of an answer: a name for each thing, and its value."""


class Raised(NamedTuple):
    """An error that an answer raised."""

    error: BaseException


class Absent(NamedTuple):
    """What is not there, such as a gradient, in words."""

    text: str


@dataclass(frozen=True)
class Share:
    """How often something came by chance, and how often it should.

    It agrees with `p`, or with another share, unless that has a probability
    below one in a million. The bound is Chernoff's, with the relative entropy:
    P(share ≥ s) ≤ exp(-total · KL(s ‖ p)) for s ≥ p, and likewise below
    (Hoeffding 1963, Theorem 1).

    Attributes:
        count: How often it came.
        total: Out of how many independent chances.
        p: Its probability for a right answer.
    """

    count: int
    total: int
    p: float

    def surprise(self, p: float) -> float:
        """The relative entropy to a probability, times the number of chances.

        Args:
            p: The probability.

        Returns:
            The exponent of Chernoff's bound, in nats; infinite for what cannot
            be.
        """
        nats = 0.0
        for count, chance in (
            (self.count, p),
            (self.total - self.count, 1 - p),
        ):
            if count and not chance:
                return math.inf
            if count:
                nats += count * math.log(count / self.total / chance)
        return nats

    def agrees(self, other: "Share | None" = None) -> bool:
        """Whether chance explains the difference to `p`, or to another share.

        Args:
            other: Another share, of unknown probability.

        Returns:
            False if a difference as large has a probability below
            `FALSE_ALARM`.
        """
        limit = math.log(2 / FALSE_ALARM)
        if other is None:
            return self.surprise(self.p) <= limit
        both = (self.count + other.count) / (self.total + other.total)
        return self.surprise(both) + other.surprise(both) <= limit


def show(value: Any) -> str:
    """Write a tensor, list or number compactly: `[[0.27, 0.73], [1, 0]]`."""
    if isinstance(value, Tensor):
        if value.is_meta:
            return kind(value)
        value = value.detach().tolist()
    if isinstance(value, dict):
        pairs = (f"{key}: {show(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(show(item) for item in value)}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def kind(value: Any) -> str:
    """Say in words what a value is."""
    if value is None or value is ...:
        return f"{value}. Is a `return` missing?"
    if isinstance(value, Raised):
        return f"{type(value.error).__name__}: {value.error}"
    if isinstance(value, Absent):
        return value.text
    name = type(value).__name__
    if _is_tensor(value):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, tuple | list):
        inner = sorted({type(item).__name__ for item in value})
        return f"a {name} of {len(value)}" + (
            f" ({', '.join(inner)})" if inner else ""
        )
    return f"a{'n' * (name[0] in 'aeiou')} {name}"


def expect_tensor(
    value: Any,
    shape: tuple[int, ...] | None = None,
    dtype: torch.dtype | None = None,
    axes: str = "",
    name: str = "the result",
) -> Tensor:
    """Assert that a value is a tensor of the given shape and dtype.

    Args:
        value: What the student's code returned, or gave to a function.
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
    problem = ""
    if not _is_tensor(value):
        problem = f"expected a tensor, got {kind(value)}"
    elif shape is not None and value.shape != shape:
        problem = (
            f"expected shape {_shape(shape, axes)}, got {tuple(value.shape)}"
        )
    elif dtype is not None and value.dtype != dtype:
        problem = f"expected dtype {dtype}, got {value.dtype}"
    if problem:
        raise UnusableAnswerError(f"{name}: {problem}")
    return value


def difference(
    expected: Any,
    got: Any,
    *,
    name: str = "the result",
    axes: Mapping[str, str] | None = None,
    wider: bool = False,
    matching: bool = False,
) -> str:
    """Say how a value differs from the expected one.

    Numbers differ if they are further apart than 0.1 % and 0.00001, in half
    precision 1 % and 0.001. A plain number must be one, and a tensor nothing
    that only says so.

    Args:
        expected: The value it should be: a tensor, a number, a text, a list, a
            dict, an error (`Raised`), a `Share`, or `Seen`.
        got: The value it is.
        name: What to call it.
        axes: What the dimensions of a tensor of a name mean.
        wider: Whether float64 will do where another float is expected.
        matching: Whether to ask if two answers did the same, so that shares
            are compared with each other.

    Returns:
        What was expected and what came; nothing if they agree.
    """
    inner = partial(difference, axes=axes, wider=wider, matching=matching)
    if isinstance(expected, Seen):
        if not isinstance(got, Seen):
            return f"expected {', '.join(expected)}, got {kind(got)}"
        if expected.keys() != got.keys():
            return (
                f"expected {', '.join(expected)}, got "
                f"{', '.join(map(kind, got.values()))}"
            )
        return _first(
            inner(expected[key], got[key], name=key) for key in expected
        )
    if isinstance(expected, Raised):
        if not isinstance(got, Raised):
            return f"expected a {type(expected.error).__name__}, got {got}"
        same = isinstance(got.error, type(expected.error)) and not (
            isinstance(expected.error, UnusableAnswerError)
            and str(expected.error) != str(got.error)
        )
        return "" if same else f"{name}: got {kind(got)}"
    if isinstance(expected, Share):
        if not isinstance(got, Share):
            return f"{name}: got {kind(got)}"
        if got.agrees(expected if matching else None):
            return ""
        about = f"about {expected.p * got.total:.4g} of {got.total}"
        wanted = {0.0: "none", 1.0: f"all {got.total}"}.get(expected.p, about)
        return f"{name}: expected {wanted}, got {got.count}"
    if isinstance(expected, Tensor) and not isinstance(got, Raised | Absent):
        return _tensors(expected, got, name, (axes or {}).get(name, ""), wider)
    if isinstance(
        expected, bool | str | Absent | torch.dtype | None
    ) or isinstance(got, Raised | Absent):
        same = type(got) is type(expected) and got == expected
        return "" if same else _plain(name, expected, got)
    if isinstance(expected, int | float):
        allowed = int if isinstance(expected, int) else (int, float)
        if isinstance(got, bool) or not isinstance(got, allowed):
            number = "whole number" if allowed is int else "number"
            return f"{name}: expected a plain {number}, got {kind(got)}"
        return "" if _close(expected, got) else _plain(name, expected, got)
    if isinstance(expected, Mapping):
        if not isinstance(got, Mapping) or expected.keys() != got.keys():
            keys = ", ".join(map(str, expected))
            came = (
                f"one with {', '.join(map(str, got))}"
                if isinstance(got, Mapping)
                else kind(got)
            )
            return f"{name}: expected a dict with {keys}, got {came}"
        return _first(
            inner(expected[key], got[key], name=f"{name}[{key!r}]")
            for key in expected
        )
    if isinstance(expected, list | tuple):
        if not isinstance(got, list | tuple) or (
            isinstance(expected, list) and not isinstance(got, list)
        ):
            return f"{name}: expected a {_sort(expected)}, got {kind(got)}"
        if len(expected) != len(got):
            return (
                _plain(name, expected, got)
                if _writable(expected) and _writable(got)
                else f"{name}: expected {len(expected)}, got {len(got)}"
            )
        found = _first(
            inner(*pair, name=f"{name}[{place}]")
            for place, pair in enumerate(zip(expected, got, strict=True))
        )
        typed = "plain" in found or "a tensor" in found
        if found and _writable(expected) and _writable(got) and not typed:
            return _lines(name, _short(expected), _short(got))
        return found
    if type(expected) is type(got) and expected == got:
        return ""
    return _plain(name, expected, got)


def _plain(name: str, expected: Any, got: Any) -> str:
    return f"{name}: expected {_short(expected)}, got {_short(got)}"


def _tensors(
    expected: Tensor, got: Any, name: str, axes: str, wider: bool
) -> str:
    if not _is_tensor(got):
        return f"{name}: expected a tensor, got {kind(got)}"
    if expected.shape != got.shape:
        shape = _shape(tuple(expected.shape), axes)
        return f"{name}: expected shape {shape}, got {tuple(got.shape)}"
    if expected.dtype != got.dtype and not (
        wider and got.dtype == torch.float64 and expected.is_floating_point()
    ):
        return f"{name}: expected dtype {expected.dtype}, got {got.dtype}"
    if expected.device != got.device:
        return (
            f"{name}: expected a tensor on {expected.device}, got one on "
            f"{got.device}"
        )
    result, target = got.detach().double(), expected.detach().double()
    rtol, atol = TOLERANCE.get(expected.dtype, USUAL_TOLERANCE)
    if not expected.is_floating_point():
        rtol, atol = 0.0, 0.0
    wrong = ~torch.isclose(result, target, rtol=rtol, atol=atol, equal_nan=True)
    if not wrong.any():
        return ""
    if result.numel() <= LARGEST_SHOWN:
        return _lines(name, show(expected), show(got))
    # A NaN is the worst difference: it counts as infinite.
    worst = int(
        (result - target)
        .abs()
        .nan_to_num(nan=torch.inf)
        .where(wrong, 0)
        .argmax()
    )
    where = [
        int(i) for i in torch.unravel_index(torch.tensor(worst), result.shape)
    ]
    return (
        f"{name}: {int(wrong.sum())} of {wrong.numel()} numbers differ; the "
        f"worst is at {where}: expected {show(expected[tuple(where)])}, got "
        f"{show(got[tuple(where)])}"
    )


def _is_tensor(value: Any) -> bool:
    """Whether it is a tensor, and no class that only looks like one."""
    return type(value) in (Tensor, nn.Parameter)


def _close(expected: float, got: float) -> bool:
    if math.isnan(expected) or math.isnan(got):
        return math.isnan(expected) and math.isnan(got)
    if isinstance(expected, int) and isinstance(got, int):
        return expected == got
    rtol, atol = USUAL_TOLERANCE
    return math.isclose(expected, got, rel_tol=rtol, abs_tol=atol)


def _first(problems: Iterable[str]) -> str:
    return next((problem for problem in problems if problem), "")


def _writable(values: Sequence[Any]) -> bool:
    """Whether a list is short enough to be written out."""
    return len(show(values)) <= LONGEST_SHOWN


def _short(value: Any) -> str:
    if isinstance(value, Raised | Absent):
        return kind(value)
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, Tensor) and value.numel() > LARGEST_SHOWN:
        return kind(value)
    text = show(value)
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + " …"


def _sort(value: Any) -> str:
    return "list" if isinstance(value, list) else "tuple"


def _shape(shape: tuple[int, ...], axes: str) -> str:
    return f"{shape} = ({axes})" if axes else f"{shape}"


def _lines(name: str, expected: str, got: str) -> str:
    """On one line, or on three where one would be too long."""
    line = f"{name}: expected {expected}, got {got}"
    if len(line) <= LONGEST_LINE:
        return line
    return f"{name}:\n  expected {expected}\n  got      {got}"
