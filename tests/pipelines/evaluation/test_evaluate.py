"""Evaluations against pycocotools and jiwer, or against values computed by hand."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from judged_runs import (
    BLUE,
    CLASSES,
    HOUSE,
    STAR,
    image,
    label,
    pages_run,
    random_box,
    random_world,
    review,
    run_of,
    truth_of,
)
from labelled_runs import polygon, row_of
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pipelines.calibration.fit import folds_of
from pipelines.errors import ConfigError
from pipelines.evaluation.confusion import BACKGROUND
from pipelines.evaluation.labels import LabelEvaluation, evaluate_labels
from pipelines.evaluation.pages import TextEvaluation, evaluate_text
from pipelines.evaluation.scores import scores_of
from pipelines.evaluation.thresholds import Thresholds, held_out
from pipelines.evaluation.weighted_ap import coco_evaluation, mean_over, precisions, ranked
from pipelines.measures.character_errors import TextLine
from pipelines.measures.word_errors import word_errors
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import iter_rows
from pipelines.truth.coco import indexed
from pipelines.truth.detections_judged import Judged
from pipelines.truth.label_match import Thing, matched
from pipelines.truth.labels import read_beside_truth
from pipelines.truth.slices import parts_of

IMAGES = 60
LEFT, RIGHT = (10.0, 10.0, 110.0, 110.0), (300.0, 10.0, 400.0, 110.0)


def direct(run: RunDir, truth: Path, kind: str, images: list[int] | None = None) -> COCOeval:
    """COCOeval on the truth file itself and on results written as anybody would write them."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(truth))
        names = {one["file_name"]: one["id"] for one in coco.dataset["images"]}
        numbers = {one["name"]: one["id"] for one in coco.dataset["categories"]}
        results = []
        for row in (
            row for batch in iter_rows(run, ("uri", "instances")) for row in batch.to_pylist()
        ):
            for one in row["instances"] or ():
                if one["score"] < 0.5:
                    continue
                x0, y0, x1, y1 = one["box"]
                shape = {"segmentation": one["mask"]}
                if kind == "bbox":
                    shape = {"bbox": [x0, y0, x1 - x0, y1 - y0]}
                place = {"image_id": names[Path(row["uri"]).name]}
                place["category_id"] = numbers[one["class"]]
                results.append(place | {"score": one["score"]} | shape)
        made = COCOeval(coco, coco.loadRes(results), kind)
        if images is not None:
            made.params.imgIds = images
        made.evaluate()
        made.accumulate()
        made.summarize()
    return made


def evaluated(
    run: RunDir, truth: str | Path, slices: Sequence[str] = (), metadata: Path | None = None
) -> LabelEvaluation:
    return evaluate_labels(read_beside_truth(run, truth, ("outcome", *slices), metadata))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, Path]:
    return random_world(tmp_path_factory.mktemp("world"), IMAGES, 1)


@pytest.fixture(scope="module")
def found(world: tuple[RunDir, Path]) -> LabelEvaluation:
    return evaluated(*world, ["kind", "image_size", "folder"])


def value(figure: Any) -> float:
    assert figure is not None
    assert np.isnan(figure.low) or figure.low <= figure.value + 1e-12 <= figure.high + 2e-12
    return float(figure.value)


def test_ap_is_the_number_that_pycocotools_gives(
    world: tuple[RunDir, Path], found: LabelEvaluation
) -> None:
    boxes, masks = direct(*world, "bbox"), direct(*world, "segm")
    aps = [found.whole.ap, *found.sizes.values()]
    assert [value(one.ap) for one in aps] == pytest.approx(boxes.stats[[0, 3, 4, 5]], abs=1e-9)
    assert value(found.whole.ap.ap50) == pytest.approx(boxes.stats[1], abs=1e-9)
    of_masks = [value(one.ap) for one in found.masks.values()]
    assert of_masks == pytest.approx(masks.stats[[0, 3, 4, 5]], abs=1e-9)
    for place, name in enumerate(CLASSES):
        own = boxes.eval["precision"][:, :, place, 0, -1].mean()
        assert value(found.classes[name].ap.ap) == pytest.approx(own, abs=1e-9)
    assert 0.2 < boxes.stats[0] < 0.9, "neither trivial nor hopeless"


