"""Figures of runs too long for a chapter, one small JSON each.

`attend.experiments` makes them.
"""

import json
from importlib.resources import files
from typing import Any


def load(name: str) -> dict[str, Any]:
    """Read a stored result: command, commit, seeds, minutes, machine and data.

    Raises:
        FileNotFoundError: if there is no result of that name; the message lists
            those there are.
    """
    folder = files(__name__)
    path = folder / f"{name}.json"
    if not path.is_file():
        known = sorted(
            p.name[:-5] for p in folder.iterdir() if p.name.endswith(".json")
        )
        raise FileNotFoundError(
            f"there is no result {name!r}, only {', '.join(known)}: "
            f"make it with `python -m attend.experiments {name}`"
        )
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf8"))
    return record
