"""YOLO checkpoints with random weights that answer: spread scores, boxes of many sizes."""

from __future__ import annotations

import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from actors.detection.closed_set.library import ultralytics

ultralytics()  # quiet, and before the import below

from ultralytics.nn import tasks  # noqa: E402

NAMES = ["Person", "traffic light", "cat", "dog", "St. Bernard", "kite"]


def random_model(kind: str, seed: int = 0) -> Any:
    """`kind`: a config of ultralytics without its suffix, for instance yolo11n-seg.

    Its layers are those of the real model. One cell in two hundred reaches a score of 0.3.
    """
    torch.manual_seed(seed)
    build = {"seg": tasks.SegmentationModel, "pose": tasks.PoseModel}.get(
        kind.partition("-")[2], tasks.DetectionModel
    )
    model = build(f"{kind}.yaml", nc=len(NAMES), verbose=False)
    model.names = dict(enumerate(NAMES))
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    images = nn.functional.interpolate(torch.rand(16, 3, 8, 8), 192, mode="bicubic")
    with torch.no_grad():
        model.train()(images)  # with other norms all images look the same to random weights
        _spread(model.model[-1])
        answers = model.eval()(images)[1]
        for branch, head in (("one2many", "cv3"), ("one2one", "one2one_cv3")):
            if getattr(model.model[-1], head, None) is not None:
                best = answers.get(branch, answers)["scores"].amax(1).flatten()
                for part in getattr(model.model[-1], head):
                    part[-1].bias += math.log(0.3 / 0.7) - best.quantile(0.995)
    return model


def _spread(head: Any) -> None:
    """Draw the last layers wide: boxes with sides of 1 to 8 cells, classes that differ."""
    for name, layer in head.named_modules():
        if not isinstance(layer, nn.Conv2d) or layer.bias is None:
            continue
        part = name.removeprefix("one2one_").split(".")[0]
        scale = {"cv2": 0.1 if head.reg_max == 1 else 0.5}.get(part, 0.2)
        nn.init.normal_(layer.weight, std=scale * layer.in_channels**-0.5)
        nn.init.zeros_(layer.bias)
        if part == "cv2" and head.reg_max > 1:
            layer.bias.view(4, head.reg_max)[:, 1:4] = 4.0
        elif part == "cv2":
            layer.bias += 1.5


def save(path: Path, model: Any, **changes: Any) -> Path:
    """As ultralytics' trainer writes it; `changes` replace top-level entries."""
    content = {
        "epoch": -1,
        "best_fitness": None,
        "model": deepcopy(model).half(),
        "ema": None,
        "train_args": {"task": "segment" if "Segment" in type(model).__name__ else "detect"},
        "version": "8.4.190",
    }
    torch.save({**content, **changes}, path)
    return path
