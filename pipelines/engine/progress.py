"""Progress of a run, for displays and for run.json."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from pipelines.engine.workers.scoreboard import StageScore


@dataclass
class Committed:
    """Totals of the committed shards of this session."""

    rows: int = 0
    shards: int = 0
    bytes: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    write_s: float = 0.0
    first_at: float | None = None


@dataclass
class Progress:
    """Counts in rows, times in seconds since the epoch."""

    total: int
    done_before: int
    stages: tuple[str, ...]
    scores: dict[str, StageScore] = field(default_factory=dict)
    committed: Committed = field(default_factory=Committed)
    started: float = field(default_factory=time.time)
    finishing: int | None = None  # after a signal: rows that were in flight then

    @property
    def failed_share(self) -> float:
        """Share of this session's committed rows whose outcome is `failed`; 0 without rows."""
        return self.committed.outcomes["failed"] / max(self.committed.rows, 1)

    @property
    def owed(self) -> int:
        """Rows that were not finished when this session began."""
        return self.total - self.done_before

    def waiting(self) -> dict[str, int]:
        """Stage -> rows that the previous stage has finished and this stage has not."""
        waiting, arrived = {}, self.owed
        for name in self.stages:
            rows = self.scores[name].rows if name in self.scores else 0
            waiting[name] = max(arrived - rows, 0)
            arrived = rows
        return waiting


OnProgress = Callable[[Progress], None]
