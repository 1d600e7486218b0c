"""Contestants for masks of given boxes with SAM 2."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from transformers import Sam2Model, Sam2Processor

from actors.instances import BOXES
from actors.segmentation.sam2 import Sam2
from actors.segmentation.settings import Sam2Config
from parts.gpu.meter import Contestant, Prepare
from parts.gpu.parity import Agreement, dense, full_float32
from parts.gpu.pictures import boxes
from parts.gpu.task import Task, bare, failed_rows, in_batches, line_up, moved, opened

#: Boxes of each image.
OBJECTS = 8


def contestants(task: Task, batches: Sequence[int]) -> list[Contestant]:
    """Most important first. `batches`: rows per call of the actor, images per forward."""
    library = cache(lambda: Library(task, torch.bfloat16))
    return line_up(
        lambda batch: _ours(task, batch),
        lambda: _one_by_one(Library(task, torch.float32)),
        lambda: _one_by_one(library()),
        lambda batch: bare(library().inputs, library().forward, batch),
        batches,
    )


class Library:
    """The checkpoint in transformers."""

    def __init__(self, task: Task, dtype: torch.dtype) -> None:
        loaded: Any = Sam2Model.from_pretrained(task.model, dtype=dtype)
        self.model = loaded.to(task.device).eval()
        self.processor: Any = Sam2Processor.from_pretrained(task.model)
        self.task, self.dtype = task, dtype

    def inputs(self, images: Sequence[bytes]) -> dict[str, Any]:
        """Images and their boxes on the device."""
        opens = [opened(data) for data in images]
        corners = [boxes(one.width, one.height, OBJECTS) for one in opens]
        given = self.processor(images=opens, input_boxes=corners, return_tensors="pt")
        return moved(given, self.task.device, self.dtype)

    @torch.inference_mode()
    def forward(self, inputs: dict[str, Any]) -> Any:
        given = {name: inputs[name] for name in ("pixel_values", "input_boxes")}
        return self.model(**given, multimask_output=False)

    def masks(self, data: bytes) -> Any:
        """bool (n, height, width) of one image, on the CPU."""
        inputs = self.inputs([data])
        raw = self.forward(inputs).pred_masks
        (found,) = self.processor.post_process_masks(raw, inputs["original_sizes"])
        return found[:, 0].cpu()


def parity(task: Task, pictures: Sequence[bytes]) -> dict[str, Any]:
    """Ours in one call, the library image by image, in float32."""
    with full_float32():
        rows = _actor(task, "float32", len(pictures))(_table(pictures))
        failed_rows(rows["segment_failure"])
        library, agreement = Library(task, torch.float32), Agreement()
        for row, data in zip(rows["masks"].to_pylist(), pictures, strict=True):
            for ours, theirs in zip(row, library.masks(data).numpy(), strict=True):
                agreement.add_masks(dense(ours), np.asarray(theirs, dtype=bool))
    return agreement.report()


def _actor(task: Task, dtype: str, batch: int) -> Sam2:
    given = task.settings(dtype) | {"images_at_once": batch}
    return Sam2(Sam2Config.model_validate(given))


def _table(images: Sequence[bytes]) -> pa.Table:
    sizes = [Image.open(io.BytesIO(data)).size for data in images]
    found = [[{"box": one} for one in boxes(*size, OBJECTS)] for size in sizes]
    return pa.table({"image": pa.array(images, pa.binary()), "boxes": pa.array(found, BOXES)})


def _ours(task: Task, batch: int) -> Prepare:
    actor = _actor(task, "bfloat16", batch)
    return in_batches(_table, lambda rows: failed_rows(actor(rows)["segment_failure"]), batch)


def _one_by_one(library: Library) -> Prepare:
    return lambda images: lambda: [library.masks(data) for data in images]
