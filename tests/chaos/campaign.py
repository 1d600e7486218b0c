"""The chaos suite: `make chaos`. Faults strike nights of small models, one night after the other.

    python -m chaos.campaign [--faults 1000] [--minutes 50] [--only NAME ...] [--fresh]

The nights so far are kept in the results file. The next start of the command goes on after them,
until so many faults were injected. Minutes lost are those beyond an undisturbed night.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from chaos.fault import Fault
from chaos.faults_of_data import BrokenWorker, HangingPage, PoisonPage
from chaos.faults_of_files import RendererKilled, ShardTorn, SourceGone
from chaos.faults_of_processes import (
    ActorKilled,
    AskedToStop,
    DriverKilled,
    EverythingKilled,
    LeakingWorker,
    NodeKilled,
    RayletKilled,
)
from chaos.faults_of_services import FallbackKilled, FallbackRefuses, FullDisk
from chaos.faults_of_stores import KeyRevoked, StoreDown, UnreliableStore
from chaos.night import Outcome, log_of, one_night

FAULTS: tuple[type[Fault], ...] = (
    UnreliableStore,
    ActorKilled,
    DriverKilled,
    EverythingKilled,
    AskedToStop,
    RayletKilled,
    NodeKilled,
    KeyRevoked,
    StoreDown,
    SourceGone,
    FullDisk,
    ShardTorn,
    RendererKilled,
    BrokenWorker,
    LeakingWorker,
    FallbackKilled,
    FallbackRefuses,
    PoisonPage,
    HangingPage,
)
#: Faults with one hostile page a night, which fails by itself. Every other failed row fails for the
#: fault.
_HOSTILE_PAGE = (PoisonPage.name, HangingPage.name)


class Results:
    """The nights so far, in a JSON file; the table for people beside it, in Markdown."""

    def __init__(self, path: Path, *, fresh: bool) -> None:
        self._path = path
        kept = {} if fresh or not path.exists() else json.loads(path.read_text())
        self.nights: list[dict[str, Any]] = kept.get("nights", [])

    def has(self, fault: str, seed: int) -> bool:
        """Whether this night was counted already."""
        return any(night["fault"] == fault and night["seed"] == seed for night in self.nights)

    def add(self, outcome: Outcome) -> None:
        """Count a night, and write the files."""
        made = {"date": datetime.now(UTC).date().isoformat(), "commit": _commit()}
        self.nights.append(asdict(outcome) | {"held": outcome.held} | made)
        rows = summary(self.nights)
        document = {"totals": totals(rows), "faults": rows, "nights": self.nights}
        self._path.write_text(json.dumps(document, indent=1) + "\n")
        self._path.with_suffix(".md").write_text(markdown(rows, self.nights))

    def injected(self) -> int:
        """Faults so far."""
        return sum(night["struck"] for night in self.nights)


def main() -> None:
    asked = _arguments()
    console, results = Console(), Results(asked.results, fresh=asked.fresh)
    chosen = [f for f in FAULTS if not asked.only or any(part in f.name for part in asked.only)]
    end = time.monotonic() + 60 * asked.minutes
    broken = 0
    for seed in count():
        for made in (Fault, *chosen):
            if results.has(made.name, seed):
                continue
            if results.injected() >= asked.faults or time.monotonic() > end:
                _close(console, results, asked.faults, broken)
            with _scratch() as folder:
                outcome = one_night(made, folder, seed, asked.pages)
                if not outcome.held:
                    broken += 1
                    console.print(log_of(folder), markup=False)
            console.print(f"{seed} {asdict(outcome)}", markup=False, highlight=False)
            results.add(outcome)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=1000, help="stop after so many, in all")
    parser.add_argument("--minutes", type=float, default=50.0, help="start no night after these")
    parser.add_argument("--pages", type=int, default=150)
    parser.add_argument("--only", nargs="*", help="faults by a part of their name")
    parser.add_argument("--fresh", action="store_true", help="forget the nights so far")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/chaos.json"))
    return parser.parse_args()


def _close(console: Console, results: Results, wanted: int, broken: int) -> None:
    rows = summary(results.nights)
    if rows:
        console.print(table(rows))
    missing = wanted - results.injected()
    if missing > 0:
        console.print(f"{missing:,} faults to go: start the same command again")
    sys.exit(1 if broken else 0)


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="nightjar-chaos-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _commit() -> str:
    argv = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(argv, capture_output=True, text=True).stdout.strip()


def summary(nights: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a fault, summed over its nights."""
    calm_s = [night["seconds"] for night in nights if night["fault"] == Fault.name]
    calm = statistics.median(calm_s) if calm_s else 0.0
    rows = []
    for name in dict.fromkeys(night["fault"] for night in nights):
        mine = [night for night in nights if night["fault"] == name]
        late = statistics.median(max(night["seconds"] - calm, 0.0) for night in mine)
        failures = sum((Counter(night["failures"]) for night in mine), Counter[str]())
        own = len(mine) if name in _HOSTILE_PAGE else 0
        rows.append(
            {
                "fault": name,
                "nights": len(mine),
                "injected": sum(night["struck"] for night in mine),
                "rows": sum(night["listed"] for night in mine),
                "lost": sum(night["lost"] for night in mine),
                "twice": sum(night["twice"] for night in mine),
                "partial": sum(len(night["partial"]) for night in mine),
                "failed": sum(night["failed"] for night in mine) - own,
                "minutes_lost": round(late / 60, 2),
                "failures": dict(failures),
                "held": all(night["held"] for night in mine),
            }
        )
    return rows


def totals(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """The sums over all faults."""
    keys = ("nights", "injected", "rows", "lost", "twice", "partial", "failed")
    return {key: sum(row[key] for row in rows) for key in keys}


_HEADINGS = {
    "fault": "fault",
    "injected": "injected",
    "rows": "rows",
    "lost": "rows lost",
    "twice": "rows twice",
    "partial": "partial files",
    "failed": "failed for the fault",
    "minutes_lost": "minutes lost",
}


def _cells(row: dict[str, Any]) -> list[str]:
    return [f"{row[key]:,}" if isinstance(row[key], int) else str(row[key]) for key in _HEADINGS]


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """For the terminal. Minutes are of the median night, beyond an undisturbed one."""
    made = Table(title="chaos", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in (*_HEADINGS.values(), ""):
        made.add_column(heading, justify="left" if heading in ("fault", "") else "right")
    for row in rows:
        made.add_row(*_cells(row), "held" if row["held"] else "BROKEN")
    whole: dict[str, Any] = totals(rows) | {"fault": "sum", "minutes_lost": ""}
    made.add_row(*_cells(whole), "", style="bold")
    return made


def markdown(rows: Sequence[dict[str, Any]], nights: Sequence[dict[str, Any]]) -> str:
    """The same table, for docs/reliability.md."""
    dates, commits = ({night[key]: None for night in nights} for key in ("date", "commit"))
    whole: dict[str, Any] = totals(rows) | {"fault": "**sum**", "minutes_lost": ""}
    lines = [
        "# Chaos: faults in real runs",
        "",
        f"`make chaos`, {', '.join(dates)}, commits {', '.join(commits)}. Small models, two cores.",
        "",
        f"| {' | '.join(_HEADINGS.values())} | |",
        f"|---|{'---:|' * (len(_HEADINGS) - 1)}---|",
        *(f"| {' | '.join(_cells(row))} | {'held' if row['held'] else 'BROKEN'} |" for row in rows),
        f"| {' | '.join(_cells(whole))} | |",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
