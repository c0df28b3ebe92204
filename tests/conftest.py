"""Every test runs with the package's shapes checked, and with one thread."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

if TYPE_CHECKING:
    from attend.recipes.chatbot import ChatbotConfig
    from attend.respond import Run

# The hook rewrites modules as they are imported: one that is already there
# stays unchecked.
if "attend" in sys.modules:
    raise RuntimeError(
        "attend was imported before tests/conftest.py could have its shapes "
        "checked: look for a pytest plug-in that imports it"
    )
# An int is good enough where a float is asked for, as everywhere in typed
# Python.
install_import_hook(
    "attend",
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

torch.set_num_threads(1)

# The same examples in every run, on a machine of any speed.
settings.register_profile(
    "book", derandomize=True, database=None, deadline=None
)
settings.load_profile("book")


@pytest.fixture(scope="session")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of 40 exchanges, most of them for training."""
    from attend.data.dialogue import split_of  # after the hook above

    lines: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for number in range(400):
        prompt = f"what is {number} and {number % 7} ?"
        lines[split_of(prompt)].append(
            f"{prompt}\tit is {number % 5} , not {number % 3} ."
        )
    kept = lines["train"][:30] + lines["valid"][:5] + lines["test"][:5]
    path = tmp_path_factory.mktemp("data") / "talk.tsv"
    path.write_text("\n".join(kept) + "\n")
    return path


@pytest.fixture(scope="session")
def tiny(talk: Path) -> "Callable[..., ChatbotConfig]":
    """Return a function that makes flags for a training of a few steps."""
    from attend.recipes.chatbot import ChatbotConfig

    sizes: dict[str, Any] = {
        "epochs": 2,
        "batch_size": 8,
        "hidden_size": 7,
        "embed_size": 5,
        "lr": 0.05,
        "dropout": 0.3,
        "attention": "luong",
        "score": "dot",
        "min_count": 1,
        "data": str(talk),
    }

    def flags(out: Path, **options: Any) -> ChatbotConfig:
        return ChatbotConfig(out=out, **{**sizes, **options})

    return flags


@pytest.fixture(scope="session")
def trained(
    tiny: "Callable[..., ChatbotConfig]",
    tmp_path_factory: pytest.TempPathFactory,
) -> "Run":
    """Return a chatbot that has learned a little: leave its folder alone."""
    from attend.respond import load_run
    from attend.trainer import train

    config = tiny(tmp_path_factory.mktemp("chatbot"), epochs=12, hidden_size=11)
    train(config)
    return load_run(config.out)


@pytest.fixture
def copied(trained: "Run", tmp_path: Path) -> Path:
    """Return a copy of that chatbot's folder, to do with as one likes."""
    return Path(shutil.copytree(trained.config.out, tmp_path / "copied"))


@pytest.fixture(scope="session")
def trained_dates(tmp_path_factory: pytest.TempPathFactory) -> "Run":
    """Return a small translator of dates, without attention."""
    from attend.recipes.dates import DatesConfig
    from attend.respond import load_run
    from attend.trainer import train

    config = DatesConfig(
        out=tmp_path_factory.mktemp("dates"),
        num=100,
        epochs=1,
        hidden_size=7,
        embed_size=5,
        attention="none",
    )
    train(config)
    return load_run(config.out)
