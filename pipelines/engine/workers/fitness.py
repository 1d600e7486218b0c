"""Tells a row that a model cannot read from a worker that can read nothing any more.

After an illegal access a CUDA device refuses every later call of its process. Such a worker fails
fast and would take most of the rows. So when the last row of a batch ends as ENGINE_FAULT, the
worker reads a row again that was readable before. If that works, the rows failed by themselves. If
not, the worker is spent: it ends without an answer, and Ray gives its rows to a new process. A dead
CUDA context is known by its error (`device`): then no row is read again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import pyarrow as pa

from actors.contract import Actor
from actors.failures import FailureKind
from pipelines.engine.workers.scoreboard_link import BoardLink
from pipelines.errors import NightjarError, WorkerUnfit

#: Processes in a row that read nothing at all, until the run stops. Three, because a single row
#: that spoils every process it is read in costs three: in its batch, alone, and alone again.
FRUITLESS_LIMIT = 3


class WorkerSpent(Exception):
    """This process can read no row any more. Its rows have no result and belong to nobody."""


class Fitness:
    """What one process knows about its own fitness for one stage.

    `call` runs the model on rows; it may raise any exception of the model.
    """

    def __init__(
        self, stage: str, actor: Actor[Any], board: BoardLink, call: Callable[[pa.Table], pa.Table]
    ) -> None:
        self._stage = stage
        self._actor = actor
        self._board = board
        self._call = call
        self._readable: pa.Table | None = None  # one row that this process has read
        self._proved = False
        self._fault = ""  # of the last row that `_reads` could not read

    def prove(self) -> None:
        """Before the first batch: read a row that another process has read, if there is one.

        A batch can spoil the device; if this row fails before it, no row in hand is the cause.
        Raises WorkerSpent or WorkerUnfit.
        """
        if self._proved:
            return
        self._proved = True
        known = self._board.readable(self._stage)
        if known is None:
            return
        if not self._reads(known):
            self._end_fruitless([], self._fault)
        self._keep(known)

    def judge(self, rows: pa.Table, out: pa.Table) -> None:
        """Return if the failures of `out` are those of its rows.

        Raises WorkerSpent if this process must end, WorkerUnfit if new processes read nothing
        either. The scoreboard knows the rows then.
        """
        kinds = [value and value["kind"] for value in out[self._actor.failure_column].to_pylist()]
        good = self._with_result(out)
        if self._readable is None and any(good):
            self._keep(rows.slice(good.index(True), 1))
        # Other failures say nothing about the device: a broken file never reaches it.
        faults = [kind == FailureKind.ENGINE_FAULT for kind in kinds]
        touched = [i for i, fault in enumerate(faults) if fault or good[i]]
        if not touched or not faults[touched[-1]]:
            return
        message = out[self._actor.failure_column][touched[-1]].as_py()["message"]
        ids = rows["row_id"].to_pylist()
        if self._readable is not None:
            if not self._reads(self._readable):
                self.end(rows, message)
            return
        # Nothing was ever read here. Since then another process may have read something.
        known = self._board.readable(self._stage)
        if known is not None and self._reads(known):
            self._keep(known)
            return
        self._end_fruitless(ids, message)

    def end(self, rows: pa.Table, message: str) -> NoReturn:
        """End this process: its device is dead, and one of `rows` may be the cause.

        Raises WorkerSpent, or WorkerUnfit if new processes read nothing either.
        """
        ids = rows["row_id"].to_pylist()
        if self._readable is None:
            self._end_fruitless(ids, message)
        self._board.report_spent(self._stage, ids, message)
        raise WorkerSpent(message)

    def _end_fruitless(self, rows: list[int], message: str) -> NoReturn:
        """End this process, which has read nothing; `rows` may be the cause."""
        processes = self._board.report_fruitless(self._stage, rows, message)
        if processes > FRUITLESS_LIMIT:
            last = (message.strip() or "no message").splitlines()[-1]
            raise WorkerUnfit(
                f"{self._stage}: {processes} new workers in a row failed on everything: {last}",
                "look at the device, its driver, its memory and this message, then start the same "
                "command again. Committed rows are kept",
            )
        raise WorkerSpent(message)

    def _with_result(self, out: pa.Table) -> list[bool]:
        """Rows with a result. Rows that the model skips have neither a result nor a failure."""
        names = [one.name for one in self._actor.writes if one.name != self._actor.failure_column]
        valid = [out[name].is_valid().to_pylist() for name in names]
        return [any(column[i] for column in valid) for i in range(out.num_rows)]

    def _keep(self, row: pa.Table) -> None:
        wanted = [name for name in row.column_names if name in {"row_id", *self._actor.reads.names}]
        # `take` copies: a slice would hold the memory of the whole batch.
        self._readable = row.select(wanted).take(pa.array([0]))
        self._board.report_readable(self._stage, self._readable)

    def _reads(self, row: pa.Table) -> bool:
        try:
            out = self._call(row)
        except NightjarError:  # the run must stop
            raise
        except (Exception, SystemExit) as error:
            self._fault = repr(error)
            return False
        (value,) = out[self._actor.failure_column].to_pylist()
        if value is None or value["kind"] != FailureKind.ENGINE_FAULT:
            return True
        self._fault = value["message"]
        return False
