"""Parquet shards: written by workers into staging, made visible by the driver alone.

Shards themselves are the memory of what is done; there is no second ledger that could disagree.
A writer puts a whole shard into `staging/`; the driver, which holds the lock of the run directory,
renames it into `shards/`. So a worker that outlives its driver cannot commit anything, and a reader
never sees half a file. The name is made of the row ids: a retried write replaces its own file.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pydantic import Field

from actors.contract import Settings
from pipelines.manifest import iter_parts, read_part
from pipelines.rundir import RunDir


class SinkConfig(Settings):
    """When rows become a shard."""

    affects_results = False

    rows_per_shard: int = Field(2048, ge=1, description="rows of a full shard")
    flush_seconds: float = Field(
        60.0, gt=0, description="commit what there is after this long: what a crash can cost"
    )
    compression_level: int = Field(3, ge=1, le=22, description="zstd level")


@dataclass(frozen=True)
class StagedShard:
    """What a writer tells the driver about a shard in staging."""

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
    """Write `tables` as one shard (and its failed rows as rejects) into staging.

    Raises OSError (disk full, no permission); the caller names the directory.
    """
    rows = pa.concat_tables(tables).sort_by("row_id")
    ids = rows["row_id"].to_numpy()
    digest = hashlib.blake2b(ids.tobytes(), digest_size=8).hexdigest()
    name = f"{part}-{digest}.parquet"
    rejected = rows.filter(pc.equal(rows["outcome"], "failed"))
    if rejected.num_rows:
        _write(rejected, run.staging / f"rejects-{name}", sink)
    _write(rows, run.staging / name, sink)
    return StagedShard(
        name=name,
        row_ids=ids,
        outcomes=_counted(rows["outcome"]),
        failures=sum((_kinds(rows[c]) for c in failure_columns(rows.schema)), Counter()),
        bytes=(run.staging / name).stat().st_size,
    )


def _write(rows: pa.Table, path: Path, sink: SinkConfig) -> None:
    temporary = path.with_suffix(".tmp")
    pq.write_table(rows, temporary, compression="zstd", compression_level=sink.compression_level)
    temporary.replace(path)


def done_ids(run: RunDir, part: str) -> np.ndarray:
    """Sorted int64 row ids that are committed for one manifest part (8 bytes a row)."""
    files = run.shard_files(part)
    columns = [pq.read_table(f, columns=["row_id"])["row_id"].to_numpy() for f in files]
    return np.sort(np.concatenate(columns)) if columns else np.empty(0, np.int64)


def pending_rows(manifest: pa.Table, done: np.ndarray) -> pa.Table:
    """The rows of a manifest part that no shard holds yet."""
    return manifest.filter(pa.array(~np.isin(manifest["row_id"].to_numpy(), done)))


def owed(run: RunDir) -> Iterator[tuple[str, pa.Table]]:
    """(part name, rows that no shard holds yet) of each manifest part, one part in memory."""
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
    """Count a run by streaming three columns of its shards."""
    total = Totals()
    for path in run.shard_files():
        total.shards += 1
        total.bytes += path.stat().st_size
        schema = pq.read_schema(path)
        columns = ["outcome", "reasons", *failure_columns(schema)]
        rows = pq.read_table(path, columns=columns)
        total.rows += rows.num_rows
        total.outcomes.update(_counted(rows["outcome"]))
        total.reasons.update(_counted(pc.list_flatten(rows["reasons"])))
        for column in failure_columns(schema):
            total.failures.update(_kinds(rows[column]))
    return total


def find_row(run: RunDir, row_id: int) -> dict[str, object] | None:
    """Everything that the shards know of one row, or None."""
    files = run.shard_files()
    if not files:
        return None
    found = ds.dataset(files).to_table(filter=pc.field("row_id") == row_id)
    rows: list[dict[str, object]] = found.to_pylist()
    return rows[0] if rows else None


def iter_rows(run: RunDir, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Stream columns of all shards."""
    for path in run.shard_files():
        yield from pq.ParquetFile(path).iter_batches(columns=list(columns))


def _counted(column: pa.ChunkedArray) -> Counter[str]:
    counts = pc.value_counts(column.combine_chunks() if column.num_chunks else pa.array([]))
    return Counter({c["values"]: c["counts"] for c in counts.to_pylist()})


def _kinds(column: pa.ChunkedArray) -> Counter[str]:
    return _counted(pc.drop_null(pc.struct_field(column, "kind")))
