"""A job whose model does nothing, to measure the cost of a run without models."""

from __future__ import annotations

import time
from typing import Any

import pyarrow as pa

from actors.contract import Actor, Pool, Settings
from actors.failures import FAILURE
from pipelines.config import JobConfig
from pipelines.flow import Flow, step
from pipelines.job import Job
from pipelines.sources.manifest import MANIFEST


class MeasureConfig(Settings):
    """`load_s`: seconds that a worker needs to start, in place of loading weights."""

    load_s: float = 0.0


class Measure(Actor[MeasureConfig]):
    """Write the length of each uri."""

    reads = pa.schema([("uri", pa.string())])
    writes = pa.schema([("length", pa.int32()), ("measure_failure", FAILURE)])
    failure_column = "measure_failure"

    def __init__(self, config: MeasureConfig) -> None:
        super().__init__(config)
        time.sleep(config.load_s)

    def __call__(self, rows: pa.Table) -> pa.Table:
        lengths = pa.array([len(uri) for uri in rows["uri"].to_pylist()], pa.int32())
        rows = rows.append_column("length", lengths)
        return rows.append_column("measure_failure", pa.nulls(rows.num_rows, FAILURE))


class Nothing(Settings):
    """Settings of `settle`: none."""


@step(
    reads=pa.schema([("length", pa.int32())]),
    writes=pa.schema([("outcome", pa.string()), ("reasons", pa.list_(pa.string()))]),
)
def settle(rows: pa.Table, _: Nothing) -> pa.Table:
    """Give every row the outcome `measured`."""
    outcomes = pa.array(["measured"] * rows.num_rows, pa.string())
    rows = rows.append_column("outcome", outcomes)
    return rows.append_column("reasons", pa.array([[]] * rows.num_rows, pa.list_(pa.string())))


class ScaleConfig(JobConfig):
    """Config of the benchmark's job."""

    measure: MeasureConfig = MeasureConfig()
    measure_pool: Pool = Pool(batch_size=16, num_cpus=1, max_size=1)


def _flow(config: ScaleConfig) -> Flow:
    flow = Flow(MANIFEST).through(Measure, config.measure, config.measure_pool)
    return flow.map(settle, Nothing())


JOB: Any = Job("scale", ScaleConfig, _flow, "row")
