"""A COCO mask as an SVG path, at the resolution of a thumbnail.

The mask is never decoded: its run lengths are sampled on a small grid. The cost does not depend on
the size of the mask, and a wrong `size` allocates nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from actors.images.rle import Ints, RleValue, lengths_of

#: Points of the grid along the longer side of the mask.
_GRID = 96
#: Most bytes of run lengths: 20 times those of a mask of 4,000 x 3,000 pixels.
_MOST_BYTES = 200_000
_MOST_POINTS = 160


def mask_path(rle: RleValue) -> str | None:
    """The SVG path (`d`, fill rule evenodd) of a mask, in pixels of the image.

    None if the mask is empty or invalid.
    """
    counts, (height, width) = rle["counts"], rle["size"]
    if min(height, width) < 1 or len(counts) > _MOST_BYTES:
        return None
    try:
        edges = np.cumsum(lengths_of(counts))
    except ValueError:
        return None
    box = _extent(edges, height, width)
    if box is None:
        return None
    x0, y0, x1, y1 = box
    step = max(1.0, max(x1 - x0, y1 - y0) / _GRID)
    xs = x0 + (np.arange(int(np.ceil((x1 - x0) / step))) + 0.5) * step
    ys = y0 + (np.arange(int(np.ceil((y1 - y0) / step))) + 0.5) * step
    columns = np.minimum(xs, width - 1).astype(np.int64)
    rows = np.minimum(ys, height - 1).astype(np.int64)
    points = columns[None, :] * height + rows[:, None]
    inside = (np.searchsorted(edges, points, side="right") % 2).astype(np.uint8)
    return _traced(inside, x0, y0, step)


def _extent(edges: Ints, height: int, width: int) -> tuple[int, int, int, int] | None:
    """x0, y0, x1, y1 of all set pixels, ends excluded; None for an empty mask."""
    starts, ends = edges[0::2][: len(edges) // 2], edges[1::2]
    there = (ends > starts) & (starts < height * width)
    if not there.any():
        return None
    starts, last = starts[there], np.minimum(ends[there], height * width) - 1
    x0, x1 = int((starts // height).min()), int((last // height).max()) + 1
    if (starts // height != last // height).any():  # a run continues in the next column
        return x0, 0, x1, height
    return x0, int((starts % height).min()), x1, int((last % height).max()) + 1


def _traced(inside: npt.NDArray[np.uint8], x0: int, y0: int, step: float) -> str | None:
    """Contours of a binary grid with holes. Doubled resolution puts them on the pixels' edges."""
    fine = np.pad(inside.repeat(2, 0).repeat(2, 1), 1)
    contours, _ = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    parts, left = [], _MOST_POINTS
    for contour in sorted(contours, key=cv2.contourArea, reverse=True):
        points = cv2.approxPolyDP(contour, 1.2, True)[:, 0]
        if len(points) < 3 or len(points) > left:
            continue
        left -= len(points)
        xs = x0 + (points[:, 0] - 0.5) * step / 2
        ys = y0 + (points[:, 1] - 0.5) * step / 2
        pairs = (f"{number(x)} {number(y)}" for x, y in zip(xs, ys, strict=True))
        parts.append(f"M{'L'.join(pairs)}Z")
    return "".join(parts) or None


def number(value: float) -> str:
    """A coordinate with one decimal."""
    return f"{value:.1f}".removesuffix(".0")


def points(values: Sequence[float]) -> str:
    """``x,y x,y`` of a flat polygon."""
    pairs = zip(values[::2], values[1::2], strict=True)
    return " ".join(f"{number(x)},{number(y)}" for x, y in pairs)
