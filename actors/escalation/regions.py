"""Crops of a page and its weak lines for the model, and merging of its texts into the lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from actors.failures import FailureKind, ItemFailure
from actors.lines import VERTICAL, LineValue
from actors.ocr.pp_ocr.detection import Image
from actors.ocr.pp_ocr.line_reader import decoded

#: Margin around a line's crop, in line heights; it recovers letters cut off by the box.
_MARGIN = 0.25
#: Minimum height of a crop; smaller ones are enlarged. Models split images into patches of 28
#: pixels and more.
_LINE_PIXELS = 64


@dataclass(frozen=True)
class JpegCrop:
    """An encoded image and its size in pixels."""

    jpeg: bytes
    width: int
    height: int


def page_picture(data: bytes, max_side: int, quality: int) -> JpegCrop:
    """The page as JPEG, with a longer side of at most `max_side` pixels. Raises ItemFailure."""
    return _encoded(_page(data), max_side, quality)


def line_pictures(
    data: bytes, polygons: Sequence[Sequence[float]], max_side: int, quality: int
) -> list[JpegCrop]:
    """Upright crops, with a margin, of lines (x0,y0 .. x3,y3, pixels of the page).

    Raises ItemFailure.
    """
    page = _page(data)
    quads = [np.array(polygon, np.float32).reshape(4, 2) for polygon in polygons]
    return [_encoded(_cut(page, quad), max_side, quality) for quad in quads]


def weak_lines(lines: Sequence[LineValue], line_score: float) -> list[int]:
    """Indices of lines without text, without a score, or with a score below `line_score`."""
    return [
        place
        for place, line in enumerate(lines)
        if not line["text"] or line["score"] is None or line["score"] < line_score
    ]


def spliced(lines: Sequence[LineValue], texts: Mapping[int, str]) -> list[LineValue]:
    """`lines` with the texts at some indices replaced. Replaced lines have no score, because the
    model gives none."""
    return [
        {**line, "text": texts[place], "score": None} if place in texts else line
        for place, line in enumerate(lines)
    ]


def _page(data: bytes) -> Image:
    page = decoded(data)
    if page is None:
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, "OpenCV cannot decode the image")
    return page


def _cut(page: Image, quad: npt.NDArray[np.float32]) -> Image:
    along, down = quad[1] - quad[0], quad[3] - quad[0]
    width, height = max(1.0, float(np.hypot(*along))), max(1.0, float(np.hypot(*down)))
    margin = _MARGIN * min(width, height)
    right, low = along / width * margin, down / height * margin
    grown = quad + np.array([-right - low, right - low, right + low, low - right])
    width, height = width + 2 * margin, height + 2 * margin
    scale = max(1.0, _LINE_PIXELS / min(width, height))
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    corners = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float32)
    transform = cv2.getPerspectiveTransform(grown.astype(np.float32), corners)
    line = cv2.warpPerspective(
        page, transform, (columns, rows), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.rot90(line) if height / width >= VERTICAL else line


def _encoded(image: Image, max_side: int, quality: int) -> JpegCrop:
    height, width = image.shape[:2]
    scale = max_side / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, "OpenCV cannot encode the image as JPEG")
    return JpegCrop(data.tobytes(), image.shape[1], image.shape[0])