def test_ap_of_a_slice_is_that_of_its_images_alone(
    world: tuple[RunDir, Path], found: LabelEvaluation
) -> None:
    pngs = next(one for one in found.slices if one.value == "png")
    alone = direct(*world, "bbox", [number for number in range(IMAGES) if number % 3 == 0])
    assert pngs.figures.images == IMAGES / 3
    assert value(pngs.figures.ap.ap) == pytest.approx(alone.stats[0], abs=1e-9)
    assert value(pngs.figures.ap.ap50) == pytest.approx(alone.stats[1], abs=1e-9)


def test_slices_cover_every_image_and_small_ones_are_marked(found: LabelEvaluation) -> None:
    for column in ("outcome", "kind", "image_size", "folder"):
        parts = [one for one in found.slices if one.column == column]
        assert sum(one.figures.images for one in parts) == IMAGES
        assert all(one.small == (one.figures.images < 30) for one in parts)
    assert {one.value for one in found.slices if one.column == "image_size"} == {"under 0.5 MP"}
    assert {one.value for one in found.slices if one.column == "folder"} == {"/images"}
    png, jpeg = (next(s for s in found.slices if s.value == v) for v in ("png", "jpeg"))
    assert (png.small, jpeg.small) == (True, False)


def test_candidates_lift_ap_and_lengthen_the_curves(found: LabelEvaluation) -> None:
    assert found.candidates > 0
    assert found.everything is not None
    assert value(found.everything.ap) > value(found.whole.ap.ap)
    for name, curve in found.curves.items():
        reached = np.count_nonzero(curve.at_50) / 101
        assert reached > value(found.classes[name].recall) - 0.011, "the threshold is on the curve"
        assert list(curve.at_50) == sorted(curve.at_50, reverse=True)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), weights=st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_an_image_of_weight_two_counts_as_two_images(seed: int, weights: list[int]) -> None:
    random = np.random.default_rng(seed)
    objects, results = [], []
    for number in range(6):
        for _ in range(random.integers(0, 4)):
            objects.append((number, int(random.integers(1, 3)), random_box(random)))
        mine = [one for one in objects if one[0] == number and random.random() < 0.7]
        ghosts = [(number, 1, random_box(random)) for _ in range(random.integers(0, 3))]
        scores = random.permutation(10_000)[: len(mine) + len(ghosts)] / 10_000
        results += [
            (*one, float(s) + number * 1e-6)
            for one, s in zip([*mine, *ghosts], scores, strict=True)
        ]
    once = _judged(objects, results, [1] * 6)
    found = precisions(ranked(once)[0], np.array([[1.0] * 6, weights]))
    for row, judged in ((0, once), (1, _judged(objects, results, weights))):
        grid = judged.eval["precision"][:, :, :, 0, -1]
        known = grid[grid > -1]
        expected = known.mean() if known.size else np.nan
        assert mean_over(found)[row] == pytest.approx(expected, abs=1e-12, nan_ok=True)


def _judged(objects: list[Any], results: list[Any], copies: list[int]) -> COCOeval:
    """pycocotools on a data set that holds each image so many times."""
    images, annotations, rows = [], [], []
    for number, count in enumerate(copies):
        for copy in range(count):
            key = 10 * number + copy
            images.append({"id": key})
            annotations += [
                _annotation(key, kind, box) for image, kind, box in objects if image == number
            ]
            rows += [
                _annotation(key, kind, box) | {"score": score}
                for image, kind, box, score in results
                if image == number
            ]
    numbered = [one | {"id": place} for place, one in enumerate(annotations, 1)]
    categories = [{"id": 1}, {"id": 2}]
    dataset = {"images": images, "annotations": numbered, "categories": categories}
    return coco_evaluation(indexed(dataset), rows, "bbox")


def _annotation(image_id: int, kind: int, box: Any) -> dict[str, Any]:
    sides = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
    one = {"image_id": image_id, "category_id": kind, "bbox": sides}
    return one | {"area": sides[2] * sides[3], "iscrowd": 0}


