"""Check an answer against its row, and turn it into true text or true labels."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence

from pipelines.decisions.finished import FinishedImage, FinishedPage
from pipelines.decisions.triage import Label, Reason
from pipelines.review.items import Filled, FilledInstance, FilledMask, readings_of

#: Pixels by which the sides of equal boxes may differ: tools round to whole pixels.
_SLACK = 0.5

#: `source` of a label that a reviewer drew or whose box a reviewer changed.
REVIEWER = "review"


def page_faults(item: Filled, row: FinishedPage) -> Iterator[str]:
    """Errors in the answer to a page."""
    readings = [_normal(reading["text"]) for reading in readings_of(row)]
    if item.verdict == "correct" and item.text is None:
        yield "correct, but no text: write the true text"
    elif item.verdict == "reject" and item.text is not None:
        yield "reject, but there is a text: use correct to keep the text, or remove it"
    elif item.verdict == "accept" and not readings:
        yield "accept, but there is no reading: use correct and write the text"
    elif item.verdict == "accept":
        shown = [_normal(reading.text or "") for reading in item.readings or []]
        if shown and shown != readings:
            yield "accept, but its readings differ from this run: was it exported from another run?"
        if item.text is not None and _normal(item.text) not in readings:
            yield "accept, but the text is none of the readings: use correct for another text"


def true_text(item: Filled, row: FinishedPage) -> str | None:
    """The text of a valid answer, lines ending in LF; None for a rejected page."""
    if item.verdict == "reject":
        return None
    if item.verdict == "correct":
        return (item.text or "").replace("\r\n", "\n")
    texts = [reading["text"] for reading in readings_of(row)]
    if item.text is None:
        return texts[0]
    return next(text for text in texts if _normal(text) == _normal(item.text))


def _normal(text: str) -> str:
    """The text without the changes that editors make: line ends and trailing space."""
    return text.replace("\r\n", "\n").strip()


def image_faults(item: Filled, row: FinishedImage, classes: Collection[str]) -> Iterator[str]:
    """Errors in the answer to an image.

    Args:
        item: the answer.
        row: its `width`, `height` (None if the run failed before reading them) and `instances`.
        classes: of the run's ontology.
    """
    labels = row["instances"] or []
    if item.verdict == "accept" and row["instances"] is None:
        yield "accept, but the image was not labelled: use correct and add instances"
    elif item.verdict == "accept" and item.instances is not None:
        if not _as_found(item.instances, labels):
            yield "accept, but the instances were changed: use correct"
    elif item.verdict == "correct" and item.instances is None:
        yield "correct, but no instances: write an empty list for an image without objects"
    elif item.verdict == "correct":
        size = (row["width"] or item.width, row["height"] or item.height)
        ids = [one.id for one in item.instances or () if one.id is not None]
        for again in sorted({one for one in ids if ids.count(one) > 1}):
            yield f"instances: id {again} occurs twice"
        for number, one in enumerate(item.instances or (), start=1):
            for fault in _instance_faults(one, labels, size, classes):
                yield f"instance {number}: {fault}"


def _instance_faults(
    one: FilledInstance,
    labels: Sequence[Label],
    size: tuple[int | None, int | None],
    classes: Collection[str],
) -> Iterator[str]:
    if one.class_name not in classes:
        near = difflib.get_close_matches(one.class_name, classes, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of: {', '.join(classes)}"
        yield f"no class {one.class_name!r}; {hint}"
    x0, y0, x1, y1 = one.box
    if x1 <= x0 or y1 <= y0:
        yield f"box {list(one.box)} has no area: give x0, y0, x1, y1 in pixels"
    if min(x0, y0) < -_SLACK or any(
        high is not None and value > high + _SLACK
        for value, high in zip((x1, y1), size, strict=True)
    ):
        yield f"box {list(one.box)} is outside the image of {size[0]} x {size[1]} pixels"
    if one.id is not None and not 0 <= one.id < len(labels):
        yield f"the row has no label with id {one.id}; leave out the id of a new label"
    elif one.mask and not _same_mask(one.mask, _found(one, labels)):
        yield "the mask was changed; masks cannot be edited here, null removes the mask"


def _found(one: FilledInstance, labels: Sequence[Label]) -> Label | None:
    """The run's label with the same id; None for a new label."""
    return None if one.id is None else labels[one.id]


def _as_found(instances: Sequence[FilledInstance], labels: Sequence[Label]) -> bool:
    kept = {
        number: label
        for number, label in enumerate(labels)
        if Reason.BELOW_THRESHOLD not in label["reasons"]
    }
    if sorted(one.id if one.id is not None else -1 for one in instances) != sorted(kept):
        return False
    pairs = [(one, _found(one, labels)) for one in instances]
    return all(_same_class(one, found) and _same_box(one, found) for one, found in pairs)


def _same_class(one: FilledInstance, found: Label | None) -> bool:
    return found is not None and one.class_name == found["class"]


def _same_mask(mask: FilledMask, found: Label | None) -> bool:
    return found is not None and mask.model_dump(mode="json") == found["mask"]


def _same_box(one: FilledInstance, found: Label | None) -> bool:
    if found is None:
        return False
    return all(abs(a - b) <= _SLACK for a, b in zip(one.box, found["box"], strict=True))


def true_labels(item: Filled, row: FinishedImage) -> list[Label] | None:
    """The labels of a valid answer; None for a rejected image.

    `reasons` is empty. A label keeps its mask if its box is unchanged, and its score and prompt if
    its class is unchanged.
    """
    labels = row["instances"] or []
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
    one: FilledInstance, found: Label | None, size: tuple[int | None, int | None]
) -> Label:
    boxed = found if _same_box(one, found) else None
    named = found if _same_class(one, found) else None
    removed = "mask" in one.model_fields_set and one.mask is None
    masked = None if removed else boxed
    return {
        "class": one.class_name,
        "score": named["score"] if named else None,
        "box": boxed["box"] if boxed else _clipped(one.box, size),
        "mask": masked["mask"] if masked else None,
        "mask_iou": masked["mask_iou"] if masked else None,
        "box_agreement": masked["box_agreement"] if masked else None,
        "prompt": named["prompt"] if named else None,
        "source": boxed["source"] if boxed else REVIEWER,
        "reasons": [],
    }


def _clipped(box: Sequence[float], size: tuple[int | None, int | None]) -> list[float]:
    bounds = (*size, *size)
    return [
        max(value if high is None else min(value, high), 0.0)
        for value, high in zip(box, bounds, strict=True)
    ]
