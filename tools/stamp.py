"""Write copies of all notebooks, stamped for Colab.

A stamped notebook knows where Colab can install `attend` from.
"""

import argparse
import copy
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("notebooks", "solutions", "exercises")
LINE = re.compile(r'^SOURCE = ".*$', re.MULTILINE)


def stamp(notebook: dict[str, Any], source: str) -> dict[str, Any]:
    """Return a copy whose set-up cell installs `attend` from `source`.

    Args:
        notebook: a notebook as JSON gives it; it is not changed.
        source: what pip can install, such as `git+https://…@commit`.

    Raises:
        ValueError: if `source` is not one word, or the notebook has no cell
            tagged `setup` with a line `SOURCE = ""`.
    """
    if not re.fullmatch(r"""[^\s"\\]+""", source):
        raise ValueError(f"a source is one word without quotes, got {source!r}")
    stamped = copy.deepcopy(notebook)
    found = 0
    for cell in stamped["cells"]:
        if "setup" in cell["metadata"].get("tags", []):
            lines, count = LINE.subn(
                f'SOURCE = "{source}"', "".join(cell["source"])
            )
            cell["source"] = lines.splitlines(keepends=True)
            found += count
    if found != 1:
        raise ValueError(
            'a notebook needs one line `SOURCE = ""` in a cell tagged `setup`, '
            f"found {found}: run `make sync`"
        )
    return stamped


def write(source: str, target: Path, root: Path = ROOT) -> list[Path]:
    """Write a stamped copy of every notebook under `root` to `target`.

    They stand there in the same folders.

    Raises:
        ValueError: if a notebook cannot be stamped; the message names it.
    """
    shutil.rmtree(target, ignore_errors=True)
    written = []
    for path in sorted(
        path for folder in FOLDERS for path in root.glob(f"{folder}/*.ipynb")
    ):
        try:
            stamped = stamp(
                json.loads(path.read_text(encoding="utf-8")), source
            )
        except ValueError as error:
            raise ValueError(f"{path.relative_to(root)}: {error}") from error
        copied = target / path.relative_to(root)
        copied.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps(
            stamped, ensure_ascii=False, indent=1, sort_keys=True
        )
        copied.write_text(content + "\n", encoding="utf-8")
        written.append(copied)
    return written


def main(arguments: list[str] | None = None) -> int:
    """Write the stamped copies for a GitHub repository to `_build/colab/`."""
    parser = argparse.ArgumentParser(prog="make colab", description=__doc__)
    parser.add_argument("slug", help="owner/repository on GitHub")
    parser.add_argument(
        "rev", help="the commit to install from: 7 to 40 hexadecimal digits"
    )
    args = parser.parse_args(arguments)
    example = f"make colab SLUG=owner/repository REV={'0123456789' * 4}"
    if not re.fullmatch(r"[\w-]+/[\w.-]+", args.slug, re.ASCII):
        parser.exit(
            2,
            f"SLUG must be owner/repository, got {args.slug!r}. Example: "
            f"{example}\n",
        )
    if not re.fullmatch(r"[0-9a-f]{7,40}", args.rev):
        parser.exit(
            2, f"REV must be a commit, got {args.rev!r}. Example: {example}\n"
        )
    try:
        written = write(
            f"git+https://github.com/{args.slug}@{args.rev}",
            ROOT / "_build" / "colab",
        )
    except ValueError as error:
        parser.exit(1, f"{error}\n")
    print(
        f"Stamped {len(written)} notebooks for {args.slug} at {args.rev}: "
        "_build/colab/"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
