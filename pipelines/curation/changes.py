"""What of a FiftyOne sample is no longer as it was curated: a person's work.

Every label's id is made of its row's id and its place in the row, so that a label keeps its
identity however often a row is curated and whatever the app does to its attributes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from actors.images.rle import Bits
from pipelines.curation.masks import mask_of

#: Tags that are a person's verdict: on a sample, or on one label of it.
ACCEPT, REJECT = "accept", "reject"
VERDICTS = frozenset({ACCEPT, REJECT})

#: What a person may change, by the kind of run.
IMAGE_PARTS = ("instances", "candidates")
PAGE_PARTS = ("text", "lines")


def label_id(row_id: int, place: int) -> str:
    """The id of a label: 24 hex digits, 8 bytes of row id and 4 of its place in the row."""
    return (row_id & (1 << 64) - 1).to_bytes(8, "big").hex() + place.to_bytes(4, "big").hex()


def place_of(label: Any, row_id: int) -> int | None:
    """Which of its row's labels this one is; None for one that a person drew."""
    return int(label.id[16:], 16) if label.id[:16] == label_id(row_id, 0)[:16] else None


def parts_digests(read: Callable[[str], Any], labelled: bool) -> list[str]:
    """One digest for each part that a person may change, of IMAGE_PARTS or PAGE_PARTS.

    Places within a label's list count for nothing, nor does where a line was drawn.

    Args:
        read: name of a field -> its value.
        labelled: whether the sample is an image with labels; else a page.
    """
    if labelled:
        states = [_state_of(elements(read(name)), _detection_state) for name in IMAGE_PARTS]
    else:
        states = [read("text"), [_line_state(line) for line in elements(read("lines"))]]
    return [hashlib.blake2b(json.dumps(one).encode(), digest_size=6).hexdigest() for one in states]


def changed_parts(sample: Any, labelled: bool) -> set[str]:
    """Which parts of a sample are not as they were curated."""
    parts = IMAGE_PARTS if labelled else PAGE_PARTS
    before = (sample["as_curated"] or "").split()
    now = parts_digests(lambda name: sample[name], labelled)
    if len(before) != len(now):
        return set(parts)
    return {part for part, old, new in zip(parts, before, now, strict=True) if old != new}


def is_touched(sample: Any, labelled: bool) -> bool:
    """Whether a person has changed a sample or given a verdict on it."""
    return bool(VERDICTS.intersection(sample["tags"])) or bool(changed_parts(sample, labelled))


def elements(labels: Any) -> list[Any]:
    """The labels in a Detections or Polylines; none in None."""
    if labels is None:
        return []
    return list(labels[labels._LABEL_LIST_FIELD])


def _state_of(labels: Iterable[Any], state: Callable[[Any], list[Any]]) -> list[list[Any]]:
    return sorted((state(label) for label in labels), key=json.dumps)


def _detection_state(detection: Any) -> list[Any]:
    mask = mask_of(detection)
    box = [round(float(side), 6) for side in detection.bounding_box or ()]
    verdicts = sorted(VERDICTS.intersection(detection.tags or ()))
    return [detection.id, detection.label, box, _mask_digest(mask), verdicts]


def _mask_digest(mask: Bits | None) -> str | None:
    if mask is None:
        return None
    packed = f"{mask.shape}".encode() + np.packbits(mask).tobytes()
    return hashlib.blake2b(packed, digest_size=6).hexdigest()


def _line_state(line: Any) -> list[Any]:
    return [line.id, line_text(line)]


def line_text(line: Any) -> str | None:
    """The attribute `text` of a line; None for one that a person drew and did not write."""
    text: str | None = line.text if line.has_attribute("text") else None
    return text
