"""What a worker does with an image before and after its models, as it was and as it is.

`Before` is the code of version 0.1.0 until 2026-11-30: each model decodes with Pillow, SAM 2 calls
the library's processor. `After` calls the actors' own code.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import GroundingDinoImageProcessor, Sam2ImageProcessor
from transformers.image_utils import SizeDict

from actors.images.encoded import EncodedImage
from actors.images.kept import KEPT
from actors.images.mask_logits import encode
from actors.images.rle import Rle, from_lengths
from actors.images.views import SizeRule
from actors.segmentation.inputs import Inputs
from pipelines.pages.image import render_image
from pipelines.pages.page import RenderOptions

CHECK = "fetch: check"
DECODE = "detector: decode"
RESIZE = "detector: resize, normalise"
AGAIN = "segmenter: decode, or take"
PREPARE = "segmenter: resize, normalise"
COPY = "copies for the device"
MASK = "one mask to run lengths"
#: Steps of the host if the models run on a CPU, and if they run on a GPU.
ON_CPU = (CHECK, DECODE, RESIZE, AGAIN, PREPARE)
CPU = torch.device("cpu")
#: grounding-dino-tiny's sides and queries.
RULE = SizeRule(800, 1333, 900)

Step = Callable[[], Any]


class Way(Protocol):
    """One contestant."""

    @property
    def host(self) -> tuple[str, ...]:
        """Its steps that cost the host time before a GPU."""

    def steps(self, data: bytes, logits: Tensor) -> dict[str, Step]:
        """The steps of one image, in this order; each uses the results of those before."""


def _checked(data: bytes) -> Any:
    return render_image(data, "jpeg", 1, RenderOptions())


class Before:
    """Pillow in each model; the library's processor on the host."""

    #: On a GPU the detector's images were resized there, the segmenter's were not.
    host = (CHECK, DECODE, AGAIN, PREPARE, COPY)

    def __init__(self) -> None:
        self._detector, self._segmenter = GroundingDinoImageProcessor(), Sam2ImageProcessor()
        self._staging = torch.zeros(0, dtype=torch.uint8)

    def steps(self, data: bytes, logits: Tensor) -> dict[str, Step]:
        pixels: dict[str, Tensor] = {}
        height, width = _size(data)

        def decode() -> Tensor:
            array = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
            pixels["full"] = torch.from_numpy(array).permute(2, 0, 1)
            return pixels["full"]

        def prepare() -> Tensor:
            values = self._segmenter(
                pixels["full"], input_data_format="channels_first", return_tensors="pt"
            )["pixel_values"][0]
            pixels["small"] = values
            return values

        return {
            CHECK: lambda: _checked(data),
            DECODE: decode,
            RESIZE: lambda: _detector_input(self._detector, pixels["full"]),
            AGAIN: decode,
            PREPARE: prepare,
            COPY: lambda: _copied(pixels["full"], pixels["small"]),
            MASK: lambda: _mask_before(logits, height, width),
        }


class After:
    """OpenCV once; uint8 until the device."""

    #: On a GPU both models are resized there.
    host = (CHECK, DECODE, AGAIN, COPY)

    def __init__(self, reduced_jpeg: bool = False) -> None:
        """`reduced_jpeg`: as the setting of both models."""
        self._detector = GroundingDinoImageProcessor()
        self._inputs = Inputs(Sam2ImageProcessor(), CPU, reduced_jpeg)
        self._reduced = reduced_jpeg

    def steps(self, data: bytes, logits: Tensor) -> dict[str, Step]:
        pixels: dict[str, Tensor] = {}
        height, width = _size(data)
        KEPT.expect(self, self._inputs.need)  # of one contestant at a time

        def decode(keep: bool) -> Tensor:
            image = EncodedImage(data, keep)
            if self._reduced:
                image.need = RULE.size(height, width) if keep else self._inputs.need
            found = image.whole()
            assert isinstance(found, Tensor)
            pixels["full"] = found
            return found

        return {
            CHECK: lambda: _checked(data),
            DECODE: lambda: decode(keep=True),
            RESIZE: lambda: _detector_input(self._detector, pixels["full"]),
            AGAIN: lambda: decode(keep=False),
            PREPARE: lambda: self._inputs.normalised([self._inputs.resized(pixels["full"])])[0],
            COPY: lambda: _copied(pixels["full"], pixels["full"]),
            MASK: lambda: encode([logits], height, width)[0],
        }


def _size(data: bytes) -> tuple[int, int]:
    width, height = Image.open(io.BytesIO(data)).size
    return height, width


def _detector_input(rule: Any, pixels: Tensor) -> Tensor:
    """As `actors.detection.grounding.forward` does on a CPU, before and after."""
    height, width = RULE.size(*pixels.shape[1:])
    small = rule.resize(pixels, SizeDict(height=height, width=width), resample=rule.resample)
    values: Tensor = rule.rescale_and_normalize(
        small[None].contiguous(), True, rule.rescale_factor, True, rule.image_mean, rule.image_std
    )
    return values


def _copied(*tensors: Tensor) -> list[Tensor]:
    """What the driver of a GPU does with pixels in pageable memory: it copies them once."""
    return [tensor.clone() for tensor in tensors]


def _mask_before(logits: Tensor, height: int, width: int) -> Rle:
    columns = np.ascontiguousarray(logits.numpy().T)
    upsampled = cv2.resize(columns, (height, width), interpolation=cv2.INTER_LINEAR)
    mask = np.greater(upsampled, 0).ravel()
    edges = np.flatnonzero(mask[1:] != mask[:-1]) + 1
    lengths = np.diff(edges, prepend=0, append=height * width)
    return from_lengths(np.concatenate([[0], lengths]) if mask[0] else lengths, height, width)
