"""The ledger of an export: the documents that are written, with digests of their pages.

OUT/.nightjar/export.json      run and settings; a second export must have the same
OUT/.nightjar/done-00003.jsonl documents of bucket 3; done-00003-0000.jsonl while it is in progress
OUT/documents.jsonl            index of all documents, at the end: uri, file, counts, notes

A document is done if the ledger has the present digest of its pages. So an export that is started
again writes only missing and changed documents. All files appear completely or not at all
(`Storage.write_bytes`), in a folder or a bucket.
"""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NotRequired, TypedDict

from actors.failures import FailureValue
from pipelines.errors import ConfigError, RunConflict, RunDamaged
from pipelines.export.characters import escaped_json
from pipelines.storage.client import Storage

HIDDEN = ".nightjar"
INDEX = "documents.jsonl"
_STATE = "export.json"
_DONE = re.compile(r"done-(\d{5})(?:-(\d{4,}))?\.jsonl")
#: Seconds and documents between two writes of the ledger; a kill repeats at most that much.
_FLUSH_S, _FLUSH_ENTRIES = 1.0, 256
_MOST_BYTES = 1 << 30

#: Keys of the state where the first export counts: number of buckets, root of the file names.
_FIRST = ("buckets", "root")
#: Values of keys that older exports lack.
_BEFORE = {"keep_old_text": True}


class Entry(TypedDict):
    """A document, or a file of JSON lines, in the ledger.

    Attributes:
        uri: of the document; for a file of JSON lines its name.
        file: name in OUT; null if it could not be written (see `failure`).
        digest: of all inputs.
        counts: source of the text -> pages.
        notes: note -> lines or pages.
        bare: only PDF: page without text or picture -> reason.
        old_text: only PDF: "kept" if any page keeps text that the run refused or that nobody sees,
            else "removed" if any page had such text, else null.
        old_text_pages: page that had such text -> "removed" or "kept: REASON".
    """

    uri: str
    file: str | None
    digest: str
    documents: int
    pages: int
    counts: dict[str, int]
    notes: dict[str, int]
    failure: FailureValue | None
    bare: NotRequired[dict[str, str]]
    old_text: NotRequired[Literal["removed", "kept"] | None]
    old_text_pages: NotRequired[dict[str, str]]


def check_place(storage: Storage, out: str) -> None:
    """Raise ConfigError if `out` holds files but no export."""
    strangers = storage.list_names(out)
    if strangers and not storage.exists(f"{out}/{HIDDEN}/{_STATE}"):
        raise ConfigError(
            f"{out} holds other files, such as {strangers[0]}",
            "name an empty or new place",
        )


