"""Contestants for boxes: the library as users call it, ours, and the bare model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from transformers import AutoProcessor, pipeline

from actors.detection.grounding.settings import GroundingDinoConfig
from actors.detection.grounding_dino import GroundingDino
from actors.images.encoded import EncodedImage
from parts.labelling.judge import (
    NMS_IOU,
    Boxes,
    Contestant,
    Sample,
    by_our_rule,
    f1,
    opened,
    parity,
)

PIPELINE = "transformers pipeline, one forward per label"
PER_CLASS = "library, one forward per class"
LIBRARY = "library, all classes in one prompt"
OURS = "nightjar's GroundingDino"
FLOOR = "floor: bare forwards, prepared inputs"
LIBRARY_FLOOR = "the library's bare forwards, prepared inputs"

#: Boxes per image for the segmenters: a model with random weights finds hundreds.
MOST_BOXES = 8


@dataclass(frozen=True)
class Task:
    """Model, classes and settings. `names`: one per class; `floor`: lowest score."""

    model: str
    names: tuple[str, ...]
    floor: float
    batch: int
    device: str
    dtype: str


class Library:
    """The checkpoint in transformers, loaded once for all contestants of the library."""

    def __init__(self, model: str, device: str) -> None:
        task: Any = "zero-shot-object-detection"
        self.pipeline: Any = pipeline(task, model=model, device=device, dtype=torch.float32)
        self.model = self.pipeline.model
        self.processor: Any = AutoProcessor.from_pretrained(model)

    @torch.inference_mode()
    def ask(self, image: Any, text: Any, floor: float) -> tuple[dict[str, Any], Any]:
        """The library's answer for one image and one text, and the model's raw output."""
        inputs = self.processor(images=image, text=text, return_tensors="pt").to(self.model.device)
        out = self.model(**inputs)
        (answer,) = self.processor.post_process_grounded_object_detection(
            out, threshold=floor, text_threshold=floor, target_sizes=[(image.height, image.width)]
        )
        return answer, out


def actor_for(task: Task) -> GroundingDino:
    """Our actor with the task's settings."""
    ontology = {"classes": dict.fromkeys(task.names), "threshold": task.floor}
    given = {"model": task.model, "device": task.device, "dtype": task.dtype}
    return GroundingDino(
        GroundingDinoConfig.model_validate(given | {"ontology": ontology, "nms_iou": NMS_IOU})
    )


def boxes_of(task: Task, samples: Sequence[Sample]) -> list[list[list[float]]]:
    """Boxes to segment per image: the true boxes, else our best boxes."""
    truth = [s.things for s in samples]
    if None not in truth:
        return [[thing.box.tolist() for thing in things or ()] for things in truth]
    images = pa.table({"image": pa.array([s.data for s in samples], pa.binary())})
    found = actor_for(task)(images)["boxes"].to_pylist()
    return [[one["box"] for one in each or ()][:MOST_BOXES] for each in found]


def contestants(library: Library, task: Task) -> list[Contestant]:
    """All six. The library comes first, because the parity of the others refers to its answers."""
    actor = actor_for(task)
    reference: list[Boxes] = []
    return [
        _all_at_once(library, task, reference),
        _pipeline(library, task),
        _per_class(library, task),
        _ours(actor, task, reference),
        floor(FLOOR, actor, task, reference),
        floor(LIBRARY_FLOOR, actor, task, reference, library.model),
    ]


def _pipeline(library: Library, task: Task) -> Contestant:
    def prepare(samples: Sequence[Sample]) -> Callable[[], Any]:
        return lambda: [
            library.pipeline(
                opened(sample.data), candidate_labels=[*task.names], threshold=task.floor
            )
            for sample in samples
        ]

    def judge(answers: Any, samples: Sequence[Sample]) -> dict[str, float | None]:
        found = [
            Boxes.of(
                [one["label"] for one in each],
                [one["score"] for one in each],
                [[one["box"][k] for k in ("xmin", "ymin", "xmax", "ymax")] for one in each],
            )
            for each in answers
        ]
        return {"f1": f1(found, samples, task.names)}

    return Contestant(PIPELINE, prepare, judge)


