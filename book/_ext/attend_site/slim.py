"""Keep pages small: drop unused style rules and icons, draw with 256 colours.

The theme's style sheet holds all of Bootstrap and all of Font Awesome, 400 kB
of which the book uses a quarter, and its icon fonts hold thousands of icons for
our dozen.
"""

import logging
import re
import shutil
from pathlib import Path

import tinycss2
from fontTools import subset
from fontTools.ttLib import TTFont
from PIL import Image
from sphinx.application import Sphinx

# it reports every table it prunes
logging.getLogger("fontTools").setLevel(logging.WARNING)

UNUSED = (
    "**/*.map",
    "**/*.ttf",
    "**/*.woff2",
    "*.html",
    "scripts/fontawesome*",
    "locales",
)
WORD = re.compile(r"-?[A-Za-z_][\w-]*")
NAME = re.compile(r"[.#](-?[A-Za-z_](?:[\w-]|\\.)*)")
FONT_SOURCE = re.compile(r"(?<=src:)url\([^)]*?(fa-[\w-]+)\.woff2\)[^;}]*")
# the block of Unicode that icon fonts use
GLYPH = re.compile("[\ue000-\uf8ff]")


def _keep(selector: str, words: set[str]) -> bool:
    """Whether every class and id of a selector occurs somewhere in the site."""
    outside_not = re.sub(r":not\([^)]*\)", "", selector)
    return all(name in words for name in NAME.findall(outside_not))


def purge(css: str, words: set[str]) -> str:
    """Drop a style sheet's rules whose classes and ids are not in ``words``."""
    out = []
    for node in tinycss2.parse_stylesheet(
        css, skip_comments=True, skip_whitespace=True
    ):
        if node.type == "qualified-rule":
            selectors = _split(tinycss2.serialize(node.prelude))
            kept = [s for s in selectors if _keep(s, words)]
            if kept:
                out.append(
                    f"{','.join(kept)}{{{tinycss2.serialize(node.content)}}}"
                )
        elif node.type == "at-rule" and node.lower_at_keyword in (
            "media",
            "supports",
        ):
            inner = purge(tinycss2.serialize(node.content), words)
            if inner:
                out.append(
                    f"@{node.at_keyword}{tinycss2.serialize(node.prelude)}"
                    f"{{{inner}}}"
                )
        else:
            out.append(node.serialize())
    return "".join(out)


def _split(selectors: str) -> list[str]:
    """Split a selector list at its commas, but not those inside ``:is(…)``."""
    parts, depth, start = [], 0, 0
    for i, char in enumerate(selectors):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(selectors[start:i].strip())
            start = i + 1
    return [*parts, selectors[start:].strip()]


def shrink(figure: Path) -> None:
    """Store a figure with a palette: half the size, and the same to the eye."""
    with Image.open(figure) as image:
        on_white = Image.new("RGB", image.size, "white")
        on_white.paste(
            image, mask=image.getchannel("A") if image.mode == "RGBA" else None
        )
    on_white.quantize(256, dither=Image.Dither.NONE).save(figure, optimize=True)


def slim(app: Sphinx, exception: Exception | None) -> None:
    """Purge the style sheets, cut the icon fonts and shrink the figures.

    The fonts keep the icons that are still named.
    """
    if exception:
        return
    for figure in Path(app.outdir, "_images").glob("*.png"):
        shrink(figure)
    static = Path(app.outdir, "_static")
    sources = [*Path(app.outdir).rglob("*.html"), *static.rglob("*.js")]
    words = {
        w for f in sources for w in WORD.findall(f.read_text(encoding="utf-8"))
    }
    glyphs: set[str] = set()
    for sheet in static.rglob("*.css"):
        css = purge(sheet.read_text(encoding="utf-8"), words)
        glyphs.update(GLYPH.findall(css))
        sheet.write_text(
            FONT_SOURCE.sub(
                r'url("../vendor/fontawesome/webfonts/\1.woff") format("woff")',
                css,
            ),
            encoding="utf-8",
        )
    for path in (static / "vendor/fontawesome/webfonts").glob("*.ttf"):
        font = TTFont(path)
        cutter = subset.Subsetter()
        cutter.populate(text="".join(glyphs))
        cutter.subset(font)
        font.flavor = "woff"
        font.save(path.with_suffix(".woff"))
    for unused in UNUSED:
        for path in static.glob(unused):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
