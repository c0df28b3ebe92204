"""Check exercises in the notebook, with the test files that Otter-Grader runs.

A student needs `Grader` only. Test files may use the helpers `expect_tensor`,
`expect_close` and `show`, which say what was expected and what came.
"""

from attend.grading.expect import expect_close, expect_tensor, show
from attend.grading.grader import Grader

__all__ = ["Grader", "expect_close", "expect_tensor", "show"]
