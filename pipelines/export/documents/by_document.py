"""Group the rows of a run by document: one pass over the shards, via temporary files.

Shards hold pages in the order in which they were finished, so a document can be in several shards.
A hash of the uri distributes the rows over buckets that are small enough to sort in memory. Each
temporary file holds one Arrow record batch per bucket, so that only one file is open at a time.
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

#: Mean rows of a bucket: with 60 lines per page they take about 100 MB in memory.
BUCKET_ROWS = 16_384
#: Bytes of rows in memory before they go to disk: 64 KB per bucket for 1,000 buckets.
_FLUSH_BYTES = 64 << 20
#: Rows held as Python objects at once.
_PAGES = 64

OnRows = Callable[[int], None]  #: rows so far


def bucket_of(uri: str, buckets: int) -> int:
    """The bucket of a document, the same in every process."""
    digest = hashlib.blake2b(uri.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % buckets


class DocumentBuckets:
    """The rows of a run by bucket, in temporary files."""

    def __init__(self, folder: Path, buckets: int) -> None:
        """`folder`: exists, is empty, and has room for the chosen columns of the run."""
        self._folder, self._buckets = folder, buckets
        self._files: list[Path] = []
        self._places = array("q")  # triples: bucket, file, batch within the file
        self._waiting: list[pa.RecordBatch] = []
        self._bytes = 0
        self.rows = 0

    def deal(
        self, run: RunDir, columns: Sequence[str], on_rows: OnRows = lambda rows: None
    ) -> None:
        """Read all rows of a run and write them by bucket. Raises OSError if the disk is full."""
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
        """The bucket of each row. Each document of the batch is hashed once."""
        coded = uris.combine_chunks().dictionary_encode()
        of_document = [bucket_of(uri, self._buckets) for uri in coded.dictionary.to_pylist()]
        return np.array(of_document, np.int64)[coded.indices.to_numpy()]

    def bucket(self, number: int) -> pa.Table | None:
        """The rows of a bucket, sorted by uri and page; None for an empty bucket."""
        places = np.array(self._places, np.int64).reshape(-1, 3)
        batches = []
        for file, batch in places[places[:, 0] == number, 1:].tolist():
            with pa.memory_map(str(self._files[file])) as source:
                batches.append(pa.ipc.open_file(source).get_batch(batch))
        if not batches:
            return None
        return pa.Table.from_batches(batches).sort_by([("uri", "ascending"), ("page", "ascending")])


def documents_of(bucket: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """(uri, rows) of each document of a bucket."""
    coded = bucket["uri"].combine_chunks().dictionary_encode()
    indices = coded.indices.to_numpy()
    borders = np.flatnonzero(np.append(True, indices[1:] != indices[:-1])).tolist()
    for start, end in zip(borders, [*borders[1:], len(indices)], strict=True):
        yield coded.dictionary[int(indices[start])].as_py(), bucket.slice(start, end - start)


def rows_of(document: pa.Table) -> Iterator[FinishedPage]:
    """The rows of a document; at most 64 are Python objects at a time."""
    for start in range(0, document.num_rows, _PAGES):
        yield from document.slice(start, _PAGES).to_pylist()
