"""The frozen plan of a run: one row per output unit, listed once, in Parquet parts.

A row's id is a hash of uri, etag and page, so that it means the same bytes in every run. A part is
a wave of the run. `_SUMMARY.json` is written last; without it nothing counts as frozen.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from actors.failures import FailureKind
from pipelines.errors import RunConflict, SourceUnavailable
from pipelines.sources.inspection import PageCounter, Probed, Prober
from pipelines.sources.listing import Source, SourceConfig
from pipelines.storage.client import Storage
from pipelines.storage.paths import RunPath, parquet

#: `uri`: see `pipelines.storage.objects`. `page`: 1-based, of `pages`. `etag` and `bytes`: of the
#: file or, for a member, the etag of its archive and its own unpacked size. `kind`: as
#: `render.sniff` names it, "archive" for one that cannot be listed, "unknown" for what is no
#: document.
MANIFEST = pa.schema(
    [
        ("row_id", pa.int64()),
        ("uri", pa.string()),
        ("page", pa.int32()),
        ("pages", pa.int32()),
        ("etag", pa.string()),
        ("bytes", pa.int64()),
        ("kind", pa.string()),
    ]
)


class ManifestRow(TypedDict):
    """A row of MANIFEST. `etag` is "" where the listing does not know it."""

    row_id: int
    uri: str
    page: int
    pages: int
    etag: str
    bytes: int
    kind: str


SCHEMA_VERSION = 1
SUMMARY_NAME = "_SUMMARY.json"

#: Rows that become Arrow at once: the plan's memory, about 300 bytes each as Python objects.
_BATCH_ROWS = 10_000
#: Objects that storage may refuse to give before the plan stops: it would freeze an outage.
_MAX_STORAGE_ERRORS = 100
_PROGRESS_S = 0.2
_OURS = re.compile(r"\.?(part-\d+\.parquet|_SUMMARY\.json)(\.\w+\.tmp)?")

OnProgress = Callable[[int, int, int], None]  #: files, pages, bytes so far


class ManifestSummary(BaseModel):
    """What was listed. All numbers of files and pages are of those in the manifest, once each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA_VERSION
    listed_at: str
    source: dict[str, Any]
    parts: int
    files: int
    pages: int
    bytes: int
    kinds: dict[str, int]  #: files by kind
    skipped: int  #: files of no known kind, left out as `unknown: skip` asks
    duplicates: int  #: pages listed again
    passed_over: dict[str, int]  #: names by reason: hidden, excluded, not a regular file, ...
    uncounted: dict[str, int]  #: files by why their pages could not be counted; one row each


def row_id(uri: str, etag: str, page: int) -> int:
    """int64 id of a page. Among 10^8 rows two share one with a chance of 3 in 10,000."""
    digest = hashlib.blake2b(f"{uri}\0{etag}\0{page}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def freeze(
    source: SourceConfig,
    directory: RunPath,
    *,
    storage: Storage,
    open_counter: Callable[[], PageCounter],
    output: Storage | None = None,
    rows_per_part: int = 1_000_000,
    on_progress: OnProgress = lambda files, pages, size: None,
) -> ManifestSummary:
    """List `source` and write its manifest into `directory`, which may hold a broken attempt.

    `output`: where `directory` is, if not where the source is.
    `open_counter` makes a Sandbox; one per core is in use. `on_progress` is called at most five
    times a second. Raises RunConflict if `directory` is frozen, SourceUnavailable (also if nothing
    is listed), OutputUnwritable.
    """
    if load_summary(directory):
        raise RunConflict(f"{directory} is frozen already", "plan into another directory")
    output = output or storage
    for name in output.list_names(str(directory)):
        if _OURS.fullmatch(name):
            output.delete(str(directory / name))
    listing = Source(source, storage)
    tally = _Tally(source, _Parts(directory, output, rows_per_part), on_progress)
    with Prober(listing, storage, open_counter) as prober:
        for probed in prober:
            tally.add(probed)
    summary = tally.finish(listing.skipped)
    document = summary.model_dump_json(indent=2) + "\n"
    output.write_bytes(str(directory / SUMMARY_NAME), document.encode())
    return summary


