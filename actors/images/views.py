"""Views, the model's inputs: full images and tiles, grouped by size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from transformers.image_transforms import get_size_with_aspect_ratio

from actors.images.encoded import Box
from actors.images.tiles import Tiles

#: The finest feature map has one cell per 8 px. Backbones halve the image five times.
FINEST_STRIDE, COARSEST_STRIDE = 8, 32

Size = tuple[int, int]


@dataclass(frozen=True)
class View:
    """A rectangle of an image, and its size as the model's input."""

    row: int  #: index of the image in the batch
    box: Box  #: x0, y0, x1, y1, pixels of the upright image
    size: Size  #: height, width of the model's input
    padded: Size  #: height, width with padding; depends only on `size`


@dataclass(frozen=True)
class SizeRule:
    """Computes the size of the model's input.

    Attributes:
        shortest, longest: the processor's limits of the sides, pixels.
        queries: the model's number of queries; its feature maps need at least as many cells.
        step: sides are padded to a multiple of this, pixels. A batch has only images of equal
            padded size, so results do not depend on other images of the batch.
    """

    shortest: int
    longest: int
    queries: int
    step: int = 1

    def size(self, height: int, width: int) -> Size:
        """The model's input size for a view, by the library's rule, but at least 1 pixel.

        The library gives 0 for sides below half a pixel (1 x 10,000 px).
        """
        size = get_size_with_aspect_ratio((height, width), self.shortest, self.longest)
        return max(1, size[0]), max(1, size[1])

    def padded(self, size: Size) -> Size:
        """The size with padding.

        Strips such as 1 x 1,333 px get more padding. Without it, backbones cannot halve them and
        they have too few cells for the queries.
        """
        height, width = (
            self.step * math.ceil(max(side, COARSEST_STRIDE) / self.step) for side in size
        )
        if (height // FINEST_STRIDE) * (width // FINEST_STRIDE) >= self.queries:
            return height, width
        long = max(height, width)
        short = FINEST_STRIDE * math.ceil(self.queries / (long // FINEST_STRIDE))
        return (short, long) if height < width else (long, short)


def views_of(row: int, width: int, height: int, rule: SizeRule, tiles: Tiles | None) -> list[View]:
    """The full image, followed by its tiles if it is larger than a tile.

    Args:
        row: index of the image in the batch.
        width, height: size of the image, pixels.
        rule: computes the sizes of the model's input.
        tiles: None: only the full image.
    """
    boxes = [(0, 0, width, height)]
    if tiles is not None and max(width, height) > tiles.size:
        boxes += [
            (x, y, min(x + tiles.size, width), min(y + tiles.size, height))
            for y in _starts(height, tiles)
            for x in _starts(width, tiles)
        ]
    sizes = [rule.size(y1 - y0, x1 - x0) for x0, y0, x1, y1 in boxes]
    return [View(row, box, size, rule.padded(size)) for box, size in zip(boxes, sizes, strict=True)]


def _starts(length: int, tiles: Tiles) -> list[int]:
    """Evenly spaced starts of tiles along one side; neighbours overlap by at least `overlap`."""
    last = max(0, length - tiles.size)
    count = math.ceil(last / (tiles.size - tiles.overlap)) + 1
    return [round(last * number / max(1, count - 1)) for number in range(count)]


def grouped(views: Sequence[View], max_pixels: int) -> list[list[View]]:
    """Group views of equal padded size; a group has at most `max_pixels`, or a single view."""
    alike: dict[Size, list[View]] = {}
    for view in views:
        alike.setdefault(view.padded, []).append(view)
    groups = []
    for (height, width), same in alike.items():
        count = max(1, max_pixels // (height * width))
        groups += [same[start : start + count] for start in range(0, len(same), count)]
    return groups
