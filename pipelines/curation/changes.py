"""Detect the changes that people made to a FiftyOne sample since it was curated.

A label's id is made of its row's id and its index in the row. So a label keeps its identity when
the row is curated again and when the app changes its attributes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from actors.images.rle import Bits
from actors.lines import LineValue
from pipelines.curation.masks import mask_of

#: Tags with a person's verdict on a sample or on a single label.
ACCEPT, REJECT = "accept", "reject"
VERDICTS = frozenset({ACCEPT, REJECT})

#: Fields that a person may change, by kind of run.
IMAGE_PARTS = ("instances", "candidates")
PAGE_PARTS = ("text", "lines")


def label_id(row_id: int, place: int) -> str:
    """The id of a label: 24 hex digits, 8 bytes of row id and 4 bytes of index in the row."""
    return (row_id & (1 << 64) - 1).to_bytes(8, "big").hex() + place.to_bytes(4, "big").hex()


def place_of(label: Any, row_id: int) -> int | None:
    """Index of a label in its row; None for a label that a person drew."""
    return int(label.id[16:], 16) if label.id[:16] == label_id(row_id, 0)[:16] else None


def parts_digests(read: Callable[[str], Any], labelled: bool) -> list[str]:
    """One digest for each of IMAGE_PARTS or PAGE_PARTS.

    The order of labels and the positions of lines are ignored.

    Args:
        read: field name -> value.
        labelled: True for an image with labels, False for a page.
    """
    if labelled:
        states = [_state_of(elements(read(name)), _detection_state) for name in IMAGE_PARTS]
    else:
        states = [read("text"), [_line_state(line) for line in elements(read("lines"))]]
    return [hashlib.blake2b(json.dumps(one).encode(), digest_size=6).hexdigest() for one in states]


def changed_parts(sample: Any, labelled: bool) -> set[str]:
    """The parts of a sample that have changed since it was curated."""
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
    """The labels in a Detections or Polylines; empty for None."""
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
    """The attribute `text` of a line; None for a new line without text."""
    text: str | None = line.text if line.has_attribute("text") else None
    return text


def line_of(line: Any) -> LineValue:
    """A line with its text, row and column; a new line has no row."""
    row, column = (
        getattr(line, name) if line.has_attribute(name) else None for name in ("row", "column")
    )
    text = line_text(line) or ""
    return {"text": text, "score": None, "polygon": [], "row": row, "column": column}
