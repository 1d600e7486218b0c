"""Files of a run directory that name themselves when they cannot be read.

Torn, empty and foreign files are `RunDamaged`. A file that the system does not give away (no
permission, a bad disk, gone) is `RunUnreadable`: its content may be fine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import RunDamaged, RunUnreadable

#: Folder of the run -> what to do about a damaged file in it.
_REMEDIES = {
    "shards": "start the same nightjar run command again{deep}: it moves the file to damaged/ and "
    "processes its rows again",
    "manifest": "restore it from a backup. Without one: if the run has no shards, delete the "
    "folder manifest and start the same command again; else start a new run directory with --new",
    "reviewed": "restore it from a backup, or move it away and import its answers again",
}
_OTHER = "restore it from a backup, or move it away"


def damaged(path: object, why: str, *, deep: bool = False) -> RunDamaged:
    """The error for a damaged file. `deep`: it opens, and only its data are damaged."""
    remedy = _REMEDIES.get(PurePosixPath(str(path)).parent.name, _OTHER)
    flag = " with --check-shards" if deep else ""
    return RunDamaged(f"{path} is damaged: {why}", remedy.format(deep=flag))


@contextmanager
def named(path: object, *, deep: bool = False) -> Iterator[None]:
    """Turn errors on reading `path` into RunDamaged and RunUnreadable."""
    try:
        yield
    except (pa.ArrowMemoryError, pa.ArrowCancelled):
        raise
    except pa.ArrowException as error:
        raise damaged(path, _first_line(error), deep=deep) from error
    except OSError as error:
        if error.errno is None:  # Arrow's own: the content is wrong
            raise damaged(path, _first_line(error), deep=deep) from error
        raise unreadable(path, error) from error


def unreadable(path: object, error: OSError) -> RunUnreadable:
    """The error for a file that the system does not give away."""
    return RunUnreadable(
        f"cannot read {path}: {error.strerror or error}",
        "check the file, its permissions and its disk, then start the command again",
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class NamedParquet:
    """A Parquet file. Opening and reading raise RunDamaged and RunUnreadable, which name `path`.

    Checksums of pages are verified where the writer made them.

    Attributes:
        schema_arrow: its pa.Schema.
        metadata: its pq.FileMetaData.
    """

    def __init__(self, path: object, source: Any) -> None:
        """`source`: a path or a file that is open for reading."""
        self._path = path
        with named(path):
            self._file = pq.ParquetFile(source, pre_buffer=True, page_checksum_verification=True)
            self.schema_arrow, self.metadata = self._file.schema_arrow, self._file.metadata

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows. Columns that the file lacks are left out."""
        with named(self._path, deep=True):
            return self._file.read(columns=columns)

    def iter_batches(
        self, batch_size: int = 65536, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """All rows, at most `batch_size` at a time. Columns that the file lacks are left out."""
        with named(self._path, deep=True):
            yield from self._file.iter_batches(batch_size, columns=columns)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def record_of(path: object, text: bytes) -> dict[str, Any]:
    """The content of run.json. Raises RunDamaged."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise _record(path, "it is empty" if not text else str(error)) from error
    if not isinstance(found, dict):
        raise _record(path, "it holds no object")
    return found


def _record(path: object, why: str) -> RunDamaged:
    return RunDamaged(
        f"{path} is damaged: {why}",
        "start the same nightjar run command again: it moves the file to damaged/ and writes a new "
        "one. The rows are safe; the record of earlier sessions is lost",
    )
