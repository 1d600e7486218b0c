"""Blanks between words that the recogniser lost or invented.

Greedy CTC decoding writes a blank only where the class " " is the best of a column. Where words
stand close together the class comes second, behind "no character", at a higher probability than
between letters of a word. A logistic regression combines this evidence with the distance of the
two characters. `configs/samples/fit_spaces.py` fits it on pages of free fonts.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from actors.ocr.pp_ocr.widths import has_east_asian

#: Log-odds are cut off at these values; two characters in neighbouring columns have the lower one.
_LEAST, _MOST = -20.0, 8.0
#: Log-odds of a blank above which one is inserted, and below which one is removed.
_INSERT, _REMOVE = 1.0, -1.0
#: Between two digits a blank is inserted only above these log-odds, and only if the digits stand at
#: least one column further apart than the line's characters. At 2.0, real receipts had "1 7 JAN
#: 2018" and "27 032018".
_INSERT_IN_DIGITS = 4.0
#: A blank behind the separator of a number is removed below this: "2, 603.44".
_REMOVE_IN_NUMBER = 2.0
#: Where no blank is inserted: at the separator of a number, date or time, and in an address. The
#: second pattern is a separator with a blank behind it.
_SEPARATOR = re.compile(r"(?<=\d)(?:[.:/'-](?=\d)|,(?=\d{3}(?!\d)))")
_PARTED = re.compile(r"(?<=\d)(?:[.:/'-] (?=\d)|, (?=\d{3}(?!\d)))")
_ADDRESS = re.compile(r"\S*(?:\w@[^\W\d]|www\.|://)\S*", re.IGNORECASE)

#: Kinds of characters, as bits.
_DIGIT, _SEPARATES, _CLOSES, _QUOTES, _BLANK = 1, 2, 4, 8, 16
_KINDS = np.zeros(128, np.uint8)
for _kind, _members in {
    _DIGIT: "0123456789",
    _SEPARATES: ".,:/-",
    _CLOSES: ")]}.,;:!?%",
    _QUOTES: '"',
    _BLANK: " ",
}.items():
    _KINDS[[ord(one) for one in _members]] |= _kind

Floats = npt.NDArray[np.float64]


class Gaps(NamedTuple):
    """The gaps between neighbouring characters of a line that are not blanks.

    Attributes:
        left: (n,) index in the text of the character before each gap.
        right: (n,) index of the character after it.
        evidence: (n, 6) float64; see NAMES.
    """

    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    evidence: Floats


#: The log-odds and the distance in columns are also compared with the medians of the line, because
#: tracking and word gaps differ from line to line.
NAMES = (
    "log-odds of a blank between the characters",
    "the same above the line's median",
    "columns between the characters above the line's median",
    "at the separator of a number",
    "before a closing mark",
    "at a quotation mark",
)
_ROOM = 2  # its place in NAMES
#: Made by configs/samples/fit_spaces.py from 3,574 lines with 105,000 gaps.
COEFFICIENTS = np.array([1.0, 0.22, 1.5, -2.77, -2.01, -2.3])
INTERCEPT = 1.13


def gaps_of(
    text: str, columns: npt.NDArray[np.int64], odds: npt.NDArray[np.float32]
) -> Gaps | None:
    """The evidence in one line; None with fewer than two characters that are not blanks.

    Args:
        text: n characters, as read.
        columns: (n,) the columns of the recogniser in which they were read.
        odds: (T,) log-odds of a blank in each column, against the class that was read there, or,
            where a blank was read, against "no character".
    """
    kinds = _KINDS[np.minimum(np.frombuffer(text.encode("utf-32-le"), np.uint32), 127)]
    letters = np.flatnonzero(kinds != _BLANK)
    if len(letters) < 2:
        return None
    at, kinds = columns[letters], kinds[letters]
    between = np.column_stack([at[:-1] + 1, at[1:]]).ravel()
    wide = np.diff(at)
    best = np.maximum.reduceat(odds, between)[::2].clip(_LEAST, _MOST)
    best = np.where(wide > 1, best, _LEAST)
    digit = np.concatenate([[0], kinds & _DIGIT, [0]])
    left, right = kinds[:-1], kinds[1:]
    number = (left & _SEPARATES) * digit[:-3] * digit[2:-1]  # the separator is on the left
    number |= (right & _SEPARATES) * digit[1:-2] * digit[3:]
    evidence = np.column_stack(
        [
            best,
            best - _middle(best),
            wide - _middle(wide),
            number > 0,
            right & _CLOSES > 0,
            (left | right) & _QUOTES > 0,
        ]
    )
    return Gaps(letters[:-1], letters[1:], evidence)


def _middle(values: npt.NDArray[np.float64] | npt.NDArray[np.int64]) -> float:
    """The median; `np.median` takes ten times as long."""
    return float(np.sort(values)[len(values) // 2])


def spaced(text: str, columns: npt.NDArray[np.int64], odds: npt.NDArray[np.float32]) -> str:
    """`text` with the blanks that its evidence asks for. Arguments as for `gaps_of`.

    No blank is inserted inside numbers, dates, times and addresses, or next to Han, kana and
    Hangul.
    """
    gaps = gaps_of(text, columns, odds)
    if gaps is None:
        return text
    score = gaps.evidence @ COEFFICIENTS + INTERCEPT
    read = gaps.right - gaps.left > 1
    wrong = np.flatnonzero(np.where(read, score < _REMOVE_IN_NUMBER, score > _INSERT))
    if not len(wrong):
        return text
    whole = _whole(text)
    parted = {found.end() - 2 for found in _PARTED.finditer(text)}
    sure = (score > _INSERT_IN_DIGITS) & (gaps.evidence[:, _ROOM] >= 1)
    pieces = list(text)
    for gap in wrong:
        left, right = int(gaps.left[gap]), int(gaps.right[gap])
        if has_east_asian(text[left] + text[right]):
            continue
        if read[gap]:
            if score[gap] < _REMOVE or left in parted:
                pieces[left + 1 : right] = [""] * (right - left - 1)
        elif left not in whole and (sure[gap] or not (text[left] + text[right]).isdigit()):
            pieces[left] += " "
    return "".join(pieces)


def _whole(text: str) -> set[int]:
    """Places after which no blank is inserted: inside numbers, dates, times and addresses."""
    inside = {
        place
        for found in _ADDRESS.finditer(text)
        for place in range(found.start(), found.end() - 1)
    }
    for found in _SEPARATOR.finditer(text):
        inside |= {found.start() - 1, found.start()}
    return inside
