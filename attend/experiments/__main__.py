"""Make a stored result again."""

import argparse
import json
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from attend import experiments
from attend.experiments.records import commit, machine, round_floats
from attend.experiments.runs import SEEDS


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one experiment and store its result."""
    parser = argparse.ArgumentParser(
        prog="python -m attend.experiments", description=experiments.__doc__
    )
    known = experiments.EXPERIMENTS
    parser.add_argument("name", choices=known, help="which run to make again")
    name = parser.parse_args(arguments).name
    start, revision = time.perf_counter(), commit()
    data = known[name]()
    record = {
        "command": f"python -m attend.experiments {name}",
        "commit": revision,
        "seeds": SEEDS,
        "minutes": round((time.perf_counter() - start) / 60, 1),
        "machine": machine(),
        "data": data,
    }
    path = Path(str(files("attend.results"))) / f"{name}.json"
    path.write_text(json.dumps(round_floats(record), indent=1) + "\n")
    print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
