"""The tables at the end of a run and of `nightjar show`."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from jobs.console.fitted import FittedTable
from jobs.console.live import duration, say
from jobs.console.terminal import begun
from pipelines.evaluation.scores import Scores
from pipelines.runs.damaged import set_aside
from pipelines.runs.directory import RunDir
from pipelines.runs.session import SessionRecord
from pipelines.runs.shards import Totals
from pipelines.runs.store import Record

#: Damaged files that are named.
_NAMES = 5
_OUTCOMES = ("native_text", "ocr", "vlm", "accepted", "empty", "review", "failed")


def print_run(console: Console, run: RunDir, unit: str, total: int, counted: Totals) -> None:
    """Print pages by outcome, failures and review reasons by kind, and time by stage."""
    record = run.read_record()
    console.print()
    begun(console, record["job"], f"  {run.path}  {counted.rows:,} of {total:,} {unit}s")
    console.print(_counts(f"{unit}s by outcome", _ordered(counted.outcomes), counted.rows))
    if counted.failures:
        console.print(_counts("failures by kind", counted.failures.most_common(), counted.rows))
    review = [(n, c) for n, c in counted.reasons.most_common(12) if n not in counted.failures]
    if review:
        console.print(_counts("reasons for review", review, counted.rows))
    for session in record["sessions"][-1:]:
        console.print(_times(session, unit))
    mb = counted.bytes / 1e6
    say(console, f"{counted.shards} shards, {mb:.1f} MB: {run.shards}")
    if counted.outcomes.get("failed"):
        say(console, f"failed {unit}s only: {run.rejects}")
    if counted.retryable:
        say(console, f"{retryable(counted, unit)} (KIND: a kind above, or all)")
    _print_damage(console, run, record)


def retryable(counted: Totals, unit: str) -> str:
    """How many rows could be tried again, and the command."""
    number = counted.retryable
    have = f"{number:,} {unit}s have" if number > 1 else f"1 {unit} has"
    return f"{have} a failure; to try again: nightjar run CONFIG --retry-failed KIND"


def _print_damage(console: Console, run: RunDir, record: Record) -> None:
    damaged = set_aside(run)
    if damaged:
        names = ", ".join(damaged[:_NAMES]) + (", ..." if len(damaged) > _NAMES else "")
        say(
            console,
            f"{len(damaged):,} damaged files were moved to {run.damaged} ({names}); the rows of "
            "damaged shards were owed again",
        )
    if lost := record.get("record_lost"):
        say(
            console,
            f"run.json is new since {lost['at']}: the old one was damaged. Earlier sessions are "
            "lost, and no key but source.path was compared with the config",
        )


def _ordered(outcomes: dict[str, int]) -> list[tuple[str, int]]:
    return [(name, outcomes[name]) for name in _OUTCOMES if name in outcomes]


def _counts(title: str, counts: list[tuple[str, int]], rows: int) -> Table:
    table = FittedTable("", "", "", above=title)
    table.columns[0].min_width = 24
    table.columns[2].style = "dim"
    for name, count in counts:
        table.add_row(name, f"{count:,}", f"{100 * count / max(rows, 1):.1f} %")
    return table


def _times(session: SessionRecord, unit: str) -> Table:
    rate = session.get("rows_per_s") or 0
    title = (
        f"where the time went: {session.get('rows', 0):,} {unit}s in "
        f"{duration(session.get('seconds', 0))}, {rate:.2f} {unit}s/s"
    )
    steps_heading = "steps, s"
    headings = ("stage", "busy s", f"ms/{unit}", steps_heading)
    table = FittedTable(*headings, above=title, texts=(steps_heading,))
    table.add_row("(start-up)", f"{session.get('start_up_s', 0):.1f}", "", "")
    for name, stage in session.get("stages", {}).items():
        steps = ", ".join(f"{step} {s:.1f}" for step, s in stage["seconds"].items())
        per_row = 1000 * stage["busy_s"] / max(stage["rows"], 1)
        deaths = f", {stage['worker_deaths']} workers died" if stage["worker_deaths"] else ""
        table.add_row(name, f"{stage['busy_s']:.1f}", f"{per_row:.0f}", steps + deaths)
    table.add_row("(write)", f"{session.get('write_s', 0):.1f}", "", "")
    return table


def print_scores(console: Console, scores: Scores, truth: str) -> None:
    """Print the scores of the labels against `truth`."""
    absent = (
        f", {scores.missing:,} images of the truth are not in this run" if scores.missing else ""
    )
    title = (
        f"against {truth}: {scores.labels:,} labels for {scores.objects:,} objects "
        f"on {scores.images:,} images{absent}"
    )
    headings = ("AP", "AP@0.5", "precision", "recall", "mean IoU of matches")
    table = FittedTable("", *headings, above=title)
    both = (scores.precision, scores.recall)
    table.add_row("boxes", *map(_share, (scores.ap, scores.ap50, *both)), "")
    masks = (scores.mask_ap, scores.mask_ap50)
    table.add_row("masks", *map(_share, masks), "", "", _share(scores.mask_iou))
    console.print(table)
    worst = sorted(scores.per_class.items(), key=lambda item: item[1])[:5]
    if worst and worst[0][1] < 1:
        shown = ", ".join(f"{name} {value:.2f}" for name, value in worst if value < 1)
        console.print(f"lowest AP@0.5 by class: {shown}")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
