"""What is true of a row once a person has looked at it, or what is wrong with the answer."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from pipelines.decisions.triage import Reason
from pipelines.review.items import Filled, FilledInstance, readings_of

#: Pixels by which a box may differ and still be the same: tools round to whole pixels.
_SLACK = 0.5

#: `source` of a label that a person drew, or whose box a person changed.
REVIEWER = "review"


def page_faults(item: Filled, row: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a reviewed page. `row`: its `text`, `vlm_text`, ... as in the run."""
    readings = [_normal(reading["text"]) for reading in readings_of(row)]
    if item.verdict == "correct" and item.text is None:
        yield "correct, but no text: write the true one"
    elif item.verdict == "reject" and item.text is not None:
        yield "reject, but there is a text: correct takes it, reject drops it"
    elif item.verdict == "accept" and not readings:
        yield "accept, but nothing was read: correct takes a text"
    elif item.verdict == "accept":
        shown = [_normal(reading.text or "") for reading in item.readings or []]
        if shown and shown != readings:
            yield "accept, but its readings are not those of this run: exported from another one?"
        if item.text is not None and _normal(item.text) not in readings:
            yield "accept, but the text is none of the readings: correct takes another text"


def true_text(item: Filled, row: dict[str, Any]) -> str | None:
    """The text of a page without faults, lines ending in LF; None where it was rejected."""
    if item.verdict == "reject":
        return None
    if item.verdict == "correct":
        return (item.text or "").replace("\r\n", "\n")
    texts: list[str] = [reading["text"] for reading in readings_of(row)]
    if item.text is None:
        return texts[0]
    return next(text for text in texts if _normal(text) == _normal(item.text))


def _normal(text: str) -> str:
    """Editors change line ends and what stands behind the last line."""
    return text.replace("\r\n", "\n").strip()


def image_faults(item: Filled, row: dict[str, Any], classes: Collection[str]) -> Iterator[str]:
    """What is wrong with a reviewed image.

    Args:
        item: as it was filled.
        row: `width`, `height` (None where the run failed before it knew) and `instances`.
        classes: of the run's ontology.
    """
    labels: list[dict[str, Any]] = row["instances"] or []
    if item.verdict == "accept" and row["instances"] is None:
        yield "accept, but nothing was labelled: correct takes instances"
    elif item.verdict == "accept" and item.instances is not None:
        if not _as_found(item.instances, labels):
            yield "accept, but the instances were changed: correct takes them"
    elif item.verdict == "correct" and item.instances is None:
        yield "correct, but no instances: an empty list says that there are none"
    elif item.verdict == "correct":
        size = (row["width"] or item.width, row["height"] or item.height)
        ids = [one.id for one in item.instances or () if one.id is not None]
        for again in sorted({one for one in ids if ids.count(one) > 1}):
            yield f"instances: id {again} twice"
        for number, one in enumerate(item.instances or (), start=1):
            for fault in _instance_faults(one, labels, size, classes):
                yield f"instance {number}: {fault}"


def _instance_faults(
    one: FilledInstance,
    labels: Sequence[dict[str, Any]],
    size: tuple[int | None, int | None],
    classes: Collection[str],
) -> Iterator[str]:
    if one.class_name not in classes:
        near = difflib.get_close_matches(one.class_name, classes, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(classes)}"
        yield f"no class {one.class_name!r}; {hint}"
    x0, y0, x1, y1 = one.box
    if x1 <= x0 or y1 <= y0:
        yield f"box {list(one.box)} has no area: x0, y0, x1, y1 in pixels"
    if min(x0, y0) < -_SLACK or any(
        high is not None and value > high + _SLACK
        for value, high in zip((x1, y1), size, strict=True)
    ):
        yield f"box {list(one.box)} is outside the image of {size[0]} x {size[1]} pixels"
    if one.id is not None and not 0 <= one.id < len(labels):
        yield f"id {one.id} is none of the row's labels; leave it out for a new one"
    elif one.mask and one.mask.model_dump(mode="json") != _found(one, labels).get("mask"):
        yield "the mask was changed; masks cannot be edited here, null takes it away"


def _found(one: FilledInstance, labels: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The label of the run that this one was; empty if it is new."""
    return {} if one.id is None else labels[one.id]


def _as_found(instances: Sequence[FilledInstance], labels: Sequence[dict[str, Any]]) -> bool:
    kept = {
        number: label
        for number, label in enumerate(labels)
        if Reason.BELOW_THRESHOLD not in label["reasons"]
    }
    if sorted(one.id if one.id is not None else -1 for one in instances) != sorted(kept):
        return False
    return all(
        one.class_name == _found(one, labels)["class"] and _same_box(one, _found(one, labels))
        for one in instances
    )


def _same_box(one: FilledInstance, found: dict[str, Any]) -> bool:
    if not found:
        return False
    return all(abs(a - b) <= _SLACK for a, b in zip(one.box, found["box"], strict=True))


def true_labels(item: Filled, row: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The labels of an image without faults, values of LABEL; None where it was rejected.

    Nothing speaks against them any more: `reasons` is empty. A label keeps its mask while its box
    stays, its score and prompt while its class stays.
    """
    labels: list[dict[str, Any]] = row["instances"] or []
    if item.verdict == "reject":
        return None
    if item.verdict == "accept":
        return [
            label | {"reasons": []}
            for label in labels
            if Reason.BELOW_THRESHOLD not in label["reasons"]
        ]
    size = (row["width"] or item.width, row["height"] or item.height)
    return [_true_label(one, _found(one, labels), size) for one in item.instances or ()]


def _true_label(
    one: FilledInstance, found: dict[str, Any], size: tuple[int | None, int | None]
) -> dict[str, Any]:
    same_box = _same_box(one, found)
    same_class = one.class_name == found.get("class")
    removed = "mask" in one.model_fields_set and one.mask is None
    masked = found if same_box and not removed else {}
    return {
        "class": one.class_name,
        "score": found["score"] if same_class else None,
        "box": found["box"] if same_box else _clipped(one.box, size),
        "mask": masked.get("mask"),
        "mask_iou": masked.get("mask_iou"),
        "box_agreement": masked.get("box_agreement"),
        "prompt": found["prompt"] if same_class else None,
        "source": found["source"] if same_box else REVIEWER,
        "reasons": [],
    }


def _clipped(box: Sequence[float], size: tuple[int | None, int | None]) -> list[float]:
    bounds = (*size, *size)
    return [
        max(value if high is None else min(value, high), 0.0)
        for value, high in zip(box, bounds, strict=True)
    ]
