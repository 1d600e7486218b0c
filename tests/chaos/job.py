"""The job `chaos.job:JOB`: real pages, fetch, a reader, the fallback, the real command.

The reader reads nothing, and misbehaves where its config says so. All else is what `nightjar run`
runs for OCR. No weights are loaded, so it starts in a third of the time.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
from pydantic import Field

from actors.contract import Actor, Pool, Settings
from actors.escalation.vlm import Vlm, VlmConfig
from actors.failures import FAILURE
from actors.lines import LINES
from pipelines.config import JobConfig
from pipelines.flow import Flow, step
from pipelines.job import Job
from pipelines.pages.fetch import PageFetcher
from pipelines.sources.manifest import MANIFEST


class ReaderConfig(Settings):
    """How it misbehaves. File names; "" is none."""

    seconds: float = 0.2  #: for each page, so that a night is long enough to be struck
    kills_process: str = ""  #: this page kills the process that reads it
    leak_mb: int = 0  #: kept of each batch, for ever
    #: A file. The first worker that creates it is broken from `breaks_after` rows on: each forward
    #: raises, as after an illegal memory access on a GPU. "": no worker breaks.
    breaks_once: str = ""
    breaks_after: int = 20


class LeakyReader(Actor[ReaderConfig]):
    """Finds nothing on a page, so that the fallback has to look at it."""

    reads = pa.schema([("uri", pa.string()), ("image", pa.binary())])
    writes = pa.schema(
        [("ocr_lines", LINES), ("doubts", pa.list_(pa.string())), ("ocr_failure", FAILURE)]
    )
    failure_column = "ocr_failure"

    def __init__(self, config: ReaderConfig) -> None:
        super().__init__(config)
        self._leaked: list[bytes] = []
        self._rows, self._broken = 0, False

    def __call__(self, rows: pa.Table) -> pa.Table:
        self._break(rows.num_rows)
        for uri in rows["uri"].to_pylist():
            time.sleep(self.config.seconds)
            if Path(uri).name == self.config.kills_process:
                os.kill(os.getpid(), signal.SIGKILL)
        self._leaked.append(b"\1" * (self.config.leak_mb << 20))
        found = [[], ["no_text_found"], None]
        for column, value in zip(self.writes, found, strict=True):
            rows = rows.append_column(column, pa.array([value] * rows.num_rows, column.type))
        return rows

    def _break(self, rows: int) -> None:
        self._rows += rows
        if self.config.breaks_once and self._rows >= self.config.breaks_after and not self._broken:
            with suppress(FileExistsError):
                Path(self.config.breaks_once).open("x").close()
                self._broken = True
        if self._broken:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")


class NoSettings(Settings):
    pass


_FAILURES = ("fetch_failure", "ocr_failure", "vlm_failure")


@step(
    reads=pa.schema([("fetch_failure", FAILURE), ("ocr_failure", FAILURE)]),
    writes=pa.schema([("outcome", pa.string()), ("reasons", pa.list_(pa.string()))]),
)
def settle(rows: pa.Table, _: NoSettings) -> pa.Table:
    outcomes, reasons = [], []
    for row in rows.select([c for c in _FAILURES if c in rows.schema.names]).to_pylist():
        kinds = [fault["kind"] for fault in row.values() if fault]
        failed = row["fetch_failure"] or row["ocr_failure"]
        outcomes.append("failed" if failed else "review" if kinds else "ocr")
        reasons.append(kinds)
    rows = rows.append_column("outcome", pa.array(outcomes, pa.string()))
    return rows.append_column("reasons", pa.array(reasons, pa.list_(pa.string())))


class ChaosConfig(JobConfig):
    reader: ReaderConfig = ReaderConfig()
    reader_pool: Pool = Pool(batch_size=4, num_cpus=0.5, min_size=2, max_size=2)
    vlm: VlmConfig | None = None
    vlm_pool: Pool = Field(Pool(batch_size=4, num_cpus=0.1, concurrency=4))


def _flow(config: ChaosConfig) -> Flow:
    flow = Flow(MANIFEST).through(PageFetcher, config.fetch, config.fetch_pool)
    flow = flow.through(LeakyReader, config.reader, config.reader_pool)
    if config.vlm:
        flow = flow.through(Vlm, config.vlm, config.vlm_pool)
    return flow.map(settle, NoSettings()).drop("image")


JOB = Job("chaos", ChaosConfig, _flow, "page")
