"""A stratified sample of rows in one pass: strata are outcomes, reasons, classes and failures.

Each stratum keeps the rows with the smallest hash (bottom-k sampling), so the order of the shards
does not matter. Rows of 32 shards, picked by a hash of their names, are preferred, because reading
a row means reading its shard: for 10^6 rows in 500 shards the sample is spread over 40 shards
instead of 170.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.decisions.finished import AnyRow
from pipelines.report.views import Coded, Ints, View
from pipelines.runs.shards import failure_columns, open_shard
from pipelines.storage.paths import RunPath

#: Rows kept of each reason, class and failure within an outcome. Failed rows get fewer places,
#: because they seldom have a picture.
PER_VALUE, PER_FAILURE = 16, 3
#: Preferred shards.
_PREFERRED = 32
#: Entries collected before the strata are cut again.
_PENDING = 100_000
#: Rows in memory at once when the chosen rows are read: a page with text takes 10 kB.
_ROWS = 256

#: Share of the sample for each kind of stratum, in this order; outcomes take the rest.
_SHARES = (("outcome", 0.5), ("reason", 0.2), ("failure", 0.1), ("class", 0.2))


Rows = dict[tuple[int, int], None]  #: (shard, row id), in the order of selection


@dataclass(frozen=True)
class Stratum:
    """Rows of one outcome, or of one outcome with one reason, class or failure."""

    kind: str  # outcome, reason, class, failure
    outcome: str
    value: str = ""


class Sampler:
    """Collects views of all shards; `chosen` returns the sample. Takes 32 bytes per kept row."""

    def __init__(self, size: int, shards: Sequence[RunPath]) -> None:
        self._size = size
        hashes = [_hash(path.name) for path in shards]
        floor = sorted(hashes)[min(_PREFERRED, len(hashes)) - 1] if hashes else 0
        self._late = [one > floor for one in hashes]
        self._codes: dict[Stratum, int] = {}
        self._rows_of: list[int] = []  # rows of each stratum in the run
        self._limits: list[int] = []  # rows to keep of it
        self._kept = np.empty((0, 4), np.int64)  # stratum, priority, shard, row id
        self._pending: list[Ints] = []

    def add(self, shard: int, rows: View) -> None:
        """Add a batch of rows of shard number `shard`."""
        priority = _mixed(rows.row_ids) >> np.uint64(2)
        if self._late[shard]:
            priority |= np.uint64(1 << 62)
        outcomes = Coded(rows.outcomes.rows, np.zeros(len(rows.row_ids), np.int64), [""])
        offers = [("outcome", outcomes), ("reason", rows.reasons), ("failure", rows.failures)]
        if rows.labels is not None:
            offers.append(("class", rows.labels))
        for kind, values in offers:
            self._offer(kind, values, shard, rows, priority.astype(np.int64))
        if sum(map(len, self._pending)) > max(_PENDING, len(self._kept)):
            self._cut()

    def _offer(self, kind: str, values: Coded, shard: int, rows: View, priority: Ints) -> None:
        if not len(values.codes):
            return
        width, count = len(values.names), len(rows.row_ids)
        combined = rows.outcomes.codes[values.rows] * width + values.codes
        once = np.unique(combined * count + values.rows)  # two labels of one class are one row
        combined, places = once // count, once % count
        found, inverse, sizes = np.unique(combined, return_inverse=True, return_counts=True)
        strata = [
            Stratum(kind, rows.outcomes.names[one // width], values.names[one % width])
            for one in found.tolist()
        ]
        codes = np.array([self._code(one) for one in strata], np.int64)
        for code, size in zip(codes.tolist(), sizes.tolist(), strict=True):
            self._rows_of[code] += size
        shards = np.full(len(places), shard, np.int64)
        entries = np.stack([codes[inverse], priority[places], shards, rows.row_ids[places]], axis=1)
        self._pending.append(self._smallest(entries))

    def _code(self, stratum: Stratum) -> int:
        if stratum not in self._codes:
            self._codes[stratum] = len(self._codes)
            self._rows_of.append(0)
            few = PER_FAILURE if stratum.outcome == "failed" else PER_VALUE
            self._limits.append(self._size if stratum.kind == "outcome" else few)
        return self._codes[stratum]

    def _smallest(self, entries: Ints) -> Ints:
        """The entries with the smallest hash of each stratum, sorted."""
        entries = entries[np.lexsort((entries[:, 1], entries[:, 0]))]
        strata = entries[:, 0]
        first = np.searchsorted(strata, strata)
        return entries[np.arange(len(entries)) - first < np.array(self._limits, np.int64)[strata]]

    def _cut(self) -> None:
        self._kept = self._smallest(np.concatenate([self._kept, *self._pending]))
        self._pending = []

    def chosen(self) -> list[tuple[int, int]]:
        """(shard, row id) of at most `size` rows; all rows if the run has no more."""
        self._cut()
        taken: Rows = {}
        for kind, share in _SHARES:
            room = min(self._size, len(taken) + int(np.ceil(share * self._size)))
            self._take(self._members(kind, failed=kind != "outcome"), taken, room)
        self._take(self._members("outcome", failed=False), taken, self._size)
        self._take(self._members("outcome"), taken, self._size)
        return list(taken)

    def examples(self, kind: str, count: int) -> list[tuple[int, int]]:
        """(shard, row id) of at most `count` rows of each stratum of a kind."""
        self._cut()
        rows = (row for members in self._members(kind) for row in members[:count])
        return [(shard, row_id) for shard, row_id in rows]

    def _members(self, kind: str, *, failed: bool = True) -> list[list[list[int]]]:
        """[shard, row id] of the kept rows of each stratum, rarest stratum first."""
        codes = [
            code
            for stratum, code in self._codes.items()
            if stratum.kind == kind and (failed or stratum.outcome != "failed")
        ]
        codes.sort(key=lambda code: self._rows_of[code])
        ends = np.searchsorted(self._kept[:, 0], [[code, code + 1] for code in codes])
        return [self._kept[start:end, 2:].tolist() for start, end in ends.reshape(-1, 2).tolist()]

    @staticmethod
    def _take(members: list[list[list[int]]], taken: Rows, room: int) -> None:
        """Fill `taken` up to `room` rows, taking one row of each stratum in turn."""
        for turn in range(max(map(len, members), default=0)):
            for rows in members:
                if len(taken) >= room:
                    return
                if turn < len(rows):
                    shard, row_id = rows[turn]
                    taken[shard, row_id] = None


def read_chosen(
    shards: Sequence[RunPath], chosen: Collection[tuple[int, int]], columns: Collection[str]
) -> Iterator[list[AnyRow]]:
    """The chosen rows, one list per shard: those of `columns` that it has, and all failures."""
    for number in sorted({shard for shard, _ in chosen}):
        ids = pa.array([row_id for shard, row_id in chosen if shard == number], pa.int64())
        file = open_shard(shards[number])
        schema = file.schema_arrow
        present = [name for name in schema.names if name in columns] + failure_columns(schema)
        rows: list[AnyRow] = []
        for batch in file.iter_batches(_ROWS, columns=present):
            rows += batch.filter(pc.is_in(batch["row_id"], ids)).to_pylist()
        yield rows


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")


def _mixed(ids: Ints) -> npt.NDArray[np.uint64]:
    """The finaliser of splitmix64: row ids of other tools may not be hashes."""
    value = ids.astype(np.int64).view(np.uint64)
    with np.errstate(over="ignore"):
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: npt.NDArray[np.uint64] = value ^ (value >> np.uint64(31))
    return mixed
