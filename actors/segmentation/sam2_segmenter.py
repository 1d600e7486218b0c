"""Turns encoded images and boxes into masks: decode, embed, segment the boxes, encode."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
import transformers
from torch import Tensor

from actors.checkpoints import best_on_cpu, pick_placement
from actors.failures import FailureKind, ItemFailure
from actors.images.batches import Fitting, ahead, halving, parts
from actors.images.kept import KEPT
from actors.images.mask_logits import encode
from actors.images.rle import Rle, box_agreement, value_of
from actors.instances import MaskValue
from actors.segmentation.inputs import Inputs
from actors.segmentation.sam2_checkpoint import load_sam2
from actors.segmentation.sam2_packed import BoxPrompt, Features, PackedSam2, RawMask
from actors.segmentation.settings import Sam2Config

#: Images with features on the device, unless a batch is larger: 16 MB each as float32 for
#: sam2.1-hiera.
WINDOW = 16
#: (cpu, cuda). Larger batches are not faster on one CPU thread: hiera-tiny takes 1.3 s per image at
#: batch 1 and 4, and 50 ms per box in packs of 4, 8 or 16 (bfloat16). They are slower if freed
#: memory is not kept (`actors.heap`). The values for cuda are not measured.
IMAGES_AT_ONCE = (1, 8)
BOXES_AT_ONCE = (4, 64)


@dataclass(frozen=True)
class ToSegment:
    """One image to segment. `boxes`: x0, y0, x1, y1, pixels of the upright image; at least one."""

    image: bytes
    boxes: list[list[float]]


@dataclass(frozen=True)
class Prepared:
    """An image to segment. `pixels`: uint8 (3, size, size), on the device."""

    pixels: Tensor
    height: int
    width: int
    boxes: list[list[float]]


class Segmenter:
    """A loaded SAM 2."""

    def __init__(
        self, config: Sam2Config, timed: Callable[[str], AbstractContextManager[None]]
    ) -> None:
        """`timed(step)` adds the wall time of its block to a step. Raises SetupError."""
        place = pick_placement(config.device, config.dtype, on_cpu=best_on_cpu())
        loaded = load_sam2(config)
        self._timed = timed
        self._inputs = Inputs(loaded.processor, place.device, config.reduced_jpeg, config.nvjpeg)
        KEPT.expect(self, self._inputs.need)
        self._size = loaded.processor.size["height"]
        self._sam2 = PackedSam2(loaded.model, place.device, place.dtype)
        images_at_once = config.images_at_once or IMAGES_AT_ONCE[place.on_gpu]
        self._embedded = Fitting(self._embed, images_at_once)
        boxes_at_once = config.boxes_at_once or BOXES_AT_ONCE[place.on_gpu]
        self._decoded = Fitting(self._sam2.decode, boxes_at_once)
        self._threads = ThreadPoolExecutor(config.decode_threads)
        self.provenance = loaded.provenance | place.provenance(transformers)

    def segment(self, requests: Sequence[ToSegment]) -> list[list[MaskValue] | ItemFailure]:
        """One mask per box of each image, or the image's failure."""
        windows = parts(requests, max(WINDOW, self._embedded.size or 1))
        results: list[list[MaskValue] | ItemFailure] = []
        for window in ahead(self._prepared, windows):
            ready = [image for image in window if isinstance(image, Prepared)]
            masks = iter(self._window(ready))
            results += [i if isinstance(i, ItemFailure) else next(masks) for i in window]
        KEPT.clear()  # images without boxes are not taken
        return results

    def _prepared(self, requests: Sequence[ToSegment]) -> list[Prepared | ItemFailure]:
        """Decode images in threads while the model runs."""
        with self._timed("decode"):
            return list(self._threads.map(self._prepare, requests))

    def _prepare(self, request: ToSegment) -> Prepared | ItemFailure:
        image = self._inputs.read(request.image)
        if isinstance(image, ItemFailure):
            return image
        return Prepared(image.pixels, image.height, image.width, request.boxes)

    def _embed(self, pixels: Sequence[Tensor]) -> list[Features]:
        return self._sam2.embed(list(self._inputs.normalised(pixels)))

    def _window(self, images: Sequence[Prepared]) -> list[list[MaskValue] | ItemFailure]:
        with self._timed("embed"):
            pixels = [image.pixels for image in images]
            features = self._embedded(pixels)
        prompts = [
            BoxPrompt(maps, box)
            for image, maps in zip(images, features, strict=True)
            if maps is not None
            for box in self._boxes(image)
        ]
        with self._timed("decode_boxes"):
            raw = iter(self._decoded(prompts))
        return [self._masks(image, maps, raw) for image, maps in zip(images, features, strict=True)]

    def _boxes(self, image: Prepared) -> Tensor:
        """Boxes (n, 4) in pixels of the model's input, whose aspect ratio differs."""
        scale = np.array([self._size / image.width, self._size / image.height] * 2)
        return torch.from_numpy((np.array(image.boxes) * scale).astype(np.float32))

    def _masks(
        self, image: Prepared, features: Features | None, raw: Iterator[RawMask | None]
    ) -> list[MaskValue] | ItemFailure:
        """The masks of one image, from the next values of `raw`; none if `features` is None."""
        if features is None:
            return _out_of_memory(
                "the image does not fit into the device's memory, even in a batch of one"
            )
        found = [next(raw) for _ in image.boxes]
        masks = [mask for mask in found if mask is not None]
        if len(masks) < len(found):
            return _out_of_memory("a single box does not fit into the device's memory")
        with self._timed("encode_masks"):
            rles = halving(
                lambda logits: encode(logits, image.height, image.width),
                [mask.logits for mask in masks],
            )
        encoded = [rle for rle in rles if rle is not None]
        if len(encoded) < len(rles):
            size = f"{image.width} x {image.height}"
            return _out_of_memory(f"a single mask of {size} px does not fit into memory")
        agreement = box_agreement(encoded, np.array(image.boxes))
        return [
            _value(rle, mask.iou, agree)
            for rle, mask, agree in zip(encoded, masks, agreement.tolist(), strict=True)
        ]


def _value(rle: Rle, iou: float, agreement: float) -> MaskValue:
    """The MASK value; NaN becomes null (unknown)."""
    return {
        **value_of(rle),
        "mask_iou": iou if math.isfinite(iou) else None,
        "box_agreement": agreement if math.isfinite(agreement) else None,
    }


def _out_of_memory(message: str) -> ItemFailure:
    return ItemFailure(FailureKind.OUT_OF_MEMORY, message)
