"""Charts as coordinates; page.html.j2 draws them as SVG. Each chart also has a table of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pipelines.report.night import Night
from pipelines.report.tally import BINS
from pipelines.report.views import Floats, Ints

_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 14.0, 30.0, 40.0
#: Ranges of a histogram: first bin, last bin, bins per bar. Most line scores are above 0.9, most
#: error rates near 0.
_WINDOWS = ((0, 100, 5), (50, 100, 2), (0, 50, 2), (80, 100, 1), (0, 20, 1))
Window = tuple[int, int, int]
Points = Sequence[tuple[float, float]]
N = TypeVar("N", np.int64, np.float64)


@dataclass(frozen=True)
class Size:
    """Size of a drawing in SVG units; the page scales it."""

    width: float = 640
    height: float = 240

    def x(self, share: float) -> float:
        """Coordinate of a share 0..1 of the horizontal axis."""
        return round(_LEFT + share * (self.width - _LEFT - _RIGHT), 1)

    def y(self, share: float) -> float:
        """Coordinate of a share 0..1 of the vertical axis, which points up."""
        return round(self.height - _BOTTOM - share * (self.height - _TOP - _BOTTOM), 1)


LARGE, SMALL = Size(), Size(320, 180)


@dataclass(frozen=True)
class Bar:
    """A rectangle with a title."""

    x: float
    y: float
    width: float
    height: float
    css: str
    title: str


@dataclass(frozen=True)
class Mark:
    """A vertical line with a caption."""

    x: float
    words: str


@dataclass(frozen=True)
class ChartLine:
    """A line through points (`x,y x,y`)."""

    points: str
    css: str


@dataclass(frozen=True)
class Table:
    """A table of formatted cells, of a chart or alone."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Chart:
    """One drawing.

    Attributes:
        title: heading.
        summary: the result in one sentence.
        x_name, y_name: names of the axes.
        x_ticks, y_ticks: (coordinate, caption).
        legend: (css class, name); empty for one series.
    """

    title: str
    summary: str
    size: Size
    x_name: str
    y_name: str
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    table: Table
    bars: Sequence[Bar] = ()
    lines: Sequence[ChartLine] = ()
    marks: Sequence[Mark] = ()
    legend: Sequence[tuple[str, str]] = ()


Series = Sequence[tuple[str, str, Ints]]  #: name, css class, (BINS + 1,) counts


def histogram(
    title: str,
    series: Series,
    *,
    of: str,
    x_name: str = "score",
    size: Size = LARGE,
    floor: tuple[float, str] | None = None,
    zoom: bool = False,
) -> Chart:
    """A histogram of 20 bars with stacked series. Unknown scores are only in summary and table.

    Args:
        title: of the chart.
        series: bottom series first.
        of: name of the counted things, plural.
        x_name: name of the horizontal axis.
        size: of the drawing.
        floor: a score to mark, and its caption.
        zoom: show the narrowest of `_WINDOWS` that covers 98 %; else 0 to 1.
    """
    total = np.sum([counts for _, _, counts in series], axis=0, initial=0) * np.ones(BINS + 1)
    window = _window(total[:BINS]) if zoom else _WINDOWS[0]
    top, ticks = _scale(float(_within(total[:BINS], window).max()), size, whole=True)
    return Chart(
        title=title,
        summary=_in_words(total, of, window),
        size=size,
        x_name=x_name,
        y_name=of,
        x_ticks=_bin_ticks(window, size),
        y_ticks=ticks,
        table=_numbers(series, x_name, window),
        bars=_stacked(series, window, top, size),
        marks=[Mark(size.x(floor[0]), floor[1])] if floor else (),
        legend=[(css, name) for name, css, _ in series] if len(series) > 1 else (),
    )


def _stacked(series: Series, window: Window, top: float, size: Size) -> list[Bar]:
    """The bars of all series, each series on top of the one before."""
    count = (window[1] - window[0]) // window[2]
    below = np.zeros(count)
    bars = []
    for name, css, all_counts in series:
        counts = _within(all_counts, window)
        for place in np.flatnonzero(counts).tolist():
            words = f"{_bin(place, window)}: {counts[place]:,} {name}"
            edges = size.x(place / count), size.x((place + 1) / count)
            bars.append(_bar(edges, below[place] / top, counts[place] / top, size, css, words))
        below = below + counts
    return bars


def _bin_ticks(window: Window, size: Size) -> list[tuple[float, str]]:
    low, high = window[0] / BINS, window[1] / BINS
    parts = 5 if window[1] - window[0] == 50 else 4
    return [(size.x(n / parts), f"{low + n / parts * (high - low):g}") for n in range(parts + 1)]


def _window(counts: Floats) -> Window:
    """The last of `_WINDOWS` that covers 98 % of the counts."""
    enough = 0.98 * counts.sum()
    return [one for one in _WINDOWS if counts[one[0] : one[1]].sum() >= enough][-1]


def _within(counts: npt.NDArray[N], window: Window) -> npt.NDArray[N]:
    """Counts of the window's bars."""
    low, high, step = window
    found: npt.NDArray[N] = counts[low:high].reshape(-1, step).sum(axis=1)
    return found


def _bar(
    edges: tuple[float, float], low: float, tall: float, size: Size, css: str, title: str
) -> Bar:
    foot, width = size.y(low), round(edges[1] - edges[0] - 1, 1)
    height = max(foot - size.y(low + tall), 1.0)  # one row of a million stays visible
    return Bar(edges[0] + 0.5, foot - height, width, round(height, 1), css, title)


