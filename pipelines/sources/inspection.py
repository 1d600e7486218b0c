"""Inspects listed files: opens archives, finds the kind of each file, counts pages and attachments.

The kind comes from the content (`page.sniff`), not from the name. Pages of PDFs and TIFFs are
counted in sandboxes, so a malicious file cannot crash the planning.
"""

from __future__ import annotations

import os
import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from actors.failures import FailureKind, ItemFailure, SetupError
from pipelines.errors import WeightsMissing, WorkerUnfit
from pipelines.pages.attached import Attached
from pipelines.pages.page import sniff
from pipelines.sources.listing import Listed, Source
from pipelines.storage.archives.archive import Archive, is_archive, is_zip
from pipelines.storage.archives.containers import container_name
from pipelines.storage.client import Storage
from pipelines.storage.objects import (
    TransientFailure,
    is_archive_name,
    names_attachments,
    split_attachment,
    split_member,
)
from pipelines.storage.outage import PatientReads

#: `sniff` needs 1,024 bytes. With 16 KiB a small file takes one request instead of two.
_HEAD_BYTES = 16 << 10
_COUNTED = ("pdf", "tiff")

#: Possible archives that are opened in advance. Each tar.gz occupies its unpacked size on the
#: temporary disk until its members are done.
_ARCHIVES_AHEAD = 8


class PageCounter(Protocol):
    """The part of `Sandbox` that planning needs. Not thread-safe."""

    def count_pages(self, key: str, data: bytes) -> int:
        """Number of pages of `data`; `key` identifies it. Raises ItemFailure."""

    def attached(self, key: str, pdf: bytes) -> Attached:
        """The files attached to a PDF. Raises ItemFailure."""

    def attachment(self, key: str, pdf: bytes, name: str, max_bytes: int) -> bytes:
        """The content of an attached file. Raises ItemFailure."""

    def close(self) -> None:
        """End the process."""


class Probed(NamedTuple):
    """One file as the manifest describes it.

    `fault`: why it could not be inspected. `attached`: number of files attached to it.
    """

    listed: Listed
    kind: str = "unknown"
    pages: int = 1
    fault: FailureKind | None = None
    attached: int = 0


class _Document(NamedTuple):
    """A stored object or, with `archive`, one of its members."""

    listed: Listed
    archive: Archive | None = None
    member: str = ""
    fault: FailureKind | None = None


_Opened = tuple[Listed, Archive | FailureKind | None]


