"""Outcome and reasons of a labelled image: pure rules over boxes, masks and failures.

The rules fail closed: missing evidence counts as bad evidence. A rule set to null is off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, TypedDict, TypeGuard, cast

import numpy as np
import pyarrow as pa
from pydantic import Field

from actors.contract import Settings, appended
from actors.failures import FAILURE, FailureValue
from actors.images.rle import RleValue, mask_ious
from actors.instances import BOXES, MASKS, Instance, MaskValue
from actors.ontology import Ontology
from pipelines.decisions.routing import reasons_of_failure
from pipelines.flow import step
from pipelines.pages.notes import PageNote


class ImageOutcome(StrEnum):
    """Every image has exactly one outcome."""

    ACCEPTED = "accepted"  # labelled, and no rule speaks against it
    EMPTY = "empty"  # no class of the ontology was found
    REVIEW = "review"  # labelled, but in doubt: a person should check it
    FAILED = "failed"  # not labelled; a column <verb>_failure gives the cause


class Reason(StrEnum):
    """Reasons against an instance or an image."""

    BELOW_THRESHOLD = "below_threshold"  # a candidate: it is written, but it is never a label
    NO_SCORE = "no_score"
    REVIEW_BAND = "score_in_review_band"
    CLASS_CONFLICT = "class_conflict"
    NO_MASK = "no_mask"
    LOW_MASK_IOU = "low_mask_iou"
    BOX_DISAGREES = "mask_box_disagree"
    BORDER = "touches_border"
    TOO_MANY = "too_many_boxes"
    LOW_CONTRAST = "low_contrast"  # a deep picture with under 32 grays: nothing could be seen
    NO_LABELS = "no_labels"  # no boxes, and no failure that explains it


class TriageConfig(Settings):
    """Rules that send an image to review. Null switches a rule off."""

    review_band: float | None = Field(
        0.1,
        gt=0,
        le=1,
        description="review a score that exceeds the threshold of its class by less than this",
    )
    conflict_margin: float | None = Field(
        0.1,
        ge=0,
        le=1,
        description="review an object if an exclusive class scored at most this much less on it",
    )
    conflict_iou: float | None = Field(
        0.8,
        gt=0,
        le=1,
        description="review masks of two classes that overlap by at least this IoU",
    )
    need_mask: bool = Field(True, description="review an instance without a mask")
    min_mask_iou: float | None = Field(
        0.7,
        ge=0,
        le=1,
        description="review a mask if the segmenter estimates its IoU below this",
    )
    min_box_agreement: float | None = Field(
        0.5,
        ge=0,
        le=1,
        description="review a mask if the IoU of its tight box and the instance's box is below "
        "this",
    )
    border_px: float | None = Field(
        1.0, ge=0, description="review a box that is this close to an edge of the image, pixels"
    )
    max_instances: int | None = Field(
        100, ge=0, description="review an image with more labels than this"
    )
    low_contrast: bool = Field(
        True,
        description="review a picture of more than 8 bits with under 32 grays after stretching",
    )


class Triage(Settings):
    """The rules, and the ontology whose thresholds they refer to."""

    rules: TriageConfig = TriageConfig()
    ontology: Ontology


#: COCO run lengths at the size of the upright image; a value of it is a
#: `actors.images.rle.RleValue`.
RLE = pa.struct([("counts", pa.string()), ("size", pa.list_(pa.int32(), 2))])


#: One label. `box`: x0, y0, x1, y1, pixels of the upright image (`width` x `height`). `mask_iou`
#: and `box_agreement` as in `actors.instances.MASK`. `reasons`: values of `Reason`. Candidates that
#: the detector wrote are here too, with the reason `below_threshold`.
LABEL = pa.struct(
    [
        ("class", pa.string()),
        ("score", pa.float32()),
        ("box", pa.list_(pa.float32(), 4)),
        ("mask", RLE),
        ("mask_iou", pa.float32()),
        ("box_agreement", pa.float32()),
        ("prompt", pa.string()),
        ("source", pa.string()),
        ("reasons", pa.list_(pa.string())),
    ]
)

#: A value of LABEL.
Label = TypedDict(
    "Label",
    {
        "class": str,
        "score": float | None,
        "box": list[float],
        "mask": RleValue | None,
        "mask_iou": float | None,
        "box_agreement": float | None,
        "prompt": str | None,
        "source": str,
        "reasons": list[str],
    },
)

#: The column `instances`: best first; empty: nothing found; null: the image failed.
LABELS = pa.list_(LABEL)


class ImageRow(TypedDict):
    """The columns of a row that `triage` reads."""

    width: int | None
    height: int | None
    boxes: list[Instance] | None
    masks: list[MaskValue | None] | None
    notes: list[str] | None
    fetch_failure: FailureValue | None
    detect_failure: FailureValue | None
    segment_failure: FailureValue | None


class ImageVerdict(TypedDict):
    """The columns of a row that `triage` writes."""

    outcome: str
    reasons: list[str]
    instances: list[Label] | None


@step(
    reads=pa.schema(
        [
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("boxes", BOXES),
            ("masks", MASKS),
            ("notes", pa.list_(pa.string())),
            ("fetch_failure", FAILURE),
            ("detect_failure", FAILURE),
            ("segment_failure", FAILURE),
        ]
    ),
    writes=pa.schema(
        [
            ("outcome", pa.string()),
            ("reasons", pa.list_(pa.string())),
            ("instances", LABELS),
        ]
    ),
)
def triage(rows: pa.Table, settings: Triage) -> pa.Table:
    """Give every image its outcome, its reasons and its labels."""
    images = cast(list[ImageRow], rows.select(triage.reads.names).to_pylist())
    return appended(rows, triage.writes, [triage_image(image, settings) for image in images])


def triage_image(image: ImageRow, settings: Triage) -> ImageVerdict:
    """Outcome, reasons and labels of one image."""
    failed = reasons_of_failure(
        image["fetch_failure"], image["detect_failure"], image["segment_failure"]
    )
    if failed or image["boxes"] is None:
        return verdict(ImageOutcome.FAILED, failed or [Reason.NO_LABELS], None)
    labels = joined(image["boxes"], image["masks"])
    kept = [label for label in labels if Reason.BELOW_THRESHOLD not in label["reasons"]]
    for box, label in zip(image["boxes"], labels, strict=True):
        if not label["reasons"]:
            label["reasons"] += doubts(box, label, image["width"], image["height"], settings)
    if settings.rules.conflict_iou is not None:
        for label in overlapping(kept, settings.rules.conflict_iou):
            if Reason.CLASS_CONFLICT not in label["reasons"]:
                label["reasons"].append(Reason.CLASS_CONFLICT)
    found = {reason for label in kept for reason in label["reasons"]}
    if settings.rules.max_instances is not None and len(kept) > settings.rules.max_instances:
        found.add(Reason.TOO_MANY)
    if settings.rules.low_contrast and PageNote.LOW_CONTRAST in (image["notes"] or ()):
        found.add(Reason.LOW_CONTRAST)
    why = [reason for reason in Reason if reason in found]
    if why:
        return verdict(ImageOutcome.REVIEW, why, labels)
    return verdict(ImageOutcome.ACCEPTED if kept else ImageOutcome.EMPTY, [], labels)


def verdict(
    outcome: ImageOutcome, reasons: Sequence[str], labels: list[Label] | None
) -> ImageVerdict:
    """The columns of an image, with plain strings instead of enums."""
    return {"outcome": outcome.value, "reasons": list(reasons), "instances": labels}


def joined(boxes: Sequence[Instance], masks: Sequence[MaskValue | None] | None) -> list[Label]:
    """One label per box. Masks are used only if there is one per box."""
    if masks is None or len(masks) != len(boxes):
        masks = [None] * len(boxes)
    return [_label(box, mask) for box, mask in zip(boxes, masks, strict=True)]


def _label(box: Instance, mask: MaskValue | None) -> Label:
    return {
        "class": box["class"],
        "score": box["score"],
        "box": box["box"],
        "mask": _rle(mask),
        "mask_iou": mask["mask_iou"] if mask else None,
        "box_agreement": mask["box_agreement"] if mask else None,
        "prompt": box["prompt"],
        "source": box["source"],
        "reasons": [Reason.BELOW_THRESHOLD] if box["kept"] is False else [],
    }


def _rle(mask: MaskValue | None) -> RleValue | None:
    if mask is None or mask["counts"] is None:
        return None
    return {"counts": mask["counts"], "size": mask["size"]}


def doubts(
    box: Instance,
    label: Label,
    width: int | None,
    height: int | None,
    settings: Triage,
) -> list[Reason]:
    """Reasons against one instance, without a look at the others.

    Args:
        box, label: the same instance, as the detector wrote it and with its mask.
        width, height: of the upright image, pixels.
        settings: rules and thresholds.
    """
    rules = settings.rules
    return [
        reason
        for reason, there in (
            (Reason.NO_SCORE, not _known(box["score"])),
            (Reason.REVIEW_BAND, _in_review_band(box, settings)),
            (Reason.CLASS_CONFLICT, _narrow_win(box, rules.conflict_margin)),
            (Reason.NO_MASK, rules.need_mask and label["mask"] is None),
            (Reason.LOW_MASK_IOU, _below(label, "mask_iou", rules.min_mask_iou)),
            (Reason.BOX_DISAGREES, _below(label, "box_agreement", rules.min_box_agreement)),
            (Reason.BORDER, _at_border(box["box"], width, height, rules.border_px)),
        )
        if there
    ]


def _known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _in_review_band(box: Instance, settings: Triage) -> bool:
    """True for a class outside the ontology: it has no threshold to exceed."""
    band, score = settings.rules.review_band, box["score"]
    if band is None or not _known(score):
        return False
    if box["class"] not in settings.ontology.classes:
        return True
    return score < settings.ontology.threshold_of(box["class"]) + band


def _narrow_win(box: Instance, margin: float | None) -> bool:
    rival = box["conflict"]
    if margin is None or rival is None:
        return False
    score, other = box["score"], rival["score"]
    return not (_known(score) and _known(other)) or score - other <= margin


def _below(label: Label, name: Literal["mask_iou", "box_agreement"], floor: float | None) -> bool:
    """False without a mask: the reason is then NO_MASK."""
    if floor is None or label["mask"] is None:
        return False
    value = label[name]
    return not _known(value) or value < floor


def _at_border(
    box: Sequence[float] | None, width: int | None, height: int | None, margin: float | None
) -> bool:
    if margin is None:
        return False
    if box is None or width is None or height is None or not all(map(math.isfinite, box)):
        return True
    x0, y0, x1, y1 = box
    return min(x0, y0, width - x1, height - y1) <= margin


def overlapping(labels: Sequence[Label], iou: float) -> list[Label]:
    """Labels whose mask overlaps the mask of a label of another class by at least `iou`."""
    masked = [(label, mask) for label in labels if (mask := label["mask"]) is not None]
    classes = np.array([label["class"] for label, _ in masked])
    if len(set(classes)) < 2:
        return []
    rles = [mask for _, mask in masked]
    others = classes[:, None] != classes[None, :]
    ious = mask_ious(rles, rles)
    return [masked[i][0] for i in np.flatnonzero(((ious >= iou) & others).any(axis=1))]