def load_summary(directory: RunPath) -> ManifestSummary | None:
    """The summary of a frozen manifest; None if there is none. Raises RunConflict."""
    path = directory / SUMMARY_NAME
    try:
        summary = ManifestSummary.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        raise _foreign(path, f"{error.error_count()} fields differ") from error
    if summary.schema_version != SCHEMA_VERSION:
        raise _foreign(path, f"schema {summary.schema_version}, not {SCHEMA_VERSION}")
    return summary


def iter_parts(directory: RunPath) -> Iterator[RunPath]:
    """The part files in order; none before the manifest is frozen.

    Named by the summary: a listing may be behind, and a part that it lacks would never be run.
    """
    summary = load_summary(directory)
    for number in range(summary.parts if summary else 0):
        yield directory / _part_name(number)


def read_part(path: RunPath) -> pa.Table:
    """One part as a table of MANIFEST. Raises RunConflict."""
    try:
        table = parquet(path).read()
    except pa.ArrowException as error:
        raise _foreign(path, str(error)) from error
    if not table.schema.equals(MANIFEST):
        raise _foreign(path, f"its columns are {', '.join(table.schema.names)}")
    return table


class _Tally:
    """Turns probed files into batches of distinct rows, and counts."""

    def __init__(self, source: SourceConfig, parts: _Parts, on_progress: OnProgress) -> None:
        self._source = source
        self._parts = parts
        self._on_progress = on_progress
        self._seen = SeenIds()
        self._rows: list[tuple[Any, ...]] = []  # those of MANIFEST, and: the first of its file?
        self._kinds: Counter[str] = Counter()
        self._uncounted: Counter[str] = Counter()
        self._pages = self._bytes = self._skipped = self._duplicates = 0
        self._reported = 0.0

    def add(self, probed: Probed) -> None:
        """Take one file. Raises SourceUnavailable when too many could not be read."""
        (uri, etag, size, _, wanted), kind, pages, fault = probed
        if kind == "unknown" and fault is None and self._source.unknown == "skip":
            self._skipped += 1
            return
        if fault:
            self._uncounted[fault.value] += 1
            self._stop_in_an_outage(uri)
        self._kinds[kind] += 1
        self._bytes += size
        for number, page in enumerate(wanted or range(1, pages + 1)):
            key = row_id(uri, etag, page)
            self._rows.append((key, uri, page, pages, etag, size, kind, number == 0))
            self._pages += 1
            if len(self._rows) == _BATCH_ROWS:
                self._flush()
        self._report()

    def finish(self, passed_over: Counter[str]) -> ManifestSummary:
        """Write what is left. Raises SourceUnavailable if there is nothing at all."""
        self._flush()
        self._parts.finish()
        kinds = {kind: count for kind, count in sorted(self._kinds.items()) if count}
        if not kinds:
            left_out = passed_over + Counter({"no document": self._skipped})
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())
            raise SourceUnavailable(
                f"source {self._source.path}: nothing to read there"
                + (f"; left out: {reasons}" if reasons else ""),
                "check source.path, include, exclude, hidden and unknown",
            )
        return ManifestSummary(
            listed_at=datetime.now(UTC).isoformat(timespec="seconds"),
            source=self._source.model_dump(mode="json"),
            parts=self._parts.count,
            files=sum(kinds.values()),
            pages=self._pages,
            bytes=self._bytes,
            kinds=kinds,
            skipped=self._skipped,
            duplicates=self._duplicates,
            passed_over=dict(passed_over),
            uncounted=dict(self._uncounted),
        )

    def _flush(self) -> None:
        if not self._rows:
            return
        *columns, first = zip(*self._rows, strict=True)
        self._rows.clear()
        arrays = [pa.array(c, f.type) for c, f in zip(columns, MANIFEST, strict=True)]
        table = pa.table(arrays, MANIFEST)
        new = self._seen.add(table["row_id"].to_numpy())
        if not new.all():
            self._uncount(table.filter(pa.array(~new)), np.array(first)[~new])
            table = table.filter(pa.array(new))
        self._parts.write(table)

    def _uncount(self, again: pa.Table, first: npt.NDArray[np.bool_]) -> None:
        files = again.filter(pa.array(first))
        self._kinds.subtract(files["kind"].to_pylist())
        self._bytes -= sum(files["bytes"].to_pylist())
        self._pages -= again.num_rows
        self._duplicates += again.num_rows

    def _report(self) -> None:
        now = time.monotonic()
        if now - self._reported >= _PROGRESS_S:
            self._reported = now
            self._on_progress(self._kinds.total(), self._pages, self._bytes)

    def _stop_in_an_outage(self, uri: str) -> None:
        if self._uncounted[FailureKind.STORAGE_ERROR.value] > _MAX_STORAGE_ERRORS:
            raise SourceUnavailable(
                f"source {self._source.path}: more than {_MAX_STORAGE_ERRORS} objects could not "
                f"be read, the last was {uri}",
                "a manifest of them would be one of failures; check the storage and plan again",
            )


