"""Exports of a finished run, read back with the tools that people read them with."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import supervision as sv
from hand_made_runs import IMAGES, picture, stored, write_run
from judged_runs import review
from pycocotools import mask as coco
from pycocotools.coco import COCO

from pipelines.errors import ConfigError, OutputUnwritable
from pipelines.export.labels.export import ExportSummary, export_run
from pipelines.export.labels.selection import ExportConfig
from pipelines.runs.directory import RunDir

CLASSES = ["star", "red circle", "nothing like it", "square"]
WIDTH, HEIGHT = 160, 120


def disc(x: float, y: float, radius: float) -> npt.NDArray[np.bool_]:
    yy, xx = np.mgrid[:HEIGHT, :WIDTH]
    return (xx - x) ** 2 + (yy - y) ** 2 < radius**2


def label(name: str, pixels: npt.NDArray[np.bool_], **changes: Any) -> dict[str, Any]:
    ys, xs = pixels.nonzero()
    rle = coco.encode(np.asfortranarray(pixels.astype(np.uint8)))
    good = {
        "class": name,
        "score": 0.9,
        "box": [float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)],
        "mask": {"counts": rle["counts"].decode(), "size": [HEIGHT, WIDTH]},
        "mask_iou": 0.95,
        "box_agreement": 1.0,
        "prompt": name,
        "source": "grounding_dino",
        "reasons": [],
    }
    return good | changes


LEFT, RIGHT = disc(40, 50, 25), disc(110, 70, 30)
CANDIDATE = label("square", disc(80, 20, 8), score=0.1, reasons=["below_threshold"])


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Four local images, one in an archive, one that failed."""
    local = [
        folder / name for name in ("a/same name.png", "b/same name.png", "c.jpg", "ümläut.jpg")
    ]
    for path in local:
        picture(path, (WIDTH, HEIGHT))
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        archive.write(local[0], "in/side.png")
    instances = {
        str(local[0]): ("accepted", [label("star", LEFT), label("red circle", RIGHT), CANDIDATE]),
        str(local[1]): ("empty", []),
        str(local[3]): ("review", [label("square", LEFT, reasons=["touches_border"])]),
        str(local[2]): ("accepted", [label("star", RIGHT)]),
        str(folder / "x.zip!/in/side.png"): ("accepted", [label("star", LEFT | RIGHT)]),
        str(folder / "broken.png"): ("failed", None),
    }
    return [
        row_of(number, Path(uri), outcome, labels)
        for number, (uri, (outcome, labels)) in enumerate(instances.items())
    ]


def row_of(number: int, path: Path, outcome: str, labels: Any, **changes: Any) -> dict[str, Any]:
    row = stored(number * 1234567890123456789 - (1 << 62), path, outcome=outcome, reasons=[])
    size = (None, None) if outcome == "failed" else (WIDTH, HEIGHT)
    row |= {"width": size[0], "height": size[1], "instances": labels}
    return row | changes