boxes = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(4, 10)] * 2).map(
    lambda b: (float(b[0]), float(b[1]), float(b[0] + b[2]), float(b[1] + b[3]))
)
names = st.sampled_from(["a", "b"])


@settings(max_examples=150, deadline=None)
@given(
    labels=st.lists(st.builds(Thing, names, boxes, st.floats(0.1, 1)), max_size=6),
    objects=st.lists(st.builds(Thing, names, boxes, crowd=st.booleans()), max_size=6),
)
def test_labels_are_matched_as_pycocotools_matches_them(
    labels: list[Thing], objects: list[Thing]
) -> None:
    found = matched(labels, objects)
    right, ignored = set(), set()
    for kind, name in enumerate(("a", "b"), 1):
        mine = [place for place, one in enumerate(labels) if one.name == name]
        true = [one for one in objects if one.name == name]
        annotations = [
            _annotation(1, kind, one.box) | {"iscrowd": int(one.crowd), "id": number}
            for number, one in enumerate(true, 1)
        ]
        results = [
            _annotation(1, kind, labels[at].box) | {"score": labels[at].score} for at in mine
        ]
        dataset = {"images": [{"id": 1}], "categories": [{"id": kind}], "annotations": annotations}
        (one,) = coco_evaluation(indexed(dataset), results, "bbox").evalImgs[:1]
        if one is not None:
            at = [mine[number - 1] for number in one["dtIds"]]
            hit, passed = one["dtMatches"][0] > 0, one["dtIgnore"][0] > 0
            right |= {a for a, h, p in zip(at, hit, passed, strict=True) if h and not p}
            ignored |= {a for a, p in zip(at, passed, strict=True) if p}
    assert {label for label, _ in found.right} == right
    assert set(found.ignored) == ignored
    everything = [*right, *ignored, *found.wrong, *(label for label, _ in found.mistaken)]
    assert sorted(everything) == list(range(len(labels))), "each label once"
    spoken_of = [*(o for _, o in (*found.right, *found.mistaken)), *found.missed]
    assert sorted(spoken_of) == [place for place, one in enumerate(objects) if not one.crowd]


def test_the_confusion_matrix_says_who_is_taken_for_whom(tmp_path: Path) -> None:
    truth = truth_of(
        tmp_path / "truth.json",
        {"a.jpg": [(STAR, LEFT), (BLUE, RIGHT)], "b.jpg": [(HOUSE, LEFT)], "c.jpg": []},
    )
    rows = [
        image(1, "a.jpg", [label(STAR, LEFT), label(STAR, RIGHT)]),
        image(2, "b.jpg", None),
        image(3, "c.jpg", [label(BLUE, LEFT), label(BLUE, RIGHT, 0.2)]),
    ]
    found = evaluated(run_of(tmp_path / "run", rows), truth)
    assert found.confusion.names == (*CLASSES, BACKGROUND)
    assert found.confusion.counts == (
        (1, 0, 0, 0),
        (1, 0, 0, 0),  # the blue star was called a red one
        (0, 0, 0, 1),  # the house was missed
        (0, 1, 0, 0),  # a blue star on nothing; the candidate does not count
    )
    assert (value(found.whole.precision), value(found.whole.recall)) == (1 / 3, 1 / 3)


def test_thresholds_are_chosen_on_one_half_and_reported_on_the_other() -> None:
    files = np.arange(40)
    chooses, held = next(folds_of(files, 0, 2))
    # One object an image, found; and one label on nothing.
    images = np.repeat(files, 2)
    right = np.tile([True, False], 40)
    scores = np.where(right, 0.8, 0.4)
    scores[np.isin(images, held[:5]) & right] = 0.5  # the other half is not as clear
    seen = Judged(
        scores=scores,
        right=right,
        kept=np.ones(80, bool),
        classes=np.zeros(80, np.int64),
        images=images,
        rows=np.arange(80),
        objects=np.ones((1, 40)),
    )
    found = held_out(seen, Thresholds({"a": 0}, {"a": 0.3}, {"a": 0.1}), files, np.ones((1, 40)), 0)
    assert found is not None
    (one,) = found.classes
    assert (found.images, one.objects) == ((20, 20), (20, 20))
    assert one.chosen == pytest.approx(0.6), "half-way between, as the first half says"
    assert one.before.precision is not None
    assert one.before.precision.value == 0.5, "all labels of the second half, two an image"
    assert one.after.precision is not None
    assert one.after.recall is not None
    assert (one.after.precision.value, one.after.recall.value) == (1.0, 15 / 20)
    assert found.after.f1 == one.after.f1
    assert len(chooses) == 20


