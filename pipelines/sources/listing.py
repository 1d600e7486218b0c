"""Lists a folder, a glob, a bucket prefix or a file of URIs, as a stream."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePath, PurePosixPath
from typing import Annotated, ClassVar, Literal, NamedTuple

from fsspec.utils import glob_translate
from pydantic import AfterValidator, Field

from actors.contract import Settings
from actors.failures import FailureKind, ItemFailure
from pipelines.errors import SourceUnavailable
from pipelines.sources.uri_list import LIST_SUFFIXES, read_uri_list
from pipelines.storage.client import Storage
from pipelines.storage.objects import SCHEMES, Entry, is_bucket, local_path, local_uri, split_bucket
from pipelines.storage.walk import Walk

_MAGIC = re.compile(r"[*?\[]")
_HIDDEN = re.compile(r"(?:^|/)\.(?!\.?(?:/|$))")  # not "./a" and "../a", which tar writes


def _valid_glob(glob: str) -> str:
    glob_translate(glob)  # ValueError: `**` must be a whole path component
    return glob


Glob = Annotated[str, AfterValidator(_valid_glob)]


class SourceConfig(Settings):
    """The documents that a run reads."""

    operational: ClassVar[frozenset[str]] = frozenset({"local_roots"})

    path: str = Field(
        min_length=1,
        description="folder, file, glob (** for any depth), s3://bucket/prefix (also gs://, "
        "az://), or a list: a "
        ".parquet, .csv or .jsonl file with a column `uri` and optionally `page` (from 1)",
    )
    include: tuple[Glob, ...] = Field(
        (),
        description="globs; read only matching files. A glob without a slash matches file names "
        "at any depth. Case does not matter",
    )
    exclude: tuple[Glob, ...] = Field((), description="globs; skip matching files, as `include`")
    local_roots: tuple[str, ...] = Field(
        (),
        description="other folders whose files a list may name, besides its own folder; ['/']: "
        "every file that this user can read",
    )
    recursive: bool = Field(True, description="read sub-folders")
    archives: bool = Field(True, description="open .zip, .tar, .tar.gz, .tgz (one level deep)")
    attachments: bool = Field(
        False,
        description="read the files attached to PDFs (one level deep), as `FILE.pdf!/NAME`; they "
        "are counted in any case",
    )
    hidden: bool = Field(False, description="read files and folders whose name starts with a dot")
    unknown: Literal["reject", "skip"] = Field(
        "reject",
        description="files whose content is no supported document: `reject` writes a failed row "
        "for each, `skip` only counts them",
    )
    max_document_bytes: int = Field(
        512 << 20, ge=1, description="pages of larger PDFs and TIFFs are not counted"
    )
    threads: int = Field(16, ge=1, description="files inspected at once while planning")


class Listed(NamedTuple):
    """One stored object of the source.

    `etag`: "" if the listing does not have it. `name`: path below the source, matched by globs.
    `pages`: 1-based page numbers that a list asks for; empty: all.
    """

    uri: str
    etag: str
    bytes: int
    name: str
    pages: tuple[int, ...] = ()


class Source:
    """Iterates over `Listed` in the order of the source; `skipped` counts skipped names by reason.

    The iteration raises SourceUnavailable.
    """

    def __init__(self, config: SourceConfig, storage: Storage) -> None:
        self.config = config
        self.skipped: Counter[str] = Counter()
        self._storage = storage
        self._include = [_compiled(glob) for glob in config.include]
        self._exclude = [_compiled(glob) for glob in config.exclude]

    def __iter__(self) -> Iterator[Listed]:
        path = self.config.path
        try:
            if is_bucket(path):
                self._storage.bucket(path).reach(path)  # reports a wrong address at once
            if path.lower().endswith(LIST_SUFFIXES):
                for uri, pages in read_uri_list(path, self._storage, self.config.local_roots):
                    yield Listed(uri, "", 0, uri, pages)
            elif is_bucket(path):
                yield from self._bucket(path)
            else:
                yield from self._files(path)
        except ItemFailure as fault:
            raise _unavailable(path, fault) from fault

    def takes(self, *names: str) -> bool:
        """Whether the globs accept an object. `names`: its own name and that of its archive.

        A name with a slash at the end is an unreadable folder. `include` cannot be tested on its
        files, so only `exclude` applies.
        """
        both = {*names, *(name.rstrip("/") for name in names)}
        if any(glob.match(name) for glob in self._exclude for name in both):
            self.skipped["excluded"] += 1
            return False
        dark = names[0].endswith("/")
        if self._include and not dark and not any(g.match(n) for g in self._include for n in both):
            self.skipped["not included"] += 1
            return False
        return True

    def shows(self, name: str) -> bool:
        """Whether no component of `name` is hidden, or hidden files are read too."""
        if self.config.hidden or not _HIDDEN.search(name):
            return True
        self.skipped["hidden"] += 1
        return False

    def _files(self, path: str) -> Iterator[Listed]:
        root, glob = _local_root(path)
        try:
            if stat.S_ISDIR(root.stat().st_mode):
                yield from self._folder(os.fsencode(root), glob)
            else:
                entry = self._storage.local.stat(local_uri(os.fsencode(root)))
                yield Listed(*entry, root.name)
        except OSError as error:
            raise _no_folder(path, root, error) from error

    def _folder(self, root: bytes, glob: str | None) -> Iterator[Listed]:
        depth = None if self.config.recursive else 1
        walk = Walk(
            root,
            max_depth=_depth(glob) if glob else depth,
            hidden=self.config.hidden,
            links=self._storage.settings.follow_links,
            skipped=self.skipped,
        )
        matches = re.compile(glob_translate(glob)).match if glob else None
        for below, entry in walk:
            name = below.decode("utf-8", "surrogateescape")
            dark = name.endswith("/")  # an unreadable folder: see `takes`
            if matches is None or dark or matches(name):
                yield Listed(*entry, name)

    def _bucket(self, path: str) -> Iterator[Listed]:
        bucket, key = split_bucket(path)
        glob = None
        if _MAGIC.search(key) and not self._any(path):
            key, glob = _split_key(key)
        elif key and not key.endswith("/"):
            entry = self._object(path)
            # Tools that know folders write an object of no bytes with the name of each.
            if entry and (entry.bytes or not self._has_files(f"{path}/")):
                yield Listed(*entry, key.rpartition("/")[2])
                return
            key += "/"
        deep = _depth(glob) != 1 if glob else self.config.recursive
        matches = re.compile(glob_translate(glob)).match if glob else None
        base = f"{path.partition('://')[0]}://{bucket}/{key}"
        literal = _MAGIC.split(glob)[0] if glob else ""
        for entry in self._storage.bucket(path).list(base + literal, recursive=deep):
            name = entry.uri.removeprefix(base)
            if _is_marker(entry, base):
                continue
            if not entry.bytes and self._has_files(f"{entry.uri}/"):
                self.skipped["marker of a folder"] += 1
                continue
            # A key may end in a slash: such a file is called by its last part.
            name = name.rstrip("/") or key.rstrip("/").rpartition("/")[2]
            if self.shows(name) and (matches is None or matches(name)):
                yield Listed(*entry, name)

    def _any(self, prefix: str) -> bool:
        return next(self._storage.bucket(prefix).list(prefix), None) is not None

    def _has_files(self, folder: str) -> bool:
        found = self._storage.bucket(folder).list(folder)
        return any(not _is_marker(entry, folder) for entry in found)

    def _object(self, uri: str) -> Entry | None:
        try:
            return self._storage.bucket(uri).stat(uri)
        except ItemFailure as fault:
            # A prefix, or a key that this user can list but not read: the listing finds out.
            if fault.kind in (FailureKind.OBJECT_MISSING, FailureKind.PERMISSION_DENIED):
                return None
            raise


def _is_marker(entry: Entry, base: str) -> bool:
    """Whether an object only marks a folder, as consoles create for empty ones."""
    return not entry.bytes and (entry.uri.endswith("/") or entry.uri == base)


def reaches(source: str, path: str | Path) -> bool:
    """Whether a listing of `source` can read files below `path`, a folder or a prefix."""
    root: PurePath
    below: PurePath
    if is_bucket(source) != is_bucket(str(path)) or (
        is_bucket(source) and source.partition(":")[0] != str(path).partition(":")[0]
    ):
        return False
    if is_bucket(source):
        bucket, key = split_bucket(source)
        base, glob = _split_key(key) if _MAGIC.search(key) else (key, "")
        root = PurePosixPath(bucket, base)
        below = PurePosixPath(*split_bucket(str(path)))
    else:
        folder, found = _local_root(source)
        root, glob, below = folder.resolve(), found or "", Path(path).resolve()
    if not below.is_relative_to(root):
        return False
    for part, pattern in zip(below.relative_to(root).parts, glob.split("/"), strict=False):
        if pattern in ("", "**"):
            return True
        if not fnmatchcase(part, pattern):
            return False
    return True


def _compiled(glob: str) -> re.Pattern[str]:
    anywhere = glob if "/" in glob else f"**/{glob}"
    return re.compile(glob_translate(anywhere.removeprefix("/")), re.IGNORECASE)


def _depth(glob: str) -> int | None:
    """How many folders deep a glob can reach; None: no limit."""
    parts = glob.split("/")
    return None if "**" in parts else len(parts)


def _local_root(source: str) -> tuple[Path, str | None]:
    """(absolute folder or file, glob below it) of a local source; a name that exists is no glob."""
    is_uri = source.startswith("file://")
    start = Path(os.fsdecode(local_path(source))) if is_uri else Path(source).expanduser()
    start = start.absolute()
    return (start, None) if os.path.lexists(start) else _split_glob(start)


def _split_glob(path: Path) -> tuple[Path, str | None]:
    """(folder, glob below it), cut before the first component with a wildcard."""
    for number, part in enumerate(path.parts):
        if _MAGIC.search(part):
            return Path(*path.parts[:number]), "/".join(path.parts[number:])
    return path, None


def _split_key(key: str) -> tuple[str, str]:
    literal = _MAGIC.split(key)[0]
    base = literal[: literal.rfind("/") + 1]
    return base, key.removeprefix(base)


def _no_folder(path: str, root: Path, error: OSError) -> SourceUnavailable:
    remedy = {
        FileNotFoundError: "check source.path, and that its disk is mounted on this machine",
        PermissionError: "give this user permission to read it",
    }.get(type(error), "check source.path")
    if "://" in path and not path.startswith("file://"):
        remedy = f"write a path, or {', '.join(SCHEMES)} with bucket and prefix"
    return SourceUnavailable(f"source {path}: {root}: {error.strerror}", remedy)


def _unavailable(path: str, fault: ItemFailure) -> SourceUnavailable:
    remedy = {
        FailureKind.OBJECT_MISSING: "check the bucket or file name, endpoint_url and region",
        FailureKind.PERMISSION_DENIED: "set credentials where the cloud's tools find them "
        "(environment, profile, role of the machine), or anonymous: true for a public bucket",
        FailureKind.STORAGE_ERROR: "check endpoint_url and the network",
    }.get(fault.kind, "check source.path")
    return SourceUnavailable(f"source {path}: {fault.message}", remedy)