class SeenIds:
    """Row ids so far, 8 bytes each, in sorted runs of which each is over twice the next."""

    def __init__(self) -> None:
        self._runs: list[npt.NDArray[np.int64]] = []

    def add(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Take more ids, shape (n,). Returns which were new; of equal ones the first."""
        distinct, first_at = np.unique(ids, return_index=True)
        fresh = np.ones(len(distinct), np.bool_)
        for run in self._runs:
            at = np.searchsorted(run, distinct)
            fresh &= run[np.minimum(at, len(run) - 1)] != distinct
        if fresh.any():
            self._runs.append(distinct[fresh])
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            merged = np.concatenate([self._runs.pop(), self._runs.pop()])
            merged.sort(kind="stable")  # merges two sorted runs in linear time
            self._runs.append(merged)
        new = np.zeros(len(ids), np.bool_)
        new[first_at[fresh]] = True
        return new


class _Parts:
    """Writes tables of MANIFEST as parts of a fixed number of rows; the last may be smaller."""

    def __init__(self, directory: RunPath, storage: Storage, rows_per_part: int) -> None:
        self.count = 0
        self._directory = directory
        self._storage = storage
        self._rows_per_part = rows_per_part
        self._rows = 0
        self._open()

    def _open(self) -> None:
        self._buffer = pa.BufferOutputStream()  # a million rows are some 40 MB as Parquet
        self._parquet = pq.ParquetWriter(self._buffer, MANIFEST, compression="zstd")
        self._rows = 0

    def write(self, table: pa.Table) -> None:
        """Append rows. Raises OutputUnwritable."""
        while table.num_rows:
            head = table.slice(0, self._rows_per_part - self._rows)
            self._parquet.write_table(head)
            self._rows += head.num_rows
            table = table.slice(head.num_rows)
            if self._rows == self._rows_per_part:
                self.finish()
                self._open()

    def finish(self) -> None:
        """Write the part in hand, if it has rows. Raises OutputUnwritable."""
        self._parquet.close()
        if self._rows:
            path = self._directory / _part_name(self.count)
            self._storage.write_bytes(str(path), memoryview(self._buffer.getvalue()))
            self.count += 1


def _part_name(number: int) -> str:
    return f"part-{number:05}.parquet"


def _foreign(path: RunPath, why: str) -> RunConflict:
    return RunConflict(
        f"{path} is no manifest that this version reads: {why}",
        "plan into another directory (--new)",
    )
