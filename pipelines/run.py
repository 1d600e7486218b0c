"""One run: freeze the manifest, send what is still owed through the flow, commit, record.

A run is its directory. Started again with the same config it goes on where the last commit left
off; a config that would write other results is refused.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.board import StageScore
from pipelines.commit import Committed, Committer
from pipelines.config import JobConfig, changed_keys, result_keys
from pipelines.errors import NightjarError, RunConflict, RunFailed, WeightsMissing
from pipelines.flow import Flow
from pipelines.job import Job
from pipelines.manifest import ManifestSummary, freeze, iter_parts, load_summary, read_part
from pipelines.rundir import RunDir
from pipelines.shards import done_ids, pending_rows, totals
from pipelines.versions import versions

#: Seconds between two looks at the scoreboard.
_TICK_S = 0.5


@dataclass
class Progress:
    """What a display needs to know. Rows; seconds."""

    total: int
    done_before: int
    stages: tuple[str, ...]
    scores: dict[str, StageScore] = field(default_factory=dict)
    committed: Committed = field(default_factory=Committed)
    started: float = field(default_factory=time.time)


OnProgress = Callable[[Progress], None]


def open_run(job: Job, config: JobConfig, run: RunDir) -> None:
    """Create the directory and its record, or check that it belongs to this config.

    Raises RunConflict naming the keys that differ, OutputUnwritable.
    """
    now = result_keys(config)
    if not run.record.exists():
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
        return
    changed = changed_keys(run.read_record()["result_keys"], now)
    if changed:
        raise RunConflict(
            f"{run.path} holds results of another config:\n"
            + "\n".join(f"  {line}" for line in changed),
            "take the old values, or start beside it with --new",
        )
    run.create()


def plan(config: JobConfig, run: RunDir, on_progress: Callable[..., None]) -> ManifestSummary:
    """The frozen manifest of a run; lists the source if that has not happened yet."""
    return load_summary(run.manifest) or freeze(
        config.source, run.manifest, on_progress=on_progress, storage=config.storage()
    )


def owed(run: RunDir) -> Iterator[tuple[str, pa.Table]]:
    """(part name, rows that no shard holds yet) of each manifest part, one part in memory."""
    for part in iter_parts(run.manifest):
        rows = pending_rows(read_part(part), done_ids(run, part.stem))
        yield part.stem, rows


def execute(
    job: Job, config: JobConfig, run: RunDir, total: int, on_progress: OnProgress
) -> dict[str, Any]:
    """Run what is owed. Returns the session's record; starts no Ray when nothing is owed.

    Raises NightjarError; what was committed until then stays.
    """
    run.drop_orphaned_rejects()
    flow = job.flow(config)
    done_before = sum(len(done_ids(run, part.stem)) for part in iter_parts(run.manifest))
    progress = Progress(total, done_before, tuple(s.name for s in flow.stages))
    session: dict[str, Any] = {"started": _now(), "versions": versions()}
    if done_before < total:
        with ExitStack() as stack:
            stack.callback(lambda: _close(run, session, progress))
            _waves(flow, config, run, progress, on_progress, session)
    return session


def _waves(
    flow: Flow,
    config: JobConfig,
    run: RunDir,
    progress: Progress,
    on_progress: OnProgress,
    session: dict[str, Any],
) -> None:
    from pipelines import engine  # starts no Ray before it is needed: importing it takes 2 s

    with engine.cluster(config.ray):
        flow = engine.sized(flow, config.ray)
        board = engine.start_board()
        session["pools"] = {s.name: s.pool.model_dump() for s in flow.stages}
        session["start_up_s"] = round(time.time() - progress.started, 2)
        for part, rows in owed(run):
            if rows.num_rows:
                committer = Committer(
                    run, part, rows["row_id"].to_numpy(), config.sink, progress.committed
                )
                _wave(flow, rows, board, committer, lambda: _look(board, progress, on_progress))
        session["models"] = _ask(board.setup)["provenance"]


def _wave(
    flow: Flow, rows: pa.Table, board: Any, committer: Committer, look: Callable[[], None]
) -> None:
    from pipelines import engine

    arrivals: queue.Queue[Any] = queue.Queue(maxsize=64)

    def pump() -> None:
        try:
            for bundle in engine.stream(flow, rows, board):
                arrivals.put(bundle)
            arrivals.put(None)
        except Exception as error:
            arrivals.put(error)

    threading.Thread(target=pump, name="nightjar-pump", daemon=True).start()
    next_look = 0.0
    while True:
        try:
            arrived = arrivals.get(timeout=_TICK_S)
        except queue.Empty:
            arrived = ()
        if arrived is None:
            break
        if isinstance(arrived, Exception):
            raise _explained(arrived, board)
        if arrived != ():
            committer.add(arrived)
        committer.tick()
        if time.monotonic() >= next_look:
            look()
            next_look = time.monotonic() + _TICK_S
    committer.finish()
    look()


def _look(board: Any, progress: Progress, on_progress: OnProgress) -> None:
    progress.scores = _ask(board.snapshot)
    on_progress(progress)


def _ask(method: Any) -> Any:
    import ray

    return ray.get(method.remote(), timeout=60)


def _explained(error: Exception, board: Any) -> NightjarError:
    """The error to stop with: a worker's own setup error if there is one, else what Ray says."""
    if isinstance(error, NightjarError):
        return error
    try:
        setup_errors = _ask(board.setup)["errors"]
    except Exception:  # the cluster itself is gone; then `error` is all there is
        setup_errors = []
    if setup_errors:
        stage, message, remedy = setup_errors[0]
        return WeightsMissing(f"{stage} cannot start: {message}", remedy)
    return RunFailed(
        f"the run stopped: {type(error).__name__}: {error}",
        "what is committed is kept; start the same command again",
    )


def _close(run: RunDir, session: dict[str, Any], progress: Progress) -> None:
    done = progress.committed
    seconds = time.time() - progress.started
    session |= {
        "ended": _now(),
        "seconds": round(seconds, 2),
        "rows": done.rows,
        "rows_per_s": round(done.rows / seconds, 3) if seconds else None,
        "first_commit_s": round(done.first_at - progress.started, 2) if done.first_at else None,
        "write_s": round(done.write_s, 2),
        "stages": {name: _score_record(score) for name, score in progress.scores.items()},
    }
    record = run.read_record()
    record["sessions"].append(session)
    record["totals"] = asdict(totals(run))
    run.write_record(record)


def _score_record(score: StageScore) -> dict[str, Any]:
    return {
        "rows": score.rows,
        "batches": score.batches,
        "busy_s": round(score.busy_s, 2),
        "seconds": {step: round(s, 2) for step, s in score.seconds.items()},
        "failures": dict(score.failures),
        "worker_deaths": score.deaths,
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def run_dir_of(config: JobConfig, *, new: bool) -> RunDir:
    """The directory to run in: the config's own, or the first free one beside it."""
    run = RunDir(Path(config.run_dir))
    return run.beside() if new else run
