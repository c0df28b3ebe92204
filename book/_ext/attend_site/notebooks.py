"""Notebooks on the site: each can be downloaded, and run in Colab.

Colab is offered where the repository is known.

The site mirrors the repository: beside `notebooks/02_attention.html` lie
`notebooks/02_attention.ipynb` and `exercises/02_attention.ipynb`, stamped with
the commit they belong to, so that each of them knows where to install the
library from.
"""

import json
from html import escape
from pathlib import Path, PurePosixPath
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

from tools.stamp import stamp

FOLDERS = ("notebooks", "exercises", "solutions")


def link_to_published(app: Sphinx, doctree: nodes.document) -> None:
    """Let a link to an exercise lead to its published notebook.

    An exercise has no page of its own.
    """
    up = "../" * app.env.docname.count("/")
    for node in list(doctree.findall(addnodes.pending_xref)):
        target = node["reftarget"]
        if node.get("refdomain") == "doc" and target.startswith("exercises/"):
            node.replace_self(
                nodes.reference(
                    "", "", *node.children, refuri=f"{up}{target}.ipynb"
                )
            )


def add_run_bar(
    app: Sphinx,
    page: str,
    template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Put a line of links below the title of a chapter or of its solutions."""
    folder, _, name = page.partition("/")
    if folder not in ("notebooks", "solutions"):
        return
    groups = [
        ("This chapter" if folder == "notebooks" else "Solved notebook", page)
    ]
    if Path(app.srcdir, "exercises", f"{name}.ipynb").exists():
        groups.append(("Exercises to fill in", f"exercises/{name}"))
    items = []
    for label, notebook in groups:
        links = [("Download", f"../{notebook}.ipynb", " download")]
        if app.config.attend_repository:
            colab = app.config.attend_repository.colab(f"{notebook}.ipynb")
            links.insert(0, ("Open in Colab", colab, ""))
        items.append(
            f'<li><span class="run-bar__label">{label}</span> '
            + " ".join(
                f'<a href="{escape(url)}" '
                f'aria-label="{label}: {text}"{extra}>{text}</a>'
                for text, url, extra in links
            )
            + "</li>"
        )
    bar = (
        '<nav class="run-bar" aria-label="Run this page">'
        f"<ul>{''.join(items)}</ul></nav>"
    )
    context["body"] = context["body"].replace("</h1>", f"</h1>\n{bar}", 1)


def publish(app: Sphinx, exception: Exception | None) -> None:
    """Write the stamped copy of every notebook of the book into the site."""
    if exception:
        return
    home = app.config.attend_repository
    chapters = [
        d
        for d in app.env.found_docs
        if d.startswith(("notebooks/", "solutions/"))
    ]
    names = {PurePosixPath(docname).name for docname in chapters}
    for source in sorted(
        Path(app.srcdir, f, f"{n}.ipynb") for f in FOLDERS for n in names
    ):
        if not source.exists():
            # a chapter under construction may have no exercises yet
            continue
        notebook = json.loads(source.read_text(encoding="utf-8"))
        if home:
            notebook = stamp(notebook, home.install)
        target = Path(app.outdir, source.relative_to(app.srcdir))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(
            json.dumps(notebook, ensure_ascii=False, indent=1) + "\n",
            encoding="utf-8",
        )
