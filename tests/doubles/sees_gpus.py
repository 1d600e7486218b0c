"""Models that say what their process sees: its id, its GPUs and the time of each row."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from actors.contract import Actor, Device, Settings, appended
from actors.failures import FAILURE

SEEN = pa.struct([("process", pa.int64()), ("gpus", pa.string()), ("at", pa.float64())])


class Seconds(Settings):
    """Without a device: a model that never uses a GPU."""

    a_row: float = 0.0


class OnDevice(Seconds):
    """`folder`: each process leaves a file there; none begins before there are `processes`."""

    device: Device = "auto"
    folder: str = ""
    processes: int = 0


class _Sees(Actor[Seconds]):
    column = ""

    def __init__(self, config: Seconds) -> None:
        super().__init__(config)
        if isinstance(config, OnDevice) and config.folder:
            Path(config.folder, f"{self.column}-{os.getpid()}").touch()
            self._wait_for_the_others(config)

    def _wait_for_the_others(self, config: OnDevice) -> None:
        deadline = time.monotonic() + 240
        while len(list(Path(config.folder).iterdir())) < config.processes:
            assert time.monotonic() < deadline, "some workers of the pools do not start"
            time.sleep(0.05)

    def __call__(self, rows: pa.Table) -> pa.Table:
        values: list[dict[str, Any]] = []
        for _ in range(rows.num_rows):
            time.sleep(self.config.a_row)
            gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
            values.append(
                {self.column: {"process": os.getpid(), "gpus": gpus, "at": time.monotonic()}}
            )
        return appended(rows, self.writes, values)


class Fetches(_Sees):
    column = "fetched"
    reads = pa.schema([("row_id", pa.int64())])
    writes = pa.schema([("fetched", SEEN), ("fetch_failure", FAILURE)])
    failure_column = "fetch_failure"


class Finds(_Sees):
    column = "found"
    reads = pa.schema([("fetched", SEEN)])
    writes = pa.schema([("found", SEEN), ("find_failure", FAILURE)])
    failure_column = "find_failure"


class Outlines(_Sees):
    column = "outlined"
    reads = pa.schema([("found", SEEN)])
    writes = pa.schema([("outlined", SEEN), ("outline_failure", FAILURE)])
    failure_column = "outline_failure"
