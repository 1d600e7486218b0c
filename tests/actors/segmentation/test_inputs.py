"""The inputs of SAM 2 and SAM 3 are those of the library's processors, bit by bit on a CPU."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Sam2ImageProcessor
from transformers.models.sam3.image_processing_sam3 import Sam3ImageProcessor

from actors.failures import ItemFailure
from actors.segmentation.inputs import Inputs, Resized

CPU = torch.device("cpu")
SIZES = [(320, 240), (97, 211), (640, 40), (3, 500), (300, 3), (1, 1), (1300, 1100)]


def picture(width: int, height: int) -> bytes:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("make", [Sam2ImageProcessor, Sam3ImageProcessor])
def test_inputs_are_those_of_the_library(make: Any) -> None:
    processor = make(size={"height": 128, "width": 128})
    inputs = Inputs(processor, CPU)
    ready = [inputs.read(picture(*size)) for size in SIZES]
    images = [one for one in ready if isinstance(one, Resized)]
    assert [(one.width, one.height) for one in images] == SIZES
    assert {one.pixels.dtype for one in images} == {torch.uint8}
    batch = inputs.normalised([one.pixels for one in images])
    for size, values in zip(SIZES, batch, strict=True):
        image = Image.open(io.BytesIO(picture(*size))).convert("RGB")
        expected = processor(images=image, return_tensors="pt")["pixel_values"][0]
        assert values.dtype == torch.float32
        assert torch.equal(values, expected)


def test_the_device_resizes_within_a_gray_level() -> None:
    """On cuda the library resizes float32 values and rounds; the same arithmetic on the CPU."""
    inputs = Inputs(Sam2ImageProcessor(size={"height": 128, "width": 128}), CPU)
    for size in SIZES:
        pixels = torch.from_numpy(np.array(Image.open(io.BytesIO(picture(*size))))).permute(2, 0, 1)
        exact = inputs._at_size(pixels.float()).round().clamp(0, 255)
        assert (exact - inputs.resized(pixels).float()).abs().max() <= 1


def test_a_broken_file_is_a_value() -> None:
    found = Inputs(Sam2ImageProcessor(), CPU).read(picture(64, 48)[:900])
    assert isinstance(found, ItemFailure)
    assert found.kind == "CORRUPT_IMAGE"
