"""`nightjar calibrate`: learn from a labelled sample of a run how far its scores can be trusted."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from jobs.console.fitted import FittedTable
from jobs.console.live import SparseLog
from jobs.console.terminal import begun, marked
from pipelines.calibration.held_out import Curves, as_the_run_did, curves, routed, with_other_rules
from pipelines.calibration.pages import CONFIDENCE, Report, calibrate, shown
from pipelines.calibration.plot import draw
from pipelines.calibration.sample import Samples, read_samples
from pipelines.decisions.error_model import Calibration
from pipelines.errors import ConfigError
from pipelines.measures.intervals import Interval
from pipelines.runs.directory import RunDir
from pipelines.storage.output_errors import output_errors
from pipelines.storage.paths import RunPath, write_whole
from pipelines.truth.page_match import PageTruth
from pipelines.truth.pages import read_truths

_TARGET_CER = 0.02
#: --cer -> `blanks` of `read_samples`.
_BLANKS = {None: None, "auto": None, "with-blanks": True, "without-blanks": False}
#: Shares of escalated pages for which both curves are printed.
_ESCALATED = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
#: Why white space is left out although nobody asked for it.
_UNRELIABLE = ", because the blanks of some truth are not reliable"
_NAMES = 5  #: most file names in a message


@dataclass(frozen=True)
class Asked:
    """Options of the command; None: not given.

    `repeats`: of the cross-validation. `cer`: a key of `_BLANKS`.
    """

    truth: str
    target_cer: float | None = None
    target_precision: float | None = None
    out: Path | None = None
    language: str | None = None
    seed: int = 0
    repeats: int | None = None
    confidence: float | None = None
    cer: str | None = None


def command(console: Console, run_dir: str | Path, asked: Asked) -> None:
    """Calibrate pages or labels, depending on the run's job."""
    run = RunDir(run_dir)
    job = run.read_record()["job"]
    if job == "autolabel":
        if any(
            x is not None for x in (asked.target_cer, asked.language, asked.confidence, asked.cer)
        ):
            raise ConfigError(
                f"{run_dir} is an autolabel run and has no text",
                "use --target-precision for labels; --target-cer, --confidence, --cer and "
                "--language are for pages",
            )
        from jobs.commands.calibrate_labels import labels

        labels(console, run, asked.truth, asked.target_precision, asked.out, asked.seed)
        return
    if asked.target_precision is not None:
        raise ConfigError(
            f"{run_dir} is a run of {job}: pages have no precision",
            "use --target-cer for pages; --target-precision is for labels of autolabel",
        )
    _pages(console, run, asked)


def _pages(console: Console, run: RunDir, asked: Asked) -> None:
    truths = read_truths(run, asked.truth)
    samples = read_samples(run, truths, blanks=_BLANKS[asked.cer])
    _print_matched(console, samples, truths)
    target = _TARGET_CER if asked.target_cer is None else asked.target_cer
    files = _files(run, asked.out, list(samples.by_engine))
    written = []
    for engine, sample in samples.by_engine.items():
        with _shown(console) as on_fold:
            report = calibrate(
                sample,
                target,
                confidence=CONFIDENCE if asked.confidence is None else asked.confidence,
                language=asked.language,
                seed=asked.seed,
                repeats=asked.repeats,
                on_fold=on_fold,
            )
        drawn = curves(report)
        _print_report(console, report, drawn, asked.cer)
        _write(report, drawn, files[engine])
        console.print(f"written: {files[engine]} and .png", markup=False, soft_wrap=True)
        written.append((report, files[engine]))
    _print_config(console, written, target)


def _files(run: RunDir, out: Path | None, engines: list[str]) -> dict[str, RunPath]:
    """The calibration file of each engine."""
    if out is None:
        return {engine: run.path / "calibration" / f"{engine}.json" for engine in engines}
    if len(engines) > 1:
        raise ConfigError(
            f"the run has readings of {len(engines)} engines: {', '.join(engines)}",
            "leave --out out: each engine gets a file in RUN/calibration",
        )
    return {engines[0]: out if out.suffix == ".json" else out.with_name(out.name + ".json")}


def _write(report: Report, drawn: Curves, path: RunPath) -> None:
    """Write the plot, then the JSON. Both appear complete or not at all."""
    picture = io.BytesIO()
    draw(report, drawn, picture)
    with output_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path.with_suffix(".png"), picture.getvalue())
        write_whole(path, (report.calibration.model_dump_json(indent=1) + "\n").encode())