class Prober:
    """Iterates over `Probed` in the order of the source. A context manager: it owns threads.

    A file that cannot be read or counted gets one page; the run then reports its failure in that
    row. The iteration raises SourceUnavailable if the source is down for `outage_s`, WorkerUnfit
    and WeightsMissing if pages cannot be counted on this machine.
    """

    def __init__(
        self,
        source: Source,
        storage: Storage,
        open_counter: Callable[[], PageCounter],
        outage_s: float = 0.0,
    ) -> None:
        self._reads = PatientReads(storage, outage_s, lenient=True)
        self._source = source
        self._config = source.config
        self._storage = storage
        self._open_counter = open_counter
        self._probers = ThreadPoolExecutor(self._config.threads, "nightjar-probe")
        self._openers = ThreadPoolExecutor(_ARCHIVES_AHEAD, "nightjar-archive")
        # At most one child process per core. A process starts when a document finds none idle.
        self._counters: queue.LifoQueue[PageCounter | None] = queue.LifoQueue()
        for _ in range(os.cpu_count() or 1):
            self._counters.put(None)

    def __enter__(self) -> Prober:
        return self

    def __exit__(self, *_: object) -> None:
        for pool in (self._openers, self._probers):
            pool.shutdown(cancel_futures=True)
        while not self._counters.empty():
            counter = self._counters.get()
            if counter is not None:
                counter.close()

    def __iter__(self) -> Iterator[Probed]:
        waiting: deque[Future[list[Probed]]] = deque()
        for document in self._documents():
            waiting.append(self._probers.submit(self._probe, document))
            if len(waiting) > 2 * self._config.threads:
                yield from self._chosen(waiting.popleft().result())
        while waiting:
            yield from self._chosen(waiting.popleft().result())

    def _chosen(self, files: list[Probed]) -> Iterator[Probed]:
        """The file itself, and the files attached to it that the source takes."""
        whole, *attached = files
        yield whole
        for one in attached:
            name = one.listed.name
            last = name.removeprefix(f"{whole.listed.name}!/")
            if self._source.shows(last) and self._source.takes(name, whole.listed.name):
                yield one

    def _documents(self) -> Iterator[_Document]:
        for listed, opening in self._ahead():
            if opening is None:
                if self._source.takes(listed.name):
                    yield _Document(listed)
                continue
            listed, opened = opening.result()
            if isinstance(opened, Archive):
                yield from self._members(listed, opened)
            elif opened is not None:
                yield _damaged(listed, opened)
            elif self._source.takes(listed.name):
                yield _Document(listed)

    def _ahead(self) -> Iterator[tuple[Listed, Future[_Opened] | None]]:
        waiting: deque[tuple[Listed, Future[_Opened] | None]] = deque()
        for listed in self._source:
            may_be = self._config.archives and is_archive_name(listed.uri)
            if may_be and split_member(listed.uri)[1] is None:
                waiting.append((listed, self._openers.submit(self._open, listed)))
            else:
                waiting.append((listed, None))
            if len(waiting) > _ARCHIVES_AHEAD:
                yield waiting.popleft()
        yield from waiting

    def _open(self, listed: Listed) -> _Opened:
        """The archive; None for a document with an archive's name; or the failure."""
        try:
            return self._reads.patiently(listed.uri, lambda: self._opened(listed))
        except ItemFailure as fault:
            return listed, fault.kind

    def _opened(self, listed: Listed) -> _Opened:
        listed = self._known(listed)
        head = self._storage.read_head(listed.uri, _HEAD_BYTES)
        if is_archive(head):
            archive = self._storage.open_archive(listed.uri, listed.etag)
            is_document = is_zip(head) and container_name(one.name for one in archive.members())
            return listed, None if is_document else archive
        return listed, FailureKind.CORRUPT_ARCHIVE if sniff(head) == "unknown" else None

    def _known(self, listed: Listed) -> Listed:
        if listed.etag:
            return listed
        entry = self._storage.stat(listed.uri)
        return listed._replace(etag=entry.etag, bytes=entry.bytes)

    def _members(self, listed: Listed, archive: Archive) -> Iterator[_Document]:
        for member in archive.members():
            name = f"{listed.name}!/{member.name}"
            if self._source.shows(member.name) and self._source.takes(name, listed.name):
                uri = f"{listed.uri}!/{member.name}"
                inner = Listed(uri, listed.etag, member.bytes, name)
                yield _Document(inner, archive, member.name)
        if archive.superseded:
            self._source.skipped["replaced inside its archive"] += archive.superseded
        if archive.damage:
            yield _damaged(listed, FailureKind.CORRUPT_ARCHIVE)

    def _probe(self, document: _Document) -> list[Probed]:
        """The file, followed by the files attached to it if the source reads them."""
        listed = document.listed
        if document.fault:
            return [Probed(listed, "archive", fault=document.fault)]
        try:
            if not listed.etag and split_attachment(listed.uri)[1] is not None:
                return [self._attachment_of_a_list(listed)]
            listed, head = self._reads.patiently(listed.uri, lambda: self._head(document))
        except ItemFailure as failure:
            return [Probed(listed, fault=failure.kind)]
        kind = _kind(head)
        if kind not in _COUNTED:
            return [Probed(listed, kind)]
        try:
            data = self._whole(document._replace(listed=listed), head)
        except ItemFailure as failure:
            return [Probed(listed, kind, fault=failure.kind)]
        with self._idle_counter() as counter:
            return self._counted(counter, listed, kind, data)

    def _counted(
        self, counter: PageCounter, listed: Listed, kind: str, data: bytes
    ) -> list[Probed]:
        whole = _probed(counter, listed, kind, data)
        if kind != "pdf" or whole.fault:
            return [whole]
        attachments: Iterable[Probed] = ()
        try:
            found = counter.attached(_key(listed), data)
            if self._config.attachments and names_attachments(listed.uri) and not listed.pages:
                attachments = (self._attachment(counter, listed, data, n) for n in found.names)
            return [whole._replace(attached=len(found.names)), *attachments]
        except ItemFailure as failure:  # its own pages can be read all the same
            if not self._config.attachments:
                return [whole]
            rest = listed._replace(uri=f"{listed.uri}!/", name=f"{listed.name}!/")
            return [whole, Probed(rest, fault=failure.kind)]

    def _attachment(self, counter: PageCounter, pdf: Listed, data: bytes, name: str) -> Probed:
        """A file attached to a PDF; `pages` of a list are those of the attached file."""
        listed = Listed(f"{pdf.uri}!/{name}", pdf.etag, 0, f"{pdf.name}!/{name}", pdf.pages)
        try:
            limit = self._config.max_document_bytes
            content = counter.attachment(_key(pdf), data, name, limit)
        except ItemFailure as failure:
            return Probed(listed, fault=failure.kind)
        listed = listed._replace(bytes=len(content))
        kind = _kind(content[:_HEAD_BYTES])
        return _probed(counter, listed, kind, content)

    def _attachment_of_a_list(self, listed: Listed) -> Probed:
        """A list may name an attached file. Raises ItemFailure if there is no such PDF."""
        uri, name = split_attachment(listed.uri)
        whole = _Document(listed._replace(uri=uri, name=uri))
        pdf, head = self._reads.patiently(uri, lambda: self._head(whole))
        data = self._whole(whole._replace(listed=pdf), head)
        with self._idle_counter() as counter:
            return self._attachment(counter, pdf, data, name or "")

    def _head(self, document: _Document) -> tuple[Listed, bytes]:
        listed = self._known(document.listed)
        if document.archive:
            with _named(listed.uri):
                return listed, document.archive.read_head(document.member, _HEAD_BYTES)
        return listed, self._storage.read_head(listed.uri, _HEAD_BYTES)

    def _content(self, document: _Document) -> bytes:
        listed, limit = document.listed, self._config.max_document_bytes
        if document.archive:
            with _named(listed.uri):
                return document.archive.read(document.member, limit)
        return self._storage.read(listed.uri, max_bytes=limit, etag=listed.etag)

    def _whole(self, document: _Document, head: bytes) -> bytes:
        if len(head) == document.listed.bytes:
            return head
        return self._reads.patiently(document.listed.uri, lambda: self._content(document))

    @contextmanager
    def _idle_counter(self) -> Iterator[PageCounter]:
        counter = self._counters.get()
        try:
            counter = counter or self._opened_counter()
            yield counter
        except SetupError as error:
            raise WorkerUnfit(error.message, error.remedy) from error
        finally:
            self._counters.put(counter)

    def _opened_counter(self) -> PageCounter:
        try:
            return self._open_counter()
        except SetupError as error:
            raise WeightsMissing(
                f"pages cannot be counted: {error.message}", error.remedy
            ) from error


def _key(listed: Listed) -> str:
    return f"{listed.uri} {listed.etag}"


def _kind(head: bytes) -> str:
    kind = sniff(head)
    # An archive whose first member is an unpacked PDF looks like one.
    return "unknown" if kind == "pdf" and is_archive(head) else kind


def _probed(counter: PageCounter, listed: Listed, kind: str, data: bytes) -> Probed:
    if kind not in _COUNTED:
        return Probed(listed, kind)
    try:
        return Probed(listed, kind, counter.count_pages(_key(listed), data))
    except ItemFailure as failure:
        return Probed(listed, kind, fault=failure.kind)


@contextmanager
def _named(uri: str) -> Iterator[None]:
    """Turn a fault of an archive's file into a failure."""
    try:
        yield
    except OSError as error:
        raise TransientFailure(f"{uri}: {error}") from error


def _damaged(listed: Listed, fault: FailureKind) -> _Document:
    """A row for the unreadable rest of an archive; reading its URI reports the failure."""
    return _Document(listed._replace(uri=f"{listed.uri}!/"), fault=fault)
