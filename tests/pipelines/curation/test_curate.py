"""A run in FiftyOne, changed there as people do, and taken back: real FiftyOne, real MongoDB."""

from __future__ import annotations

import json
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hand_made_runs import (
    CLASSES,
    IMAGES,
    PAGES,
    fill,
    label,
    page,
    picture,
    scan,
    stored,
    tiff,
    write_run,
)
from PIL import Image
from pycocotools import mask as coco
from s3_server import Bucket

from pipelines.curation.changes import label_id
from pipelines.curation.curate import curate
from pipelines.curation.dataset import (
    CONFLICTS,
    DOCUMENTS,
    DUPLICATES,
    INFO,
    LOW_MASK_IOU,
    VLM_USED,
    WORST_FIRST,
    fiftyone,
)
from pipelines.curation.pull import Pulled, pull
from pipelines.curation.similarity import compute, near_duplicates, uniqueness
from pipelines.errors import ConfigError
from pipelines.export.labels.export import export_run
from pipelines.export.labels.selection import ExportConfig
from pipelines.review import REVIEWED, export_review, import_review, reviewed_rows
from pipelines.runs.directory import RunDir
from pipelines.truth.labels import read_beside_truth
from pipelines.truth.page_files import read_truth

pytest_plugins = ["own_fiftyone", "s3_server"]

#: A row id is any int64. JavaScript's numbers end at 53 bits.
SURE, DOUBTED, CONFLICT, NOTHING, TORN = -(2**63), 2**62 + 1, -3, 4, 5
WEAK, WORSE, TWICE, NATIVE, GONE = 11, 12, -13, 14, 15

Named = Callable[[str], str]


@pytest.fixture
def named(fo: Any, request: pytest.FixtureRequest) -> Any:
    """A name for this test's dataset, which goes with it."""
    name = f"test {abs(hash(request.node.nodeid))}"
    yield name
    for one in fo.list_datasets():
        if one.startswith(name):
            fo.delete_dataset(one)


def image_rows(folder: Path) -> list[dict[str, Any]]:
    def row(row_id: int, outcome: str, *labels: dict[str, Any], **changes: Any) -> dict[str, Any]:
        path = picture(folder / f"{row_id}.jpg")
        return stored(row_id, path, outcome=outcome, reasons=[], instances=[*labels]) | changes

    band = ["score_in_review_band"]
    low = {"mask_iou": 0.4, "reasons": ["low_mask_iou"]}
    clash = {"reasons": ["class_conflict"]}
    return [
        row(
            SURE,
            "accepted",
            label("red star", (10, 20, 50, 60)),
            label("blue star", (80, 8, 99, 30)),
        ),
        row(
            DOUBTED,
            "review",
            label("red star", (10, 20, 50, 60), score=0.55, reasons=band),
            label("green house", (60, 20, 90, 70), **low),
            label("blue star", (5, 5, 9, 9), score=0.3, reasons=["below_threshold"]),
            reasons=["score_in_review_band", "low_mask_iou"],
        ),
        row(
            CONFLICT,
            "review",
            label("red star", (30, 30, 70, 70), **clash),
            label("blue star", (30, 30, 70, 70), **clash),
            label("green house", (90, 30, 120, 70), **low),
            reasons=["class_conflict", "low_mask_iou"],
        ),
        row(NOTHING, "empty"),
    ]


@pytest.fixture
def torn(tmp_path: Path) -> RunDir:
    path = picture(tmp_path / "torn.jpg")
    failed = {
        "outcome": "failed",
        "reasons": ["CORRUPT_IMAGE"],
        "instances": None,
        "fetch_failure": {"kind": "CORRUPT_IMAGE", "message": "truncated"},
    }
    row = stored(TORN, path, **failed) | {"width": None, "height": None}
    path.write_bytes(path.read_bytes()[:300])
    return write_run(tmp_path / "torn", "autolabel", IMAGES, [row])


@pytest.fixture
def images(tmp_path: Path) -> RunDir:
    rows = image_rows(tmp_path / "pictures")
    return write_run(tmp_path / "images", "autolabel", IMAGES, rows[:3], rows[3:])


