"""One pass over the shards of a run with a time limit: counts, commit times, chosen rows."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from pipelines.report.sample import Sampler
from pipelines.report.tally import Tally
from pipelines.report.views import columns_of, view
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import open_shard
from pipelines.storage.damage import NamedParquet
from pipelines.storage.paths import RunPath

#: Rows in memory as Arrow: the scores of 2,048 pages of 50 lines take 0.4 MB.
_ROWS = 2048

OnShard = Callable[[int, int], None]  #: (shards done, total)


@dataclass(frozen=True)
class Commit:
    """Modification time of a shard (seconds since 1970) and its rows."""

    at: float
    rows: int


@dataclass(frozen=True)
class Scan:
    """Results of one pass.

    Attributes:
        shards: all committed shards.
        read: number of shards read.
        bytes: of all shards.
        labelled: True for images with labels, False for pages with text.
        commits: of all shards, by time. A shard that was not read counts with the mean rows.
        tally: counts of the rows read.
        chosen: (shard, row id) of the gallery.
        failures: (shard, row id) of examples of each kind of failure.
    """

    shards: list[RunPath]
    read: int
    bytes: int
    labelled: bool
    commits: list[Commit]
    tally: Tally
    chosen: list[tuple[int, int]]
    failures: list[tuple[int, int]]

    @property
    def whole(self) -> bool:
        """True if all shards were read."""
        return self.read == len(self.shards)

    @property
    def rows(self) -> int:
        """Rows of all shards; an estimate unless `whole`."""
        return sum(commit.rows for commit in self.commits)


def scan(
    run: RunDir,
    samples: int,
    until: float,
    *,
    failures: int = 3,
    on_shard: OnShard = lambda done, total: None,
) -> Scan:
    """Read shards until the time limit, at least one, in random order (hash of the name).

    Args:
        samples: most rows to choose.
        until: time limit as `time.monotonic()`.
        failures: examples of each kind of failure in each outcome.
        on_shard: called after every shard.
    """
    shards = run.shard_files()
    tally, sampler = Tally(), Sampler(samples, shards)
    rows_of: dict[int, int] = {}
    labelled = False
    for number in sorted(range(len(shards)), key=lambda n: _order(shards[n])):
        if rows_of and time.monotonic() > until:
            break
        with open_shard(shards[number]) as file:
            rows_of[number] = file.metadata.num_rows
            labelled = labelled or "instances" in file.schema_arrow.names
            _add(file, number, tally, sampler)
        on_shard(len(rows_of), len(shards))
    size, commits = _commits(shards, rows_of)
    return Scan(
        shards=shards,
        read=len(rows_of),
        bytes=size,
        labelled=labelled,
        commits=commits,
        tally=tally,
        chosen=sampler.chosen(),
        failures=sampler.examples("failure", failures),
    )


def _add(file: NamedParquet, shard: int, tally: Tally, sampler: Sampler) -> None:
    for batch in file.iter_batches(_ROWS, columns=columns_of(file)):
        rows = view(batch)
        tally.add(rows)
        sampler.add(shard, rows)


def _commits(shards: list[RunPath], rows_of: dict[int, int]) -> tuple[int, list[Commit]]:
    """Bytes of all shards, and their commits by time. `rows_of`: of the shards that were read."""
    status = [path.stat() for path in shards]
    mean = round(sum(rows_of.values()) / max(len(rows_of), 1))
    commits = [Commit(one.st_mtime, rows_of.get(n, mean)) for n, one in enumerate(status)]
    return sum(one.st_size for one in status), sorted(commits, key=lambda commit: commit.at)


def _order(path: RunPath) -> bytes:
    return hashlib.blake2b(path.name.encode(), digest_size=8).digest()
