"""A book of one chapter with one question, to try grader and checks on."""

from pathlib import Path

from nbformat import v4

from tools.exercises import exercise
from tools.notebooks import write

CHAPTER = "01_toy"

IMPORTS = """\
from pathlib import Path

import torch

from attend.grading import Grader

grader = Grader({chapter!r}, Path({tests!r}))
"""

QUESTION = """\
### Question 1 · masked softmax

2 points · ★★☆ · 8 min

Return weights that are zero where the mask is False and sum to one.

<details><summary>Hint</summary>What number has exponential zero?</details>
"""

SOLUTION = """\
def masked_softmax(scores, mask):
    # BEGIN SOLUTION
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=-1).nan_to_num()
    # END SOLUTION


grader.check("q1")
"""

TESTS = """\
import torch
from otter.test_files import test_case

from attend.grading import expect_close, expect_tensor

OK_FORMAT = False
name = "q1"
points = None


def masked():
    return torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[True, True, False]])


@test_case(
    points=1,
    failure_message="The weights do not sum to one. \
Did you mask after the softmax?",
)
def test_sums_to_one(masked_softmax):
    got = masked_softmax(*masked())
    expect_tensor(got, (1, 3), axes="query, key")
    expect_close(got.sum(dim=-1), torch.ones(1), name="sum of the weights")


@test_case(
    points=1,
    failure_message="The weights are not those of a softmax. \
Did you turn the mask round?",
)
def test_weights(masked_softmax):
    expected = torch.tensor([[0.2689, 0.7311, 0.0]])
    expect_close(masked_softmax(*masked()), expected, \
name="scores [1, 2, 3], the last masked")
"""

WRONG = """\
import torch

from tests.wrong_answers import wrong


@wrong("q1", "mask after the softmax")
def masked_softmax(scores, mask):
    return scores.softmax(dim=-1) * mask


@wrong("q1", "turn the mask round")
def masked_softmax(scores, mask):
    return scores.masked_fill(mask, -torch.inf).softmax(dim=-1)


@wrong("q1", "expected shape (1, 3) = (query, key), got (3, 1)")
def masked_softmax(scores, mask):
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=-1).mT
"""


def make(
    root: Path,
    question: str = QUESTION,
    solution: str = SOLUTION,
    tests: str = TESTS,
    wrong: str = WRONG,
) -> Path:
    """Write the book under a root and return the root."""
    imports = IMPORTS.format(
        chapter=CHAPTER, tests=str(root / "exercises/tests")
    )
    notebook = v4.new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3"}
        },
        cells=[
            v4.new_code_cell(imports),
            v4.new_markdown_cell(question),
            v4.new_code_cell(solution),
            v4.new_code_cell("grader.report()"),
        ],
    )
    write(notebook, root / f"solutions/{CHAPTER}.ipynb")
    write(exercise(notebook), root / f"exercises/{CHAPTER}.ipynb")
    for path, text in {
        f"exercises/tests/{CHAPTER}/q1.py": tests,
        f"tests/wrong_answers/chapter_{CHAPTER}.py": wrong,
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root
