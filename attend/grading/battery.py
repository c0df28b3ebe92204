"""What every question tries, unless its text says otherwise.

Each call that a question registers is made again in other ways: with arguments
that are looked at afterwards, with other memory layouts, a second time, with
other dtypes, and with gradients.
"""

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from attend.grading.compare import Absent, Seen, show

Arguments = tuple[Any, ...]

# Each kind, and the rule that an answer breaks there.
KINDS = {
    "sizes": "For a tensor of this size your result is wrong.",
    "arguments": (
        "Your code changes what it was given. Leave arguments as they are: "
        "whoever calls you still needs them."
    ),
    "layout": (
        "The same numbers in another memory layout give another result. A "
        "tensor need not be contiguous: a transpose or a slice is not."
    ),
    "again": (
        "A second call gives another result than the first, with the same "
        "arguments. What is left over from the first?"
    ),
    "gradients": "Your result does not have the gradient that it should have.",
    "float64": "With arguments in double precision your result is wrong.",
    "float16": "With arguments in half precision your result is wrong.",
}
DTYPES = {"float64": torch.float64, "float16": torch.float16}
LONGEST_LABEL = 200
MOST_NUMBERS = 16


class Call(NamedTuple):
    """A call of the answer.

    Attributes:
        part: The part of the question.
        arguments: Its arguments.
        rule: What is broken where the result differs.
        kind: The kind of the battery; "" for a call written by hand.
    """

    part: str
    arguments: Arguments
    rule: str = ""
    kind: str = ""


def numbers(*shape: int, low: float = -2, high: float = 2) -> Tensor:
    """Make numbers that look random, equal to the bit on every machine.

    Args:
        shape: The shape.
        low: The least they may be.
        high: What they are below.

    Returns:
        A tensor of the shape; another shape has other numbers.
    """
    seed = 1 + sum(size * 31**place for place, size in enumerate(shape))
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(shape, generator=generator)


def sizes(function: Callable[..., Arguments]) -> Iterator[Call]:
    """Call with all default sizes, then with each of them 1 in turn.

    Args:
        function: Makes arguments from sizes, its parameters.

    Yields:
        The calls.
    """
    yield Call("idea", function())
    for name in inspect.signature(function).parameters:
        rule = f"Where {name} is 1 your result is wrong."
        yield Call("edges", function(**{name: 1}), rule, "sizes")


def plain(arguments: Arguments, returns: dict[str, str]) -> Callable[..., Any]:
    """Make a trial of one call, with copies of the arguments.

    Args:
        arguments: The arguments.
        returns: The names of the results.

    Returns:
        A function that takes the answer and returns its results.
    """
    return lambda answer: results(answer(*copied(arguments)), returns)


def variant(
    kind: str,
    arguments: Arguments,
    parameters: Sequence[str],
    returns: dict[str, str],
    gradients: Sequence[str],
) -> tuple[str, Callable[..., Any]] | None:
    """Make the same call in another way.

    Args:
        kind: In which way, one of `KINDS`.
        arguments: The arguments.
        parameters: Their names.
        returns: The names of the results.
        gradients: For which parameters to compare gradients.

    Returns:
        The input in words, and a trial; `None` where it would be the same call.
    """
    label = describe(parameters, arguments)
    if kind == "arguments":
        return label, _afterwards(arguments, parameters)
    if kind == "again":
        return label, _again(arguments, returns)
    if kind == "layout" and any(
        _strided(tensor) is not tensor for tensor in leaves(arguments)
    ):
        other = mapped(_strided, arguments)
        return f"{label}, not contiguous", plain(other, returns)
    if kind == "gradients" and gradients:
        return label, _gradients(arguments, parameters, returns, gradients)
    if kind in DTYPES and any(
        tensor.is_floating_point() for tensor in leaves(arguments)
    ):
        other = mapped(_converted(DTYPES[kind]), arguments)
        return f"{label}, {DTYPES[kind]}", plain(other, returns)
    return None


def results(value: Any, returns: dict[str, str]) -> Seen:
    """Give each result of a call its name.

    Args:
        value: What an answer returned.
        returns: The names of the results.

    Returns:
        The results by name; as one, "what you return", if they are not as many
        as there should be.
    """
    if len(returns) == 1:
        return Seen(zip(returns, [value], strict=True))
    if isinstance(value, tuple | list) and len(value) == len(returns):
        return Seen(zip(returns, value, strict=True))
    return Seen({"what you return": value})


