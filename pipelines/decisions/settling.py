"""The pure steps of `ocr_backfill`: measure a page, then give it outcome, reasons and text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from actors.escalation.vlm import Vlm
from actors.failures import FAILURE
from actors.lines import LINES
from pipelines.decisions.escalation import against_answer
from pipelines.decisions.reasons import PageReason
from pipelines.decisions.routing import (
    Evidence,
    PageOutcome,
    RoutingConfig,
    measured_and_doubted,
    reasons_of_failure,
)
from pipelines.flow import step

EVIDENCE = pa.struct(
    [
        (name, {"int": pa.int32()}.get(str(kind), pa.float32()))
        for name, kind in Evidence.__annotations__.items()
    ]
)


_READ = pa.schema(
    [
        ("native_text", pa.string()),
        ("native_lines", LINES),
        ("fetch_failure", FAILURE),
        ("ocr_lines", LINES),
        ("ocr_engine", pa.string()),
        ("ocr_failure", FAILURE),
    ]
)


#: Of the page as a whole, by whoever read it.
_SEEN = ("ink_share", "ink_covered", "text_outside")


_WEIGHED = pa.schema([("evidence", EVIDENCE), ("doubts", pa.list_(pa.string()))])


#: `lines` and `evidence` are always of the first reader, `lines_source`: its engine. `text` is what
#: to use, `text_source` who read it.
_SETTLED = pa.schema(
    [
        ("outcome", pa.string()),
        ("reasons", pa.list_(pa.string())),
        ("text", pa.string()),
        ("text_source", pa.string()),
        ("lines", LINES),
        ("lines_source", pa.string()),
    ]
)


_SECOND = pa.schema([column for column in Vlm.writes if column.name != "vlm_usage"])


@step(
    reads=pa.schema([*_READ, *((name, pa.float32()) for name in _SEEN)]),
    writes=_WEIGHED,
)
def weigh(rows: pa.Table, config: RoutingConfig) -> pa.Table:
    """Measure every page that OCR has read, and say why its reading is not to be trusted."""
    return _with_columns(rows, weigh.reads, weigh.writes, lambda page: weigh_page(page, config))


@step(reads=pa.schema([*_READ, *_WEIGHED]), writes=_SETTLED)
def settle(rows: pa.Table, config: RoutingConfig) -> pa.Table:
    """Give every page its outcome, its reasons and its final text."""
    return _with_columns(rows, settle.reads, settle.writes, settle_page)


@step(reads=pa.schema([*_READ, *_WEIGHED, *_SECOND]), writes=_SETTLED)
def settle_escalated(rows: pa.Table, config: RoutingConfig) -> pa.Table:
    """The same where a second reader was asked about the pages in doubt."""
    return _with_columns(
        rows,
        settle_escalated.reads,
        settle_escalated.writes,
        lambda page: settle_second(page, config),
    )


def _with_columns(
    rows: pa.Table,
    reads: pa.Schema,
    writes: pa.Schema,
    of_page: Callable[[dict[str, Any]], dict[str, Any]],
) -> pa.Table:
    found = [of_page(page) for page in rows.select(reads.names).to_pylist()]
    for column in writes:
        values = [one[column.name] for one in found]
        rows = rows.append_column(column, pa.array(values, column.type))
    return rows


def weigh_page(page: dict[str, Any], config: RoutingConfig) -> dict[str, Any]:
    """`evidence` and `doubts` of one page; null and none where OCR has read nothing."""
    unread = page["native_text"] is not None or page["ocr_lines"] is None
    if unread or page["fetch_failure"]:
        return {"evidence": None, "doubts": []}
    evidence, doubts = measured_and_doubted(page, config)
    # A reader may have read a part of the page, and say what became of the rest (surya).
    return {
        "evidence": asdict(evidence),
        "doubts": reasons_of_failure(page["ocr_failure"]) + doubts,
    }


def settle_page(page: dict[str, Any]) -> dict[str, Any]:
    """One page's fate: the first of native text, failure, OCR that it qualifies for."""
    if page["native_text"] is not None:
        native = "native"
        return verdict(
            PageOutcome.NATIVE_TEXT, [], page["native_text"], native, page["native_lines"], native
        )
    failed = reasons_of_failure(page["fetch_failure"], page["ocr_failure"])
    if page["fetch_failure"] or page["ocr_lines"] is None:
        return verdict(
            PageOutcome.FAILED, failed or [PageReason.NO_READING], None, None, None, None
        )
    lines, engine = page["ocr_lines"], page["ocr_engine"]
    outcome = PageOutcome.REVIEW if page["doubts"] else PageOutcome.OCR
    text = "\n".join(line["text"] for line in lines if line["text"])
    return verdict(outcome, page["doubts"], text, engine, lines, engine)


def settle_second(page: dict[str, Any], config: RoutingConfig) -> dict[str, Any]:
    """The same; a page in doubt whose second reading is believed has that text.

    Its reasons are then the doubts that the second reader settled. Otherwise those against the
    second reading join them, and the text stays that of the first.
    """
    settled = settle_page(page)
    if settled["outcome"] != PageOutcome.REVIEW.value:
        return settled
    against = against_answer(page, config.vlm)
    if against:
        return settled | {"reasons": [*dict.fromkeys([*page["doubts"], *against])]}
    source = f"vlm {page['vlm_model']}"
    return settled | {
        "outcome": PageOutcome.VLM.value,
        "text": page["vlm_text"],
        "text_source": source,
    }


def verdict(
    outcome: PageOutcome,
    reasons: list[str],
    text: str | None,
    source: str | None,
    lines: list[dict[str, Any]] | None,
    lines_source: str | None,
) -> dict[str, Any]:
    """The columns that settling writes for one page."""
    return {
        "outcome": outcome.value,
        "reasons": reasons,
        "text": text,
        "text_source": source,
        "lines": lines,
        "lines_source": lines_source,
    }
