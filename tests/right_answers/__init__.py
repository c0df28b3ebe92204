"""Right answers to the exercises that are written in unusual ways.

The graders must accept them. One module a chapter.
"""

from collections.abc import Callable
from typing import TypeVar

Definition = TypeVar("Definition", bound=Callable[..., object])


def right(question: str) -> Callable[[Definition], Definition]:
    """Mark a function or a class as a right answer.

    `tests/grading/checks.py` reads the marks from the source, executes each
    marked definition in the solved notebook, where it replaces the usual one,
    and checks the question.

    Args:
        question: Which question the definition answers, such as `"q3"`.
    """
    return lambda definition: definition
