"""One run of a job: write the manifest, send open rows through the flow, commit, record.

A run is its directory. With the same config, a second start continues after the last commit. A
config that would change the results is refused.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.config import JobConfig, changed_keys, result_keys
from pipelines.engine.joined_cluster import joined
from pipelines.engine.progress import OnProgress, Progress
from pipelines.engine.scoreboard import StageScore
from pipelines.errors import ConfigError, RunConflict
from pipelines.job import Job, load_job
from pipelines.pages.fetch import open_sandbox
from pipelines.runs.directory import RunDir
from pipelines.runs.session import Session, StageRecord, now
from pipelines.runs.shards import done_ids, owed, totals
from pipelines.runs.store import Record
from pipelines.sources.listing import reaches
from pipelines.sources.manifest import ManifestSummary, freeze, iter_parts, load_summary
from pipelines.storage.client import Storage


@dataclass(frozen=True)
class Run:
    """A job, its config and its directory.

    with Run.of(config_file).opened() as run:
        run.plan(on_listing)
        run.execute(on_progress)
    """

    job: Job
    config: JobConfig
    directory: RunDir

    @classmethod
    def from_file(cls, path: Path, overrides: Sequence[str] = (), *, new: bool = False) -> Run:
        """The run that a config file describes. Raises ConfigError. See `of`."""
        return cls.of(*load_job(path, overrides), new=new)

    @classmethod
    def of(cls, job: Job, config: JobConfig, *, new: bool = False) -> Run:
        """The run of a config. `new`: use the first free directory NAME-2, NAME-3, ..."""
        directory = RunDir(config.run_dir, config.run_storage)
        return cls(job, config, directory.beside() if new else directory)

    @contextmanager
    def opened(self) -> Iterator[Run]:
        """Lock the directory, and create it or check that it belongs to this config.

        Raises RunConflict (names the keys that differ), RunBusy, OutputUnwritable, ConfigError.
        """
        self._check_apart()
        with self.directory.locked():
            begun = self.directory.record.exists() and self._has_begun()
            if begun:
                self._check_same_results()
            self.directory.create()
            if not begun:
                self.directory.write_record(self._first_record())
            yield self

    def _has_begun(self) -> bool:
        """Without a manifest and shards a record binds nothing: its source could not be listed."""
        return self.planned() is not None or bool(self.directory.shard_files())

    def _check_apart(self) -> None:
        source, path = self.config.source.path, self.directory.path
        if reaches(source, str(path)):
            raise ConfigError(
                f"run_dir {path} is inside source {source}: the next run would read its own output",
                "set run_dir to a folder outside the source",
            )

    def _check_same_results(self) -> None:
        recorded = self.directory.read_record()["result_keys"]
        changed = changed_keys(recorded, result_keys(self.config))
        if changed:
            raise RunConflict(
                f"{self.directory.path} holds results of another config:\n"
                + "\n".join(f"  {line}" for line in changed),
                "restore the old values, or start a new run directory with --new",
            )

    def _first_record(self) -> Record:
        return {
            "job": self.job.name,
            "unit": self.job.unit,
            "created": now(),
            "config": self.config.model_dump(mode="json"),
            "result_keys": result_keys(self.config),
            "sessions": [],
        }

    def planned(self) -> ManifestSummary | None:
        """Summary of the manifest; None before the first `plan`."""
        return load_summary(self.directory.manifest)

    def plan(self, on_progress: Callable[..., None] = lambda *_: None) -> ManifestSummary:
        """Summary of the manifest. The first call lists the source and writes the manifest.

        Raises NightjarError if the source cannot be listed.
        """
        return self.planned() or freeze(
            self.config.source,
            self.directory.manifest,
            storage=Storage(self.config.fetch.storage),
            output=Storage(self.config.run_storage),
            open_counter=lambda: open_sandbox(self.config.fetch),
            rows_per_part=self.config.ray.rows_per_wave,
            on_progress=on_progress,
        )

    def owed(self) -> int:
        """Number of rows in the manifest that no shard holds yet."""
        return sum(rows.num_rows for _, rows in owed(self.directory))

    def execute(self, on_progress: OnProgress = lambda _: None) -> Session | None:
        """Process the open rows. Returns the session, or None (without starting Ray) if none are.

        Raises NightjarError; committed rows are kept.
        """
        self.directory.drop_orphaned_rejects()
        flow = self.job.flow(self.config).reaching(self.config.run_storage)
        parts = iter_parts(self.directory.manifest)
        done = sum(len(done_ids(self.directory, part.stem)) for part in parts)
        progress = Progress(self.plan().pages, done, tuple(s.name for s in flow.stages))
        if not progress.owed:
            self._recount(done)
            return None
        config = self.config.model_copy(update={"ray": joined(self.config.ray)})
        if config.ray.address is None:
            # Ray reads this on import. The cluster that we start then requires its token.
            os.environ.setdefault("RAY_AUTH_MODE", "token")
        from pipelines.engine.waves import run_waves  # imports Ray (2 s), which `plan` avoids

        session = Session()
        try:
            run_waves(flow, config, self.directory, progress, on_progress, session)
        finally:
            self._close(session, progress)
        return session

    def _recount(self, rows: int) -> None:
        """Update the totals if the last session ended before it could write them."""
        if self.directory.read_record().get("totals", {}).get("rows") != rows:
            counted = vars(totals(self.directory))
            self.directory.change_record(lambda record: record | {"totals": counted})

    def _close(self, session: Session, progress: Progress) -> None:
        done = progress.committed
        seconds = time.time() - progress.started
        session.ended = now()
        session.seconds = round(seconds, 2)
        session.rows = done.rows
        session.rows_per_s = round(done.rows / seconds, 3)
        session.first_commit_s = (
            round(done.first_at - progress.started, 2) if done.first_at else None
        )
        session.write_s = round(done.write_s, 2)
        session.stages = {name: _score_record(score) for name, score in progress.scores.items()}
        counted = vars(totals(self.directory))

        def added(record: Record) -> Record:
            sessions = [*record.get("sessions", []), session.record()]
            return record | {"sessions": sessions, "totals": counted}

        self.directory.change_record(added)


def _score_record(score: StageScore) -> StageRecord:
    return {
        "rows": score.rows,
        "batches": score.batches,
        "busy_s": round(score.busy_s, 2),
        "seconds": {step: round(s, 2) for step, s in score.seconds.items()},
        "failures": dict(score.failures),
        "worker_deaths": score.deaths,
        "workers_recycled": score.recycled,
        "first_batch_at": score.first_batch_at,
        "last_batch_at": score.last_batch_at,
    }
