"""Each check of the site finds what it is for, on a small page with it."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.site import inspect_site
from tests.site.inspect_site import (
    Home,
    broken_links,
    images_without_text,
    page_problems,
)

PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">\
<title>A page</title>
<meta name="viewport" content="width=device-width">
<style>@media (prefers-color-scheme: dark) \
{{ .pale {{ background: #000; color: #222; }} }}</style>
</head><body><main><h1>A page</h1>{}</main></body></html>"""


def write(folder: Path, body: str, name: str = "page.html") -> Home:
    (folder / name).write_text(PAGE.format(body), encoding="utf-8")
    return Home(folder, folder.as_uri() + "/")


def look(browser: Browser, home: Home) -> str:
    return "\n".join(page_problems(browser, home.address + "page.html", home))


def test_a_good_page_has_no_problem(tmp_path: Path, browser: Browser) -> None:
    home = write(tmp_path, '<p id="here">Well. <a href="#here">Here</a>.</p>')
    assert look(browser, home) == ""
    assert list(broken_links(tmp_path)) == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (
            '<img alt="a" src="https://example.org/a.png">',
            "asks another site: https://example.org",
        ),
        (
            '<script src="https://example.org/a.js"></script>',
            "asks another site",
        ),
        (
            "<script>throw new Error('broken')</script>",
            "error in a script: broken",
        ),
        ("<script>console.error('bad')</script>", "console error: bad"),
        ("<script>console.warn('odd')</script>", "console warning: odd"),
        ('<img alt="a" src="missing.png">', "not loaded"),
        ("<button></button>", "axe, light: button-name"),
        ('<p style="color: #ccc">Pale.</p>', "axe, light: color-contrast"),
        ('<p class="pale">Pale in the dark.</p>', "axe, dark: color-contrast"),
        (
            "<details><summary>Fold</summary><button></button></details>",
            "axe, light: button-name",
        ),
        ('<pre style="width: 900px">wide</pre>', "wider than a phone: <pre"),
        (
            (
                '<mjx-merror data-mjx-error="Undefined \\x">'
                "<p>\\x</p></mjx-merror>"
            ),
            "formula: \\x",
        ),
    ],
)
def test_a_bad_page_is_found(
    body: str, problem: str, tmp_path: Path, browser: Browser
) -> None:
    assert problem in look(browser, write(tmp_path, body))


def test_a_heavy_page_is_found(
    tmp_path: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = write(tmp_path, f"<p>{'Words. ' * 100}</p>")
    monkeypatch.setattr(inspect_site, "MAX_BYTES", 500)
    assert "more than 500" in look(browser, home)


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("other.html", "no such file"),
        ("../outside.ipynb", "no such file"),
        ("#nowhere", "no such place"),
        ("second.html#nowhere", "no such place"),
    ],
)
def test_a_broken_link_is_found(
    link: str, problem: str, tmp_path: Path
) -> None:
    write(tmp_path, '<p id="there">There.</p>', "second.html")
    write(
        tmp_path,
        f'<a href="second.html#there">good</a> <a href="{link}">bad</a>',
    )
    (found,) = broken_links(tmp_path)
    assert problem in found and link in found


@pytest.mark.parametrize("alt", ["", 'alt="_images/12ab.png"', 'alt=""'])
def test_an_image_without_text_is_found(alt: str, tmp_path: Path) -> None:
    write(
        tmp_path,
        f'<img src="logo.svg" alt=""><img src="_images/12ab.png" {alt}>',
    )
    (found,) = images_without_text(tmp_path)
    assert "_images/12ab.png" in found
