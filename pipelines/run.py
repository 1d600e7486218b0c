"""One run: freeze the manifest, send what is still owed through the flow, commit, record.

A run is its directory. Started again with the same config it goes on where the last commit left
off; a config that would write other results is refused.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.config import JobConfig, changed_keys, result_keys
from pipelines.engine.joined_cluster import joined
from pipelines.engine.progress import OnProgress, Progress
from pipelines.engine.scoreboard import StageScore
from pipelines.errors import ConfigError, RunConflict
from pipelines.job import Job
from pipelines.pages.fetch import open_sandbox
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import done_ids, totals
from pipelines.runs.versions import versions
from pipelines.sources.manifest import ManifestSummary, freeze, iter_parts, load_summary
from pipelines.storage.client import Storage
from pipelines.storage.objects import is_s3


def run_dir_of(config: JobConfig, *, new: bool) -> RunDir:
    """The directory to run in: the config's own, or the first free one beside it."""
    run = RunDir(config.run_dir, config.run_storage)
    return run.beside() if new else run


def open_run(job: Job, config: JobConfig, run: RunDir) -> None:
    """Create the directory and its record, or check that it belongs to this config.

    Raises RunConflict naming the keys that differ, OutputUnwritable.
    """
    _check_apart(config, run)
    now = result_keys(config)
    if run.record.exists():
        changed = changed_keys(run.read_record()["result_keys"], now)
        if changed:
            raise RunConflict(
                f"{run.path} holds results of another config:\n"
                + "\n".join(f"  {line}" for line in changed),
                "take the old values, or start beside it with --new",
            )
        run.create()
        return
    run.create()
    run.write_record(
        {
            "job": job.name,
            "created": _now(),
            "config": config.model_dump(mode="json"),
            "result_keys": now,
            "sessions": [],
        }
    )


def _check_apart(config: JobConfig, run: RunDir) -> None:
    source, path = config.source.path.split("*")[0], run.path
    if isinstance(path, Path):
        inside = not is_s3(source) and path.resolve().is_relative_to(Path(source).resolve())
    else:
        inside = f"{path}/".startswith(source if "*" in config.source.path else f"{source}/")
    if inside:
        raise ConfigError(
            f"run_dir {run.path} lies inside source {config.source.path}: "
            "a later plan would list its own output",
            "put run_dir beside the source",
        )


def plan(config: JobConfig, run: RunDir, on_progress: Callable[..., None]) -> ManifestSummary:
    """The frozen manifest of a run; lists the source if that has not happened yet."""
    return load_summary(run.manifest) or freeze(
        config.source,
        run.manifest,
        storage=Storage(config.fetch.storage),
        output=Storage(config.run_storage),
        open_counter=lambda: open_sandbox(config.fetch),
        rows_per_part=config.ray.rows_per_wave,
        on_progress=on_progress,
    )


def execute(
    job: Job, config: JobConfig, run: RunDir, total: int, on_progress: OnProgress
) -> dict[str, Any]:
    """Run what is owed. Returns the session's record; starts no Ray when nothing is owed.

    Raises NightjarError; what was committed until then stays.
    """
    run.drop_orphaned_rejects()
    flow = job.flow(config).reaching(config.run_storage)
    done_before = sum(len(done_ids(run, part.stem)) for part in iter_parts(run.manifest))
    progress = Progress(total, done_before, tuple(s.name for s in flow.stages))
    session: dict[str, Any] = {"started": _now(), "versions": versions()}
    if done_before >= total:
        _recount(run, done_before)
        return session
    config = config.model_copy(update={"ray": joined(config.ray)})
    if config.ray.address is None:
        # Ray reads this when it is imported: a cluster of our own asks for its token.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    from pipelines.engine.waves import run_waves

    try:
        run_waves(flow, config, run, progress, on_progress, session)
    finally:
        _close(run, session, progress)
    return session


def _recount(run: RunDir, rows: int) -> None:
    """Count a run whose last session was killed, or met a full disk, before it could."""
    if run.read_record().get("totals", {}).get("rows") != rows:
        counted = vars(totals(run))
        run.change_record(lambda record: record | {"totals": counted})


def _close(run: RunDir, session: dict[str, Any], progress: Progress) -> None:
    done = progress.committed
    seconds = time.time() - progress.started
    session |= {
        "ended": _now(),
        "seconds": round(seconds, 2),
        "rows": done.rows,
        "rows_per_s": round(done.rows / seconds, 3),
        "first_commit_s": round(done.first_at - progress.started, 2) if done.first_at else None,
        "write_s": round(done.write_s, 2),
        "stages": {name: _score_record(score) for name, score in progress.scores.items()},
    }
    counted = vars(totals(run))

    def added(record: dict[str, Any]) -> dict[str, Any]:
        sessions = [*record.get("sessions", []), session]
        return record | {"sessions": sessions, "totals": counted}

    run.change_record(added)


def _score_record(score: StageScore) -> dict[str, Any]:
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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
