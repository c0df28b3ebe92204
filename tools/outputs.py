"""Run every notebook afresh and compare what it prints with what it stores.

Each notebook is copied to a folder of its own with nothing else in it, so that
one run shows both that its outputs are right and that it needs no file beside
it.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.notebooks import (
    CHAPTERS,
    ROOT,
    SOLUTIONS,
    ToolError,
    find,
    listed,
    name,
)

CELL_TIMEOUT = 120  # seconds


def environment(folder: Path) -> dict[str, str]:
    """Return the environment in which notebooks run.

    It is this one, less what could change them.
    """
    # Building its cache of fonts, Matplotlib warns in the notebook that happens
    # to be the first.
    subprocess.run(
        [sys.executable, "-c", "import matplotlib.font_manager"], check=True
    )
    hidden = re.compile("PYTHONPATH|PYTEST_.*")
    kept = {
        key: value
        for key, value in os.environ.items()
        if not hidden.fullmatch(key)
    }
    # The reader's own IPython start-up files stay out; the debugger has no
    # remarks to make.
    return {
        **kept,
        "IPYTHONDIR": str(folder),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def check(notebooks: list[Path], *options: str) -> int:
    """Run and compare notebooks with pytest; return its exit status.

    The options are further ones for pytest.
    """
    with tempfile.TemporaryDirectory(prefix="attend-") as temporary:
        folder = Path(temporary)
        for path in notebooks:
            alone = folder / path.parent.name / path.stem
            alone.mkdir(parents=True)
            shutil.copy(path, alone)
        shutil.copy(
            ROOT / "tools" / "nbval_tolerance.py", folder / "conftest.py"
        )
        # so that pytest looks for no settings further up
        (folder / "pytest.ini").touch()
        command = [
            *(
                sys.executable,
                "-m",
                "pytest",
                "--nbval",
                "--nbval-current-env",
                "--quiet",
            ),
            *(
                "-p",
                "no:cacheprovider",
                "--nbval-cell-timeout",
                str(CELL_TIMEOUT),
            ),
            *(("-n", "2", "--dist", "loadfile") if len(notebooks) > 1 else ()),
            *("--color", "yes" if sys.stdout.isatty() else "no", *options),
        ]
        with tempfile.TemporaryDirectory(prefix="attend-ipython-") as own:
            return subprocess.run(
                command, cwd=folder, env=environment(Path(own))
            ).returncode


def main(arguments: list[str] | None = None) -> int:
    """Check the notebooks named, or all chapters and solutions."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.outputs", description=__doc__
    )
    parser.add_argument(
        "notebooks", nargs="*", metavar="NB", help="a chapter's name, or a path"
    )
    wanted = parser.parse_args(arguments).notebooks
    try:
        notebooks = [find(one) for one in wanted] or listed(CHAPTERS, SOLUTIONS)
    except ToolError as error:
        parser.exit(2, f"{error}\n")
    if not notebooks:
        parser.exit(
            2, "There is no notebook in notebooks/ or solutions/ to check.\n"
        )
    print("Running afresh:", *map(name, notebooks), flush=True)
    return check(notebooks)


if __name__ == "__main__":
    sys.exit(main())
