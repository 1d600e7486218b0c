"""The rows of finished shards, as commands read them after a run.

The columns of a run depend on its config and on the version of Nightjar, and a command reads only
the columns that it needs. So any key that is not required may be missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Required, final

from pipelines.sources.manifest import ManifestRow

if TYPE_CHECKING:  # imports OpenCV and pycocotools, which most of these commands do not need
    from actors.escalation.vlm import UsageValue
    from actors.failures import FailureValue
    from actors.lines import LineValue
    from actors.ocr.blocks import BlockValue
    from actors.screens.element import ElementValue
    from pipelines.decisions.evidence import EvidenceValue
    from pipelines.decisions.triage import Label


class FinishedRow(ManifestRow, total=False):
    """The columns of both jobs. `width`, `height`: pixels, None if the fetch failed."""

    width: int | None
    height: int | None
    pixel_range: list[float] | None
    fetch_failure: FailureValue | None
    outcome: Required[str]
    reasons: Required[list[str]]


@final
class FinishedPage(FinishedRow, total=False):
    """A row of `pipelines.ocr_backfill`.

    `text`, `text_source`, `lines` and `lines_source`: see `pipelines.decisions.settling.SETTLED`.
    """

    native_text: str | None
    native_reason: str | None
    notes: list[str] | None
    surface: str | None
    surface_score: float | None
    reader: str | None
    rotation: int | None
    script: str | None
    ocr_blocks: list[BlockValue] | None
    ocr_failure: FailureValue | None
    evidence: EvidenceValue | None
    vlm_text: str | None
    vlm_lines: list[LineValue] | None
    vlm_model: str | None
    vlm_usage: UsageValue | None
    vlm_failure: FailureValue | None
    text: str | None
    text_source: str | None
    lines: list[LineValue] | None
    lines_source: str | None
    elements: list[ElementValue] | None
    parse_failure: FailureValue | None


@final
class FinishedImage(FinishedRow, total=False):
    """A row of `pipelines.autolabel`. Only it has `instances`: that tells the two kinds apart."""

    embedding: list[float] | None
    embed_failure: FailureValue | None
    detect_failure: FailureValue | None
    segment_failure: FailureValue | None
    instances: Required[list[Label] | None]


AnyRow = FinishedPage | FinishedImage
