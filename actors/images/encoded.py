"""An encoded image that is decoded when the first model needs its pixels."""

from __future__ import annotations

from threading import Lock

import torch
from torch import Tensor

from actors.failures import ItemFailure
from actors.images.decoding import decoded, opened, plain_jpeg
from actors.images.device_jpeg import DeviceJpeg
from actors.images.kept import KEPT

#: x0, y0, x1, y1, pixels of the upright image.
Box = tuple[int, int, int, int]


class EncodedImage:
    """An encoded upright image. Only the header is read before the first crop.

    The pixels are freed after `crops` crops, so the decoded images of a batch are never in memory
    together, except those that `KEPT` holds for the next model. Crops may run in several threads.

    Attributes:
        width, height: pixels.
        crops: number of remaining calls of `crop`.
        need: height and width that suffice for the only crop, the full image. The image itself is
            then given smaller, if it is a JPEG that can be decoded at a reduced scale.
    """

    def __init__(self, data: bytes, keep: bool = False, jpeg: DeviceJpeg | None = None) -> None:
        """
        Args:
            keep: offer the pixels to a later model of this process, in `KEPT`.
            jpeg: decodes JPEGs; their pixels are then on its device. None: on the host.

        Raises ItemFailure(CORRUPT_IMAGE, TOO_MANY_PIXELS).
        """
        self._file, self._data, self._keep, self._jpeg = opened(data), data, keep, jpeg
        self.width, self.height = self._file.size
        self.crops = 1
        self.need = self.height, self.width
        self._pixels: Tensor | None = None
        self._lock = Lock()

    def crop(self, box: Box) -> Tensor | ItemFailure:
        """The pixels of a box x0, y0, x1, y1, uint8 (3, height, width), RGB; or CORRUPT_IMAGE."""
        x0, y0, x1, y1 = box
        with self._lock:
            try:
                pixels = self._decoded()
            except ItemFailure as fault:
                return fault
            self.crops -= 1
            self._pixels = pixels if self.crops else None
        return pixels[:, y0:y1, x0:x1]

    def whole(self) -> Tensor | ItemFailure:
        """The pixels of the full image, uint8 (3, height, width), RGB; or CORRUPT_IMAGE.

        If `need` is smaller, fewer rows and columns may come.
        """
        return self.crop((0, 0, self.width, self.height))

    def _decoded(self) -> Tensor:
        if self._pixels is not None:
            return self._pixels
        need = self._needed()
        pixels = KEPT.take(self._data, need)
        if pixels is None:
            pixels = self._on_device()
        if pixels is None:
            pixels = torch.from_numpy(decoded(self._file, self._data, need)).permute(2, 0, 1)
        self._file.close()
        if self._keep:
            KEPT.keep(self._data, pixels)
        return pixels

    def _on_device(self) -> Tensor | None:
        """The pixels by `jpeg`; None if the host must decode the file."""
        if self._jpeg is None or not plain_jpeg(self._file):
            return None
        pixels = self._jpeg(self._data)
        whole = pixels is not None and pixels.shape[1:] == (self.height, self.width)
        return pixels if whole else None

    def _needed(self) -> tuple[int, int]:
        """Height and width that suffice for this model, and for the next if pixels are kept."""
        next_need = KEPT.need if self._keep else (1, 1)
        return (
            min(self.height, max(self.need[0], next_need[0])),
            min(self.width, max(self.need[1], next_need[1])),
        )