@pytest.fixture
def pages(tmp_path: Path) -> RunDir:
    folder = tmp_path / "pages"
    document = tiff(tmp_path / "doc.tiff", 2)
    of_document = {"pages": 2, "kind": "tiff", "width": 50, "height": 40}
    second = {"vlm_text": "MILK 3", "vlm_model": "small-vl", "outcome": "vlm", "text": "MILK 3"}
    rows = [
        page(WEAK, scan(folder / "a.png", "TOTAL"), "T0TAL\nCASH", 0.8),
        page(WORSE, document, "PAGE TWO", 0.1, page=2, **of_document),
        page(TWICE, scan(folder / "b.jpg", "MILK"), "MlLK 3", 0.6) | second,
        page(NATIVE, document, "PAGE ONE", 0.9, page=1, outcome="ocr", reasons=[], **of_document),
        page(GONE, folder / "gone.png", "G0NE", 0.9),
    ]
    return write_run(tmp_path / "run", "ocr_backfill", PAGES, rows)


def samples(fo: Any, name: str) -> dict[int, Any]:
    return {int(sample["row_id"]): sample for sample in fo.load_dataset(name)}


def back(name: str, run: RunDir) -> tuple[Pulled, dict[int, dict[str, Any]]]:
    """What a pull says, and the answers that stand then."""
    (pulled,) = pull(name, reviewer="Ada")
    return pulled, {row["row_id"]: row for row in reviewed_rows(run).to_pylist()}


def decoded(mask: dict[str, Any]) -> np.ndarray:
    return coco.decode(mask).astype(bool)


# ---------------------------------------------------------------- out


def test_an_image_becomes_a_sample_with_masks_scores_and_reasons(
    fo: Any, named: str, images: RunDir
) -> None:
    summary = curate(images, named)
    assert (summary.rows, summary.new, dict(summary.missing)) == (4, 4, {})
    sample = samples(fo, named)[DOUBTED]
    assert sample.filepath == str(images.path.parent / "pictures" / f"{DOUBTED}.jpg")
    assert sample.tags == ["review", "score_in_review_band", "low_mask_iou"]
    assert (sample.outcome, sample.reasons) == ("review", sample.tags[1:])
    assert (sample.metadata.width, sample.metadata.height) == (160, 120)
    assert sample.gain == pytest.approx(0.5 + 1)
    star, house = sample.instances.detections
    assert star.bounding_box == pytest.approx([10 / 160, 20 / 120, 40 / 160, 40 / 120])
    assert (star.label, star.source, star.prompt) == ("red star", "grounding_dino", "red star")
    assert (star.confidence, house.mask_iou) == (pytest.approx(0.55), pytest.approx(0.4))
    assert (star.reasons, house.reasons) == (["score_in_review_band"], ["low_mask_iou"])
    assert house.mask.shape == (50, 30)
    assert house.mask.all()
    (candidate,) = sample.candidates.detections
    assert (candidate.label, candidate.id) == ("blue star", label_id(DOUBTED, 2))
    assert fo.load_dataset(named).persistent


def test_a_mask_is_cut_to_its_box_pixel_for_pixel(fo: Any, named: str, tmp_path: Path) -> None:
    pixels = np.zeros((120, 160), np.uint8, order="F")
    pixels[20:61:2, 10:50:3] = 1
    rle = coco.encode(pixels)
    mask = {"counts": rle["counts"].decode(), "size": [120, 160]}
    found = label("red star", (10, 20, 50, 60), mask=mask) | {"box": [10.4, 20.0, 49.6, 60.2]}
    row = stored(1, picture(tmp_path / "a.jpg"), instances=[found])
    curate(write_run(tmp_path / "run", "autolabel", IMAGES, [row]), named)
    (sample,) = samples(fo, named).values()
    assert np.array_equal(sample.instances.detections[0].mask, pixels[20:61, 10:50] > 0)


def test_what_failed_stays_with_its_reason_and_a_placeholder(
    fo: Any, named: str, torn: RunDir
) -> None:
    assert dict(curate(torn, named).missing) == {"CORRUPT_IMAGE": 1}
    sample = samples(fo, named)[TORN]
    assert sample.failures == ["fetch: CORRUPT_IMAGE truncated"]
    assert sample.instances is None
    assert sample.media_failure.startswith("CORRUPT_IMAGE")
    assert Image.open(sample.filepath).size == (640, 480)
    assert curate(torn, named).unchanged == 1
    sample.tags.append("reject")
    sample.save()
    answer = back(named, torn)[1][TORN]
    assert (answer["verdict"], answer["instances"]) == ("reject", None)


