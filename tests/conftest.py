"""Every test runs with the shapes of the package checked, and with one thread."""

import sys

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
