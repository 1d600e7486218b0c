"""Turns an Actor into a Ray Data callable. The only module that catches every exception.

After an exception in a model, the batch is halved until the failing row is alone. This row is
quarantined as ENGINE_FAULT with the traceback; the other rows keep their results. A NightjarError
or a SetupError is not caused by a row: it stops the run. `fitness` tells such rows from a worker
that can read nothing any more.
"""

from __future__ import annotations

import gc
import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import psutil
import pyarrow as pa

from actors.contract import Actor
from actors.failures import FAILURE, FailureKind, SetupError, failure
from pipelines.engine.metrics import spending
from pipelines.engine.workers import device
from pipelines.engine.workers.fitness import Fitness, WorkerSpent
from pipelines.engine.workers.scoreboard import LONE_DEATHS_LIMIT
from pipelines.engine.workers.scoreboard_link import BoardLink
from pipelines.errors import NightjarError, WorkerUnfit
from pipelines.flow import Stage

Model = Callable[[pa.Table], pa.Table]

#: Seconds that Ray's thread gets to send the last batch before the process ends itself.
_LAST_REPLY_S = 0.5


class StageWorker:
    """Holds one model in a worker process and returns every row, with a result or a failure."""

    def __init__(self, stage: Stage, board: BoardLink) -> None:
        self._stage = stage
        self._board = board
        try:
            here = stage.here()
            self._actor: Actor[Any] = stage.actor(here.settings)
        except SetupError as error:
            board.report_setup_error(stage.name, error.message, error.remedy)
            raise
        except Exception:
            board.report_setup_error(stage.name, traceback.format_exc(limit=-6), "")
            raise
        made = {name: here.named(text) for name, text in self._actor.provenance().items()}
        board.report_setup(stage.name, made)
        # With several batches at once there is no moment at which only one batch loses its process.
        watched = self._actor.repeatable and stage.pool.concurrency == 1
        self._fitness = Fitness(stage.name, self._actor, board, self._called) if watched else None

    def __call__(self, rows: pa.Table) -> pa.Table:
        """`rows` (the columns of the flow so far, with `row_id`) plus the stage's columns.

        Raises WorkerSpent if this process must end; Ray then gives the rows to another one. Raises
        NightjarError if the run must stop.
        """
        name, ids = self._stage.name, rows["row_id"].to_pylist()
        self._prove()
        suspects = self._board.begin(name, ids)
        start = time.perf_counter()
        out = self._one_by_one(rows) if suspects else self._judged(rows)
        busy_s = time.perf_counter() - start
        self._board.end(name, ids, _failure_counts(out, self._actor), self._drained(), busy_s)
        if "vlm_usage" in self._actor.writes.names:
            self._board.report_spending(spending(out))
        for rider in self._stage.then:
            out = rider(out)
        return out

    def _prove(self) -> None:
        if self._fitness:
            with self._reported():
                self._fitness.prove()

    def _judged(self, rows: pa.Table) -> pa.Table:
        if self._fitness is None:
            return self._bisected(rows)
        try:
            out = self._bisected(rows)
        except device.ContextDead as dead:
            with self._reported():
                self._fitness.end(rows, str(dead))
        with self._reported():
            self._fitness.judge(rows, out)
        return out

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Report an error that no row causes: the driver stops the run with it."""
        try:
            yield
        except NightjarError as error:
            self._board.report_stop(error)
            raise

    def _called(self, rows: pa.Table) -> pa.Table:
        """The model's answer. Raises NightjarError for a fault of no row."""
        try:
            return checked(self._actor, self._actor(rows), rows)
        except SetupError as error:
            raise WorkerUnfit(f"{self._stage.name}: {error.message}", error.remedy) from error

    def _bisected(self, rows: pa.Table) -> pa.Table:
        try:
            with self._reported():
                return self._called(rows)
        except NightjarError:  # not caused by a row: the run must stop
            raise
        except (Exception, SystemExit) as error:  # sys.exit would hang Ray's pool (ray#62746)
            if self._fitness and device.is_dead(error):
                raise device.ContextDead(traceback.format_exc()) from error
            if rows.num_rows == 1:
                return quarantined(
                    self._actor, rows, FailureKind.ENGINE_FAULT, traceback.format_exc()
                )
        gc.collect()  # frees the memory of the failed call before the halves need it
        half = rows.num_rows // 2
        return pa.concat_tables(
            [self._bisected(rows.slice(0, half)), self._bisected(rows.slice(half))]
        )

    def _one_by_one(self, rows: pa.Table) -> pa.Table:
        """Process a batch whose worker died row by row, so that the next death has one suspect."""
        name, ids = self._stage.name, rows["row_id"].to_pylist()
        self._board.release(name, ids)
        return pa.concat_tables(
            [self._alone(name, row, rows.slice(i, 1)) for i, row in enumerate(ids)]
        )

    def _alone(self, name: str, row: int, rows: pa.Table) -> pa.Table:
        lone_deaths = self._board.begin(name, [row]).get(row, 0)
        if lone_deaths >= LONE_DEATHS_LIMIT:
            what = f"{name} died {lone_deaths} times while it processed only this row"
            said = self._board.said_of(name, row)
            kind = FailureKind.ENGINE_FAULT if said else FailureKind.ENGINE_CRASH
            out = quarantined(self._actor, rows, kind, said or what)
        else:
            out = self._judged(rows)
        self._board.release(name, [row])
        return out

    def _drained(self) -> dict[str, float]:
        seconds = dict(self._actor.seconds)
        self._actor.seconds.clear()
        return seconds


