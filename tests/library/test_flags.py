"""Flags: what can be meant, and what is refused by its name."""

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest

from attend.flags import (
    LARGEST,
    LARGEST_SEED,
    FlagError,
    require_counts,
    require_positive,
    require_seed,
)
from attend.recipes import RECIPES
from attend.recipes.chatbot import ChatbotConfig
from attend.recipes.dates import DatesConfig
from attend.search import METHODS, SearchConfig


@dataclass(frozen=True)
class Flags:
    """A number of things, a size and a seed."""

    many: int = 3
    large: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        require_counts(self, "many")
        require_positive(self, "large")
        require_seed(self)


# --- The three kinds of numbers ---


@pytest.mark.parametrize(
    "right",
    [
        {"many": 1},
        {"many": LARGEST},
        {"large": 1e-36},
        {"large": 1e37},
        {"seed": LARGEST_SEED},
    ],
)
def test_the_smallest_and_the_largest_are_taken(right: dict[str, Any]) -> None:
    Flags(**right)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"many": 0}, "many must be at least 1, got 0"),
        ({"many": -7}, "many must be at least 1, got -7"),
        ({"many": 2**31}, "many must be at most 2147483647, got 2147483648"),
        ({"large": 0.0}, "large must be a positive number, got 0.0"),
        ({"large": -0.5}, "large must be a positive number, got -0.5"),
        ({"large": math.nan}, "large must be a positive number, got nan"),
        ({"large": math.inf}, "large must be a positive number, got inf"),
        (
            {"large": 1e39},
            "large must be a positive number that 32 bits can hold, got 1e+39",
        ),
        (
            {"large": 1e-46},
            "large must be a positive number that 32 bits can hold, got 1e-46",
        ),
        ({"seed": -1}, "seed must be zero or more, got -1"),
        (
            {"seed": 2**63},
            "seed must be at most 9223372036854775807, got 9223372036854775808",
        ),
    ],
)
def test_others_are_refused_by_name(
    wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(FlagError) as error:
        Flags(**wrong)
    assert str(error.value) == message
    assert [error.value.flag] == list(wrong)
    assert message == f"{error.value.flag} {error.value.problem}"


def test_a_flag_error_is_none_that_a_parser_would_reword() -> None:
    assert not issubclass(FlagError, (ValueError, TypeError))


# --- The flags of a training ---


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("epochs", 0, "epochs must be at least 1, got 0"),
        ("batch_size", 0, "batch_size must be at least 1, got 0"),
        ("hidden_size", 0, "hidden_size must be at least 1, got 0"),
        ("embed_size", 0, "embed_size must be at least 1, got 0"),
        ("num_layers", 0, "num_layers must be at least 1, got 0"),
        ("lr", 0.0, "lr must be a positive number, got 0.0"),
        ("lr", math.nan, "lr must be a positive number, got nan"),
        ("max_norm", math.inf, "max_norm must be a positive number, got inf"),
        ("dropout", 1.0, "dropout must be at least 0 and below 1, got 1.0"),
        ("dropout", -0.1, "dropout must be at least 0 and below 1, got -0.1"),
        ("seed", -1, "seed must be zero or more, got -1"),
        ("min_count", 0, "min_count must be at least 1, got 0"),
    ],
)
def test_a_flag_that_cannot_be_meant(
    flag: str, value: float, message: str
) -> None:
    with pytest.raises(FlagError) as error:
        ChatbotConfig(**{flag: value})
    assert str(error.value) == message
    assert error.value.flag == flag


def test_too_few_dates() -> None:
    with pytest.raises(FlagError, match="num must be at least 100, got 10"):
        DatesConfig(num=10)
    with pytest.raises(FlagError, match="num must be at least 1, got 0"):
        DatesConfig(num=0)
    assert DatesConfig(num=100).num == 100


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_number_of_a_recipe_has_its_bounds(recipe: type) -> None:
    """None is forgotten in `__post_init__`, of whatever type it is."""
    for field in fields(recipe):
        if field.type in (int, float):
            with pytest.raises(FlagError) as error:
                recipe(**{field.name: field.type(-1)})
            assert error.value.flag == field.name
            with pytest.raises(FlagError) as error:
                recipe(**{field.name: field.type(10**40)})
            assert error.value.flag == field.name


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_defaults_can_be_meant(recipe: type) -> None:
    assert replace(recipe()) == recipe()


