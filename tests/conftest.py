"""Every test runs with the shapes of the package checked, and with one thread."""

import sys
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

# The hook rewrites modules as they are imported: one that is already there stays unchecked.
if "attend" in sys.modules:
    raise RuntimeError(
        "attend was imported before tests/conftest.py could have its shapes checked: "
        "look for a pytest plug-in that imports it"
    )
# An int is good enough where a float is asked for, as everywhere in typed Python.
install_import_hook("attend", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

torch.set_num_threads(1)

# The same examples in every run, on a machine of any speed.
settings.register_profile("book", derandomize=True, database=None, deadline=None)
settings.load_profile("book")


@pytest.fixture(scope="session")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of 40 exchanges, most of them for training."""
    from attend.data.dialogue import split_of  # after the hook above

    lines: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for number in range(400):
        prompt = f"what is {number} and {number % 7} ?"
        lines[split_of(prompt)].append(f"{prompt}\tit is {number % 5} , not {number % 3} .")
    kept = lines["train"][:30] + lines["valid"][:5] + lines["test"][:5]
    path = tmp_path_factory.mktemp("data") / "talk.tsv"
    path.write_text("\n".join(kept) + "\n")
    return path