def finished(folder: Path, rows: list[dict[str, Any]], shards: int = 2) -> RunDir:
    size = -(-len(rows) // shards)
    parts = [rows[number * size : (number + 1) * size] for number in range(shards)]
    return write_run(folder / "run", "autolabel", IMAGES, *parts)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return finished(tmp_path, rows_of(tmp_path))


def export(run: RunDir, out: Path, kind: str, **options: Any) -> ExportSummary:
    return export_run(run, out, ExportConfig(format=kind, **options), CLASSES)


def test_coco_is_read_by_pycocotools(run: RunDir, tmp_path: Path) -> None:
    out = tmp_path / "coco"
    summary = export(run, out, "coco")
    assert (summary.images, summary.labels) == (3, 3)
    assert summary.left_out == {"review": 1, "failed": 1}
    assert summary.missing == {"members of archives": 1}
    assert [path.name for path in out.iterdir()] == ["annotations.json"]
    found = COCO(str(out / "annotations.json"))
    assert {c["id"]: c["name"] for c in found.loadCats(found.getCatIds())} == {
        1: "star",
        2: "red circle",
        3: "nothing like it",
        4: "square",
    }
    images = {image["coco_url"]: image for image in found.loadImgs(found.getImgIds())}
    assert len(images) == 3
    first = images[str(tmp_path / "a" / "same name.png")]
    assert (first["width"], first["height"]) == (WIDTH, HEIGHT)
    assert first["file_name"] == "a/same name.png"
    empty = images[str(tmp_path / "b" / "same name.png")]
    assert found.getAnnIds(imgIds=[empty["id"]]) == []
    star, circle = found.loadAnns(found.getAnnIds(imgIds=[first["id"]]))
    assert (star["category_id"], circle["category_id"]) == (1, 2)
    np.testing.assert_array_equal(found.annToMask(star), LEFT)
    np.testing.assert_array_equal(found.annToMask(circle), RIGHT)
    assert star["area"] == LEFT.sum()
    assert star["bbox"] == [16, 26, 49, 49]
    annotations = found.dataset["annotations"]
    assert sorted(a["id"] for a in annotations) == list(range(1, 4))
    assert found.loadRes([{"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "score": 0.5}])


def test_coco_is_read_by_supervision(run: RunDir, tmp_path: Path) -> None:
    export(run, tmp_path / "coco", "coco")
    data = sv.DetectionDataset.from_coco(
        str(tmp_path), str(tmp_path / "coco" / "annotations.json"), force_masks=True
    )
    assert data.classes == CLASSES
    detections = data.annotations[str(tmp_path / "a" / "same name.png")]
    assert detections.class_id.tolist() == [0, 1]
    np.testing.assert_array_equal(detections.mask, [LEFT, RIGHT])


def test_yolo_is_read_by_supervision(run: RunDir, tmp_path: Path) -> None:
    out = tmp_path / "yolo"
    summary = export(run, out, "yolo")
    assert (summary.images, dict(summary.missing)) == (4, {})
    assert summary.pictures == {"linked": 3, "written": 1}
    with (out / "sources.csv").open(newline="") as file:
        sources = {row["uri"]: row for row in csv.DictReader(file)}
    labels = {path.stem for path in (out / "labels").iterdir()}
    assert labels == {Path(row["image"]).stem for row in sources.values()}
    linked = {path.name: path.resolve() for path in (out / "images").iterdir()}
    assert set(linked) == {row["image"] for row in sources.values()}, "a picture for every label"
    first, second = (str(tmp_path / folder / "same name.png") for folder in "ab")
    assert linked[sources[first]["image"]] == Path(first)
    data = sv.DetectionDataset.from_yolo(
        str(out / "images"), str(out / "labels"), str(out / "data.yaml")
    )
    assert data.classes == CLASSES
    detections = data.annotations[str(out / "images" / sources[first]["image"])]
    assert detections.class_id.tolist() == [0, 1]
    wanted = [label("star", LEFT)["box"], label("red circle", RIGHT)["box"]]
    np.testing.assert_allclose(detections.xyxy, wanted, atol=1e-3)
    assert len(data.annotations[str(out / "images" / sources[second]["image"])]) == 0
    empty = out / "labels" / f"{Path(sources[second]['image']).stem}.txt"
    assert empty.read_text() == ""


def test_yolo_outlines_are_the_masks(run: RunDir, tmp_path: Path) -> None:
    out = tmp_path / "yolo-seg"
    export(run, out, "yolo-seg")
    data = sv.DetectionDataset.from_yolo(
        str(out / "images"), str(out / "labels"), str(out / "data.yaml"), force_masks=True
    )
    (detections,) = [found for found in data.annotations.values() if len(found) == 2]
    for mask, wanted in zip(detections.mask, (LEFT, RIGHT), strict=True):
        # supervision rounds coordinates: the right and lower edges come out a pixel wider
        assert (mask & wanted).sum() / (mask | wanted).sum() > 0.94
        assert (mask & wanted).sum() == wanted.sum()
    two_parts = next((out / "labels").glob("side-*.txt")).read_text()
    assert len(two_parts.splitlines()) == 1  # one object, one line


def test_voc_is_read_by_supervision(run: RunDir, tmp_path: Path) -> None:
    out = tmp_path / "voc"
    summary = export(run, out, "voc", images="all")
    assert (summary.images, summary.left_out) == (5, {"failed": 1})
    files = sorted((out / "Annotations").iterdir())
    names = (out / "ImageSets" / "Main" / "train.txt").read_text(encoding="utf-8").split()
    assert sorted(names) == [file.stem for file in files]
    assert sorted(path.stem for path in (out / "JPEGImages").iterdir()) == sorted(names)
    data = sv.DetectionDataset.from_pascal_voc(str(out / "JPEGImages"), str(out / "Annotations"))
    assert set(data.classes) == {"star", "red circle", "square"}
    found = sorted(len(detections) for detections in data.annotations.values())
    assert found == [0, 1, 1, 1, 2]
    (pair,) = [detections for detections in data.annotations.values() if len(detections) == 2]
    wanted = [label("star", LEFT)["box"], label("red circle", RIGHT)["box"]]
    np.testing.assert_array_equal(pair.xyxy, wanted)
    assert "<truncated>1</truncated>" in next((out / "Annotations").glob("ümläut-*")).read_text()
    side = ET.parse(next((out / "Annotations").glob("side-*"))).getroot()
    assert side.findtext("path") == str(tmp_path / "x.zip!/in/side.png")
    assert (side.findtext("folder"), side.findtext("segmented")) == ("JPEGImages", "0")
    assert (out / "JPEGImages" / str(side.findtext("filename"))).is_file()
    assert (out / "labelmap.txt").read_text().splitlines()[1:3] == ["background:::", "star:::"]


def test_jsonl_keeps_everything_of_a_label(run: RunDir, tmp_path: Path) -> None:
    summary = export(run, tmp_path / "out", "jsonl", images="all", candidates=True)
    assert summary.labels == 6
    lines = (tmp_path / "out" / "labels.jsonl").read_text(encoding="utf-8").splitlines()
    images = [json.loads(line) for line in lines]
    assert [image["outcome"] for image in images] == [
        "accepted",
        "empty",
        "review",
        "accepted",
        "accepted",
    ]
    assert images[0]["labels"][2] == CANDIDATE
    assert images[0]["row_id"] == -(1 << 62)


SURE, NOTHING, DOUBTED, FAR, _, BROKEN = (
    number * 1234567890123456789 - (1 << 62) for number in range(6)
)


@pytest.fixture
def reviewed(run: RunDir) -> RunDir:
    """The run, of which people have corrected, accepted and rejected an image each."""
    edge = label("square", disc(10, 60, 30), score=None, source="review")
    answers = [
        (SURE, "correct", [label("square", LEFT), label("star", RIGHT)]),
        (DOUBTED, "accept", [label("square", LEFT), edge]),
        (FAR, "reject", None),
        (BROKEN, "correct", [label("star", LEFT)]),
    ]
    review(run, answers)
    return run


def test_what_people_said_stands_above_what_the_run_found(reviewed: RunDir, tmp_path: Path) -> None:
    summary = export(reviewed, tmp_path / "out", "coco", candidates=True)
    assert (summary.images, summary.labels) == (3, 4)
    assert summary.reviewed == {"correct": 1, "accept": 1}
    assert summary.left_out == {"rejected in review": 1, "reviewed, but of unknown size": 1}
    found = COCO(str(tmp_path / "out" / "annotations.json"))
    images = {int(image["row_id"]): image for image in found.dataset["images"]}
    said = {row_id: image["reviewed"] for row_id, image in images.items()}
    assert said == {SURE: "correct", NOTHING: None, DOUBTED: "accept"}
    square, star = found.loadAnns(found.getAnnIds(imgIds=[images[SURE]["id"]]))
    assert (square["category_id"], star["category_id"]) == (4, 1)
    np.testing.assert_array_equal(found.annToMask(square), LEFT)


def test_reviewed_images_alone_or_not_at_all(reviewed: RunDir, tmp_path: Path) -> None:
    only = export(reviewed, tmp_path / "only", "jsonl", reviewed="only")
    lines = (tmp_path / "only" / "labels.jsonl").read_text(encoding="utf-8").splitlines()
    images = {image["row_id"]: image for image in map(json.loads, lines)}
    assert set(images) == {SURE, DOUBTED}
    assert (images[DOUBTED]["outcome"], images[DOUBTED]["reviewed"]) == ("review", "accept")
    assert only.left_out["not reviewed"] == 2
    ignored = export(reviewed, tmp_path / "ignored", "jsonl", reviewed="ignore")
    assert (ignored.images, ignored.labels, dict(ignored.reviewed)) == (4, 4, {})
    assert ignored.left_out == {"review": 1, "failed": 1}


def test_reviewed_images_in_yolo_and_voc(reviewed: RunDir, tmp_path: Path) -> None:
    export(reviewed, tmp_path / "yolo", "yolo", reviewed="only")
    with (tmp_path / "yolo" / "sources.csv").open(newline="") as file:
        rows = {row["outcome"]: row for row in csv.DictReader(file)}
    assert {name: row["reviewed"] for name, row in rows.items()} == {
        "accepted": "correct",
        "review": "accept",
    }
    stem = Path(rows["accepted"]["image"]).stem
    lines = (tmp_path / "yolo" / "labels" / f"{stem}.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["3", "0"]
    export(reviewed, tmp_path / "voc", "voc", reviewed="only")
    (file,) = (tmp_path / "voc" / "Annotations").glob("ümläut-*")
    cut = [one.findtext("truncated") for one in ET.parse(file).getroot().iter("object")]
    assert cut == ["0", "1"], "of reviewed labels the box says it: their reasons are gone"


def test_reviewed_images_alone_need_some(run: RunDir, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no reviewed images") as caught:
        export(run, tmp_path / "out", "coco", reviewed="only")
    assert "curate pull" in caught.value.remedy
    assert not (tmp_path / "out").exists()
    assert export(run, tmp_path / "out", "yolo").images == 4, "without answers all is as before"


def test_label_without_mask_or_score_is_written(tmp_path: Path) -> None:
    rows = rows_of(tmp_path)[:1]
    rows[0]["outcome"] = "review"
    rows[0]["instances"] = [label("star", LEFT, mask=None, score=float("nan"))]
    run = finished(tmp_path, rows, shards=1)
    export(run, tmp_path / "coco", "coco", images="all")
    (annotation,) = COCO(str(tmp_path / "coco" / "annotations.json")).dataset["annotations"]
    assert annotation["segmentation"] == []
    assert annotation["score"] is None
    assert annotation["area"] == 49 * 49
    export(run, tmp_path / "seg", "yolo-seg", images="all")
    (line,) = next((tmp_path / "seg" / "labels").iterdir()).read_text().splitlines()
    assert len(line.split()) == 9  # the corners of its box


@pytest.mark.parametrize("kind", ["coco", "yolo", "yolo-seg", "voc", "jsonl"])
def test_run_without_rows_gives_an_empty_export(tmp_path: Path, kind: str) -> None:
    run = finished(tmp_path, [], shards=1)
    assert export(run, tmp_path / "out", kind).images == 0
    if kind == "coco":
        assert COCO(str(tmp_path / "out" / "annotations.json")).getImgIds() == []


def test_what_cannot_be_exported_is_named(run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(ConfigError, match="taken exists already"):
        export(run, tmp_path / "taken", "coco")
    named = r"same name.png, page 1\) has the class 'red circle', which is not one of star"
    with pytest.raises(ConfigError, match=named):
        export_run(run, tmp_path / "out", ExportConfig(format="coco"), ["star"])
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))
    with pytest.raises(OutputUnwritable, match="cannot write"):
        export(run, tmp_path / "taken" / "file" / "out", "coco")
    pages = RunDir(tmp_path / "pages")
    pages.create()
    row = {"row_id": [1], "text": ["page"], "outcome": ["ocr"], "reasons": [["none"]]}
    pq.write_table(pa.table(row), pages.shards / "p.parquet")
    with pytest.raises(ConfigError, match="has no labels: its rows lack uri, page, pages"):
        export(pages, tmp_path / "out", "coco")


def test_export_may_fill_an_empty_directory(run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert export(run, tmp_path / "out", "coco").images == 3


#: VmHWM, not ru_maxrss: that one begins at the size of the process that started this one.
PEAK = """
import re, sys
from pathlib import Path
from pipelines.export.labels.export import export_run
from pipelines.export.labels.selection import ExportConfig
from pipelines.runs.directory import RunDir
export_run(RunDir(sys.argv[1]), Path(sys.argv[2]), ExportConfig(format="coco"), ["star"])
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def peak_kib(run: RunDir, out: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PEAK, run.path, out], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_memory_does_not_grow_with_the_run(tmp_path: Path) -> None:
    one = label("star", LEFT)

    def written(name: str, images: int) -> RunDir:
        rows = [
            row_of(0, Path(f"/nowhere/{number}.png"), "accepted", [one] * 5, row_id=number)
            for number in range(images)
        ]
        return finished(tmp_path / name, rows, shards=max(1, images // 500))

    small = peak_kib(written("small", 500), tmp_path / "out-small")
    large = peak_kib(written("large", 8000), tmp_path / "out-large")
    assert (tmp_path / "out-large" / "annotations.json").stat().st_size > 10 << 20
    assert large < small + 40_000  # 40,000 labels of 1 KB as Python objects would be 100 MB
