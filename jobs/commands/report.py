"""`nightjar report`, also called at the end of a run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from jobs.console.live import stepped
from jobs.console.terminal import marked
from pipelines.report.write import NAME, Limits, write_report
from pipelines.runs.directory import RunDir

#: After a run: time limit for the counts and again for the pictures.
_AFTER_RUN_S = 20.0
#: After a run: time limit for the whole process.
_PATIENCE_S = 90.0


def command(
    console: Console, run_dir: str | Path, out: Path | None, *, samples: int, seconds: float
) -> None:
    """`nightjar report`."""
    begun = time.monotonic()
    with stepped(console, "reading shards") as on_step:
        limits = Limits(samples=samples, seconds=seconds)
        written = write_report(RunDir(run_dir), out, limits, on_step)
    counted = f"{written.rows:,} rows"
    if written.rows < written.all_rows:
        counted += f" of {written.all_rows:,} (time limit reached; raise --seconds)"
    console.print(
        f"{counted}, {written.samples:,} samples, {written.pictures:,} with a picture, "
        f"{written.bytes / 1e6:.1f} MB in {time.monotonic() - begun:.1f} s: {written.path}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def after_run(console: Console, run: RunDir, *, fresh: bool) -> None:
    """Write RUN/report.html at the end of a run. Every error is only a warning.

    Runs in a separate process, so that the run survives a picture that crashes its decoder, a
    bucket that hangs, or a report that runs out of memory.

    `fresh`: the run has new rows. Without new rows an existing report is kept.
    """
    path = run.path / NAME
    if path.exists() and not fresh:
        return
    argv = [sys.executable, "-m", "jobs.cli", "report", str(run.path)]
    argv += ["--seconds", f"{_AFTER_RUN_S:g}"]
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            env=os.environ | run.environment(),
        )
        why = "" if done.returncode == 0 else _last_line(done.stderr)
    except (OSError, subprocess.TimeoutExpired) as error:
        why = f"{error}"
    if not why:
        console.print(f"report: {path}", markup=False, highlight=False, soft_wrap=True)
        return
    marked(console, "No report", why)
    console.print(
        f"The run is complete. To try again: nightjar report {run.path}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "the report's process ended without a message"
