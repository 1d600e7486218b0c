"""What to read: a folder, a glob, a bucket prefix, or a list of URIs; streamed, never held."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from fsspec.utils import glob_translate
from pydantic import AfterValidator, Field

from actors.contract import Settings
from actors.failures import FailureKind, ItemFailure
from pipelines.errors import SourceUnavailable
from pipelines.objects import Entry, is_s3, local_path
from pipelines.storage import Storage
from pipelines.uri_list import LIST_SUFFIXES, read_uri_list
from pipelines.walk import Walk

_MAGIC = re.compile(r"[*?\[]")


def _valid_glob(pattern: str) -> str:
    glob_translate(pattern)  # ValueError: `**` must be a whole path component
    return pattern


Glob = Annotated[str, AfterValidator(_valid_glob)]


class SourceConfig(Settings):
    """Which documents a run is about."""

    path: str = Field(
        min_length=1,
        description="folder, file, glob (** for any depth), s3://bucket/prefix, or a .parquet, "
        ".csv or .jsonl file with a column `uri` and, if wanted, `page` (from 1)",
    )
    include: tuple[Glob, ...] = Field(
        (), description="take only these; without a slash: file names at any depth; any case"
    )
    exclude: tuple[Glob, ...] = Field((), description="leave these out; written as `include`")
    recursive: bool = Field(True, description="look into sub-folders")
    archives: bool = Field(True, description="look into .zip, .tar, .tar.gz, .tgz (one level)")
    hidden: bool = Field(False, description="take names that start with a dot")
    unknown: Literal["reject", "skip"] = Field(
        "reject",
        description="files that are no document by content: reject gives each a failed row, skip "
        "leaves them out and says how many",
    )
    max_document_bytes: int = Field(
        512 << 20, ge=1, description="larger PDFs and TIFFs are not opened to count their pages"
    )
    threads: int = Field(16, ge=1, description="files looked into at once while planning")


class Listed(NamedTuple):
    """One stored object as the source names it.

    `name`: its path below the source, for globs. `pages`: 1-based, those a list asks for; empty:
    all. `etag` and `bytes` are "" and 0 where the listing does not know them.
    """

    uri: str
    name: str
    etag: str
    bytes: int
    pages: tuple[int, ...] = ()


class Source:
    """Iterates over `Listed`, in the order of the source. `skipped` counts what is left out.

    Raises SourceUnavailable while it is iterated over.
    """

    def __init__(self, config: SourceConfig, storage: Storage) -> None:
        self.config = config
        self.skipped: Counter[str] = Counter()
        self._storage = storage
        self._include = [_compiled(glob) for glob in config.include]
        self._exclude = [_compiled(glob) for glob in config.exclude]

    def __iter__(self) -> Iterator[Listed]:
        path = self.config.path
        if path.lower().endswith(LIST_SUFFIXES):
            return read_list(path, self._storage)
        return self._bucket(path) if is_s3(path) else self._tree(path)

    def takes(self, *names: str) -> bool:
        """Whether the globs take an object of these names: its own, and that of its archive."""
        if any(glob.match(name) for glob in self._exclude for name in names):
            self.skipped["excluded"] += 1
            return False
        if self._include and not any(g.match(name) for g in self._include for name in names):
            self.skipped["not included"] += 1
            return False
        return True