def test_a_class_of_few_objects_gets_no_threshold(tmp_path: Path) -> None:
    objects = {f"{n}.jpg": [(STAR, LEFT), *([(BLUE, RIGHT)] if n < 3 else [])] for n in range(30)}
    rows = [
        image(n, name, [label(kind, box) for kind, box in true])
        for n, (name, true) in enumerate(objects.items())
    ]
    found = evaluated(run_of(tmp_path / "run", rows), truth_of(tmp_path / "t.json", objects))
    assert found.thresholds is not None
    assert [one.name for one in found.thresholds.classes] == [STAR]
    assert found.thresholds.too_few == {BLUE: 3}


def test_reviewed_rows_are_truth_too(tmp_path: Path) -> None:
    rows = [
        image(1, "a.pdf", [label(STAR, LEFT)], page=1, pages=2),
        image(2, "a.pdf", [label(STAR, LEFT), label(BLUE, RIGHT)], page=2, pages=2),
        image(3, "b.jpg", [label(HOUSE, LEFT)]),
        image(4, "c.jpg", [label(HOUSE, LEFT)]),
    ]
    run = run_of(tmp_path / "run", rows)
    drawn = label(BLUE, LEFT, mask=None, score=None)
    answers = [
        (1, "accept", [label(STAR, LEFT)]),
        (2, "correct", [label(STAR, LEFT), drawn]),
        (3, "reject", None),
    ]
    review(run, answers)
    found = evaluated(run, "reviewed")
    assert (found.images, found.rejected, found.missing) == (2, 1, 0)
    assert (found.whole.labels, found.whole.ap.objects) == (3, 3)
    assert (value(found.whole.precision), value(found.whole.recall)) == (2 / 3, 2 / 3)
    assert value(found.classes[STAR].ap.ap) == pytest.approx(1)
    assert found.masks == {}, "a drawn box has none"
    assert any("is reviewed" in warning for warning in found.warnings)
    again = evaluated(run, run.path / "reviewed")
    assert again == found


def test_boxes_without_masks_are_judged_as_boxes(tmp_path: Path) -> None:
    truth = truth_of(tmp_path / "truth.json", {"a.jpg": [(STAR, LEFT)]}, segmentation=None)
    run = run_of(tmp_path / "run", [image(1, "a.jpg", [label(STAR, LEFT)])])
    found = evaluated(run, truth)
    assert found.masks == {}
    assert value(found.whole.ap.ap) == pytest.approx(1)
    scores = scores_of(read_beside_truth(run, truth))
    assert (scores.ap, scores.mask_ap) == (pytest.approx(1), None)


