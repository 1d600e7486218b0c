"""OCR backfill: scanned documents in, text that can be trusted out. One row is one page."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

import pyarrow as pa

from actors.contract import Pool
from actors.failures import FAILURE
from actors.ocr.line import LINES
from actors.rapid_ocr import RapidOcr, RapidOcrConfig
from pipelines.config import JobConfig
from pipelines.fetch import PageFetcher
from pipelines.flow import Flow, step
from pipelines.job import Job
from pipelines.manifest import MANIFEST
from pipelines.routing import (
    Evidence,
    Outcome,
    RoutingConfig,
    judge,
    reasons_of_failure,
)


class OcrBackfillConfig(JobConfig):
    """Config of the job `ocr_backfill`."""

    job: Literal["ocr_backfill"] = "ocr_backfill"
    ocr: RapidOcrConfig = RapidOcrConfig()
    ocr_pool: Pool = Pool(num_cpus=0.75, max_size=None)
    routing: RoutingConfig = RoutingConfig()


EVIDENCE = pa.struct(
    [
        (name, {"int": pa.int32()}.get(str(kind), pa.float32()))
        for name, kind in Evidence.__annotations__.items()
    ]
)


@step(
    reads=pa.schema(
        [
            ("native_text", pa.string()),
            ("native_lines", LINES),
            ("native_reason", pa.string()),
            ("fetch_failure", FAILURE),
            ("ocr_lines", LINES),
            ("ink_share", pa.float32()),
            ("ink_covered", pa.float32()),
            ("ocr_engine", pa.string()),
            ("ocr_failure", FAILURE),
        ]
    ),
    writes=pa.schema(
        [
            ("outcome", pa.string()),
            ("reasons", pa.list_(pa.string())),
            ("text", pa.string()),
            ("text_source", pa.string()),
            ("lines", LINES),
            ("evidence", EVIDENCE),
        ]
    ),
)
def settle(rows: pa.Table, config: RoutingConfig) -> pa.Table:
    """Give every page its outcome, its reasons and its final text."""
    wanted = settle.reads.names
    verdicts = [settle_page(page, config) for page in rows.select(wanted).to_pylist()]
    for column in settle.writes:
        values = [verdict[column.name] for verdict in verdicts]
        rows = rows.append_column(column, pa.array(values, column.type))
    return rows


def settle_page(page: dict[str, Any], config: RoutingConfig) -> dict[str, Any]:
    """One page's fate: the first of native text, failure, OCR that it qualifies for."""
    if page["native_text"] is not None:
        return verdict(Outcome.NATIVE_TEXT, [], page["native_lines"], "native", page["native_text"])
    failed = reasons_of_failure(page["fetch_failure"], page["ocr_failure"])
    if failed or page["ocr_lines"] is None:
        return verdict(Outcome.FAILED, failed or ["no_reading"], None, None, None)
    lines, engine = page["ocr_lines"], page["ocr_engine"]
    evidence, why = judge(page, config)
    outcome = Outcome.REVIEW if why else Outcome.OCR
    text = "\n".join(line["text"] for line in lines if line["text"])
    return verdict(outcome, why, lines, engine, text, evidence)


def verdict(
    outcome: Outcome,
    reasons: list[str],
    lines: list[dict[str, Any]] | None,
    source: str | None,
    text: str | None,
    evidence: Evidence | None = None,
) -> dict[str, Any]:
    """The columns that `settle` writes for one page."""
    return {
        "outcome": outcome.value,
        "reasons": reasons,
        "text": text,
        "text_source": source,
        "lines": lines,
        "evidence": asdict(evidence) if evidence else None,
    }


def ocr_backfill(config: OcrBackfillConfig) -> Flow:
    """The dataflow of OCR backfill."""
    return (
        Flow(MANIFEST)
        .through(PageFetcher, config.fetch, config.fetch_pool)
        .through(RapidOcr, config.ocr, config.ocr_pool)
        .map(settle, config.routing)
        .drop("image", "native_lines", "ocr_lines", "ocr_engine", "ink_share", "ink_covered")
    )


JOB = Job("ocr_backfill", OcrBackfillConfig, ocr_backfill, "page")
