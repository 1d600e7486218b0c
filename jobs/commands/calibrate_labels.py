"""`nightjar calibrate` for labels: a threshold for each class, also as YAML for a config."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from jobs.console.fitted import FittedTable
from jobs.console.terminal import begun, marked
from pipelines.calibration.label_trial import Figures, GroupThreshold
from pipelines.calibration.labels import (
    FEWEST,
    AveragePrecision,
    Thresholds,
    calibrate_detections,
)
from pipelines.measures.intervals import Interval
from pipelines.runs.directory import RunDir
from pipelines.storage.output_errors import output_errors
from pipelines.truth.labels import read_beside_truth


def labels(
    console: Console,
    run: RunDir,
    truth: str | Path,
    target_precision: float | None,
    out: Path | None,
    seed: int,
) -> None:
    """Print the thresholds with their precision and recall. `out`: a file for the YAML."""
    with console.status("choosing thresholds, cross-validated over images"):
        found = calibrate_detections(read_beside_truth(run, truth), target_precision, seed)
    goal = "the best F1" if target_precision is None else f"precision {target_precision:g}"
    absent = f", {found.missing:,} images of the truth are not in this run" if found.missing else ""
    absent += f", {found.rejected:,} rejected in review and left out" if found.rejected else ""
    begun(
        console,
        str(run.path),
        f" against {truth}: {found.images:,} images{absent}; thresholds for {goal}, at IoU 0.5, "
        "measured on held-out images (95 %)",
    )
    console.print(_table(found))
    _print_rest(console, found, target_precision)
    snippet = "\n".join(yaml_of(found))
    if not snippet:
        console.print("\nNothing for a config: no threshold could be chosen.")
        return
    console.print("\nIn the config of the next run:\n")
    console.print(snippet, markup=False, highlight=False, soft_wrap=True)
    if out:
        with output_errors(out):
            out.write_text(snippet + "\n")
        console.print(f"written: {out}", markup=False, soft_wrap=True)


def _table(found: Thresholds) -> Table:
    table = FittedTable("class", "objects", "threshold", "precision", "recall", "F1", "AP")
    for group in found.own:
        name = group.members[0]
        table.add_row(name, *_row(group, f"{found.now[name]:g}", found.ap_of.get(name)))
    if found.shared:
        thresholds = sorted({found.now[name] for name in found.shared.members})
        now = f"{thresholds[0]:g}" if len(thresholds) == 1 else "mixed"
        name = f"{len(found.shared.members)} others together"
        table.add_row(name, *_row(found.shared, now, None))
    table.add_row("all classes", "", "", "", "", "", _aps(found.ap))
    return table


def _row(group: GroupThreshold, now: str, ap: AveragePrecision | None) -> Iterator[str]:
    chosen = "none" if group.threshold is None else f"{group.threshold:.4g}"
    before, after = group.before, group.after
    yield f"{group.objects:,}"
    yield f"{now} -> {chosen}"
    yield f"{_point(before.precision)} -> {_interval(after.precision)}"
    yield f"{_point(before.recall)} -> {_interval(after.recall)}"
    yield f"{_f1(before)} -> {_f1(after)}"
    yield _aps(ap) if ap else ""


def _aps(ap: AveragePrecision) -> str:
    return f"{_share(ap.before)} -> {_share(ap.after)} (all candidates {_share(ap.candidates)})"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _f1(figures: Figures) -> str:
    return _share(figures.f1)


def _point(figure: Interval | None) -> str:
    return _share(figure.value if figure else None)


def _interval(figure: Interval | None) -> str:
    return f"{figure.value:.3f} ({figure.low:.2f} .. {figure.high:.2f})" if figure else "-"


def _print_rest(console: Console, found: Thresholds, target: float | None) -> None:
    """Print the classes without a threshold of their own, with the reason, and the warnings."""
    if found.too_few:
        names = ", ".join(f"{name} ({count})" for name, count in found.too_few.items())
        what = "they share one" if found.shared else "they keep their threshold"
        console.print(
            f"fewer than {FEWEST} objects, too few for a threshold of their own: {names}; {what}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    if found.unnamed:
        names = ", ".join(found.unnamed)
        console.print(
            f"classes that are not in the truth keep their threshold: {names}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    groups = [*found.own, *([found.shared] if found.shared else [])]
    without = [name for one in groups if one.threshold is None for name in one.members]
    if without and target is not None:
        console.print(
            f"no threshold reaches precision {target:g}: {', '.join(without)}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    for warning in found.warnings:
        marked(console, "Warning", warning)


def yaml_of(found: Thresholds) -> Iterator[str]:
    """Lines of YAML with the chosen thresholds; empty if none was chosen."""
    shared = found.shared if found.shared and found.shared.threshold is not None else None
    chosen = [group for group in found.own if group.threshold is not None]
    if shared or chosen:
        yield "detector:"
        yield "  ontology:"
    if shared:
        count, objects = len(shared.members), shared.objects
        yield f"    threshold: {shared.threshold:.9g}  # {count} classes, {objects} objects"
    if chosen:
        yield "    classes:"
    for group in chosen:
        key = yaml.safe_dump(
            {group.members[0]: {"threshold": float(f"{group.threshold:.9g}")}},
            default_flow_style=None,
            allow_unicode=True,
            width=1000,
        ).strip()
        after = group.after
        yield (
            f"      {key}  # {group.objects} objects: precision {_point(after.precision)}, "
            f"recall {_point(after.recall)}"
        )
