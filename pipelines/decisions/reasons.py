"""All reasons in the column `reasons` of a page.

Both enums are in one module because `routing` and `escalation` each need names of the other. The
column also holds failure kinds (`actors.failures.FailureKind`). The reasons of images are
`pipelines.decisions.triage.Reason`.
"""

from __future__ import annotations

from enum import StrEnum


class PageReason(StrEnum):
    """Why the first reading of a page is in doubt, or why there is none."""

    NO_READING = "no_reading"  # no lines, and no failure that explains it
    # nothing was read
    BLANK_PAGE = "blank_page"
    NO_TEXT_FOUND = "no_text_found"
    NO_SCORES = "no_scores"
    # floors of scores
    MEAN_SCORE = "mean_score_below_floor"
    P10_SCORE = "p10_score_below_floor"
    MIN_SCORE = "min_score_below_floor"
    WEAK_LINES = "too_many_weak_lines"
    # with a calibration, instead of the floors of scores
    CER_UNKNOWN = "expected_cer_unknown"
    CER_ABOVE = "expected_cer_above_floor"
    # missed text
    INK_NOT_COVERED = "ink_not_covered"
    TEXT_OUTSIDE = "text_outside_lines"
    # text that the reader cannot read
    SCRIPT = "script_not_readable"  # the page's script is one that its reader cannot read
    LETTERS = "letters_not_readable"  # letters outside the reader's alphabet, such as Vietnamese
    LINE_INK = "line_ink_not_read"  # the lines' ink is too wide for the characters read
    # the document, not its reading: no second reading settles these
    DYNAMIC_FORM = "dynamic_form"  # an XFA form: the page is only its placeholder
    ATTACHMENTS = "attachments"  # the cover of a portfolio whose files are not read
    # always
    ORDER = "order_uncertain"  # the order of many lines depends on a few pixels
    UNSCORED_LINES = "lines_without_score"
    GARBLED = "garbled_text"


class VlmReason(StrEnum):
    """Why the second reading of a page is not accepted."""

    NO_ANSWER = "vlm_no_answer"  # the model was not asked
    EMPTY = "vlm_empty"
    TEXT_ON_BLANK = "vlm_text_on_blank_page"
    GARBLED = "vlm_garbled_text"
    # whole pages
    NOTHING_VOUCHES = "nothing_vouches"
    DISAGREES = "vlm_disagrees"
    UNSUPPORTED = "vlm_unsupported_text"
    TOO_SHORT = "vlm_too_short"
    # replaced lines
    LINE_UNLIKE = "vlm_line_unlike"


def of_vlm_failure(kind: str) -> str:
    """The reason for a failure of the second reader: `vlm_timeout` for VLM_TIMEOUT."""
    name = kind.lower()
    return name if name.startswith("vlm_") else f"vlm_{name}"
