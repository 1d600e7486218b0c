"""Reads documents in advance, in threads, within a memory limit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from pipelines.errors import NightjarError


@dataclass(frozen=True)
class Document:
    """One version of a stored document. `bytes`: its size as far as it is known, else 0."""

    uri: str
    etag: str | None
    bytes: int = field(compare=False)

    @property
    def key(self) -> str:
        """Identifies the content."""
        return f"{self.uri} {self.etag}"


class ReadAhead:
    """Holds the document in use, and the next ones, which threads read in advance.

    Holds at most `budget` bytes, by the sizes in the manifest, or a single larger document. Failed
    reads are held too: 300 pages of a missing document cost one request. Errors that stop the run
    are not held.
    """

    #: Bytes counted for a smaller document; this limits the number of documents.
    _LEAST = 64 << 10

    def __init__(self, read: Callable[[Document], bytes], threads: int, budget: int) -> None:
        self._read = read
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="fetch")
        self._budget = budget
        self._held: dict[Document, Future[bytes]] = {}  # oldest first
        self._wanted: dict[Document, None] = {}  # in the order of the batch
        self._in_use: Document | None = None

    def expect(self, documents: Iterable[Document]) -> None:
        """Start to read the documents of the next calls of `get`, in this order."""
        self._wanted = dict.fromkeys(documents)
        self._advance()

    def get(self, document: Document) -> bytes:
        """The content of the document; waits for it. Raises ItemFailure and NightjarError."""
        self._in_use = document
        self._wanted.pop(document, None)
        if document not in self._held:
            self._make_room(document)
            self._start(document)
        self._advance()
        try:
            return self._held[document].result()
        except NightjarError:  # of no document: all are read again if the caller goes on
            self._held = {one: read for one, read in self._held.items() if not _stopped(read)}
            raise

    def _advance(self) -> None:
        for document in self._wanted:
            if document not in self._held:
                if not self._make_room(document):
                    return
                self._start(document)

    def _start(self, document: Document) -> None:
        self._held[document] = self._threads.submit(self._read, document)

    def _make_room(self, document: Document) -> bool:
        """Drop used documents, oldest first, until `document` fits. Returns whether it does."""
        costs = {held: self._cost(held, read) for held, read in self._held.items()}
        free = self._budget - sum(costs.values()) - self._cost(document)
        for held, cost in costs.items():
            if free >= 0:
                break
            if held != self._in_use and held not in self._wanted:
                del self._held[held]
                free += cost
        return free >= 0

    def _cost(self, document: Document, read: Future[bytes] | None = None) -> int:
        """By the size in the manifest. Rows of attached files lack the size of their PDF."""
        known = len(read.result()) if read and read.done() and not read.exception() else 0
        return max(document.bytes, known, self._LEAST)


def _stopped(read: Future[bytes]) -> bool:
    return read.done() and isinstance(read.exception(), NightjarError)
