"""Draw the landing page's figure and the social card.

Run it as `python book/make_pictures.py`.

The figure, `attention.svg`, is put into the page as text: its colours are
variables of the page (`book.css`), so that it reads in light and dark. The
card, `_static/card.png`, is what a link to the book shows elsewhere; Chromium
draws it.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE, TARGET = "5 mars 2024", "2024-03-05"
STEP, BOX, TOP, BOTTOM = 62, 50, 40, 250
DAY, MONTH, YEAR, REST = "day", "month", "year", "rest"
SOURCE_PARTS = [DAY, REST, *[MONTH] * 4, REST, *[YEAR] * 4]
TARGET_PARTS = [*[YEAR] * 4, REST, MONTH, MONTH, REST, DAY, DAY]
# For each character written: (where it looks, how much).
LOOKS = [
    *[[(7 + i, 1.0)] for i in range(4)],
    [(6, 1.0)],
    [(2, 0.55), (3, 0.3), (4, 0.15)],
    [(2, 0.2), (3, 0.25), (4, 0.55)],
    [(1, 1.0)],
    [(0, 1.0)],
    [(0, 1.0)],
]


def left(index: int, count: int) -> float:
    """The left edge of a box in a centred row of ``count``."""
    return (11 - count) * STEP / 2 + index * STEP + 6


def row(text: str, parts: list[str], y: int) -> list[str]:
    """One row of boxes, a character in each."""
    out = []
    for i, (char, part) in enumerate(zip(text, parts, strict=True)):
        x = left(i, len(text))
        out.append(
            f'<rect class="{part}" x="{x}" y="{y}" '
            f'width="{BOX}" height="{BOX}" rx="9"/>'
        )
        shown = "␣" if char == " " else char
        out.append(f'<text x="{x + BOX / 2}" y="{y + 34}">{shown}</text>')
    return out


def curves() -> list[str]:
    """Curves from each character written to those it looks at.

    Each is as thick as its weight is large.
    """
    out = []
    for i, looks in enumerate(LOOKS):
        x1, y1 = left(i, len(TARGET)) + BOX / 2, BOTTOM
        for j, weight in looks:
            x2, y2 = left(j, len(SOURCE)) + BOX / 2, TOP + BOX
            out.append(
                f'<path class="{TARGET_PARTS[i]}" '
                f'stroke-width="{1 + 6 * weight:.1f}" '
                f'd="M{x1} {y1}C{x1} {y1 - 75} {x2} {y2 + 75} {x2} {y2}"/>'
            )
    return out


LABELS = ['<text class="label" x="6" y="24">it reads</text>']
LABELS += [
    f'<text class="label" x="{left(0, 10)}" y="{BOTTOM + BOX + 26}">'
    "it writes</text>"
]
ALT = (
    "Two rows of characters: 5 mars 2024 above, 2024-03-05 below. Curves "
    "lead from each character written to the characters it looks at: the "
    "year to 2024 at the end of the first row, 03 to the letters m, a and r, "
    "and 05 to the 5 at the start."
)
CARD = """<!DOCTYPE html><html data-theme="light"><meta charset="utf-8">
<style>
{css}
html {{ --pst-color-text-base: #1f2533; --pst-color-text-muted: #4a5266;
  --pst-color-border: #c5cad6; --pst-color-background: #fff;
  --pst-font-family-base: "Liberation Sans", sans-serif;
  --pst-font-family-monospace: "DejaVu Sans Mono", monospace; }}
body {{ box-sizing: border-box; width: 1200px; height: 630px; margin: 0; \
padding: 56px 72px;
  background: var(--book-soft); color: #1f2533; \
font: 30px var(--pst-font-family-base); }}
h1 {{ margin: 0 0 12px; font-size: 76px; letter-spacing: -1px; }}
p {{ margin: 0; color: #4a5266; }}
svg.hero {{ max-width: 800px; margin: 22px 0 0 -6px; }}
</style>
<h1>Learning to Attend</h1>
<p>Attention, from the first encoder–decoder to the Vision Transformer</p>
{svg}</html>"""


def main() -> None:
    """Write both pictures."""
    here = Path(__file__).parent
    svg = "\n".join(
        [
            '<svg class="hero" viewBox="0 0 682 330" role="img" '
            f'aria-label="{ALT}">',
            *curves(),
            *row(SOURCE, SOURCE_PARTS, TOP),
            *row(TARGET, TARGET_PARTS, BOTTOM),
            *LABELS,
            "</svg>",
        ]
    )
    (here / "attention.svg").write_text(svg + "\n", encoding="utf-8")
    chromium = shutil.which("chromium")
    if not chromium:
        raise SystemExit(
            "Install Debian's package `chromium`: it draws the social card."
        )
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "card.html")
        css = (here / "_static/book.css").read_text(encoding="utf-8")
        page.write_text(CARD.format(css=css, svg=svg), encoding="utf-8")
        shot = f"--screenshot={here / '_static/card.png'}"
        options = [
            "--headless",
            "--no-sandbox",
            "--hide-scrollbars",
            "--window-size=1200,630",
        ]
        subprocess.run(
            [chromium, *options, shot, page.as_uri()],
            check=True,
            capture_output=True,
        )


if __name__ == "__main__":
    main()
