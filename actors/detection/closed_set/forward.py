"""Runs the model on a batch of letterboxed images and returns candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.ops import box_convert

from actors.detection.closed_set.checkpoint import Checkpoint
from actors.images.letterbox import stacked


@dataclass(frozen=True)
class ModelOutput:
    """The model's output for one image.

    Attributes:
        boxes: float32 (n, 4), x0, y0, x1, y1, pixels of the model's input, on the CPU.
        scores: float32 (n,), 0..1, on the CPU.
        classes: int64 (n,), on the CPU.
        coefficients: float32 (n, k), mask coefficients, on the device; k is 0 without masks.
        prototypes: float32 (k, h, w), mask prototypes, on the device; None without masks.
        finite: whether scores, boxes and coefficients have neither NaN nor infinity.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor
    coefficients: Tensor
    prototypes: Tensor | None
    finite: bool


class Forward:
    """A model on its device."""

    def __init__(
        self, checkpoint: Checkpoint, floors: Tensor, device: torch.device, dtype: torch.dtype
    ) -> None:
        """
        Args:
            checkpoint: its model is moved to `device`.
            floors: float32 (classes,), minimum score of a candidate; inf: class not wanted.
            device: the device to run on.
            dtype: dtype of backbone and neck. The head stays float32, because half precision has
                steps of 0.5 px for coordinates from 512 px on.
        """
        self._nms_free, self._classes = checkpoint.nms_free, len(checkpoint.names)
        self._device, self._dtype = device, dtype
        self._floors = floors.to(device)
        # Channels last on CPUs, as in the library: a forward of yolo11n at 640 x 384 takes 41
        # instead of 46 ms (one thread). Not measured on cuda.
        on_cpu = device.type == "cpu"
        self._layout = torch.channels_last if on_cpu else torch.contiguous_format
        self._model = checkpoint.model.to(device, dtype, memory_format=self._layout)
        checkpoint.head.float().register_forward_pre_hook(_in_float)

    @torch.inference_mode()
    def __call__(self, canvases: Sequence[npt.NDArray[np.uint8]]) -> list[ModelOutput]:
        """Candidates of each image, in the model's order.

        Args:
            canvases: uint8 (height, width, 3), RGB, all of one size.

        Raises:
            torch.OutOfMemoryError: the batch does not fit on the device.
        """
        pixels = stacked(canvases, self._device).contiguous(memory_format=self._layout)
        answer = self._model(pixels.float().div_(255).to(self._dtype))[0]
        out, prototypes = answer if isinstance(answer, tuple) else (answer, None)
        finite = out.flatten(1).isfinite().all(1).tolist()
        planes = [None] * len(out) if prototypes is None else list(prototypes)
        return [self._answer(*one) for one in zip(out, planes, finite, strict=True)]

    def _answer(self, out: Tensor, prototypes: Tensor | None, finite: bool) -> ModelOutput:
        if self._nms_free:
            boxes, scores, classes = out[:, :4], out[:, 4], out[:, 5].long()
            coefficients = out[:, 6:]
        else:
            rows, end = out.T, 4 + self._classes
            scores, classes = rows[:, 4:end].max(1)  # only the best class of each anchor
            boxes, coefficients = rows[:, :4], rows[:, end:]
        wanted = (scores >= self._floors[classes]).nonzero()[:, 0]
        boxes = boxes[wanted] if self._nms_free else box_convert(boxes[wanted], "cxcywh", "xyxy")
        return ModelOutput(
            boxes.cpu(),
            scores[wanted].cpu(),
            classes[wanted].cpu(),
            coefficients[wanted],
            prototypes,
            finite,
        )


def _in_float(_: Any, inputs: tuple[list[Tensor]]) -> tuple[list[Tensor]]:
    return ([features.float() for features in inputs[0]],)
