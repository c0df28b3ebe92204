"""The book's Sphinx extension.

It adds links to the book's own repository and notebooks to run, and keeps the
site small.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

ROOT = Path(__file__).parents[3]
SUBTITLE = (
    "Attention, from the first encoder–decoder to the Vision Transformer, "
    "in notebooks that train on a laptop."
)
# for `tools`, which are scripts of the repository and not installed
sys.path.append(str(ROOT))

# these need the line above
from attend_site import accessible, notebooks, repository, slim  # noqa: E402


def find_repository(app: Sphinx, config: Config) -> None:
    """Tell Sphinx and the theme where the book is at home, if that is known."""
    config.attend_repository = home = repository.find(ROOT)
    if home:
        config.html_baseurl = home.site
        config.html_theme_options |= {
            "repository_url": home.url,
            "use_repository_button": True,
        }


def copy_mathjax(app: Sphinx) -> None:
    """Put MathJax into the site.

    Its source is kept out of jupyter-book's static folders.
    """
    shutil.copytree(
        ROOT / "book/_mathjax",
        Path(app.outdir, "_static/mathjax"),
        dirs_exist_ok=True,
    )


def leave_out_mathjax(
    app: Sphinx,
    page: str,
    template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Load MathJax for a page's own formulas only.

    Sphinx also counts those of the pages below it.
    """
    if not app.env.get_domain("math").data["has_equations"].get(page):
        context["script_files"] = [
            script
            for script in context["script_files"]
            if "mathjax"
            not in str(script.filename or script.attributes.get("body")).lower()
        ]


def describe(
    app: Sphinx,
    page: str,
    template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Give search engines and social cards the page's first paragraph.

    Cards also get their picture.
    """
    paragraphs = doctree.findall(nodes.paragraph) if doctree else ()
    text = next((p.astext() for p in paragraphs), SUBTITLE).replace("\n", " ")
    context["card"] = (
        app.config.html_baseurl and f"{app.config.html_baseurl}_static/card.png"
    )
    context["page_description"] = (
        text if len(text) <= 200 else text[:200].rsplit(" ", 1)[0] + " …"
    )


def front_door(app: Sphinx) -> list[tuple[str, dict[str, Any], str]]:
    """Make the site's own address lead to the landing page."""
    return [("index", {"title": app.config.html_title}, "front_door.html")]


def skip_tuple_fields(
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    skip: bool,
    options: dict[str, Any],
) -> bool | None:
    """Leave out a named tuple's fields.

    The class's docstring says more than "Alias for field".
    """
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect everything to Sphinx's events."""
    app.add_config_value("attend_repository", None, "html")
    app.connect("config-inited", find_repository)
    app.connect("builder-inited", copy_mathjax)
    app.connect("doctree-read", notebooks.link_to_published)
    app.connect("autodoc-skip-member", skip_tuple_fields)
    # after the theme's description
    app.connect("html-page-context", describe, priority=600)
    # after Sphinx adds it
    app.connect("html-page-context", leave_out_mathjax, priority=600)
    # after the theme's functions
    app.connect("html-page-context", accessible.mend, priority=600)
    app.connect("html-page-context", notebooks.add_run_bar)
    app.connect("html-collect-pages", front_door)
    app.connect("build-finished", notebooks.publish)
    # when all other files are there
    app.connect("build-finished", slim.slim, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
