"""OCR backfill where the file's name says what surface it shows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from actors.contract import Settings
from pipelines.decisions.readers import SURFACE
from pipelines.decisions.settling import settle, weigh
from pipelines.flow import Flow, step
from pipelines.job import Job
from pipelines.ocr_backfill import OcrBackfillConfig, read_pages
from pipelines.pages.fetch import PageFetcher
from pipelines.sources.manifest import MANIFEST


class NoSettings(Settings):
    pass


@step(reads=pa.schema([("uri", pa.string())]), writes=pa.schema([SURFACE]))
def surface_of_name(rows: pa.Table, _: NoSettings) -> pa.Table:
    first = [Path(uri).name.partition("_")[0] for uri in rows["uri"].to_pylist()]
    known = [one if one in ("scene", "document", "screenshot") else None for one in first]
    return rows.append_column(SURFACE, pa.array(known, SURFACE.type))


def three_readers(config: OcrBackfillConfig) -> Flow:
    fetched = Flow(MANIFEST).through(PageFetcher, config.fetching, config.fetch_pool)
    read = read_pages(fetched.map(surface_of_name, NoSettings()), config)
    return read.map(weigh, config.routing).map(settle, config.routing).drop("image")


JOB = Job("three_readers", OcrBackfillConfig, three_readers, "page")
