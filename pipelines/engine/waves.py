"""The driver's loop: one wave per manifest part, from Ray's stream to committed shards."""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray

from pipelines.config import JobConfig
from pipelines.engine import cluster, scheduling, stream
from pipelines.engine.breaker import Breaker
from pipelines.engine.committer import Committer
from pipelines.engine.joined_cluster import check_reachable
from pipelines.engine.metrics import Meter, RunMetrics
from pipelines.engine.native_log import native_stderr_to
from pipelines.engine.progress import OnProgress, Progress
from pipelines.engine.sizes import pools
from pipelines.engine.stopping import Stop
from pipelines.errors import ClusterUnreachable, NightjarError, RunFailed, WeightsMissing
from pipelines.flow import Flow
from pipelines.runs.directory import RunDir
from pipelines.runs.session import Session
from pipelines.runs.shards import owed

#: Seconds between two reads of the scoreboard.
_TICK_S = 0.5


def run_waves(
    flow: Flow,
    config: JobConfig,
    run: RunDir,
    progress: Progress,
    on_progress: OnProgress,
    session: Session,
    stop: Stop,
    close: Callable[[], None],
) -> None:
    """Send all open rows through the flow, one manifest part at a time, and fill `session`.

    `close` records the session; it is called while Ray still runs, because Ray can hang at its end.

    Raises NightjarError or Stopped; committed rows are kept.
    """
    log, ray_runs = native_stderr_to(run.native_log), cluster.cluster(config.ray, stop)
    with log, ray_runs, closing_with(close):
        if config.ray.address and isinstance(run.path, Path):
            check_reachable(run.path)
        seconds = pools.measured(run.read_record().get("sessions", []))
        flow = pools.sized(flow, config.ray, progress.owed, config, seconds)
        board = stream.start_board(run.path.name)
        on_progress = _metered(run.path.name, on_progress)
        session.pools = {s.name: s.pool.model_dump() for s in flow.stages}
        session.start_up_s = round(time.time() - progress.started, 2)
        breaker = Breaker(config.limits, progress.committed)
        for part, rows in owed(run):
            if stop.signal is not None:
                break
            if rows.num_rows:
                ids = rows["row_id"].to_numpy()
                committer = Committer(run, part, ids, config.sink, progress.committed, breaker)
                show = partial(look, board, progress, on_progress)
                starting = Starting(flow, board, config.ray.start_timeout_s)
                ending = Ending(stop, progress, committer)
                run_wave(flow, rows, board, committer, run, show, starting, ending)
                session.models = _ask(board.setup)["provenance"]


@contextmanager
def closing_with(close: Callable[[], None]) -> Iterator[None]:
    """Call `close` at the end of the block, also after an error."""
    try:
        yield
    finally:
        close()


def _metered(run: str, on_progress: OnProgress) -> OnProgress:
    """`on_progress` that also publishes metrics."""
    metrics = RunMetrics(Meter(run))

    def both(progress: Progress) -> None:
        metrics.publish(progress.committed.outcomes, progress.waiting())
        on_progress(progress)

    return both


def run_wave(
    flow: Flow,
    rows: pa.Table,
    board: Any,
    committer: Committer,
    run: RunDir,
    look: Callable[[], None],
    starting: Starting,
    ending: Ending,
) -> None:
    """Send `rows` through the flow until `committer` has all; `look` updates the display.

    Raises NightjarError or Stopped; committed rows are kept.
    """
    arrivals: queue.Queue[Any] = queue.Queue(maxsize=64)
    # A thread, so that the loop can flush and draw while Ray has no finished blocks.
    threading.Thread(target=_pump, args=(flow, rows, board, arrivals), daemon=True).start()
    next_look = 0.0
    while (arrived := _next(arrivals)) is not _END:
        if isinstance(arrived, Exception):
            raise _explained(arrived, board, run)
        if arrived is not _NOTHING:
            committer.add(arrived)
        committer.tick()
        if ending.due(rows.num_rows):
            break
        if time.monotonic() >= next_look:
            cluster.check_alive()
            if not ending.asked:
                starting.check()
            look()
            next_look = time.monotonic() + _TICK_S
    committer.finish(whole=not ending.asked, check=ending.check)
    look()


class Ending:
    """What a wave does after a signal: finish the rows that have been started, and no others."""

    def __init__(self, stop: Stop, progress: Progress, committer: Committer) -> None:
        self._stop, self._progress, self._committer = stop, progress, committer
        self._begun = False

    @property
    def asked(self) -> bool:
        """Whether there was a signal."""
        return self._stop.signal is not None

    def due(self, rows: int) -> bool:
        """Whether the wave of `rows` rows must end now. Raises Stopped after a second signal."""
        self.check()
        if not self.asked:
            return False
        if not self._begun:
            left = scheduling.start_nothing_new()
            self._begun = left is not None
            if left is not None:
                self._progress.finishing = max(rows - left - self._committer.committed, 0)
        return not self._stop.in_time

    def check(self) -> None:
        """Raise Stopped after a second signal."""
        self._stop.check()


class Starting:
    """Checks that each pool gets a worker in time. Workers that are up already process rows."""

    def __init__(self, flow: Flow, board: Any, timeout_s: float) -> None:
        self._owed = {stage.name for stage in flow.stages}
        self._board = board
        self._timeout_s = timeout_s
        self._began = time.monotonic()

    def check(self) -> None:
        """Raise WeightsMissing if a model cannot start, ClusterUnreachable after the timeout.

        Ray Data itself waits for resources for ever.
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
                "check that the cluster has room for the pools, or raise ray.start_timeout_s",
            )


def _cannot_start(stage: str, message: str, remedy: str) -> WeightsMissing:
    return WeightsMissing(f"{stage} cannot start: {message}", remedy)


_END = object()
_NOTHING = object()


def _pump(flow: Flow, rows: pa.Table, board: Any, arrivals: queue.Queue[Any]) -> None:
    try:
        for bundle in stream.stream(flow, rows, board):
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
    """Read the scoreboard and update the display."""
    progress.scores = _ask(board.snapshot)
    on_progress(progress)


def _ask(method: Any) -> Any:
    return ray.get(method.remote(), timeout=60)


def _explained(error: Exception, board: Any, run: RunDir) -> NightjarError:
    """The error that stops the run: a worker's report if there is one, else Ray's error."""
    if isinstance(error, NightjarError):
        return error
    try:
        reported = _ask(board.setup)
        setup_errors, stops = reported["errors"], reported["stops"]
    except Exception:  # the cluster itself is gone, so only `error` is known
        setup_errors, stops = [], []
    if stops:
        stop: NightjarError = stops[0]
        return stop
    if setup_errors:
        return _cannot_start(*setup_errors[0])
    with suppress(NightjarError, OSError):  # must not hide the error that stops the run
        run.error_log.write_text("".join(traceback.format_exception(error)))
    last_line = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
    return RunFailed(
        f"the run stopped: {type(error).__name__}: {last_line} (traceback: {run.error_log})",
        "start the same command again; committed rows are kept",
    )
