"""Run notebooks from top to bottom in an empty folder, and store their outputs.

A notebook with a cell that raises, or that writes to stderr, is left as it was.
"""

import argparse
import math
import re
import sys
import tempfile
import time
from pathlib import Path

from nbclient import NotebookClient
from nbclient.exceptions import (
    CellExecutionError,
    CellTimeoutError,
    DeadKernelError,
)
from nbformat import NotebookNode

from tools import exercises
from tools.notebooks import SOLUTIONS, ToolError, find, name, read, write
from tools.outputs import CELL_TIMEOUT, environment

MEASURED = re.compile(r"\*Measured run time: about \d+ s on two CPU cores\.\*")


def execute(notebook: NotebookNode) -> float:
    """Run all cells, store outputs in the notebook, return the seconds it took.

    Raises:
        ToolError: naming the first cell that raised, took too long or wrote to
            stderr.
    """
    notebook.metadata = {
        "kernelspec": {
            "display_name": "Python 3",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
    }
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=CELL_TIMEOUT,
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
    )
    with (
        tempfile.TemporaryDirectory(prefix="attend-") as folder,
        tempfile.TemporaryDirectory(prefix="attend-ipython-") as own,
        client.setup_kernel(cwd=folder, env=environment(Path(own))),
    ):
        start = time.perf_counter()
        for number, cell in enumerate(notebook.cells):
            cell.metadata.pop("execution", None)
            try:
                client.execute_cell(cell, number)
            except CellExecutionError as error:
                # without its colours
                traceback = re.sub(r"\x1b\[[\d;]*m", "", error.traceback)
                raise ToolError(
                    f"cell {number} raised {error.ename}\n{traceback}"
                ) from error
            except CellTimeoutError as error:
                raise ToolError(
                    f"cell {number} ran longer than {CELL_TIMEOUT} s"
                ) from error
            except DeadKernelError as error:
                raise ToolError(
                    f"cell {number} ended Python: was memory short?"
                ) from error
            for output in cell.get("outputs", []):
                if output.get("name") == "stderr":
                    raise ToolError(
                        f"cell {number} writes to stderr\n{output.text}"
                    )
        return time.perf_counter() - start


def note_time(notebook: NotebookNode, seconds: float) -> None:
    """Rewrite the line with the run time.

    It is rounded up to a multiple of five seconds.
    """
    line = (
        f"*Measured run time: about {5 * math.ceil(seconds / 5)} s "
        "on two CPU cores.*"
    )
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = MEASURED.sub(line, cell.source)


def main(arguments: list[str] | None = None) -> int:
    """Run the notebooks named, each even if another fails."""
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    parser.add_argument(
        "notebooks", nargs="+", metavar="NB", help="a chapter's name, or a path"
    )
    failed = False
    for wanted in parser.parse_args(arguments).notebooks:
        try:
            path = find(wanted)
            notebook = read(path)
            seconds = execute(notebook)
            note_time(notebook, seconds)
            write(notebook, path)
            print(f"{name(path)}: {seconds:.1f} s, outputs stored", flush=True)
            if path.parent == SOLUTIONS:
                exercises.update(path)
        except ToolError as error:
            print(f"{wanted}: {error}", file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
