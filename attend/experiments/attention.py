"""The long runs of chapter 2."""

from typing import Any

from attend.experiments.runs import dates_run, per_seed, reverse_run

# The three models of chapter 2, of nearly equal size: those with attention are
# the smaller ones.
MODELS: dict[str, dict[str, Any]] = {
    "none": {"d_hidden": 96},
    "bahdanau": {"d_hidden": 70, "attention": "bahdanau", "score": "additive"},
    "luong": {"d_hidden": 75, "attention": "luong", "score": "dot"},
}


def attention_reverse() -> dict[str, Any]:
    """Chapter 2: accuracy against length on *reverse*.

    Without and with attention; once with chapter 1's lengths in training, 4 to
    12, and once with all the lengths of the test.
    """
    return {
        f"{name}, lengths 4 to {longest}": per_seed(
            reverse_run, longest=longest, **options
        )
        for longest in (12, 24)
        for name, options in MODELS.items()
    }


def attention_dates() -> dict[str, Any]:
    """Chapter 2: *dates*, without and with attention.

    Without it also for twice the steps.
    """
    results = {
        name: per_seed(dates_run, **options) for name, options in MODELS.items()
    }
    longer = per_seed(dates_run, epochs=4, **MODELS["none"])
    return {**results, "none, twice as long": longer}


def scores_dates() -> dict[str, Any]:
    """Chapter 2: Luong's decoder on *dates* with every scoring function.

    And with a local window. The sizes give all of them nearly the same number
    of parameters.
    """
    sizes = {
        "dot": 75,
        "scaled_dot": 75,
        "bilinear": 73,
        "additive": 71,
        "concat": 71,
    }
    base = {"attention": "luong"}
    results = {
        name: per_seed(dates_run, **base, score=name, d_hidden=size)
        for name, size in sizes.items()
    }
    local = per_seed(dates_run, **base, score="dot", half_width=4, d_hidden=73)
    return {**results, "dot, window of ±4": local}
