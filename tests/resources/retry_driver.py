"""A small run with failed rows, and a process that owes them again and dies at a chosen step."""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pyarrow as pa
from bucket_driver import forked

from actors.failures import FAILURE
from pipelines.runs.directory import RunDir
from pipelines.runs.retrying import owe_again
from pipelines.runs.shards import SinkConfig, open_shard, stage_shard
from pipelines.storage.paths import parquet

PART = "part-00000"
KIND = "STORAGE_ERROR"
#: Rows of each shard: id -> kind of failure. Of one shard all rows go, of one none.
SHARDS: list[dict[int, str | None]] = [
    {1: None, 2: KIND, 3: "CORRUPT_IMAGE"},
    {4: KIND, 5: KIND},
    {6: None, 7: KIND, 8: None},
    {9: None, 10: "CORRUPT_IMAGE"},
]
ROWS = {row_id: kind for shard in SHARDS for row_id, kind in shard.items()}
AGAIN = {row_id for row_id, kind in ROWS.items() if kind == KIND}
#: Events of the interpreter that change files.
_STEPS = ("os.rename", "os.remove", "os.mkdir", "os.truncate")


def rows(kinds: dict[int, str | None]) -> pa.Table:
    """Finished rows."""
    faults = [{"kind": kind, "message": "m"} if kind else None for kind in kinds.values()]
    return pa.table(
        {
            "row_id": pa.array([*kinds], pa.int64()),
            "uri": [f"/{row_id}.png" for row_id in kinds],
            "outcome": ["failed" if fault else "ocr" for fault in faults],
            "reasons": pa.array(
                [[kind] if kind else [] for kind in kinds.values()], pa.list_(pa.string())
            ),
            "fetch_failure": pa.array(faults, FAILURE),
        }
    )


def commit(run: RunDir, kinds: dict[int, str | None]) -> None:
    """Commit rows as one shard."""
    run.commit(stage_shard(run, PART, [rows(kinds)], SinkConfig()).name)


def made(run: RunDir) -> RunDir:
    """The run with all shards."""
    with run.locked():
        run.create()
        run.write_record({"job": "ocr_backfill", "sessions": []})
        for kinds in SHARDS:
            commit(run, kinds)
    return run


def in_shards(run: RunDir) -> list[dict[str, Any]]:
    """All rows of all shards."""
    tables = [open_shard(path).read() for path in run.shard_files()]
    return [row for table in tables for row in table.to_pylist()]


def in_rejects(run: RunDir) -> list[int]:
    """The ids of all rejects, ascending."""
    found = [parquet(path).read()["row_id"].to_pylist() for path in run.rejects.glob("*.parquet")]
    return sorted(row_id for ids in found for row_id in ids)


def started(run: RunDir, step: int | None = None) -> BaseProcess:
    """A process that owes the failed rows again; it kills itself before a step on the disk."""
    return forked(retry, run, step)


def retry(run: RunDir, step: int | None = None) -> None:
    """What `nightjar run --retry-failed STORAGE_ERROR` does before it processes rows."""
    if step is not None:
        sys.addaudithook(_Killer(step))
    with run.locked():
        run.create()
        run.sweep()
        owe_again(run, {KIND}, SinkConfig())


class _Killer:
    """Kills this process before its step number `left` that changes files."""

    def __init__(self, left: int) -> None:
        self._left = left

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _STEPS or (event == "open" and _writes(*arguments)):
            self._left -= 1
            if self._left < 0:
                os.kill(os.getpid(), signal.SIGKILL)


def _writes(path: object, mode: object, flags: int) -> bool:
    return isinstance(path, str | Path) and bool(flags & (os.O_WRONLY | os.O_RDWR))
