"""Ray Data's scheduling threads: let them start nothing new, and end them.

Uses internals of Ray 2.60, which has no public call for either.
"""

from __future__ import annotations

import threading
import time

from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.data._internal.execution.operators.input_data_buffer import InputDataBuffer
from ray.data._internal.execution.streaming_executor import StreamingExecutor

from pipelines.engine.stopping import Stop

#: Seconds that the scheduling thread of an aborted stream gets to finish.
_LAST_LOOP_S = 10.0
_LOOK_S = 0.1


def end_streams(stop: Stop) -> None:
    """End Ray Data's scheduling threads, which outlive a stream that is not read to its end.

    If such a thread asks for a task's results after `ray.shutdown`, a check in C++ aborts this
    process (Ray 2.60, `TaskManager::PeekObjectRefStream`).
    """
    for thread in _executors():
        if stop.at_once:
            return
        thread.shutdown(force=True)  # waits 2 s for the loop
        latest = time.monotonic() + _LAST_LOOP_S
        while thread.is_alive() and time.monotonic() < latest and not stop.at_once:
            thread.join(_LOOK_S)


def _executors() -> list[StreamingExecutor]:
    """The scheduling threads of Ray Data in this process."""
    return [one for one in threading.enumerate() if isinstance(one, StreamingExecutor)]


class _NoNewBlocks(ExecutionCallback):
    """Empties the queue before the first pool, in the scheduling thread, which owns the queue."""

    def __init__(self) -> None:
        self.rows: int | None = None

    def on_execution_step(self, executor: StreamingExecutor) -> None:
        topology = executor._topology
        if self.rows is not None or topology is None:
            return
        rows = 0
        source = next(op for op in topology if isinstance(op, InputDataBuffer))
        waiting = topology[source].output_queue
        while (bundle := waiting.pop()) is not None:
            rows += bundle.num_rows() or 0
        self.rows = rows


def start_nothing_new() -> int | None:
    """Let the running stream start no more blocks; it ends when those it has started are done.

    Returns the number of rows that will not be started, or None if no stream runs (yet).
    """
    for executor in _executors():
        if executor._topology is None:
            continue
        emptied = _NoNewBlocks()
        executor._callbacks.append(emptied)
        while emptied.rows is None and executor.is_alive():
            time.sleep(_LOOK_S)
        return emptied.rows
    return None
