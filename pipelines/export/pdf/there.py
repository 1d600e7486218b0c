"""What a page says already: text that is seen, and form fields. Child process only."""

from __future__ import annotations

import ctypes
from contextlib import closing
from enum import Enum
from itertools import groupby

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c
from rapidfuzz.distance import Indel

from pipelines.export.text_layout import Quad, box_of, is_rtl, part_of, words_of

#: Similarity from which a word is one that the page has at its place: readers err, and the place of
#: a word within its line is an estimate.
_SAME_WORD = 0.4
#: Share of a word's width under letters of the page from which it is there, however it was read.
_COVERED = 0.55
#: Height of a letter of the page : height of our line. A watermark across the page is larger.
_LEAST_HEIGHT, _MOST_HEIGHT = 0.25, 2.0
_SLACK = 0.25  # of the line's height, beside a word
_SHORT = 2  # letters: such a word goes with its neighbour
_APPEARANCE = 1 << 20  # UTF-16 units of a field's appearance that are looked at
_FIELDS = (pdfium_c.FPDF_ANNOT_WIDGET, pdfium_c.FPDF_ANNOT_FREETEXT)

Box = tuple[float, float, float, float]  #: x0, y0, x1, y1 in points of the page
Part = tuple[str, Quad, bool]  #: text, place, whether a form field draws it


class _State(Enum):
    NEW = "new"
    THERE = "there"
    FIELD = "field"


class PageText:
    """The text of a page before ours is written on it."""

    def __init__(self, page: pdfium.PdfPage, *, seen: bool) -> None:
        """`seen`: all of the text is seen, so that a similar word at its place is the same."""
        self._fields = list(_fields(page))
        with closing(page.get_textpage()) as textpage:
            self._chars, self._boxes = _chars(textpage)
        self._seen = seen

    def missing(self, text: str, quad: Quad) -> list[Part]:
        """The parts of a line that the page does not have at its place."""
        found = self._within(box_of(quad))
        if found and found == _essence(text):
            return []
        words = words_of(text)
        states = [self._state(word, part_of(quad, *span)) for word, *span in words]
        states = _with_neighbours([word for word, *_ in words], states)
        if len(set(states)) == 1:
            return [(text, quad, states[0] is _State.FIELD)] * (states[0] is not _State.THERE)
        alone = is_rtl(text) or any(is_rtl(word) for word, *_ in words)
        parts: list[Part] = []
        numbered = enumerate(zip(states, words, strict=True))
        for (state, _), group in groupby(numbered, lambda one: (one[1][0], one[0] * alone)):
            if state is not _State.THERE:
                own = [word for _, (_, word) in group]
                left, right = min(word[1] for word in own), max(word[2] for word in own)
                joined = " ".join(word for word, *_ in own)
                parts.append((joined, part_of(quad, left, right), state is _State.FIELD))
        return parts

    def _state(self, word: str, quad: Quad) -> _State:
        x0, y0, x1, y1 = box_of(quad)
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        if any(left <= x <= right and low <= y <= high for left, low, right, high in self._fields):
            return _State.FIELD
        if not self._seen:
            return _State.NEW
        slack = _SLACK * min(x1 - x0, y1 - y0)
        found = self._within((x0 - slack, y0, x1 + slack, y1))
        same = found and Indel.normalized_similarity(found, _essence(word)) >= _SAME_WORD
        return _State.THERE if same or self._covers((x0, y0, x1, y1)) else _State.NEW

    def _covers(self, box: Box) -> bool:
        """Whether letters of the page fill the box of a word; of a word that runs across."""
        letters = self._boxes[self._inside(box)]
        widths = np.minimum(letters[:, 2], box[2]) - np.maximum(letters[:, 0], box[0])
        return bool(widths.sum() >= _COVERED * (box[2] - box[0]))

    def _within(self, box: Box) -> str:
        """Letters and digits of the page whose middle is in the box, in the order of the page."""
        chars = (self._chars[index] for index in np.flatnonzero(self._inside(box)))
        return _essence("".join(chars))

    def _inside(self, box: Box) -> npt.NDArray[np.bool_]:
        """The characters whose middle is in the box, and which are about as tall."""
        x0, y0, x1, y1 = box
        left, low, right, high = self._boxes.T
        x, y, tall = (left + right) / 2, (low + high) / 2, np.maximum(high - low, right - left)
        size = min(x1 - x0, y1 - y0)
        inside = (x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1)
        mask: npt.NDArray[np.bool_] = inside & (tall >= _LEAST_HEIGHT * size)
        return mask & (tall <= _MOST_HEIGHT * size)


def _with_neighbours(words: list[str], states: list[_State]) -> list[_State]:
    """Short words and marks are there if a neighbour is: there is too little of them to compare."""
    found = list(states)
    for index, word in enumerate(words):
        beside = states[max(0, index - 1) : index + 2]
        if len(_essence(word)) <= _SHORT and _State.THERE in beside and states[index] is _State.NEW:
            found[index] = _State.THERE
    return found


def _essence(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())


def _chars(textpage: pdfium.PdfTextPage) -> tuple[list[str], npt.NDArray[np.float64]]:
    """The characters of a page, and their boxes in points, float64 (n, 4): x0, y0, x1, y1."""
    chars, boxes = [], []
    for index in range(textpage.count_chars()):
        char = chr(min(pdfium_c.FPDFText_GetUnicode(textpage, index), 0x10FFFF))
        if not char.isspace() and pdfium_c.FPDFText_IsGenerated(textpage, index) != 1:
            chars.append(char)
            boxes.append(textpage.get_charbox(index))
    return chars, np.array(boxes, np.float64).reshape(-1, 4)


def _fields(page: pdfium.PdfPage) -> list[Box]:
    """The boxes (points) of form fields and text notes that draw text."""
    found = []
    rect = pdfium_c.FS_RECTF()
    for index in range(pdfium_c.FPDFPage_GetAnnotCount(page)):
        annotation = pdfium_c.FPDFPage_GetAnnot(page, index)
        if (
            pdfium_c.FPDFAnnot_GetSubtype(annotation) in _FIELDS
            and _draws_text(annotation)
            and pdfium_c.FPDFAnnot_GetRect(annotation, rect)
        ):
            found.append((rect.left, rect.bottom, rect.right, rect.top))
        pdfium_c.FPDFPage_CloseAnnot(annotation)
    return found


def _draws_text(annotation: pdfium_c.FPDF_ANNOTATION) -> bool:
    size = pdfium_c.FPDFAnnot_GetAP(annotation, pdfium_c.FPDF_ANNOT_APPEARANCEMODE_NORMAL, None, 0)
    if not 2 < size <= 2 * _APPEARANCE:
        return False
    buffer = (ctypes.c_ushort * (size // 2))()
    pdfium_c.FPDFAnnot_GetAP(annotation, pdfium_c.FPDF_ANNOT_APPEARANCEMODE_NORMAL, buffer, size)
    content = bytes(buffer).decode("utf-16-le", "replace")
    return "Tj" in content or "TJ" in content