def test_pages_become_samples_with_lines_and_stand_by_document(
    fo: Any, named: str, pages: RunDir
) -> None:
    summary = curate(pages, named)
    assert dict(summary.missing) == {"OBJECT_MISSING": 1}
    found = samples(fo, named)
    weak = found[WEAK]
    assert (weak.text, weak.text_source) == ("T0TAL\nCASH", "rapid_ocr 3.10")
    assert (weak.mean_score, weak.expected_cer) == (pytest.approx(0.8), None)
    first, second = weak.lines.polylines
    assert (first.text, second.text) == ("T0TAL", "CASH")
    assert first.confidence == pytest.approx(0.8)
    assert first.closed
    assert first.points[0][0] == pytest.approx([8 / 120, 8 / 60])
    assert (found[TWICE].vlm_text, found[TWICE].vlm_model) == ("MILK 3", "small-vl")
    assert found[GONE].media_failure.startswith("OBJECT_MISSING")
    groups = fo.load_dataset(named).load_saved_view(DOCUMENTS)
    assert groups.count() == 4
    document = next(group for group in groups.iter_dynamic_groups() if group.count() == 2)
    assert document.values("page") == [1, 2]


def test_whole_local_pictures_stay_where_they_are_and_the_rest_is_rendered_once(
    fo: Any, named: str, pages: RunDir
) -> None:
    curate(pages, named)
    found = samples(fo, named)
    assert found[WEAK].filepath == str(pages.path.parent / "pages" / "a.png")
    for row_id, number in ((WORSE, 2), (NATIVE, 1)):
        path = Path(found[row_id].filepath)
        assert path.is_relative_to(pages.path / "media")
        assert Image.open(path).getpixel((20, 20)) == 5 * number
        assert (found[row_id].metadata.width, found[row_id].metadata.height) == (50, 40)
    written = Path(found[WORSE].filepath)
    before = written.stat().st_mtime_ns
    curate(pages, named)
    assert written.stat().st_mtime_ns == before
    written.unlink()
    assert curate(pages, named).unchanged == 5
    assert written.exists()


def test_download_copies_local_pictures_too(fo: Any, named: str, pages: RunDir) -> None:
    curate(pages, named)
    again = curate(pages, named, media="download")
    assert (again.changed, again.unchanged) == (2, 3)
    path = Path(samples(fo, named)[WEAK].filepath)
    assert path.is_relative_to(pages.path / "media")
    original = Image.open(pages.path.parent / "pages" / "a.png")
    assert Image.open(path).tobytes() == original.tobytes()


def test_members_of_archives_and_turned_photographs_are_fetched_upright(
    fo: Any, named: str, tmp_path: Path
) -> None:
    plain = picture(tmp_path / "plain.jpg")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(plain, "in/plain.jpg")
    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.open(plain).save(turned, exif=exif)
    size = {"width": 120, "height": 160}
    member = {"uri": f"{tmp_path}/all.zip!/in/plain.jpg"}
    rows = [
        stored(1, plain, instances=[]) | member,
        stored(2, turned, instances=[]) | size,
        stored(3, plain, instances=[], etag="1-1"),
    ]
    summary = curate(write_run(tmp_path / "run", "autolabel", IMAGES, rows), named)
    assert dict(summary.missing) == {"OBJECT_CHANGED": 1}
    found = samples(fo, named)
    assert Image.open(found[1].filepath).size == (160, 120)
    assert Image.open(found[2].filepath).size == (120, 160)
    assert Path(found[2].filepath).parent.parent == tmp_path / "run" / "media"


def test_objects_on_s3_are_fetched_once(
    fo: Any, named: str, tmp_path: Path, bucket: Bucket
) -> None:
    path = picture(tmp_path / "a.jpg")
    uri = bucket.put("in/a.jpg", path.read_bytes())
    row = stored(7, path, instances=[], uri=uri)
    run = write_run(tmp_path / "run", "autolabel", IMAGES, [row])
    record = run.read_record()
    record["config"]["fetch"]["storage"] = bucket.settings.model_dump(mode="json")
    run.write_record(record)
    curate(run, named)
    (sample,) = samples(fo, named).values()
    assert Path(sample.filepath).read_bytes() == path.read_bytes()
    assert sample.document == uri
    bucket.client.delete_object(Bucket=bucket.name, Key="in/a.jpg")
    assert curate(run, named).unchanged == 1


