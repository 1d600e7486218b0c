"""Detected objects and their masks: the Arrow types, and the same rows as typed dicts."""

from __future__ import annotations

from typing import TypedDict

import pyarrow as pa

#: The strongest other class on the same object; null where no other class came near.
#: `iou`: overlap of the two boxes, 0..1.
CONFLICT = pa.struct([("class", pa.string()), ("score", pa.float32()), ("iou", pa.float32())])

#: A value of CONFLICT. `class` is a keyword, so this takes the form of a call.
Conflict = TypedDict("Conflict", {"class": str, "score": float | None, "iou": float | None})

#: One detected object.
#:
#: * `class`: a name of the ontology; `prompt`: which of its prompts scored best (null where the
#:   model takes no text).
#: * `score`: 0..1. `kept`: whether it reaches the threshold of its class; false only where the
#:   config asks for candidates below it.
#: * `box`: x0, y0, x1, y1 in pixels of the upright image (EXIF orientation applied), floats,
#:   inside 0..width and 0..height.
#: * `source`: the actor that found it, for instance ``grounding_dino``.
#: * `conflict`: another class that also claimed this object and lost to it.
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

#: The column `boxes`: kept before not kept, then by score, best first. Empty: nothing found. Null:
#: not looked at (see the failures).
BOXES = pa.list_(INSTANCE)

#: One mask, at the size of the upright image.
#:
#: * `counts`: COCO run-length encoding, compressed, ASCII; `size`: height, width in pixels. Both
#:   together are what pycocotools calls an RLE.
#: * `mask_iou`: the segmenter's own estimate of the mask's IoU, 0..1; null means unknown.
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
