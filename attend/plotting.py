"""The book's figures: the only home of matplotlib.

Every function draws into `ax`, or into a new figure, and returns the `Figure`.
Attention is drawn with one colour map from 0 (white) to 1 (dark), queries as
rows. Figures keep a white background, so that they read the same on a light and
on a dark page. Chinese labels need a font that has them: the first one of
`CHINESE_FONTS` that is installed is used.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import torch
from jaxtyping import Bool, Float
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

COLOR_MAP = "Blues"
# 5:1 or more on white
COLORS = ("#c2410c", "#1d4ed8", "#0f766e", "#7e22ce", "#4b5563", "#a16207")
MARKERS = "osD^vP"
SPACE = "␣"
CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "PingFang SC",
    "Microsoft YaHei",
    "WenQuanYi Zen Hei",
)
plt.rcParams["font.sans-serif"] += sorted(
    set(CHINESE_FONTS) & set(font_manager.get_font_names()),
    key=CHINESE_FONTS.index,
)


def new_axes(
    ax: Axes | None, width: float = 6.0, height: float = 3.4
) -> tuple[Figure, Axes]:
    """Return `ax` with its figure, or make both, `width` by `height` inches."""
    if ax is None:
        _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    figure = ax.get_figure(root=True)
    assert figure is not None  # an axes that is drawn into stands in a figure
    figure.set_facecolor("white")
    return figure, ax


def attention_map(
    weights: Float[Tensor, "query key"],
    keys: Sequence[str],
    queries: Sequence[str],
    gold: Bool[Tensor, "query key"] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Draw attention weights: rows are queries (output), columns keys (input).

    Args:
        weights: `(query, key)`, between 0 and 1.
        keys: a label for each column.
        queries: a label for each row.
        gold: which cells are right; each is framed.
        title: what is shown.
        ax: where to draw.

    Raises:
        ValueError: if the labels do not match the weights.
    """
    if weights.shape != (len(queries), len(keys)):
        raise ValueError(
            f"weights of shape {tuple(weights.shape)} need {weights.shape[0]} "
            f"queries and {weights.shape[1]} keys, got {len(queries)} and "
            f"{len(keys)}"
        )
    figure, ax = new_axes(ax, 1.9 + 0.27 * len(keys), 1.2 + 0.27 * len(queries))
    image = ax.imshow(
        weights.detach().numpy(), cmap=COLOR_MAP, vmin=0, vmax=1, aspect="auto"
    )
    ax.set_xticks(
        range(len(keys)), [SPACE if key == " " else key for key in keys]
    )
    ax.set_yticks(range(len(queries)), queries)
    ax.tick_params(length=0)
    ax.set_xlabel("input (keys)")
    ax.set_ylabel("output (queries)")
    ax.set_title(title, fontsize="medium")
    if gold is not None:
        for row, column in gold.nonzero().tolist():
            corner = (column - 0.5, row - 0.5)
            ax.add_patch(
                Rectangle(
                    corner, 1, 1, fill=False, edgecolor=COLORS[0], linewidth=1.2
                )
            )
    figure.colorbar(
        image, ax=ax, label="attention weight", fraction=0.05, pad=0.02
    )
    return figure


def loss_curve(
    losses: Mapping[str, Sequence[float]],
    window: int = 20,
    ax: Axes | None = None,
) -> Figure:
    """Draw training losses over steps, each smoothed by a running mean.

    Args:
        losses: the loss of every step, in nats a token, by the name of the run.
        window: steps in the running mean.
        ax: where to draw.
    """
    figure, ax = new_axes(ax)
    for i, (name, values) in enumerate(losses.items()):
        smooth = (
            torch.tensor(values)
            .unfold(0, min(window, len(values)), 1)
            .mean(dim=-1)
        )
        first = len(values) - len(smooth)
        color = COLORS[i % len(COLORS)]
        ax.plot(
            range(first, len(values)), smooth.tolist(), color=color, label=name
        )
    ax.set_xlabel("training step")
    ax.set_ylabel(f"loss (nats a token, mean of {window})")
    ax.set_ylim(bottom=0)
    finish(ax)
    return figure


def length_curves(
    lengths: Sequence[int],
    accuracies: Mapping[str, Sequence[Sequence[float]]],
    trained: tuple[int, int],
    ax: Axes | None = None,
) -> Figure:
    """Draw accuracy against length.

    A line runs through the mean of the seeds, a band over all of them.

    Args:
        lengths: where the accuracy was measured.
        accuracies: for each model, one list of accuracies a seed.
        trained: the shortest and longest length in training; the range is
            shaded.
        ax: where to draw.
    """
    figure, ax = new_axes(ax)
    ax.axvspan(*trained, color="#e5e7eb", label="lengths in training")
    return size_curves(
        lengths, accuracies, "source length (tokens)", "token accuracy", ax=ax
    )