def test_many_large_masks_are_written_in_parts(
    fo: Any, named: str, images: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.curation.curate._MASK_BYTES", 1000)
    assert curate(images, named).new == 4
    assert set(samples(fo, named)) == {SURE, DOUBTED, CONFLICT, NOTHING}
    assert curate(images, named).unchanged == 4


def test_twice_adds_and_touches_nothing(fo: Any, named: str, images: RunDir) -> None:
    curate(images, named)
    dataset = fo.load_dataset(named)
    before = dataset.values(["id", "last_modified_at"])
    calls: list[tuple[int, int]] = []
    again = curate(images, named, on_rows=lambda *count: calls.append(count))
    assert (again.new, again.changed, again.unchanged) == (0, 0, 4)
    assert dataset.values(["id", "last_modified_at"]) == before
    assert calls[-1] == (4, 4)


def test_changed_rows_update_and_what_people_did_stays(
    fo: Any, named: str, images: RunDir, tmp_path: Path
) -> None:
    curate(images, named)
    found = samples(fo, named)
    found[DOUBTED].tags.append("night shots")
    found[DOUBTED]["note"] = "blurred"
    found[DOUBTED].save()
    found[CONFLICT].instances.detections.pop()
    found[CONFLICT].save()
    found[SURE].tags.append("accept")
    found[SURE].save()
    rows = image_rows(tmp_path / "pictures")
    for row in rows[:3]:
        row["instances"] = [label("green house", (10, 20, 50, 60), score=0.99)]
        row |= {"outcome": "accepted", "reasons": []}
    later = write_run(tmp_path / "later", "autolabel", IMAGES, rows)
    again = curate(later, named)
    assert (again.new, again.changed, again.kept, again.unchanged) == (0, 1, 2, 1)
    now = samples(fo, named)
    assert now[DOUBTED].tags == ["accepted", "night shots"]
    assert now[DOUBTED].note == "blurred"
    assert [one.label for one in now[DOUBTED].instances.detections] == ["green house"]
    assert now[DOUBTED].run == str(later.path)
    assert len(now[CONFLICT].instances.detections) == 2
    assert [one.label for one in now[SURE].instances.detections] == ["red star", "blue star"]
    runs = fo.load_dataset(named).info[INFO]["runs"]
    assert [run["run"] for run in runs] == [str(images.path), str(later.path)]


def test_only_some_outcomes(fo: Any, named: str, images: RunDir) -> None:
    assert curate(images, named, outcomes=["review", "empty"]).rows == 3
    assert set(samples(fo, named)) == {DOUBTED, CONFLICT, NOTHING}
    assert curate(images, named).new == 1
    with pytest.raises(ConfigError, match="no outcome 'revue'"):
        curate(images, named, outcomes=["revue"])


def test_views_lead_to_what_is_worth_a_look(
    fo: Any, named: str, images: RunDir, pages: RunDir
) -> None:
    curate(images, named)
    dataset = fo.load_dataset(named)

    def rows(view: str) -> list[int]:
        return [int(row_id) for row_id in dataset.load_saved_view(view).values("row_id")]

    assert rows(WORST_FIRST) == [CONFLICT, DOUBTED]
    assert rows(CONFLICTS) == [CONFLICT]
    assert sorted(rows(LOW_MASK_IOU)) == sorted([CONFLICT, DOUBTED])
    curate(pages, f"{named} pages")
    dataset = fo.load_dataset(f"{named} pages")
    assert rows(WORST_FIRST) == [WORSE, WEAK, GONE]
    assert rows(VLM_USED) == [TWICE]


def test_a_dataset_says_where_it_is_from(fo: Any, named: str, images: RunDir) -> None:
    record = images.read_record()
    digest = {"sam2": {"weights_sha256": "ab" * 32}}
    record["sessions"] = [{"models": digest}, {"models": {}, "versions": {"nightjar": "0.1.0"}}]
    images.write_record(record)
    curate(images, named)
    info = fo.load_dataset(named).info[INFO]
    assert info["job"] == "autolabel"
    (run,) = info["runs"]
    assert (run["run"], run["models"]) == (str(images.path), digest)
    assert run["versions"] == {"nightjar": "0.1.0"}
    assert fo.load_dataset(named).classes["instances"] == list(CLASSES)


def test_other_peoples_datasets_are_left_alone(
    fo: Any, named: str, images: RunDir, pages: RunDir
) -> None:
    fo.Dataset(named)
    with pytest.raises(ConfigError, match="was not made by nightjar curate"):
        curate(images, named)
    with pytest.raises(ConfigError, match="has no dataset 'nothing of the kind'"):
        pull("nothing of the kind")
    curate(pages, f"{named} pages")
    with pytest.raises(ConfigError, match="holds runs of ocr_backfill") as caught:
        curate(images, f"{named} pages")
    assert "--name" in caught.value.remedy


def test_without_fiftyone_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fiftyone", None)  # what Python does for "not there"
    with pytest.raises(ConfigError, match="cannot import fiftyone") as caught:
        fiftyone()
    assert "pip install 'nightjar[curate]'" in caught.value.remedy


# ---------------------------------------------------------------- and back


def test_nothing_touched_nothing_comes_back(fo: Any, named: str, images: RunDir) -> None:
    curate(images, named)
    dataset = fo.load_dataset(named)
    dataset.tag_samples("seen")
    dataset.set_values("uniqueness", [0.5] * 4)
    pulled, answers = back(named, images)
    assert (pulled.counts.waiting, pulled.counts.file, answers) == (4, None, {})


def test_labels_changed_in_the_app_come_back(fo: Any, named: str, images: RunDir) -> None:
    curate(images, named)
    found = samples(fo, named)
    sure, doubted, conflict = found[SURE], found[DOUBTED], found[CONFLICT]
    sure.tags.append("accept")
    sure["note"] = "textbook"
    doubted.instances.detections[0].label = "blue star"
    doubted.instances.detections[1].bounding_box[0] += 8 / 160
    drawn = fo.Detection(label="red star", bounding_box=[0.5, 0.5, 0.25, 0.25])
    doubted.instances.detections.append(drawn)
    conflict.instances.detections[1].tags.append("reject")
    conflict.instances.detections.pop(2)
    found[NOTHING].tags += ["accept", "seen"]
    for sample in found.values():
        sample.save()
    pulled, answers = back(named, images)
    assert dict(pulled.counts.verdicts) == {"accept": 2, "correct": 2}
    assert pulled.counts.waiting == 0
    assert pq.ParquetFile(pulled.counts.file).schema_arrow.equals(REVIEWED)
    assert {row["reviewer"] for row in answers.values()} == {"Ada"}
    assert (answers[SURE]["verdict"], answers[SURE]["note"]) == ("accept", "textbook")
    original = pq.read_table(images.shard_files()[0]).to_pylist()[0]
    assert answers[SURE]["instances"] == original["instances"]
    star, house, new = answers[DOUBTED]["instances"]
    assert (star["class"], star["score"], star["source"]) == ("blue star", None, "grounding_dino")
    assert decoded(star["mask"])[20:60, 10:50].all()
    assert house["box"] == pytest.approx([68, 20, 98, 70])
    assert (house["mask"], house["source"], house["score"]) == (None, "review", pytest.approx(0.9))
    assert (new["class"], new["box"]) == ("red star", pytest.approx([80, 60, 120, 90]))
    assert (new["source"], new["mask"], new["score"]) == ("review", None, None)
    (left,) = answers[CONFLICT]["instances"]
    assert (left["class"], left["reasons"]) == ("red star", [])
    assert (answers[NOTHING]["verdict"], answers[NOTHING]["instances"]) == ("accept", [])


def test_what_came_back_is_truth_for_evaluate(fo: Any, named: str, images: RunDir) -> None:
    curate(images, named)
    found = samples(fo, named)
    found[SURE].tags.append("accept")
    found[CONFLICT].instances.detections.pop(2)
    found[CONFLICT].tags.append("accept")
    for sample in (found[SURE], found[CONFLICT]):
        sample.save()
    pull(named)
    truth = read_beside_truth(images, "reviewed")
    assert {unit["row_id"] for unit in truth.units} == {SURE, CONFLICT}
    assert truth.reviewed
    assert len(truth.truth.anns) == 4


def test_a_mask_drawn_in_the_app_comes_back_at_the_size_of_the_image(
    fo: Any, named: str, images: RunDir
) -> None:
    curate(images, named)
    sample = samples(fo, named)[SURE]
    star, other = sample.instances.detections
    half = star.mask.copy()
    half[:, 20:] = False
    star.mask = half
    other.mask = None
    small = np.array([[True, False], [False, True]])
    box = [80 / 160, 60 / 120, 40 / 160, 30 / 120]
    sample.instances.detections.append(fo.Detection(label="red star", bounding_box=box, mask=small))
    sample.save()
    redrawn, bare, new = back(named, images)[1][SURE]["instances"]
    expected = np.zeros((120, 160), bool)
    expected[20:60, 10:30] = True
    assert np.array_equal(decoded(redrawn["mask"]), expected)
    assert (redrawn["mask_iou"], redrawn["source"]) == (None, "review")
    assert (bare["mask"], bare["source"]) == (None, "grounding_dino")
    assert decoded(new["mask"]).sum() == 40 * 30 / 2
    assert decoded(new["mask"])[60:75, 80:100].all()


def test_a_candidate_with_the_tag_accept_is_a_label(fo: Any, named: str, images: RunDir) -> None:
    curate(images, named)
    sample = samples(fo, named)[DOUBTED]
    sample.candidates.detections[0].tags.append("accept")
    sample.save()
    answer = back(named, images)[1][DOUBTED]
    assert [one["class"] for one in answer["instances"]] == ["red star", "green house", "blue star"]
    assert answer["instances"][2]["score"] == pytest.approx(0.3)


def test_texts_and_lines_changed_in_the_app_come_back(fo: Any, named: str, pages: RunDir) -> None:
    curate(pages, named)
    found = samples(fo, named)
    found[WEAK].lines.polylines[0]["text"] = "TOTAL"
    found[WORSE].text = "PAGE 2\r\n"
    found[WORSE].tags.append("accept")
    found[TWICE].tags.append("accept")
    found[GONE].tags.append("reject")
    for row_id in (WEAK, WORSE, TWICE, GONE):
        found[row_id].save()
    pulled, answers = back(named, pages)
    assert pulled.counts.waiting == 1
    verdicts = {row_id: (row["verdict"], row["text"]) for row_id, row in answers.items()}
    assert verdicts == {
        WEAK: ("correct", "TOTAL\nCASH"),
        WORSE: ("correct", "PAGE 2\n"),
        TWICE: ("accept", "MILK 3"),
        GONE: ("reject", None),
    }
    truths = read_truth(pages.path)
    assert {one.row_id for one in truths if one.verdict != "reject"} == {WEAK, WORSE, TWICE}


def test_lines_that_the_text_is_not_made_of_cannot_correct_it(
    fo: Any, named: str, pages: RunDir
) -> None:
    curate(pages, named)
    sample = samples(fo, named)[TWICE]
    sample.lines.polylines[0]["text"] = "MILK 4"
    sample.save()
    with pytest.raises(ConfigError, match=r"row -13: lines were changed, but the text"):
        pull(named)
    sample.text = "MILK 4"
    sample.save()
    assert back(named, pages)[1][TWICE]["text"] == "MILK 4"


def test_the_same_correction_in_a_folder_and_in_the_app_is_the_same_row(
    fo: Any, named: str, images: RunDir, tmp_path: Path
) -> None:
    curate(images, named)
    sample = samples(fo, named)[DOUBTED]
    sample.instances.detections[0].label = "blue star"
    sample.instances.detections.pop(1)
    sample.save()
    app = back(named, images)[1][DOUBTED]
    other = write_run(tmp_path / "other", "autolabel", IMAGES, image_rows(tmp_path / "pictures"))
    export_review(other, tmp_path / "folder")
    kept = {"id": 0, "class": "blue star", "box": [10, 20, 50, 60]}
    fill(tmp_path / "folder", {DOUBTED: {"verdict": "correct", "instances": [kept]}})
    import_review(other, tmp_path / "folder", "Ada")
    (folder,) = reviewed_rows(other).to_pylist()
    assert {**app, "reviewed_at": ""} == {**folder, "reviewed_at": ""}


def test_wrong_answers_are_named_and_nothing_is_taken_in(
    fo: Any, named: str, images: RunDir
) -> None:
    curate(images, named)
    found = samples(fo, named)
    found[SURE].instances.detections[0].label = "red stra"
    found[DOUBTED].tags += ["accept", "reject"]
    found[CONFLICT].instances.detections[0].label = None
    found[NOTHING].tags.append("accept")
    for sample in found.values():
        sample.save()
    with pytest.raises(ConfigError) as caught:
        pull(named)
    said = caught.value.message
    assert f"row {SURE}: instance 1: no class 'red stra'; did you mean 'red star'?" in said
    assert f"row {DOUBTED}: has both tags, accept and reject" in said
    assert f"row {CONFLICT}: instances.0.class: must be text (got nothing)" in said
    assert not (images.path / "reviewed").exists()
    found[SURE].instances.detections[0].label = "red star"
    found[DOUBTED].tags.remove("reject")
    found[CONFLICT].instances.detections[0].label = "red star"
    for sample in found.values():
        sample.save()
    pulled, answers = back(named, images)
    assert set(answers) == {DOUBTED, NOTHING}
    assert pulled.counts.waiting == 2


def test_pulled_again_only_what_changed_since_is_written(
    fo: Any, named: str, images: RunDir
) -> None:
    curate(images, named)
    found = samples(fo, named)
    found[SURE].tags.append("accept")
    found[SURE].save()
    assert back(named, images)[0].counts.new == 1
    again, _ = back(named, images)
    assert (again.counts.unchanged, again.counts.file) == (1, None)
    found[SURE].tags[-1] = "reject"
    found[SURE].save()
    last, answers = back(named, images)
    assert (last.counts.replaced, answers[SURE]["verdict"]) == (1, "reject")


def test_each_sample_comes_back_into_the_run_that_it_is_from(
    fo: Any, named: str, images: RunDir, tmp_path: Path
) -> None:
    curate(images, named, outcomes=["accepted"])
    later = write_run(tmp_path / "later", "autolabel", IMAGES, image_rows(tmp_path / "pictures"))
    curate(later, named, outcomes=["empty"])
    fo.load_dataset(named).tag_samples("accept")
    with pytest.raises(ConfigError, match="no sample of"):
        pull(named, RunDir(tmp_path / "elsewhere"))
    (only,) = pull(named, later)
    assert (only.run.path, only.counts.new) == (later.path, 1)
    first, second = pull(named)
    assert (first.counts.new, second.counts.unchanged) == (1, 1)
    assert reviewed_rows(images)["row_id"].to_pylist() == [SURE]


def test_a_run_that_was_moved_is_given_by_its_new_place(
    fo: Any, named: str, images: RunDir
) -> None:
    curate(images, named)
    fo.load_dataset(named).match(fo.ViewField("outcome") == "empty").tag_samples("accept")
    moved = images.path.rename(images.path.with_name("moved"))
    (pulled,) = pull(named, RunDir(moved))
    assert pulled.counts.file.parent == moved / "reviewed"


def test_a_run_that_was_moved_and_curated_again_takes_what_people_did_with_it(
    fo: Any, named: str, pages: RunDir
) -> None:
    curate(pages, named)
    found = samples(fo, named)
    found[WORSE].text = "PAGE 2"
    found[WORSE].save()
    moved = RunDir(pages.path.rename(pages.path.with_name("moved")))
    again = curate(moved, named)
    assert (again.changed, again.kept, again.new) == (5, 0, 0)
    sample = samples(fo, named)[WORSE]
    assert sample.text == "PAGE 2"
    assert Path(sample.filepath).is_relative_to(moved.path / "media")
    assert curate(moved, named).unchanged == 5
    assert back(named, moved)[1][WORSE]["text"] == "PAGE 2"


# ---------------------------------------------------------------- embeddings


def test_near_duplicates_and_uniqueness(fo: Any, named: str, tmp_path: Path) -> None:
    schema = pa.schema([*IMAGES, pa.field("embedding", pa.list_(pa.float16()))])
    axes = np.eye(4, dtype=np.float16)
    twin = axes[0].copy()
    twin[1] = 0.05
    vectors = [axes[0], twin, axes[1], axes[2], axes[3], None]
    rows = [
        stored(number, picture(tmp_path / f"{number}.jpg"), instances=[], embedding=vector)
        for number, vector in enumerate(vectors)
    ]
    curate(write_run(tmp_path / "run", "autolabel", schema, rows), named)
    dataset = fo.load_dataset(named)
    for _ in range(2):
        found = compute(fo, dataset, near=0.01)
        assert (found.embedded, found.duplicates) == (5, 1)
    by_row = samples(fo, named)
    assert {by_row[0].near_duplicate_of, by_row[1].near_duplicate_of} & {"0", "1"}
    assert dataset.load_saved_view(DUPLICATES).count() == 1
    assert by_row[0].uniqueness < by_row[4].uniqueness
    assert by_row[5].uniqueness is None
    nearest = dataset.exists("embedding").sort_by_similarity(by_row[0].id, brain_key="similar", k=2)
    assert set(nearest.values("row_id")) == {"0", "1"}


def test_of_twins_among_strangers_neither_is_unique() -> None:
    """What FiftyOne's own figure says of them: 1.0, the most unique of all."""
    vectors = np.eye(5, dtype=np.float32)
    vectors[1] = vectors[0]
    figures = uniqueness(vectors)
    assert figures[0] == figures[1] == pytest.approx(0.4)
    assert figures[2:] == pytest.approx([1, 1, 1])
    assert uniqueness(vectors[:2]) == [0, 0]


def test_a_near_duplicate_is_named_after_the_nearest_that_stays() -> None:
    angles = np.radians([0, 1, 90, 2.5, 91.5, 45, *np.linspace(180, 300, 300)])
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    near = 1 - np.cos(np.radians(2))
    found = near_duplicates(vectors, near)
    assert {place: found.get(place) for place in range(6)} == {
        **{0: None, 1: 0, 2: None, 3: None, 4: 2, 5: None}
    }
    stays = sorted(set(range(len(angles))) - set(found))
    apart = 1 - vectors[stays] @ vectors[stays].T + 2 * np.eye(len(stays))
    assert apart.min() > near
    assert max(1 - vectors[one] @ vectors[other] for one, other in found.items()) <= near


def test_a_run_without_embeddings_says_how_to_get_them(fo: Any, named: str, images: RunDir) -> None:
    curate(images, named)
    with pytest.raises(ConfigError, match=r"0 samples of .* have an embedding") as caught:
        compute(fo, fo.load_dataset(named), near=0.01)
    assert "embedder" in caught.value.remedy


# ---------------------------------------------------------------- scale


@pytest.mark.long
def test_memory_is_flat_over_20_000_rows(fo: Any, named: str, tmp_path: Path) -> None:
    path, labels = picture(tmp_path / "one.jpg"), [label("red star", (10, 20, 50, 60))] * 3
    shards = [
        [stored(number, path, instances=labels) for number in range(start, start + 2000)]
        for start in range(0, 20_000, 2000)
    ]
    run = write_run(tmp_path / "run", "autolabel", IMAGES, *shards)
    del shards
    process, seen = psutil.Process(), []

    def note(done: int, total: int) -> None:
        seen.append((done, process.memory_info().rss / 1e6))

    seconds = []
    for step in (
        lambda: curate(run, named, on_rows=note).new,
        lambda: curate(run, named).unchanged,
        lambda: pull(named, on_samples=note)[0].counts.waiting,
    ):
        start = time.monotonic()
        assert step() == 20_000
        seconds.append(round(time.monotonic() - start, 1))
    built, pulled = seen[:160], seen[160:]
    early, late = max(rss for done, rss in built if done <= 5000), max(rss for _, rss in built)
    most = max(rss for _, rss in pulled)  # the driver holds 16 MB of documents: 100 MB as objects
    print(json.dumps({"seconds": seconds, "early": early, "late": late, "pull": most}))
    assert late - early < 60
    assert most - late < 200


# ---------------------------------------------------------------- exports of labels


@pytest.mark.parametrize("form", ["coco", "coco whole", "voc", "yolo"])
def test_an_export_is_imported_by_fiftyone(fo: Any, tmp_path: Path, form: str) -> None:
    folder = tmp_path / "files"
    rows = [
        stored(number, picture(folder / name), outcome="accepted", reasons=[])
        | {"instances": [label("red star", (10, 20, 50, 60))]}
        for number, name in enumerate(("a/1.jpg", "b/1.jpg", "a/ü.png"))
    ]
    run = write_run(tmp_path / "run", "autolabel", IMAGES, rows)
    out = tmp_path / "out"
    name, _, whole = form.partition(" ")
    settings = {"format": name, "copy_images": bool(whole), "masks": "polygons" if whole else "rle"}
    export_run(run, out, ExportConfig.model_validate(settings), CLASSES)
    types = {"coco": "COCODetectionDataset", "voc": "VOCDetectionDataset", "yolo": "YOLOv5Dataset"}
    places: dict[str, dict[str, Any]] = {
        "coco": {"data_path": str(folder), "labels_path": str(out / "annotations.json")},
        "coco whole": {
            "data_path": str(out / "images"),
            "labels_path": str(out / "annotations.json"),
        },
        "voc": {
            "data_path": str(out / "JPEGImages"),
            "labels_path": str(out / "Annotations"),
        },
        "yolo": {"dataset_dir": str(out), "yaml_path": "data.yaml", "split": "train"},
    }
    kinds = {"label_types": ["detections", "segmentations"]} if name == "coco" else {}
    data = fo.Dataset.from_dir(
        dataset_type=getattr(fo.types, types[name]), progress=False, **places[form], **kinds
    )
    field = "segmentations" if name == "coco" else "ground_truth"
    found = [one for sample in data for one in sample[field].detections]
    data.delete()
    assert [one.label for one in found] == ["red star"] * 3
    pixel = 1 / 120 if name == "voc" else 0  # FiftyOne takes VOC's first pixel for 0, not for 1
    for one in found:
        box = [10 / 160, 20 / 120, 40 / 160, 40 / 120]
        assert one.bounding_box == pytest.approx(box, abs=pixel + 1e-6)
        assert name != "coco" or one.mask.all()
