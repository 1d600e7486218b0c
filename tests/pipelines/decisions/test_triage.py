"""Outcomes of labelled images: every rule, each switched off, and missing evidence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from actors.failures import FAILURE, FailureKind, failure
from actors.instances import BOXES, MASKS
from actors.ontology import Ontology
from pipelines.decisions.triage import (
    ImageOutcome,
    Reason,
    Triage,
    TriageConfig,
    triage,
    triage_image,
)

WIDTH, HEIGHT = 200, 100
ONTOLOGY = Ontology.model_validate(
    {"classes": {"star": {"threshold": 0.5}, "circle": None}, "threshold": 0.3}
)
OFF = TriageConfig(
    review_band=None,
    conflict_margin=None,
    conflict_iou=None,
    need_mask=False,
    min_mask_iou=None,
    min_box_agreement=None,
    border_px=None,
    max_instances=None,
)


def box(**changes: Any) -> dict[str, Any]:
    """An instance that nothing speaks against."""
    good = {
        "class": "star",
        "score": 0.9,
        "box": [20.0, 30.0, 60.0, 70.0],
        "prompt": "star",
        "source": "grounding_dino",
        "kept": True,
        "conflict": None,
    }
    return good | changes


def mask(corners: tuple[int, int, int, int] = (20, 30, 60, 70), **changes: Any) -> dict[str, Any]:
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    x0, y0, x1, y1 = corners
    pixels[y0:y1, x0:x1] = 1
    rle = coco.encode(pixels)
    good = {
        "counts": rle["counts"].decode(),
        "size": [HEIGHT, WIDTH],
        "mask_iou": 0.95,
        "box_agreement": 1.0,
    }
    return good | changes


def image(boxes: Any = (), masks: Any = (), **changes: Any) -> dict[str, Any]:
    row = {
        "width": WIDTH,
        "height": HEIGHT,
        "boxes": None if boxes is None else list(boxes),
        "masks": None if masks is None else list(masks),
        "notes": [],
        "fetch_failure": None,
        "detect_failure": None,
        "segment_failure": None,
    }
    return row | changes


def judged(row: dict[str, Any], **rules: Any) -> dict[str, Any]:
    return triage_image(row, Triage(rules=TriageConfig(**rules), ontology=ONTOLOGY))


@pytest.mark.parametrize("boxes", [[], [box()]])
def test_a_picture_without_contrast_is_reviewed_and_never_empty(boxes: list[Any]) -> None:
    row = image(boxes, [mask()] * len(boxes), notes=["low_contrast"])
    found = judged(row)
    assert (found["outcome"], found["reasons"]) == ("review", ["low_contrast"])
    assert judged(row, low_contrast=False)["outcome"] == ("accepted" if boxes else "empty")
    assert judged(image(notes=["attachments"]))["outcome"] == "empty"


def test_image_that_nothing_speaks_against_is_accepted() -> None:
    found = judged(image([box()], [mask()]))
    assert (found["outcome"], found["reasons"]) == ("accepted", [])
    (label,) = found["instances"]
    assert label["mask"] == {"counts": mask()["counts"], "size": [HEIGHT, WIDTH]}
    assert (label["class"], label["mask_iou"], label["reasons"]) == ("star", 0.95, [])


def test_image_without_objects_is_empty() -> None:
    assert judged(image()) == {"outcome": "empty", "reasons": [], "instances": []}


SUSPECTS = [
    (box(score=0.59), mask(), Reason.REVIEW_BAND, "review_band"),
    (box(**{"class": "unheard of"}), mask(), Reason.REVIEW_BAND, "review_band"),
    (
        box(conflict={"class": "circle", "score": 0.85, "iou": 0.9}),
        mask(),
        Reason.CLASS_CONFLICT,
        "conflict_margin",
    ),
    (
        box(conflict={"class": "circle", "score": None, "iou": 0.9}),
        mask(),
        Reason.CLASS_CONFLICT,
        "conflict_margin",
    ),
    (box(), mask(mask_iou=0.69), Reason.LOW_MASK_IOU, "min_mask_iou"),
    (box(), mask(mask_iou=None), Reason.LOW_MASK_IOU, "min_mask_iou"),
    (box(), mask(mask_iou=float("nan")), Reason.LOW_MASK_IOU, "min_mask_iou"),
    (box(), mask(box_agreement=0.4), Reason.BOX_DISAGREES, "min_box_agreement"),
    (box(), mask(box_agreement=None), Reason.BOX_DISAGREES, "min_box_agreement"),
    (box(box=[0.5, 30.0, 60.0, 70.0]), mask(), Reason.BORDER, "border_px"),
    (box(box=[20.0, 30.0, 60.0, 99.5]), mask(), Reason.BORDER, "border_px"),
    (box(box=[20.0, 30.0, 200.0, 70.0]), mask(), Reason.BORDER, "border_px"),
    (box(box=[float("nan")] * 4), mask(), Reason.BORDER, "border_px"),
]


@pytest.mark.parametrize(("suspect", "its_mask", "reason", "rule"), SUSPECTS)
def test_each_rule_sends_to_review_and_can_be_switched_off(
    suspect: dict[str, Any], its_mask: dict[str, Any], reason: Reason, rule: str
) -> None:
    row = image(
        [box(box=[120.0, 20.0, 160.0, 60.0]), suspect], [mask((120, 20, 160, 60)), its_mask]
    )
    found = judged(row)
    assert (found["outcome"], found["reasons"]) == ("review", [reason])
    assert [label["reasons"] for label in found["instances"]] == [[], [reason]]
    assert judged(row, **{rule: None})["outcome"] == "accepted"


@pytest.mark.parametrize(
    ("good", "rule"),
    [
        (box(score=0.61), "review_band"),
        (box(**{"class": "circle"}, score=0.41), "review_band"),  # the ontology's threshold
        (box(conflict={"class": "circle", "score": 0.5, "iou": 0.9}), "conflict_margin"),
        (box(box=[1.5, 1.5, 198.5, 98.5]), "border_px"),
    ],
)
def test_labels_at_the_limit_are_accepted(good: dict[str, Any], rule: str) -> None:
    assert judged(image([good], [mask()]))["outcome"] == "accepted", rule


@pytest.mark.parametrize("score", [None, float("nan")])
def test_unknown_score_is_never_accepted(score: float | None) -> None:
    row = image([box(score=score)], [mask()])
    for rules in (TriageConfig(), OFF):
        found = triage_image(row, Triage(rules=rules, ontology=ONTOLOGY))
        assert (found["outcome"], found["reasons"]) == ("review", ["no_score"])


@pytest.mark.parametrize(
    "masks", [None, [], [None], [{**mask(), "counts": None}], [mask(), mask()]]
)
def test_missing_mask_is_never_accepted(masks: Any) -> None:
    row = image([box()], masks)
    found = judged(row)
    assert (found["outcome"], found["reasons"]) == ("review", ["no_mask"])
    assert found["instances"][0]["mask"] is None
    assert judged(row, need_mask=False)["outcome"] == "accepted"  # a detector without masks


def test_two_classes_on_the_same_pixels_conflict() -> None:
    other = box(**{"class": "circle"}, box=[22.0, 30.0, 60.0, 70.0])
    row = image([box(), other], [mask(), mask((22, 30, 60, 70))])
    found = judged(row)
    assert (found["outcome"], found["reasons"]) == ("review", ["class_conflict"])
    assert [label["reasons"] for label in found["instances"]] == [["class_conflict"]] * 2
    assert judged(row, conflict_iou=0.99)["outcome"] == "accepted"
    assert judged(row, conflict_iou=None)["outcome"] == "accepted"
    same_class = image([box(), box()], [mask(), mask((22, 30, 60, 70))])
    assert judged(same_class)["outcome"] == "accepted"
    rival = {"class": "circle", "score": 0.85, "iou": 0.9}
    both = judged(image([box(conflict=rival), other], [mask(), mask((22, 30, 60, 70))]))
    assert both["instances"][0]["reasons"] == ["class_conflict"]  # named once


def test_too_many_labels_are_a_reason_of_the_image() -> None:
    row = image([box()] * 3, [mask()] * 3)
    found = judged(row, max_instances=2)
    assert (found["outcome"], found["reasons"]) == ("review", ["too_many_boxes"])
    assert all(label["reasons"] == [] for label in found["instances"])
    assert judged(row, max_instances=3)["outcome"] == "accepted"


def test_candidate_below_its_threshold_is_written_and_never_a_label() -> None:
    weak = box(score=0.2, kept=False, box=[0.0, 0.0, 9.0, 9.0])
    alone = judged(image([weak], [None]))
    assert (alone["outcome"], alone["reasons"]) == ("empty", [])
    assert [label["reasons"] for label in alone["instances"]] == [["below_threshold"]]
    beside = judged(image([box(), weak], [mask(), mask(mask_iou=0.1)]), max_instances=1)
    assert beside["outcome"] == "accepted"
    rival = box(**{"class": "circle"}, kept=False)
    assert judged(image([box(), rival], [mask(), mask()]))["outcome"] == "accepted"
    assert judged(image([box(kept=None, score=0.55)], [mask()]))["outcome"] == "review"


@pytest.mark.parametrize("column", ["fetch_failure", "detect_failure", "segment_failure"])
def test_failure_ends_in_failed_with_its_kind(column: str) -> None:
    fault = failure(FailureKind.CORRUPT_IMAGE, "cut")
    found = judged(image([box()], None, **{column: fault}))
    assert found == {"outcome": "failed", "reasons": ["CORRUPT_IMAGE"], "instances": None}


def test_image_that_nobody_looked_at_is_failed() -> None:
    found = judged(image(None, None))
    assert (found["outcome"], found["reasons"]) == ("failed", ["no_labels"])


def test_step_appends_its_columns_to_a_table() -> None:
    rows = [
        image([box()], [mask()]),
        image(),
        image([box(score=0.55)], [mask()]),
        image(
            None, None, width=None, height=None, fetch_failure=failure(FailureKind.EMPTY_FILE, "")
        ),
    ]
    types = {field.name: field.type for field in triage.reads}
    table = pa.table(
        {name: pa.array([row[name] for row in rows], kind) for name, kind in types.items()}
    )
    out = triage.run(table, Triage(ontology=ONTOLOGY))
    assert out.schema == pa.schema([*triage.reads, *triage.writes])
    assert out["outcome"].to_pylist() == ["accepted", "empty", "review", "failed"]
    assert out["reasons"].to_pylist() == [[], [], ["score_in_review_band"], ["EMPTY_FILE"]]
    assert [
        len(labels) if labels is not None else None for labels in out["instances"].to_pylist()
    ] == [
        1,
        0,
        1,
        None,
    ]
    assert types["boxes"] == BOXES
    assert types["masks"] == MASKS
    assert types["fetch_failure"] == FAILURE


numbers = st.none() | st.floats(0, 1, width=32) | st.just(float("nan"))


@given(
    st.lists(
        st.tuples(numbers, numbers, numbers, st.sampled_from([True, False, None]), st.booleans()),
        max_size=5,
    )
)
def test_nothing_is_accepted_that_lacks_evidence(drawn: list[Any]) -> None:
    boxes = [box(score=score, kept=kept) for score, _, _, kept, _ in drawn]
    masks = [
        mask(mask_iou=iou, box_agreement=agreement) if there else None
        for _, iou, agreement, _, there in drawn
    ]
    found = judged(image(boxes, masks))
    kept = [label for label in found["instances"] if label["reasons"] != ["below_threshold"]]
    if found["outcome"] == ImageOutcome.ACCEPTED:
        for label in kept:
            assert label["score"] >= 0.6
            assert label["mask"] is not None
            assert label["mask_iou"] >= 0.7
            assert label["box_agreement"] >= 0.5
    assert (found["outcome"] == ImageOutcome.EMPTY) == (not kept)
    assert (found["outcome"] == ImageOutcome.REVIEW) == bool(found["reasons"])
