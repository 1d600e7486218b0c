"""Loading a YOLO from its `.pt` file, and what must hold before it may run."""

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

#: Exact types: heads derived from them (poses, oriented boxes, text prompts) answer other things.
DETECTION_HEADS = ("Detect", "v10Detect")
MASK_HEADS = ("Segment", "Segment26")

FETCH = "download it where a network can be reached and set `model` to its path"


@dataclass(frozen=True)
class Checkpoint:
    """A fused model on the CPU, float32, in evaluation mode.

    Attributes:
        model: BaseModel of ultralytics; `head` is its last layer.
        names: what the model calls its classes, by class number.
        stride: sides of its input are multiples of this many pixels.
        nms_free: whether its boxes come from a one-to-one head: (n, boxes, 6 + masks), as corners;
            otherwise (n, 4 + classes + masks, anchors), as centre and size.
        provenance: file, digest, engine and licence.
    """

    model: Any
    head: Any
    names: list[str]
    stride: int
    nms_free: bool
    provenance: dict[str, str]


def load_yolo(name: str, with_masks: bool, nms_free: bool) -> Checkpoint:
    """Load the file `name`, without running anything that it brings along.

    Args:
        name: path of a checkpoint.
        with_masks: whether it must make masks; if not it may.
        nms_free: whether to keep the one-to-one head or, as ultralytics does, the other.

    Raises SetupError: file or engine missing, damaged, not made of ultralytics' own layers, of
    another task, without the head that is asked for.
    """
    path = Path(name)
    if not path.is_file():
        raise SetupError(f"no file {path}, and this engine downloads none", FETCH)
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
            f"{path} was loaded and does not run: {type(error).__name__}: {error}",
            f"check that ultralytics {package.__version__} runs it, and fetch it anew",
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
    """The model of a checkpoint and its head; the averaged weights where it holds both."""
    content = restored(path)
    if not isinstance(content, dict):
        raise SetupError(f"{path} holds a {type(content).__name__}, no checkpoint", FETCH)
    if content.get("modelopt"):
        raise SetupError(
            f"{path} was trained for quantization, which is not supported",
            "take the checkpoint of a training without it",
        )
    averaged = content.get("ema")
    model = content.get("model") if averaged is None else averaged
    layers = getattr(model, "model", None)
    if not isinstance(model, nn.Module) or not isinstance(layers, nn.Sequential) or not layers:
        raise SetupError(f"{path} holds no model", "take a checkpoint that ultralytics 8 saved")
    model = unsealed(model).float().eval()
    for module in model.modules():
        if isinstance(module, nn.Upsample):  # of torch before 1.11
            module.recompute_scale_factor = getattr(module, "recompute_scale_factor", None)
        elif hasattr(module, "inplace"):  # as the library does when it loads
            switchable: Any = module
            switchable.inplace = True
    return model, layers[-1]


def _check_head(path: Path, model: Any, head: Any, with_masks: bool, nms_free: bool) -> None:
    kind = type(head).__name__
    if kind not in DETECTION_HEADS + MASK_HEADS:
        raise SetupError(
            f"{path} has the head {kind}, this engine runs "
            f"{', '.join(DETECTION_HEADS + MASK_HEADS)}",
            "take a detection or a segmentation checkpoint",
        )
    if with_masks and kind not in MASK_HEADS:
        raise SetupError(
            f"{path} has the head {kind}, which makes boxes and no masks",
            "take a segmentation checkpoint (-seg), or let another model segment its boxes",
        )
    if nms_free and getattr(head, "one2one_cv2", None) is None and not head.end2end:
        raise SetupError(
            f"{path} has no one-to-one head, nms_free needs one", "set nms_free: false"
        )
    if not nms_free and head.cv2 is None:
        raise SetupError(f"{path} was saved with its one-to-one head alone", "set nms_free: true")


def _names(model: Any) -> list[str]:
    """By class number; older checkpoints hold a list."""
    names = model.names if isinstance(model.names, dict) else dict(enumerate(model.names))
    return [str(names[number]) for number in range(model.model[-1].nc)]


@torch.inference_mode()
def _try(model: Any, names: list[str], stride: int, nms_free: bool) -> None:
    """One forward, so that a broken model is known before the first row."""
    answer = model(torch.zeros(1, 3, 2 * stride, 2 * stride))[0]
    boxes = answer[0] if isinstance(answer, tuple) else answer
    if nms_free is not bool(model.end2end):
        raise ValueError("it answers from the other of its two heads")
    if not nms_free and boxes.shape[1] < 4 + len(names):
        raise ValueError(f"{tuple(boxes.shape)} has no room for {len(names)} classes")