class Ledger:
    """The ledger of one export; not thread-safe.

    Raises RunConflict if `out` holds an export of another run or with other settings, RunDamaged if
    a file of the ledger is torn, and OutputUnwritable if it cannot be written.
    """

    def __init__(self, storage: Storage, out: str, state: dict[str, Any]) -> None:
        """`state`: must be equal in all starts of an export, except for the keys of _FIRST."""
        self._storage, self.out = storage, out.rstrip("/")
        agreed = self._agreed(state)
        self.buckets, self.root = int(agreed["buckets"]), str(agreed["root"])
        self._files: defaultdict[int, list[str]] = defaultdict(list)
        for name in storage.list_names(self._at("")):
            if found := _DONE.fullmatch(name):
                self._files[int(found[1])].append(name)
        self._bucket = -1
        self._entries: dict[str, Entry] = {}
        self._fresh: list[Entry] = []
        self._parts = 0
        self._since = time.monotonic()

    def _agreed(self, state: dict[str, Any]) -> dict[str, Any]:
        """The state of the existing export, or `state`, which is then written."""
        uri = self._at(_STATE)
        if not self._storage.exists(uri):
            self._storage.write_bytes(uri, (json.dumps(state, indent=2) + "\n").encode())
            return state
        (found,) = self._parsed(uri, [self._storage.read(uri, max_bytes=1 << 20)])
        found = _BEFORE | found
        differ = [key for key in state if key not in _FIRST and found.get(key) != state[key]]
        if differ:
            was = ", ".join(f"{key} {found.get(key)!r}, not {state[key]!r}" for key in differ)
            raise RunConflict(
                f"{self.out} holds another export: {was}",
                "name another place, or repeat the command of that export",
            )
        return found

    def _at(self, name: str) -> str:
        return f"{self.out}/{HIDDEN}/{name}".rstrip("/")

    def open(self, bucket: int) -> None:
        """Open a bucket and close the one before."""
        self.close()
        self._bucket = bucket
        self._entries = {entry["uri"]: entry for entry in self._read(bucket)}
        self._parts = 1 + max((_part(name) for name in self._files[bucket]), default=-1)

    def _read(self, bucket: int) -> Iterator[Entry]:
        """All entries of a bucket; later entries replace earlier ones."""
        for name in sorted(self._files[bucket], key=_part):
            uri = self._at(name)
            data = self._storage.read(uri, max_bytes=_MOST_BYTES)
            yield from self._parsed(uri, data.splitlines())

    def _parsed(self, uri: str, texts: list[bytes]) -> list[Any]:
        try:
            return [json.loads(text) for text in texts]
        except ValueError as error:  # UnicodeDecodeError is a ValueError
            raise RunDamaged(
                f"{uri} is damaged: {error}",
                f"delete {self.out} and start the same export again",
            ) from error

    def done(self, uri: str, digest: str) -> Entry | None:
        """The entry of a document of the open bucket if it is up to date; else None."""
        entry = self._entries.get(uri)
        same = entry is not None and entry["digest"] == digest and entry["file"] is not None
        return entry if same else None

    def known(self, uri: str) -> bool:
        """True if a document of the open bucket was written, up to date or not."""
        entry = self._entries.get(uri)
        return entry is not None and entry["file"] is not None

    def add(self, entry: Entry) -> None:
        """Record a document that was written or cannot be written (`file` is null)."""
        self._entries[entry["uri"]] = entry
        self._fresh.append(entry)
        if len(self._fresh) >= _FLUSH_ENTRIES or time.monotonic() - self._since >= _FLUSH_S:
            self._flush()

    def _flush(self) -> None:
        if self._fresh:
            name = f"done-{self._bucket:05d}-{self._parts:04d}.jsonl"
            self._write(name, self._fresh)
            self._files[self._bucket].append(name)
            self._parts += 1
            self._fresh = []
        self._since = time.monotonic()

    def close(self) -> None:
        """Write the remaining entries of the open bucket and merge its files."""
        if self._bucket < 0:
            return
        self._flush()
        parts = [name for name in self._files[self._bucket] if _part(name) >= 0]
        if parts:
            whole = f"done-{self._bucket:05d}.jsonl"
            self._write(whole, list(self._entries.values()))
            for name in parts:
                self._storage.delete(self._at(name))
            self._files[self._bucket] = [whole]
        self._bucket = -1

    def _write(self, name: str, entries: list[Entry]) -> None:
        self._storage.write_bytes(self._at(name), "".join(map(_line, entries)).encode())

    def write_index(self) -> None:
        """Write OUT/documents.jsonl with all documents, by bucket."""
        self.close()
        with self._storage.open_output(f"{self.out}/{INDEX}") as file:
            for bucket in sorted(self._files):
                for entry in self._read(bucket):
                    public = {name: value for name, value in entry.items() if name != "digest"}
                    file.write(_line(public).encode())


def _part(name: str) -> int:
    """Number of a part; -1 for the merged file, which is older than the parts."""
    found = _DONE.fullmatch(name)
    return int(found[2]) if found and found[2] else -1


def _line(entry: Mapping[str, Any]) -> str:
    return escaped_json(json.dumps(entry, ensure_ascii=False)) + "\n"
