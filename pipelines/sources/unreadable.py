"""Stops planning if too much of a source cannot be read for one cause.

A manifest with such a source would record a fault of the environment as failures of rows. One
unreadable file among others stays a row with a named failure.
"""

from __future__ import annotations

from collections import Counter

from actors.failures import FailureKind
from pipelines.errors import SourceUnavailable

#: Files with STORAGE_ERROR. Each has cost all retries, so there is no waiting for a share of many.
_MOST_ERRORS = 100
#: Largest share of denied files; of how many files at the end of the listing, and while it goes on.
#: The files of one folder follow each other, so a share of the first files says little.
_MOST_DENIED = 0.2
_FEW, _MANY = 20, 1_000

_REMEDY = {
    FailureKind.STORAGE_ERROR: "check the storage",
    FailureKind.PERMISSION_DENIED: "give this user the right to read the files (s3:GetObject in a "
    "bucket), or leave them out with source.exclude",
    FailureKind.OBJECT_MISSING: "check the list and that its disk is mounted",
}


class Unreadable:
    """Counts the files of a source that cannot be inspected. `path`: of the source."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._files = 0
        self._faults: Counter[FailureKind] = Counter()
        self._last: dict[FailureKind, str] = {}

    def add(self, uri: str, fault: FailureKind | None) -> None:
        """Count one file. Raises SourceUnavailable if there are too many of this fault."""
        self._files += 1
        if fault is None or fault not in _REMEDY:
            return
        self._faults[fault] += 1
        self._last[fault] = uri
        if self._faults[FailureKind.STORAGE_ERROR] > _MOST_ERRORS:
            raise self._unavailable(FailureKind.STORAGE_ERROR)
        if self._files >= _MANY:
            self._check_shares()

    def finish(self) -> None:
        """Look at all files. Raises SourceUnavailable."""
        self._check_shares()

    def _check_shares(self) -> None:
        for fault, count in self._faults.items():
            denied = fault is FailureKind.PERMISSION_DENIED and self._files >= _FEW
            if count == self._files or (denied and count > _MOST_DENIED * self._files):
                raise self._unavailable(fault)

    def _unavailable(self, fault: FailureKind) -> SourceUnavailable:
        return SourceUnavailable(
            f"source {self._path}: {self._faults[fault]:,} of {self._files:,} files cannot be read "
            f"({fault.value}); the last is {self._last[fault]}",
            _REMEDY[fault] + ", then start the same command again",
        )
