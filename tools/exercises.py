"""Make the exercises from the solutions.

In a code cell, the lines from `# BEGIN SOLUTION` to `# END SOLUTION` become
`...`. A markdown cell that starts with `<!-- solution -->` is left out. Outputs
are left out.
"""

import argparse
import sys
from pathlib import Path

from nbformat import NotebookNode, from_dict

from tools.notebooks import (
    EXERCISES,
    SOLUTIONS,
    ToolError,
    listed,
    name,
    read,
    text,
    write,
)

BEGIN, END, EXPLAINS = "# BEGIN SOLUTION", "# END SOLUTION", "<!-- solution -->"


def without_solution(source: str) -> str:
    """Return code with each solution replaced by `...`.

    Raises:
        ToolError: if a BEGIN has no END or the other way round.
    """
    kept: list[str] = []
    inside = False
    for line in source.splitlines():
        if (marker := line.strip()) in (BEGIN, END):
            if inside == (marker == BEGIN):
                raise ToolError(
                    f"`{marker}` is not paired: each {BEGIN} needs one {END}"
                )
            inside = not inside
            if inside:
                kept.append(line.replace(BEGIN, "..."))
        elif not inside:
            kept.append(line)
    if inside:
        raise ToolError(f"`{BEGIN}` is not paired: it needs `{END}`")
    return "\n".join(kept)


def exercise(solution: NotebookNode) -> NotebookNode:
    """Return the exercise of a solution notebook.

    Raises:
        ToolError: naming the cell whose markers are not paired.
    """
    cells = []
    for number, original in enumerate(solution.cells):
        if original.cell_type == "markdown" and original.source.startswith(
            EXPLAINS
        ):
            continue
        cell = from_dict(original)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            try:
                cell.source = without_solution(cell.source)
            except ToolError as error:
                raise ToolError(f"cell {number}: {error}") from error
        cells.append(cell)
    return from_dict({**solution, "cells": cells})


def update(solution: Path, check: bool = False) -> bool:
    """Write the exercise of a solution, and return whether it differed.

    With `check`, only compare.

    Raises:
        ToolError: naming the cell whose markers are not paired.
    """
    path = EXERCISES / solution.name
    new = exercise(read(solution))
    if path.is_file() and path.read_text(encoding="utf-8") == text(new):
        return False
    verdict = (
        "differs from its solution: run `make exercises`"
        if check
        else "written"
    )
    print(f"{name(path)} {verdict}")
    if not check:
        write(new, path)
    return True


def main(arguments: list[str] | None = None) -> int:
    """Make every exercise, or with `--check` only say which differ."""
    parser = argparse.ArgumentParser(prog="make exercises", description=__doc__)
    parser.add_argument(
        "--check",
        action="store_true",
        help="change nothing; fail on a difference",
    )
    check = parser.parse_args(arguments).check
    failed = False
    solutions = listed(SOLUTIONS)
    for path in solutions:
        try:
            failed |= update(path, check) and check
        except ToolError as error:
            print(f"{name(path)}: {error}", file=sys.stderr)
            failed = True
    for orphan in {path.name for path in listed(EXERCISES)} - {
        path.name for path in solutions
    }:
        print(
            f"exercises/{orphan} has no solution in solutions/: remove it",
            file=sys.stderr,
        )
        failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
