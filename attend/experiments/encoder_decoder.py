"""The long runs of chapter 1."""

from typing import Any

from attend.experiments.runs import dates_run, per_seed, reverse_run


def bottleneck() -> dict[str, Any]:
    """Chapter 1: accuracy against length on *reverse*.

    And whether a larger state, or more training, cures it.
    """
    ways: dict[str, dict[str, Any]] = {
        "96 units": {"d_hidden": 96},
        "192 units": {"d_hidden": 192},
        "96 units, twice the steps": {"steps": 1_200, "d_hidden": 96},
        "96 units, lengths 4 to 24": {"longest": 24, "d_hidden": 96},
    }
    return {name: per_seed(reverse_run, **way) for name, way in ways.items()}


def layers() -> dict[str, Any]:
    """Chapter 1: one LSTM layer or two, of about the same size, on *dates*."""
    two = {"d_hidden": 60, "num_layers": 2}
    return {
        "one layer of 96": per_seed(dates_run, epochs=4, d_hidden=96),
        "two layers of 60": per_seed(dates_run, epochs=4, **two),
    }