def test_a_run_that_found_nothing_scores_nothing(tmp_path: Path) -> None:
    truth = truth_of(tmp_path / "truth.json", {"a.jpg": [(STAR, LEFT)], "b.jpg": []})
    rows = [image(1, "a.jpg", []), image(2, "b.jpg", None)]
    found = evaluated(run_of(tmp_path / "run", rows), truth)
    assert (value(found.whole.ap.ap), value(found.whole.recall)) == (0, 0)
    assert (found.whole.precision, found.whole.f1) == (None, 0)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("uri,camera\na.jpg,x\nb.jpg,\nother.jpg,y\n", {"x": 1, "(none)": 2}),
        ("camera,uri,page\nx,a.jpg,1\ny,a.jpg,2\nz,c.jpg,\n", {"x": 1, "z": 1, "(none)": 1}),
    ],
)
def test_a_table_of_metadata_is_joined_by_uri(
    tmp_path: Path, table: str, expected: dict[str, int]
) -> None:
    path = tmp_path / "meta.csv"
    path.write_text(table)
    rows = [
        image(n, name, [label(STAR, LEFT)]) for n, name in enumerate(("a.jpg", "b.jpg", "c.jpg"))
    ]
    truth = truth_of(tmp_path / "t.json", {row["uri"]: [(STAR, LEFT)] for row in rows})
    run = run_of(tmp_path / "run", rows)
    found = evaluated(run, truth, ["camera"], path)
    parts = {s.value: s.figures.images for s in found.slices if s.column == "camera"}
    assert parts == expected
    pq.write_table(pa.table({"uri": ["b.jpg"], "camera": [7]}), tmp_path / "meta.parquet")
    found = evaluated(run, truth, ["camera"], tmp_path / "meta.parquet")
    parts = {s.value: s.figures.images for s in found.slices if s.column == "camera"}
    assert parts == {"7": 1, "(none)": 2}


@pytest.mark.parametrize(
    ("name", "table", "said"),
    [
        ("outcom", None, "outcome"),
        ("camera", "id,camera\n1,x\n", "has no column uri"),
        ("camera", "uri,camera\nelse.jpg,x\n", "no uri of"),
        ("camera", "uri,camera\na.jpg,x\na.jpg,y\n", "two rows with different values for a.jpg"),
    ],
)
def test_columns_that_cannot_be_sliced_by_are_refused(
    tmp_path: Path, name: str, table: str | None, said: str
) -> None:
    path = tmp_path / "meta.csv" if table else None
    if path:
        path.write_text(table or "")
    run = run_of(tmp_path / "run", [image(1, "a.jpg", [label(STAR, LEFT)])])
    truth = truth_of(tmp_path / "t.json", {"a.jpg": [(STAR, LEFT)]})
    with pytest.raises(ConfigError) as error:
        evaluated(run, truth, [name], path)
    assert said in error.value.message + error.value.remedy


def test_many_numbers_are_cut_at_quartiles_and_lists_put_rows_into_several_parts() -> None:
    parts = parts_of("n", [(float(number),) for number in range(100)])
    assert [len(one.members) for one in parts] == [25, 25, 25, 25]
    assert parts[0].value == "0 to 24.75"
    parts = parts_of("name", [(f"v{min(number, 25)}",) for number in range(60)])
    assert [len(one.members) for one in parts][:1] == [35]
    assert (parts[-1].value, len(parts), len(parts[-1].members)) == ("(6 others)", 21, 6)
    parts = parts_of("reasons", [("a", "b"), (None,), ("b",)])
    assert {one.value: one.members.tolist() for one in parts} == {
        "b": [0, 2],
        "a": [0],
        "(none)": [1],
    }


# --- texts ---


@pytest.fixture
def texts(tmp_path: Path) -> TextEvaluation:
    """Four pages of ten characters and two words: right, one wrong, all missed, told by the VLM."""
    true = ["alpha", "gamma"]
    good = [("alpha", 0.9), ("gamma", 0.9)]
    unread = {"outcome": "failed", "text": None, "lines": None, "text_source": None}
    rows = [
        row_of(1, "right", good),
        row_of(2, "wrong", [("alpha", 0.9), ("gamna", 0.9)]),
        row_of(3, "failed", []) | unread,
        row_of(4, "vlm", [("a1pha", 0.5)], outcome="vlm", text="Gamma  Alpha", text_source="vlm x"),
        row_of(5, "other", good),
    ]
    rows[0]["lines"] = rows[0]["lines"][::-1]  # found in another order
    names = ("right", "wrong", "failed", "vlm", "absent")
    run = pages_run(tmp_path, rows, dict.fromkeys(names, true))
    return evaluate_text(run, tmp_path / "truth", ["text_source", "evidence.lines"])


