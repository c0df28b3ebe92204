"""Write into tagged cells the very code that the package keeps.

So the code has one home. Lists of arguments, results and errors are left out of
its docstrings. A cell tagged `sync` whose metadata say
`{"attend": {"source": "attend.masks:causal_mask"}}` holds the source of that
object; of several objects, given as a list, in that order. A cell tagged
`setup` holds the book's set-up code.
"""

import argparse
import ast
import re
import sys

from nbformat import NotebookNode

from tools.notebooks import (
    CHAPTERS,
    ROOT,
    SETUP,
    SOLUTIONS,
    ToolError,
    listed,
    name,
    read,
    tags,
    write,
)

SECTION = re.compile("(Args|Attributes|Returns|Yields|Raises):")


def source_of(reference: str) -> str:
    """Return the source of `package.module:object` or `…:Class.method`.

    It is read from the file, without importing it: decorators belong to it, and
    the value of a constant is as good as a function.

    Raises:
        ToolError: if there is no such module or object.
    """
    module, _, qualified = reference.partition(":")
    path = ROOT / (module.replace(".", "/") + ".py")
    if not path.is_file():
        path = path.with_suffix("") / "__init__.py"
    if not qualified or not path.is_file():
        raise ToolError(
            f"{reference!r} is not `module:object` with a module of this "
            "repository"
        )
    code = path.read_text(encoding="utf-8")
    body = ast.parse(code).body
    node: ast.stmt | None = None
    for part in qualified.split("."):
        node = next((node for node in body if part in defined(node)), None)
        if node is None:
            raise ToolError(
                f"{name(path)} defines no {qualified!r}; it was named by "
                f"{reference!r}"
            )
        body = node.body if isinstance(node, ast.ClassDef) else []
    assert node is not None
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    lines = code.splitlines()[first - 1 : node.end_lineno]
    indent = " " * node.col_offset
    return taught("\n".join(line.removeprefix(indent) for line in lines))


def taught(code: str) -> str:
    """Leave out of docstrings the lists of arguments, results and errors.

    The API page has them; a chapter's cell shows what teaches.
    """
    lines = code.splitlines()
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    texts = [
        node.body[0]
        for node in ast.walk(ast.parse(code))
        if isinstance(node, documented) and ast.get_docstring(node) is not None
    ]
    for text in sorted(texts, key=lambda text: text.lineno, reverse=True):
        assert text.end_lineno is not None
        where = slice(text.lineno - 1, text.end_lineno)
        lines[where] = without_sections(lines[where])
    return "\n".join(lines)


def without_sections(docstring: list[str]) -> list[str]:
    """Return the lines of a docstring without its sections."""
    kept: list[str] = []
    inside: int | None = (
        None  # how far the section that is left out is indented
    )
    for line in docstring:
        indent = len(line) - len(line.lstrip())
        if SECTION.fullmatch(line.strip()):
            inside = indent
        elif inside is not None and line.strip() and indent <= inside:
            inside = None
        if inside is None:
            kept.append(line)
    while len(kept) > 2 and not kept[-2].strip():  # before the closing quotes
        del kept[-2]
    if len(kept) == 2 and kept[1].strip() == '"""':
        kept = [kept[0] + '"""']
    return kept


def defined(node: ast.stmt) -> set[str]:
    """Return the names that a statement defines."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return {node.name}
        case ast.Assign():
            return {
                target.id
                for target in node.targets
                if isinstance(target, ast.Name)
            }
        case ast.AnnAssign(target=ast.Name(id=identifier)):
            return {identifier}
    return set()


def wanted(cell: NotebookNode) -> str | None:
    """Return the source that a cell must have; None if it is free.

    Raises:
        ToolError: if the cell's tag and metadata do not say which source.
    """
    if "setup" in tags(cell):
        return SETUP
    references = cell.metadata.get("attend", {}).get("source", [])
    if ("sync" in tags(cell)) != bool(references):
        raise ToolError(
            "a synced cell needs both the tag `sync` and the metadata "
            '{"attend": {"source": "module:object"}}'
        )
    if isinstance(references, str):
        references = [references]
    return (
        "\n\n\n".join(source_of(reference) for reference in references) or None
    )


def drifted(notebook: NotebookNode) -> dict[int, str]:
    """Return, by number, the source due to each cell that reads otherwise.

    Raises:
        ToolError: naming the cell that does not say which source it wants.
    """
    changes = {}
    for number, cell in enumerate(notebook.cells):
        try:
            source = wanted(cell)
        except ToolError as error:
            raise ToolError(f"cell {number}: {error}") from error
        if source not in (None, cell.source):
            changes[number] = source
    return changes


def main(arguments: list[str] | None = None) -> int:
    """Sync every notebook, or with `--check` only say which cells differ."""
    parser = argparse.ArgumentParser(prog="make sync", description=__doc__)
    parser.add_argument(
        "--check",
        action="store_true",
        help="change nothing; fail on a difference",
    )
    check = parser.parse_args(arguments).check
    failed = False
    for path in listed(CHAPTERS, SOLUTIONS):
        try:
            notebook = read(path)
            changes = drifted(notebook)
        except ToolError as error:
            print(f"{name(path)}: {error}", file=sys.stderr)
            failed = True
            continue
        for number, source in changes.items():
            notebook.cells[number].source = source
            verdict = (
                "differs from the package: run `make sync`"
                if check
                else "written; run it"
            )
            print(f"{name(path)}: cell {number} {verdict}")
        if changes and not check:
            write(notebook, path)
        failed |= check and bool(changes)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
