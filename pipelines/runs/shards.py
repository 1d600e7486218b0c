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
from collections.abc import Callable, Collection, Iterator, Sequence
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
from pipelines.runs.faults import Faults, faults
from pipelines.sources.manifest import iter_parts, read_part
from pipelines.storage.damage import NamedParquet, damaged
from pipelines.storage.paths import RunPath, parquet, write_parquet

T = TypeVar("T")

#: Columns of every shard; a file without them is none.
_CORE = ("row_id", "outcome", "reasons")

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
    faults: dict[str, Faults] = field(default_factory=dict)


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
    name = f"{part}-{digest_of_ids(ids)}.parquet"
    size = stage(run, name, rows, sink)
    return StagedShard(
        name=name,
        row_ids=ids,
        outcomes=_counted(rows["outcome"]),
        failures=kinds_in(rows),
        bytes=size,
        faults=faults(rows),
    )


def stage(run: RunDir, name: str, rows: pa.Table, sink: SinkConfig) -> int:
    """Write `rows` as the shard `name`, and its failed rows as rejects, into staging.

    Returns the size of the shard in bytes. Raises as `stage_shard`.
    """
    rejected = rows.filter(pc.equal(rows["outcome"], "failed"))
    packed: dict[str, Any] = {"compression": "zstd", "compression_level": sink.compression_level}
    if rejected.num_rows:
        write_parquet(rejected, run.staging / f"rejects-{name}", **packed)
    return write_parquet(rows, run.staging / name, **packed)


def digest_of_ids(ids: np.ndarray) -> str:
    """16 hex digits that name a set of int64 row ids (n,), given in ascending order."""
    return hashlib.blake2b(ids.tobytes(), digest_size=8).hexdigest()


def open_shard(path: RunPath) -> NamedParquet:
    """A committed shard. Raises RunDamaged (also for a Parquet file of something else)."""
    file = parquet(path)
    schema = file.schema_arrow
    lacking = [name for name in _CORE if name not in schema.names]
    if lacking:
        raise damaged(path, f"it lacks the columns {', '.join(lacking)}")
    if schema.field("row_id").type != pa.int64():
        raise damaged(path, f"its row_id is {schema.field('row_id').type}, not int64")
    return file


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
    retryable: int = 0  #: rows with a failure, whatever their outcome


def totals(run: RunDir) -> Totals:
    """Count the rows of a run by streaming a few columns of its shards."""
    total = Totals()
    for size, rows in each(run.shard_files(), _counted_columns):
        total.shards += 1
        total.bytes += size
        total.rows += rows.num_rows
        total.outcomes.update(_counted(rows["outcome"]))
        total.reasons.update(_counted(pc.list_flatten(rows["reasons"])))
        total.failures.update(kinds_in(rows))
        total.retryable += int(with_failure(rows).sum())
    return total


def with_failure(rows: pa.Table, kinds: Collection[str] = ()) -> np.ndarray:
    """Which rows have a failure of one of `kinds` in any column, bool (n,); no kinds: of any."""
    found = np.zeros(rows.num_rows, bool)
    for column in failure_columns(rows.schema):
        kind = pc.struct_field(rows[column], "kind")
        hit = pc.is_in(kind, pa.array(sorted(kinds))) if kinds else pc.is_valid(kind)
        found |= hit.to_numpy().astype(bool)
    return found


def find_row(run: RunDir, row_id: int) -> dict[str, object] | None:
    """One row with all columns, or None if no shard has it."""
    files = run.shard_files()
    for path, ids in zip(files, each(files, ids_of), strict=True):
        if row_id in ids:
            rows = open_shard(path).read()
            found: dict[str, object] = rows.filter(pc.equal(rows["row_id"], row_id)).to_pylist()[0]
            return found
    return None


def iter_rows(run: RunDir, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Stream the given columns of all shards."""
    for path in run.shard_files():
        yield from open_shard(path).iter_batches(columns=list(columns))


def ids_of(path: RunPath) -> np.ndarray:
    """The int64 row ids (n,) of one shard, in file order."""
    ids: np.ndarray = open_shard(path).read(columns=["row_id"])["row_id"].to_numpy()
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
    file = open_shard(path)
    columns = ["outcome", "reasons", *failure_columns(file.schema_arrow)]
    return path.stat().st_size, file.read(columns=columns)


def _counted(column: pa.ChunkedArray) -> Counter[str]:
    counts = pc.value_counts(column.combine_chunks() if column.num_chunks else pa.array([]))
    return Counter({c["values"]: c["counts"] for c in counts.to_pylist()})


def kinds_in(rows: pa.Table) -> Counter[str]:
    """Failure kind -> failures in all columns of `rows`."""
    columns = [pc.struct_field(rows[name], "kind") for name in failure_columns(rows.schema)]
    return sum((_counted(pc.drop_null(kinds)) for kinds in columns), Counter())
