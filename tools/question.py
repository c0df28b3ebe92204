"""How a question fares: its named mistakes, and mutants of its reference.

The table says for each named mistake whether the verdict names it, and what it
earns. Then some mutants of the reference are tried, each with one token
changed; those that pass are printed. Look at them: a mutant that computes the
same as the reference is none; for the others an input is missing.
"""

import argparse
import ast
import copy
import inspect
import random
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from typing import Any

from attend.grading import Grader, Question
from attend.grading.grader import Verdict
from attend.grading.test_file import load
from tools.notebooks import ROOT, ToolError

TESTS = ROOT / "exercises/tests"
SECONDS = 3.0  # a mutant may loop for ever
SWAPS = [
    (ast.Lt, ast.LtE),
    (ast.Gt, ast.GtE),
    (ast.Eq, ast.NotEq),
    (ast.In, ast.NotIn),
    (ast.Add, ast.Sub),
    (ast.Mult, ast.Div),
    (ast.FloorDiv, ast.Mod),
    (ast.BitAnd, ast.BitOr),
    (ast.And, ast.Or),
]
OTHER: dict[type[ast.AST], type[ast.AST]] = {
    **dict(SWAPS),
    **{second: first for first, second in SWAPS},
}


def open_question(name: str) -> tuple[Grader, str, Question]:
    """Find a question by its name.

    Args:
        name: Such as `"02_attention/q3"`.

    Returns:
        The chapter's grader, the question's number, and the question.

    Raises:
        ToolError: If there is no such question, or its file makes none.
    """
    chapter, _, number = name.partition("/")
    path = TESTS / chapter / f"{number}.py"
    if not path.is_file():
        raise ToolError(
            f"there is no question {name!r}: say for example Q=02_attention/q3"
        )
    question = load(path.read_text(encoding="utf-8"), str(path)).question
    if question is None:
        raise ToolError(f"{path} makes no attend.grading.Question")
    return Grader(chapter, TESTS), number, question


def alternatives(node: ast.AST, names: list[str]) -> Iterator[ast.AST]:
    """List what could stand in a node's place by mistake.

    Args:
        node: A part of a function.
        names: The names of its variables.

    Yields:
        Other parts.
    """
    if isinstance(node, ast.Compare | ast.BinOp | ast.BoolOp):
        changed = copy.deepcopy(node)
        if isinstance(changed, ast.Compare):
            if other := OTHER.get(type(changed.ops[0])):
                changed.ops[0] = other()  # type: ignore[call-overload]
                yield changed
        elif other := OTHER.get(type(changed.op)):
            changed.op = other()  # type: ignore[assignment]
            yield changed
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield ast.Constant(not node.value)
        elif isinstance(node.value, int | float):
            yield ast.Constant(node.value + 1)
            yield ast.Constant(node.value - 1)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield from (ast.Name(n) for n in names if n != node.id)
    elif isinstance(node, ast.Call):
        for place in range(len(node.keywords)):
            shorter = copy.deepcopy(node)
            del shorter.keywords[place]
            yield shorter
        if isinstance(node.func, ast.Attribute) and not node.args:
            yield node.func.value


def mutants(function: Callable[..., Any]) -> Iterator[tuple[str, str]]:
    """Change one token of a function, in each way there is.

    Args:
        function: The function.

    Yields:
        The changed source, and its line that is different.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    definition = tree.body[0]
    assert isinstance(definition, ast.FunctionDef | ast.ClassDef)
    definition.decorator_list = []
    names = sorted(
        {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        | {
            node.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
    )
    before = ast.unparse(tree)
    for place, node in enumerate(ast.walk(tree)):
        for other in alternatives(node, names):
            changed = copy.deepcopy(tree)
            target = list(ast.walk(changed))[place]
            _Replace(target, other).visit(changed)
            after = ast.unparse(ast.fix_missing_locations(changed))
            pairs = zip(before.splitlines(), after.splitlines(), strict=False)
            line = next((b for a, b in pairs if a != b), "")
            if line:
                yield after, line.strip()


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, other: ast.AST) -> None:
        self.target, self.other = target, other

    def visit(self, node: ast.AST) -> Any:
        return self.other if node is self.target else super().visit(node)


def verdict_on(
    grader: Grader, number: str, question: Question, **changed: Any
) -> Verdict:
    """Check the reference with some of its functions replaced.

    Args:
        grader: The chapter's grader.
        number: The question, such as `"q3"`.
        question: The same question.
        changed: Functions by name.

    Returns:
        The verdict.
    """
    return grader.verdict(number, {**question.right, **changed})


def table(grader: Grader, number: str, question: Question) -> bool:
    """Print the verdict on each named mistake.

    Args:
        grader: The chapter's grader.
        number: The question, such as `"q3"`.
        question: The same question.

    Returns:
        Whether each is named by its own message.
    """
    start = time.process_time()
    right = verdict_on(grader, number, question)
    seconds = time.process_time() - start
    kinds = [trial.kind for trial in question.trials if trial.kind]
    print(
        f"reference: {right}, {seconds:.2f} s, {len(question.trials)} trials; "
        f"battery: {', '.join(dict.fromkeys(kinds)) or 'none'}"
    )
    well = right.problem is None
    for mistake in question.mistakes:
        changed = {mistake.name: mistake.function}
        verdict = verdict_on(grader, number, question, **changed)
        problem = verdict.problem
        if problem is None:
            said = "PASSES"
        elif problem.message == mistake.message:
            said = "named"
        else:
            said = f"TOLD: {problem.message}"
        well &= said == "named"
        print(f"  {verdict.earned:g} points  {said:6}  {mistake.message}")
    return well


def try_mutants(
    grader: Grader, number: str, question: Question, most: int, seed: int
) -> None:
    """Try mutants of the reference, and print those that pass.

    Args:
        grader: The chapter's grader.
        number: The question, such as `"q3"`.
        question: The same question.
        most: How many.
        seed: Which of all that there are.
    """
    found = [
        (name, function, *mutant)
        for name, function in question.right.items()
        for mutant in mutants(function)
    ]
    random.Random(seed).shuffle(found)
    grader = Grader(grader.chapter, TESTS, SECONDS)
    survivors = []
    for name, function, source, line in found[:most]:
        namespace = dict(inspect.unwrap(function).__globals__)
        try:
            exec(compile(source, "<mutant>", "exec"), namespace)
            changed = {name: namespace[name]}
            verdict = verdict_on(grader, number, question, **changed)
            if verdict.problem is None:
                survivors.append(line)
        except SyntaxError:
            continue
    print(
        f"{len(survivors)} of {min(most, len(found))} mutants survive "
        f"(seed {seed})"
    )
    for line in survivors:
        print(f"  {line}")


def main(arguments: list[str] | None = None) -> int:
    """Print the table and the mutants that survive.

    Args:
        arguments: The command line; by default that of the process.

    Returns:
        0 if each mistake is named, 1 if not, 2 if there is no such question.
    """
    parser = argparse.ArgumentParser(prog="make question", description=__doc__)
    parser.add_argument("question", help="such as 02_attention/q3")
    parser.add_argument("--mutants", type=int, default=60, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    options = parser.parse_args(arguments)
    try:
        grader, number, question = open_question(options.question)
    except ToolError as error:
        print(error, file=sys.stderr)
        return 2
    well = table(grader, number, question)
    try_mutants(grader, number, question, options.mutants, options.seed)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
