"""What an export has written so far, kept beside what it has written.

OUT/.nightjar/export.json      which run, how it is exported; a second export must agree
OUT/.nightjar/done-00003.jsonl the documents of bucket 3; -00003-0000.jsonl: while it is under way
OUT/documents.jsonl            all of them, when the export is through: uri, file, counts, notes

A document is done when the ledger has it with the digest that its pages have now: an export that is
started again writes what is missing and what has changed since, and nothing else. All files appear
whole (`Storage.write_bytes`), in a folder or a bucket alike.
"""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NotRequired, TypedDict

from actors.failures import FailureValue
from pipelines.errors import ConfigError, RunConflict
from pipelines.storage.client import Storage

HIDDEN = ".nightjar"
INDEX = "documents.jsonl"
_STATE = "export.json"
_DONE = re.compile(r"done-(\d{5})(?:-(\d{4,}))?\.jsonl")
#: Documents that a kill may make us write once more: those of so many seconds, or so many.
_FLUSH_S, _FLUSH_ENTRIES = 1.0, 256
_MOST_BYTES = 1 << 30

#: How many buckets there are, and what names of files are relative to.
_FIRST = ("buckets", "root")


class Entry(TypedDict):
    """A document, or a file of JSON lines, in the ledger.

    `uri`: of the document; of a file of JSON lines its name. `file`: its name in OUT, null where it
    could not be written; then `failure` says why. `digest`: stands for everything that it is made
    of. `counts`: its pages by what text they have, `notes`: by what there is to say about them.
    `bare`: of a PDF, pages without text or picture, and why.
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


def check_place(storage: Storage, out: str) -> None:
    """Raise ConfigError if `out` holds files, and none of them is an export's state."""
    strangers = storage.list_names(out)
    if strangers and not storage.exists(f"{out}/{HIDDEN}/{_STATE}"):
        raise ConfigError(
            f"{out} holds other files, {strangers[0]} first",
            "name a place that is empty, or not there yet",
        )


class Ledger:
    """The ledger of one export; not thread-safe.

    Raises RunConflict if `out` holds an export of another run or with other settings, and
    OutputUnwritable.
    """

    def __init__(self, storage: Storage, out: str, state: dict[str, Any]) -> None:
        """`state`: what must not differ between two starts; of _FIRST the first start counts."""
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
        """The state that stands, or this one, written."""
        uri = self._at(_STATE)
        if not self._storage.exists(uri):
            self._storage.write_bytes(uri, (json.dumps(state, indent=2) + "\n").encode())
            return state
        found: dict[str, Any] = json.loads(self._storage.read(uri, max_bytes=1 << 20))
        differ = [key for key in state if key not in _FIRST and found.get(key) != state[key]]
        if differ:
            was = ", ".join(f"{key} {found.get(key)!r}, not {state[key]!r}" for key in differ)
            raise RunConflict(
                f"{self.out} holds another export: {was}",
                "name another place, or repeat the command that this one was begun with",
            )
        return found

    def _at(self, name: str) -> str:
        return f"{self.out}/{HIDDEN}/{name}".rstrip("/")

    def open(self, bucket: int) -> None:
        """Turn to a bucket; the one before is closed."""
        self.close()
        self._bucket = bucket
        self._entries = {entry["uri"]: entry for entry in self._read(bucket)}
        self._parts = 1 + max((_part(name) for name in self._files[bucket]), default=-1)

    def _read(self, bucket: int) -> Iterator[Entry]:
        """All entries of a bucket, later ones after those that they replace."""
        for name in sorted(self._files[bucket], key=_part):
            data = self._storage.read(self._at(name), max_bytes=_MOST_BYTES)
            yield from map(json.loads, data.decode().splitlines())

    def done(self, uri: str, digest: str) -> Entry | None:
        """The entry of a document of the open bucket, if it was written as it is now."""
        entry = self._entries.get(uri)
        same = entry is not None and entry["digest"] == digest and entry["file"] is not None
        return entry if same else None

    def known(self, uri: str) -> bool:
        """Whether a document of the open bucket was written, as it is now or otherwise."""
        entry = self._entries.get(uri)
        return entry is not None and entry["file"] is not None

    def add(self, entry: Entry) -> None:
        """Note a document that is written, or cannot be (`file` is null)."""
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
        """Write what is left of the open bucket, and put its files together."""
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
        """OUT/documents.jsonl: every document, by bucket."""
        self.close()
        with self._storage.open_output(f"{self.out}/{INDEX}") as file:
            for bucket in sorted(self._files):
                for entry in self._read(bucket):
                    public = {name: value for name, value in entry.items() if name != "digest"}
                    file.write(_line(public).encode())


def _part(name: str) -> int:
    """-1 for the file of a whole bucket, which is older than its parts."""
    found = _DONE.fullmatch(name)
    return int(found[2]) if found and found[2] else -1


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"
