"""The chaos suite: `make chaos`. Every fault strikes nights of small models, one after the other.

    python -m chaos_nights [--seed 0] [--repeats 3] [--pages 150] [--only NAME ...] [--out DIR]

After each fault the run is started again until it is done. Then every row that was listed must be
written once, no reader may have met a partial file at any time (one looks all along), and the run's
own record must count what happened. Minutes lost are those beyond an undisturbed night.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from chaos_faults import FAULTS, Fault
from conftest import TESTS
from nights import Night
from rich.console import Console
from rich.table import Table

#: Starts of one night before it is given up; and seconds for one start.
_MOST_STARTS, _START_S = 8, 600.0
#: Exit code of a start that a busy machine gave no time to Ray: of no fault of ours.
_NO_CLUSTER = 7


@dataclass
class Outcome:
    """What one night came to. `struck`: how often the fault was injected."""

    fault: str
    seed: int
    struck: int = 0
    listed: int = 0
    lost: int = 0
    twice: int = 0
    partial: list[str] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    seconds: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)
    told: bool = False

    @property
    def held(self) -> bool:
        """Nothing lost, nothing twice, nothing half visible, all of it counted."""
        return self.told and self.listed > 0 and not (self.lost or self.twice or self.partial)


class ChaosNight(Night):
    """A night of small models in a world with a fault."""

    def __init__(self, fault: Fault, changes: dict[str, Any]) -> None:
        folder = fault.folder
        self.pages, self.log = fault.pages, folder / "log.txt"
        self.run = Path(changes.get("run_dir", folder / "run"))
        self.argv = lambda *words: [sys.executable, "-m", "chaos_job", *map(str, words)]
        self.config = folder / "config.yaml"
        self.config.write_text(yaml.safe_dump(_CONFIG | {"run_dir": str(self.run)} | changes))
        found = os.pathsep.join(
            map(str, (TESTS.parent, TESTS, TESTS / "resources"))
        )  # Ray's workers too
        marks = {"PYTHONPATH": found, "NIGHTJAR_CHAOS": str(folder)}
        marks["RAY_worker_niceness"] = "0"  # 15: a busy neighbour starves the workers for minutes
        self._environment = os.environ | marks | fault.environment

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.argv("run", "--no-report", self.config),
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self._environment,
            )


_CONFIG: dict[str, Any] = {
    "job": "chaos",
    "sink": {"rows_per_shard": 8, "flush_seconds": 1.0},
    "fetch_pool": {"batch_size": 4, "num_cpus": 0.25},
    "ray": {"object_store_mb": 200},
}


class Reader:
    """Somebody who reads whatever is visible, all night: every file that shows must be whole."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._whole: set[Path] = set()
        self.partial: list[str] = []

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.05):
            for folder in ("shards", "rejects", "manifest"):
                for path in (self._run / folder).glob("[!.]*"):
                    self._read(path)

    def _read(self, path: Path) -> None:
        if path in self._whole or path.suffix == ".json":
            return
        try:
            pq.read_table(path)
            self._whole.add(path)
        except FileNotFoundError:  # rejects without a shard go at the next start
            pass
        except (pa.ArrowException, OSError) as error:
            self.partial.append(f"{path.name}: {error}")


def one_night(made: type[Fault], folder: Path, seed: int, pages: int) -> Outcome:
    """A night that was struck as often as wanted: one that was over before has more pages."""
    for factor in (1, 2, 4):
        outcome = _night(made, folder / str(factor), seed, pages * factor)
        if outcome.struck >= made.strikes:
            break
    return outcome


def _night(made: type[Fault], folder: Path, seed: int, pages: int) -> Outcome:
    """Strike, start again until done, count."""
    fault, chance = made(folder, pages), random.Random(f"{made.name} {seed}")
    outcome = Outcome(made.name, seed, struck=0 if made.strikes or made is Fault else 1)
    with fault.world() as changes:
        night = ChaosNight(fault, changes)
        started = time.monotonic()
        with Reader(night.run) as reader:
            _run_through(night, fault, chance, outcome)
        outcome.seconds = round(time.monotonic() - started, 1)
        outcome.partial = reader.partial[:5]
        _count(night, fault, outcome)
    return outcome


