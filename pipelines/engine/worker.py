"""The adapter that turns an Actor into a Ray Data callable: the one place that catches everything.

An exception out of a model is not a value of that model. The batch is halved until the culprit is
alone; it is quarantined as ENGINE_FAULT with the traceback, its neighbours keep their results. Only
a NightjarError is nobody's fault in particular: it stops the run.
"""

from __future__ import annotations

import gc
import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import psutil
import pyarrow as pa

from actors.contract import Actor
from actors.failures import FAILURE, FailureKind, SetupError, failure
from pipelines.engine.metrics import spending
from pipelines.engine.scoreboard import LONE_DEATHS_LIMIT
from pipelines.engine.scoreboard_link import BoardLink
from pipelines.errors import NightjarError
from pipelines.flow import Stage

Model = Callable[[pa.Table], pa.Table]

#: Seconds for Ray's own thread to send the last batch's answer, before the process ends itself.
_LAST_REPLY_S = 0.5


class StageWorker:
    """Holds one model in a worker process and never lets a row get lost in it."""

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

    def __call__(self, rows: pa.Table) -> pa.Table:
        """`rows` (columns of the flow so far, `row_id` among them) with the stage's columns."""
        name, ids = self._stage.name, rows["row_id"].to_pylist()
        suspects = self._board.begin(name, ids)
        start = time.perf_counter()
        out = self._one_by_one(rows) if suspects else self._bisected(rows)
        busy_s = time.perf_counter() - start
        self._board.end(name, ids, _failure_counts(out, self._actor), self._drained(), busy_s)
        if "vlm_usage" in self._actor.writes.names:
            self._board.report_spending(spending(out))
        for rider in self._stage.then:
            out = rider(out)
        return out

    def _bisected(self, rows: pa.Table) -> pa.Table:
        try:
            return checked(self._actor, self._actor(rows), rows)
        except NightjarError as error:  # no row is to blame: the run must stop
            self._board.report_stop(error)
            raise
        except (Exception, SystemExit):  # a sys.exit in a worker hangs Ray's pool (ray#62746)
            if rows.num_rows == 1:
                return quarantined(
                    self._actor, rows, FailureKind.ENGINE_FAULT, traceback.format_exc()
                )
        gc.collect()  # frees what the failed call still holds before the halves need memory
        half = rows.num_rows // 2
        return pa.concat_tables(
            [self._bisected(rows.slice(0, half)), self._bisected(rows.slice(half))]
        )

    def _one_by_one(self, rows: pa.Table) -> pa.Table:
        """A batch whose worker died: each row alone, so that the next death has one suspect."""
        name, ids = self._stage.name, rows["row_id"].to_pylist()
        self._board.release(name, ids)
        return pa.concat_tables(
            [self._alone(name, row, rows.slice(i, 1)) for i, row in enumerate(ids)]
        )

    def _alone(self, name: str, row: int, rows: pa.Table) -> pa.Table:
        lone_deaths = self._board.begin(name, [row]).get(row, 0)
        if lone_deaths >= LONE_DEATHS_LIMIT:
            what = f"{name} died {lone_deaths} times with this row alone in hand"
            out = quarantined(self._actor, rows, FailureKind.ENGINE_CRASH, what)
        else:
            out = self._bisected(rows)
        self._board.release(name, [row])
        return out

    def _drained(self) -> dict[str, float]:
        seconds = dict(self._actor.seconds)
        self._actor.seconds.clear()
        return seconds


class CrewWorker:
    """The models of one or more stages in a worker process: what Ray Data holds.

    A row that kills the process in a later stage is a suspect there alone. The stages before have
    ended its batch; when it comes again they do it again, and count its rows again.
    """

    def __init__(self, stages: Sequence[Stage], board: BoardLink) -> None:
        self._first = stages[0]
        self._board = board
        self._workers = [StageWorker(stage, board) for stage in stages]
        self._loaded_mb = own_memory_mb()

    def __call__(self, rows: pa.Table) -> pa.Table:
        """`rows` with the columns of all its stages."""
        self._end_if_worn()
        for worker in self._workers:
            rows = worker(rows)
        return rows

    def _end_if_worn(self) -> None:
        """End this process if it has grown too much: Ray starts another and hands it these rows.

        It is the only moment at which nothing is lost: the batch before has left, this one is not
        begun, so that no row is a suspect. It looks like a crash on purpose: after
        `ray.actor.exit_actor` or `sys.exit` Ray would start no other, and the run hang or fail.
        """
        limit = self._first.pool.recycle_mb
        if limit is None or own_memory_mb() - self._loaded_mb <= limit:
            return
        self._board.report_recycled(self._first.name)
        time.sleep(_LAST_REPLY_S)
        os._exit(0)


def own_memory_mb() -> float:
    """MiB that this process alone holds: without Ray's object store, which is mapped into it."""
    memory = psutil.Process().memory_info()
    return float(memory.rss - getattr(memory, "shared", 0)) / 2**20


def checked(actor: Actor[Any], out: pa.Table, rows: pa.Table) -> pa.Table:
    """`out`, if the model kept its contract: same rows, same order, declared columns appended.

    Raises TypeError or ValueError, which the caller treats like any exception out of the model.
    """
    expected = pa.schema([*rows.schema, *actor.writes])
    if not out.schema.equals(expected):
        raise TypeError(f"{type(actor).__name__} wrote {out.schema} where it declared {expected}")
    if out.num_rows != rows.num_rows or not out["row_id"].equals(rows["row_id"]):
        raise ValueError(f"{type(actor).__name__} lost, added or reordered rows")
    return out


def quarantined(actor: Actor[Any], rows: pa.Table, kind: FailureKind, message: str) -> pa.Table:
    """`rows` (one row) with null in every written column but the failure."""
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
