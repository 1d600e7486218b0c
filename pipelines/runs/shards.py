"""Parquet shards: workers write them to staging, and only the driver commits them.

The shards are the only record of finished rows, so no second record can disagree. A writer puts a
complete shard into `staging/`. The driver, which holds the lock, renames it into `shards/` (in a
bucket: `pipelines.runs.store`). So a worker that outlives its driver cannot commit, and a reader
never sees a partial file. The file name is a hash of the row ids: a retried write replaces its own
file.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from actors.contract import Settings
from pipelines.runs.directory import RunDir
from pipelines.sources.manifest import iter_parts, read_part
from pipelines.storage.paths import RunPath, parquet, write_parquet

T = TypeVar("T")

#: Shards of a bucket that are read at once: each request takes 10 to 50 ms, even a small one.
_READERS = 16


class SinkConfig(Settings):
    """Size and compression of shards, and how often rows are committed."""

    affects_results = False

    rows_per_shard: int = Field(2048, ge=1, description="rows of a full shard")
    flush_seconds: float = Field(
        60.0,
        gt=0,
        description="seconds until finished rows are committed; a crash loses at most "
        "this much work",
    )
    compression_level: int = Field(3, ge=1, le=22, description="zstd level")


@dataclass(frozen=True)
class StagedShard:
    """A shard in staging, as its writer reports it to the driver."""

    name: str
    row_ids: np.ndarray  # int64
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    bytes: int = 0


def failure_columns(schema: pa.Schema) -> list[str]:
    """The columns that hold a FAILURE struct."""
    return [f.name for f in schema if f.name.endswith("_failure")]


def stage_shard(
    run: RunDir, part: str, tables: Sequence[pa.Table], sink: SinkConfig
) -> StagedShard:
    """Write `tables` as one shard, and its failed rows as rejects, into staging.

    Raises OSError (disk full, no permission) or OutputUnwritable (bucket).
    """
    rows = pa.concat_tables(tables).sort_by("row_id")
    ids = rows["row_id"].to_numpy()
    digest = hashlib.blake2b(ids.tobytes(), digest_size=8).hexdigest()
    name = f"{part}-{digest}.parquet"
    rejected = rows.filter(pc.equal(rows["outcome"], "failed"))
    packed: dict[str, Any] = {"compression": "zstd", "compression_level": sink.compression_level}
    if rejected.num_rows:
        write_parquet(rejected, run.staging / f"rejects-{name}", **packed)
    size = write_parquet(rows, run.staging / name, **packed)
    return StagedShard(
        name=name,
        row_ids=ids,
        outcomes=_counted(rows["outcome"]),
        failures=sum((_kinds(rows[c]) for c in failure_columns(rows.schema)), Counter()),
        bytes=size,
    )


def done_ids(run: RunDir, part: str) -> np.ndarray:
    """Sorted int64 row ids (n,) that are committed for one manifest part."""
    files = run.shard_files(part)
    columns = [*each(files, ids_of)]
    return np.sort(np.concatenate(columns)) if columns else np.empty(0, np.int64)


def pending_rows(manifest: pa.Table, done: np.ndarray) -> pa.Table:
    """The rows of a manifest part whose ids are not in `done`."""
    return manifest.filter(pa.array(~np.isin(manifest["row_id"].to_numpy(), done)))


def owed(run: RunDir) -> Iterator[tuple[str, pa.Table]]:
    """(part name, rows still to do) of each manifest part; one part is in memory at a time."""
    for part in iter_parts(run.manifest):
        yield part.stem, pending_rows(read_part(part), done_ids(run, part.stem))


@dataclass
class Totals:
    """Counts over all shards of a run."""

    rows: int = 0
    shards: int = 0
    bytes: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


def totals(run: RunDir) -> Totals:
    """Count the rows of a run by streaming a few columns of its shards."""
    total = Totals()
    for size, rows in each(run.shard_files(), _counted_columns):
        total.shards += 1
        total.bytes += size
        total.rows += rows.num_rows
        total.outcomes.update(_counted(rows["outcome"]))
        total.reasons.update(_counted(pc.list_flatten(rows["reasons"])))
        for column in failure_columns(rows.schema):
            total.failures.update(_kinds(rows[column]))
    return total


def find_row(run: RunDir, row_id: int) -> dict[str, object] | None:
    """One row with all columns, or None if no shard has it."""
    files = run.shard_files()
    for path, ids in zip(files, each(files, ids_of), strict=True):
        if row_id in ids:
            rows = parquet(path).read()
            found: dict[str, object] = rows.filter(pc.equal(rows["row_id"], row_id)).to_pylist()[0]
            return found
    return None


def iter_rows(run: RunDir, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Stream the given columns of all shards."""
    for path in run.shard_files():
        yield from parquet(path).iter_batches(columns=list(columns))


def ids_of(path: RunPath) -> np.ndarray:
    """The int64 row ids (n,) of one shard, in file order."""
    ids: np.ndarray = parquet(path).read(columns=["row_id"])["row_id"].to_numpy()
    return ids


def each(files: Sequence[RunPath], read: Callable[[RunPath], T]) -> Iterator[T]:
    """`read(file)` for each file, in order; several at once if they are in a bucket."""
    if not files or isinstance(files[0], Path):
        yield from map(read, files)
        return
    with ThreadPoolExecutor(_READERS, "nightjar-shards") as readers:
        waiting: deque[Future[T]] = deque()
        for path in files:
            waiting.append(readers.submit(read, path))
            if len(waiting) > 2 * _READERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _counted_columns(path: RunPath) -> tuple[int, pa.Table]:
    file = parquet(path)
    columns = ["outcome", "reasons", *failure_columns(file.schema_arrow)]
    return path.stat().st_size, file.read(columns=columns)


def _counted(column: pa.ChunkedArray) -> Counter[str]:
    counts = pc.value_counts(column.combine_chunks() if column.num_chunks else pa.array([]))
    return Counter({c["values"]: c["counts"] for c in counts.to_pylist()})


def _kinds(column: pa.ChunkedArray) -> Counter[str]:
    return _counted(pc.drop_null(pc.struct_field(column, "kind")))
