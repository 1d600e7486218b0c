"""Is the second reader to be believed? Pure decisions over its answer and the first reading.

A vision-language model gives no confidence, so it is never believed alone. Its page is accepted
where it agrees with the lines that the first reader was sure of; its lines, where they resemble
what the first reader made of the same place. Whatever cannot be compared is not accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from actors.contract import Settings
from actors.escalation.guards import Agreement, AgreementRules, agreement, likeness
from pipelines.decisions.reasons import PageReason, VlmReason, of_vlm_failure
from pipelines.pages.native_text import garbled_share


class VlmRules(Settings):
    """What an answer must reach. The figures of `actors.escalation.guards.agreement` say why."""

    agreement: AgreementRules = AgreementRules()
    min_sure_lines: int = Field(3, ge=1, description="lines that vouch for a page, at least")
    min_agreement: float = Field(
        0.8, ge=0, le=1, description="sure lines found in the answer / sure lines"
    )
    min_supported: float = Field(
        0.75, ge=0, le=1, description="characters that some line supports / characters answered"
    )
    min_length: float = Field(
        0.75, ge=0, description="characters answered / characters of the first reading"
    )
    min_line_likeness: float = Field(
        0.7, ge=0, le=1, description="regions: of a replaced line with what stood there before"
    )
    max_unlike: float = Field(
        0.02, ge=0, le=1, description="characters in lines less like it / characters of the page"
    )
    max_garbled: float = Field(0.05, ge=0, le=1, description="characters that no text should hold")


#: Doubts about a page that new texts for its found lines leave as they are.
_NOT_ABOUT_LINES = frozenset(
    {PageReason.NO_TEXT_FOUND, PageReason.INK_NOT_COVERED, PageReason.TEXT_OUTSIDE}
)


def against_answer(page: Mapping[str, Any], rules: VlmRules) -> list[str]:
    """Why the second reading of a page is not to be believed; empty: it is accepted.

    `page`: `doubts`, `ocr_lines` and the columns of `actors.escalation.vlm.Vlm`. Reasons: values
    of VlmReason, `of_vlm_failure`, and for replaced lines the doubts that no line can answer.
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


def compared(page: Mapping[str, Any], rules: VlmRules) -> Agreement:
    """The figures behind `against_answer` for a page that was read whole and has a `vlm_text`."""
    return agreement(page["vlm_text"], page["ocr_lines"] or [], rules.agreement)


def _against(page: Mapping[str, Any], rules: VlmRules) -> list[str]:
    figures = compared(page, rules)
    if figures.share is None or figures.sure_lines < rules.min_sure_lines:
        return [VlmReason.NOTHING_VOUCHES]
    checks = [
        (VlmReason.DISAGREES, figures.share, rules.min_agreement),
        (VlmReason.UNSUPPORTED, figures.supported, rules.min_supported),
        (VlmReason.TOO_SHORT, figures.length_ratio, rules.min_length),
    ]
    return [name for name, value, floor in checks if value is None or value < floor]


def _against_lines(page: Mapping[str, Any], doubts: set[str], rules: VlmRules) -> list[str]:
    """Lines that were not replaced are like themselves; a weak one that stays has a failure.

    Half the weak lines of 63 receipts are single characters (a 0 read as a theta), which cannot be
    like anything: so a small share of the page may be unlike.
    """
    against = sorted(doubts & _NOT_ABOUT_LINES)
    before = [line["text"] or "" for line in page["ocr_lines"] or []]
    after = [line["text"] or "" for line in page["vlm_lines"]]
    unlike = sum(
        max(len(old), len(new))
        for old, new in zip(before, after, strict=False)
        if likeness(old, new) < rules.min_line_likeness
    )
    if len(before) != len(after) or unlike > rules.max_unlike * sum(map(len, after)):
        against.append(VlmReason.LINE_UNLIKE)
    return against
