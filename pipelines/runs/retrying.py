"""`nightjar run --retry-failed`: rows that failed are owed again.

Each shard with such rows is replaced, in one step, by a shard of the same name without them. So at
any moment a row is in exactly one shard, or owed. The rows that were taken out are kept in
`superseded/`. Needs the lock of the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa

from actors.failures import FailureKind
from pipelines.errors import ConfigError
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import (
    SinkConfig,
    digest_of_ids,
    each,
    failure_columns,
    kinds_in,
    open_shard,
    stage,
    with_failure,
)
from pipelines.runs.store import part_of
from pipelines.storage.output_errors import output_errors
from pipelines.storage.paths import RunPath, write_parquet

#: The word for every kind of failure.
ALL = "all"


@dataclass
class Retried:
    """Rows that are owed again: by manifest part, and by kind (a row can have several)."""

    rows: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)


def failure_kinds(words: Sequence[str]) -> frozenset[str]:
    """The kinds that the words name, in any case; all kinds for `all`. Raises ConfigError."""
    known = {kind.value for kind in FailureKind}
    asked = {part.strip().upper() for word in words for part in word.split(",")}
    unknown = sorted(asked - known - {ALL.upper()})
    if unknown:
        raise ConfigError(
            f"--retry-failed {unknown[0]}: no such kind of failure",
            f"use {ALL}, or one of {', '.join(sorted(known))}",
        )
    return frozenset(known if ALL.upper() in asked else asked)


def owe_again(run: RunDir, kinds: Collection[str], sink: SinkConfig) -> Retried:
    """Take the rows with a failure of one of `kinds`, in any column, out of their shards.

    If this process dies in between, the rows of the shards so far are owed, and the others stay as
    they are. Raises OutputUnwritable, RunBusy.
    """
    files, retried = run.shard_files(), Retried()
    for path, there in zip(files, each(files, partial(_has, kinds)), strict=True):
        if there:
            _supersede(run, path, kinds, sink, retried)
    return retried


def _has(kinds: Collection[str], path: RunPath) -> bool:
    file = open_shard(path)
    failures = file.read(columns=failure_columns(file.schema_arrow))
    return bool(with_failure(failures, kinds).any())


def _supersede(
    run: RunDir, path: RunPath, kinds: Collection[str], sink: SinkConfig, retried: Retried
) -> None:
    rows = open_shard(path).read()
    again = with_failure(rows, kinds)
    old, rest = rows.filter(pa.array(again)), rows.filter(pa.array(~again))
    name = f"{path.stem}-{digest_of_ids(np.sort(old['row_id'].to_numpy()))}.parquet"
    with output_errors(run.path):
        write_parquet(old, run.superseded / name, compression="zstd")
        if rest.num_rows:
            stage(run, path.name, rest, sink)
    if rest.num_rows:
        run.replace(path.name)
    else:
        run.drop(path.name)
    retried.rows[part_of(path.name)] += old.num_rows
    retried.kinds += kinds_in(old)
