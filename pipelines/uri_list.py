"""A source given as a list: a .parquet, .csv or .jsonl file with a column `uri`, maybe `page`.

Relative URIs are below the folder of the list. A list can only name files (if it is one itself)
and objects in S3: what it says is data, and must not make workers talk to other hosts.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import SourceUnavailable
from pipelines.objects import is_s3, local_path
from pipelines.storage import Storage

LIST_SUFFIXES = (".parquet", ".csv", ".jsonl")

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_MAX_LIST_BYTES = 64 << 30
_BATCH_ROWS = 10_000


def read_uri_list(path: str, storage: Storage) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """(uri, uri as written, pages) of each document; pages of one document next to each other join.

    Raises SourceUnavailable naming the row, ItemFailure if the list itself cannot be read.
    """
    folder = path.rpartition("/")[0]
    with _opened(path, storage) as file:
        rows = _checked(path, _rows(path, file))
        for written, same in itertools.groupby(rows, key=lambda row: row[1]):
            number, _, page = next(same)
            pages = [page, *(page for _, _, page in same)]
            try:
                uri = resolved(written, folder)
            except ValueError as error:
                raise _bad_row(path, number, str(error)) from None
            yield uri, written, () if None in pages else tuple(p for p in pages if p is not None)


def resolved(uri: str, folder: str) -> str:
    """An absolute URI for one in a list that lies in `folder` (a URI too). Raises ValueError."""
    if is_s3(uri):
        return uri
    if _SCHEME.match(uri) and not uri.startswith("file:///"):
        raise ValueError(f"{uri!r}: only files and s3:// objects can be read")
    if not is_s3(folder):
        return uri if uri.startswith("file:///") else os.path.normpath(f"{folder or '.'}/{uri}")
    raise NotImplementedError
