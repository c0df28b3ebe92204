"""Mend what screen readers stumble over in a page (axe's rules).

The theme and Sphinx write it. The rest is mended in the templates:
`sidebar-head.html` and `search-button-field.html`.
"""

import re
from typing import Any

from bs4 import BeautifulSoup
from docutils import nodes
from sphinx.application import Sphinx

# A signature of several lines is a definition list without terms, in a term.
SIGNATURE = re.compile(r"<dl>\n((?:<dd>.*?</dd>\n?)*)</dl>")
# Roles of citations that ARIA 1.2 has deprecated, and a list whose items are no
# list items.
CITATION_ROLE = re.compile(
    r' role="doc-biblioentry"|(?<=<div) role="list"(?= class="citation)'
)

# The empty corner of a table with names on its left is a cell, not a heading.
EMPTY_HEADING = re.compile(r'<th class="head"><p></p></th>')


def mend(
    app: Sphinx,
    page: str,
    template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Mend a page's body and its sidebar."""
    if "body" in context:
        body = CITATION_ROLE.sub("", context["body"])
        body = EMPTY_HEADING.sub("<td></td>", body)
        context["body"] = SIGNATURE.sub(_plain_signature, body)
    sidebar = context["generate_toctree_html"]
    context["generate_toctree_html"] = lambda *args, **kwargs: _name_folds(
        sidebar(*args, **kwargs)
    )


def _plain_signature(match: re.Match[str]) -> str:
    lines = (
        match[1]
        .replace("<dd>", '<span class="sig-line">')
        .replace("</dd>", "</span>")
    )
    return f'<span class="sig-lines">{lines}</span>'


def _name_folds(toctree: object) -> str:
    """Say of each fold in the sidebar what it folds.

    That is the pages below the link before it.
    """
    soup = BeautifulSoup(str(toctree), "html.parser")
    for summary in soup.find_all("summary"):
        link = summary.parent.find_previous_sibling("a")
        summary["aria-label"] = f"Pages below {link.get_text(strip=True)}"
    return str(soup)
