"""Contestants for boxes and masks with SAM 3."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from transformers import Sam3Model, Sam3Processor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from actors.segmentation.sam3 import Sam3
from actors.segmentation.settings import Sam3Config
from parts.gpu.meter import Contestant, Prepare
from parts.gpu.parity import Agreement, Found, dense, full_float32
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


def contestants(task: Task, batches: Sequence[int]) -> list[Contestant]:
    """Most important first. `batches`: rows per call of the actor, images per forward."""
    library = cache(lambda: Library(task, torch.bfloat16))
    return line_up(
        lambda batch: _ours(task, batch),
        lambda: _prompt_by_prompt(task),
        lambda: _embedded_once(task, library()),
        lambda batch: _floor(task, library(), batch),
        batches,
    )


class Library:
    """The checkpoint in transformers."""

    def __init__(self, task: Task, dtype: torch.dtype) -> None:
        loaded: Any = Sam3Model.from_pretrained(task.model, dtype=dtype)
        self.model = loaded.to(task.device).eval()
        self.processor: Any = Sam3Processor.from_pretrained(task.model)
        self.task, self.dtype = task, dtype

    def inputs(self, **given: Any) -> dict[str, Any]:
        """What the processor makes of images, texts or both, on the device."""
        found = moved(self.processor(**given, return_tensors="pt"), self.task.device, self.dtype)
        found.pop("original_sizes", None)
        return found

    @torch.inference_mode()
    def ask(self, image: Any, name: str) -> Any:
        """The model's output for one image and one prompt."""
        return self.model(**self.inputs(images=image, text=name))

    def answer(self, out: Any, image: Any) -> dict[str, Any]:
        """Scores, boxes and masks of one image's output, in the size of the image."""
        (found,) = self.processor.post_process_instance_segmentation(
            out, threshold=self.task.threshold, target_sizes=[(image.height, image.width)]
        )
        return {name: value.cpu() for name, value in found.items()}


def with_threshold(task: Task, picture: bytes, objects: int) -> Task:
    """The task with a score that `objects` candidates of a picture reach."""
    library, image = Library(task, torch.float32), opened(picture)
    outs = [library.ask(image, name) for name in task.names]
    scores = torch.cat([out.pred_logits.sigmoid() * out.presence_logits.sigmoid() for out in outs])
    return task.passed_by(scores.flatten(), objects)


def parity(task: Task, pictures: Sequence[bytes]) -> dict[str, Any]:
    """Ours in one call, the library prompt by prompt, in float32, neither with NMS."""
    with full_float32():
        rows = _actor(task, "float32", len(pictures), nms_iou=1.0)(images_only(pictures))
        _check(rows)
        library, agreement = Library(task, torch.float32), Agreement(task.threshold)
        columns = (rows["boxes"].to_pylist(), rows["masks"].to_pylist(), pictures)
        for found, masks, data in zip(*columns, strict=True):
            ours = [
                Found(one["class"], one["score"], one["box"], dense(mask))
                for one, mask in zip(found, masks, strict=True)
            ]
            agreement.add(ours, _theirs(library, opened(data)))
    return agreement.report()


def _theirs(library: Library, image: Any) -> list[Found]:
    """Boxes as our actor writes them: inside the image, none without area."""
    edges = np.array([image.width, image.height] * 2)
    found = []
    for name in library.task.names:
        seen = library.answer(library.ask(image, name), image)
        parts = (seen["scores"].tolist(), seen["boxes"].numpy(), seen["masks"].numpy())
        for score, box, mask in zip(*parts, strict=True):
            inside = np.clip(box, 0, edges)
            if (inside[2:] > inside[:2]).all():
                found.append(Found(name, score, inside.tolist(), mask.astype(bool)))
    return found


def _actor(task: Task, dtype: str, batch: int, nms_iou: float = 0.7) -> Sam3:
    given = task.settings(dtype) | {"images_at_once": batch, "ontology": task.ontology()}
    return Sam3(Sam3Config.model_validate(given | {"nms_iou": nms_iou}))


def _check(rows: pa.Table) -> None:
    failed_rows(rows["detect_failure"])
    failed_rows(rows["segment_failure"])


def _ours(task: Task, batch: int) -> Prepare:
    actor = _actor(task, "bfloat16", batch)
    return in_batches(images_only, lambda rows: _check(actor(rows)), batch)


def _prompt_by_prompt(task: Task) -> Prepare:
    """The image goes through the encoder once per prompt, as in the library's example."""
    library = Library(task, torch.float32)

    def one(data: bytes) -> Any:
        image = opened(data)
        return [library.answer(library.ask(image, name), image) for name in task.names]

    return lambda images: lambda: [one(data) for data in images]


def _embedded_once(task: Task, library: Library) -> Prepare:
    """The image goes through the encoder once."""

    @torch.inference_mode()
    def one(data: bytes) -> Any:
        image = opened(data)
        vision = library.model.get_vision_features(**library.inputs(images=image))
        texts = (library.inputs(text=name) for name in task.names)
        outs = (library.model(vision_embeds=vision, **text) for text in texts)
        return [library.answer(out, image) for out in outs]

    return lambda images: lambda: [one(data) for data in images]


def _floor(task: Task, library: Library, batch: int) -> Prepare:
    """Image encoder once per image; the rest once per image and prompt, with all its masks."""
    model = library.model
    texts = [_text(library, name, batch) for name in task.names]

    def forward(inputs: dict[str, Any]) -> None:
        vision = model.get_vision_features(**inputs)
        for text in texts:
            model(vision_embeds=vision, **text)

    return bare(
        lambda images: library.inputs(images=[opened(data) for data in images]), forward, batch
    )


@torch.inference_mode()
def _text(library: Library, name: str, batch: int) -> dict[str, Any]:
    """One encoded prompt for a batch of images."""
    inputs = library.inputs(text=name)
    features = library.model.get_text_features(**inputs).pooler_output
    text = BaseModelOutputWithPooling(pooler_output=features.expand(batch, -1, -1))
    return {"text_embeds": text, "attention_mask": inputs["attention_mask"].expand(batch, -1)}
