"""Flags: settings with a name, a type, a default and a line of help.

They are the fields of frozen dataclasses, which check them as they are made.
"""

import math

LARGEST = 2**31 - 1  # of a number of things
LARGEST_SEED = 2**63 - 1  # that PyTorch's generators take


class FlagError(Exception):
    """A flag that cannot be meant.

    No ValueError: a parser of flags would put it in other words.

    Attributes:
        flag: the name of the field.
        problem: what is wrong with it.
    """

    def __init__(self, flag: str, problem: str) -> None:
        super().__init__(f"{flag} {problem}")
        self.flag, self.problem = flag, problem


def require(flags: object, flag: str, right: bool, wanted: str) -> None:
    """Refuse a flag, unless it is right."""
    if not right:
        raise FlagError(flag, f"must be {wanted}, got {getattr(flags, flag)}")


def require_counts(flags: object, *names: str) -> None:
    """Refuse numbers of things that are not positive, or beyond all reason."""
    for flag in names:
        require(flags, flag, getattr(flags, flag) >= 1, "at least 1")
        most = f"at most {LARGEST}"
        require(flags, flag, getattr(flags, flag) <= LARGEST, most)


def require_positive(flags: object, *names: str) -> None:
    """Refuse numbers that are not positive, or that 32 bits cannot hold."""
    for flag in names:
        value = getattr(flags, flag)
        require(flags, flag, 0 < value < math.inf, "a positive number")
        held = 1e-37 < value < 1e38
        require(flags, flag, held, "a positive number that 32 bits can hold")


def require_seed(flags: object, flag: str = "seed") -> None:
    """Refuse a seed that PyTorch's generators do not take."""
    require(flags, flag, getattr(flags, flag) >= 0, "zero or more")
    most = f"at most {LARGEST_SEED}"
    require(flags, flag, getattr(flags, flag) <= LARGEST_SEED, most)
