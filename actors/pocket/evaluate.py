"""Evaluates the pocket checkpoints on new scenes with pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor
from torchvision.ops import batched_nms, box_convert, box_iou
from transformers import (
    GroundingDinoProcessor,
    MMGroundingDinoForObjectDetection,
    Sam2Model,
    Sam2Processor,
)
from transformers.models.mm_grounding_dino.modeling_mm_grounding_dino import build_label_maps

from .prompts import sentence
from .scenes import Scene, coco_truth, scene
from .words import ALL_KINDS, SEEN_KINDS, UNSEEN_KINDS, Kind

#: No training run uses this seed.
FRESH_SEED = 2026
#: Width and height of the new scenes, in turn; all are larger than the models' inputs.
FRAMES = ((320, 320), (320, 240), (240, 320), (400, 300))
#: Phrases per prompt; the 60 kinds take three forward passes.
PHRASES = 20
#: Score thresholds for precision and recall; the first is also the threshold of a found object.
SCORE_FLOORS, LOW_FLOOR, NMS_IOU = (0.3, 0.4, 0.5), 0.02, 0.7


class Detections:
    """Detections of one image: boxes (n, 4) xyxy px, scores (n,), kinds (n,) as indices."""

    def __init__(self, boxes: Tensor, scores: Tensor, kinds: Tensor) -> None:
        keep = scores >= LOW_FLOOR
        boxes, scores, kinds = boxes[keep], scores[keep], kinds[keep]
        chosen = batched_nms(boxes, scores, kinds, NMS_IOU)
        self.boxes, self.scores, self.kinds = boxes[chosen], scores[chosen], kinds[chosen]


class Detector:
    """The stored detector; a class's score is the mean over the tokens of its phrase."""

    def __init__(self, folder: Path) -> None:
        self.model = MMGroundingDinoForObjectDetection.from_pretrained(folder).eval()
        self.processor = GroundingDinoProcessor.from_pretrained(folder)

    @torch.inference_mode()
    def ask(self, pixels: NDArray[np.uint8], phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Boxes (n_queries, 4) xyxy px and the score (n_queries, n_phrases) of each phrase."""
        inputs = self.processor(
            images=Image.fromarray(pixels), text=sentence(phrases), return_tensors="pt"
        )
        out = self.model(**inputs)
        maps = build_label_maps(out.logits, inputs["input_ids"])[0].float()
        scores = out.logits[0].sigmoid() @ (maps / maps.sum(1, keepdim=True)).T
        height, width = pixels.shape[:2]
        boxes = box_convert(out.pred_boxes[0], "cxcywh", "xyxy")
        return boxes * torch.tensor([width, height, width, height]), scores

    def find(self, pixels: NDArray[np.uint8], kinds: Sequence[Kind]) -> Detections:
        """Detections of all kinds, with as many prompts as needed."""
        boxes, scores, labels = [], [], []
        for start in range(0, len(kinds), PHRASES):
            part = [kind.phrase for kind in kinds[start : start + PHRASES]]
            found, chances = self.ask(pixels, part)
            boxes.append(found.repeat_interleave(len(part), dim=0))
            scores.append(chances.flatten())
            labels.append(torch.arange(start, start + len(part)).repeat(len(found)))
        return Detections(torch.cat(boxes), torch.cat(scores), torch.cat(labels))


class Segmenter:
    """The stored segmenter."""

    def __init__(self, folder: Path) -> None:
        self.model = Sam2Model.from_pretrained(folder).eval()
        self.processor = Sam2Processor.from_pretrained(folder)

    @torch.inference_mode()
    def masks(self, pixels: NDArray[np.uint8], boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Masks bool (n, height, width) for boxes (n, 4) xyxy px, and the predicted IoU (n,)."""
        inputs = self.processor(
            images=Image.fromarray(pixels), input_boxes=[boxes.tolist()], return_tensors="pt"
        )
        out = self.model(**inputs, multimask_output=False)
        masks = self.processor.post_process_masks(out.pred_masks, inputs["original_sizes"])
        return masks[0][:, 0], out.iou_scores[0, :, 0]


def fresh_scenes(count: int, kinds: Sequence[Kind] = ALL_KINDS) -> list[Scene]:
    """Scenes that are not in the training data."""
    return [scene(FRESH_SEED, n, *FRAMES[n % len(FRAMES)], kinds) for n in range(count)]


def average_precision(
    scenes: Sequence[Scene], found: Sequence[Detections], kinds: Sequence[Kind]
) -> dict[Kind, float]:
    """AP at IoU 0.5 of each kind in the scenes, from COCOeval."""
    truth = COCO()
    truth.dataset = coco_truth(scenes, kinds)
    rows: list[dict[str, Any]] = []
    for image_id, item in enumerate(found, 1):
        corners = box_convert(item.boxes, "xyxy", "xywh").tolist()
        for box, score, kind in zip(corners, item.scores, item.kinds, strict=True):
            row = {"image_id": image_id, "category_id": int(kind) + 1}
            rows.append(row | {"bbox": box, "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(rows), "bbox")
        judge.params.iouThrs = np.array([0.5])
        judge.evaluate()
        judge.accumulate()
    curves = judge.eval["precision"][0, :, :, 0, -1]  # (recalls, kinds), -1: does not occur
    return {
        kind: float(curves[:, number].mean())
        for number, kind in enumerate(kinds)
        if curves[0, number] >= 0
    }


def precision_recall(
    scenes: Sequence[Scene], found: Sequence[Detections], kinds: Sequence[Kind], floor: float
) -> dict[str, float]:
    """Precision and recall at a score threshold and IoU 0.5, over all kinds together."""
    right = claimed = there = 0
    for item, detected in zip(scenes, found, strict=True):
        sure = detected.scores >= floor
        claimed += int(sure.sum())
        there += len(item.things)
        pairs = matches(item, detected, kinds, floor)
        right += len({detection for detection in pairs if detection is not None})
    return {
        f"precision at {floor}": right / max(1, claimed),
        f"recall at {floor}": right / max(1, there),
    }


def matches(
    item: Scene, found: Detections, kinds: Sequence[Kind], floor: float = SCORE_FLOORS[0]
) -> list[int | None]:
    """For each object the index of its best unmatched detection of the same kind, or None."""
    taken: set[int] = set()
    answer: list[int | None] = []
    for thing in item.things:
        wanted = (found.kinds == kinds.index(thing.kind)) & (found.scores >= floor)
        ious = box_iou(torch.from_numpy(thing.box)[None], found.boxes)[0] * wanted
        ious[list(taken)] = 0
        best = int(ious.argmax()) if len(ious) else -1
        good = best >= 0 and float(ious[best]) >= 0.5
        answer.append(best if good else None)
        taken |= {best} if good else set()
    return answer


def mask_ious(
    segmenter: Segmenter,
    scenes: Sequence[Scene],
    found: Sequence[Detections],
    kinds: Sequence[Kind],
) -> dict[str, float]:
    """Mean mask IoU with the true boxes, and with the boxes of the matched detections."""
    by_truth: list[float] = []
    by_detection: list[float] = []
    guess_errors: list[float] = []
    for item, detected in zip(scenes, found, strict=True):
        if not item.things:
            continue
        truth = torch.from_numpy(np.stack([thing.mask for thing in item.things]))
        boxes = torch.from_numpy(np.stack([thing.box for thing in item.things]))
        masks, guesses = segmenter.masks(item.pixels, boxes)
        ious = _iou(masks, truth)
        by_truth += ious.tolist()
        guess_errors += (guesses - ious).abs().tolist()
        pairs = [(n, d) for n, d in enumerate(matches(item, detected, kinds)) if d is not None]
        if pairs:
            chosen = detected.boxes[[d for _, d in pairs]]
            masks, _ = segmenter.masks(item.pixels, chosen)
            by_detection += _iou(masks, truth[[n for n, _ in pairs]]).tolist()
    return {
        "mask IoU, true boxes": float(np.mean(by_truth)),
        "mask IoU, detected boxes": float(np.mean(by_detection)) if by_detection else 0.0,
        "error of the predicted IoU": float(np.mean(guess_errors)),
    }


def _iou(masks: Tensor, truth: Tensor) -> Tensor:
    return (masks & truth).sum((1, 2)) / (masks | truth).sum((1, 2)).clamp(min=1)


def words_ap(detector: Detector, scenes: Sequence[Scene]) -> dict[str, float]:
    """Mean AP at IoU 0.5 of single words: a prompt of ten shapes, and one of six colours."""
    report = {}
    for name, axis in (("shapes", 1), ("colours", 0)):
        words = list(dict.fromkeys(kind[axis] for kind in ALL_KINDS))
        kinds = [Kind(None, w) if axis else Kind(w, None) for w in words]
        plain = [_reduced(item, axis) for item in scenes]
        found = [detector.find(item.pixels, kinds) for item in plain]
        report[f"AP50, {name} alone"] = _mean(average_precision(plain, found, kinds).values())
    return report


def _reduced(item: Scene, axis: int) -> Scene:
    things = tuple(
        type(thing)(
            Kind(None, thing.kind.shape) if axis else Kind(thing.kind.colour, None),
            thing.mask,
            thing.box,
        )
        for thing in item.things
    )
    return Scene(item.pixels, things)


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


def evaluate(detector: Path, segmenter: Path | None, count: int) -> dict[str, float]:
    """All metrics on `count` new scenes, with separate values for pairs held out of training."""
    scenes = fresh_scenes(count)
    finder = Detector(detector)
    found = [finder.find(item.pixels, ALL_KINDS) for item in scenes]
    each = average_precision(scenes, found, ALL_KINDS)
    report = {
        "scenes": float(count),
        "objects": float(sum(len(item.things) for item in scenes)),
        "AP50, seen pairs": _mean(each[kind] for kind in SEEN_KINDS if kind in each),
        "AP50, unseen pairs": _mean(each[kind] for kind in UNSEEN_KINDS if kind in each),
    }
    for floor in SCORE_FLOORS:
        report |= precision_recall(scenes, found, ALL_KINDS, floor)
    report |= words_ap(finder, scenes)
    if segmenter is not None:
        report |= mask_ious(Segmenter(segmenter), scenes, found, ALL_KINDS)
    return report
