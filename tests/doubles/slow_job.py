"""The job `doubles.slow_job:JOB`: reads nothing of its files but takes its time; starts quickly."""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow as pa
from doubles.tiny_job import NoSettings, judge

from actors.contract import Actor, Pool, Settings
from actors.failures import FAILURE, FailureKind, failure
from pipelines.config import JobConfig
from pipelines.flow import Flow
from pipelines.job import Job
from pipelines.sources.manifest import MANIFEST


class SlowConfig(Settings):
    operational = frozenset({"seconds", "gone"})

    seconds: float = 0.1  #: for each row
    gone: str = ""  #: while this file exists, every row fails with STORAGE_ERROR


class SlowReader(Actor[SlowConfig]):
    reads = pa.schema([("row_id", pa.int64())])
    writes = pa.schema([("read_failure", FAILURE)])
    failure_column = "read_failure"

    def __call__(self, rows: pa.Table) -> pa.Table:
        time.sleep(self.config.seconds * rows.num_rows)
        gone = self.config.gone and Path(self.config.gone).exists()
        value = failure(FailureKind.STORAGE_ERROR, "503 Slow Down") if gone else None
        return rows.append_column("read_failure", pa.array([value] * rows.num_rows, FAILURE))


class SlowJobConfig(JobConfig):
    reader: SlowConfig = SlowConfig()
    reader_pool: Pool = Pool(batch_size=4)


def slow(config: SlowJobConfig) -> Flow:
    read = Flow(MANIFEST).through(SlowReader, config.reader, config.reader_pool)
    return read.map(judge, NoSettings())


JOB = Job("slow", SlowJobConfig, slow, "page")