def copied(arguments: Any) -> Any:
    """Copy arguments deeply; tensors keep their memory layout."""
    return mapped(_copied, arguments)


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """Apply a function to all that is in tuples, lists and dicts."""
    if isinstance(value, dict):
        return {key: mapped(function, item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return value._make(mapped(function, item) for item in value)
    if isinstance(value, tuple | list):
        return type(value)(mapped(function, item) for item in value)
    return function(value)


def leaves(value: Any) -> list[Tensor]:
    """List the tensors in tuples, lists and dicts."""
    found: list[Tensor] = []
    mapped(lambda item: found.append(item), value)
    return [item for item in found if isinstance(item, Tensor)]


def describe(parameters: Sequence[str], arguments: Arguments) -> str:
    """Write arguments in words: small ones in full, large ones by shape."""
    pairs = list(zip(parameters, arguments, strict=True))
    label = ", ".join(f"{n} {_written(value, True)}" for n, value in pairs)
    if len(label) <= LONGEST_LABEL:
        return label
    return ", ".join(f"{n} {_written(value, False)}" for n, value in pairs)


def _written(value: Any, full: bool) -> str:
    if isinstance(value, Tensor):
        if full and value.numel() <= MOST_NUMBERS:
            return show(value)
        return f"of shape {tuple(value.shape)}"
    if isinstance(value, list | tuple) and leaves(value):
        return f"[{', '.join(_written(item, full) for item in value)}]"
    if isinstance(value, nn.Module):
        return f"of class {type(value).__name__}"
    if isinstance(value, torch.Generator):
        return "with a seed"
    return show(value)


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        # `clone` keeps strides only where a tensor is dense
        copy_of = torch.empty_strided(
            value.shape, value.stride(), dtype=value.dtype
        )
        return copy_of.copy_(value.detach())
    return copy.deepcopy(value)


def _strided(value: Any) -> Any:
    """The same numbers in other places: neither contiguous nor one step apart.

    So no `view` can flatten it.
    """
    if not isinstance(value, Tensor) or not value.dim() or value.numel() < 2:
        return value
    doubled = value.transpose(0, -1).repeat_interleave(2, dim=-1)
    return doubled[..., ::2].transpose(0, -1)


def _converted(dtype: torch.dtype) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if isinstance(value, nn.Module):
            return copy.deepcopy(value).to(dtype)
        if isinstance(value, Tensor) and value.is_floating_point():
            return value.to(dtype)
        return value

    return convert


def _afterwards(
    arguments: Arguments, parameters: Sequence[str]
) -> Callable[..., Any]:
    def run(answer: Callable[..., Any]) -> Seen:
        given = copied(arguments)
        answer(*given)
        return Seen(
            {
                f"`{name}` afterwards": value
                for name, value in zip(parameters, given, strict=True)
                if isinstance(value, Tensor | list | dict | tuple)
            }
        )

    return run


def _again(arguments: Arguments, returns: dict[str, str]) -> Callable[..., Any]:
    def run(answer: Callable[..., Any]) -> Seen:
        answer(*copied(arguments))
        return results(answer(*copied(arguments)), returns)

    return run


def _gradients(
    arguments: Arguments,
    parameters: Sequence[str],
    returns: dict[str, str],
    wanted: Sequence[str],
) -> Callable[..., Any]:
    def run(answer: Callable[..., Any]) -> Seen:
        given = dict(zip(parameters, copied(arguments), strict=True))
        for name in wanted:
            given[name].requires_grad_()
        made = results(answer(*given.values()), returns).values()
        reached = [t for t in leaves([*made]) if t.requires_grad]
        total = sum(
            ((t * numbers(*t.shape)).sum() for t in reached), torch.zeros(())
        )
        if reached:
            total.backward()
        return Seen(
            {
                f"the gradient of `{name}`": (
                    Absent("none: it does not reach the result")
                    if given[name].grad is None
                    else given[name].grad
                )
                for name in wanted
            }
        )

    return run
