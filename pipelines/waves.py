"""The driver's loop: one wave per manifest part, from Ray's stream to committed shards."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import pyarrow as pa
import ray

from pipelines import engine
from pipelines.commit import Committer
from pipelines.config import JobConfig
from pipelines.errors import ClusterUnreachable, NightjarError, RunFailed, WeightsMissing
from pipelines.flow import Flow
from pipelines.joining import check_reachable
from pipelines.metrics import Meter, RunMetrics
from pipelines.progress import OnProgress, Progress
from pipelines.rundir import RunDir
from pipelines.s3_path import RunPath
from pipelines.shards import owed

#: Seconds between two looks at the scoreboard.
_TICK_S = 0.5
#: Of the native log that a bucket keeps: its end.
_LOG_BYTES = 1 << 20


def run_waves(
    flow: Flow,
    config: JobConfig,
    run: RunDir,
    progress: Progress,
    on_progress: OnProgress,
    session: dict[str, Any],
) -> None:
    """Send everything owed through the flow; what ran where goes into `session`."""
    with native_stderr_to(run.native_log), engine.cluster(config.ray):
        if config.ray.address and isinstance(run.path, Path):
            check_reachable(run.path)
        flow = engine.sized(flow, config.ray, progress.owed)
        board = engine.start_board(run.path.name)
        on_progress = _metered(run.path.name, on_progress)
        session["pools"] = {s.name: s.pool.model_dump() for s in flow.stages}
        session["start_up_s"] = round(time.time() - progress.started, 2)
        for part, rows in owed(run):
            if rows.num_rows:
                ids = rows["row_id"].to_numpy()
                committer = Committer(run, part, ids, config.sink, progress.committed)
                starting = Starting(flow, board, config.ray.start_timeout_s)
                run_wave(
                    flow,
                    rows,
                    board,
                    committer,
                    run,
                    lambda: look(board, progress, on_progress),
                    starting,
                )
        session["models"] = _ask(board.setup)["provenance"]


def _metered(run: str, on_progress: OnProgress) -> OnProgress:
    """Whatever is shown is published as well."""
    metrics = RunMetrics(Meter(run))

    def both(progress: Progress) -> None:
        metrics.publish(progress.committed.outcomes, progress.waiting())
        on_progress(progress)

    return both


@contextmanager
def native_stderr_to(path: RunPath) -> Iterator[None]:
    """Send what C++ writes to file descriptor 2 to a file; Python's stderr stays where it was.

    Ray warns there about every pool of Ray Data (ray#53727), in the middle of the display. In a
    bucket, which knows no appending, it is the log of the last session.
    """
    sys.stderr.flush()
    python_stderr, terminal = sys.stderr, os.dup(2)
    with _log_file(path) as log, os.fdopen(terminal, "w", buffering=1) as sys.stderr:
        os.dup2(log.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            sys.stderr = python_stderr


@contextmanager
def _log_file(path: RunPath) -> Iterator[IO[bytes]]:
    if isinstance(path, Path):
        with path.open("ab") as log:
            yield log
        return
    with TemporaryFile() as log:
        try:
            yield log
        finally:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_BYTES))
            with suppress(NightjarError):  # what went wrong before matters more
                path.write_bytes(log.read())


def run_wave(
    flow: Flow,
    rows: pa.Table,
    board: Any,
    committer: Committer,
    run: RunDir,
    look: Callable[[], None],
    starting: Starting,
) -> None:
    """Send `rows` through the flow until `committer` has all of them; `look` draws meanwhile.

    Raises NightjarError; what was committed until then stays.
    """
    arrivals: queue.Queue[Any] = queue.Queue(maxsize=64)
    # A thread, so that the loop can flush and draw while Ray has nothing finished to hand over.
    threading.Thread(target=_pump, args=(flow, rows, board, arrivals), daemon=True).start()
    next_look = 0.0
    while (arrived := _next(arrivals)) is not _END:
        if isinstance(arrived, Exception):
            raise _explained(arrived, board, run)
        if arrived is not _NOTHING:
            committer.add(arrived)
        committer.tick()
        if time.monotonic() >= next_look:
            engine.check_alive()
            starting.check()
            look()
            next_look = time.monotonic() + _TICK_S
    committer.finish()
    look()


class Starting:
    """Waits for a worker of every pool to be up, while those that are up already work."""

    def __init__(self, flow: Flow, board: Any, timeout_s: float) -> None:
        self._owed = {stage.name for stage in flow.stages}
        self._board = board
        self._timeout_s = timeout_s
        self._began = time.monotonic()

    def check(self) -> None:
        """Raises WeightsMissing where a model cannot start, ClusterUnreachable after the timeout.

        Ray Data waits for resources for ever.
        """
        if not self._owed:
            return
        reported = _ask(self._board.setup)
        if reported["errors"]:
            raise _cannot_start(*reported["errors"][0])
        self._owed -= set(reported["provenance"])
        waited = time.monotonic() - self._began
        if self._owed and waited > self._timeout_s:
            raise ClusterUnreachable(
                f"no worker of {', '.join(sorted(self._owed))} has started in {waited:.0f} s",
                "see that the cluster has room for the pools, or raise ray.start_timeout_s",
            )


def _cannot_start(stage: str, message: str, remedy: str) -> WeightsMissing:
    return WeightsMissing(f"{stage} cannot start: {message}", remedy)


_END = object()
_NOTHING = object()


def _pump(flow: Flow, rows: pa.Table, board: Any, arrivals: queue.Queue[Any]) -> None:
    try:
        for bundle in engine.stream(flow, rows, board):
            arrivals.put(bundle)
        arrivals.put(_END)
    except Exception as error:
        arrivals.put(error)


def _next(arrivals: queue.Queue[Any]) -> Any:
    try:
        return arrivals.get(timeout=_TICK_S)
    except queue.Empty:
        return _NOTHING


def look(board: Any, progress: Progress, on_progress: OnProgress) -> None:
    """Fetch the scoreboard and hand it to the display."""
    progress.scores = _ask(board.snapshot)
    on_progress(progress)


def _ask(method: Any) -> Any:
    return ray.get(method.remote(), timeout=60)


def _explained(error: Exception, board: Any, run: RunDir) -> NightjarError:
    """The error to stop with: what a worker reported if it did, else what Ray says."""
    if isinstance(error, NightjarError):
        return error
    try:
        reported = _ask(board.setup)
        setup_errors, stops = reported["errors"], reported["stops"]
    except Exception:  # the cluster itself is gone; then `error` is all there is
        setup_errors, stops = [], []
    if stops:
        stop: NightjarError = stops[0]
        return stop
    if setup_errors:
        return _cannot_start(*setup_errors[0])
    with suppress(NightjarError, OSError):  # the run stops for another reason than this
        run.error_log.write_text("".join(traceback.format_exception(error)))
    last_line = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
    return RunFailed(
        f"the run stopped: {type(error).__name__}: {last_line} (all of it: {run.error_log})",
        "what is committed is kept; start the same command again",
    )
