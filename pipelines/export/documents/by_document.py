"""The rows of a run, put together by document: one pass over the shards, to disk and back.

A shard holds pages in the order in which they were done, and a document may lie in several. Rows
are dealt out by a hash of their uri into buckets small enough to sort in memory. The deal goes to
files of Arrow record batches, one batch for each bucket that has rows in it, so that no more files
are open than one, however many buckets there are.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.decisions.finished import FinishedPage
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import iter_rows

#: Rows of a bucket, on average: 60 lines a page take some 100 MB in memory.
BUCKET_ROWS = 16_384
#: Rows in memory before they go to disk, in bytes: with 1,000 buckets still 64 KB for each.
_FLUSH_BYTES = 64 << 20
#: Rows that become Python objects at once.
_PAGES = 64

OnRows = Callable[[int], None]  #: rows so far


def bucket_of(uri: str, buckets: int) -> int:
    """Where the pages of a document go, in every process."""
    digest = hashlib.blake2b(uri.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % buckets


class DocumentBuckets:
    """The rows of a run by bucket, in files of a folder."""

    def __init__(self, folder: Path, buckets: int) -> None:
        """`folder`: there, empty, and on a disk with room for the columns that are dealt."""
        self._folder, self._buckets = folder, buckets
        self._files: list[Path] = []
        self._places = array("q")  # bucket, file, batch within the file, and again
        self._waiting: list[pa.RecordBatch] = []
        self._bytes = 0
        self.rows = 0

    def deal(
        self, run: RunDir, columns: Sequence[str], on_rows: OnRows = lambda rows: None
    ) -> None:
        """Read all rows of a run once. Raises OSError where the disk is full."""
        for batch in iter_rows(run, columns):
            self._waiting.append(batch)
            self._bytes += batch.nbytes
            self.rows += batch.num_rows
            if self._bytes >= _FLUSH_BYTES:
                self._flush()
            on_rows(self.rows)
        self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        rows = pa.Table.from_batches(self._waiting)
        self._waiting, self._bytes = [], 0
        owners = self._owners(rows["uri"])
        order = np.argsort(owners, kind="stable")
        rows, owners = rows.take(pa.array(order)).combine_chunks(), owners[order]
        borders = np.flatnonzero(np.append(True, owners[1:] != owners[:-1])).tolist()
        path = self._folder / f"{len(self._files):06d}.arrow"
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with (
            pa.OSFile(str(path), "wb") as sink,
            pa.ipc.new_file(sink, rows.schema, options=options) as file,
        ):
            for number, (start, end) in enumerate(
                zip(borders, [*borders[1:], len(owners)], strict=True)
            ):
                file.write_batch(rows.slice(start, end - start).to_batches()[0])
                self._places.extend((int(owners[start]), len(self._files), number))
        self._files.append(path)

    def _owners(self, uris: pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """The bucket of each row; hashed once for each document of the batch."""
        coded = uris.combine_chunks().dictionary_encode()
        of_document = [bucket_of(uri, self._buckets) for uri in coded.dictionary.to_pylist()]
        return np.array(of_document, np.int64)[coded.indices.to_numpy()]

    def bucket(self, number: int) -> pa.Table | None:
        """The rows of a bucket by uri and page; None: it has none."""
        places = np.array(self._places, np.int64).reshape(-1, 3)
        batches = []
        for file, batch in places[places[:, 0] == number, 1:].tolist():
            with pa.memory_map(str(self._files[file])) as source:
                batches.append(pa.ipc.open_file(source).get_batch(batch))
        if not batches:
            return None
        return pa.Table.from_batches(batches).sort_by([("uri", "ascending"), ("page", "ascending")])


def documents_of(bucket: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """(uri, its rows) of a bucket, one document after the other."""
    coded = bucket["uri"].combine_chunks().dictionary_encode()
    indices = coded.indices.to_numpy()
    borders = np.flatnonzero(np.append(True, indices[1:] != indices[:-1])).tolist()
    for start, end in zip(borders, [*borders[1:], len(indices)], strict=True):
        yield coded.dictionary[int(indices[start])].as_py(), bucket.slice(start, end - start)


def rows_of(document: pa.Table) -> Iterator[FinishedPage]:
    """The rows of a document, few of them as Python objects at a time."""
    for start in range(0, document.num_rows, _PAGES):
        yield from document.slice(start, _PAGES).to_pylist()
