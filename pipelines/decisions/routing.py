"""Pure rules: the doubts about a page's readings, and the page's outcome.

The rules fail closed: a page without scores, without text, with ink outside its lines or with
garbled text is never accepted. The mean score of a page hardly predicts its errors (of two real
receipts, one with 0.979 has a CER of 17 %, one with 0.945 has 0 %). So a page is judged by its weak
lines and by missed text, or by the error rate that a calibration on a labelled sample expects
(`pipelines.decisions.error_model`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

import numpy as np
from pydantic import Field

from actors.contract import Settings
from actors.failures import FailureValue
from actors.lines import LineValue
from pipelines.decisions.error_model import Accept, Calibration
from pipelines.decisions.escalation import VlmRules
from pipelines.decisions.evidence import Evidence, ReadingSeen
from pipelines.decisions.reasons import PageReason
from pipelines.pages.native_text import garbled_share
from pipelines.pages.notes import PageNote


class PageOutcome(StrEnum):
    """Every page has exactly one outcome."""

    NATIVE_TEXT = "native_text"  # the PDF's own text layer, accepted
    OCR = "ocr"  # read by an OCR engine, accepted
    VLM = "vlm"  # OCR was in doubt; the answer of the fallback reader was accepted
    REVIEW = "review"  # there is a reading, but it is in doubt: a person should check it
    FAILED = "failed"  # there is no reading; a column <verb>_failure gives the cause


class Floors(Settings):
    """Limits for readings of one engine. A page beyond any of them goes to review."""

    mean_score: float = Field(
        0.90, ge=0, le=1, description="lowest mean line score, weighted by length"
    )
    p10_score: float = Field(
        0.70, ge=0, le=1, description="lowest 10th percentile of the line scores"
    )
    min_score: float = Field(
        0.0, ge=0, le=1, description="lowest score of the weakest line; 0 switches this off"
    )
    line_score: float = Field(0.80, ge=0, le=1, description="a line below this is a weak line")
    max_weak_share: float = Field(
        0.15, ge=0, le=1, description="highest share of characters in weak lines"
    )
    min_ink_covered: float = Field(
        0.8,
        ge=0,
        le=1,
        description="lowest share of the ink inside found lines; only for readers without "
        "text_outside (paddle_ocr, surya)",
    )
    max_text_outside: float = Field(
        0.02,
        ge=0,
        le=1,
        description="highest share of the detector's text probability outside the found lines",
    )
    max_garbled: float = Field(
        0.05, ge=0, le=1, description="highest share of meaningless characters"
    )
    max_unread_script: float = Field(
        0.05,
        ge=0,
        le=1,
        description="highest share of the lines' width in scripts that the reader cannot read",
    )
    max_unread_letters: float = Field(
        0.05,
        ge=0,
        le=1,
        description="highest share of the lines' width with letters outside the reader's alphabet",
    )
    max_unread_ink: float = Field(
        0.1,
        ge=0,
        le=1,
        description="highest share of the lines' ink that is too wide for the characters read",
    )
    max_order_doubt: float = Field(
        0.15,
        ge=0,
        le=1,
        description="highest share of the lines whose place in the order depends on a few pixels",
    )


class RoutingConfig(Settings):
    """Floors by engine; an engine that is not named has the default floors.

    With `accept`, the expected error rate replaces the floors of scores (`mean_score`, `p10_score`,
    `min_score`, `max_weak_share`) of every engine with a calibration. It also replaces
    `max_text_outside` and `min_ink_covered` if the calibration covers missed text
    (`PageModel.sees_missed_text`). The other rules stay.
    """

    floors: dict[str, Floors] = Field(
        default_factory=dict,
        description="engine (rapid_ocr, paddle_ocr, surya, tesseract) -> its floors; an engine "
        "that is not named has the default floors",
    )
    accept: Accept | None = Field(
        None,
        description="accept pages by their expected error rate; nightjar calibrate prints this "
        "group",
    )
    vlm: VlmRules = Field(VlmRules(), description="when an answer of the fallback is accepted")
    blank_ink_share: float = Field(
        0.002, ge=0, le=1, description="a page with less ink than this is blank"
    )


def measured_and_doubted(page: ReadingSeen, config: RoutingConfig) -> tuple[Evidence, list[str]]:
    """Evidence of the OCR reading of a page, and the doubts about it.

    `page`: its `ocr_lines` and `ocr_engine` are not None.
    """
    lines, engine = page["ocr_lines"], page["ocr_engine"]
    assert lines is not None
    assert engine is not None
    floors = config.floors.get(engine.split()[0], Floors())
    evidence = measured(lines, floors, page)
    calibration = config.accept.of(engine) if config.accept else None
    if config.accept is None or calibration is None:
        return evidence, doubts(evidence, floors, config.blank_ink_share)
    expected = calibration.expected_cer(evidence.as_value(), lines)
    evidence = replace(evidence, expected_cer=expected)
    highest = calibration.floor_for(config.accept.target_cer, "the calibration")
    return evidence, calibrated_doubts(
        evidence, floors, config.blank_ink_share, highest, calibration
    )


def measured(lines: Sequence[LineValue], floors: Floors, page: ReadingSeen) -> Evidence:
    """Evidence of one reading.

    From `page` it takes the shares of ink and of unread text. A line that was found but not read
    (no text, or only white space) counts as one weak character.
    """
    texts = [(line["text"] or "").strip() for line in lines]
    lengths = np.array([max(len(text), 1) for text in texts], dtype=np.float64)
    unread = np.array([not text for text in texts], dtype=bool)  # found, but nothing was read
    known = np.array([line["score"] is not None for line in lines], dtype=bool) & ~unread
    scores = np.array([line["score"] or 0.0 for line in lines], dtype=np.float64)
    if not known.any():
        mean = p10 = low = weak = None
    else:
        mean = float(np.average(scores[known], weights=lengths[known]))
        p10 = float(np.percentile(scores[known], 10))
        low = float(scores[known].min())
        weak_lines = unread | (known & (scores < floors.line_score))
        weak = float(lengths[weak_lines].sum() / lengths.sum())
    return Evidence(
        lines=len(lines),
        characters=sum(map(len, texts)),
        mean_score=mean,
        p10_score=p10,
        min_score=low,
        weak_share=weak,
        unscored_lines=int((~known & ~unread).sum()),
        garbled=garbled_share("\n".join(texts)),
        ink_share=page["ink_share"],
        ink_covered=page["ink_covered"],
        text_outside=page["text_outside"],
        unread_script=page.get("unread_script"),
        unread_letters=page.get("unread_letters"),
        unread_ink=page.get("unread_ink"),
        order_doubt=page.get("order_doubt"),
    )


def doubts(evidence: Evidence, floors: Floors, blank_ink_share: float) -> list[str]:
    """Doubts about an OCR reading, values of PageReason; empty: it is accepted."""
    if why := _nothing_read(evidence, blank_ink_share):
        return why + _not_readable(evidence, floors)
    checks = [
        (PageReason.MEAN_SCORE, evidence.mean_score, floors.mean_score),
        (PageReason.P10_SCORE, evidence.p10_score, floors.p10_score),
        (PageReason.MIN_SCORE, evidence.min_score, floors.min_score),
    ]
    found: list[str] = [name for name, value, floor in checks if value is None or value < floor]
    found += _missed_text(evidence, floors)
    if evidence.weak_share is None or evidence.weak_share > floors.max_weak_share:
        found.append(PageReason.WEAK_LINES)
    return found + _not_about_scores(evidence, floors)


def calibrated_doubts(
    evidence: Evidence,
    floors: Floors,
    blank_ink_share: float,
    highest: float,
    calibration: Calibration,
) -> list[str]:
    """Like `doubts`, by the expected error rate; without one: `expected_cer_unknown`.

    `highest`: highest expected error rate of an accepted page.
    """
    if why := _nothing_read(evidence, blank_ink_share):
        return why + _not_readable(evidence, floors)
    found: list[str] = []
    if evidence.expected_cer is None:
        found.append(PageReason.CER_UNKNOWN)
    elif evidence.expected_cer > highest:
        found.append(PageReason.CER_ABOVE)
    if not calibration.sees_missed_text():
        found += _missed_text(evidence, floors)
    return found + _not_about_scores(evidence, floors)


def _missed_text(evidence: Evidence, floors: Floors) -> list[str]:
    """By `text_outside`, else by the ink outside the lines; if both are unknown, it fails closed.

    Ink is a worse sign: a logo, a stamp or a ruling is ink, too.
    """
    covered, outside = evidence.ink_covered, evidence.text_outside
    if outside is not None:
        return [PageReason.TEXT_OUTSIDE] if outside > floors.max_text_outside else []
    known = covered is not None and covered >= floors.min_ink_covered
    return [] if known else [PageReason.INK_NOT_COVERED]


def _nothing_read(evidence: Evidence, blank_ink_share: float) -> list[str]:
    if evidence.lines == 0 or evidence.characters == 0:
        blank = evidence.ink_share is not None and evidence.ink_share < blank_ink_share
        return [PageReason.BLANK_PAGE if blank else PageReason.NO_TEXT_FOUND]
    return [PageReason.NO_SCORES] if evidence.mean_score is None else []


def _not_readable(evidence: Evidence, floors: Floors) -> list[str]:
    """Unknown shares are no doubt: some readers read any script."""
    return [
        reason
        for reason, share, limit in (
            (PageReason.SCRIPT, evidence.unread_script, floors.max_unread_script),
            (PageReason.LETTERS, evidence.unread_letters, floors.max_unread_letters),
            (PageReason.LINE_INK, evidence.unread_ink, floors.max_unread_ink),
        )
        if share is not None and share > limit
    ]


def _not_about_scores(evidence: Evidence, floors: Floors) -> list[str]:
    found = _not_readable(evidence, floors)
    found += [PageReason.UNSCORED_LINES] if evidence.unscored_lines else []
    if evidence.order_doubt is not None and evidence.order_doubt > floors.max_order_doubt:
        found.append(PageReason.ORDER)
    return [*found, PageReason.GARBLED] if evidence.garbled > floors.max_garbled else found


#: Notes of the fetch stage that keep a page from being accepted, whatever was read of it.
_OF_NOTES = {
    PageNote.DYNAMIC_FORM: PageReason.DYNAMIC_FORM,
    PageNote.PORTFOLIO: PageReason.ATTACHMENTS,
}


def reasons_of_notes(notes: Sequence[str] | None) -> list[str]:
    """Reasons for review that no reading of the page can settle."""
    return [reason for note, reason in _OF_NOTES.items() if note in (notes or ())]


def reasons_of_failure(*failures: FailureValue | None) -> list[str]:
    """Kinds of the failures that are not None, in stage order."""
    return [failure["kind"] for failure in failures if failure is not None]
