"""The scoreboard of a run: progress by stage, and which rows were in flight when a worker died.

One small Ray actor. Workers call `begin` before a batch and `end` after it; the driver reads
`snapshot` twice a second. If a row begins again without an `end`, its worker died. The row is a
suspect, and the next worker processes the rows of that batch one by one. A row that was alone in
two deaths is quarantined without a third attempt. So a row that kills workers costs three restarts
and its own result, not the run. By default Ray 2.60 restarts the worker for ever.

A worker that can read nothing any more ends itself (`fitness`). For its rows that is the same as a
death.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipelines.engine.metrics import BatchMetrics
from pipelines.errors import NightjarError

#: Deaths of a worker with a single row until this row is quarantined. One death can be a
#: coincidence (a spot node is reclaimed, a kill -9); two deaths with the same row cannot.
LONE_DEATHS_LIMIT = 2


@dataclass
class StageScore:
    """Counts of one stage in this session. `*_at`: seconds since the epoch."""

    rows: int = 0
    batches: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    busy_s: float = 0.0
    deaths: int = 0
    recycled: int = 0  # workers that ended themselves: too much memory, or unable to read any row
    first_batch_at: float | None = None
    last_batch_at: float | None = None


class Board:
    """State of the scoreboard; `pipelines.engine.stream` makes it a Ray actor."""

    def __init__(self, metrics: BatchMetrics | None = None) -> None:
        self._metrics = metrics
        self._scores: dict[str, StageScore] = defaultdict(StageScore)
        self._open: dict[tuple[str, int], int] = {}  # (stage, row) -> size of its open batch
        self._deaths: Counter[tuple[str, int]] = Counter()
        self._lone_deaths: Counter[tuple[str, int]] = Counter()
        self._said: dict[tuple[str, int], str] = {}  # (stage, row) -> its last fault
        self._readable: dict[str, pa.Table] = {}  # stage -> one row that it has read
        self._fruitless: Counter[str] = Counter()  # stage -> processes that read nothing, in a row
        self._setup_errors: list[tuple[str, str, str]] = []
        self._stops: list[NightjarError] = []
        self._provenance: dict[str, dict[str, str]] = {}

    def begin(self, stage: str, rows: list[int]) -> dict[int, int]:
        """Open a batch. Returns {row: deaths with this row alone} for rows whose worker died."""
        died = [row for row in rows if (stage, row) in self._open]
        if died:
            self._scores[stage].deaths += 1
        for row in died:
            self._suspect(stage, row)
        for row in rows:
            self._open[stage, row] = len(rows)
        score = self._scores[stage]
        score.first_batch_at = score.first_batch_at or time.time()
        return {row: self._lone_deaths[stage, row] for row in rows if self._deaths[stage, row]}

    def _suspect(self, stage: str, row: int) -> None:
        self._deaths[stage, row] += 1
        if self._open.get((stage, row)) == 1:
            self._lone_deaths[stage, row] += 1

    def release(self, stage: str, rows: list[int]) -> None:
        """Close rows without counting them, while their batch continues."""
        for row in rows:
            self._open.pop((stage, row), None)

    def end(
        self,
        stage: str,
        rows: list[int],
        failures: dict[str, int],
        seconds: dict[str, float],
        busy_s: float,
    ) -> None:
        """Close a batch and count it."""
        self.release(stage, rows)
        for row in rows:
            self._deaths.pop((stage, row), None)
            self._lone_deaths.pop((stage, row), None)
            self._said.pop((stage, row), None)
        score = self._scores[stage]
        score.rows += len(rows)
        score.batches += 1
        score.failures.update(failures)
        for step, spent in seconds.items():
            score.seconds[step] = score.seconds.get(step, 0.0) + spent
        score.busy_s += busy_s
        score.last_batch_at = time.time()
        if self._metrics:
            self._metrics.batch(stage, len(rows), failures, busy_s)

    def report_spending(self, spent: dict[str, float]) -> None:
        """Count the cost of a batch of the fallback (`pipelines.engine.metrics.spending`)."""
        if self._metrics:
            self._metrics.spent(spent)

    def report_recycled(self, stage: str) -> None:
        """Count a worker of `stage` that ends itself."""
        self._scores[stage].recycled += 1

    def report_readable(self, stage: str, row: pa.Table) -> None:
        """A process of `stage` has read something; `row` (one row) is an example for the others."""
        self._readable.setdefault(stage, row)
        self._fruitless[stage] = 0

    def readable(self, stage: str) -> pa.Table | None:
        """A row that a process of `stage` has read; None if none has."""
        return self._readable.get(stage)

    def report_spent(self, stage: str, rows: list[int], message: str) -> None:
        """A process of `stage` ends because it reads nothing any more; `rows` are suspected."""
        self.report_recycled(stage)
        for row in rows:
            self._said[stage, row] = message
            self._suspect(stage, row)
        self.release(stage, rows)

    def report_fruitless(self, stage: str, rows: list[int], message: str) -> int:
        """As `report_spent`, and it has read nothing. Returns how many did so in a row."""
        self.report_spent(stage, rows, message)
        self._fruitless[stage] += 1
        return self._fruitless[stage]

    def said_of(self, stage: str, row: int) -> str:
        """The failure with which `row` spent its last worker; "" if a worker died of it."""
        return self._said.get((stage, row), "")

    def report_setup(self, stage: str, provenance: dict[str, str]) -> None:
        """A worker of `stage` is up, with models of this provenance."""
        self._provenance[stage] = provenance

    def report_setup_error(self, stage: str, message: str, remedy: str) -> None:
        """A worker of `stage` cannot start; the driver stops the run with this message."""
        self._setup_errors.append((stage, message, remedy))

    def report_stop(self, error: NightjarError) -> None:
        """A worker had an error that no row causes; the driver stops the run with it."""
        self._stops.append(error)

    def snapshot(self) -> dict[str, StageScore]:
        """Scores by stage."""
        return dict(self._scores)

    def setup(self) -> dict[str, Any]:
        """Reports of the workers: provenance by stage, setup errors, errors that stop the run."""
        return {
            "provenance": self._provenance,
            "errors": self._setup_errors,
            "stops": self._stops,
        }
