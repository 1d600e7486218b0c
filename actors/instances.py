"""Detected objects and their masks, as Arrow types and as typed dicts."""

from __future__ import annotations

from typing import TypedDict

import pyarrow as pa

#: The best-scoring other class on the same object; null without one.
#: `iou`: overlap of the two boxes, 0..1.
CONFLICT = pa.struct([("class", pa.string()), ("score", pa.float32()), ("iou", pa.float32())])

#: A value of CONFLICT. `class` is a Python keyword, hence the functional syntax.
Conflict = TypedDict("Conflict", {"class": str, "score": float | None, "iou": float | None})

#: One detected object.
#:
#: * `class`: a class name of the ontology.
#: * `prompt`: the best-scoring prompt of the class; null if the model takes no text.
#: * `score`: 0..1.
#: * `kept`: whether the score reaches the threshold of the class. False occurs only if the config
#:   asks for candidates below the threshold.
#: * `box`: x0, y0, x1, y1 in pixels of the upright image (EXIF orientation applied), floats,
#:   inside 0..width and 0..height.
#: * `source`: the actor that found the object, e.g. ``grounding_dino``.
#: * `conflict`: a class of the same object with a lower score.
INSTANCE = pa.struct(
    [
        ("class", pa.string()),
        ("score", pa.float32()),
        ("box", pa.list_(pa.float32(), 4)),
        ("prompt", pa.string()),
        ("source", pa.string()),
        ("kept", pa.bool_()),
        ("conflict", CONFLICT),
    ]
)

#: A value of INSTANCE.
Instance = TypedDict(
    "Instance",
    {
        "class": str,
        "score": float | None,
        "box": list[float],
        "prompt": str | None,
        "source": str,
        "kept": bool | None,
        "conflict": Conflict | None,
    },
)

#: The column `boxes`: kept instances first, then by score, highest first. Empty: nothing found.
#: Null: not processed (see the failures).
BOXES = pa.list_(INSTANCE)

#: One mask, at the size of the upright image.
#:
#: * `counts`: COCO run-length encoding, compressed, ASCII.
#: * `size`: height, width in pixels. `counts` and `size` together are an RLE of pycocotools.
#: * `mask_iou`: the segmenter's estimate of the mask's IoU, 0..1; null means unknown.
#: * `box_agreement`: IoU of the mask's tight box with the instance's box, 0..1.
MASK = pa.struct(
    [
        ("counts", pa.string()),
        ("size", pa.list_(pa.int32(), 2)),
        ("mask_iou", pa.float32()),
        ("box_agreement", pa.float32()),
    ]
)


class MaskValue(TypedDict):
    """A value of MASK."""

    counts: str | None
    size: list[int]
    mask_iou: float | None
    box_agreement: float | None


#: The column `masks`: one entry per entry of `boxes`, in the same order; null where `boxes` is.
MASKS = pa.list_(MASK)