def test_texts_are_judged_as_they_finally_are(texts: TextEvaluation) -> None:
    whole = texts.whole
    assert (texts.pages, texts.unused, whole.characters, whole.words) == (4, 1, 40, 8)
    by_outcome = {one.value: one.figures for one in texts.slices if one.column == "outcome"}
    assert value(by_outcome["ocr"].cer_without_blanks) == 1 / 20
    assert value(by_outcome["ocr"].wer) == 1 / 4
    assert value(by_outcome["ocr"].exact) == 1 / 2
    assert (value(by_outcome["failed"].cer_without_blanks), value(by_outcome["failed"].wer)) == (
        1,
        1,
    )
    assert value(by_outcome["vlm"].cer_without_blanks) == 0, (
        "its text, not the first reader's lines"
    )
    assert value(whole.cer_without_blanks) == 11 / 40
    assert value(whole.wer_of_a_page) == pytest.approx(
        (0 + 0.5 + 1 + value(by_outcome["vlm"].wer)) / 4
    )
    assert texts.page_cers_without_blanks == (0, 0, 0.1, 1)


def test_the_worst_pages_come_first(texts: TextEvaluation) -> None:
    assert [(one.uri, one.cer_without_blanks, one.errors) for one in texts.worst] == [
        ("/scans/failed.jpg", 1, 10),
        ("/scans/wrong.jpg", 0.1, 1),
    ]


def test_pages_are_sliced_by_fields_of_structs(texts: TextEvaluation) -> None:
    lines = {one.value: one.figures.pages for one in texts.slices if one.column == "evidence.lines"}
    assert lines == {"2": 2, "0": 1, "1": 1}
    assert all(one.small for one in texts.slices)
    alone = next(one.figures for one in texts.slices if one.value == "failed")
    assert alone.cer_without_blanks is not None
    assert np.isnan(alone.cer_without_blanks.low), "one file has no interval"
    assert any("4 pages are few" in warning for warning in texts.warnings)


def test_reviewed_texts_are_truth_and_rejected_ones_are_not(tmp_path: Path) -> None:
    rows = [row_of(n, f"{n}", [("alpha", 0.9)], outcome="review") for n in range(3)]
    run = pages_run(tmp_path, rows, {})
    review(run, [(0, "accept", "alpha"), (1, "correct", "alphas"), (2, "reject", None)])
    found = evaluate_text(run, "reviewed")
    assert (found.pages, found.rejected) == (2, 1)
    assert value(found.whole.cer_without_blanks) == 1 / 11
    assert any("is reviewed" in warning for warning in found.warnings)
    (run.path / "reviewed" / "review-1.parquet").unlink()
    (run.path / "reviewed").rmdir()
    review(run, [(2, "reject", None)])
    with pytest.raises(ConfigError, match="all 1 pages of it are rejected"):
        evaluate_text(run, "reviewed")


def test_texts_are_judged_with_blanks_and_in_order(tmp_path: Path) -> None:
    """Three pages of plain text, by hand: glued words, a wrong order, and one of SROIE lines."""
    rows = [
        row_of(1, "glued", [("Fare 2.40No.17", 0.9), ("paid", 0.9)]),
        row_of(2, "shuffled", [("the end", 0.9), ("at first", 0.9), ("then more", 0.9)]),
        row_of(3, "boxed", [("1 2:30", 0.9)]),
    ]
    run = pages_run(tmp_path, rows, {"boxed": ["12 : 30"]})
    (tmp_path / "truth" / "glued.txt").write_text("Fare 2.40  No. 17\npaid\n")
    (tmp_path / "truth" / "shuffled.txt").write_text("at first\nthen more\nthe end\n")
    found = evaluate_text(run, tmp_path / "truth")
    assert (found.unreliable_blanks, found.unknown_order) == (1, 1)
    whole, order = found.whole, found.whole.in_order
    assert value(whole.cer_without_blanks) == 0
    # Two blanks of the first page are lost; its lines have 16 and 4 characters with blanks, those
    # of the second page 8, 9 and 7.
    assert value(whole.cer_with_blanks) == 2 / 44
    assert value(whole.cer_with_blanks_of_a_page) == 2 / 20 / 2, "the third page has no part in it"
    # "2.40No.17" for three words; "1 2:30" for three words.
    assert (value(whole.wer), whole.words) == (6 / 14, 14)
    assert order.pages == 2
    # The end of the second page stands first: 8 characters are moved, by 16 edits.
    assert value(order.ned) == (2 + 16) / (21 + 26)
    assert value(order.cer_without_blanks) == 12 / (17 + 21)
    assert value(order.wer) == (3 + 4) / (5 + 6)
    assert value(order.wrong_successors) == 1 / 3
    worst = [(one.uri, one.cer_with_blanks, one.ned) for one in found.worst]
    assert worst == [
        ("/scans/glued.jpg", 2 / 20, 2 / 21),
        ("/scans/shuffled.jpg", 0, 16 / 26),
    ]


