"""Whether to accept the second reader's answer: pure rules over its answer and the first reading.

A vision-language model gives no confidence, so its answer is never accepted alone. A whole page is
accepted if it agrees with the lines that the first reader was sure of. Replaced lines are accepted
if they resemble the first reader's text at the same place. An answer that cannot be compared is
rejected.
"""

from __future__ import annotations

from typing import TypedDict

from pydantic import Field

from actors.contract import Settings
from actors.escalation.guards import Agreement, AgreementRules, agreement, likeness
from actors.failures import FailureValue
from actors.lines import LineValue
from pipelines.decisions.reasons import PageReason, VlmReason, of_vlm_failure
from pipelines.pages.native_text import garbled_share


class SecondReading(TypedDict, total=False):
    """The columns that `actors.escalation.vlm.Vlm` writes, except `vlm_usage`."""

    vlm_text: str | None
    vlm_lines: list[LineValue] | None
    vlm_model: str | None
    vlm_failure: FailureValue | None


class PageAnswered(SecondReading, total=False):
    """Both readings of a page, and the doubts about the first."""

    ocr_lines: list[LineValue] | None
    doubts: list[str]


class VlmRules(Settings):
    """Limits for an accepted answer. Figures behind them: `actors.escalation.guards.agreement`."""

    agreement: AgreementRules = AgreementRules()
    min_sure_lines: int = Field(3, ge=1, description="fewest sure lines to check an answer with")
    min_agreement: float = Field(
        0.8, ge=0, le=1, description="lowest share of the sure lines found in the answer"
    )
    min_supported: float = Field(
        0.75,
        ge=0,
        le=1,
        description="lowest share of the answer's characters that OCR lines support",
    )
    min_length: float = Field(
        0.75,
        ge=0,
        description="lowest length of the answer, as a ratio to the length of the OCR text",
    )
    min_line_likeness: float = Field(
        0.7,
        ge=0,
        le=1,
        description="mode regions: lowest similarity of a replaced line to the OCR line",
    )
    max_unlike: float = Field(
        0.02,
        ge=0,
        le=1,
        description="mode regions: highest share of the page's characters in lines below "
        "min_line_likeness",
    )
    max_garbled: float = Field(
        0.05, ge=0, le=1, description="highest share of meaningless characters"
    )


#: Doubts that remain when only the texts of the found lines are replaced.
_NOT_ABOUT_LINES = frozenset(
    {PageReason.NO_TEXT_FOUND, PageReason.INK_NOT_COVERED, PageReason.TEXT_OUTSIDE}
)


def against_answer(page: PageAnswered, rules: VlmRules) -> list[str]:
    """Reasons against the second reading of a page; empty: it is accepted.

    They are values of VlmReason or of `of_vlm_failure`. For replaced lines, doubts that new texts
    of lines cannot settle join them.
    """
    if page["vlm_failure"] is not None:
        return [of_vlm_failure(page["vlm_failure"]["kind"])]
    if page["vlm_text"] is None:
        return [VlmReason.NO_ANSWER]
    if not page["vlm_text"].strip():
        return [VlmReason.EMPTY]
    doubts = {doubt.partition("=")[0] for doubt in page["doubts"] or ()}
    if PageReason.BLANK_PAGE in doubts:
        return [VlmReason.TEXT_ON_BLANK]
    against = _against_lines(page, doubts, rules) if page["vlm_lines"] else _against(page, rules)
    if garbled_share(page["vlm_text"]) > rules.max_garbled:
        against.append(VlmReason.GARBLED)
    return against


def compared(page: PageAnswered, rules: VlmRules) -> Agreement:
    """The agreement that `against_answer` judges, of a page that was read as a whole."""
    return agreement(page["vlm_text"] or "", page["ocr_lines"] or [], rules.agreement)


def _against(page: PageAnswered, rules: VlmRules) -> list[str]:
    figures = compared(page, rules)
    if figures.share is None or figures.sure_lines < rules.min_sure_lines:
        return [VlmReason.NOTHING_VOUCHES]
    checks = [
        (VlmReason.DISAGREES, figures.share, rules.min_agreement),
        (VlmReason.UNSUPPORTED, figures.supported, rules.min_supported),
        (VlmReason.TOO_SHORT, figures.length_ratio, rules.min_length),
    ]
    return [name for name, value, floor in checks if value is None or value < floor]


def _against_lines(page: PageAnswered, doubts: set[str], rules: VlmRules) -> list[str]:
    """Compare each line with its replacement.

    A line that was not replaced equals itself; a weak line without a replacement is a failure. A
    small share of the page may differ: half the weak lines of 63 receipts are single characters (a
    0 read as a theta), and a corrected single character resembles nothing.
    """
    against = sorted(doubts & _NOT_ABOUT_LINES)
    before = [line["text"] or "" for line in page["ocr_lines"] or []]
    after = [line["text"] or "" for line in page["vlm_lines"] or []]
    unlike = sum(
        max(len(old), len(new))
        for old, new in zip(before, after, strict=False)
        if likeness(old, new) < rules.min_line_likeness
    )
    if len(before) != len(after) or unlike > rules.max_unlike * sum(map(len, after)):
        against.append(VlmReason.LINE_UNLIKE)
    return against
