"""The record of one session of a run, for run.json."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, TypedDict

from pipelines.runs.versions import versions


class StageRecord(TypedDict, total=False):
    """One stage. Seconds are sums over its workers; `*_at`: seconds since the epoch, or null."""

    rows: int
    batches: int
    busy_s: float
    seconds: dict[str, float]
    failures: dict[str, int]
    worker_deaths: int
    workers_recycled: int
    first_batch_at: float | None
    last_batch_at: float | None


class SessionRecord(TypedDict, total=False):
    """A session in run.json. A session that failed early lacks keys. Times are ISO 8601, UTC."""

    id: str
    retried: dict[str, int]
    started: str
    versions: dict[str, str]
    pools: dict[str, dict[str, Any]]
    models: dict[str, dict[str, str]]
    start_up_s: float
    ended: str
    seconds: float
    rows: int
    rows_per_s: float
    first_commit_s: float | None
    write_s: float
    stages: dict[str, StageRecord]
    stopped: str


@dataclass
class Session:
    """A session while it runs. None: not known yet.

    Attributes:
        id: distinguishes the sessions of a run.
        retried: failure kind -> rows that were owed again.
        pools: stage -> its pool, sized for this machine.
        models: stage -> name, revision and digest of the loaded model.
        start_up_s: seconds until Ray was up.
        seconds, rows, rows_per_s: totals of the session.
        first_commit_s: seconds until the first commit.
        write_s: seconds spent writing shards.
        stopped: the signal or the error that ended the session early.
    """

    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    retried: dict[str, int] | None = None
    started: str = field(default_factory=lambda: now())
    versions: dict[str, str] = field(default_factory=versions)
    pools: dict[str, dict[str, Any]] | None = None
    models: dict[str, dict[str, str]] | None = None
    start_up_s: float | None = None
    ended: str | None = None
    seconds: float | None = None
    rows: int | None = None
    rows_per_s: float | None = None
    first_commit_s: float | None = None
    write_s: float | None = None
    stages: dict[str, StageRecord] | None = None
    stopped: str | None = None

    def record(self) -> SessionRecord:
        """The known values, for run.json."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        return SessionRecord(**known)  # type: ignore[typeddict-item]


def now() -> str:
    """The current time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
