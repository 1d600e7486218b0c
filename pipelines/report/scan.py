"""One pass over the shards of a run, in bounded time: counts, commit times, chosen rows."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from pipelines.report.sample import Sampler
from pipelines.report.tally import Tally
from pipelines.report.views import columns_of, view
from pipelines.runs.directory import RunDir
from pipelines.storage.paths import RunPath, parquet

#: Rows in memory as Arrow: scores of 2,048 pages of 50 lines are 0.4 MB.
_ROWS = 2048

OnShard = Callable[[int, int], None]  #: shards done, of how many


@dataclass(frozen=True)
class Commit:
    """When a shard became visible (seconds since 1970, by the file system), and its rows."""

    at: float
    rows: int


@dataclass(frozen=True)
class Scan:
    """What one pass has found.

    Attributes:
        shards: all committed files. read: how many of them were, in an order made by hashing.
        bytes: of all shards.
        labelled: the run holds images with labels; else pages with text.
        commits: of all shards, by time; one that was not read has the mean of the others' rows.
        tally: of the rows that were read.
        chosen: (shard, row id) of the gallery; failures: of examples of each kind of failure.
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
        """Whether the counts are of all rows."""
        return self.read == len(self.shards)

    @property
    def rows(self) -> int:
        """In all shards; an estimate unless it is `whole`."""
        return sum(commit.rows for commit in self.commits)


def scan(
    run: RunDir,
    samples: int,
    until: float,
    *,
    failures: int = 3,
    on_shard: OnShard = lambda done, total: None,
) -> Scan:
    """Read shards until `time.monotonic()` is `until`, at least one.

    A shard's place in the order is a hash of its name: what was read when time ran out is a sample
    of the run, not its first hours.

    Args:
        run: its shards are only read.
        samples: rows to choose at most.
        until: see above.
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
        with parquet(shards[number]) as file:
            rows_of[number] = file.metadata.num_rows
            labelled = labelled or "instances" in file.schema_arrow.names
            for batch in file.iter_batches(_ROWS, columns=columns_of(file)):
                rows = view(batch)
                tally.add(rows)
                sampler.add(number, rows)
        on_shard(len(rows_of), len(shards))
    status = [path.stat() for path in shards]
    mean = round(tally.rows / max(len(rows_of), 1))
    commits = [Commit(one.st_mtime, rows_of.get(n, mean)) for n, one in enumerate(status)]
    return Scan(
        shards=shards,
        read=len(rows_of),
        bytes=sum(one.st_size for one in status),
        labelled=labelled,
        commits=sorted(commits, key=lambda commit: commit.at),
        tally=tally,
        chosen=sampler.chosen(),
        failures=sampler.examples("failure", failures),
    )


def _order(path: RunPath) -> bytes:
    return hashlib.blake2b(path.name.encode(), digest_size=8).digest()
