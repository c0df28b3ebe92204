"""Numbers that cannot be meant are refused by name, before anything is made.

The flags are read off the dataclasses: a new one is tested as soon as it is
there.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from attend.recipes import RECIPES
from attend.recipes.chatbot import ChatbotConfig
from attend.recipes.dates import DatesConfig
from attend.respond import Run, load_run
from attend.search import METHODS, SearchConfig
from attend.trainer import train

Attend = Callable[..., Any]  # see conftest.py
Tiny = Callable[..., ChatbotConfig]

FLOATS = ("0", "nan", "inf", "1e39", "1e-46", "-1")
COUNTS = ("0", "-1", str(2**31), str(10**30))
SEEDS = ("-1", str(2**63), str(10**30))
# Zero and next to nothing are a choice for these.
MAY_BE_ZERO = {"dropout", "length_penalty", "coverage_penalty", "mmi_weight"}


def refused(flag: str, kind: type) -> tuple[str, ...]:
    """The values of a flag that cannot be meant."""
    if flag == "seed":
        return SEEDS
    if kind in (int, int | None):
        return COUNTS
    if flag in MAY_BE_ZERO:
        return tuple(value for value in FLOATS if value not in ("0", "1e-46"))
    if flag == "top_p":
        return tuple(value for value in FLOATS if value != "1e-46")
    return FLOATS


def numbers(flags: type) -> Iterator[tuple[str, Any]]:
    """The name and type of each field that is a number."""
    for field in fields(flags):
        if field.type in (int, float, int | None, float | None):
            yield field.name, field.type


def commands() -> Iterator[Any]:
    """Every flag of every command, with what it cannot be."""
    for name, recipe in RECIPES.items():
        for flag, kind in numbers(recipe):
            given = ["train", name]
            yield pytest.param(given, flag, refused(flag, kind), id=flag)
    for flag, kind in numbers(SearchConfig):
        for command in ("chat", "translate"):
            methods = METHODS.get(flag, ("greedy",))
            given = [command, "--method", methods[-1]]
            yield pytest.param(given, flag, refused(flag, kind), id=flag)


def test_every_number_is_among_the_commands() -> None:
    named = {parameters.values[1] for parameters in commands()}
    assert named == {
        *("epochs", "batch_size", "lr", "max_norm", "seed", "hidden_size"),
        *("embed_size", "num_layers", "dropout", "min_count", "num"),
        *("beam_size", "num_best", "length_penalty", "coverage_penalty"),
        *("temperature", "top_k", "top_p", "candidates", "mmi_weight"),
        "max_length",
    }


@pytest.mark.parametrize(("command", "flag", "values"), [*commands()])
def test_a_number_that_cannot_be_meant(
    attend: Attend,
    tmp_path: Path,
    command: list[str],
    flag: str,
    values: tuple[str, ...],
) -> None:
    option = f"--{flag.replace('_', '-')}"
    for value in values:
        ended = attend(*command, option, value)
        assert (ended.status, ended.out) == (2, ""), (value, ended)
        [line] = ended.err.splitlines()
        assert line.startswith(f"attend: {option} must be "), (value, line)
        assert list(tmp_path.iterdir()) == [], value


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--method beam --length-penalty 46", "--length-penalty must be at"),
        ("--method beam --length-penalty 400", "--length-penalty must be at"),
        ("--method beam --coverage-penalty 1e39", "--coverage-penalty must be"),
        ("--method mmi --mmi-weight 1e39", "--mmi-weight must be at most 10"),
        ("--method sample --temperature 1e39", "--temperature must be a posi"),
        ("--method sample --temperature 1e-46", "--temperature must be a pos"),
    ],
)
def test_numbers_that_once_were_tracebacks(
    attend: Attend, trained: Run, words: str, message: str
) -> None:
    ended = attend(
        "chat", "--run", trained.config.out, *words.split(), typed=b"Hi\n"
    )
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"attend: {message}")
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        "--method beam --length-penalty 10 --coverage-penalty 10",
        "--method beam --length-penalty 1e-46 --coverage-penalty 1e-46",
        "--method mmi --mmi-weight 10",
        "--method mmi --mmi-weight 1e-46",
        "--method mmi --mmi-weight 0",
        "--method sample --temperature 9e37",
        "--method sample --temperature 2e-37",
        "--method sample --top-p 1e-46",
        f"--method sample --top-k {2**31 - 1}",
        f"--method sample --seed {2**63 - 1}",
        f"--method sample --seed {10**15}",
        f"--method sample --max-length {2**31 - 1}",
    ],
)
def test_the_largest_and_the_smallest_numbers_that_can_be_meant(
    attend: Attend, trained: Run, words: str
) -> None:
    ended = attend(
        *("chat", "--run", trained.config.out, *words.split()),
        typed=b"What is it?\nAnd 3?\n",
    )
    assert (ended.status, ended.err) == (0, "")
    assert len(ended.out.splitlines()) == 2


@pytest.mark.parametrize("many", [15, 40])
def test_a_beam_is_as_wide_at_most_as_the_vocabulary_that_is_written(
    attend: Attend, trained_dates: Run, many: int
) -> None:
    """Not that which is read, which is larger."""
    run = trained_dates
    assert len(run.tgt_vocab) == 14 < many < len(run.src_vocab)
    words = ["translate", "--run", str(run.config.out), "May 1, 2024"]
    for flag, method in (("--beam-size", "beam"), ("--candidates", "mmi")):
        wide = attend(*words, "--method", method, flag, str(many))
        assert (wide.status, wide.out) == (2, "")
        assert wide.err == (
            f"attend: {flag} {many} is larger than the model's vocabulary of "
            "14 tokens\n"
        )
        fits = attend(*words, "--method", method, flag, "14")
        assert (fits.status, fits.err) == (0, "")


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 10**15},
        {"seed": 2**63 - 1},
        {"dropout": 0.0},
        {"dropout": 1e-46},
        {"lr": 2e-37},
        {"max_norm": 2e-37},
        {"max_norm": 9e37},
        {"batch_size": 2**31 - 1},
    ],
    ids=str,
)
def test_a_chatbot_trains_with_such_numbers(
    tiny: Tiny, tmp_path: Path, options: dict[str, Any]
) -> None:
    config = tiny(tmp_path, **options)
    report = train(config)
    assert len(report.history) == config.epochs
    assert math.isfinite(report.history[-1].valid_loss)
    assert load_run(tmp_path).config == config


@pytest.mark.parametrize("seed", [10**15, 2**63 - 1])
def test_dates_train_with_a_large_seed(tmp_path: Path, seed: int) -> None:
    sizes = {"num": 100, "epochs": 1, "hidden_size": 3, "embed_size": 2}
    config = DatesConfig(out=tmp_path, seed=seed, **sizes)
    assert len(train(config).history) == 1
    assert load_run(tmp_path).config == config


def test_a_run_with_a_large_seed_goes_on(tiny: Tiny, tmp_path: Path) -> None:
    """The order of every epoch is drawn from a seed made of this one."""
    config = tiny(tmp_path, seed=2**63 - 1)
    report = train(config)
    assert train(config, resume=True) == report
