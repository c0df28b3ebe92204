"""What is checked on every page of the site.

Each check returns the problems it finds, in words.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request

# all that can differ in the dark
COLOUR_RULES = ("color-contrast", "link-in-text-block")
MAX_BYTES = 1_500_000
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


# axe takes seconds for the thousands of coloured words of a chapter's code. One
# of each colour will do: a word whose class has been seen before on the same
# background becomes plain text.
FORGET_REPEATED_TOKENS = """() => {
    const seen = new Set();
    for (const word of \
document.querySelectorAll(".highlight pre > span:not(:has(*))")) {
        const background = \
getComputedStyle(word.closest("div.highlight")).backgroundColor;
        const key = `${word.className} on ${background}`;
        if (seen.has(key)) word.replaceWith(word.textContent);
        seen.add(key);
    }
}"""


@dataclass(frozen=True)
class Home:
    """Where the site is: in a folder, and at an address that stands for it."""

    folder: Path
    address: str


class Tags(HTMLParser):
    """What a page links to, what can be linked to in it, and its images."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.anchors: set[str | None] = set()
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(
        self, tag: str, attrs: list[tuple[str, str | None]]
    ) -> None:
        values = dict(attrs)
        self.anchors |= {values.get("id"), values.get("name")}
        self.links += [
            link for link in (values.get("href"), values.get("src")) if link
        ]
        if tag == "img":
            self.images.append(values)


def broken_links(site: Path) -> Iterator[str]:
    """Links within the site that lead to no file, or to no place in it."""
    pages = {page: Tags(page) for page in site.rglob("*.html")}
    for page, tags in pages.items():
        for link in tags.links:
            url = urlparse(link)
            if url.scheme or url.netloc:
                continue
            target = (
                (page.parent / unquote(url.path)).resolve()
                if url.path
                else page
            )
            if not target.is_file():
                yield f"{page.relative_to(site)}: {link}: no such file"
            elif (
                url.fragment
                and unquote(url.fragment) not in pages[target].anchors
            ):
                yield (
                    f"{page.relative_to(site)}: {link}: "
                    "no such place in the page"
                )


def images_without_text(site: Path) -> Iterator[str]:
    """Images with no alternative text, or a file's name for one.

    Decoration has an empty one.
    """
    for page in site.rglob("*.html"):
        for image in Tags(page).images:
            alt, source = image.get("alt"), image.get("src") or ""
            if (
                alt is None
                or alt.endswith(".png")
                or (not alt and "_images/" in source)
            ):
                yield (
                    f"{page.relative_to(site)}: {source}: "
                    f"alternative text is {alt!r}"
                )


def page_problems(
    browser: Browser, url: str, home: Home, axe: bool = True
) -> list[str]:
    """Whatever is wrong with a page, in light and dark, on a desk and a phone.

    Args:
        browser: the browser to look with.
        url: the page's address.
        home: where the site's files are.
        axe: whether to look for barriers too, which takes longest.
    """
    problems: list[str] = []
    asked: set[str] = set()
    context = browser.new_context(
        viewport=DESKTOP, color_scheme="light", reduced_motion="reduce"
    )
    page = context.new_page()

    def note(request: Request) -> None:
        if request.url.startswith(home.address):
            asked.add(urlparse(request.url[len(home.address) :]).path)
        else:
            problems.append(f"asks another site: {request.url}")

    def listen(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            problems.append(f"console {message.type}: {message.text}")

    page.on("request", note)
    page.on("console", listen)
    page.on(
        "pageerror",
        lambda error: problems.append(f"error in a script: {error}"),
    )
    page.on(
        "requestfailed",
        lambda request: problems.append(f"not loaded: {request.url}"),
    )
    page.goto(url)
    page.evaluate("window.MathJax?.startup?.promise")
    problems += [
        f"formula: {text}"
        for text in page.locator("[data-mjx-error]").all_inner_texts()
    ]
    page.evaluate(
        "document.querySelectorAll('details').forEach(fold => fold.open = true)"
    )
    page.evaluate(FORGET_REPEATED_TOKENS)
    problems += axe_problems(page, "light") if axe else []
    page.emulate_media(color_scheme="dark")
    problems += axe_problems(page, "dark", *COLOUR_RULES) if axe else []
    page.set_viewport_size(PHONE)
    problems += sideways(page)
    context.close()
    files = [home.folder / unquote(path) for path in asked]
    size = sum(file.stat().st_size for file in files if file.is_file())
    if size > MAX_BYTES:
        problems.append(f"weighs {size:,} bytes, more than {MAX_BYTES:,}")
    return problems


def axe_problems(page: Page, scheme: str, *rules: str) -> list[str]:
    """Violations that axe finds in the page as it is, of all rules or some."""
    # axe would ask for style sheets again, and at wrong addresses; no rule in
    # use needs it.
    options = {"resultTypes": ["violations"], "preload": False}
    if rules:
        options["runOnly"] = rules
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"axe, {scheme}: {violation['id']}: {node['html'][:200]} "
        f"{node['failureSummary']}"
        for violation in found
        for node in violation["nodes"]
    ]


def sideways(page: Page) -> list[str]:
    """Elements wider than the screen, if they make the page scroll sideways."""
    return page.evaluate(
        """() => {
            const width = document.documentElement.clientWidth;
            if (document.documentElement.scrollWidth <= width) return [];
            const wide = [...document.querySelectorAll("body *")]
                .filter(element => \
element.getBoundingClientRect().right > width + 1)
                .slice(0, 5);
            return wide.map(element => \
"wider than a phone: " + element.outerHTML.slice(0, 150));
        }"""
    )
