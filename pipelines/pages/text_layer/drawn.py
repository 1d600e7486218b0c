"""Which characters leave a mark on the page, from pictures of it with and without its text.

pdfium draws the page once as a viewer shows it and once without the text objects. Where the two
pictures are the same, no text is seen, whatever the cause: a layer that is off, a box or a picture
over it, a clip path, white on white, no opacity. Child process only.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c
from cv2.typing import MatLike

from pipelines.pages.text_layer.lines import Projection
from pipelines.pages.text_layer.overlaps import classes_of

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

#: Pixels of a picture: A4 at 110 dpi, 3 ms. Pages above A2 get more, for 36 dpi at least.
_PIXELS, _MOST_PIXELS = 1.2e6, 8e6
_MOST_SCALE = 8.0  # pixels per point, for labels and tickets
#: Gray levels by which text must change the page. The pictures differ by nothing else: no noise.
_SEEN = 8
#: Gray levels that a text object must reach somewhere: fainter ones are watermarks.
_LEGIBLE = 32
#: A cover that leaves less than an eighth of the contrast hides (black with 90 % opacity).
_VEIL = 8
_INK = 64  # gray levels of text ink on white paper, without the pale edges of letters
_LEAST_SHOWN = 0.4  # share of a letter's ink; below it, a box covers the letter
_SIDES = 0.15  # of the width, left out on both sides: the neighbours' ink
_TINY = 1.0  # pixel: a letter of 0.7 points on A4, which nobody reads
_MOST_ALONE = 16  # objects that are taken away one by one


@dataclass(frozen=True)
class Texts:
    """The characters of a page, and its page objects by address.

    `boxes`: float64 (n, 4), left, bottom, right, top in points. `owners`: int64 (n,), addresses of
    text objects. `silent`: text objects without a character of their own, such as the second copy
    of a shadowed title. `others`: everything that is no text, in the drawing order.
    """

    boxes: Floats
    owners: npt.NDArray[np.int64]
    silent: list[int]
    others: list[int]


def unseen(page: pdfium.PdfPage, texts: Texts) -> Flags:
    """Mask (n,) of the characters that leave no mark, only a part of one, or a tiny one.

    Costs three pictures, 15 ms for A4. Objects that overlap each other are taken away in
    turn, so that a hidden text beneath a visible one is found.
    """
    pictures = _Pictures(page)
    boxes = pictures.pixels(texts.boxes)
    turn, alone = classes_of(boxes, texts.owners)
    areas = _Areas(boxes, pictures.whole.shape[:2])
    ink = pictures.ink(texts.others)
    drawn = areas.count(ink >= _INK)
    shown, legible = np.zeros(len(boxes), np.int64), np.zeros(len(boxes), np.bool_)
    for number in range(int(turn.max()) + 1):
        mine = turn == number
        change = pictures.change([*np.unique(texts.owners[mine]).tolist(), *texts.silent])
        marks = (change >= _SEEN) & (change >= ink // _VEIL)
        shown[mine] = areas.count(marks)[mine]
        legible[mine] = areas.count(change > _LEGIBLE)[mine] > 0
    faint = ~_of_owner(texts.owners, legible)
    hidden = (shown == 0) | (alone & (shown < _LEAST_SHOWN * drawn)) | areas.tiny | faint
    return _by_object(pictures, texts.owners, hidden, drawn, ~areas.empty)


def _of_owner(owners: npt.NDArray[np.int64], flags: Flags) -> Flags:
    """Whether a flag is set for any character of the same object."""
    return np.isin(owners, owners[flags])


def _by_object(
    pictures: _Pictures,
    owners: npt.NDArray[np.int64],
    hidden: Flags,
    drawn: npt.NDArray[np.int64],
    judged: Flags,
) -> Flags:
    """`hidden`, corrected by whole objects.

    Characters without a box (type 3 fonts, joiners, size 0) follow the rest of their object. An
    object without any ink in its boxes is taken away alone: if the page changes, its boxes are
    wrong, and it is seen.
    """
    names, at = np.unique(owners, return_inverse=True)
    seen = np.bincount(at, judged & ~hidden, len(names)) > 0
    inked = np.bincount(at, judged * drawn, len(names)) > 0
    result = np.where(judged, hidden, ~seen[at])
    doubtful = names[~seen & ~inked].tolist()
    if doubtful and (pictures.change(doubtful) >= _SEEN).any():
        wrong = [
            name
            for number, name in enumerate(doubtful)
            if number >= _MOST_ALONE or (pictures.change([name]) >= _SEEN).any()
        ]
        result &= ~np.isin(owners, wrong)
    return result


class _Pictures:
    """Pictures of a page, with and without some of its objects."""

    def __init__(self, page: pdfium.PdfPage) -> None:
        self._page = page
        width, height = page.get_size()
        area = max(1.0, width * height)
        usual = min(_MOST_SCALE, (_PIXELS / area) ** 0.5)
        self._scale = float(max(usual, min(0.5, (_MOST_PIXELS / area) ** 0.5)))
        self.whole = self._drawn(annotations=True)

    def pixels(self, boxes: Floats) -> Floats:
        """(n, 4) left, bottom, right, top in points -> left, top, right, bottom in pixels."""
        left, bottom, right, top = boxes.T
        turned = Projection.of(self._page, self._scale)
        return np.stack(turned((left, bottom, right, top)), axis=1)

    def ink(self, others: list[int]) -> MatLike:
        """Gray levels of the text alone, on white paper, uint8 (H, W)."""
        with without(others):
            return _gray(cv2.bitwise_not(self._drawn(annotations=False)))

    def change(self, objects: list[int]) -> MatLike:
        """What the page loses without some objects: gray levels, uint8 (H, W)."""
        with without(objects):
            return _gray(cv2.absdiff(self.whole, self._drawn(annotations=True)))

    def _drawn(self, *, annotations: bool) -> MatLike:
        """uint8 (H, W, 3)."""
        bitmap = self._page.render(
            scale=self._scale, draw_annots=annotations, may_draw_forms=annotations
        )
        pixels: MatLike = bitmap.to_numpy()
        return pixels[..., :3]


class _Areas:
    """The pixels of each character, and counts over them."""

    def __init__(self, boxes: Floats, shape: tuple[int, ...]) -> None:
        left, top, right, bottom = boxes.T
        width, height = right - left, bottom - top
        self.empty: Flags = (width <= 0) | (height <= 0)
        self.tiny: Flags = np.maximum(width, height) < _TINY
        margin = _SIDES * width
        self._x = _span(left + margin, right - margin, shape[1])
        self._y = _span(top, bottom, shape[0])

    def count(self, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Pixels of `mask`, (H, W), in the area of each character."""
        sums = cv2.integral(mask.astype(np.uint8))
        (x0, x1), (y0, y1) = self._x, self._y
        total = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
        return total.astype(np.int64)


def _span(start: Floats, end: Floats, size: int) -> tuple[npt.NDArray[np.intp], ...]:
    first = np.clip(np.floor(start), 0, size)
    last = np.clip(np.maximum(np.ceil(end), np.floor(start) + 1), 0, size)
    return first.astype(np.intp), last.astype(np.intp)


def _gray(difference: MatLike) -> MatLike:
    """Of a difference of colours: red on green of the same gray differs, too."""
    return cv2.cvtColor(difference, cv2.COLOR_BGR2GRAY)


@contextmanager
def without(addresses: Iterable[int]) -> Iterator[None]:
    """Leave page objects out of the pictures."""
    items = [ctypes.cast(address, pdfium_c.FPDF_PAGEOBJECT) for address in addresses]
    for item in items:
        pdfium_c.FPDFPageObj_SetIsActive(item, False)
    try:
        yield
    finally:
        for item in items:
            pdfium_c.FPDFPageObj_SetIsActive(item, True)