def size_curves(
    sizes: Sequence[int],
    runs: Mapping[str, Sequence[Sequence[float]]],
    xlabel: str,
    ylabel: str,
    ax: Axes | None = None,
) -> Figure:
    """Draw shares against sizes.

    A line runs through the mean of the seeds, a band over all of them.

    Args:
        sizes: where the shares, from 0 to 1, were measured.
        runs: for each line, one list of shares a seed.
        xlabel: what the sizes are.
        ylabel: what the shares are.
        ax: where to draw.
    """
    figure, ax = new_axes(ax)
    for i, (name, values) in enumerate(runs.items()):
        table = torch.tensor(values)  # (seed, size)
        color = COLORS[i % len(COLORS)]
        ax.plot(
            sizes,
            table.mean(0).tolist(),
            color=color,
            marker=MARKERS[i % len(MARKERS)],
            label=name,
        )
        low, high = table.amin(0).tolist(), table.amax(0).tolist()
        ax.fill_between(sizes, low, high, color=color, alpha=0.2, linewidth=0)
    ax.set_xticks(sizes)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.set_ylim(0, 1.03)
    finish(ax)
    return figure


def curves(
    x: Sequence[float],
    ys: Mapping[str, Sequence[float]],
    xlabel: str,
    ylabel: str,
    points: tuple[Sequence[float], Sequence[float], str] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw lines over a common x, and any points `(x, y, label)` among them."""
    figure, ax = new_axes(ax)
    for i, (name, y) in enumerate(ys.items()):
        ax.plot(x, y, color=COLORS[i % len(COLORS)], label=name)
    if points is not None:
        ax.plot(points[0], points[1], "o", color="#111827", label=points[2])
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    finish(ax)
    return figure


def bars(
    heights: Mapping[str, Sequence[float]],
    labels: Sequence[str],
    xlabel: str,
    ylabel: str,
    ax: Axes | None = None,
) -> Figure:
    """Draw groups of bars: one group a label, one colour a name."""
    figure, ax = new_axes(ax)
    width = 0.8 / len(heights)
    for i, (name, values) in enumerate(heights.items()):
        left = [j - 0.4 + (i + 0.5) * width for j in range(len(labels))]
        ax.bar(
            left,
            list(values),
            width=width * 0.92,
            color=COLORS[i % len(COLORS)],
            label=name,
        )
    ax.set_xticks(range(len(labels)), labels)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    # room for the legend above the bars
    ax.margins(y=0.15 if len(heights) > 1 else 0.05)
    finish(ax, columns=len(heights))
    return figure


def finish(ax: Axes, columns: int = 1) -> None:
    """Add a legend and a light grid; drop the frame's top and right side."""
    if len(ax.get_legend_handles_labels()[0]) > 1:  # one thing needs no legend
        ax.legend(frameon=False, fontsize="small", ncols=columns)
    ax.grid(axis="y", color="#e5e7eb", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def panels(
    num: int, width: float = 4.0, height: float = 3.2
) -> tuple[Figure, list[Any]]:
    """Make `num` axes side by side, each `width` by `height` inches."""
    figure, axes = plt.subplots(
        1, num, figsize=(width * num, height), layout="constrained"
    )
    figure.set_facecolor("white")
    return figure, list(axes) if num > 1 else [axes]


def encoder_decoder(
    src: Sequence[str],
    tgt: Sequence[str],
    weights: Float[Tensor, "src"] | None = None,
) -> Figure:
    """Draw an encoder-decoder unrolled in time.

    The source is on the left, the target on the right.

    Args:
        src: the source tokens.
        tgt: the target tokens, EOS included; BOS is fed first.
        weights: attention weights of the first target token over the source,
            drawn as lines.
    """
    places = list(range(len(src))) + [len(src) + 1 + i for i in range(len(tgt))]
    figure, ax = new_axes(None, 0.72 * (len(places) + 1), 2.7)
    fed = [*src, "<bos>", *tgt[:-1]]
    for i, (x, token) in enumerate(zip(places, fed, strict=True)):
        color = COLORS[1] if i < len(src) else COLORS[0]
        ax.text(
            x,
            0,
            SPACE if token == " " else token,
            ha="center",
            va="center",
            fontsize="large",
        )
        ax.annotate(
            "",
            (x, 0.72),
            (x, 0.25),
            arrowprops={"arrowstyle": "->", "color": "#4b5563"},
        )
        ax.add_patch(
            Rectangle((x - 0.3, 0.72), 0.6, 0.56, facecolor=color, alpha=0.9)
        )
        if i:
            style = {
                "arrowstyle": "->",
                "color": "#111827",
                "linewidth": 2 if i == len(src) else 1,
            }
            ax.annotate(
                "", (x - 0.3, 1), (places[i - 1] + 0.3, 1), arrowprops=style
            )
        if i >= len(src):
            ax.annotate(
                "",
                (x, 1.78),
                (x, 1.28),
                arrowprops={"arrowstyle": "->", "color": "#4b5563"},
            )
            ax.text(
                x,
                2,
                tgt[i - len(src)],
                ha="center",
                va="center",
                fontsize="large",
            )
    if weights is None:
        ax.text(
            len(src),
            1.42,
            "the state:\nall that passes",
            ha="center",
            fontsize="small",
        )
    else:
        top = (places[len(src)] - 0.3, 1.28)
        for x, weight in zip(places, weights.tolist(), strict=False):
            line = {
                "arrowstyle": "-",
                "color": COLORS[2],
                "linewidth": 6 * weight,
                "alpha": 0.8,
            }
            curve = {**line, "connectionstyle": "arc3,rad=-0.25"}
            ax.annotate("", top, (x, 1.28), arrowprops=curve)
    ax.text((len(src) - 1) / 2, -0.45, "encoder", ha="center", color=COLORS[1])
    ax.text(
        len(src) + (len(tgt) + 1) / 2,
        -0.45,
        "decoder",
        ha="center",
        color=COLORS[0],
    )
    ax.set_xlim(-0.6, places[-1] + 0.6)
    ax.set_ylim(-0.65, 2.3)
    ax.axis("off")
    return figure


class TreeNode(NamedTuple):
    """A beginning that a search looked at.

    Attributes:
        label: its last token.
        parent: the place of the beginning it continues, in the level before.
        log_prob: its log-probability, in nats.
        kept: whether the search went on with it, or counts it as finished.
    """

    label: str
    parent: int
    log_prob: float
    kept: bool


def search_tree(
    levels: Sequence[Sequence[TreeNode]],
    path: Sequence[int] = (),
    width: float = 0.8,
    ax: Axes | None = None,
) -> Figure:
    """Draw what a beam search looked at, step by step from left to right.

    Each node shows its last token and the probability of the whole beginning.
    What was kept is filled, what was dropped is pale.

    Args:
        levels: the nodes of each step; the parents of the first are the start.
        path: the place of one node in each level, the sequence found: its lines
            are thick.
        width: inches for each step.
        ax: where to draw.

    Raises:
        ValueError: if a parent does not exist.
    """
    tallest = max(len(level) for level in levels)
    figure, ax = new_axes(ax, width * (len(levels) + 0.8), 0.46 * tallest + 0.4)
    before = [(0.0, 0.0)]  # where the nodes of the level before stand
    draw_node(ax, (0.0, 0.0), "<bos>", kept=True)
    for depth, level in enumerate(levels):
        if not all(0 <= node.parent < len(before) for node in level):
            raise ValueError(
                f"level {depth} names a parent that level {depth - 1} does "
                "not have"
            )
        order = sorted(
            range(len(level)),
            key=lambda i: (-before[level[i].parent][1], -level[i].log_prob),
        )
        height = {
            i: (len(level) - 1) / 2 - rank for rank, i in enumerate(order)
        }
        here = [
            (depth + 1.0, height[i] * (tallest / len(level)) ** 0.5)
            for i in range(len(level))
        ]
        for i, (node, place) in enumerate(zip(level, here, strict=True)):
            found = depth < len(path) and path[depth] == i
            ax.plot(
                *zip(before[node.parent], place, strict=True),
                color=COLORS[0] if found else "#9ca3af",
                linewidth=2.4 if found else 0.8,
                zorder=1,
            )
            label = SPACE if node.label == " " else node.label
            draw_node(
                ax, place, f"{label}\n{probability(node.log_prob)}", node.kept
            )
        before = here
    ax.set_xlim(-0.4, len(levels) + 0.45)
    ax.margins(y=0.1)
    ax.axis("off")
    return figure


def draw_node(
    ax: Axes, place: tuple[float, float], text: str, kept: bool
) -> None:
    """Write the text of one node into a box."""
    face, color = (COLORS[1], "white") if kept else ("#f3f4f6", "#4b5563")
    box = {"boxstyle": "round,pad=0.25", "facecolor": face, "edgecolor": "none"}
    style: dict[str, Any] = {
        "fontsize": "small",
        "linespacing": 1.05,
        "bbox": box,
    }
    ax.text(*place, text, color=color, ha="center", va="center", **style)


def probability(log_prob: float) -> str:
    """Write a probability so that it fits a node: `0.24`, `.031`, `<.001`."""
    value = math.exp(log_prob)
    if value >= 0.0995:
        return f"{value:.2f}"
    return f"{value:.3f}"[1:] if value >= 0.001 else "<.001"
