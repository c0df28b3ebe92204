"""Imports in the package point one way, so that each part can be read and used without the next."""

import ast
from pathlib import Path

import pytest

from tools.notebooks import ROOT

# Each may import those before it.
BLOCKS = ["masks", "positions", "attention", "layers"]
MODELS = ["rnn", "transformer", "language_model", "efficient", "glimpse", "cnn", "vit", "swin"]
# They serve any model and import none; models may import them, blocks may not.
LEAVES = [
    "decoding",
    "data",
    "training",
    "checkpoints",
    "metrics",
    "plotting",
    "grading",
    "results",
    "exercises",
]
# They put the parts together into whole trainings; only programs import them.
ASSEMBLIES = ["recipes"]
# Programs at the end: they may import everything, and nothing imports them.
PROGRAMS = ["experiments", "cli"]


def may_import(part: str) -> set[str]:
    """Return the parts of the package that a part may import, itself included."""
    if part in BLOCKS:
        return set(BLOCKS[: BLOCKS.index(part) + 1])
    if part in MODELS:
        return {*BLOCKS, *LEAVES, *MODELS[: MODELS.index(part) + 1]}
    if part in LEAVES:
        return {*BLOCKS, *LEAVES}
    if part in ASSEMBLIES:
        return {*BLOCKS, *LEAVES, *MODELS, part}
    return {*BLOCKS, *LEAVES, *MODELS, *ASSEMBLIES, part}


def imported(code: str) -> set[str]:
    """Return the full names of all modules, or objects in them, that code imports anywhere."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def problems(package: Path) -> list[str]:
    """Return what is wrong with the imports of a package laid out as `attend` is."""
    found = []
    for path in sorted(package.rglob("*.py")):
        part = path.relative_to(package).with_suffix("").parts[0]
        if part not in [*BLOCKS, *MODELS, *LEAVES, *ASSEMBLIES, *PROGRAMS, "__init__"]:
            found.append(f"{part} has no place in the order of imports: say where it belongs")
            continue
        for name in sorted(imported(path.read_text(encoding="utf-8"))):
            top, _, rest = name.partition(".")
            target = rest.partition(".")[0]
            if top == "":
                found.append(f"{part} imports {name}: write out attend.…")
            elif top == "attend" and (part == "__init__" or target not in may_import(part)):
                found.append(f"{part} imports attend.{target}")
            elif top == "matplotlib" and part != "plotting":
                found.append(f"{part} imports matplotlib: only plotting may")
            elif top == "otter":
                found.append(f"{part} imports otter: students do not have it")
    return found


def test_attend_imports_one_way() -> None:
    assert problems(ROOT / "attend") == []


@pytest.mark.parametrize(
    ("file", "code", "problem"),
    [
        ("masks.py", "import attend.attention", "masks imports attend.attention"),
        ("attention.py", "from attend.rnn import Encoder", "attention imports attend.rnn"),
        ("attention.py", "from attend import metrics", "attention imports attend.metrics"),
        ("rnn.py", "def f():\n    from attend import vit", "rnn imports attend.vit"),
        ("training.py", "from attend.rnn import Encoder", "training imports attend.rnn"),
        ("data/dates.py", "import attend.rnn as r", "data imports attend.rnn"),
        ("metrics.py", "from attend import experiments", "metrics imports attend.experiments"),
        ("rnn.py", "from attend.recipes import train", "rnn imports attend.recipes"),
        ("checkpoints.py", "import attend.recipes", "checkpoints imports attend.recipes"),
        ("recipes.py", "from attend.cli import main", "recipes imports attend.cli"),
        ("rnn.py", "from . import masks", "rnn imports ..masks: write out attend.…"),
        ("__init__.py", "from attend.rnn import Encoder", "__init__ imports attend.rnn"),
        (
            "training.py",
            "import matplotlib.pyplot",
            "training imports matplotlib: only plotting may",
        ),
        (
            "grading/grader.py",
            "from otter.test_files import test_case",
            "grading imports otter: students do not have it",
        ),
        ("new.py", "", "new has no place in the order of imports: say where it belongs"),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, file: str, code: str, problem: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(code)
    assert problems(tmp_path) == [problem]


def test_right_imports_pass(tmp_path: Path) -> None:
    (tmp_path / "rnn.py").write_text(
        "import torch\nfrom attend import masks, decoding\nfrom attend.attention import f\n"
    )
    (tmp_path / "experiments.py").write_text("from attend import rnn, data\n")
    (tmp_path / "recipes.py").write_text("from attend import rnn, checkpoints\n")
    (tmp_path / "cli.py").write_text("from attend import recipes\n")
    (tmp_path / "plotting.py").write_text(
        "import matplotlib.pyplot as plt\nfrom attend import data\n"
    )
    assert problems(tmp_path) == []
