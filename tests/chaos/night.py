"""One night of the chaos suite: strike, start again until it is done, count.

Every row that was listed must be written once, no reader may have met a partial file at any time
(one looks all along), and the run's own record must count what happened.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import yaml
from conftest import REPOSITORY, TESTS, nightjar_argv

from chaos.fault import Fault
from chaos.store import RunFiles

#: Starts of one night before it is given up; and seconds for one start.
_MOST_STARTS, _START_S = 8, 600.0
#: Exit code of a start that a busy machine gave no time to Ray: of no fault of ours.
_NO_CLUSTER = 7

_CONFIG: dict[str, Any] = {
    "job": "chaos.job:JOB",
    "sink": {"rows_per_shard": 8, "flush_seconds": 1.0},
    "fetch_pool": {"batch_size": 4, "num_cpus": 0.25},
    "ray": {"object_store_mb": 200},
}


@dataclass
class Outcome:
    """What one night came to.

    `struck`: how often the fault was injected. `failed`: rows whose outcome is "failed".
    `failures`: kind -> failures of any stage, also of pages that keep an earlier reading.
    """

    fault: str
    seed: int
    struck: int = 0
    listed: int = 0
    lost: int = 0
    twice: int = 0
    partial: list[str] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    seconds: float = 0.0
    failed: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    told: bool = False

    @property
    def held(self) -> bool:
        """Nothing lost, nothing twice, nothing half visible, all of it counted."""
        return self.told and self.listed > 0 and not (self.lost or self.twice or self.partial)


class ChaosNight:
    """A run of small models in a world with a fault."""

    def __init__(self, fault: Fault, changes: dict[str, Any]) -> None:
        folder = fault.folder
        self.pages, self.log = fault.pages, folder / "log.txt"
        where = str(changes.get("run_dir", folder / "run"))
        endpoint = getattr(fault, "endpoint", None) if where.startswith("s3://") else None
        self.files = RunFiles(where.removeprefix("s3://"), endpoint)
        self._ids: dict[str, list[int]] = {}  # of the shards that were read so far
        self._config = folder / "config.yaml"
        self._config.write_text(yaml.safe_dump(_CONFIG | {"run_dir": where} | changes))
        places = (REPOSITORY, TESTS, TESTS / "resources")  # for Ray's workers, too
        marks = {"PYTHONPATH": os.pathsep.join(map(str, places)), "NIGHTJAR_CHAOS": str(folder)}
        marks["RAY_worker_niceness"] = "0"  # 15: a busy neighbour starves the workers for minutes
        self._environment = os.environ | marks | fault.environment

    def start(self) -> subprocess.Popen[bytes]:
        """Start the run, or start it again."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                nightjar_argv("run", "--no-report", self._config),
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self._environment,
            )

    def progress(self) -> int:
        """Rows in the shards that have been visible so far."""
        for name in self.files.names("shards"):
            if name not in self._ids:
                with contextlib.suppress(pa.ArrowException, OSError):
                    self._ids[name] = self._row_ids("shards", name)
        return sum(map(len, self._ids.values()))

    def listed(self) -> Counter[int]:
        """Row id -> how often the manifest has it."""
        parts = [name for name in self.files.names("manifest") if name.endswith(".parquet")]
        return Counter(row for name in parts for row in self._row_ids("manifest", name))

    def written(self) -> Counter[int]:
        """Row id -> how often the shards have it."""
        names = self.files.names("shards")
        return Counter(row for name in names for row in self._row_ids("shards", name))

    def failed(self) -> int:
        """Rows whose outcome is "failed"."""
        shards = [
            self.files.table("shards", name, ["outcome"]) for name in self.files.names("shards")
        ]
        return sum(shard["outcome"].to_pylist().count("failed") for shard in shards)

    def _row_ids(self, folder: str, name: str) -> list[int]:
        ids: list[int] = self.files.table(folder, name, ["row_id"])["row_id"].to_pylist()
        return ids


class Reader:
    """Somebody who reads whatever is visible, all night: every file that shows must be whole."""

    def __init__(self, files: RunFiles) -> None:
        self._files = files
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._whole: set[tuple[str, str]] = set()
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
                for name in self._files.names(folder):
                    self._read(folder, name)

    def _read(self, folder: str, name: str) -> None:
        if (folder, name) in self._whole or name.endswith(".json"):
            return
        try:
            self._files.table(folder, name)
            self._whole.add((folder, name))
        except FileNotFoundError:  # rejects without a shard go at the next start
            pass
        except (pa.ArrowException, OSError) as error:
            self.partial.append(f"{name}: {error}")


def one_night(made: type[Fault], folder: Path, seed: int, pages: int) -> Outcome:
    """A night that was struck as often as wanted: one that was over before has more pages."""
    for factor in (1, 2, 4):
        outcome = _night(made, folder / str(factor), seed, pages * factor)
        if outcome.struck >= made.strikes:
            break
    return outcome


def _night(made: type[Fault], folder: Path, seed: int, pages: int) -> Outcome:
    fault, chance = made(folder, pages), random.Random(f"{made.name} {seed}")
    outcome = Outcome(made.name, seed, struck=0 if made.strikes or made is Fault else 1)
    with fault.world() as changes:
        night = ChaosNight(fault, changes)
        started = time.monotonic()
        with Reader(night.files) as reader:
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
    night: ChaosNight, fault: Fault, process: subprocess.Popen[bytes], chance: random.Random
) -> bool:
    """Wait for a few more rows and strike; False where the run ended before."""
    share = night.pages // (fault.strikes + 2)
    wanted = night.progress() + chance.randint(1, max(share, 2))
    while process.poll() is None and night.progress() < wanted:
        time.sleep(0.05)
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


def _count(night: ChaosNight, fault: Fault, outcome: Outcome) -> None:
    listed, written = night.listed(), night.written()
    outcome.listed = len(listed)
    outcome.lost = (listed - written).total()
    outcome.twice = (written - listed).total()
    outcome.failed = night.failed()
    record = night.files.record()
    outcome.failures = record["totals"]["failures"]
    outcome.told = fault.told(record | {"codes": outcome.codes}) and (
        outcome.struck >= max(fault.strikes, 1) or type(fault) is Fault
    )
    outcome.struck = fault.struck_besides() or outcome.struck


def log_of(folder: Path) -> str:
    """The end of what the night's starts printed."""
    logs: Sequence[Path] = sorted(folder.rglob("log.txt"))
    return "\n".join(log.read_text()[-3000:] for log in logs)
