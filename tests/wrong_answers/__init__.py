"""Wrong answers to the exercises, one module a chapter.

They are mistakes that people really make.
"""

from collections.abc import Callable
from typing import TypeVar

Definition = TypeVar("Definition", bound=Callable[..., object])


def wrong(question: str, fragment: str) -> Callable[[Definition], Definition]:
    """Mark a function or a class as a wrong answer.

    `tests/grading/checks.py` reads the marks from the source, executes each
    marked definition in the solved notebook, where it replaces the right one,
    and checks the question.

    Args:
        question: Which question the definition answers wrongly, such as `"q3"`.
        fragment: A part of the printed verdict that names the mistake.
    """
    return lambda definition: definition