# --- The flags of a search ---


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"beam_size": 0}, "beam_size must be at least 1, got 0"),
        ({"num_best": 0}, "num_best must be at least 1, got 0"),
        ({"num_best": 6}, "num_best must be at most the beam size 5"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        (
            {"length_penalty": -1.0},
            "length_penalty must be zero or a positive number, got -1.0",
        ),
        (
            {"length_penalty": 46.0},
            "length_penalty must be at most 10, got 46.0",
        ),
        (
            {"coverage_penalty": math.nan},
            "coverage_penalty must be zero or a positive number, got nan",
        ),
        (
            {"coverage_penalty": 1e39},
            r"coverage_penalty must be at most 10, got 1e\+39",
        ),
        ({"temperature": 0.5}, "temperature is for --method sample$"),
        ({"top_k": 3}, "top_k is for --method sample$"),
        ({"top_p": 0.3}, "top_p is for --method sample$"),
        ({"seed": 3}, "seed is for --method sample$"),
        ({"candidates": 3}, "candidates is for --method mmi$"),
        ({"mmi_weight": 0.3}, "mmi_weight is for --method mmi$"),
        (
            {"method": "greedy", "beam_size": 3},
            "beam_size is for --method beam$",
        ),
        (
            {"method": "greedy", "num_best": 3},
            "num_best is for --method beam and sample and mmi$",
        ),
        (
            {"method": "sample", "length_penalty": 1.0},
            "length_penalty is for --method beam$",
        ),
        (
            {"method": "mmi", "coverage_penalty": 1.0},
            "coverage_penalty is for --method beam$",
        ),
        ({"method": "sample", "top_k": 0}, "top_k must be at least 1, got 0"),
        (
            {"method": "sample", "top_p": 0.0},
            "top_p must be above 0 and at most 1, got 0.0",
        ),
        (
            {"method": "sample", "temperature": 0.0},
            "temperature must be a positive number, got 0.0",
        ),
        (
            {"method": "mmi", "candidates": 0},
            "candidates must be at least 1, got 0",
        ),
        (
            {"method": "mmi", "mmi_weight": -0.1},
            "mmi_weight must be zero or a positive number, got -0.1",
        ),
        (
            {"method": "mmi", "candidates": 3, "num_best": 4},
            "num_best must be at most the 3 candidates",
        ),
    ],
)
def test_a_search_that_cannot_be_meant(
    flags: dict[str, Any], message: str
) -> None:
    with pytest.raises(FlagError, match=message):
        SearchConfig(**flags)


def test_every_flag_of_a_search_is_taken_by_the_methods_that_use_it() -> None:
    other: dict[str, Any] = {
        "beam_size": 7,
        "num_best": 3,
        "length_penalty": 0.6,
        "coverage_penalty": 0.2,
        "temperature": 0.5,
        "top_k": 4,
        "top_p": 0.7,
        "candidates": 9,
        "mmi_weight": 0.0,
        "max_length": 11,
        "seed": 5,
    }
    named = {field.name for field in fields(SearchConfig)}
    assert named == {*other, "method"}
    assert set(METHODS) == named - {"method", "max_length"}
    for flag, value in other.items():
        for method in ("greedy", "beam", "sample", "mmi"):
            given: dict[str, Any] = {"method": method, flag: value}
            if method in METHODS.get(flag, (method,)):
                assert getattr(SearchConfig(**given), flag) == value
            else:
                with pytest.raises(FlagError) as error:
                    SearchConfig(**given)
                assert error.value.flag == flag


@pytest.mark.parametrize(
    ("search", "flag"),
    [
        (SearchConfig(beam_size=12), "beam_size"),
        (SearchConfig(method="mmi", candidates=12), "candidates"),
    ],
)
def test_a_beam_wider_than_the_vocabulary(
    search: SearchConfig, flag: str
) -> None:
    search.refuse_unfit(12)
    with pytest.raises(FlagError) as error:
        search.refuse_unfit(11)
    assert error.value.flag == flag
    assert error.value.problem == (
        "12 is larger than the model's vocabulary of 11 tokens"
    )


def test_searches_without_a_beam_fit_every_vocabulary() -> None:
    for method in ("greedy", "sample"):
        SearchConfig(method=method).refuse_unfit(3)
