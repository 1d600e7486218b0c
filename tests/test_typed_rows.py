"""Typed dicts name the fields of the Arrow types that they stand for, in the same order."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from actors.escalation.vlm import USAGE, PageInDoubt, UsageValue, Vlm, VlmRead
from actors.failures import FAILURE, FailureValue
from actors.instances import CONFLICT, INSTANCE, MASK, Conflict, Instance, MaskValue
from actors.lines import LINE, READING, LineValue, ReadingValue
from actors.ocr.blocks import BLOCK, BlockValue
from actors.ocr.pp_ocr.line_reader import LineReader, LinesRead
from actors.ocr.surya import Surya, SuryaRead
from actors.screens.element import ELEMENT, ElementValue
from pipelines.autolabel import AutolabelConfig, autolabel
from pipelines.decisions.escalation import SecondReading
from pipelines.decisions.evidence import EVIDENCE, EvidenceValue, ReadingSeen
from pipelines.decisions.finished import FinishedImage, FinishedPage
from pipelines.decisions.settling import (
    READ,
    SECOND,
    SEEN,
    SETTLED,
    WEIGHED,
    PageEscalated,
    PageRead,
    PageSettled,
    PageToSettle,
    PageToWeigh,
    PageWeighed,
    settle,
    settle_escalated,
    weigh,
)
from pipelines.decisions.triage import (
    LABEL,
    RLE,
    ImageRow,
    ImageVerdict,
    Label,
    RleValue,
    triage,
)
from pipelines.ocr_backfill import OcrBackfillConfig, ocr_backfill
from pipelines.pages.fetch import PageFetched, PageFetcher, PageWanted
from pipelines.review.importing import REVIEWED, ReviewedRow
from pipelines.sources.manifest import MANIFEST, ManifestRow

#: (typed dict, the struct or schema of the rows that it stands for)
PAIRS: list[tuple[Any, pa.StructType | pa.Schema]] = [
    (Conflict, CONFLICT),
    (Instance, INSTANCE),
    (MaskValue, MASK),
    (RleValue, RLE),
    (Label, LABEL),
    (ImageRow, triage.reads),
    (ImageVerdict, triage.writes),
    (LineValue, LINE),
    (ReadingValue, pa.schema(READING)),
    (ReadingSeen, pa.schema([READ.field("ocr_lines"), READ.field("ocr_engine"), *SEEN])),
    (LinesRead, LineReader.writes),
    (FailureValue, FAILURE),
    (BlockValue, BLOCK),
    (SuryaRead, Surya.writes),
    (ElementValue, ELEMENT),
    (UsageValue, USAGE),
    (PageInDoubt, Vlm.reads),
    (VlmRead, Vlm.writes),
    (ManifestRow, MANIFEST),
    (PageWanted, PageFetcher.reads),
    (PageFetched, PageFetcher.writes),
    (EvidenceValue, EVIDENCE),
    (PageRead, READ),
    (PageToWeigh, weigh.reads),
    (PageWeighed, WEIGHED),
    (PageToSettle, settle.reads),
    (SecondReading, SECOND),
    (PageEscalated, settle_escalated.reads),
    (PageSettled, SETTLED),
    (ReviewedRow, REVIEWED),
]

#: Every stage that adds a column.
ALL_OF_A_PAGE = {
    "run_dir": "run",
    "source": {"path": "scans"},
    "reader": {"scene": "surya", "screenshot": "rapid_ocr"},
    "surfaces": {},
    "screens": {"model": "weights"},
    "vlm": {"base_url": "http://localhost:1/v1", "model": "qwen"},
}
ALL_OF_AN_IMAGE = {
    "run_dir": "run",
    "source": {"path": "scenes"},
    "detector": {"model": "weights", "ontology": {"classes": {"red star": {}}}},
    "segmenter": {"model": "weights"},
    "embedder": {},
}


@pytest.mark.parametrize(("typed", "arrow"), PAIRS, ids=[typed.__name__ for typed, _ in PAIRS])
def test_a_typed_dict_has_the_fields_of_its_arrow_type(
    typed: Any, arrow: pa.StructType | pa.Schema
) -> None:
    assert list(typed.__annotations__) == [field.name for field in arrow]


def test_a_finished_page_has_the_columns_of_the_largest_flow() -> None:
    flow = ocr_backfill(OcrBackfillConfig.model_validate(ALL_OF_A_PAGE))
    assert set(FinishedPage.__annotations__) == set(flow.schema.names)


def test_a_finished_image_has_the_columns_of_the_largest_flow() -> None:
    flow = autolabel(AutolabelConfig.model_validate(ALL_OF_AN_IMAGE))
    assert set(FinishedImage.__annotations__) == set(flow.schema.names)
