"""A driver without Ray: does what is owed of a run in a bucket, three rows a shard, as a process
that may be killed at any moment."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pyarrow as pa

from actors.failures import FAILURE
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import SinkConfig, owed, stage_shard
from pipelines.sources.listing import SourceConfig
from pipelines.sources.manifest import freeze
from pipelines.storage.client import Storage
from pipelines.storage.objects import StorageSettings

#: What a forked process has imported already; without it each took 2 to 4 s. Only modules below
#: PYTHONPATH are found, others are left out in silence. pyarrow imports pandas at its first use.
PRELOAD = ["__main__", "pandas", "pipelines.runs.retrying", "pipelines.storage.s3"]


def plan(run: RunDir, folder: Path, rows: int, settings: StorageSettings) -> None:
    """Freeze a manifest of so many files into the bucket."""
    for number in range(rows):
        (folder / f"{number:03d}.txt").write_text("no document")
    source = SourceConfig(path=str(folder))
    with run.locked():
        freeze(
            source, run.manifest, storage=Storage(), output=Storage(settings), open_counter=_nobody
        )


def _nobody() -> object:
    raise AssertionError("a text has no pages to count")


def started(run: RunDir) -> BaseProcess:
    """The driver as a process of its own; forked from a clean one, which has all imports."""
    return forked(drive, run)


def forked(task: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A process that runs `task`, in the present environment of this process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    process = context.Process(target=_run, args=(dict(os.environ), task, *arguments))
    process.start()
    return process


def _run(environment: dict[str, str], task: Callable[..., None], *arguments: Any) -> None:
    """The server has the environment of its start, which may lack a fixture's credentials."""
    os.environ |= environment
    task(*arguments)


def drive(run: RunDir) -> None:
    """Everything that is owed; every third row fails."""
    with run.locked():
        run.create()
        for part, rows in owed(run):
            ids = rows["row_id"].to_pylist()
            for start in range(0, len(ids), 3):
                shard = stage_shard(run, part, [judged(ids[start : start + 3])], SinkConfig())
                run.commit(shard.name)


def judged(ids: list[int]) -> pa.Table:
    """Finished rows."""
    faults = [{"kind": "CORRUPT_IMAGE", "message": ""} if i % 3 == 0 else None for i in ids]
    return pa.table(
        {
            "row_id": pa.array(ids, pa.int64()),
            "uri": [f"/{row_id}.png" for row_id in ids],
            "outcome": ["failed" if fault else "ocr" for fault in faults],
            "reasons": pa.array([[] for _ in ids], pa.list_(pa.string())),
            "fetch_failure": pa.array(faults, FAILURE),
        }
    )
