"""Figures: labelled axes, and the numbers that were given."""

import math
from collections.abc import Callable, Iterator

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from attend.plotting import (
    TreeNode,
    attention_map,
    bars,
    curves,
    encoder_decoder,
    length_curves,
    loss_curve,
    panels,
    search_tree,
    size_curves,
)


@pytest.fixture(autouse=True)
def drawn() -> Iterator[None]:
    """Draw every figure, as a notebook does.

    What warns, such as a missing glyph, fails.
    """
    yield
    try:
        for number in plt.get_fignums():
            plt.figure(number).canvas.draw()
    finally:
        plt.close("all")


def names(figure: Figure) -> list[str]:
    """Return what the legend of the first axes calls its lines and bars."""
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


# more than there are colours
SEVEN = {f"run {i}": [float(i), i + 1.0, i + 2.0] for i in range(7)}

DRAWINGS: dict[str, Callable[[], Figure]] = {
    "attention_map": lambda: attention_map(
        torch.rand(3, 5), list("a b c"), ["x", "y", "z"]
    ),
    "loss_curve": lambda: loss_curve(SEVEN, window=2),
    "length_curves": lambda: length_curves(
        (2, 3, 5),
        {name: [[0.1, 0.5, 0.9], [0.2, 0.4, 1.0]] for name in SEVEN},
        (2, 3),
    ),
    "size_curves": lambda: size_curves(
        (2, 3, 5),
        {name: [[0.1, 0.5, 0.9], [0.2, 0.4, 1.0]] for name in SEVEN},
        "k",
        "share",
    ),
    "curves": lambda: curves(
        [1, 2, 3], SEVEN, "x", "y", ([1.0], [2.0], "data")
    ),
    "bars": lambda: bars(SEVEN, ["a", "b", "c"], "x", "y"),
}


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_every_figure_has_labelled_axes(draw: Callable[[], Figure]) -> None:
    figure = draw()
    assert isinstance(figure, Figure)
    assert figure.axes[0].get_xlabel()
    assert figure.axes[0].get_ylabel()


@pytest.mark.parametrize(
    "name", ["loss_curve", "length_curves", "size_curves", "curves", "bars"]
)
def test_every_run_is_drawn(name: str) -> None:
    assert set(SEVEN) <= set(names(DRAWINGS[name]()))


def test_attention_map_has_queries_as_rows_and_runs_from_0_to_1() -> None:
    weights = torch.rand(3, 5, requires_grad=True)
    figure = attention_map(
        weights, ["a", " ", "ß", "b", "é"], ["x", "y", "z"], title="A map"
    )
    ax, bar = figure.axes
    [image] = ax.images
    assert image.get_clim() == (0, 1)
    assert torch.equal(torch.tensor(image.get_array()), weights.detach())
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [
        "a",
        "␣",
        "ß",
        "b",
        "é",
    ]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["x", "y", "z"]
    bottom, top = ax.get_ylim()
    assert top < bottom  # the first query stands at the top
    assert ax.get_title() == "A map"
    assert bar.get_ylabel() == "attention weight"


def test_attention_map_frames_the_gold_cells() -> None:
    gold = torch.zeros(3, 5).bool()
    gold[0, 4] = gold[2, 1] = True
    figure = attention_map(torch.rand(3, 5), list("abcde"), list("xyz"), gold)
    frames = [
        p.get_xy() for p in figure.axes[0].patches if isinstance(p, Rectangle)
    ]
    assert frames == [(3.5, -0.5), (0.5, 1.5)]


@pytest.mark.parametrize(
    ("keys", "queries"), [("abc", "vwxyz"), ("abcd", "xyz"), ("abcde", "xy")]
)
def test_attention_map_needs_a_label_for_each_row_and_column(
    keys: str, queries: str
) -> None:
    with pytest.raises(
        ValueError, match=r"weights of shape \(3, 5\) need 3 queries and 5 keys"
    ):
        attention_map(torch.rand(3, 5), list(keys), list(queries))


