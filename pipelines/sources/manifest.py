"""The manifest of a run: one row per page or image, written once, in Parquet parts.

The id of a row is a hash of uri, etag and page, so it means the same bytes in every run. The run
processes one part at a time (a wave). `_SUMMARY.json` is written last; without it the manifest
counts as unfinished and is written again.
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
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import RunConflict, SourceUnavailable
from pipelines.sources.inspection import PageCounter, Probed, Prober
from pipelines.sources.listing import Source, SourceConfig
from pipelines.sources.unreadable import Unreadable
from pipelines.storage.client import Storage
from pipelines.storage.damage import damaged
from pipelines.storage.paths import RunPath, parquet

#: `uri`: see `pipelines.storage.objects`. `page`: 1-based, of `pages`. `etag`, `bytes`: the file's;
#: a member of an archive has the etag of its archive and its own unpacked size. `kind`: from
#: `page.sniff`; "archive" if an archive cannot be listed, "unknown" if it is no document.
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
    """A row of MANIFEST. `etag` is "" if the listing does not have it."""

    row_id: int
    uri: str
    page: int
    pages: int
    etag: str
    bytes: int
    kind: str


SCHEMA_VERSION = 1
SUMMARY_NAME = "_SUMMARY.json"

#: Rows converted to Arrow at once; as Python objects they take about 300 bytes each.
_BATCH_ROWS = 10_000
#: Parts, and rows of each, that `readable_uris` takes.
_SAMPLED_PARTS, _SAMPLED_ROWS = 4, 8
_PROGRESS_S = 0.2
_OURS = re.compile(r"\.?(part-\d+\.parquet|_SUMMARY\.json)(\.\w+\.tmp)?")

OnProgress = Callable[[int, int, int], None]  #: files, pages, bytes so far


class ManifestSummary(BaseModel):
    """Counts over the manifest; each file and page counts once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA_VERSION
    listed_at: str
    source: dict[str, Any]
    parts: int
    files: int
    pages: int
    bytes: int
    kinds: dict[str, int]  #: files by kind
    skipped: int  #: files of unknown kind, skipped because of `unknown: skip`
    duplicates: int  #: pages that were listed more than once
    passed_over: dict[
        str, int
    ]  #: reason -> skipped names: hidden, excluded, not a regular file, ...
    uncounted: dict[str, int]  #: failure kind -> files without a page count; each has one row
    attachments: int = 0  #: files attached to PDFs
    with_attachments: int = 0  #: PDFs that they are attached to

    def about_attachments(self) -> str | None:
        """How many files are attached, and whether they are read; None without any."""
        if not self.attachments:
            return None
        read = self.source.get("attachments")
        return (
            f"{self.attachments:,} attached {_plural('file', self.attachments)} "
            f"in {self.with_attachments:,} {_plural('document', self.with_attachments)}, "
            + ("read as documents" if read else "not read (source.attachments: true reads them)")
        )


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def row_id(uri: str, etag: str, page: int) -> int:
    """int64 id of a page. Among 10^8 rows, the chance of any collision is 3 in 10,000."""
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
    outage_s: float = 0.0,
    on_progress: OnProgress = lambda files, pages, size: None,
) -> ManifestSummary:
    """List `source` and write its manifest into `directory`; replaces an unfinished manifest.

    Args:
        source: what to list.
        directory: folder of the manifest.
        storage: client that reads the source.
        open_counter: makes a Sandbox; at most one per core is in use.
        output: client that writes `directory`; None: `storage`.
        rows_per_part: rows of a full part.
        outage_s: seconds to wait for a source that is down.
        on_progress: called with files, pages and bytes so far, at most five times a second.

    Raises RunConflict if `directory` has a finished manifest, SourceUnavailable (also if the source
    is empty, or if too much of it cannot be read), WorkerUnfit, OutputUnwritable.
    """
    if load_summary(directory):
        raise RunConflict(f"{directory} already has a manifest", "use another directory")
    output = output or storage
    _clear(directory, output)
    listing = Source(source, storage)
    tally = _Tally(source, _Parts(directory, output, rows_per_part), on_progress)
    with Prober(listing, storage, open_counter, outage_s) as prober:
        for probed in prober:
            tally.add(probed)
    summary = tally.finish(listing.skipped)
    document = summary.model_dump_json(indent=2) + "\n"
    output.write_bytes(str(directory / SUMMARY_NAME), document.encode())
    return summary


def _clear(directory: RunPath, output: Storage) -> None:
    """Delete the parts of an unfinished manifest."""
    for name in output.list_names(str(directory)):
        if _OURS.fullmatch(name):
            output.delete(str(directory / name))


