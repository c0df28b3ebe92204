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
from torch import tensor

from attend.grading import Question, numbers

OK_FORMAT = False
name = "q1"
points = None

QUESTION = Question(
    "masked_softmax",
    returns={"the weights": "query, key"},
    gradients=["scores"],
)


@QUESTION.reference
def masked_softmax(scores, mask):
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=-1).nan_to_num()


@QUESTION.mistake("You mask after the softmax.")
def masked_softmax(scores, mask):
    return scores.softmax(dim=-1) * mask


@QUESTION.mistake("You turned the mask round.")
def masked_softmax(scores, mask):
    return scores.masked_fill(mask, -torch.inf).softmax(-1).nan_to_num()


@QUESTION.mistake("A query without a key gets NaN.")
def masked_softmax(scores, mask):
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)


QUESTION.call("idea", tensor([[1.0, 2.0, 3.0]]), tensor([[1, 1, 0]]).bool())
QUESTION.call(
    "edges",
    tensor([[1.0, 2.0]]),
    tensor([[0, 0]]).bool(),
    rule="A query may have no key.",
)


@QUESTION.sizes
def general(query=3, key=5):
    return numbers(query, key), numbers(query, key) < 1


@test_case(points=1)
def test_idea(masked_softmax):
    QUESTION.check("idea", masked_softmax)


@test_case(points=1)
def test_edges(masked_softmax):
    QUESTION.check("idea edges", masked_softmax)
"""

# A question in Otter's format alone, as an instructor may write one.
PLAIN = """\
import torch
from otter.test_files import test_case

from attend.grading import expect_tensor

OK_FORMAT = False
name = "q1"
points = None


def masked():
    return torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[True, True, False]])


@test_case(
    points=1,
    failure_message="The weights do not sum to one.",
)
def test_sums_to_one(masked_softmax):
    got = masked_softmax(*masked())
    expect_tensor(got, (1, 3), axes="query, key")
    total = got.sum().item()
    assert abs(total - 1) < 1e-4, f"expected 1, got {total:.4f}"


@test_case(points=1, failure_message="The weights are not those of a softmax.")
def test_weights(masked_softmax):
    got = masked_softmax(*masked())[0, 0].item()
    assert abs(got - 0.2689) < 1e-4, f"expected 0.2689, got {got:.4f}"
"""

RIGHT_ANSWERS = """\
import torch

from tests.right_answers import right


@right("q1")
def masked_softmax(scores, mask):
    exp = (scores - scores.max()).exp() * mask
    total = exp.sum(dim=-1, keepdim=True)
    return exp / torch.where(total > 0, total, 1)
"""


def make(
    root: Path,
    question: str = QUESTION,
    solution: str = SOLUTION,
    tests: str = TESTS,
    right: str = RIGHT_ANSWERS,
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
        f"tests/right_answers/chapter_{CHAPTER}.py": right,
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root
