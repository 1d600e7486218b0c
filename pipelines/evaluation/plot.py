"""Pictures of an evaluation, drawn by matplotlib without a display."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipelines.evaluation.confusion import BACKGROUND, Confusion
from pipelines.evaluation.labels import Curve, LabelEvaluation, LabelFigures
from pipelines.evaluation.pages import TextEvaluation
from pipelines.evaluation.weighted_ap import RECALLS
from pipelines.measures.intervals import Interval
from pipelines.truth.slices import SMALL

_BLUE, _ORANGE, _GREY = "#0b6e99", "#b3541e", "#666666"
#: Most classes in a picture, those with the most objects. The JSON has all classes.
_CURVES, _CONFUSED = 16, 24
#: Most slices in a picture, in the order of the tables.
_BARS = 40


@dataclass(frozen=True)
class Bar:
    """One slice: a figure with its interval, and the number of images or pages."""

    name: str
    count: int
    figure: Interval | None


def draw_labels(found: LabelEvaluation, folder: Path) -> list[Path]:
    """pr_curves.png, confusion.png and slices.png in `folder`; raises OSError."""
    bars = [
        Bar(f"{one.column}: {one.value}", one.figures.images, one.figures.ap.ap50)
        for one in found.slices
    ]
    drawn = {
        "pr_curves.png": _curves(found),
        "confusion.png": _confusion(found.confusion),
        "slices.png": _slices(bars, found.whole.ap.ap50, "AP at IoU 0.5", "images"),
    }
    return _saved(drawn, folder)


def draw_text(found: TextEvaluation, folder: Path) -> list[Path]:
    """pages.png and slices.png in `folder`; raises OSError."""
    blanks = found.whole.cer_with_blanks is not None
    bars = []
    for one in found.slices:
        of = one.figures
        rate = of.cer_with_blanks if blanks else of.cer_without_blanks
        bars.append(Bar(f"{one.column}: {one.value}", of.pages, rate))
    whole = found.whole.cer_with_blanks or found.whole.cer_without_blanks
    title = "CER with blanks" if blanks else "CER without blanks"
    drawn = {"pages.png": _pages(found), "slices.png": _slices(bars, whole, title, "pages")}
    return _saved(drawn, folder)


def _saved(drawn: dict[str, Figure | None], folder: Path) -> list[Path]:
    paths = []
    for name, figure in drawn.items():
        if figure is not None:
            figure.savefig(folder / name, format="png")
            paths.append(folder / name)
    return paths


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _curves(found: LabelEvaluation) -> Figure | None:
    names = sorted(found.curves, key=lambda name: -found.curves[name].objects)
    if not names:
        return None
    shown = names[:_CURVES]
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    figure = _figure(max(2.6 * columns, 4.2), 2.5 * rows + 0.7)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat:
        axes.set_visible(False)
    for axes, name in zip(grid.flat, shown, strict=False):
        axes.set_visible(True)
        _curve(axes, name, found.curves[name], found.classes[name])
    for axes in grid[:, 0]:
        axes.set_ylabel("precision")
    for place in range(columns):  # the lowest one of each column
        lowest = (len(shown) - 1 - place) // columns
        grid[lowest, place].set_xlabel("recall")
        grid[lowest, place].xaxis.set_tick_params(labelbottom=True)
    more = f", the {_CURVES} with the most objects" if len(names) > _CURVES else ""
    figure.suptitle(f"precision and recall by class{more}", fontsize=11)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def _curve(axes: Axes, name: str, curve: Curve, figures: LabelFigures) -> None:
    for values, style, label in (
        (curve.at_50, "-", "IoU 0.5"),
        (curve.at_75, "--", "IoU 0.75"),
    ):
        # The curve ends at the highest recall: it must not fall to 0 there.
        there = np.array(values) > 0
        axes.plot(RECALLS[there], np.array(values)[there], style, color=_BLUE, label=label)
    x = figures.recall.value if figures.recall else 0.0
    y = figures.precision.value if figures.precision else 0.0
    axes.plot(x, y, "o", color=_ORANGE, label="at the threshold, IoU 0.5", clip_on=False)
    axes.set(xlim=(0, 1), ylim=(0, 1.03))
    axes.set_title(f"{_short(name)}, {curve.objects:,} objects", fontsize=8)
    axes.grid(alpha=0.25)


def _short(name: str, most: int = 22) -> str:
    return name if len(name) <= most else name[: most - 3] + "..."


def _confusion(found: Confusion) -> Figure:
    names, counts = _largest(found)
    side = 2.6 + 0.42 * len(names)
    figure = _figure(side + 0.6, side)
    axes = figure.subplots()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    shown = [_short(name) for name in names]
    axes.set_xticks(range(len(names)), shown, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), shown, fontsize=8)
    for row, column in np.argwhere(counts > 0).tolist():
        dark = share[row, column] > 0.6
        text = f"{counts[row, column]:,}"
        colour = "white" if dark else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    axes.set_xlabel(f"class of the label; {BACKGROUND}: missed")
    axes.set_ylabel(f"true class; {BACKGROUND}: invented")
    axes.set_title("confusion at IoU 0.5; shade: share of the row", fontsize=10)
    return figure


def _largest(found: Confusion) -> tuple[list[str], np.ndarray]:
    """The classes with the most labels and objects; the others are merged into one."""
    counts = np.array(found.counts)
    if len(found.names) <= _CONFUSED + 2:
        return list(found.names), counts
    sizes = (counts.sum(axis=0) + counts.sum(axis=1))[:-1]
    kept = np.sort(np.argsort(-sizes, kind="stable")[:_CONFUSED])
    target = np.full(len(found.names), len(kept))
    target[kept] = np.arange(len(kept))
    target[-1] = len(kept) + 1
    merged = np.zeros((len(kept) + 2, len(kept) + 2), np.int64)
    np.add.at(merged, (target[:, None], target[None, :]), counts)
    others = f"({len(found.names) - 1 - len(kept)} others)"
    return [*(found.names[place] for place in kept), others, found.names[-1]], merged


def _slices(bars: Sequence[Bar], whole: Interval | None, title: str, unit: str) -> Figure | None:
    shown = [bar for bar in bars if bar.figure][:_BARS]
    if not shown:
        return None
    figure = _figure(8.0, 1.6 + 0.26 * len(shown))
    axes = figure.subplots()
    _forest(axes, shown, whole)
    axes.set_xlabel(f"{title}, % (95 %); grey: all; hollow: under {SMALL} {unit}")
    return figure


def _forest(axes: Axes, bars: Sequence[Bar], whole: Interval | None) -> None:
    for place, bar in enumerate(bars):
        if bar.figure is None:
            continue
        low, value, high = (
            100 * number for number in (bar.figure.low, bar.figure.value, bar.figure.high)
        )
        axes.plot([low, high], [place, place], color=_BLUE, linewidth=1.5)
        fill = "white" if bar.count < SMALL else _BLUE
        axes.plot(value, place, "o", color=_BLUE, markerfacecolor=fill, markersize=6)
    if whole:
        axes.axvspan(100 * whole.low, 100 * whole.high, color=_GREY, alpha=0.15, lw=0)
        axes.axvline(100 * whole.value, color=_GREY, linewidth=1)
    names = [f"{_short(bar.name, 44)}  ({bar.count:,})" for bar in bars]
    axes.set_yticks(range(len(bars)), names, fontsize=8)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.25)


def _pages(found: TextEvaluation) -> Figure:
    """Cumulative share of pages by CER, with blanks and without."""
    figure = _figure(6.0, 4.0)
    axes = figure.subplots()
    worst = 0.0
    for words, rates, whole, color in (
        ("with blanks", found.page_cers_with_blanks, found.whole.cer_with_blanks, _BLUE),
        ("without blanks", found.page_cers_without_blanks, found.whole.cer_without_blanks, _GREY),
    ):
        if rates and whole:
            cers = 100 * np.array([0.0, *rates])
            share = 100 * np.arange(len(cers)) / len(rates)
            label = f"CER {words}; of all pages {100 * whole.value:.2f} %"
            axes.step(cers, share, where="post", color=color, label=label)
            axes.axvline(100 * whole.value, color=color, linewidth=1, linestyle="--")
            worst = max(worst, float(cers[-1]))
    if axes.lines:
        axes.legend(fontsize=8, loc="lower right")
    axes.set(xlim=(0, max(worst * 1.03, 1.0)), ylim=(0, 102))
    axes.set_xlabel("CER of a page, %")
    axes.set_ylabel("pages with at most this CER, %")
    axes.set_title(f"{found.pages:,} pages", fontsize=10)
    axes.grid(alpha=0.25)
    return figure