def load_summary(directory: RunPath) -> ManifestSummary | None:
    """The summary of a finished manifest; None if there is none. Raises RunDamaged, RunConflict."""
    path = directory / SUMMARY_NAME
    try:
        summary = ManifestSummary.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise damaged(path, "it is no JSON") from error
        raise _foreign(path, f"{error.error_count()} fields differ") from error
    if summary.schema_version != SCHEMA_VERSION:
        raise _foreign(path, f"schema {summary.schema_version}, expected {SCHEMA_VERSION}")
    return summary


def iter_parts(directory: RunPath) -> Iterator[RunPath]:
    """The part files in order; none before the manifest is finished.

    The names come from the number in the summary: a store's listing may lag, and a part missing
    there would never be processed.
    """
    summary = load_summary(directory)
    for number in range(summary.parts if summary else 0):
        yield directory / _part_name(number)


def read_part(path: RunPath) -> pa.Table:
    """One part as a table of MANIFEST. Raises RunDamaged, RunConflict, RunUnreadable."""
    table = parquet(path).read()
    if not table.schema.equals(MANIFEST):
        raise _foreign(path, f"its columns are {', '.join(table.schema.names)}")
    return table


def readable_uris(directory: RunPath) -> list[str]:
    """URIs that could be read when the source was listed, spread over the manifest; at most 32.

    Workers read them again to tell a fault of one file from a fault of the whole source.
    """
    parts = list(iter_parts(directory))
    found: dict[str, None] = {}
    for part in parts[:: -(-len(parts) // _SAMPLED_PARTS) or 1]:
        with parquet(part) as file:  # the first batch suffices: a part of a million rows takes 1 s
            rows = next(file.iter_batches(columns=["uri", "kind"]))
        unread = pc.is_in(rows["kind"], pa.array(["unknown", "archive"]))
        uris = rows.filter(pc.invert(unread))["uri"].to_pylist()
        found |= dict.fromkeys(uris[:: -(-len(uris) // _SAMPLED_ROWS) or 1])
    return list(found)


class _Tally:
    """Turns probed files into batches of distinct rows, and counts them."""

    def __init__(self, source: SourceConfig, parts: _Parts, on_progress: OnProgress) -> None:
        self._source = source
        self._parts = parts
        self._on_progress = on_progress
        self._seen = SeenIds()
        self._rows: list[tuple[Any, ...]] = []  # MANIFEST's columns + whether first of its file
        self._kinds: Counter[str] = Counter()
        self._uncounted: Counter[str] = Counter()
        self._unreadable = Unreadable(source.path)
        self._pages = self._bytes = self._skipped = self._duplicates = 0
        self._attachments = self._with_attachments = 0
        self._reported = 0.0

    def add(self, probed: Probed) -> None:
        """Add the rows of one file. Raises SourceUnavailable after too many unreadable files."""
        (uri, etag, size, _, wanted), kind, pages, fault, attached = probed
        self._unreadable.add(uri, fault)
        if kind == "unknown" and fault is None and self._source.unknown == "skip":
            self._skipped += 1
            return
        if fault:
            self._uncounted[fault.value] += 1
        self._attachments += attached
        self._with_attachments += attached > 0
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
        """Write the remaining rows. Raises SourceUnavailable if too few files can be read."""
        self._unreadable.finish()
        self._flush()
        self._parts.finish()
        kinds = {kind: count for kind, count in sorted(self._kinds.items()) if count}
        if not kinds:
            left_out = passed_over + Counter({"no document": self._skipped})
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())
            raise SourceUnavailable(
                f"source {self._source.path}: no files to read"
                + (f"; skipped: {reasons}" if reasons else ""),
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
            attachments=self._attachments,
            with_attachments=self._with_attachments,
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


class SeenIds:
    """The row ids so far, 8 bytes each, in sorted runs; each is over twice as long as the next."""

    def __init__(self) -> None:
        self._runs: list[npt.NDArray[np.int64]] = []

    def add(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Add ids, shape (n,). Returns a mask (n,) of the new ones; of equal ids, the first."""
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
    """Writes tables of MANIFEST as parts with a fixed number of rows; the last may be shorter."""

    def __init__(self, directory: RunPath, storage: Storage, rows_per_part: int) -> None:
        self.count = 0
        self._directory = directory
        self._storage = storage
        self._rows_per_part = rows_per_part
        self._rows = 0
        self._open()

    def _open(self) -> None:
        self._buffer = pa.BufferOutputStream()  # a million rows take about 40 MB as Parquet
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
        """Write the current part, if it has rows. Raises OutputUnwritable."""
        self._parquet.close()
        if self._rows:
            path = self._directory / _part_name(self.count)
            self._storage.write_bytes(str(path), memoryview(self._buffer.getvalue()))
            self.count += 1


def _part_name(number: int) -> str:
    return f"part-{number:05}.parquet"


def _foreign(path: RunPath, why: str) -> RunConflict:
    return RunConflict(
        f"{path} is not a manifest that this version can read: {why}",
        "start a new run directory with --new",
    )