def _per_class(library: Library, task: Task) -> Contestant:
    def one(data: bytes) -> list[tuple[str, dict[str, Any]]]:
        image = opened(data)
        return [(name, library.ask(image, f"{name}.", task.floor)[0]) for name in task.names]

    def judge(answers: Any, samples: Sequence[Sample]) -> dict[str, float | None]:
        found = [
            Boxes.of(
                [name for name, answer in each for _ in answer["scores"]],
                torch.cat([answer["scores"] for _, answer in each]),
                torch.cat([answer["boxes"] for _, answer in each]),
            )
            for each in answers
        ]
        return {"f1": f1(found, samples, task.names)}

    return Contestant(PER_CLASS, lambda samples: lambda: [one(s.data) for s in samples], judge)


def _all_at_once(library: Library, task: Task, reference: list[Boxes]) -> Contestant:
    def one(data: bytes) -> tuple[tuple[int, int], dict[str, Any], Any]:
        image = opened(data)
        return image.size, *library.ask(image, [[*task.names]], task.floor)

    def judge(answers: Any, samples: Sequence[Sample]) -> dict[str, float | None]:
        reference[:] = [
            by_our_rule(out.logits[0], out.pred_boxes[0], out.input_ids[0], size, task.floor)
            for size, _, out in answers
        ]
        # Without boxes the library returns one empty label.
        found = [
            Boxes.of(a["text_labels"][: len(a["scores"])], a["scores"], a["boxes"])
            for _, a, _ in answers
        ]
        return {"f1": f1(found, samples, task.names)}

    return Contestant(LIBRARY, lambda samples: lambda: [one(s.data) for s in samples], judge)


def _ours(actor: GroundingDino, task: Task, reference: list[Boxes]) -> Contestant:
    def prepare(samples: Sequence[Sample]) -> Callable[[], Any]:
        images = pa.table({"image": pa.array([s.data for s in samples], pa.binary())})
        tables = [images.slice(i, task.batch) for i in range(0, len(samples), task.batch)]
        return lambda: [actor(rows)["boxes"] for rows in tables]

    def judge(answers: Any, samples: Sequence[Sample]) -> dict[str, float | None]:
        rows = [row for column in answers for row in column.to_pylist()]
        found = [
            Boxes.of(
                [one["class"] for one in row],
                [one["score"] for one in row],
                [one["box"] for one in row],
            )
            for row in rows
        ]
        return {"f1": f1(found, samples, task.names), "parity": parity(found, reference)}

    return Contestant(OURS, prepare, judge, actor.seconds)


def floor(
    name: str, actor: GroundingDino, task: Task, reference: list[Boxes], model: Any = None
) -> Contestant:
    """The model alone on the actor's inputs, grouped by image size across tables.

    `model`: default the actor's. The library's model encodes the prompt in every forward pass and
    uses its own attention (ours: `actors.detection.grounding.deformable`).
    """
    detector = actor._detector
    forward = detector._forward
    model = model or forward._loaded.model
    ((input_ids, _, _),) = forward._texts  # 20 names are one chunk

    def prepare(samples: Sequence[Sample]) -> Callable[[], Any]:
        pictures = {row: EncodedImage(sample.data) for row, sample in enumerate(samples)}
        batches: Any = []
        for group in detector._groups(pictures):
            rows = [(view.row, pictures[view.row]) for view in group]
            crops: Any = detector._cropped(group, pictures)
            batches.append((rows, *forward._inputs(crops)))

        @torch.inference_mode()
        def run() -> Any:
            with torch.autocast(task.device, forward._dtype, forward._dtype != torch.float32):
                outs = [
                    model(
                        pixel_values=pixels,
                        pixel_mask=mask,
                        input_ids=input_ids.expand(len(pixels), -1),
                    )
                    for _, pixels, mask in batches
                ]
            return [(rows, out) for (rows, *_), out in zip(batches, outs, strict=True)]

        return run

    def judge(answers: Any, samples: Sequence[Sample]) -> dict[str, float | None]:
        found = {
            row: by_our_rule(
                out.logits[i],
                out.pred_boxes[i],
                input_ids[0],
                (picture.width, picture.height),
                task.floor,
            )
            for rows, out in answers
            for i, (row, picture) in enumerate(rows)
        }
        return {"parity": parity([found[row] for row in sorted(found)], reference)}

    return Contestant(name, prepare, judge)