def test_loss_curve_is_a_running_mean() -> None:
    [line] = loss_curve({"run": [4.0, 2.0, 3.0, 1.0]}, window=2).axes[0].lines
    assert line.get_xydata().tolist() == [[1, 3], [2, 2.5], [3, 2]]
    [line] = loss_curve({"run": [4.0, 2.0]}, window=20).axes[0].lines
    assert line.get_xydata().tolist() == [[1, 3]]


def test_length_curves_draw_the_mean_and_shade_the_training_lengths() -> None:
    runs = {"one": [[0.25, 0.5], [0.75, 1.0]]}
    ax = length_curves((3, 7), runs, trained=(3, 5)).axes[0]
    [line] = ax.lines
    assert line.get_xydata().tolist() == [[3, 0.5], [7, 0.75]]
    [shade] = ax.patches
    assert shade.get_extents().transformed(
        ax.transData.inverted()
    ).intervalx.tolist() == pytest.approx([3, 5])
    [band] = ax.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (0.25, 1.0)


def test_bars_stand_side_by_side() -> None:
    ax = bars(
        {"one": [1.0, 2.0], "two": [3.0, 5.0]}, ["a", "b"], "task", "share"
    ).axes[0]
    assert [bar.get_height() for bar in ax.patches] == [1, 2, 3, 5]
    spans = sorted(
        (bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches
    )
    assert all(
        end <= start
        for (_, end), (start, _) in zip(spans, spans[1:], strict=False)
    )


@pytest.mark.parametrize("num", [1, 3])
def test_panels_can_be_drawn_into(num: int) -> None:
    figure, axes = panels(num)
    assert len(axes) == num
    for ax in axes:
        assert loss_curve({"run": [1.0, 2.0]}, ax=ax) is figure
    assert all(len(ax.lines) == 1 for ax in axes)


@pytest.mark.parametrize("weights", [None, torch.tensor([0.1, 0.7, 0.2])])
def test_encoder_decoder_shows_every_token(
    weights: torch.Tensor | None,
) -> None:
    figure = encoder_decoder(["a", " ", "c"], ["x", "y", "<eos>"], weights)
    shown = [text.get_text() for text in figure.axes[0].texts]
    for token in (
        "a",
        "␣",
        "c",
        "<bos>",
        "x",
        "y",
        "<eos>",
        "encoder",
        "decoder",
    ):
        assert token in shown


LEVELS = [
    [
        TreeNode("a", 0, math.log(0.5), True),
        TreeNode(" ", 0, math.log(0.031), False),
    ],
    [
        TreeNode("b", 1, math.log(0.0001), False),
        TreeNode("c", 0, math.log(0.24), True),
    ],
]


def test_search_tree_shows_every_node_its_probability_and_if_kept() -> None:
    texts = search_tree(LEVELS).axes[0].texts
    shown = {
        text.get_text(): text.get_bbox_patch().get_facecolor() for text in texts
    }
    assert list(shown) == ["<bos>", "a\n0.50", "␣\n.031", "b\n<.001", "c\n0.24"]
    assert shown["a\n0.50"] == shown["c\n0.24"] == shown["<bos>"]
    assert shown["␣\n.031"] == shown["b\n<.001"] != shown["<bos>"]


def test_search_tree_joins_parents_and_marks_the_path() -> None:
    ax = search_tree(LEVELS, path=(0, 1)).axes[0]
    places = {text.get_text()[0]: text.get_position() for text in ax.texts}
    lines = [
        [tuple(point) for point in line.get_xydata().tolist()]
        for line in ax.lines
    ]
    assert lines[2:] == [[places["␣"], places["b"]], [places["a"], places["c"]]]
    assert places["c"][1] > places["b"][1], (
        "children stand in the order of their parents"
    )
    widths = [line.get_linewidth() for line in ax.lines]
    assert widths[0] == widths[3] > widths[1] == widths[2]


def test_search_tree_needs_the_parents() -> None:
    with pytest.raises(
        ValueError, match="level 1 names a parent that level 0 does not have"
    ):
        search_tree([LEVELS[0], [TreeNode("b", 2, -1.0, True)]])
