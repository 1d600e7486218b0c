"""Loads and checks a YOLO `.pt` file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from actors.checkpoints import digest
from actors.detection.closed_set.library import ultralytics
from actors.detection.closed_set.pickles import restored, unsealed
from actors.failures import SetupError

#: Exact types, because derived heads (poses, oriented boxes, text prompts) have other outputs.
DETECTION_HEADS = ("Detect", "v10Detect")
MASK_HEADS = ("Segment", "Segment26")

FETCH = "download the checkpoint yourself and set `model` to its path"


@dataclass(frozen=True)
class Checkpoint:
    """A fused model on the CPU, float32, in evaluation mode.

    Attributes:
        model: BaseModel of ultralytics; `head` is its last layer.
        names: names of the classes, by class number.
        stride: the sides of its input are multiples of this, in pixels.
        nms_free: true for a one-to-one head with output (n, boxes, 6 + masks) and corners; else
            the output is (n, 4 + classes + masks, anchors) with centre and size.
        provenance: file, digest, engine and licence.
    """

    model: Any
    head: Any
    names: list[str]
    stride: int
    nms_free: bool
    provenance: dict[str, str]


def load_yolo(name: str, with_masks: bool, nms_free: bool) -> Checkpoint:
    """Load the file `name` without running code from it.

    Args:
        name: path of a checkpoint.
        with_masks: whether the model must predict masks.
        nms_free: whether to keep the one-to-one head; ultralytics keeps the other one.

    Raises SetupError if the file or the engine is missing, if the file is damaged or has layers
    from outside ultralytics, or if the model is for another task or lacks the head.
    """
    path = Path(name)
    if not path.is_file():
        raise SetupError(f"file {path} does not exist; this engine downloads no files", FETCH)
    package = ultralytics()
    model, head = _model(path)
    _check_head(path, model, head, with_masks, nms_free)
    try:
        model.end2end = nms_free
        model.fuse(verbose=False)
        names, stride = _names(model), max(32, int(model.stride.max()))
        _try(model, names, stride, nms_free)
    except Exception as error:
        raise SetupError(
            f"the model in {path} fails in a trial run: {type(error).__name__}: {error}",
            f"check that ultralytics {package.__version__} can run it, or download it again",
        ) from error
    provenance = {
        "model": name,
        "revision": "",
        "weights_sha256": digest([path]),
        "head": type(head).__name__ + (", one-to-one" if nms_free else ""),
        "engine": f"ultralytics {package.__version__}, torch {torch.__version__}",
        "licence": "AGPL-3.0 (ultralytics)",
    }
    return Checkpoint(model, head, names, stride, nms_free, provenance)


def _model(path: Path) -> tuple[Any, Any]:
    """The model of a checkpoint, with averaged weights if it has them, and its head."""
    content = restored(path)
    if not isinstance(content, dict):
        raise SetupError(
            f"{path} is not a checkpoint: it contains a {type(content).__name__}", FETCH
        )
    if content.get("modelopt"):
        raise SetupError(
            f"{path} is from quantization-aware training, which is not supported",
            "use a checkpoint without quantization",
        )
    averaged = content.get("ema")
    model = content.get("model") if averaged is None else averaged
    layers = getattr(model, "model", None)
    if not isinstance(model, nn.Module) or not isinstance(layers, nn.Sequential) or not layers:
        raise SetupError(
            f"{path} does not contain a model", "use a checkpoint saved by ultralytics 8"
        )
    model = unsealed(model).float().eval()
    for module in model.modules():
        if isinstance(module, nn.Upsample):  # saved by torch before 1.11
            module.recompute_scale_factor = getattr(module, "recompute_scale_factor", None)
        elif hasattr(module, "inplace"):  # as in the library's loader
            switchable: Any = module
            switchable.inplace = True
    return model, layers[-1]


def _check_head(path: Path, model: Any, head: Any, with_masks: bool, nms_free: bool) -> None:
    kind = type(head).__name__
    if kind not in DETECTION_HEADS + MASK_HEADS:
        raise SetupError(
            f"{path} has a head of type {kind}; this engine runs "
            f"{', '.join(DETECTION_HEADS + MASK_HEADS)}",
            "use a detection or segmentation checkpoint",
        )
    if with_masks and kind not in MASK_HEADS:
        raise SetupError(
            f"{path} has a head of type {kind}, which predicts boxes without masks",
            "use a segmentation checkpoint (-seg), or add a segmenter for its boxes",
        )
    if nms_free and getattr(head, "one2one_cv2", None) is None and not head.end2end:
        raise SetupError(
            f"{path} has no one-to-one head, but nms_free needs one", "set nms_free: false"
        )
    if not nms_free and head.cv2 is None:
        raise SetupError(f"{path} contains only its one-to-one head", "set nms_free: true")


def _names(model: Any) -> list[str]:
    """The class names by class number; older checkpoints store a list."""
    names = model.names if isinstance(model.names, dict) else dict(enumerate(model.names))
    return [str(names[number]) for number in range(model.model[-1].nc)]


@torch.inference_mode()
def _try(model: Any, names: list[str], stride: int, nms_free: bool) -> None:
    """One trial forward, so that a broken model fails before the first row."""
    answer = model(torch.zeros(1, 3, 2 * stride, 2 * stride))[0]
    boxes = answer[0] if isinstance(answer, tuple) else answer
    if nms_free is not bool(model.end2end):
        raise ValueError("the model uses the other one of its two heads")
    if not nms_free and boxes.shape[1] < 4 + len(names):
        raise ValueError(f"output {tuple(boxes.shape)} is too small for {len(names)} classes")
