"""A job around one small model, so that the engine is tested without OCR."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from doubles.counting_reader import CountingReader, ReaderConfig

from actors.contract import Pool, Settings
from actors.failures import FAILURE
from pipelines.flow import Flow, step

ROW = pa.schema([("row_id", pa.int64()), ("uri", pa.string())])


class NoSettings(Settings):
    pass


@step(
    reads=pa.schema([("read_failure", FAILURE)]),
    writes=pa.schema([("outcome", pa.string()), ("reasons", pa.list_(pa.string()))]),
)
def judge(rows: pa.Table, _: NoSettings) -> pa.Table:
    failures: list[Any] = rows["read_failure"].to_pylist()
    outcomes = pa.array(["failed" if f else "ocr" for f in failures], pa.string())
    reasons = pa.array([[f["kind"]] if f else [] for f in failures], pa.list_(pa.string()))
    return rows.append_column("outcome", outcomes).append_column("reasons", reasons)


def tiny_flow(model: type[CountingReader], poison_row: int = -1, **pool: Any) -> Flow:
    chosen = Pool(**{"batch_size": 16, "num_cpus": 1, **pool})
    return (
        Flow(ROW)
        .through(model, ReaderConfig(poison_row=poison_row), chosen)
        .map(judge, NoSettings())
    )


def tiny_rows(count: int) -> pa.Table:
    ids = np.arange(count, dtype=np.int64)
    return pa.table({"row_id": ids, "uri": [f"file-{i}" for i in ids]}, schema=ROW)
