"""Is the second reader to be believed? Pure decisions over its answer and the first reading.

A vision-language model gives no confidence, so it is never believed alone. Its page is accepted
where it agrees with the lines that the first reader was sure of; its lines, where they resemble
what the first reader made of the same place. Whatever cannot be compared is not accepted.
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
    """What `actors.escalation.vlm.Vlm` wrote of one page, but for its usage."""

    vlm_text: str | None
    vlm_lines: list[LineValue] | None
    vlm_model: str | None
    vlm_failure: FailureValue | None


class PageAnswered(SecondReading, total=False):
    """The second reading of a page beside the first, and what was in doubt about that."""

    ocr_lines: list[LineValue] | None
    doubts: list[str]


class VlmRules(Settings):
    """What an answer must reach. The figures of `actors.escalation.guards.agreement` say why."""

    agreement: AgreementRules = AgreementRules()
    min_sure_lines: int = Field(3, ge=1, description="fewest sure lines that can vouch for a page")
    min_agreement: float = Field(
        0.8, ge=0, le=1, description="lowest share of the sure lines found in the answer"
    )
    min_supported: float = Field(
        0.75, ge=0, le=1, description="lowest share of the answer that lines support, characters"
    )
    min_length: float = Field(
        0.75,
        ge=0,
        description="lowest length of the answer / length of the first reading, characters",
    )
    min_line_likeness: float = Field(
        0.7,
        ge=0,
        le=1,
        description="mode regions: likeness of a replaced line with the line before",
    )
    max_unlike: float = Field(
        0.02,
        ge=0,
        le=1,
        description="mode regions: highest share of the page in lines less alike, characters",
    )
    max_garbled: float = Field(
        0.05, ge=0, le=1, description="highest share of characters that no text should hold"
    )


#: Doubts about a page that new texts for its found lines leave as they are.
_NOT_ABOUT_LINES = frozenset(
    {PageReason.NO_TEXT_FOUND, PageReason.INK_NOT_COVERED, PageReason.TEXT_OUTSIDE}
)


def against_answer(page: PageAnswered, rules: VlmRules) -> list[str]:
    """Why the second reading of a page is not to be believed; empty: it is accepted.

    Reasons: values of VlmReason, `of_vlm_failure`, and for replaced lines the doubts that no line
    can answer.
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
    """The figures behind `against_answer` for a page that was read whole and has a `vlm_text`."""
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
    """Lines that were not replaced are like themselves; a weak one that stays has a failure.

    Half the weak lines of 63 receipts are single characters (a 0 read as a theta), which cannot be
    like anything: so a small share of the page may be unlike.
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
