"""Figures: labelled axes, and the numbers that were given."""

from collections.abc import Callable, Iterator

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from attend.plotting import (
    attention_map,
    bars,
    curves,
    encoder_decoder,
    length_curves,
    loss_curve,
    panels,
)


@pytest.fixture(autouse=True)
def drawn() -> Iterator[None]:
    """Draw every figure, as a notebook does; what warns, such as a missing glyph, fails."""
    yield
    try:
        for number in plt.get_fignums():
            plt.figure(number).canvas.draw()
    finally:
        plt.close("all")


def names(figure: Figure) -> list[str]:
    """Return what the legend of the first axes calls its lines and bars."""
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


SEVEN = {f"run {i}": [float(i), i + 1.0, i + 2.0] for i in range(7)}  # more than there are colours

DRAWINGS: dict[str, Callable[[], Figure]] = {
    "attention_map": lambda: attention_map(torch.rand(3, 5), list("a b c"), ["x", "y", "z"]),
    "loss_curve": lambda: loss_curve(SEVEN, window=2),
    "length_curves": lambda: length_curves(
        (2, 3, 5), {name: [[0.1, 0.5, 0.9], [0.2, 0.4, 1.0]] for name in SEVEN}, (2, 3)
    ),
    "curves": lambda: curves([1, 2, 3], SEVEN, "x", "y", ([1.0], [2.0], "data")),
    "bars": lambda: bars(SEVEN, ["a", "b", "c"], "x", "y"),
}


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_every_figure_has_labelled_axes(draw: Callable[[], Figure]) -> None:
    figure = draw()
    assert isinstance(figure, Figure)
    assert figure.axes[0].get_xlabel()
    assert figure.axes[0].get_ylabel()


@pytest.mark.parametrize("name", ["loss_curve", "length_curves", "curves", "bars"])
def test_every_run_is_drawn(name: str) -> None:
    assert set(SEVEN) <= set(names(DRAWINGS[name]()))


def test_attention_map_has_queries_as_rows_and_runs_from_0_to_1() -> None:
    weights = torch.rand(3, 5, requires_grad=True)
    figure = attention_map(weights, ["a", " ", "ß", "b", "é"], ["x", "y", "z"], title="A map")
    ax, bar = figure.axes
    [image] = ax.images
    assert image.get_clim() == (0, 1)
    assert torch.equal(torch.tensor(image.get_array()), weights.detach())
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "␣", "ß", "b", "é"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["x", "y", "z"]
    bottom, top = ax.get_ylim()
    assert top < bottom  # the first query stands at the top
    assert ax.get_title() == "A map"
    assert bar.get_ylabel() == "attention weight"


def test_attention_map_frames_the_gold_cells() -> None:
    gold = torch.zeros(3, 5).bool()
    gold[0, 4] = gold[2, 1] = True
    figure = attention_map(torch.rand(3, 5), list("abcde"), list("xyz"), gold)
    frames = [p.get_xy() for p in figure.axes[0].patches if isinstance(p, Rectangle)]
    assert frames == [(3.5, -0.5), (0.5, 1.5)]


@pytest.mark.parametrize(("keys", "queries"), [("abc", "vwxyz"), ("abcd", "xyz"), ("abcde", "xy")])
def test_attention_map_needs_a_label_for_each_row_and_column(keys: str, queries: str) -> None:
    with pytest.raises(ValueError, match=r"weights of shape \(3, 5\) need 3 queries and 5 keys"):
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
    ax = bars({"one": [1.0, 2.0], "two": [3.0, 5.0]}, ["a", "b"], "task", "share").axes[0]
    assert [bar.get_height() for bar in ax.patches] == [1, 2, 3, 5]
    spans = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches)
    assert all(end <= start for (_, end), (start, _) in zip(spans, spans[1:], strict=False))


@pytest.mark.parametrize("num", [1, 3])
def test_panels_can_be_drawn_into(num: int) -> None:
    figure, axes = panels(num)
    assert len(axes) == num
    for ax in axes:
        assert loss_curve({"run": [1.0, 2.0]}, ax=ax) is figure
    assert all(len(ax.lines) == 1 for ax in axes)


@pytest.mark.parametrize("weights", [None, torch.tensor([0.1, 0.7, 0.2])])
def test_encoder_decoder_shows_every_token(weights: torch.Tensor | None) -> None:
    figure = encoder_decoder(["a", " ", "c"], ["x", "y", "<eos>"], weights)
    shown = [text.get_text() for text in figure.axes[0].texts]
    for token in ("a", "␣", "c", "<bos>", "x", "y", "<eos>", "encoder", "decoder"):
        assert token in shown
