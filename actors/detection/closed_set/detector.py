"""Turns encoded images into instances and masks: decode, group, run the model, select."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from actors.checkpoints import pick_placement
from actors.detection.boxes import Candidates, Selector
from actors.detection.closed_set.checkpoint import Checkpoint, load_yolo
from actors.detection.closed_set.forward import Forward, ModelOutput
from actors.detection.closed_set.masks import masks_of
from actors.detection.closed_set.names import matched
from actors.detection.closed_set.settings import YoloConfig
from actors.failures import FailureKind, ItemFailure, SetupError
from actors.images.batches import Fitting, ahead, halving
from actors.images.encoded import EncodedImage
from actors.images.kept import KEPT
from actors.images.letterbox import Letterbox
from actors.images.rle import unestimated
from actors.images.views import View, grouped
from actors.instances import Instance, MaskValue

#: Maximum pixels per forward pass on a CPU, with grey borders; a larger image goes alone. Time per
#: image of yolo11n at 640 x 640 on one thread: 47 ms at batch 1, 45 at 2, 43 at 4 and 8.
CPU_FORWARD_PIXELS = 640 * 640
UNLIMITED = 10**12

Canvas = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Finding:
    """The columns of one row: values, failures, or None."""

    boxes: list[Instance] | ItemFailure | None
    masks: list[MaskValue] | ItemFailure | None


class Detector:
    """A loaded YOLO with the rules of an ontology."""

    def __init__(
        self,
        config: YoloConfig,
        timed: Callable[[str], AbstractContextManager[None]],
        with_masks: bool,
    ) -> None:
        """`timed(step)` adds the wall time of its block to a step. Raises SetupError."""
        place = pick_placement(config.device, config.dtype, on_gpu="float16")
        loaded = load_yolo(config.model, with_masks, config.nms_free)
        _check_size(config, loaded)
        ontology, prompts = matched(config.ontology, loaded.names, config.model)
        self._timed, self._with_masks = timed, with_masks
        self._prompts = torch.tensor(prompts)
        self._min_sizes = torch.tensor([ontology.min_size_of(one) for one, _ in ontology.prompts()])
        self._selector = Selector(ontology, config.nms_iou, config.min_score)
        floors = self._selector.floors[self._prompts]
        floors[self._prompts < 0] = torch.inf
        self._forward = Forward(loaded, floors, place.device, place.dtype)
        self._fitting = Fitting(self._forward)
        self._longest, self._stride = config.image_size, loaded.stride
        self._reduced = config.reduced_jpeg
        default_pixels = UNLIMITED if place.on_gpu else CPU_FORWARD_PIXELS
        self._forward_pixels = config.forward_pixels or default_pixels
        self._threads = ThreadPoolExecutor(config.decode_threads)
        self.provenance = loaded.provenance | place.provenance()

    def find(self, images: Sequence[bytes | None]) -> list[Finding]:
        """The instances and masks of each image, or its failure; None for None."""
        KEPT.clear()
        findings = [Finding(None, None) for _ in images]
        pictures: dict[int, EncodedImage] = {}
        for row, data in enumerate(images):
            try:
                if data is not None:
                    pictures[row] = EncodedImage(data, keep=True)
            except ItemFailure as fault:
                findings[row] = Finding(fault, None)
        frames = {
            row: Letterbox.of(picture.height, picture.width, self._longest, self._stride)
            for row, picture in pictures.items()
        }
        if self._reduced:
            for row, frame in frames.items():
                pictures[row].need = frame.size
        groups = grouped([_view(*one) for one in frames.items()], self._forward_pixels)
        for rows, canvases in ahead(lambda group: self._filled(group, pictures, frames), groups):
            for row, canvas in zip(rows, canvases, strict=True):
                if isinstance(canvas, ItemFailure):
                    findings[row] = Finding(canvas, None)
            seen = [row for row in rows if findings[row].boxes is None]
            ready = [canvas for canvas in canvases if not isinstance(canvas, ItemFailure)]
            for row, answer in zip(seen, self._answers(ready), strict=True):
                findings[row] = self._finding(frames[row], answer)
        return findings

    def _filled(
        self, group: Sequence[View], pictures: dict[int, EncodedImage], frames: dict[int, Letterbox]
    ) -> tuple[list[int], list[Canvas | ItemFailure]]:
        """Rows and their model inputs, uint8 (height, width, 3), while the model runs."""

        def canvas(view: View) -> Canvas | ItemFailure:
            crop = pictures[view.row].crop(view.box)
            return frames[view.row].filled(crop) if isinstance(crop, Tensor) else crop

        with self._timed("decode"):
            return [view.row for view in group], list(self._threads.map(canvas, group))

    def _answers(self, canvases: Sequence[Canvas]) -> list[ModelOutput | None]:
        with self._timed("forward"):
            return self._fitting(canvases, canvases[0].size) if canvases else []

    def _finding(self, frame: Letterbox, answer: ModelOutput | None) -> Finding:
        if answer is None:
            size = f"{frame.padded[1]} x {frame.padded[0]} px"
            what = (
                f"an input of {size} does not fit into the device's memory, even in a batch of one"
            )
            return Finding(ItemFailure(FailureKind.OUT_OF_MEMORY, what), None)
        if not answer.finite:
            what = "the model returned NaN or infinity"
            return Finding(ItemFailure(FailureKind.ENGINE_FAULT, what), None)
        with self._timed("select"):
            places, instances = self._chosen(frame, answer)
        if not self._with_masks:
            return Finding(instances, None)
        with self._timed("encode_masks"):
            return Finding(instances, _masks(frame, answer, places, instances))

    def _chosen(self, frame: Letterbox, answer: ModelOutput) -> tuple[list[int], list[Instance]]:
        """The instances, and their indices among the candidates.

        NMS uses unclipped boxes, as in the library. After clipping, two objects at the edge of the
        image can have similar boxes.
        """
        if not len(answer.boxes):
            return [], []
        loose, prompts = frame.in_image(answer.boxes), self._prompts[answer.classes]
        boxes = frame.clipped(loose)
        sides = (boxes[:, 2:] - boxes[:, :2]).min(1).values
        # A box in the grey border has a side of 0 after clipping.
        large = ((sides > 0) & (sides >= self._min_sizes[prompts])).nonzero()[:, 0]
        # Shifted, because torchvision's batched NMS needs coordinates of at least 0.
        found = Candidates(loose - loose.min(), answer.scores, prompts)[large]
        picked = self._selector.picked(found, "yolo")
        places = [int(large[place]) for place, _ in picked]
        instances = [instance for _, instance in picked]
        for instance, box in zip(instances, boxes[places].tolist(), strict=True):
            instance["box"] = box
        return places, instances


def _masks(
    frame: Letterbox,
    answer: ModelOutput,
    places: Sequence[int],
    instances: Sequence[Instance],
) -> list[MaskValue] | ItemFailure:
    """One mask per instance. `places`: indices of the instances among the candidates."""
    prototypes = answer.prototypes
    if prototypes is None or not instances:
        return []
    if not prototypes.isfinite().all():
        return ItemFailure(
            FailureKind.ENGINE_FAULT, "the model returned NaN or infinity in its mask prototypes"
        )
    boxes = [instance["box"] for instance in instances]
    rles = halving(
        lambda some: masks_of(
            answer.coefficients[[places[number] for number in some]],
            prototypes,
            frame,
            [boxes[number] for number in some],
        ),
        range(len(boxes)),
    )
    encoded = [rle for rle in rles if rle is not None]
    if len(encoded) < len(rles):
        what = f"a single mask of {frame.width} x {frame.height} px does not fit into memory"
        return ItemFailure(FailureKind.OUT_OF_MEMORY, what)
    return unestimated(encoded, np.array(boxes))


def _view(row: int, frame: Letterbox) -> View:
    """The full image as a View, for `grouped`."""
    return View(row, (0, 0, frame.width, frame.height), frame.size, frame.padded)


def _check_size(config: YoloConfig, loaded: Checkpoint) -> None:
    if config.image_size % loaded.stride:
        nearest = -(-config.image_size // loaded.stride) * loaded.stride
        raise SetupError(
            f"image_size {config.image_size} is not a multiple of {loaded.stride}, the stride of "
            f"{config.model}",
            f"set image_size: {nearest}",
        )
