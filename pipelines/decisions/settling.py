"""The pure steps of `ocr_backfill`: measure a page, then give it outcome, reasons and text.

    weigh              READ + SEEN                 -> WEIGHED
    settle             READ + WEIGHED              -> SETTLED
    settle_escalated   READ + WEIGHED + SECOND     -> SETTLED

Each step calls a function of one page (`weigh_page`, `settle_page`, `settle_second`). The page has
the keys of the step's `reads`; every value may be None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypedDict

import pyarrow as pa

from actors.contract import appended
from actors.escalation.vlm import Vlm
from actors.failures import FAILURE, FailureValue
from actors.lines import LINES, LineValue, page_text
from pipelines.decisions.escalation import SecondReading, against_answer
from pipelines.decisions.evidence import EVIDENCE, EvidenceValue
from pipelines.decisions.reasons import PageReason
from pipelines.decisions.routing import (
    PageOutcome,
    RoutingConfig,
    measured_and_doubted,
    reasons_of_failure,
    reasons_of_notes,
)
from pipelines.flow import Step, step

#: Columns of the fetch and of the first reader.
READ = pa.schema(
    [
        ("native_text", pa.string()),
        ("native_lines", LINES),
        ("notes", pa.list_(pa.string())),
        ("fetch_failure", FAILURE),
        ("ocr_lines", LINES),
        ("ocr_engine", pa.string()),
        ("ocr_failure", FAILURE),
    ]
)

#: Measurements of the whole page by the first reader; see `actors.lines.READING`.
SEEN = pa.schema(
    [
        (name, pa.float32())
        for name in (
            *("ink_share", "ink_covered", "text_outside"),
            *("unread_script", "unread_letters", "unread_ink", "order_doubt"),
        )
    ]
)

#: `evidence`: null if no OCR engine read the page. `doubts`: reasons against the reading.
WEIGHED = pa.schema([("evidence", EVIDENCE), ("doubts", pa.list_(pa.string()))])

#: The second reading of pages in doubt.
SECOND = pa.schema([column for column in Vlm.writes if column.name != "vlm_usage"])

#: `text` is the final text, `text_source` its reader. `lines` always come from the first reader,
#: and `lines_source` names it.
SETTLED = pa.schema(
    [
        ("outcome", pa.string()),
        ("reasons", pa.list_(pa.string())),
        ("text", pa.string()),
        ("text_source", pa.string()),
        ("lines", LINES),
        ("lines_source", pa.string()),
    ]
)


class PageRead(TypedDict, total=False):
    """A row of READ."""

    native_text: str | None
    native_lines: list[LineValue] | None
    notes: list[str] | None
    fetch_failure: FailureValue | None
    ocr_lines: list[LineValue] | None
    ocr_engine: str | None
    ocr_failure: FailureValue | None


class PageToWeigh(PageRead, total=False):
    """A row of READ and SEEN."""

    ink_share: float | None
    ink_covered: float | None
    text_outside: float | None
    unread_script: float | None
    unread_letters: float | None
    unread_ink: float | None
    order_doubt: float | None


class PageWeighed(TypedDict, total=False):
    """A row of WEIGHED."""

    evidence: EvidenceValue | None
    doubts: list[str]


class PageToSettle(PageRead, PageWeighed, total=False):
    """A row of READ and WEIGHED."""


class PageEscalated(PageToSettle, SecondReading, total=False):
    """A row of READ, WEIGHED and SECOND."""


class PageSettled(TypedDict):
    """A row of SETTLED."""

    outcome: str
    reasons: list[str]
    text: str | None
    text_source: str | None
    lines: list[LineValue] | None
    lines_source: str | None


@step(reads=pa.schema([*READ, *SEEN]), writes=WEIGHED)
def weigh(rows: pa.Table, config: RoutingConfig) -> pa.Table:
    """Measure every page that OCR has read, and list the doubts about its reading."""
    return _page_by_page(rows, weigh, lambda page: weigh_page(page, config))


@step(reads=pa.schema([*READ, *WEIGHED]), writes=SETTLED)
def settle(rows: pa.Table, config: RoutingConfig) -> pa.Table:
    """Give every page its outcome, its reasons and its final text."""
    return _page_by_page(rows, settle, settle_page)


@step(reads=pa.schema([*READ, *WEIGHED, *SECOND]), writes=SETTLED)
def settle_escalated(rows: pa.Table, config: RoutingConfig) -> pa.Table:
    """`settle` for runs that ask a second reader about pages in doubt."""
    return _page_by_page(rows, settle_escalated, lambda page: settle_second(page, config))


def _page_by_page(
    rows: pa.Table, declared: Step, of_page: Callable[[Any], Mapping[str, Any]]
) -> pa.Table:
    pages = rows.select(declared.reads.names).to_pylist()
    return appended(rows, declared.writes, [of_page(page) for page in pages])


def weigh_page(page: PageToWeigh, config: RoutingConfig) -> PageWeighed:
    """`evidence` and `doubts` of one page; None and [] if OCR did not read it."""
    unread = page["native_text"] is not None or page["ocr_lines"] is None
    if unread or page["fetch_failure"]:
        return {"evidence": None, "doubts": []}
    evidence, doubts = measured_and_doubted(page, config)
    if PageReason.DYNAMIC_FORM in reasons_of_notes(page.get("notes")):
        doubts = []  # of a placeholder: a second reading would be paid for nothing
    # Surya can read a part of a page and report a failure for the rest.
    unread_parts = reasons_of_failure(page["ocr_failure"])
    return {"evidence": evidence.as_value(), "doubts": unread_parts + doubts}


def settle_page(page: PageToSettle) -> PageSettled:
    """Outcome of one page: native text if there is any, else failure, else the OCR reading."""
    held = reasons_of_notes(page.get("notes"))
    if page["native_text"] is not None:
        lines = page["native_lines"]
        outcome = PageOutcome.REVIEW if held else PageOutcome.NATIVE_TEXT
        return _settled(outcome, held, page["native_text"], lines, "native")
    if page["fetch_failure"] or page["ocr_lines"] is None:
        failed = reasons_of_failure(page["fetch_failure"], page["ocr_failure"])
        return _settled(PageOutcome.FAILED, failed or [PageReason.NO_READING], None, None, None)
    lines, engine = page["ocr_lines"], page["ocr_engine"]
    reasons = [*held, *page["doubts"]]
    outcome = PageOutcome.REVIEW if reasons else PageOutcome.OCR
    return _settled(outcome, reasons, page_text(lines), lines, engine)


def settle_second(page: PageEscalated, config: RoutingConfig) -> PageSettled:
    """Like `settle_page`, but a page in doubt takes its second reading if that is accepted.

    `reasons` are then the doubts about the first reading. If the second reading is rejected, the
    reasons against it join them, and the text stays that of the first reading. Reasons of the
    document are not settled by any reading.
    """
    settled = settle_page(page)
    if settled["outcome"] != PageOutcome.REVIEW.value or reasons_of_notes(page.get("notes")):
        return settled
    against = against_answer(page, config.vlm)
    if against:
        return settled | {"reasons": [*dict.fromkeys([*page["doubts"], *against])]}
    return settled | {
        "outcome": PageOutcome.VLM.value,
        "text": page["vlm_text"],
        "text_source": f"vlm {page['vlm_model']}",
    }


def _settled(
    outcome: PageOutcome,
    reasons: list[str],
    text: str | None,
    lines: list[LineValue] | None,
    source: str | None,
) -> PageSettled:
    """A page whose text is that of its `lines`, read by `source`."""
    return {
        "outcome": outcome.value,
        "reasons": reasons,
        "text": text,
        "text_source": source,
        "lines": lines,
        "lines_source": source,
    }
