"""Icon detectors: OmniParser's third (TorchScript, YOLOv9-E, MIT) and ultralytics checkpoints.

A TorchScript file is a program: `torch.jit.load` brings back its code and a forward runs it. It is
confined to torch's own operators, but those can read and write files. So it is treated as weights
are: a local file that somebody has chosen, or a pinned commit (`actors.screens.weights`).
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

_JIT: Any = torch.jit  # it does not export by name all that it documents
#: Cells of the three levels, pixels of the model's input.
_STRIDES = (8, 16, 32)

Canvas = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Found:
    """Candidates on one canvas, on the CPU. `boxes`: float32 (n, 4), x0, y0, x1, y1, pixels of the
    canvas; `scores`: float32 (n,), 0..1. `finite`: whether the model answered numbers."""

    boxes: Tensor
    scores: Tensor
    finite: bool


class IconModel(Protocol):
    """A detector on its device."""

    provenance: dict[str, str]

    def canvas(self, image: Image.Image) -> tuple[Letterbox, Canvas]:
        """The model's input of an RGB image."""

    def __call__(self, canvases: Sequence[Canvas]) -> list[Found]:
        """Candidates on each of several canvases of one size."""


def load_icons(path: Path, size: int, min_score: float, device: torch.device) -> IconModel:
    """The detector in `path`, whichever of the two formats it has. Raises SetupError."""
    if _is_torchscript(path):
        return TorchScriptIcons(path, size, min_score, device)
    return UltralyticsIcons(path, size, min_score, device)


def _is_torchscript(path: Path) -> bool:
    """Both are zip files; only a TorchScript archive has a folder of code."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in name for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


class TorchScriptIcons:
    """YOLOv9-E as OmniParser published it in July 2026.

    Its input: float32 (n, 3, s, s), RGB, 0..1. Its output: for each level the logits of the classes
    (n, c, h, w) and the distances of the box's sides from the cell's centre, in cells (n, 4, h, w):
    left, top, right, bottom (`util/yolov9.py` of microsoft/OmniParser, commit 3540212).
    """

    def __init__(self, path: Path, size: int, min_score: float, device: torch.device) -> None:
        """Raises SetupError: damaged, or answers something else."""
        self._size, self._min_score, self._device = size, min_score, device
        try:
            self._model: Any = torch.jit.load(str(path), map_location=device).eval()
            self([np.full((size, size, 3), GREY, np.uint8)] * 2)
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            raise SetupError(
                f"{path} is no icon detector in TorchScript: {type(error).__name__}: "
                f"{str(error)[:500]}",
                "fetch icon_detect_v3/model.pt of microsoft/OmniParser-v2.0 anew",
            ) from error
        self.provenance = {
            "detector": path.name,
            "detector_sha256": digest([path]),
            "detector_engine": f"TorchScript, torch {torch.__version__}",
            "detector_licence": "MIT",
        }

    def canvas(self, image: Image.Image) -> tuple[Letterbox, Canvas]:
        """A square; resized by Lanczos, rounded down and centred as the model was trained."""
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
        # Without its optimiser, as OmniParser runs it: it would compile anew for every batch size.
        with _JIT.optimized_execution(False):
            outputs = list(self._model(pixels))
        if len(outputs) != 2 * len(_STRIDES):
            raise ValueError(f"{len(outputs)} outputs, not {2 * len(_STRIDES)}")
        levels = [
            _decoded(outputs[2 * i], outputs[2 * i + 1], stride)
            for i, stride in enumerate(_STRIDES)
        ]
        scores, boxes = (
            torch.cat(parts, dim=1).float().cpu() for parts in zip(*levels, strict=True)
        )
        return [_kept(*one, self._min_score) for one in zip(boxes, scores, strict=True)]


def _decoded(logits: Tensor, distances: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Best score (n, h * w) and box (n, h * w, 4) of every cell."""
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
    """The older detectors (AGPL-3.0), by the loader and the forward of `actors.detection.yolo`."""

    def __init__(self, path: Path, size: int, min_score: float, device: torch.device) -> None:
        """Raises SetupError: see `actors.detection.closed_set.checkpoint.load_yolo`."""
        from actors.detection.closed_set.checkpoint import load_yolo
        from actors.detection.closed_set.forward import Forward

        checkpoint = load_yolo(str(path), with_masks=False, nms_free=False)
        if size % checkpoint.stride:
            raise SetupError(
                f"image_size {size} is no multiple of {checkpoint.stride} px, the stride of {path}",
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
        """A rectangle with sides that are multiples of the stride, as ultralytics makes it."""
        frame = Letterbox.of(image.height, image.width, self._size, self._stride)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        return frame, frame.filled(pixels)

    def __call__(self, canvases: Sequence[Canvas]) -> list[Found]:
        return [Found(one.boxes, one.scores, one.finite) for one in self._forward(canvases)]


def strongest(
    found: Found, frame: Letterbox, max_iou: float, most: int
) -> tuple[npt.NDArray[np.float32], list[float]]:
    """Boxes (n, 4), pixels of the image and inside it, and scores, best first: NMS over all
    classes; boxes with sides under one pixel are left out."""
    kept = nms(found.boxes, found.scores, max_iou)[:most]
    boxes = frame.clipped(frame.in_image(found.boxes[kept]))
    large = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(1)
    return boxes[large].numpy().astype(np.float32), found.scores[kept][large].tolist()
