"""Leaves out boxes of object parts that only a tile shows: a leg of a star, a wheel of a car.

A tile shows a large object from close by, and the model may take a part of it for an object. The
part's box lies inside the object's box, so its IoU is low and NMS keeps both. Measured with the
pocket detector on 80 scenes with tiles (432 objects up to twice a tile, thresholds 0.3, 0.4, 0.5):
of 10 parts beside their found object at 0.4, 2 are left; F1 rises from 0.455, 0.594 and 0.698 to
0.465, 0.599 and 0.700. A small object on a larger one of its class is lost now and then (of 38 such
objects 7 were found at 0.4, now 5); without those, recall stays.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import box_area, box_iou

from actors.detection.boxes import ROWS, Candidates

#: Lowest share of a part's area inside the larger box. Detectors place edges a few pixels off.
INSIDE = 0.9
#: Lowest IoU at which two views show the same object.
SAME = 0.5


def without_parts(
    views: Sequence[Candidates], class_of: Tensor, thresholds: Tensor, nms_iou: float
) -> Candidates:
    """The candidates of all views of one image, without parts of objects.

    A tile's box is a part if it lies inside a larger box of its class from another view, which is a
    label or has at least its score. It is an object of its own if the full image shows it too, or
    if its tile shows the larger object as well and so tells the two apart.

    Args:
        views: candidates of the full image, then of each tile.
        class_of: int64 (n_prompts,), the class of each prompt.
        thresholds: float32 (n_prompts,), lowest score of a label.
        nms_iou: lowest IoU at which NMS takes two boxes for one object; it picks the better one.
    """
    found = Candidates.joined(views)
    lengths = torch.tensor([len(one.scores) for one in views])
    view = torch.repeat_interleave(torch.arange(len(views)), lengths)
    classes = class_of[found.prompts]
    labels = found.scores >= thresholds[found.prompts]
    parts = torch.zeros(len(view), dtype=torch.bool)
    for number in classes[view > 0].unique().tolist():
        own = (classes == number).nonzero()[:, 0]
        parts[own] = _parts(found[own], view[own], labels[own], nms_iou)
    return found[~parts]


def _parts(found: Candidates, view: Tensor, labels: Tensor, nms_iou: float) -> Tensor:
    """Whether each candidate, all of one class, is a part, bool (n,)."""
    areas = box_area(found.boxes)
    shown = _shown(found.boxes, view, labels)
    parts = torch.zeros(len(view), dtype=torch.bool)
    for rows in ((view > 0) & ~shown[0]).nonzero()[:, 0].split(ROWS):
        larger = areas > areas[rows, None]
        inside = _overlap(found.boxes[rows], found.boxes) >= INSIDE * areas[rows, None]
        sure = labels | (found.scores >= found.scores[rows, None])
        unseen = (view != view[rows, None]) & ~shown[view[rows]]
        apart = box_iou(found.boxes[rows], found.boxes) < nms_iou
        parts[rows] = (larger & inside & sure & unseen & apart).any(1)
    return parts


def _shown(boxes: Tensor, view: Tensor, labels: Tensor) -> Tensor:
    """Whether each view has a label at the place of each box, bool (n_views, n)."""
    shown = torch.zeros(int(view.max()) + 1, len(view), dtype=torch.bool)
    for number in view[labels].unique().tolist():
        own = boxes[labels & (view == number)]
        shown[number] = (box_iou(own, boxes) >= SAME).any(0)
    return shown


def _overlap(one: Tensor, other: Tensor) -> Tensor:
    """Areas of the intersections, (n, m)."""
    low = torch.maximum(one[:, None, :2], other[None, :, :2])
    high = torch.minimum(one[:, None, 2:], other[None, :, 2:])
    return (high - low).clamp(min=0).prod(2)
