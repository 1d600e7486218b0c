"""An image with its labels drawn over it by supervision: masks, boxes, class and score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import supervision as sv
from PIL import Image

from actors.images.rle import decoded
from pipelines.decisions.triage import Label

#: Smaller images are enlarged by a whole factor until their long side has this many pixels: a
#: caption of 12 px hides half of a thumbnail.
_LONG_SIDE = 900


def overlay_labels(image: Image.Image, labels: Sequence[Label]) -> Image.Image:
    """`image` (RGB) with `labels` drawn over it.

    One colour per class; a caption says class and score and, after a "?", how many reasons for
    review there are.
    """
    factor = max(1, _LONG_SIDE // max(image.size))
    canvas = image.resize((image.width * factor, image.height * factor))
    if not labels:
        return canvas
    names = sorted({label["class"] for label in labels})
    found = sv.Detections(
        xyxy=np.array([label["box"] for label in labels], dtype=np.float32) * factor,
        mask=np.stack([_mask(label, image, factor) for label in labels]),
        class_id=np.array([names.index(label["class"]) for label in labels]),
    )
    canvas = sv.MaskAnnotator(opacity=0.25).annotate(canvas, found)
    canvas = sv.PolygonAnnotator(thickness=2).annotate(canvas, found)
    canvas = sv.BoxAnnotator(thickness=2).annotate(canvas, found)
    texts = [_caption(label) for label in labels]
    drawn: Image.Image = sv.LabelAnnotator(text_scale=0.5, text_padding=4).annotate(
        canvas, found, labels=texts
    )
    return drawn


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
