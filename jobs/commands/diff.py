"""`nightjar diff`: differences between two runs, as tables and JSON lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from jobs.console.fitted import FittedTable
from jobs.console.live import SparseLog, say
from jobs.console.terminal import marked, one_line
from pipelines.diff.labels import SAME_SCORE, STILL_IOU, ChangeKind
from pipelines.diff.runs import DiffSummary, diff_runs
from pipelines.errors import ConfigError
from pipelines.runs.directory import RunDir
from pipelines.truth.page_found import RATES, RATES_IN_ORDER

#: Heading -> the counts to divide; "-" where the truth does not tell.
_RATES = {
    "CER with blanks": RATES["cer_with_blanks"],
    "CER without": RATES["cer_without_blanks"],
    "WER": RATES["wer"],
    "NED in order": RATES_IN_ORDER["ned"],
    "wrong successors": RATES_IN_ORDER["wrong_successors"],
}
_LEGEND = (
    "CER: wrong characters; with blanks, a run of white space counts as one blank; without, all of "
    "it is left out. WER: wrong words (jiwer). Lines may be in any order. NED: edits of the text "
    "in reading order, with blanks. -: the truth does not tell."
)
_SETTINGS = 15  #: most lines of settings
_CLASSES = 30  #: most rows of a table
_TEXT_LINES = 4  #: most lines of one page's unified diff


def command(
    console: Console,
    run_a: str | Path,
    run_b: str | Path,
    truth: str | None,
    out: Path | None,
) -> None:
    """`nightjar diff`."""
    if out is not None and out.is_dir():
        raise ConfigError(f"--out {out} is a directory", "name a file, such as diff.jsonl")
    with _shown(console) as on_rows:
        found = diff_runs(RunDir(run_a), RunDir(run_b), truth, out, on_rows)
    unit = "image" if found.job == "autolabel" else "page"
    say(console, f"{run_a} -> {run_b}: {found.both:,} {unit}s in both", bold=True)
    _print_rows(console, found, unit)
    _print_settings(console, found.settings)
    console.print(_outcomes(found, unit), markup=False)
    if found.job == "autolabel":
        _print_labels(console, found)
    else:
        _print_texts(console, found)
    if truth is not None:
        _print_truth(console, found, truth, unit)
    _print_listed(console, "changed most", found.changes)
    if out is not None:
        say(console, f"written: {out}, worst first")


def _print_rows(console: Console, found: DiffSummary, unit: str) -> None:
    for count, name in zip(found.only, ("first", "second"), strict=True):
        if count:
            say(console, f"  {count:,} {unit}s in the {name} run only")
    if found.new_files:
        say(
            console,
            f"  {found.new_files:,} {unit}s of files that changed between the runs: their "
            "differences may come from the file",
        )
    if found.unknown_files:
        say(console, f"  {found.unknown_files:,} {unit}s without an etag: the file may differ")
    say(console, f"  {found.changed:,} {unit}s differ")


def _print_settings(console: Console, settings: Sequence[str]) -> None:
    if not settings:
        return
    say(console, "different settings and weights:")
    for line in settings[:_SETTINGS]:
        say(console, f"  {line if len(line) <= 160 else line[:157] + '...'}")
    if len(settings) > _SETTINGS:
        say(console, f"  ... and {len(settings) - _SETTINGS} more")


def _outcomes(found: DiffSummary, unit: str) -> Table:
    """Counts of outcomes: before in rows, after in columns."""
    names = sorted({name for pair in found.outcomes for name in pair})
    table = FittedTable(f"{unit}s, before \\ after", *names)
    for before in names:
        counts = [found.outcomes[before, after] for after in names]
        table.add_row(before, *(f"{count:,}" if count else "." for count in counts))
    return table


def _print_labels(console: Console, found: DiffSummary) -> None:
    kinds = ["same", *(kind.value for kind in ChangeKind)]
    classes = sorted({name for _, name in found.labels})
    table = FittedTable("labels", *kinds)
    for name in classes[:_CLASSES]:
        table.add_row(name, *(f"{found.labels[kind, name]:,}" for kind in kinds))
    table.add_section()
    totals = [sum(found.labels[kind, name] for name in classes) for kind in kinds]
    table.add_row("all", *(f"{count:,}" for count in totals))
    console.print(table, markup=False)
    say(
        console,
        f"moved: IoU of the boxes below {STILL_IOU}; reshaped: IoU of the masks below "
        f"{STILL_IOU}; rescored: score differs by {SAME_SCORE} or more",
    )
    for (before, after), count in found.relabelled.most_common(5):
        say(console, f"  relabelled: {count:,} {before} -> {after}")


def _print_texts(console: Console, found: DiffSummary) -> None:
    distance, size = found.characters["distance"], max(found.characters["before"], 1)
    say(
        console,
        f"texts: {found.texts['same']:,} the same, {found.texts['changed']:,} changed "
        f"({found.texts['spacing']:,} of them in spacing or case only); "
        f"{distance:,} characters, {100 * distance / size:.2f} % of the text before",
    )


def _print_truth(console: Console, found: DiffSummary, truth: str, unit: str) -> None:
    same = found.judged - found.better - found.worse
    say(
        console,
        f"against {truth}: {found.judged:,} {unit}s, {found.worse:,} worse, {found.better:,} "
        f"better, {same:,} equal",
        bold=True,
    )
    if found.judged:
        _print_totals(console, found)
    for warning in found.warnings:
        marked(console, "Warning", warning)
    _print_listed(console, f"regressions ({found.unit})", found.regressions)
    _print_listed(console, f"improvements ({found.unit})", found.improvements)


def _print_totals(console: Console, found: DiffSummary) -> None:
    """Counts of labels, or rates of texts, before and after."""
    if found.job == "autolabel":
        names = list(dict.fromkeys([*found.truth[0], *found.truth[1]]))
        rows = [[f"{counts[name]:,}" for name in names] for counts in found.truth]
    else:
        names = list(_RATES)
        rows = [_rates(counts) for counts in found.truth]
    table = FittedTable("", *names)
    for side, cells in zip(("before", "after"), rows, strict=True):
        table.add_row(side, *cells)
    console.print(table, markup=False)
    if found.job != "autolabel":
        say(console, _LEGEND)


def _rates(counts: Counter[str]) -> list[str]:
    parts = ((counts[over], counts[under]) for over, under in _RATES.values())
    return [f"{100 * over / under:.2f} %" if under else "-" for over, under in parts]


def _print_listed(console: Console, title: str, records: Sequence[dict[str, Any]]) -> None:
    if not records:
        return
    headings = ("outcome", "errors", "changes")
    table = FittedTable(title, *headings, texts=headings)
    for record in records:
        before, after = record["outcome"]
        outcome = before if before == after else f"{before} -> {after}"
        errors = " -> ".join(map(str, record["truth"]["errors"])) if "truth" in record else ""
        page = f" page {record['page']}" if record["page"] != 1 else ""
        changed = "file changed; " if record["file"] == "changed" else ""
        table.add_row(one_line(record["uri"]) + page, outcome, errors, changed + _what(record))
    console.print(table, markup=False)


def _what(record: dict[str, Any]) -> str:
    """The changes of a row in a few words, or the first lines of its text diff."""
    misplaced = record.get("truth", {}).get("wrong_successors", [0, 0])
    if "labels" in record:
        shown = [_label(one) for one in record["labels"][:3]]
        more = len(record["labels"]) - len(shown)
        return "; ".join(shown) + (f"; {more} more" if more else "")
    if "text" in record:
        of = record["text"]
        lines = [line for line in of["diff"] if not line.startswith("@@")][:_TEXT_LINES]
        order = "{} -> {} wrong successors, ".format(*misplaced) if any(misplaced) else ""
        return f"{order}{of['distance']:,} characters\n" + "\n".join(line[:70] for line in lines)
    return ""


def _label(change: dict[str, Any]) -> str:
    before, after = change["class"]
    name = f"{before} -> {after}" if before and after and before != after else before or after
    return f"{'+'.join(change['kinds'])} {name}"


@contextmanager
def _shown(console: Console) -> Iterator[Callable[[int], None]]:
    """A counter, or a log line every 10 s without a terminal."""
    log = SparseLog(console)
    with console.status("reading both runs") as status:

        def show(rows: int) -> None:
            status.update(f"comparing: {rows:,} rows")
            log.line(f"comparing: {rows:,} rows")

        yield show
