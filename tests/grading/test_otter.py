"""An instructor grades with Otter-Grader as it is, from the same test files."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.grading import checks

ROOT = Path(__file__).resolve().parents[2]
CHAPTER = "01_encoder_decoder"
WRONG = """\
def padding_mask(lengths, max_length):
    return torch.arange(max_length) <= lengths[:, None]
"""


def otter(folder, *arguments):
    run = subprocess.run(
        [sys.executable, "-m", "otter", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr


@pytest.fixture(scope="module")
def autograder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("autograder")
    tests = ROOT / "exercises/tests" / CHAPTER
    otter(
        folder,
        "generate",
        "--tests-dir",
        tests,
        "--output-path",
        "autograder.zip",
    )
    return folder / "autograder.zip"


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_otter_gives_the_points_that_the_grader_gives(
    right, autograder, tmp_path
):
    notebook = nbformat.read(ROOT / f"solutions/{CHAPTER}.ipynb", as_version=4)
    if not right:
        notebook.cells.append(nbformat.v4.new_code_cell(WRONG))
    nbformat.write(notebook, tmp_path / "submission.ipynb")
    otter(tmp_path, "run", "--autograder", autograder, "submission.ipynb")
    results = json.loads(
        (tmp_path / "results.json").read_text(encoding="utf-8")
    )["tests"]
    points = {
        test["name"]: test["score"] for test in results if "score" in test
    }

    grader = checks.grader(ROOT, CHAPTER)
    namespace = dict(checks.solved(ROOT, CHAPTER))
    if not right:
        checks.execute_cell(WRONG, "<wrong>", namespace)
    verdicts = {q: grader.verdict(q, namespace) for q in grader.questions}
    assert (verdicts["q1"].problem is None) == right
    if not right:
        output = " ".join(" ".join(test["output"] for test in results).split())
        said = verdicts["q1"].problem.message
        assert said.endswith("Is it `<` or `<=`?") and said in output
    assert points == {q: verdict.earned for q, verdict in verdicts.items()}
