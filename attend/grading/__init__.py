"""Check exercises in the notebook, with the test files that Otter-Grader runs.

A student needs `Grader` only. A test file makes a `Question`, and tells it the
reference, the mistakes that people make, and what to try.
"""

from attend.grading.battery import numbers
from attend.grading.compare import (
    Absent,
    Seen,
    Share,
    UnusableAnswerError,
    expect_tensor,
    show,
)
from attend.grading.explain import Diagnosis
from attend.grading.grader import Grader
from attend.grading.question import Question

__all__ = [
    "Absent",
    "Diagnosis",
    "Grader",
    "Question",
    "Seen",
    "Share",
    "UnusableAnswerError",
    "expect_tensor",
    "numbers",
    "show",
]
