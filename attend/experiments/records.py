"""What is stored of a long run beside its figures: where they come from."""

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
CPUINFO = Path("/proc/cpuinfo")


def commit() -> str:
    """The commit this package was run from, or "unknown" without one.

    Where files of the package differ from it, it says so.
    """
    head = git("rev-parse", "--verify", "HEAD")
    if not head:
        return "unknown"
    changed = git("status", "--porcelain", "--", str(HERE.parent))
    return f"{head} with uncommitted changes" if changed else head


def git(*arguments: str) -> str:
    """What git prints about this repository; nothing where there is none."""
    try:
        run = subprocess.run(
            ["git", *arguments],
            cwd=HERE,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:  # no git
        return ""
    return "" if run.returncode else run.stdout.strip()


def machine() -> str:
    """What the run was made on."""
    return (
        f"{processor()} ({platform.machine()}), {os.cpu_count()} cores, one "
        f"thread, Python {platform.python_version()}, PyTorch "
        f"{torch.__version__.split('+')[0]}"
    )


def processor() -> str:
    """The name of the processor, as far as the system tells it."""
    if CPUINFO.exists():
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace")
        name = re.search(r"^model name\s*: (.+)$", lines, re.MULTILINE)
        if name:
            return name[1].strip()
    return platform.processor() or "unknown processor"


def round_floats(value: Any) -> Any:
    """Round every float in nested lists and dicts to four places."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: round_floats(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [round_floats(item) for item in value]
    return value
