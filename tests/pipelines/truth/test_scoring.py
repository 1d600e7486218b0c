"""Labels against truth, on small shards with figures computed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pycocotools import mask as coco_mask

from pipelines.decisions.triage import LABELS
from pipelines.errors import ConfigError
from pipelines.evaluation.scores import Scores, scores_of
from pipelines.runs.directory import RunDir
from pipelines.truth.labels import read_beside_truth

ONTOLOGY = {"classes": {"cat": {"prompts": ["cat", "kitten"]}, "dog": {}}}
SIZE = 100


def rle(box: list[float]) -> dict[str, Any]:
    """The mask of a whole box on an image of 100 x 100 px."""
    mask = np.zeros((SIZE, SIZE), dtype=np.uint8, order="F")
    x0, y0, x1, y1 = map(int, box)
    mask[y0:y1, x0:x1] = 1
    found = coco_mask.encode(mask)
    return {"counts": found["counts"].decode(), "size": found["size"]}


def label(name: str, box: list[float], score: float = 0.9, **changes: Any) -> dict[str, Any]:
    return {"class": name, "score": score, "box": box, "mask": rle(box), "reasons": []} | changes


def run_of(folder: Path, images: dict[str, list[dict[str, Any]] | None]) -> RunDir:
    run = RunDir(folder / "run")
    run.create()
    run.write_record({"job": "autolabel", "config": {"detector": {"ontology": ONTOLOGY}}})
    count = len(images)
    rows = pa.table(
        {
            "row_id": pa.array(range(count), pa.int64()),
            "uri": list(images),
            "page": [1] * count,
            "width": [SIZE] * count,
            "height": [SIZE] * count,
            "outcome": ["accepted"] * count,
            "reasons": pa.array([[]] * count, pa.list_(pa.string())),
            "instances": pa.array(list(images.values()), LABELS),
        }
    )
    pq.write_table(rows, run.shards / "part-0.parquet")
    return run


def scored(run: RunDir, truth: Path) -> Scores:
    return scores_of(read_beside_truth(run, truth))


def truth_of(folder: Path, objects: dict[str, list[tuple[str, list[float]]]]) -> Path:
    categories = [{"id": 7, "name": "Dog"}, {"id": 9, "name": "kitten"}, {"id": 11, "name": "bus"}]
    number = {one["name"].lower(): one["id"] for one in categories}
    images = [
        {"id": i, "file_name": name, "width": SIZE, "height": SIZE}
        for i, name in enumerate(objects, 1)
    ]
    boxes = [(i, *one) for i, found in enumerate(objects.values(), 1) for one in found]
    annotations = [
        {
            "id": k,
            "image_id": i,
            "category_id": number[name],
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": (x1 - x0) * (y1 - y0),
            "segmentation": rle([x0, y0, x1, y1]),
            "iscrowd": 0,
        }
        for k, (i, name, (x0, y0, x1, y1)) in enumerate(boxes, 1)
    ]
    path = folder / "truth.json"
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return path


LEFT, RIGHT = [10.0, 10.0, 40.0, 40.0], [60.0, 10.0, 90.0, 40.0]


def test_perfect_labels_score_one(tmp_path: Path) -> None:
    truth = truth_of(tmp_path, {"a.jpg": [("dog", LEFT), ("kitten", RIGHT)]})
    run = run_of(tmp_path, {"s3://b/a.jpg": [label("dog", LEFT), label("cat", RIGHT)]})
    scores = scored(run, truth)
    whole = (scores.ap, scores.mask_ap, scores.precision, scores.recall, scores.mask_iou)
    assert whole == pytest.approx((1, 1, 1, 1, 1))
    assert scores.per_class == pytest.approx({"cat": 1, "dog": 1})


def test_a_failed_image_and_a_wrong_class_cost_recall_and_precision(tmp_path: Path) -> None:
    truth = truth_of(
        tmp_path, {"a.jpg": [("dog", LEFT), ("kitten", RIGHT)], "b.jpg": [("dog", LEFT)]}
    )
    run = run_of(
        tmp_path, {"x/a.jpg": [label("dog", LEFT), label("dog", RIGHT, 0.5)], "x/b.jpg": None}
    )
    scores = scored(run, truth)
    assert (scores.images, scores.objects, scores.labels) == (2, 3, 2)
    assert (scores.precision, scores.recall) == pytest.approx((1 / 2, 1 / 3))
    assert scores.per_class["cat"] == 0
    assert scores.per_class["dog"] == pytest.approx(0.5, abs=0.01), "one of two, 101 recalls"


def test_boxes_count_from_half_an_overlap_and_masks_by_their_own(tmp_path: Path) -> None:
    truth = truth_of(tmp_path, {"a.jpg": [("dog", LEFT)]})
    shifted = [10.0, 10.0, 40.0, 28.0]  # IoU 0.6 with LEFT
    run = run_of(tmp_path, {"a.jpg": [label("dog", shifted)]})
    scores = scored(run, truth)
    assert scores.ap50 == pytest.approx(1)
    assert scores.ap == pytest.approx(0.3), "right at 0.50, 0.55 and 0.60 of ten IoUs"
    assert scores.mask_iou == pytest.approx(0.6)


def test_an_object_is_found_once_and_candidates_are_no_labels(tmp_path: Path) -> None:
    truth = truth_of(tmp_path, {"a.jpg": [("dog", LEFT)]})
    candidate = label("dog", RIGHT, 0.1, reasons=["below_threshold"])
    twice = [label("dog", LEFT), label("dog", LEFT, 0.8), candidate]
    scores = scored(run_of(tmp_path, {"a.jpg": twice}), truth)
    assert (scores.labels, scores.precision, scores.recall) == (2, 0.5, 1)


def test_objects_outside_of_the_ontology_are_left_out(tmp_path: Path) -> None:
    truth = truth_of(
        tmp_path, {"a.jpg": [("bus", LEFT), ("dog", RIGHT)], "gone.jpg": [("dog", LEFT)]}
    )
    run = run_of(tmp_path, {"a.jpg": [label("dog", RIGHT)], "other.jpg": [label("dog", LEFT)]})
    scores = scored(run, truth)
    assert (scores.objects, scores.labels, scores.images, scores.missing) == (1, 1, 1, 1)
    assert scores.ap == pytest.approx(1)


def test_no_labels_at_all_score_nothing(tmp_path: Path) -> None:
    truth = truth_of(tmp_path, {"a.jpg": [("dog", LEFT)]})
    scores = scored(run_of(tmp_path, {"a.jpg": []}), truth)
    assert (scores.ap, scores.mask_ap, scores.recall) == (0, 0, 0)
    assert (scores.precision, scores.mask_iou) == (None, None)


def test_the_longest_end_of_a_uri_tells_namesakes_apart(tmp_path: Path) -> None:
    truth = truth_of(tmp_path, {"x/a.jpg": [("dog", LEFT)], "y/a.jpg": [("dog", RIGHT)]})
    uris = {"/data/y/a.jpg": [label("dog", RIGHT)], "/data/x/a.jpg": [label("dog", LEFT)]}
    assert scored(run_of(tmp_path, uris), truth).ap == pytest.approx(1)


def test_two_images_of_one_truth_are_refused(tmp_path: Path) -> None:
    truth = truth_of(tmp_path, {"a.jpg": [("dog", LEFT)]})
    run = run_of(tmp_path, {"x/a.jpg": [], "y/a.jpg": []})
    with pytest.raises(ConfigError, match="two images of the run"):
        scored(run, truth)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "truth.json is empty"),
        (" \n", "truth.json is empty"),
        ("{", "is not a COCO JSON: it is not JSON: "),
        ("5", "is not a COCO JSON: it holds only '5'"),
        ("[]", "is not a COCO JSON: it is a list, as a file of results is"),
        ('{"images": []}', "it has no list 'annotations' and no list 'categories'"),
        ('{"images": [], "annotations": {}, "categories": []}', "it has no list 'annotations'"),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1}]}',
            "is not a COCO JSON: KeyError: 'name'",
        ),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "bus"}]}', "bus"),
    ],
)
def test_a_truth_that_says_nothing_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "truth.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        scored(run_of(tmp_path, {}), path)


def test_a_truth_that_is_not_there_is_called_missing(tmp_path: Path) -> None:
    run, truth = run_of(tmp_path, {}), truth_of(tmp_path, {"a.jpg": [("dog", LEFT)]})
    for path, said in (
        ("nowhere.json", f"the file is missing; {tmp_path} holds {truth.name}"),
        ("gone/truth.json", "the file is missing"),
        ("gone.parquet", "the file is missing"),
        ("", f"the truth {tmp_path} is a folder"),
    ):
        with pytest.raises(ConfigError) as caught:
            scored(run, tmp_path / path)
        assert said in caught.value.message
        assert caught.value.exit_code == 2
        assert caught.value.remedy
    assert truth.name in caught.value.remedy


def test_a_truth_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = truth_of(tmp_path, {"a.jpg": [("dog", LEFT)]})
    text = path.read_text()
    path.write_text(text, encoding="utf-8-sig")
    assert scored(run_of(tmp_path, {"a.jpg": []}), path).objects == 1
    path.write_text(text, encoding="utf-16")
    with pytest.raises(ConfigError, match="it is not UTF-8 text"):
        scored(run_of(tmp_path / "second", {}), path)