def _run_through(night: ChaosNight, fault: Fault, chance: random.Random, outcome: Outcome) -> None:
    process = night.start()
    try:
        for _ in range(_MOST_STARTS):
            before = outcome.struck
            while outcome.struck < fault.strikes and _struck(night, fault, process, chance):
                outcome.struck += 1
                if not fault.survived:
                    break
            code = process.wait(timeout=_START_S)
            if code != _NO_CLUSTER or outcome.struck > before:
                outcome.codes.append(code)
            if code == 0:
                return
            if code in outcome.codes:
                fault.recover()
            process = night.start()
    finally:
        _end(process)


def _struck(
    night: Night, fault: Fault, process: subprocess.Popen[bytes], chance: random.Random
) -> bool:
    """Wait for a few more rows and strike; False where the run ended before."""
    share = night.pages // (fault.strikes + 2)
    night.wait_for(len(night.written()) + chance.randint(1, max(share, 2)), process)
    time.sleep(chance.random())
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            if fault.strike(psutil.Process(process.pid), chance):
                return True
        time.sleep(0.05)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in [*psutil.Process(process.pid).children(recursive=True), process]:
                one.kill()
        process.wait()


def _count(night: Night, fault: Fault, outcome: Outcome) -> None:
    listed, written = night.listed(), night.written_ids()
    outcome.listed = len(listed)
    outcome.lost = (listed - written).total()
    outcome.twice = (written - listed).total()
    record = json.loads((night.run / "run.json").read_text())
    outcome.failures = record["totals"]["failures"]
    outcome.told = fault.told(record | {"codes": outcome.codes}) and (
        outcome.struck >= max(fault.strikes, 1) or type(fault) is Fault
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pages", type=int, default=150)
    parser.add_argument("--only", nargs="*", help="faults by a part of their name")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    asked = parser.parse_args()
    chosen = [f for f in FAULTS if not asked.only or any(part in f.name for part in asked.only)]
    console = Console()
    outcomes = []
    for seed in range(asked.seed, asked.seed + asked.repeats):
        for made in (Fault, *chosen):
            with _scratch() as folder:
                outcome = one_night(made, folder, seed, asked.pages)
                if not outcome.held:
                    for log in folder.rglob("log.txt"):
                        console.print(log.read_text()[-3000:], markup=False)
            console.print(f"{seed} {asdict(outcome)}", markup=False, highlight=False)
            outcomes.append(outcome)
    rows = summary(outcomes)
    console.print(table(rows))
    document = {"date": datetime.now(UTC).date().isoformat(), "pages": asked.pages, "faults": rows}
    path = asked.out / f"chaos-{document['date']}.json"
    nights = [asdict(outcome) for outcome in outcomes]
    path.write_text(json.dumps(document | {"nights": nights}, indent=1) + "\n")
    sys.exit(0 if all(outcome.held for outcome in outcomes) else 1)


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="nightjar-chaos-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def summary(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """One row a fault, summed over its nights."""
    calm = statistics.median(o.seconds for o in outcomes if o.fault == Fault.name)
    rows = []
    for name in dict.fromkeys(outcome.fault for outcome in outcomes):
        nights = [outcome for outcome in outcomes if outcome.fault == name]
        late = statistics.median(max(night.seconds - calm, 0.0) for night in nights)
        failures = sum((Counter(night.failures) for night in nights), Counter())
        rows.append(
            {
                "fault": name,
                "nights": len(nights),
                "injected": sum(night.struck for night in nights),
                "rows": sum(night.listed for night in nights),
                "lost": sum(night.lost for night in nights),
                "twice": sum(night.twice for night in nights),
                "partial": sum(len(night.partial) for night in nights),
                "minutes_lost": round(late / 60, 2),
                "failed_rows": dict(failures),
                "held": all(night.held for night in nights),
            }
        )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """For people. Minutes are of the median night, beyond an undisturbed one."""
    made = Table(title="chaos", title_justify="left", box=None, padding=(0, 2, 0, 0))
    headings = ("fault", "injected", "rows", "rows lost", "rows twice", "partial files")
    for heading in (*headings, "minutes lost", "failures by kind", ""):
        made.add_column(heading, justify="left" if heading in ("fault", "") else "right")
    for row in rows:
        kinds = ", ".join(f"{count} {kind}" for kind, count in row["failed_rows"].items())
        figures = (row[key] for key in ("injected", "rows", "lost", "twice", "partial"))
        verdict = "held" if row["held"] else "BROKEN"
        made.add_row(
            row["fault"], *map(str, figures), f"{row['minutes_lost']:.2f}", kinds or "-", verdict
        )
    return made


if __name__ == "__main__":
    main()
