"""What the model looks at: whole images and tiles of them, grouped by size."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers.image_transforms import get_size_with_aspect_ratio

from actors.failures import FailureKind, ItemFailure
from actors.images.tiles import Tiles

#: The finest feature map has one cell per 8 px. Backbones halve the image five times in all.
FINEST_STRIDE, COARSEST_STRIDE = 8, 32

Box = tuple[int, int, int, int]
Size = tuple[int, int]


class EncodedImage:
    """An encoded upright image, of which only the header is read until its pixels are asked for.

    Its pixels are dropped after `crops` crops, so that a batch of large photographs is never in
    memory as a whole.

    Attributes:
        width, height: pixels.
        crops: how often `crop` will still be called.
    """

    def __init__(self, data: bytes) -> None:
        """Raises ItemFailure(CORRUPT_IMAGE, TOO_MANY_PIXELS)."""
        with _faults_named():
            self._file = Image.open(io.BytesIO(data))
        self.width, self.height = self._file.size
        self.crops = 1
        self._pixels: Tensor | None = None

    def crop(self, box: Box) -> Tensor | ItemFailure:
        """uint8 (3, height, width), RGB, of x0, y0, x1, y1; or CORRUPT_IMAGE, as a value."""
        x0, y0, x1, y1 = box
        try:
            pixels = self._decoded()
        except ItemFailure as fault:
            return fault
        self.crops -= 1
        self._pixels = pixels if self.crops else None
        return pixels[:, y0:y1, x0:x1]

    def _decoded(self) -> Tensor:
        if self._pixels is not None:
            return self._pixels
        with _faults_named():
            array = np.array(self._file.convert("RGB"))
        self._file.close()
        return torch.from_numpy(array).permute(2, 0, 1)


@contextmanager
def _faults_named() -> Iterator[None]:
    """Pillow meets damaged files with OSError, SyntaxError, ValueError, struct.error ..."""
    try:
        yield
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:
        raise ItemFailure(FailureKind.TOO_MANY_PIXELS, str(error)) from error
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, what) from error


@dataclass(frozen=True)
class View:
    """A rectangle of an image, and the size at which the model sees it."""

    row: int  #: which image of the batch
    box: Box  #: x0, y0, x1, y1, pixels of the upright image
    size: Size  #: height, width of the model's input
    padded: Size  #: the same with padding, which depends on nothing but `size`


@dataclass(frozen=True)
class SizeRule:
    """How large the model's input is.

    Attributes:
        shortest, longest: the processor's limits on the sides, pixels.
        queries: the model's number of queries; its feature maps must have as many cells.
        step: sides are padded to a multiple of this, pixels. Images are batched with those of the
            same padded size only, so that no result depends on what else is in the batch.
    """

    shortest: int
    longest: int
    queries: int
    step: int = 1

    def size(self, height: int, width: int) -> Size:
        """The model's input for a view, by the library's own rule.

        That rule gives 0 for a side of less than half a pixel (1 x 10,000 px); 1 here.
        """
        size = get_size_with_aspect_ratio((height, width), self.shortest, self.longest)
        return max(1, size[0]), max(1, size[1])

    def padded(self, size: Size) -> Size:
        """The size with padding.

        A strip of 1 x 1,333 px has too few cells for the queries, and backbones cannot halve it;
        it is padded until both work.
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
    """The whole image first, then its tiles if it is larger than one.

    Args:
        row: which image of the batch.
        width, height: of the image, pixels.
        rule: gives the sizes of the model's input.
        tiles: None for the whole image only.
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
    """Where tiles begin along one side, evenly; neighbours share `tiles.overlap` or more."""
    last = max(0, length - tiles.size)
    count = math.ceil(last / (tiles.size - tiles.overlap)) + 1
    return [round(last * number / max(1, count - 1)) for number in range(count)]


def grouped(views: Sequence[View], max_pixels: int) -> list[list[View]]:
    """Views of the same padded size, in groups of at most `max_pixels`; at least one in each."""
    alike: dict[Size, list[View]] = {}
    for view in views:
        alike.setdefault(view.padded, []).append(view)
    groups = []
    for (height, width), same in alike.items():
        count = max(1, max_pixels // (height * width))
        groups += [same[start : start + count] for start in range(0, len(same), count)]
    return groups
