"""Live progress: one line per stage on a terminal, log lines otherwise."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jobs.console.terminal import Terminal
from pipelines.engine.progress import Progress

#: Seconds that a rate covers: short enough that the ETA forgets the start-up.
_WINDOW_S = 30.0
_LOG_EVERY_S = 10.0
#: Share of failed rows that the display names.
_NOTABLE = 0.01
#: Columns of a terminal with room for long bars.
_WIDE = 100


class Rates:
    """Rows per second of each counter, over the last 30 s."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[float, int]]] = {}

    def of(self, name: str, rows: int) -> float:
        """Note the counter's value and return its rate."""
        now = time.monotonic()
        seen = self._seen.setdefault(name, deque())
        seen.append((now, rows))
        while len(seen) > 2 and now - seen[0][0] > _WINDOW_S:
            seen.popleft()
        span = now - seen[0][0]
        return (rows - seen[0][1]) / span if span > 0 else 0.0


def duration(seconds: float) -> str:
    """`45 s`, `12 min 5 s`, `3 h 20 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class SparseLog:
    """Log lines for a console that is no terminal: at most one every 10 s."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._logged = time.monotonic()

    def line(self, text: str) -> None:
        """Print `text`, unless the last line is less than 10 s old."""
        if not self._console.is_terminal and time.monotonic() - self._logged >= _LOG_EVERY_S:
            self._logged = time.monotonic()
            self._console.print(text, highlight=False)


@contextmanager
def counted(console: Console, unit: str, waiting: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar with rate and ETA, or log lines. Call the result with (done, total).

    `waiting`: shown until the first call.
    """
    rates, log = Rates(), SparseLog(console)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}", markup=False))
    with RichProgress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(unit, total=None, speed=waiting)
        rates.of(unit, 0)

        def show(done: int, total: int) -> None:
            rate = rates.of(unit, done)
            eta = f", ETA {duration((total - done) / rate)}" if rate else ""
            speed = f"{rate:.1f} {unit}/s{eta}"
            bar.update(task, completed=done, total=total, speed=speed)
            log.line(f"{done:,} of {total:,} {unit}, {speed}")

        yield show


@contextmanager
def stepped(console: Console, first: str) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for several steps, or log lines. Call the result with (step, done, total)."""
    log = SparseLog(console)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with RichProgress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(first, total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)
            log.line(f"{what}: {done:,} of {total:,}")

        yield show


def say(console: Console, text: str, *, bold: bool = False) -> None:
    """Print `text` literally: without markup and without wrapping."""
    style = "bold" if bold else None
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


class RunView:
    """Progress of a run: a context manager, the `on_progress` of `pipelines.run.execute`."""

    def __init__(self, console: Console, unit: str) -> None:
        self._console = console
        self._unit = unit
        self._rates = Rates()
        self._live = (
            Live(console=console, refresh_per_second=4, transient=True)
            if console.is_terminal
            else None
        )
        self._logged = 0.0
        self._said = False

    def __enter__(self) -> RunView:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, progress: Progress) -> None:
        if progress.finishing is not None and not self._said:
            self._said = True
            say(
                self._console if self._live else Terminal(stderr=True),  # not across the live view
                f"Stopping: finishing {progress.finishing:,} {self._unit}s in flight; "
                "press Ctrl-C again to stop at once",
            )
        table, summary, stages = self._table(progress)
        if self._live:
            self._live.update(Group(table, Text(summary)))
        elif time.monotonic() - self._logged >= _LOG_EVERY_S:
            self._logged = time.monotonic()
            self._console.print(f"{summary}  |  {stages}", highlight=False, soft_wrap=True)

    def _table(self, progress: Progress) -> tuple[Table, str, str]:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for heading in ("stage", "", "done", f"{self._unit}s/s", "waiting", "failures"):
            table.add_column(heading, justify="left" if heading in ("stage", "") else "right")
        arrived = progress.owed
        log = []
        waiting_for = arrived
        for name in progress.stages:
            score = progress.scores.get(name)
            rows = score.rows if score else 0
            failures = sum(score.failures.values()) if score else 0
            rate = self._rates.of(name, rows)
            bar = ProgressBar(
                total=max(arrived, 1),
                completed=rows,
                width=24 if self._console.width >= _WIDE else 8,
            )
            counts = (
                f"{rows:,}",
                f"{rate:.1f}",
                f"{max(waiting_for - rows, 0):,}",
                f"{failures:,}",
            )
            table.add_row(name, bar, *counts)
            log.append(f"{name} {rows:,} ({rate:.1f}/s, {failures} failed)")
            waiting_for = rows
        return table, self._summary(progress, waiting_for), "  ".join(log)

    def _summary(self, progress: Progress, finished: int) -> str:
        rate = self._rates.of("finished", finished)
        left = progress.owed - finished
        eta = f"ETA {duration(left / rate)}" if rate > 0 else "starting workers"
        return (
            f"{progress.done_before + finished:,} of {progress.total:,} {self._unit}s, "
            f"{progress.committed.rows + progress.done_before:,} committed, "
            f"{_failed(progress)}"
            f"{duration(time.time() - progress.started)} elapsed, {eta}"
        )


def _failed(progress: Progress) -> str:
    """`3.1% failed, ` if it is worth a look."""
    share = progress.failed_share
    return f"{share:.1%} failed, " if share >= _NOTABLE else ""
