"""The model inputs of SAM 2 and SAM 3: images resized, then normalised in batches on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.image_utils import SizeDict

from actors.failures import ItemFailure
from actors.images.device_jpeg import device_jpeg
from actors.images.encoded import EncodedImage
from actors.images.kept import FULL
from actors.images.side_stream import SideStream


@dataclass(frozen=True)
class Resized:
    """An image at the model's size.

    Attributes:
        pixels: uint8 (3, size, size), RGB, on the device.
        height, width: size of the image in the file, pixels.
    """

    pixels: Tensor
    height: int
    width: int


class Inputs:
    """Does what the library's image processor does, without its copies.

    On a CPU the numbers are the library's, bit by bit. On cuda the resize runs on the device in
    float32 and rounds to uint8, as the library does there; on a CPU it has weights of 16 bits, so
    that some values differ by 1 of 255.
    """

    def __init__(
        self, processor: Any, device: torch.device, reduced_jpeg: bool = False, nvjpeg: bool = False
    ) -> None:
        """
        Args:
            processor: a Sam2ImageProcessor or Sam3ImageProcessor.
            device: the model's.
            reduced_jpeg, nvjpeg: see the settings.
        """
        self._rule, self._beside = processor, SideStream(device)
        self._jpeg = device_jpeg(nvjpeg, device)
        size = processor.size["height"], processor.size["width"]
        self._size = SizeDict(height=size[0], width=size[1])
        #: Height and width that an image needs.
        self.need = size if reduced_jpeg else FULL

    def read(self, data: bytes) -> Resized | ItemFailure:
        """The image of a file at the model's size, or CORRUPT_IMAGE, TOO_MANY_PIXELS."""
        try:
            picture = EncodedImage(data, jpeg=self._jpeg)
        except ItemFailure as fault:
            return fault
        picture.need = self.need
        pixels = picture.whole()
        if isinstance(pixels, ItemFailure):
            return pixels
        return Resized(self.resized(pixels), picture.height, picture.width)

    def resized(self, pixels: Tensor) -> Tensor:
        """The image at the model's size, uint8 (3, size, size), on the device.

        `pixels`: uint8 (3, height, width), any strides. The resize reads interleaved colours, as
        decoders write them: 12 megapixels take 11 ms; to planes and from planes 115 (one thread).
        """
        return self._beside(self._at_size, pixels)

    def _at_size(self, pixels: Tensor) -> Tensor:
        rule = self._rule
        small: Tensor = rule.resize(pixels, self._size, resample=rule.resample)
        return small.contiguous()

    def normalised(self, images: Sequence[Tensor]) -> Tensor:
        """float32 (n, 3, size, size) of resized images. Raises torch.OutOfMemoryError."""
        rule = self._rule
        values: Tensor = rule.rescale_and_normalize(
            torch.stack(list(images)),
            rule.do_rescale,
            rule.rescale_factor,
            rule.do_normalize,
            rule.image_mean,
            rule.image_std,
        )
        return values
