"""Turns finished blocks into committed shards, on the driver. It moves references, not rows.

Blocks collect until a shard is full or the flush interval has passed. A Ray task writes the shard
to staging. The driver checks its row ids against the open rows and commits it
(`pipelines.runs.store`). This check ensures that every row of the manifest is written exactly once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray.exceptions import RayTaskError

from pipelines.engine.breaker import Breaker
from pipelines.engine.progress import Committed
from pipelines.errors import NightjarError, RunFailed
from pipelines.runs.directory import RunDir
from pipelines.runs.faults import without
from pipelines.runs.shards import SinkConfig, StagedShard, stage_shard
from pipelines.storage.output_errors import output_error
from pipelines.storage.paths import parquet

#: Write tasks at once; more would only wait for the same disk.
_WRITERS = 4
#: Flush interval of the first rows of a session, in seconds: the user wants to see results early.
_FIRST_S = 0.3
#: The driver writes a smaller first shard itself: the process of a task takes 2 to 3 s to start.
_FIRST_BYTES = 8 << 20
#: Seconds between two looks for a signal while shards are written.
_LOOK_S = 0.5


class Committer:
    """Commits the rows of one manifest part. `owed`: int64 row ids (n,), each expected once.

    `breaker`: stops the run when too many rows fail; None: never.
    """

    def __init__(
        self,
        run: RunDir,
        part: str,
        owed: np.ndarray,
        sink: SinkConfig,
        done: Committed,
        breaker: Breaker | None = None,
    ) -> None:
        self._run, self._part, self._sink, self._done = run, part, sink, done
        self._breaker = breaker
        self._owed = np.sort(owed)
        self._arrived = np.zeros(len(owed), dtype=bool)
        self._gathered: list[tuple[Any, int, int]] = []  # (block ref, first row, end row)
        self._rows, self._bytes = 0, 0
        self._since = time.monotonic()
        self._writing: dict[Any, float] = {}

    def add(self, bundle: Any) -> None:
        """Add a finished bundle (Ray's RefBundle); start to write a shard when it is full."""
        if not self._gathered:
            self._since = time.monotonic()
        for entry, part in zip(bundle.blocks, bundle.slices, strict=True):
            first = part.start_offset if part else 0
            end = part.end_offset if part else entry.metadata.num_rows
            self._gathered.append((entry.ref, first, end))
            self._rows += end - first
            self._bytes += entry.metadata.size_bytes or _FIRST_BYTES
        if self._rows >= self._sink.rows_per_shard:
            self.flush()

    def tick(self) -> None:
        """Flush after the flush interval; commit the shards that are written."""
        longest = self._sink.flush_seconds
        patience = min(_FIRST_S, longest) if self._nothing_yet() else longest
        if self._gathered and time.monotonic() - self._since >= patience:
            self.flush()
        self._collect(wait=False)

    def flush(self) -> None:
        """Start to write the collected blocks as a shard."""
        while len(self._writing) >= _WRITERS:
            self._collect(wait=True)
        spans = [(first, end) for _, first, end in self._gathered]
        refs = [ref for ref, _, _ in self._gathered]
        if self._nothing_yet() and self._bytes < _FIRST_BYTES:
            self._write_here(spans, refs)
        else:
            task = _write.remote(self._run, self._part, self._sink, spans, *refs)
            self._writing[task] = time.monotonic()
        self._gathered, self._rows, self._bytes = [], 0, 0

    @property
    def committed(self) -> int:
        """Number of rows of this part that this session has committed."""
        return int(self._arrived.sum())

    def finish(self, *, whole: bool = True, check: Callable[[], None] = lambda: None) -> None:
        """Write and commit the rest. `check` is called every 0.5 s and may raise.

        Raises RunFailed if a row is missing and `whole` is true.
        """
        check()
        if self._gathered:
            self.flush()
        while self._writing:
            self._collect(wait=True)
            check()
        if not whole:
            return
        missing = self._owed[~self._arrived]
        if len(missing):
            raise RunFailed(
                f"{len(missing)} of {len(self._owed)} rows were lost in the flow "
                f"(first row_id: {missing[0]})",
                "start the same command again to process them. Please report this bug",
            )

    def _nothing_yet(self) -> bool:
        """Whether this session has neither written a shard nor started to."""
        return not self._done.shards and not self._writing

    def _write_here(self, spans: list[tuple[int, int]], refs: list[Any]) -> None:
        started = time.monotonic()
        tables = _cut(ray.get(refs), spans)
        try:
            shard = stage_shard(self._run, self._part, tables, self._sink)
        except OSError as error:
            raise output_error(self._run.path, error) from error
        self.commit(shard)
        self._done.write_s += time.monotonic() - started

    def _collect(self, *, wait: bool) -> None:
        timeout = _LOOK_S if wait else 0
        ready, _ = ray.wait(list(self._writing), timeout=timeout) if self._writing else ([], [])
        for task in ready:
            started = self._writing.pop(task)
            try:
                shard: StagedShard = ray.get(task)
            except RayTaskError as error:
                if isinstance(error.cause, OSError):
                    raise output_error(self._run.path, error.cause) from error
                if isinstance(error.cause, NightjarError):
                    raise error.cause from error
                raise
            self.commit(shard)
            self._done.write_s += time.monotonic() - started

    def commit(self, shard: StagedShard) -> None:
        """Check a staged shard against the open rows and commit it.

        Raises RunFailed, or TooManyFailures. Then rows that failed because of the environment are
        not committed: the next start processes them again.
        """
        trip = self._breaker.trip(shard) if self._breaker else None
        if trip is None:
            self._accept(shard)
            return
        if trip.kind is None:
            self._accept(shard)
        else:
            rows = without(parquet(self._run.staging / shard.name).read(), trip.column, trip.kind)
            if rows.num_rows:
                self._accept(stage_shard(self._run, self._part, [rows], self._sink))
        raise trip.error

    def _accept(self, shard: StagedShard) -> None:
        at = np.searchsorted(self._owed, shard.row_ids)
        known = (at < len(self._owed)) & (
            self._owed[np.minimum(at, len(self._owed) - 1)] == shard.row_ids
        )
        if not known.all() or self._arrived[at].any() or len(np.unique(at)) != len(at):
            raise RunFailed(
                f"shard {shard.name} holds a row twice, or a row that is not open",
                "start the same command again; the shard was not committed. Please report this bug",
            )
        self._arrived[at] = True
        self._run.commit(shard.name)
        done = self._done
        done.rows += len(shard.row_ids)
        done.shards += 1
        done.bytes += shard.bytes
        done.outcomes += shard.outcomes
        done.failures += shard.failures
        done.first_at = done.first_at or time.time()


@ray.remote(num_cpus=0, max_retries=3)
def _write(
    run: RunDir, part: str, sink: SinkConfig, spans: list[tuple[int, int]], *blocks: pa.Table
) -> StagedShard:
    return stage_shard(run, part, _cut(blocks, spans), sink)


def _cut(blocks: Sequence[pa.Table], spans: list[tuple[int, int]]) -> list[pa.Table]:
    return [
        block.slice(first, end - first) for block, (first, end) in zip(blocks, spans, strict=True)
    ]