def _print_matched(console: Console, samples: Samples, truths: list[PageTruth]) -> None:
    """Print how much of the truth is used, and why the rest is not."""
    matched = samples.matched
    used = sum(len(sample) for sample in samples.by_engine.values())
    console.print(f"{used:,} of {len(truths):,} truths match a page with text", highlight=False)
    for why, count in samples.left_out.most_common():
        console.print(f"  left out: {count:,} {why}", highlight=False)
    if matched.unused:
        names = ", ".join(matched.unused[:_NAMES])
        more = " ..." if len(matched.unused) > _NAMES else ""
        console.print(
            f"  {len(matched.unused):,} match no page of the run: {names}{more}",
            markup=False,
            highlight=False,
        )
    blank = sum(not truth.lines and truth.verdict is None for truth in truths)
    if blank:
        console.print(f"  {blank:,} are empty: counted as blank pages", highlight=False)


def _print_report(console: Console, report: Report, drawn: Curves, cer: str | None) -> None:
    made = report.calibration
    weighed = [name for name in made.features if made.weighs(name)]
    console.print()
    begun(
        console,
        made.engine,
        f"  {made.pages:,} pages of {made.files:,} files, {made.characters:,} characters; uses "
        f"{', '.join(weighed) or 'nothing: no score helps'}",
    )
    _print_promise(console, made, cer)
    console.print(_held_out(report))
    _print_curves(console, drawn)
    for warning in report.warnings:
        marked(console, "Warning", warning)


def _print_promise(console: Console, made: Calibration, cer: str | None) -> None:
    """Print which CER is meant, and what the floor promises."""
    kind = made.kind_of_cer()
    because = "" if made.counts_blanks or cer == "without-blanks" else _UNRELIABLE
    console.print(f"CER: {kind}{because}", highlight=False)
    if found := made.promise(made.target_cer):
        console.print(
            f"promised with a confidence of {100 * made.confidence:g} %: at most "
            f"{100 * made.target_cer:g} % CER {kind}\nexpected: {100 * found.expected_cer:.2f} %, "
            f"with {100 * found.share:.0f} % of the pages accepted; lowest target of this sample: "
            f"{100 * made.promises[0].promised_cer:.2f} %",
            highlight=False,
        )


def _held_out(report: Report) -> Table:
    """Pages accepted and their CER by each rule."""
    made, held = report.calibration, report.calibration.held_out
    table = FittedTable("on held-out files", "pages accepted", "CER of accepted (95 %)")
    floor = "no floor" if made.floor is None else f"floor {made.floor:g}"
    table.add_row(f"calibrated, {floor}", shown(held.share_accepted), shown(held.cer))
    both = with_other_rules(report)
    table.add_row("... with the other review rules", shown(both.share), shown(both.cer))
    table.add_row(
        "page mean, same number of pages", _percent(held.share_accepted), shown(held.naive_cer)
    )
    own = routed(report.sample, report.trial.naive_floor, report.seed)
    table.add_row("page mean, same target", shown(own.share), shown(own.cer))
    now = as_the_run_did(report)
    table.add_row("as routed in this run", shown(now.share), shown(now.cer))
    table.add_row("all pages", "100 %", shown(held.cer_of_all))
    return table


def _print_curves(console: Console, drawn: Curves) -> None:
    table = FittedTable("escalated", "calibrated", "page mean", "improvement")
    for escalated in _ESCALATED:
        share = 1 - escalated
        figures = (drawn.ours.at(share), drawn.naive.at(share), drawn.saved.at(share))
        table.add_row(f"{100 * escalated:.0f} %", *map(shown, figures))
    console.print("CER of the accepted pages (95 %), by share of escalated pages")
    console.print(table)


def _percent(figure: Interval) -> str:
    return f"{100 * figure.value:.2f} %"


def _print_config(console: Console, written: list[tuple[Report, RunPath]], target: float) -> None:
    """Print the keys for the config of the next run."""
    paths = [path for made, path in written if made.calibration.floor is not None]
    if not paths:
        console.print("\nNothing for a config: no floor promises the target.")
        return
    listed = str(paths[0]) if len(paths) == 1 else f"[{', '.join(map(str, paths))}]"
    console.print("\nIn the config of the next run:\n")
    lines = (
        "routing:",
        "  accept:",
        f"    target_cer: {target:g}",
        f"    calibration: {listed}",
    )
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _shown(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A progress bar over the folds, or a log line every 10 s without a terminal."""
    log = SparseLog(console)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("cross-validation, folds", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)
            log.line(f"cross-validation: {done} of {total} folds")

        yield show
