"""An image with its labels drawn over it by supervision: masks, boxes, class and score."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import supervision as sv
from PIL import Image

from actors.images.rle import decoded
from pipelines.decisions.triage import Label

#: Smaller images are enlarged by a whole factor until their long side has this many pixels: a
#: caption of 12 px hides half of a thumbnail.
_LONG_SIDE = 900
#: Without outlines, larger images are shrunk to this long side: on a screen, captions of 12 px and
#: lines of 2 px can be read then.
_SCREEN = 1600


def overlay_labels(
    image: Image.Image, labels: Mapping[int, Label], *, outlines: bool = True, numbers: bool = False
) -> Image.Image:
    """`image` (RGB) with `labels` drawn over it.

    One colour per class; a caption says class and score and, after a "?", how many reasons for
    review there are.

    Args:
        image: the upright image of the labels.
        labels: index in the row's `instances` -> label.
        outlines: draw masks, too. They take a byte for each pixel and label.
        numbers: captions begin with the index.
    """
    factor = _factor(image, outlines)
    size = round(image.width * factor), round(image.height * factor)
    canvas = image.resize(size)
    if not labels:
        return canvas
    each = list(labels.values())
    names = sorted({label["class"] for label in each})
    found = sv.Detections(
        xyxy=np.array([label["box"] for label in each], dtype=np.float32) * factor,
        mask=np.stack([_mask(one, image, round(factor)) for one in each]) if outlines else None,
        class_id=np.array([names.index(label["class"]) for label in each]),
    )
    if outlines:
        canvas = sv.MaskAnnotator(opacity=0.25).annotate(canvas, found)
        canvas = sv.PolygonAnnotator(thickness=2).annotate(canvas, found)
    canvas = sv.BoxAnnotator(thickness=2).annotate(canvas, found)
    texts = [f"{n} {_caption(one)}" if numbers else _caption(one) for n, one in labels.items()]
    drawn: Image.Image = sv.LabelAnnotator(text_scale=0.5, text_padding=4).annotate(
        canvas, found, labels=texts
    )
    return drawn


def _factor(image: Image.Image, outlines: bool) -> float:
    """A whole number, or less than 1."""
    long = max(image.size)
    return max(1, _LONG_SIDE // long) if outlines or long <= _SCREEN else _SCREEN / long


def _mask(label: Label, image: Image.Image, factor: int) -> np.ndarray:
    """bool (height, width) of the canvas; empty where the label has no mask."""
    if label["mask"] is None:
        return np.zeros((image.height * factor, image.width * factor), dtype=bool)
    small = decoded(label["mask"])
    return small.repeat(factor, 0).repeat(factor, 1)


def _caption(label: Label) -> str:
    score = "no score" if label["score"] is None else f"{label['score']:.2f}"
    doubts = f" ?{len(label['reasons'])}" if label["reasons"] else ""
    return f"{label['class']} {score}{doubts}"
