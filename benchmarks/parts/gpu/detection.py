"""Contestants for boxes with Grounding DINO."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor, pipeline

from actors.detection.grounding.settings import GroundingDinoConfig
from actors.detection.grounding_dino import GroundingDino
from parts.gpu.meter import Contestant, Prepare
from parts.gpu.parity import Agreement, Found, full_float32
from parts.gpu.task import (
    Task,
    bare,
    failed_rows,
    images_only,
    in_batches,
    line_up,
    moved,
    opened,
)
from parts.labelling.judge import NMS_IOU, Boxes, by_our_rule

NVJPEG = "nightjar with nvjpeg: true"


def contestants(task: Task, batches: Sequence[int]) -> list[Contestant]:
    """Most important first. `batches`: rows per call of the actor, images per forward."""
    actor = cache(lambda: _actor(task, "bfloat16"))
    library = cache(lambda: Library(task, torch.bfloat16))
    on_gpu = Contestant(
        NVJPEG, batches[0], "bfloat16", lambda: _ours(_actor(task, "bfloat16", True), batches[0])
    )
    return [
        *line_up(
            lambda batch: _ours(actor(), batch),
            lambda: _pipeline(task),
            lambda: _one_prompt(task, library()),
            lambda batch: _floor(library(), batch),
            batches,
        ),
        *([on_gpu] if task.device == "cuda" else []),
    ]


class Library:
    """The checkpoint in transformers."""

    def __init__(self, task: Task, dtype: torch.dtype) -> None:
        loaded: Any = AutoModelForZeroShotObjectDetection.from_pretrained(task.model, dtype=dtype)
        self.model = loaded.to(task.device).eval()
        self.processor: Any = AutoProcessor.from_pretrained(task.model)
        self.task, self.dtype = task, dtype

    def inputs(self, images: list[Any]) -> dict[str, Any]:
        """Images and one prompt with all classes, on the device."""
        text = [[*self.task.names]] * len(images)
        given = self.processor(images=images, text=text, return_tensors="pt")
        return moved(given, self.task.device, self.dtype)

    @torch.inference_mode()
    def raw(self, data: bytes, floor: float) -> Boxes:
        """Boxes by our rule from the library's output for one image."""
        image = opened(data)
        inputs = self.inputs([image])
        out = self.model(**inputs)
        parts = (out.logits[0], out.pred_boxes[0], inputs["input_ids"][0])
        return by_our_rule(*parts, image.size, floor)


def with_threshold(task: Task, picture: bytes, objects: int) -> Task:
    """The task with a score that `objects` boxes of a picture reach, after NMS."""
    return task.passed_by(Library(task, torch.float32).raw(picture, 0.0).scores, objects)


def parity(task: Task, pictures: Sequence[bytes]) -> dict[str, Any]:
    """Ours in one call, the library image by image, in float32, with the same rules."""
    with full_float32():
        rows = _actor(task, "float32")(images_only(pictures))
        failed_rows(rows["detect_failure"])
        library, agreement = Library(task, torch.float32), Agreement(task.threshold)
        for row, data in zip(rows["boxes"].to_pylist(), pictures, strict=True):
            seen = library.raw(data, task.threshold)
            theirs = zip(seen.names, seen.scores.tolist(), seen.corners.tolist(), strict=True)
            ours = [Found(one["class"], one["score"], one["box"]) for one in row]
            agreement.add(ours, [Found(*one) for one in theirs])
    return agreement.report()


def _actor(task: Task, dtype: str, nvjpeg: bool = False) -> GroundingDino:
    given = task.settings(dtype) | {"ontology": task.ontology(), "nms_iou": NMS_IOU}
    given |= {"nvjpeg": nvjpeg}
    return GroundingDino(GroundingDinoConfig.model_validate(given))


def _ours(actor: GroundingDino, batch: int) -> Prepare:
    return in_batches(images_only, lambda rows: failed_rows(actor(rows)["detect_failure"]), batch)


def _pipeline(task: Task) -> Prepare:
    kind: Any = "zero-shot-object-detection"
    ask: Any = pipeline(kind, model=task.model, device=task.device, dtype=torch.float32)
    labels = [*task.names]
    return lambda images: (
        lambda: [
            ask(opened(data), candidate_labels=labels, threshold=task.threshold) for data in images
        ]
    )


def _one_prompt(task: Task, library: Library) -> Prepare:
    @torch.inference_mode()
    def one(data: bytes) -> Any:
        image = opened(data)
        inputs = library.inputs([image])
        return library.processor.post_process_grounded_object_detection(
            library.model(**inputs),
            threshold=task.threshold,
            text_threshold=task.threshold,
            target_sizes=[(image.height, image.width)],
        )

    return lambda images: lambda: [one(data) for data in images]


def _floor(library: Library, batch: int) -> Prepare:
    return bare(
        lambda images: library.inputs([opened(data) for data in images]),
        lambda inputs: library.model(**inputs),
        batch,
    )
