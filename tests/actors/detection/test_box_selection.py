"""Floors, sizes, NMS by class, exclusion groups, and boxes cut by the edge of a view."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_iou

from actors.detection.boxes import ROWS, Candidates, Selector, in_view
from actors.ontology import Ontology

HERE, NEAR, AWAY = [10, 10, 110, 110], [15, 10, 115, 110], [300, 300, 340, 380]  # IoU .90, 0


def found(*rows: tuple[list[int], float, int]) -> Candidates:
    """(box, score, prompt)."""
    boxes = torch.tensor([row[0] for row in rows], dtype=torch.float32).reshape(-1, 4)
    scores = torch.tensor([row[1] for row in rows])
    return Candidates(boxes, scores, torch.tensor([row[2] for row in rows], dtype=torch.int64))


def chosen(
    candidates: Candidates, min_score: float | None = None, **ontology: Any
) -> list[dict[str, Any]]:
    selector = Selector(Ontology.model_validate(ontology), nms_iou=0.7, min_score=min_score)
    return selector.instances(candidates, "test")


def named(instances: list[dict[str, Any]]) -> list[tuple[str, float]]:
    return [(each["class"], round(each["score"], 2)) for each in instances]


def test_one_object_of_a_class_is_one_box_and_classes_do_not_suppress_each_other() -> None:
    out = chosen(
        found((HERE, 0.6, 0), (NEAR, 0.8, 0), (NEAR, 0.7, 1), (AWAY, 0.5, 0)),
        classes={"cat": {}, "pet": {}},
    )
    assert named(out) == [("cat", 0.8), ("pet", 0.7), ("cat", 0.5)]
    assert out[0]["box"] == NEAR
    assert all(each["conflict"] is None and each["kept"] for each in out)


def test_synonyms_fold_into_their_class_and_the_better_one_is_recorded() -> None:
    out = chosen(
        found((HERE, 0.5, 0), (HERE, 0.9, 1), (AWAY, 0.6, 0)),
        classes={"sofa": {"prompts": ["sofa", "couch"]}},
    )
    assert [(each["class"], each["prompt"]) for each in out] == [
        ("sofa", "couch"),
        ("sofa", "sofa"),
    ]


def test_of_exclusive_classes_the_best_stays_and_the_loser_is_evidence() -> None:
    out = chosen(
        found((HERE, 0.6, 0), (NEAR, 0.8, 1), (AWAY, 0.4, 0), (NEAR, 0.7, 2)),
        classes={"car": {}, "truck": {}, "wheel": {}},
        exclusive=[["car", "truck"]],
    )
    assert named(out) == [("truck", 0.8), ("wheel", 0.7), ("car", 0.4)]
    conflict = out[0]["conflict"]
    assert (conflict["class"], round(conflict["score"], 2)) == ("car", 0.6)
    assert 0.89 < conflict["iou"] < 0.91
    assert out[1]["conflict"] is None


def test_a_loser_excludes_nobody() -> None:
    """a beats b; c overlaps b alone and must stay."""
    a, b, c = [0, 0, 100, 100], [25, 0, 125, 100], [50, 0, 150, 100]  # IoU 0.6 each to the next
    out = chosen(
        found((a, 0.9, 0), (b, 0.8, 1), (c, 0.7, 2)),
        classes={"a": {}, "b": {}, "c": {}},
        exclusive=[["a", "b", "c"]],
        exclusive_iou=0.5,
    )
    assert named(out) == [("a", 0.9), ("c", 0.7)]


def test_candidates_below_their_threshold_are_marked_and_push_out_nothing() -> None:
    out = chosen(
        found((HERE, 0.55, 0), (NEAR, 0.3, 1), (AWAY, 0.2, 1)),
        min_score=0.1,
        classes={"car": {"threshold": 0.6}, "truck": {"threshold": 0.25}},
        exclusive=[["car", "truck"]],
    )
    assert [(each["class"], each["kept"]) for each in out] == [("truck", True), ("truck", False)]
    assert out[0]["conflict"]["class"] == "car"


def test_floors_are_the_thresholds_or_the_lower_minimum_score() -> None:
    ontology = Ontology.model_validate(
        {"classes": {"car": {"prompts": ["car", "auto"], "threshold": 0.6}, "cat": {}}}
    )
    assert Selector(ontology, 0.7, None).floors.tolist() == torch.tensor([0.6, 0.6, 0.3]).tolist()
    assert Selector(ontology, 0.7, 0.5).floors.tolist() == torch.tensor([0.5, 0.5, 0.3]).tolist()


def test_small_boxes_are_dropped_by_their_shorter_side() -> None:
    out = chosen(
        found(([0, 0, 100, 7], 0.9, 0), ([0, 0, 100, 9], 0.8, 0), ([0, 50, 4, 54], 0.7, 1)),
        classes={"pole": {"min_size": 8}, "bolt": {}},
    )
    assert named(out) == [("pole", 0.8), ("bolt", 0.7)]


def test_nothing_found_is_an_empty_list() -> None:
    assert chosen(found(), classes={"cat": {}}) == []


corner = st.integers(0, 60)
boxes = st.tuples(corner, corner, st.integers(1, 40), st.integers(1, 40)).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)


@settings(deadline=None)  # the machine is shared
@given(
    rows=st.lists(st.tuples(boxes, st.floats(0.3, 0.99), st.integers(0, 3)), max_size=25),
)
def test_no_two_instances_claim_what_the_rules_forbid(rows: list[Any]) -> None:
    out = chosen(
        found(*rows),
        classes={"a": {"prompts": ["x", "y"]}, "b": {}, "c": {}},
        exclusive=[["a", "b"]],
    )
    ious = box_iou(*[torch.tensor([each["box"] for each in out]).reshape(-1, 4)] * 2)
    for i, one in enumerate(out):
        for j, other in enumerate(out[:i]):
            pair = {one["class"], other["class"]}
            if len(pair) == 1 or pair == {"a", "b"}:
                assert ious[i, j] <= 0.7 + 1e-5
    assert [each["score"] for each in out] == sorted((e["score"] for e in out), reverse=True)
    assert bool(out) == bool(rows)


def one_by_one(listed: list[dict[str, Any]], excludes: set[tuple[str, str]], iou: float) -> None:
    """The rule as a plain loop, in place: each box left removes its rivals behind it."""
    i = 0
    while i < len(listed):
        mine, rest = listed[i], listed[i + 1 :]
        overlaps = box_iou(
            torch.tensor([mine["box"]]), torch.tensor([o["box"] for o in rest]).reshape(-1, 4)
        )[0]
        lost = [
            (other, float(overlap))
            for other, overlap in zip(rest, overlaps, strict=True)
            if (mine["class"], other["class"]) in excludes and overlap >= iou
        ]
        if lost:
            other, overlap = lost[0]
            mine["conflict"] = {
                "class": other["class"],
                "score": other["score"],
                "iou": overlap,
            }
        listed[i + 1 :] = [each for each in rest if not any(each is other for other, _ in lost)]
        i += 1


CLASSES = {"a": {"prompts": ["x", "y"]}, "b": {"threshold": 0.6}, "c": {"min_size": 9}, "d": {}}
GROUPS = [["a", "b"], ["b", "c"]]  # b excludes a and c, which do not exclude each other
PAIRS = {("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")}


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(boxes, st.floats(0.1, 0.99), st.integers(0, 4)), max_size=40),
    iou=st.sampled_from([0.05, 0.3, 0.7]),
)
def test_exclusion_is_the_rule_one_by_one(rows: list[Any], iou: float) -> None:
    wanted = chosen(found(*rows), min_score=0.1, classes=CLASSES)
    one_by_one(wanted, PAIRS, iou)
    out = chosen(found(*rows), min_score=0.1, classes=CLASSES, exclusive=GROUPS, exclusive_iou=iou)
    assert out == wanted


def test_exclusion_among_many_boxes_is_the_rule_one_by_one() -> None:
    """More candidates than are compared in one step, with chains of rivals across the steps."""
    draw = torch.Generator().manual_seed(0)
    size = 4 * ROWS
    centres = 400 * torch.rand(60, 2, generator=draw)
    middle = centres[torch.randint(0, 60, (size,), generator=draw)]
    middle = middle + 8 * torch.randn(size, 2, generator=draw)
    half = 20 + 5 * torch.rand(size, 2, generator=draw)
    candidates = Candidates(
        torch.cat([middle - half, middle + half], 1),
        0.1 + 0.9 * torch.rand(size, generator=draw),
        torch.randint(0, 5, (size,), generator=draw),
    )
    rules = {"nms_iou": 0.95, "min_score": 0.1}
    free = Selector(Ontology.model_validate({"classes": CLASSES}), **rules)
    bound = Selector(
        Ontology.model_validate({"classes": CLASSES, "exclusive": GROUPS, "exclusive_iou": 0.4}),
        **rules,
    )
    wanted = free.instances(candidates, "test")
    assert len(wanted) > 2 * ROWS
    one_by_one(wanted, PAIRS, 0.4)
    picked = bound.picked(candidates, "test")
    assert [instance for _, instance in picked] == wanted
    assert all(candidates.boxes[place].tolist() == one["box"] for place, one in picked)


def test_boxes_of_a_tile_lie_in_the_image_and_cut_ones_are_left_to_other_views() -> None:
    tile = (100, 0, 300, 200)  # of an image of 500 x 200: left and right edge are inner edges
    relative = torch.tensor(
        [
            [0.5, 0.5, 0.5, 0.5],  # whole
            [0.05, 0.5, 0.1, 0.2],  # ends at the left edge, where the image goes on
            [0.95, 0.5, 0.1, 0.2],  # the same on the right
            [0.5, 0.05, 0.2, 0.2],  # beyond the top, where the image ends: clipped and whole
            [0.5, 0.5, 0.0, 0.2],  # no area
        ]
    )
    corners, whole = in_view(relative, tile, 500, 200)
    assert whole.tolist() == [True, False, False, True, False]
    assert corners[0].tolist() == [150, 50, 250, 150]
    torch.testing.assert_close(corners[3], torch.tensor([180.0, 0.0, 220.0, 30.0]))
