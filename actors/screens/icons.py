"""Icon detectors: OmniParser's third (TorchScript, YOLOv9-E, MIT) and ultralytics checkpoints.

A TorchScript file contains code, which a forward runs. The code can call only torch's operators,
but these can read and write files. We therefore accept only local files and pinned commits
(`actors.screens.weights`).
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torchvision.ops import nms

from actors.checkpoints import digest
from actors.failures import SetupError
from actors.images.letterbox import GREY, Letterbox, stacked

_JIT: Any = torch.jit  # untyped, because it does not export all of its documented names
#: Cell sizes of the three levels, in pixels of the model's input.
_STRIDES = (8, 16, 32)

Canvas = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Found:
    """Candidates on one canvas, on the CPU.

    Attributes:
        boxes: float32 (n, 4), x0, y0, x1, y1, pixels of the canvas.
        scores: float32 (n,), 0..1.
        finite: whether the output has neither NaN nor infinity.
    """

    boxes: Tensor
    scores: Tensor
    finite: bool


class IconModel(Protocol):
    """A detector on its device."""

    provenance: dict[str, str]

    def canvas(self, image: Image.Image) -> tuple[Letterbox, Canvas]:
        """The model's input for an RGB image."""

    def __call__(self, canvases: Sequence[Canvas]) -> list[Found]:
        """Candidates on each canvas; all canvases have one size."""


def load_icons(path: Path, size: int, min_score: float, device: torch.device) -> IconModel:
    """The detector in `path`, in either format. Raises SetupError."""
    if _is_torchscript(path):
        return TorchScriptIcons(path, size, min_score, device)
    return UltralyticsIcons(path, size, min_score, device)


def _is_torchscript(path: Path) -> bool:
    """Whether `path` is TorchScript. Both formats are zip files; only TorchScript has code/."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in name for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


class TorchScriptIcons:
    """YOLOv9-E as OmniParser published it in July 2026.

    Input: float32 (n, 3, s, s), RGB, 0..1. Output for each level: class logits (n, c, h, w), and
    distances from the cell's centre to the box's left, top, right and bottom side, in cells
    (n, 4, h, w). Source: `util/yolov9.py` of microsoft/OmniParser, commit 3540212.
    """

    def __init__(self, path: Path, size: int, min_score: float, device: torch.device) -> None:
        """Raises SetupError if the file is damaged or its output has another form."""
        self._size, self._min_score, self._device = size, min_score, device
        try:
            self._model: Any = torch.jit.load(str(path), map_location=device).eval()
            self([np.full((size, size, 3), GREY, np.uint8)] * 2)
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            raise SetupError(
                f"{path} is not a TorchScript icon detector: {type(error).__name__}: "
                f"{str(error)[:500]}",
                "download icon_detect_v3/model.pt of microsoft/OmniParser-v2.0 again",
            ) from error
        self.provenance = {
            "detector": path.name,
            "detector_sha256": digest([path]),
            "detector_engine": f"TorchScript, torch {torch.__version__}",
            "detector_licence": "MIT",
        }

    def canvas(self, image: Image.Image) -> tuple[Letterbox, Canvas]:
        """A square canvas: Lanczos, sizes rounded down, centred, as in the model's training."""
        gain = min(self._size / image.width, self._size / image.height)
        width, height = (max(1, int(side * gain)) for side in image.size)
        left, top = (self._size - width) // 2, (self._size - height) // 2
        canvas = np.full((self._size, self._size, 3), GREY, np.uint8)
        small = image.resize((width, height), Image.Resampling.LANCZOS)
        canvas[top : top + height, left : left + width] = np.asarray(small)
        frame = Letterbox(
            image.height, image.width, (height, width), (self._size, self._size), (top, left)
        )
        return frame, canvas

    @torch.inference_mode()
    def __call__(self, canvases: Sequence[Canvas]) -> list[Found]:
        pixels = stacked(canvases, self._device).float().div_(255)
        # The optimiser is off, as in OmniParser, because it recompiles for every batch size.
        with _JIT.optimized_execution(False):
            outputs = list(self._model(pixels))
        if len(outputs) != 2 * len(_STRIDES):
            raise ValueError(f"the model has {len(outputs)} outputs, expected {2 * len(_STRIDES)}")
        levels = [
            _decoded(outputs[2 * i], outputs[2 * i + 1], stride)
            for i, stride in enumerate(_STRIDES)
        ]
        scores, boxes = (
            torch.cat(parts, dim=1).float().cpu() for parts in zip(*levels, strict=True)
        )
        return [_kept(*one, self._min_score) for one in zip(boxes, scores, strict=True)]


def _decoded(logits: Tensor, distances: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Best score (n, h * w) and box (n, h * w, 4) of each cell."""
    height, width = logits.shape[2:]
    scores = logits.float().sigmoid().amax(1).flatten(1)
    rows = torch.arange(height, device=logits.device) + 0.5
    columns = torch.arange(width, device=logits.device) + 0.5
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    left, top, right, bottom = distances.float().unbind(1)
    boxes = torch.stack([x - left, y - top, x + right, y + bottom], dim=-1) * stride
    return scores, boxes.flatten(1, 2)


def _kept(boxes: Tensor, scores: Tensor, min_score: float) -> Found:
    kept = scores > min_score
    finite = bool(boxes.isfinite().all() and scores.isfinite().all())
    return Found(boxes[kept], scores[kept], finite)


class UltralyticsIcons:
    """OmniParser's older detectors (AGPL-3.0), with the code of `actors.detection.yolo`."""

    def __init__(self, path: Path, size: int, min_score: float, device: torch.device) -> None:
        """Raises SetupError (see `actors.detection.closed_set.checkpoint.load_yolo`)."""
        from actors.detection.closed_set.checkpoint import load_yolo
        from actors.detection.closed_set.forward import Forward

        checkpoint = load_yolo(str(path), with_masks=False, nms_free=False)
        if size % checkpoint.stride:
            raise SetupError(
                f"image_size {size} is not a multiple of {checkpoint.stride}, the stride of {path}",
                f"set image_size: {-(-size // checkpoint.stride) * checkpoint.stride}",
            )
        self._size, self._stride = size, checkpoint.stride
        floors = torch.full((len(checkpoint.names),), min_score)
        dtype = torch.float16 if device.type == "cuda" else torch.float32
        self._forward = Forward(checkpoint, floors, device, dtype)
        self.provenance = {
            "detector": path.name,
            "detector_sha256": checkpoint.provenance["weights_sha256"],
            "detector_engine": checkpoint.provenance["engine"],
            "detector_licence": checkpoint.provenance["licence"],
        }

    def canvas(self, image: Image.Image) -> tuple[Letterbox, Canvas]:
        """A rectangle whose sides are multiples of the stride, as in ultralytics."""
        frame = Letterbox.of(image.height, image.width, self._size, self._stride)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        return frame, frame.filled(pixels)

    def __call__(self, canvases: Sequence[Canvas]) -> list[Found]:
        return [Found(one.boxes, one.scores, one.finite) for one in self._forward(canvases)]


def strongest(
    found: Found, frame: Letterbox, max_iou: float, most: int
) -> tuple[npt.NDArray[np.float32], list[float]]:
    """Boxes and scores after NMS over all classes, best first.

    Boxes are (n, 4), in pixels of the image and inside it. Boxes with a side under one pixel are
    dropped.
    """
    kept = nms(found.boxes, found.scores, max_iou)[:most]
    boxes = frame.clipped(frame.in_image(found.boxes[kept]))
    large = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(1)
    return boxes[large].numpy().astype(np.float32), found.scores[kept][large].tolist()