def test_boxed_truth_has_no_figure_with_blanks_or_order(texts: TextEvaluation) -> None:
    for one in (texts.whole, *(part.figures for part in texts.slices)):
        assert (one.cer_with_blanks, one.cer_with_blanks_of_a_page) == (None, None)
        order = one.in_order
        assert (order.pages, order.ned, order.wer, order.wrong_successors) == (0, None, None, None)
    assert (texts.unreliable_blanks, texts.unknown_order) == (4, 4)
    assert texts.page_cers_with_blanks == ()
    assert all(one.cer_with_blanks is None and one.ned is None for one in texts.worst)


def test_pages_of_one_file_are_drawn_together(tmp_path: Path) -> None:
    """Ten files of ten pages, one file all wrong: the interval is that of ten files."""
    rows, names = [], {}
    for file in range(10):
        for page in range(1, 11):
            read = "xxxxx" if file == 0 else "alpha"
            rows.append(row_of(100 * file + page, f"{file}", [(read, 0.9)], page=page, pages=10))
            names[f"{file}.page{page}"] = ["alpha"]
    run = pages_run(tmp_path, rows, names)
    found = evaluate_text(run, tmp_path / "truth").whole
    assert (found.pages, found.files) == (100, 10)
    cer = found.cer_without_blanks
    assert cer is not None
    assert (cer.value, cer.low) == (0.1, 0)
    assert cer.high >= 0.3 - 1e-9, "100 pages by themselves would give 0.16"


words = st.text("abcde", min_size=1, max_size=4)
line = st.lists(words, min_size=1, max_size=6).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(read=line, truth=line)
def test_word_errors_of_a_line_are_those_of_jiwer(read: str, truth: str) -> None:
    found = word_errors([TextLine(read)], [TextLine(truth)])
    expected = jiwer.process_words(truth, read)
    wrong = expected.substitutions + expected.deletions + expected.insertions
    assert found == (wrong, len(truth.split()))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_words_are_as_wrong_in_any_order_of_the_lines(data: st.DataObject) -> None:
    truth = data.draw(st.lists(line, min_size=1, max_size=6, unique=True))
    read = data.draw(st.permutations(truth))
    assert word_errors([TextLine(one) for one in read], [TextLine(one) for one in truth])[0] == 0
    boxed = {text: tuple(polygon(n)[i] for i in (0, 1, 2, 5)) for n, text in enumerate(truth)}
    placed = [TextLine(text, boxed[text]) for text in read]  # type: ignore[arg-type]
    assert word_errors(placed, [TextLine(text, boxed[text]) for text in truth])[0] == 0  # type: ignore[arg-type]
    split = [TextLine(part, box) for one in placed for part, box in _halves(one)]
    assert word_errors(split, placed)[0] == 0, "a line that was found as two"


def _halves(one: TextLine) -> list[tuple[str, Any]]:
    """A line cut between two words, each with its half of the box."""
    text = one.text.split()
    middle = len(text) // 2
    assert one.box is not None
    x0, y0, x1, y1 = one.box
    if not middle:
        return [(one.text, one.box)]
    cut = (x0 + x1) / 2
    return [
        (" ".join(text[:middle]), (x0, y0, cut, y1)),
        (" ".join(text[middle:]), (cut, y0, x1, y1)),
    ]
