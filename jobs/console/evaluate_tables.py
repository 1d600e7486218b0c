"""The tables of `nightjar evaluate` for labels; `evaluate_texts` has those for pages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table

from jobs.console.fitted import FittedTable
from jobs.console.live import say
from jobs.console.terminal import marked
from pipelines.calibration.label_trial import Figures
from pipelines.evaluation.confusion import BACKGROUND, Confusion
from pipelines.evaluation.labels import AP, LabelEvaluation, LabelFigures
from pipelines.evaluation.thresholds import HeldOut
from pipelines.measures.intervals import Interval
from pipelines.storage.paths import RunPath
from pipelines.truth.slices import SMALL

_CLASSES = 40  #: most rows of a table; the JSON has all classes
_CONFUSED = 5


def print_labels(console: Console, found: LabelEvaluation, run: RunPath, truth: str) -> None:
    """Print the evaluation of an autolabel run."""
    objects = found.whole.ap.objects
    absent = f", {found.missing:,} images of the truth are not in this run" if found.missing else ""
    rejected = f", {found.rejected:,} rejected in review and left out" if found.rejected else ""
    say(
        console,
        f"{run} against {truth}: {found.whole.labels:,} labels for {objects:,} objects on "
        f"{found.images:,} images{absent}{rejected}",
        bold=True,
    )
    console.print(_aps(found), markup=False)
    console.print(_classes(found), markup=False)
    if any(one.ap.objects < SMALL for one in found.classes.values()):
        say(console, f"* fewer than {SMALL} objects: too few for a reliable figure")
    if len(found.classes) > _CLASSES:
        say(console, f"... and {len(found.classes) - _CLASSES} more classes, see evaluation.json")
    rows = [(s.column, s.value, s.small, list(_of_labels(s.figures, True))) for s in found.slices]
    print_slices(console, rows, ("images", *_LABEL_HEADINGS))
    if found.thresholds:
        _print_thresholds(console, found.thresholds)
    _print_confused(console, found.confusion)
    if found.unnamed:
        names = ", ".join(found.unnamed)
        say(console, f"classes that are not in the truth, left out: {names}")
    warn(console, found.warnings)


_LABEL_HEADINGS = ("labels", "objects", "AP", "AP@0.5", "precision", "recall", "F1")


def _aps(found: LabelEvaluation) -> Table:
    """AP of boxes and masks, by object size, and of boxes with the candidates."""
    table = FittedTable("", "objects", "AP", "AP@0.5")
    table.add_row("boxes", *_ap(found.whole.ap))
    for name, one in found.sizes.items():
        if one.objects:
            table.add_row(f"  {name}", *_ap(one))
    if found.everything:
        name = f"boxes with {found.candidates:,} candidates"
        table.add_row(name, *_ap(found.everything))
    for name, one in found.masks.items():
        if one.objects:
            table.add_row("masks" if name == "all" else f"  {name}", *_ap(one))
    return table


def _ap(one: AP) -> Iterator[str]:
    yield f"{one.objects:,}"
    yield shown(one.ap)
    yield shown(one.ap50)


def _classes(found: LabelEvaluation) -> Table:
    table = FittedTable("class", *_LABEL_HEADINGS)
    for name, one in list(found.classes.items())[:_CLASSES]:
        small = one.ap.objects < SMALL
        table.add_row(f"{name} *" if small else name, *_of_labels(one, False))
    table.add_section()
    table.add_row("all", *_of_labels(found.whole, False))
    return table


def _of_labels(one: LabelFigures, images: bool) -> Iterator[str]:
    if images:
        yield f"{one.images:,}"
    yield f"{one.labels:,}"
    yield from _ap(one.ap)
    yield shown(one.precision)
    yield shown(one.recall)
    yield "-" if one.f1 is None else f"{one.f1:.3f}"


def print_slices(
    console: Console, rows: Sequence[tuple[str, str, bool, list[str]]], headings: Sequence[str]
) -> None:
    """A table for each column. `rows`: column, value, whether the slice is small, cells."""
    for column, parts in groupby(rows, key=lambda row: row[0]):
        table = FittedTable(f"by {column}", *headings)
        some_small = False
        for _, value, small, cells in parts:
            some_small |= small
            cells[0] += " *" if small else ""
            table.add_row(value, *cells, style="dim" if small else None)
        console.print(table, markup=False)
        if some_small:
            say(console, f"* fewer than {SMALL}: too few to compare slices")


def _print_thresholds(console: Console, found: HeldOut) -> None:
    chose, held = found.images
    say(
        console,
        f"thresholds with the best F1, chosen on {chose:,} images, measured on the other {held:,}",
    )
    table = FittedTable("class", "objects", "threshold", "precision", "recall", "F1")
    for one in found.classes[:_CLASSES]:
        chosen = "none" if one.chosen is None else f"{one.chosen:.4g}"
        objects = f"{one.objects[0]:,} / {one.objects[1]:,}"
        table.add_row(one.name, objects, f"{one.now:g} -> {chosen}", *_gain(one.before, one.after))
    table.add_section()
    table.add_row("these classes", "", "", *_gain(found.before, found.after))
    console.print(table, markup=False)
    if found.too_few:
        names = ", ".join(f"{name} ({count})" for name, count in found.too_few.items())
        say(console, f"too few objects for a threshold: {names}")


def _gain(before: Figures, after: Figures) -> Iterator[str]:
    yield f"{_point(before.precision)} -> {shown(after.precision)}"
    yield f"{_point(before.recall)} -> {shown(after.recall)}"
    f1 = (before.f1, after.f1)
    yield " -> ".join("-" if one is None else f"{one:.3f}" for one in f1)


def _print_confused(console: Console, found: Confusion) -> None:
    """Missed objects, labels on background, and the most frequent confusions of classes."""
    last = len(found.names) - 1
    pairs = [
        (found.counts[row][column], found.names[row], found.names[column])
        for row in range(last)
        for column in range(last)
        if row != column and found.counts[row][column]
    ]
    missed = sum(row[last] for row in found.counts)
    say(console, f"missed: {missed:,}; labels on {BACKGROUND}: {sum(found.counts[last]):,}")
    for count, true, said in sorted(pairs, key=lambda pair: -pair[0])[:_CONFUSED]:
        say(console, f"wrong class: {count:,} {true} labelled {said}")


def warn(console: Console, warnings: Sequence[str]) -> None:
    """Print each warning, marked."""
    for warning in warnings:
        marked(console, "Warning", warning)


def _point(figure: Interval | None) -> str:
    return "-" if figure is None else f"{figure.value:.3f}"


def shown(figure: Interval | None) -> str:
    """`0.912 (0.88 .. 0.94)`; the value alone if there is no interval."""
    if figure is None:
        return "-"
    if math.isnan(figure.low):  # one file has no interval
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.low:.2f} .. {figure.high:.2f})"
