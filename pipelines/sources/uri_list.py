"""A source as a list: a .parquet, .csv or .jsonl file with a column `uri` and optionally `page`.

Relative URIs start at the folder of the list. Another program may have written the list, so it is
not trusted: it can name objects. A local list can also name files in its own folder and in the
folders that the config allows. Nightjar contacts no other host and reads no other file. A row
that breaks this rule stops the planning: with a list in the wrong folder, every row would fail, and
the user would see it only after the run.
"""

from __future__ import annotations

import csv
import functools
import io
import ipaddress
import itertools
import json
import math
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import SourceUnavailable
from pipelines.storage.client import Storage
from pipelines.storage.objects import is_bucket, local_path, local_uri, split_bucket, split_member

LIST_SUFFIXES = (".parquet", ".csv", ".jsonl")

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_MAX_LIST_BYTES = 64 << 30
_BATCH_ROWS = 10_000


class ListedUri(NamedTuple):
    """One row of a list. `number`: from 1, for messages. `page`: from 1; None: all pages."""

    number: int
    uri: str
    page: int | None


def read_uri_list(
    path: str, storage: Storage, roots: Sequence[str] = ()
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(absolute URI, pages) of each document; empty pages mean all pages.

    `roots`: more folders whose files the list may name, besides its own folder. Consecutive rows of
    one document become one item. Raises SourceUnavailable (names the row), ItemFailure if the list
    cannot be read.
    """
    if not is_bucket(path):
        path = str(Path(os.fsdecode(local_path(path))).expanduser().absolute())
    folder = path.rpartition("/")[0]
    folder = folder if is_bucket(path) else os.path.normpath(folder or "/")
    allowed = [os.path.normpath(Path(root).expanduser().absolute()) for root in roots]
    with _opened(path, storage) as file:
        lines = _absolute(path, folder, allowed, _lines(path, file))
        for uri, same in itertools.groupby(lines, key=lambda line: line.uri):
            pages = [line.page for line in same]
            yield uri, () if None in pages else tuple(page for page in pages if page)


def resolved(uri: str, folder: str, roots: Sequence[str] = ()) -> str:
    """The absolute form of `uri`, as a list in `folder` (a URI as well) names it.

    `roots`: absolute folders, besides `folder`, that may hold local files. Raises ValueError.
    """
    uri.encode()  # JSON can hold lone surrogates, Parquet cannot
    if is_bucket(uri):
        return _checked_key(uri)
    if _SCHEME.match(uri) and not uri.startswith("file:///"):
        raise ValueError(f"{uri!r} is neither a file nor in a bucket")
    absolute = uri.startswith(("/", "file:///"))
    if is_bucket(folder):
        if absolute:
            raise ValueError(f"{uri!r}: a list in a bucket cannot name local files")
        return _checked_key(f"{folder}/{uri.removeprefix('./')}")
    archive, member = split_member(uri)
    if member is not None and _is_file(uri if absolute else f"{folder}/{uri}"):
        archive, member = uri, None  # in a folder that is really called `x.zip!`
    # Normalise before the check: with `..` left in, a symbolic link could lead elsewhere.
    file = os.path.normpath(local_path(archive if absolute else f"{folder}/{archive}"))
    if not any(_is_below(file, root) for root in (folder, *roots)):
        raise ValueError(
            f"{uri!r} is outside the folder of the list; add its folder to source.local_roots"
        )
    return local_uri(file) if member is None else f"{local_uri(file)}!/{member}"


def _is_file(uri: str) -> bool:
    """Whether a URI that names a member is a local file. Cheap where `x.zip!` is no folder."""
    folder = split_member(uri)[0] + "!"
    whole = os.path.normpath(local_path(uri))
    return _is_folder(os.fsdecode(local_path(folder))) and os.path.lexists(whole)


@functools.lru_cache(maxsize=1000)  # a list names many members of one archive
def _is_folder(path: str) -> bool:
    return Path(path).is_dir()


def _checked_key(uri: str) -> str:
    """`uri` of an object. Raises ValueError if HTTP could read another bucket or host in it."""
    bucket, key = split_bucket(split_member(uri)[0])
    if {".", ".."} & set(key.split("/")):
        raise ValueError(f"{uri!r}: a key with `.` or `..` could lead into another bucket")
    try:
        ipaddress.ip_address(bucket)
    except ValueError:
        return uri
    raise ValueError(f"{uri!r} names an IP address, not a bucket")


def _is_below(file: bytes, root: str) -> bool:
    return file.startswith(os.fsencode(root.rstrip("/")) + b"/")


@contextmanager
def _opened(path: str, storage: Storage) -> Iterator[IO[bytes]]:
    if not is_bucket(path):
        with storage.local.open(path) as file:
            yield file
        return
    with tempfile.TemporaryFile() as copy:
        storage.bucket(path).download(path, copy, max_bytes=_MAX_LIST_BYTES, etag=None)
        yield copy


def _absolute(
    path: str, folder: str, roots: Sequence[str], lines: Iterator[tuple[int, Any, Any]]
) -> Iterator[ListedUri]:
    while True:
        try:
            number, uri, page = next(lines)
        except StopIteration:
            return
        except (csv.Error, ValueError, pa.ArrowException) as error:  # also bad JSON, bad UTF-8
            raise _unreadable(path, str(error)) from error
        try:
            if not isinstance(uri, str) or not uri:
                raise ValueError("uri is empty or no text")
            line = ListedUri(number, resolved(uri, folder, roots), _page(page))
        except ValueError as error:
            raise _unreadable(path, f"row {number}: {error}") from None
        yield line


def _page(value: Any) -> int | None:
    """The page number; None (all pages) for None, "" and NaN, pandas' missing number."""
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if math.isnan(number):
        return None
    if number < 1 or not number.is_integer():
        raise ValueError(f"page {value!r} is not a whole number from 1")
    return int(number)


def _lines(path: str, file: IO[bytes]) -> Iterator[tuple[int, Any, Any]]:
    """(row number, uri, page) of each row, unchecked."""
    if path.lower().endswith(".parquet"):
        yield from _parquet(file)
        return
    with io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        yield from _csv(text) if path.lower().endswith(".csv") else _jsonl(text)


def _parquet(file: IO[bytes]) -> Iterator[tuple[int, Any, Any]]:
    table = pq.ParquetFile(file)
    _need_uri(table.schema_arrow.names)
    columns = [name for name in ("uri", "page") if name in table.schema_arrow.names]
    number = itertools.count(1)
    for batch in table.iter_batches(_BATCH_ROWS, columns=columns):
        for row in batch.to_pylist():
            yield next(number), row["uri"], row.get("page")


def _csv(text: io.TextIOWrapper) -> Iterator[tuple[int, Any, Any]]:
    rows = csv.DictReader(text, strict=True)
    _need_uri(rows.fieldnames or ())
    for number, row in enumerate(rows, 1):
        yield number, row["uri"], row.get("page")


def _jsonl(text: io.TextIOWrapper) -> Iterator[tuple[int, Any, Any]]:
    for number, line in enumerate(text, 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"row {number}: {error}") from None
            if not isinstance(row, dict):
                raise ValueError(f"row {number} is not a JSON object")
            _need_uri(row)
            yield number, row["uri"], row.get("page")


def _need_uri(names: Any) -> None:
    if "uri" not in names:
        raise ValueError(f"no column `uri`; its columns: {', '.join(names) or 'none'}")


def _unreadable(path: str, why: str) -> SourceUnavailable:
    return SourceUnavailable(
        f"list {path}: {why}",
        "a list needs a column `uri` (objects, or files in its own folder) and may have `page` "
        "(from 1); source.local_roots allows files in other folders",
    )
