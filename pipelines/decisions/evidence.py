"""Measurements of one reading of a page: the input of the rules, and the column `evidence`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TypedDict, cast

import pyarrow as pa

from actors.lines import LineValue


class ReadingSeen(TypedDict, total=False):
    """The columns of a reading that evidence is measured from; see `actors.lines.READING`."""

    ocr_lines: list[LineValue] | None
    ocr_engine: str | None
    ink_share: float | None
    ink_covered: float | None
    text_outside: float | None
    unread_script: float | None
    unread_letters: float | None
    unread_ink: float | None
    order_doubt: float | None


@dataclass(frozen=True)
class Evidence:
    """Measurements of one reading of a page; None: it could not be measured.

    Scores and shares are 0..1. `expected_cer`: expected share of wrong characters; None without a
    calibration. `unread_script`, `unread_letters`, `unread_ink`, `order_doubt`: see
    `actors.lines.READING`.
    """

    lines: int
    characters: int
    mean_score: float | None
    p10_score: float | None
    min_score: float | None
    weak_share: float | None
    unscored_lines: int
    garbled: float
    ink_share: float | None
    ink_covered: float | None
    text_outside: float | None
    unread_script: float | None = None
    unread_letters: float | None = None
    unread_ink: float | None = None
    order_doubt: float | None = None
    expected_cer: float | None = None

    def as_value(self) -> EvidenceValue:
        """The EVIDENCE struct for the row."""
        return cast(EvidenceValue, asdict(self))


#: The fields of Evidence. Null: no OCR engine read the page.
EVIDENCE = pa.struct(
    [
        (name, pa.int32() if kind == "int" else pa.float32())
        for name, kind in Evidence.__annotations__.items()
    ]
)


class EvidenceValue(TypedDict):
    """A value of EVIDENCE."""

    lines: int
    characters: int
    mean_score: float | None
    p10_score: float | None
    min_score: float | None
    weak_share: float | None
    unscored_lines: int
    garbled: float
    ink_share: float | None
    ink_covered: float | None
    text_outside: float | None
    unread_script: float | None
    unread_letters: float | None
    unread_ink: float | None
    order_doubt: float | None
    expected_cer: float | None
