"""The picture of a calibration: risk curves, calibrated and naive, and reliability."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from pipelines.calibration.held_out import Bin, Curve, Curves, reliability
from pipelines.calibration.pages import Report
from pipelines.measures.risk import SHARES

_OURS, _NAIVE, _GREY = "#0b6e99", "#b3541e", "#666666"
#: Lower end of the logarithmic axes: below one wrong character in 2,000 differences are chance.
_LEAST = 0.05  # percent


def draw(report: Report, drawn: Curves, path: Path | IO[bytes]) -> None:
    """Write a PNG of 1,500 x 675 pixels. `drawn`: `pipelines.calibration.held_out.curves` of it."""
    figure = Figure(figsize=(10, 4.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _risk(left, report, drawn)
    _reliable(right, reliability(report))
    made = report.calibration
    figure.suptitle(
        f"{made.engine}: {made.pages} pages of {made.files} files, held out by file", fontsize=11
    )
    figure.savefig(path, format="png")


def _risk(axes: Axes, report: Report, drawn: Curves) -> None:
    _banded(axes, drawn.naive, _NAIVE, "page-mean score", "--")
    _banded(axes, drawn.ours, _OURS, "calibrated", "-")
    target, held = 100 * report.calibration.target_cer, report.calibration.held_out
    axes.axhline(target, color=_GREY, linewidth=0.8, linestyle=":")
    axes.annotate(
        f"target {target:g} %",
        (1, target),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 3),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=_GREY,
    )
    if held.cer:
        x, y = 100 * (1 - held.share_accepted.value), 100 * held.cer.value
        axes.errorbar(
            [x],
            [y],
            xerr=[
                [x - 100 * (1 - held.share_accepted.high)],
                [100 * (1 - held.share_accepted.low) - x],
            ],
            yerr=[[y - 100 * held.cer.low], [100 * held.cer.high - y]],
            fmt="o",
            color="black",
            markersize=5,
            linewidth=1,
            capsize=2,
            label=f"chosen floor {report.calibration.floor:.4g}"
            if report.calibration.floor is not None
            else "floors of the folds",
        )
    axes.set_xlabel("pages escalated, %")
    axes.set_ylabel("CER of the accepted pages, %")
    axes.set_xlim(0, 100 * (1 - SHARES[0]))
    axes.set_ylim(bottom=0)
    axes.set_title("risk, with 95 % intervals over files", fontsize=10)
    axes.legend(fontsize=8, frameon=False)


def _banded(axes: Axes, curve: Curve, colour: str, name: str, style: str) -> None:
    escalated = 100 * (1 - SHARES)
    axes.fill_between(escalated, 100 * curve.low, 100 * curve.high, color=colour, alpha=0.15, lw=0)
    axes.plot(escalated, 100 * curve.value, style, color=colour, label=name)


def _reliable(axes: Axes, bins: list[Bin]) -> None:
    x = np.maximum([100 * one.expected for one in bins], _LEAST)
    y, low, high = (
        np.maximum([100 * getattr(one.observed, name) for one in bins], _LEAST)
        for name in ("value", "low", "high")
    )
    ends = (max(_LEAST, 0.7 * min([1.0, *x, *low])), 1.3 * max([1.0, *x, *high]))
    axes.plot(ends, ends, ":", color=_GREY, linewidth=0.8, label="as expected")
    axes.errorbar(
        x, y, yerr=[y - low, high - y], fmt="o", color=_OURS, markersize=5, linewidth=1, capsize=2
    )
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("expected CER, %")
    axes.set_ylabel("true CER, %")
    pages = sum(one.pages for one in bins) / max(len(bins), 1)
    axes.set_title(f"reliability, bins of about {pages:.0f} pages", fontsize=10)
    axes.legend(fontsize=8, frameon=False, loc="upper left")