class CrewWorker:
    """The models of one or more stages in one worker process; the callable for Ray Data.

    A row that kills the process in a later stage is a suspect only in that stage. Earlier stages
    have ended its batch; they process and count it again when Ray repeats it.
    """

    def __init__(self, stages: Sequence[Stage], board: BoardLink) -> None:
        self._first = stages[0]
        self._board = board
        device.share_memory(stages)
        self._workers = [StageWorker(stage, board) for stage in stages]
        # torch, transformers and the models are 450,000 objects: each gc.collect() after a failed
        # batch would take 0.2 s.
        gc.freeze()
        self._loaded_mb = own_memory_mb()

    def __call__(self, rows: pa.Table) -> pa.Table:
        """`rows` plus the columns of all its stages."""
        self._end_if_worn()
        try:
            for worker in self._workers:
                rows = worker(rows)
        except WorkerSpent:
            _end_process()
        return rows

    def _end_if_worn(self) -> None:
        """End this process if its memory has grown too much. Ray gives the rows to a new process.

        Between two batches no row is in progress, so no row becomes a suspect.
        """
        limit = self._first.pool.recycle_mb
        if limit is None or own_memory_mb() - self._loaded_mb <= limit:
            return
        self._board.report_recycled(self._first.name)
        _end_process()


def _end_process() -> NoReturn:
    """End this process; Ray starts another one and gives it the rows.

    The exit looks like a crash on purpose: after `ray.actor.exit_actor` or `sys.exit` Ray would not
    start another worker, and the run would hang or fail.
    """
    time.sleep(_LAST_REPLY_S)
    os._exit(0)


def own_memory_mb() -> float:
    """Memory of this process in MiB, without shared memory such as Ray's object store."""
    memory = psutil.Process().memory_info()
    return float(memory.rss - getattr(memory, "shared", 0)) / 2**20


def checked(actor: Actor[Any], out: pa.Table, rows: pa.Table) -> pa.Table:
    """`out`, if it has the same rows in the same order with exactly the declared new columns.

    Raises TypeError or ValueError, which the caller handles like an exception of the model.
    """
    expected = pa.schema([*rows.schema, *actor.writes])
    if not out.schema.equals(expected):
        raise TypeError(f"{type(actor).__name__} wrote {out.schema} but declared {expected}")
    if out.num_rows != rows.num_rows or not out["row_id"].equals(rows["row_id"]):
        raise ValueError(f"{type(actor).__name__} lost, added or reordered rows")
    return out


def quarantined(actor: Actor[Any], rows: pa.Table, kind: FailureKind, message: str) -> pa.Table:
    """`rows` (one row) with a failure, and null in the other columns of the actor."""
    for column in actor.writes:
        if column.name == actor.failure_column:
            value = pa.array([failure(kind, message[-2000:])] * rows.num_rows, FAILURE)
        else:
            value = pa.nulls(rows.num_rows, column.type)
        rows = rows.append_column(column, value)
    return rows


def _failure_counts(out: pa.Table, actor: Actor[Any]) -> dict[str, int]:
    values = out[actor.failure_column].to_pylist()
    return dict(Counter(value["kind"] for value in values if value is not None))
