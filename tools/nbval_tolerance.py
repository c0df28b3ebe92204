"""What counts as the same output.

This is the `conftest.py` with which `tools/outputs.py` runs nbval.

nbval compares text to the letter. Here a float may differ by one unit of its
last printed digit, or by 0.1 %; a cell tagged `rtol-0.05` allows 5 %. Integers
and words must be the same, and so must the number of pictures, not their
pixels. A cell tagged `timing` must run, and may show anything. A code cell that
was never run, a word on stderr and nbval's own ways to skip a cell are
failures.
"""

import re
from collections.abc import Generator
from decimal import Decimal
from typing import Any

import pytest
from nbformat import NotebookNode
from nbval.plugin import IPyNbCell

RTOL = 1e-3

# A float has a point or an exponent, and stands alone: not in q1, 2.13.0 or
# 1.5kg. The spaces before it belong to it, because numbers in columns trade
# digits for spaces.
FLOAT = re.compile(
    r"""(\x20* (?<![\w.]) [-+]?
         (?: (?: \d+\.\d* | \.\d+ ) (?: [eE][-+]?\d+ )? | \d+[eE][-+]?\d+ )
         (?! \w | \.\d ))""",
    re.VERBOSE,
)


def close(first: str, second: str, rtol: float) -> bool:
    """Tell whether two printed floats are within one last digit, or `rtol`."""
    a, b = Decimal(first.strip()), Decimal(second.strip())
    allowed = max(
        Decimal(str(rtol)) * abs(a), last_digit(first), last_digit(second)
    )
    return abs(a - b) <= allowed


def last_digit(printed: str) -> Decimal:
    """Return one unit of the last digit after the point: 0.001 for 0.125.

    It is nothing for 1. or 1e-05: without digits after the point nothing tells
    how far the number was rounded.
    """
    mantissa, _, exponent = printed.strip().lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return (
        Decimal((0, (1,), int(exponent or 0) - decimals))
        if decimals
        else Decimal(0)
    )


def aligned(new: str, stored: str, rtol: float) -> str:
    """Return the new text, with close enough floats in the stored spelling.

    If all that differs is tolerated, the result is the stored text; if not,
    what is left to differ is what nbval will show.
    """
    # text, float, text, …
    new_parts, stored_parts = FLOAT.split(new), FLOAT.split(stored)
    if new_parts[::2] != stored_parts[::2]:
        return new
    for i in range(1, len(new_parts), 2):
        if new_parts[i].strip() != stored_parts[i].strip() and close(
            stored_parts[i], new_parts[i], rtol
        ):
            new_parts[i] = stored_parts[i]
    return "".join(new_parts)


def rtol_of(tags: list[str]) -> float:
    """Return the tolerance that a cell's tags ask for."""
    asked = [
        float(tag.removeprefix("rtol-"))
        for tag in tags
        if tag.startswith("rtol-")
    ]
    return max([RTOL, *asked])


def parts(output: NotebookNode) -> tuple[dict[str, Any], list[str]]:
    """Return the dictionary that holds an output's content, and its keys."""
    content = (
        output if output.output_type == "stream" else output.get("data", {})
    )
    return content, ["text"] if output.output_type == "stream" else sorted(
        content
    )


def tolerate(
    new: list[NotebookNode], stored: list[NotebookNode], rtol: float
) -> None:
    """Change both outputs in place, so that what is tolerated is equal."""
    for output in (*new, *stored):
        content, keys = parts(output)
        for key in keys:
            if key.startswith("image/"):
                content[f"a picture ({key})"] = "its pixels are not compared"
                del content[key]
    if [parts(output)[1] for output in new] == [
        parts(output)[1] for output in stored
    ]:
        for new_output, stored_output in zip(new, stored, strict=True):
            (content, keys), (reference, _) = (
                parts(new_output),
                parts(stored_output),
            )
            for key in keys:
                if isinstance(content[key], str) and isinstance(
                    reference[key], str
                ):
                    content[key] = aligned(content[key], reference[key], rtol)


exact = IPyNbCell.compare_outputs


def compare_outputs(
    self: Any,
    new: list[NotebookNode],
    stored: list[NotebookNode],
    skip_compare: Any = None,
) -> bool:
    """Compare as nbval does, after making equal what is tolerated."""
    complaints = [
        output.text for output in new if output.get("name") == "stderr"
    ]
    if complaints:
        self.comparison_traceback = ["The cell writes to stderr:", *complaints]
        return False
    cell_tags = self.cell.metadata.get("tags", [])
    if "timing" in cell_tags:
        return True
    tolerate(new, stored, rtol_of(cell_tags))
    return bool(exact(self, new, stored, skip_compare))


IPyNbCell.compare_outputs = compare_outputs


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Fail a cell that asks not to be tested, and one that was never run."""
    assert isinstance(item, IPyNbCell)
    if item.options["skip"] or not item.options["check"]:
        item.raise_cell_error(
            "The cell asks nbval not to test it; tag it `timing` if it must"
        )
    yield
    if item.cell.source.strip() and item.cell.execution_count is None:
        item.raise_cell_error(
            "The cell was never run: `make run NB=…` stores its outputs"
        )
