"""One run of a job: write the manifest, send open rows through the flow, commit, record.

A run is its directory. With the same config, a second start continues after the last commit. A
config that would change the results is refused.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from pipelines.config import JobConfig, changed_keys, result_keys, with_new_keys
from pipelines.engine.joined_cluster import joined
from pipelines.engine.progress import OnProgress, Progress
from pipelines.engine.stopping import Stop
from pipelines.engine.workers.scoreboard import StageScore
from pipelines.errors import ConfigError, NightjarError, RunConflict, RunDamaged
from pipelines.flow import Flow
from pipelines.job import Job, load_job
from pipelines.pages.fetch import FetchConfig, open_sandbox
from pipelines.runs.damaged import check
from pipelines.runs.directory import RunDir
from pipelines.runs.retrying import Retried, owe_again
from pipelines.runs.session import Session, StageRecord, now
from pipelines.runs.shards import open_shard, owed, totals
from pipelines.runs.store import Record
from pipelines.runs.versions import changed_columns
from pipelines.secrets import masked, sealed
from pipelines.sources.listing import reaches
from pipelines.sources.manifest import (
    ManifestSummary,
    freeze,
    iter_parts,
    load_summary,
    readable_uris,
)
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
            lost = self._set_torn_record_aside()
            begun = self.directory.record.exists() and self._has_begun()
            if begun:
                self._check_same_results()
            self.directory.create()
            if not begun:
                self.directory.write_record(self._first_record() | lost)
            yield self

    def _set_torn_record_aside(self) -> Record:
        """Move a damaged run.json away. Returns what the new one says about it.

        The settings of earlier sessions are lost with it: only the source, which the manifest has
        too, can be compared. Raises RunConflict if that differs.
        """
        try:
            if self.directory.record.exists():
                self.directory.read_record()
            return {}
        except RunDamaged as error:
            planned, path = self.planned(), self.config.source.path
            if planned and planned.source.get("path") != path:
                raise RunConflict(
                    f"{error.message}. Its manifest lists {planned.source.get('path')}, the "
                    f"config {path}",
                    "use the config that made this run, or start a new run directory with --new",
                ) from error
            self.directory.set_record_aside()
            return {"record_lost": {"at": now(), "why": error.message}}

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

    def _check_same_columns(self, written: pa.Schema) -> None:
        """Shards with different columns cannot be read together. Raises RunConflict."""
        with suppress(IndexError, RunDamaged):  # no shard; a damaged one is set aside later
            before = open_shard(self.directory.shard_files()[0]).schema_arrow
            changed = list(changed_columns(before, written))
            if changed:
                raise RunConflict(
                    f"{self.directory.path} has rows of another version, with other columns:\n"
                    + "\n".join(f"  {line}" for line in changed),
                    "go on with the version that began it (run.json names it), or start a new run "
                    "directory with --new",
                )

    def _check_same_results(self) -> None:
        record = self.directory.read_record()
        recorded, salt = with_new_keys(record["result_keys"], self.config), record.get("salt", "")
        changed = changed_keys(recorded, result_keys(self.config), salt)
        if changed:
            # Of a version with other columns, the old values would not help.
            self._check_same_columns(self.job.flow(self.config).schema)
            raise RunConflict(
                f"{self.directory.path} holds results of another config:\n"
                + "\n".join(f"  {line}" for line in changed),
                "restore the old values, or start a new run directory with --new",
            )
        if not salt:  # a record of an older version
            self.directory.change_record(_sealed)

    def _first_record(self) -> Record:
        return _sealed(
            {
                "job": self.job.name,
                "unit": self.job.unit,
                "created": now(),
                "config": self.config.model_dump(mode="json"),
                "result_keys": result_keys(self.config),
                "sessions": [],
            }
        )

    def planned(self) -> ManifestSummary | None:
        """Summary of the manifest; None before the first `plan`."""
        return load_summary(self.directory.manifest)

    def plan(self, on_progress: Callable[..., None] = lambda *_: None) -> ManifestSummary:
        """Summary of the manifest. The first call lists the source and writes the manifest.

        Raises NightjarError if the source cannot be listed, RunConflict if there are shards but no
        manifest: a row could be in another part of a new one, and would be done twice.
        """
        if planned := self.planned():
            return planned
        if self.directory.shard_files():
            raise RunConflict(
                f"{self.directory.path} has shards, but {self.directory.manifest} is gone",
                "restore it from a backup, or start a new run directory with --new",
            )
        return freeze(
            self.config.source,
            self.directory.manifest,
            storage=Storage(self.config.fetch.storage),
            output=Storage(self.config.run_storage),
            open_counter=lambda: open_sandbox(self.config.fetch),
            rows_per_part=self.config.ray.rows_per_wave,
            outage_s=self.config.fetch.outage_s,
            on_progress=on_progress,
        )

    def owed(self) -> int:
        """Number of rows in the manifest that no shard holds yet."""
        return sum(rows.num_rows for _, rows in owed(self.directory))

    def execute(
        self,
        on_progress: OnProgress = lambda _: None,
        stop: Stop | None = None,
        *,
        retry: Collection[str] = (),
        check_shards: bool = False,
    ) -> Session | None:
        """Process the open rows. Returns the session, or None (without starting Ray) if none are.

        Args:
            on_progress: called about twice a second.
            stop: the signals that this process gets.
            retry: kinds of failure (FailureKind); finished rows with one of them are open again.
            check_shards: read all shards whole, to find damage; else only their row ids.

        Raises NightjarError; committed rows are kept.
        """
        done, retried = self._settled(retry, check_shards=check_shards)
        flow = self.flow()
        progress = Progress(self.plan().pages, done, tuple(s.name for s in flow.stages))
        if not progress.owed:
            self._recount(done)
            return None
        self._check_same_columns(flow.schema)
        config = self.config.model_copy(update={"ray": joined(self.config.ray)})
        if config.ray.address is None:
            # Ray reads this on import. The cluster that we start then requires its token.
            os.environ.setdefault("RAY_AUTH_MODE", "token")
        from pipelines.engine.waves import run_waves  # imports Ray (2 s), which `plan` avoids

        session = Session(retried=dict(retried.kinds) or None)
        stop = stop or Stop()
        close = partial(self._close, session, progress, stop)
        with stop.held_off(config.limits.finish_s):
            try:
                run_waves(flow, config, self.directory, progress, on_progress, session, stop, close)
            finally:
                if session.ended is None:  # Ray did not start
                    close()
        return session

    def _settled(self, retry: Collection[str], *, check_shards: bool) -> tuple[int, Retried]:
        """The number of finished rows once damaged shards and rows to retry are out of the way."""
        run = self.directory
        checked = check(run, whole=check_shards)
        run.sweep()
        retried = owe_again(run, retry, self.config.sink) if retry else Retried()
        parts = [part.stem for part in iter_parts(run.manifest)]
        return sum(checked.rows.get(part, 0) - retried.rows[part] for part in parts), retried

    def flow(self) -> Flow:
        """The job's dataflow; its workers know how to reach models, and some readable files."""
        self.plan()
        uris = readable_uris(self.directory.manifest)
        flow = self.job.flow(self.config).reaching(self.config.run_storage)
        stages = [
            replace(one, config=one.config.knowing(uris))
            if isinstance(one.config, FetchConfig)
            else one
            for one in flow.stages
        ]
        return replace(flow, stages=tuple(stages))

    def _recount(self, rows: int) -> None:
        """Update the totals if the last session ended before it could write them."""
        if self.directory.read_record().get("totals", {}).get("rows") != rows:
            self._count()

    def _count(self) -> None:
        counted = vars(totals(self.directory))
        self.directory.change_record(lambda record: record | {"totals": counted})

    def _close(self, session: Session, progress: Progress, stop: Stop) -> None:
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
        error = sys.exception()
        session.stopped = stop.signal or (
            type(error).__name__ if isinstance(error, NightjarError) else None
        )

        def added(record: Record) -> Record:
            # A store may have applied a change whose answer was lost.
            earlier = [one for one in record.get("sessions", []) if one.get("id") != session.id]
            return record | {"sessions": [*earlier, masked(session.record())]}

        self.directory.change_record(added)
        if not stop.at_once:  # counting reads every shard
            self._count()


def _sealed(record: Record) -> Record:
    """The record without secrets; digests with its own salt still show a change of one."""
    salt = secrets.token_hex(16)
    hidden = {name: sealed(record.get(name) or {}, salt) for name in ("config", "result_keys")}
    return record | hidden | {"salt": salt}


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
