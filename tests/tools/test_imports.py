"""Imports in the package point one way.

So each part can be read and used without the next.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tools.notebooks import ROOT

# Each may import those before it.
BLOCKS = ["masks", "state", "positions", "attention", "layers"]
# Each may import blocks, leaves and those before it; but no search: a model can
# be read without one.
MODELS = [
    "rnn",
    "transformer",
    "language_model",
    "efficient",
    "glimpse",
    "cnn",
    "vit",
    "swin",
]
# They serve any model and import none; models may import them, blocks may not.
LEAVES = [
    "flags",
    "decoding",
    "data",
    "training",
    "metrics",
    "plotting",
    "grading",
    "results",
    "exercises",
]
# They put the parts together, and each may import those before it. The trainer
# knows no model.
ASSEMBLIES = ["search", "trainer", "recipes", "respond"]
# Programs at the end: they may import everything, and nothing imports them; but
# the command starts before all else is there.
PROGRAMS = ["experiments", "cli"]
START = "start"
PARTS = [*BLOCKS, *MODELS, *LEAVES, *ASSEMBLIES, *PROGRAMS, START]
# What is a text's alone: nothing of it is the trainer's.
TEXT = ["data", "decoding", "metrics"]


def may_import(part: str) -> set[str]:
    """Return the parts of the package a part may import, itself included."""
    if part in BLOCKS:
        return set(BLOCKS[: BLOCKS.index(part) + 1])
    if part in MODELS:
        earlier = MODELS[: MODELS.index(part) + 1]
        return {*BLOCKS, *LEAVES, *earlier} - {"decoding"}
    if part in LEAVES:
        return {*BLOCKS, *LEAVES}
    if part in ASSEMBLIES:
        earlier = ASSEMBLIES[: ASSEMBLIES.index(part) + 1]
        allowed = {*BLOCKS, *LEAVES, *MODELS, *earlier}
        return allowed - {*MODELS, *TEXT} if part == "trainer" else allowed
    if part == START:
        return {"cli", part}
    return {*BLOCKS, *LEAVES, *MODELS, *ASSEMBLIES, part}


def imported(code: str) -> set[str]:
    """Return the full names of all that code imports anywhere.

    They are those of modules, or of objects in them.
    """
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def problems(package: Path) -> list[str]:
    """Return what is wrong with the imports of a package.

    The package is laid out as `attend` is.
    """
    found = []
    for path in sorted(package.rglob("*.py")):
        part = path.relative_to(package).with_suffix("").parts[0]
        if part not in [*PARTS, "__init__"]:
            found.append(
                f"{part} has no place in the order of imports: say where it "
                "belongs"
            )
            continue
        for name in sorted(imported(path.read_text(encoding="utf-8"))):
            top, _, rest = name.partition(".")
            target = rest.partition(".")[0]
            if top == "":
                found.append(f"{part} imports {name}: write out attend.…")
            elif top == "attend" and (
                part == "__init__" or target not in may_import(part)
            ):
                found.append(f"{part} imports attend.{target}")
            elif top == "matplotlib" and part != "plotting":
                found.append(f"{part} imports matplotlib: only plotting may")
            elif top == "otter":
                found.append(f"{part} imports otter: students do not have it")
    return found


def graph(package: Path) -> dict[str, set[str]]:
    """Return which modules of a package import which, anywhere in them."""
    files = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        files[name] = imported(path.read_text(encoding="utf-8"))
    edges: dict[str, set[str]] = {}
    for module, names in files.items():
        edges[module] = set()
        for name in names:
            while name and name not in files:  # an object of a module
                name = name.rpartition(".")[0]
            if name and name != module:
                edges[module].add(name)
    return edges


def circles(package: Path) -> list[str]:
    """Return circles of modules that import each other, if there are any."""
    edges, found = graph(package), set()

    def walk(module: str, path: list[str]) -> None:
        if module in path:
            circle = path[path.index(module) :]
            first = circle.index(min(circle))
            found.add(" → ".join([*circle[first:], *circle[:first]]))
            return
        if module in done:
            return
        for target in sorted(edges[module]):
            walk(target, [*path, module])
        done.add(module)

    done: set[str] = set()
    for module in sorted(edges):
        walk(module, [])
    return sorted(found)


def test_attend_imports_one_way() -> None:
    assert problems(ROOT / "attend") == []


def test_attend_has_no_circle() -> None:
    assert circles(ROOT / "attend") == []


LOADED = "import sys, {module}; print(*sorted(sys.modules), sep='\\n')"


def loaded_by(module: str) -> set[str]:
    """Return all modules that are there once a fresh process imports one."""
    words = [sys.executable, "-c", LOADED.format(module=module)]
    run = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


@pytest.mark.parametrize(
    "model", [name for name in MODELS if (ROOT / f"attend/{name}.py").exists()]
)
def test_a_model_is_imported_without_a_search(model: str) -> None:
    """Nor does anything that it imports bring one in."""
    loaded = loaded_by(f"attend.{model}")
    ours = {name for name in loaded if name.startswith("attend.")}
    assert f"attend.{model}" in ours
    parts = {name.split(".")[1] for name in ours}
    assert parts <= may_import(model)
    assert not parts & {"decoding", "plotting"}
    assert "matplotlib" not in loaded


def test_the_command_starts_before_anything_heavy_is_there() -> None:
    loaded = loaded_by("attend.start")
    assert {name for name in loaded if name.startswith("attend.")} == {
        "attend.start"
    }
    assert not loaded & {"torch", "numpy", "tyro"}


@pytest.mark.parametrize(
    ("file", "code", "problem"),
    [
        (
            "masks.py",
            "import attend.attention",
            "masks imports attend.attention",
        ),
        (
            "state.py",
            "from attend.decoding import Step",
            "state imports attend.decoding",
        ),
        (
            "attention.py",
            "from attend.rnn import Encoder",
            "attention imports attend.rnn",
        ),
        (
            "attention.py",
            "from attend import metrics",
            "attention imports attend.metrics",
        ),
        (
            "rnn.py",
            "def f():\n    from attend import vit",
            "rnn imports attend.vit",
        ),
        (
            "rnn.py",
            "from attend.decoding import State",
            "rnn imports attend.decoding",
        ),
        (
            "transformer.py",
            "def f():\n    import attend.decoding.beam",
            "transformer imports attend.decoding",
        ),
        (
            "training.py",
            "from attend.rnn import Encoder",
            "training imports attend.rnn",
        ),
        ("data/dates.py", "import attend.rnn as r", "data imports attend.rnn"),
        (
            "decoding/beam.py",
            "from attend.search import SearchConfig",
            "decoding imports attend.search",
        ),
        (
            "flags.py",
            "from attend.trainer import TrainConfig",
            "flags imports attend.trainer",
        ),
        (
            "metrics.py",
            "from attend import experiments",
            "metrics imports attend.experiments",
        ),
        (
            "rnn.py",
            "from attend.recipes import RECIPES",
            "rnn imports attend.recipes",
        ),
        (
            "search.py",
            "from attend.trainer.process import this_process",
            "search imports attend.trainer",
        ),
        (
            "trainer/loop.py",
            "from attend.recipes.text import TextTask",
            "trainer imports attend.recipes",
        ),
        (
            "trainer/loop.py",
            "from attend.rnn import Seq2Seq",
            "trainer imports attend.rnn",
        ),
        (
            "trainer/task.py",
            "from attend.data import Batch",
            "trainer imports attend.data",
        ),
        (
            "trainer/loop.py",
            "def f():\n    from attend.metrics import perplexity",
            "trainer imports attend.metrics",
        ),
        (
            "trainer/monitor.py",
            "import attend.decoding",
            "trainer imports attend.decoding",
        ),
        (
            "trainer/loop.py",
            "from attend.vit import ViT",
            "trainer imports attend.vit",
        ),
        (
            "recipes/text.py",
            "from attend.respond import Run",
            "recipes imports attend.respond",
        ),
        (
            "recipes/dates.py",
            "from attend.cli import main",
            "recipes imports attend.cli",
        ),
        (
            "respond.py",
            "from attend import experiments",
            "respond imports attend.experiments",
        ),
        (
            "cli.py",
            "from attend.start import main",
            "cli imports attend.start",
        ),
        (
            "experiments/runs.py",
            "from attend.cli import main",
            "experiments imports attend.cli",
        ),
        (
            "start.py",
            "from attend.flags import FlagError",
            "start imports attend.flags",
        ),
        (
            "rnn.py",
            "from . import masks",
            "rnn imports ..masks: write out attend.…",
        ),
        (
            "__init__.py",
            "from attend.rnn import Encoder",
            "__init__ imports attend.rnn",
        ),
        (
            "training.py",
            "import matplotlib.pyplot",
            "training imports matplotlib: only plotting may",
        ),
        (
            "experiments/runs.py",
            "def f():\n    from matplotlib import pyplot",
            "experiments imports matplotlib: only plotting may",
        ),
        (
            "grading/grader.py",
            "from otter.test_files import test_case",
            "grading imports otter: students do not have it",
        ),
        (
            "new.py",
            "",
            "new has no place in the order of imports: say where it belongs",
        ),
        (
            "checkpoints.py",
            "",
            "checkpoints has no place in the order of imports: say where it "
            "belongs",
        ),
    ],
)
def test_a_wrong_import_is_found(
    tmp_path: Path, file: str, code: str, problem: str
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(code)
    assert problems(tmp_path) == [problem]


def test_right_imports_pass(tmp_path: Path) -> None:
    for file, code in {
        "attention.py": "from attend.state import State\n",
        "rnn.py": "import torch\nfrom attend import masks, state, training\n"
        "from attend.attention import f\n",
        "decoding/beam.py": "from attend.state import State\n",
        "search.py": "from attend import decoding, flags, rnn\n",
        "trainer/loop.py": "from attend import flags, training\n"
        "from attend.trainer import checkpoints\n",
        "recipes/text.py": "from attend import rnn, search, trainer, data\n",
        "respond.py": "from attend.recipes import RECIPES\n",
        "experiments/runs.py": "from attend import rnn, respond, data\n",
        "cli.py": "from attend import recipes, respond\n",
        "start.py": "def main():\n    from attend import cli\n",
        "plotting.py": "import matplotlib.pyplot as plt\n"
        "from attend import data\n",
    }.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(code)
    assert problems(tmp_path) == []


@pytest.mark.parametrize(
    ("files", "circle"),
    [
        (
            {"a": "from attend import b", "b": "from attend.a import f"},
            "attend.a → attend.b",
        ),
        (
            {"a": "import attend.b", "b": "def f():\n    import attend.a"},
            "attend.a → attend.b",
        ),
        (
            {
                "a": "from attend.room.one import f",
                "room/__init__": "",
                "room/one": "from attend.room import two",
                "room/two": "def f():\n    from attend.a import g",
            },
            "attend.a → attend.room.one → attend.room.two",
        ),
        (
            {
                "room/__init__": "from attend.room.one import f",
                "room/one": "from attend.room import f",
            },
            "attend.room → attend.room.one",
        ),
    ],
)
def test_a_circle_is_found(
    tmp_path: Path, files: dict[str, str], circle: str
) -> None:
    package = tmp_path / "attend"
    for name, code in {"__init__": "", **files}.items():
        path = package / f"{name}.py"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(code + "\n")
    assert circles(package) == [circle]


def test_a_package_may_import_what_is_in_it(tmp_path: Path) -> None:
    package = tmp_path / "attend"
    (package / "room").mkdir(parents=True)
    for name, code in {
        "__init__": "",
        "room/__init__": "from attend.room.one import f",
        "room/one": "from attend.room.two import f",
        "room/two": "import torch",
        "a": "from attend.room import f, one",
    }.items():
        (package / f"{name}.py").write_text(code + "\n")
    assert circles(package) == []
    assert graph(package)["attend.a"] == {"attend.room", "attend.room.one"}