def _bin(place: int, window: Window) -> str:
    start = window[0] + place * window[2]
    return f"{start / BINS:.2f} to {(start + window[2]) / BINS:.2f}"


def _in_words(total: Floats, of: str, window: Window) -> str:
    known, unknown = int(total[:BINS].sum()), int(total[BINS])
    words = [f"{known:,} {of}"]
    if known:
        half = int(np.searchsorted(np.cumsum(total[:BINS]), known / 2))
        words[0] += f", median between {half / BINS:.2f} and {(half + 1) / BINS:.2f}"
    if outside := known - int(total[window[0] : window[1]].sum()):
        words.append(f"{outside:,} outside the drawn range")
    if unknown:
        words.append(f"{unknown:,} without a score")
    return "; ".join(words)


def _numbers(series: Series, x_name: str, window: Window) -> Table:
    """A row for each bar, for counts outside the window, and for unknown scores; no empty rows."""
    low, high, step = window
    columns = [counts for _, _, counts in series]
    rows = [
        (f"below {low / BINS:.2f}", [counts[:low].sum() for counts in columns]),
        *(
            (_bin(n, window), [_within(counts, window)[n] for counts in columns])
            for n in range((high - low) // step)
        ),
        (f"{high / BINS:.2f} or more", [counts[high:BINS].sum() for counts in columns]),
        ("none", [counts[BINS] for counts in columns]),
    ]
    return Table(
        [x_name, *(name for name, _, _ in series)],
        [[words, *(f"{count:,}" for count in counts)] for words, counts in rows if any(counts)],
    )


def throughput(night: Night, unit: str) -> Chart:
    """Rows per second over the working time, one bar per interval."""
    size, total = LARGE, float(night.edges[-1])
    top, ticks = _scale(float(night.rates.max(initial=0)), size)
    bars, rows = [], []
    for start, end, rate in zip(night.edges, night.edges[1:], night.rates, strict=False):
        left, right, high = size.x(start / total), size.x(end / total), size.y(rate / top)
        gap = 0.5 if right - left > 3 else 0
        clock, words = f"{night.clock(start):%d %b %H:%M:%S}", f"{rate:,.2f} {unit}s/s"
        box = left + gap, high, round(right - left - 2 * gap, 1), round(size.y(0) - high, 1)
        bars.append(Bar(*box, "s0", f"{clock}: {words}"))
        rows.append([clock, words])
    peak, stretches = float(night.rates.max(initial=0)), len(night.spans)
    clock_of = "%H:%M:%S" if total < 1800 else "%H:%M"
    starts = night.starts[1:13].tolist()
    return Chart(
        title=f"{unit}s per second",
        summary=f"{stretches:,} working period{'' if stretches == 1 else 's'}, "
        f"peak {peak:,.2f} {unit}s/s",
        size=size,
        x_name="working time, UTC; without pauses",
        y_name=f"{unit}s/s",
        x_ticks=[(size.x(n / 4), f"{night.clock(n / 4 * total):{clock_of}}") for n in range(5)],
        y_ticks=ticks,
        table=Table(["from (UTC)", "rate"], rows),
        bars=bars,
        marks=[
            Mark(size.x(second / total), f"{night.clock(second + 0.001):%H:%M}")
            for second in starts
        ],
    )


def curves(
    title: str,
    lines: Mapping[str, Points],
    *,
    x_name: str,
    y_name: str,
    summary: str,
    left: float = 0.0,
) -> Chart:
    """Curves through points; x from `left` to 1, y from 0 to above the data."""
    size = LARGE
    top, ticks = _scale(max((y for points in lines.values() for _, y in points), default=1), size)
    drawn = [
        ChartLine(
            " ".join(f"{size.x((x - left) / (1 - left))},{size.y(y / top)}" for x, y in points),
            f"l{number % 4}",
        )
        for number, points in enumerate(lines.values())
    ]
    rows = [[name, f"{x:.3f}", f"{y:.4f}"] for name, points in lines.items() for x, y in points]
    return Chart(
        title=title,
        summary=summary,
        size=size,
        x_name=x_name,
        y_name=y_name,
        x_ticks=[(size.x(n / 5), f"{left + n / 5 * (1 - left):g}") for n in range(6)],
        y_ticks=ticks,
        table=Table(["line", x_name, y_name], rows),
        lines=drawn,
        legend=[(f"l{number % 4}", name) for number, name in enumerate(lines)],
    )


def _scale(
    most: float, size: Size, *, whole: bool = False
) -> tuple[float, list[tuple[float, str]]]:
    """Top of the vertical axis, at least `most`, and its ticks. `whole`: only whole numbers."""
    if not most > 0 or not math.isfinite(most):
        return 1.0, [(size.y(0), "0")]
    if whole and most <= 2:
        return most, [(size.y(n / most), f"{n}") for n in range(int(most) + 1)]
    power = 10 ** math.floor(math.log10(most / 2))
    step = next(f * power for f in (1, 2, 2.5, 5, 10) if f * power * 2 >= most)
    return 2 * step, [(size.y(share), _short(2 * step * share)) for share in (0, 0.5, 1)]


def _short(value: float) -> str:
    """`1.5 M`, `20 k`, `0.02`."""
    for unit, name in ((1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:.3g}"
