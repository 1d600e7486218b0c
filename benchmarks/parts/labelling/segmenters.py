"""Contestants for masks from boxes: the library image by image, ours, and the bare model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco
from transformers import Sam2Model, Sam2Processor

from actors.instances import BOXES
from actors.segmentation.sam2 import Sam2
from actors.segmentation.settings import Sam2Config
from parts.labelling.judge import SAME_IOU, SAME_SCORE, Contestant, Sample, opened

LIBRARY = "library's Sam2Model, image by image"
OURS = "nightjar's Sam2"
FLOOR = "floor: embed and decode, prepared inputs"

#: Masks of one image (COCO RLE), and the model's estimates of their IoU.
Masks = tuple[list[Any], NDArray[np.float64]]
Corners = list[list[float]]


def contestants(
    model: str, boxes: Sequence[Corners], batch: int, device: str, dtype: str
) -> list[Contestant]:
    """All three. `boxes`: per image, xyxy in pixels, the same for every contestant."""
    given = {"model": model, "device": device, "dtype": dtype}
    actor = Sam2(Sam2Config.model_validate(given))
    reference: list[Masks] = []
    return [
        _library(model, boxes, device, reference),
        _ours(actor, boxes, batch, reference),
        floor(actor, boxes),
    ]


def _library(
    folder: str, boxes: Sequence[Corners], device: str, reference: list[Masks]
) -> Contestant:
    loaded: Any = Sam2Model.from_pretrained(folder, dtype=torch.float32)
    model = loaded.to(device).eval()
    processor: Any = Sam2Processor.from_pretrained(folder)

    @torch.inference_mode()
    def one(data: bytes, corners: Corners) -> Any:
        """bool (n, height, width) and float (n,), or None for an image without boxes."""
        if not corners:
            return None
        inputs = processor(images=opened(data), input_boxes=[corners], return_tensors="pt")
        out = model(**inputs.to(device), multimask_output=False)
        (masks,) = processor.post_process_masks(out.pred_masks, inputs["original_sizes"])
        return masks[:, 0], out.iou_scores[0, :, 0]

    def prepare(samples: Sequence[Sample]) -> Callable[[], Any]:
        # not strict: the warm-up has fewer images than boxes
        return lambda: [one(s.data, b) for s, b in zip(samples, boxes, strict=False)]

    def judge(answers: Any, samples: Sequence[Sample]) -> dict[str, float | None]:
        reference[:] = [
            ([], np.zeros(0)) if answer is None else _encoded(*answer) for answer in answers
        ]
        return {"mask_iou": _truth_iou(reference, samples)}

    return Contestant(LIBRARY, prepare, judge)


def _ours(actor: Sam2, boxes: Sequence[Corners], batch: int, reference: list[Masks]) -> Contestant:
    def prepare(samples: Sequence[Sample]) -> Callable[[], Any]:
        images = pa.array([sample.data for sample in samples], pa.binary())
        found = [[{"box": one} for one in each] for each in boxes[: len(samples)]]
        rows = pa.table({"image": images, "boxes": pa.array(found, BOXES)})
        tables = [rows.slice(start, batch) for start in range(0, len(samples), batch)]
        return lambda: [actor(rows)["masks"] for rows in tables]

    def judge(answers: Any, samples: Sequence[Sample]) -> dict[str, float | None]:
        found = []
        for row in (row for column in answers for row in column.to_pylist()):
            rles = [{"size": m["size"], "counts": m["counts"].encode()} for m in row]
            found.append((rles, np.array([m["mask_iou"] for m in row], dtype=float)))
        return {"mask_iou": _truth_iou(found, samples), "parity": _parity(found, reference)}

    return Contestant(OURS, prepare, judge, actor.seconds)


def floor(actor: Sam2, boxes: Sequence[Corners]) -> Contestant:
    """Forward passes of our largest size; keeps the features of 16 images at a time."""
    from actors.segmentation.sam2_packed import BoxPrompt
    from actors.segmentation.sam2_segmenter import WINDOW, Prepared, ToSegment

    segmenter = actor._segmenter
    sam2 = segmenter._sam2

    def prepare(samples: Sequence[Sample]) -> Callable[[], Any]:
        asked = [ToSegment(s.data, b) for s, b in zip(samples, boxes, strict=False) if b]
        ready = [segmenter._prepare(request) for request in asked]
        inputs = [
            (segmenter._inputs.normalised([one.pixels])[0], segmenter._boxes(one))
            for one in ready
            if isinstance(one, Prepared)
        ]

        def run() -> None:
            for start in range(0, len(inputs), WINDOW):
                window = inputs[start : start + WINDOW]
                pixels = [one for one, _ in window]
                features = _all(sam2.embed, pixels, segmenter._embedded.size)
                prompts = [
                    BoxPrompt(maps, box)
                    for maps, (_, corners) in zip(features, window, strict=True)
                    for box in corners
                ]
                _all(sam2.decode, prompts, segmenter._decoded.size)

        return run

    return Contestant(FLOOR, prepare, lambda answer, samples: {})


def _all(forward: Callable[[Any], list[Any]], items: list[Any], size: int) -> list[Any]:
    return [one for i in range(0, len(items), size) for one in forward(items[i : i + size])]


def _encoded(masks: Any, ious: Any) -> Masks:
    dense = masks.cpu().numpy().astype(np.uint8)
    return [coco.encode(np.asfortranarray(mask)) for mask in dense], ious.double().cpu().numpy()


def _parity(ours: Sequence[Masks], theirs: Sequence[Masks]) -> float | None:
    """Share of equal masks with equal IoU estimates."""
    same: list[bool] = []
    for (mine, my_ious), (other, other_ious) in zip(ours, theirs, strict=True):
        overlaps = _paired_iou(mine, other)
        near = np.abs(my_ious - other_ious) <= SAME_SCORE
        same += ((overlaps >= SAME_IOU) & near).tolist()
    return float(np.mean(same)) if same else None


def _truth_iou(found: Sequence[Masks], samples: Sequence[Sample]) -> float | None:
    """Mean IoU with the true masks of the same boxes; None if the truth is unknown."""
    ious: list[float] = []
    for (rles, _), sample in zip(found, samples, strict=True):
        if sample.things is None:
            return None
        truth = [coco.encode(np.asfortranarray(t.mask.astype(np.uint8))) for t in sample.things]
        ious += _paired_iou(rles, truth).tolist()
    return float(np.mean(ious)) if ious else None


def _paired_iou(ones: list[Any], others: list[Any]) -> NDArray[np.float64]:
    """IoU (n,) of the masks with equal index; 1 if both are empty."""
    if not ones:
        return np.zeros(0)
    both_empty = (coco.area(ones) == 0) & (coco.area(others) == 0)
    ious = np.diagonal(coco.iou(ones, others, [0] * len(others)))
    return np.where(both_empty, 1.0, ious)
