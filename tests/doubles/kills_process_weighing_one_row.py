"""A second model for a flow whose first reads: dies by SIGKILL on the poison row."""

from __future__ import annotations

import os

import pyarrow as pa
from doubles.kills_process_on_one_row import KillsProcessOnOneRow

from actors.failures import FAILURE


class KillsProcessWeighingOneRow(KillsProcessOnOneRow):
    """`weight`: the process that weighed the row."""

    writes = pa.schema([("weight", pa.int32()), ("weigh_failure", FAILURE)])
    failure_column = "weigh_failure"

    def __call__(self, rows: pa.Table) -> pa.Table:
        for row in rows["row_id"].to_pylist():
            self.meet(row)
        weights = pa.array([os.getpid()] * rows.num_rows, pa.int32())
        nothing = pa.nulls(rows.num_rows, FAILURE)
        return rows.append_column("weight", weights).append_column("weigh_failure", nothing)
