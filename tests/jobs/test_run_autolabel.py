"""The labelling job through the real command, Ray and pocket models, on good and bad files."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds
import pytest
from bad_files import huge_png, text_named_jpg, truncated_jpeg, truncated_png, zero_bytes
from conftest import REPOSITORY, Ended, in_this_process, nightjar_argv
from odd_pictures import SAME, extremes, plain_scene, same_pictures, without_colour
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from pipelines.export.labels.mask_outline import outline

CONFIG = REPOSITORY / "configs" / "autolabel" / "quickstart.yaml"
SAMPLES = REPOSITORY / "configs" / "samples" / "scenes"
EXTREMES = {"1x1.png": (1, 1), "1x3000.png": (1, 3000), "3000x2.png": (3000, 2)}
BAD = {
    "torn.jpg": "CORRUPT_IMAGE",
    "zero_bytes.jpg": "EMPTY_FILE",
    "text.jpg": "UNSUPPORTED_KIND",
    "truncated.jpg": "CORRUPT_IMAGE",
    "truncated.png": "CORRUPT_IMAGE",
    "huge.png": "TOO_MANY_PIXELS",
}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """The quickstart's samples with odd and bad files among them, in one run."""
    folder = tmp_path_factory.mktemp("autolabel")
    source = shutil.copytree(SAMPLES, folder / "source")
    pixels = plain_scene().pixels
    same_pictures(source, pixels)
    without_colour(source, pixels)
    extremes(source)
    makers = (zero_bytes, text_named_jpg, truncated_jpeg, truncated_png, huge_png)
    for name, make in zip(list(BAD)[1:], makers, strict=True):
        (folder / name).mkdir()
        make(folder / name).rename(source / name)
    argv = nightjar_argv(*quickstart(folder))
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=580)
    return folder, Ended(done.returncode, done.stdout, done.stderr)


def quickstart(folder: Path) -> list[str]:
    changes = (f"source.path={folder / 'source'}", f"run_dir={folder / 'run'}")
    return ["run", str(CONFIG), *(part for one in changes for part in ("--set", one))]


@pytest.fixture(scope="module")
def rows(night) -> dict[str, dict[str, Any]]:
    assert night[1].code == 0, night[1].err
    table = ds.dataset(night[0] / "run" / "shards").to_table()
    return {Path(row["uri"]).name: row for row in table.to_pylist()}


def labels_of(row: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {label["class"]: label for label in row["instances"]}


def test_every_image_ends_once(night, rows) -> None:
    listed = ds.dataset(sorted((night[0] / "run" / "manifest").glob("*.parquet"))).to_table()
    written = ds.dataset(night[0] / "run" / "shards").to_table()
    assert Counter(listed["row_id"].to_pylist()) == Counter(written["row_id"].to_pylist())
    assert {row["outcome"] for row in rows.values()} == {"accepted", "empty", "review", "failed"}


def test_reasons_stand_with_what_nobody_should_trust(rows) -> None:
    for name, row in rows.items():
        assert bool(row["reasons"]) == (row["outcome"] in ("review", "failed")), name


@pytest.mark.parametrize("name", BAD)
def test_each_bad_file_fails_by_its_name(rows, name: str) -> None:
    assert (rows[name]["outcome"], rows[name]["reasons"]) == ("failed", [BAD[name]])


@pytest.mark.parametrize("name", SAME)
def test_however_it_is_stored_its_objects_are_where_they_are(rows, name: str) -> None:
    """Boxes and masks in pixels of the upright image, whatever the file's own orientation."""
    row, truth = rows[name], plain_scene()
    assert (row["width"], row["height"]) == (320, 256)
    found = labels_of(row)
    for thing in truth.things:
        label = found[thing.kind.phrase]
        assert np.abs(np.array(label["box"]) - thing.box).max() < 8
        mask = coco_mask.decode(label["mask"]).astype(bool)
        assert mask.shape == (256, 320)
        assert (mask & thing.mask).sum() / (mask | thing.mask).sum() > 0.8


@pytest.mark.parametrize("name", ["gray.png", "gray16.png", *EXTREMES])
def test_images_without_colour_or_shape_are_looked_at_all_the_same(rows, name: str) -> None:
    assert rows[name]["outcome"] != "failed"
    assert rows[name]["instances"] is not None


def test_no_label_leaves_its_image(rows) -> None:
    labelled = [(row, label) for row in rows.values() for label in row["instances"] or ()]
    assert labelled
    for row, label in labelled:
        x0, y0, x1, y1 = label["box"]
        assert 0 <= x0 < x1 <= row["width"] + 1e-3
        assert 0 <= y0 < y1 <= row["height"] + 1e-3
        assert label["mask"]["size"] == [row["height"], row["width"]]


def test_the_summary_says_what_the_labels_are_worth(night) -> None:
    out = night[1].out
    boxes = next(line.split() for line in out.splitlines() if line.startswith("boxes"))
    masks = next(line.split() for line in out.splitlines() if line.startswith("masks"))
    ap50, recall, mask_iou = float(boxes[2]), float(boxes[4]), float(masks[-1])
    assert ap50 > 0.8
    assert recall > 0.8
    assert mask_iou > 0.85


def test_a_second_run_starts_nothing_and_says_the_same(night) -> None:
    again = in_this_process(REPOSITORY, *quickstart(night[0]))
    assert again.code == 0, again.err
    assert "Everything is done." in again.out
    assert next(line for line in night[1].out.splitlines() if line.startswith("boxes")) in again.out


def test_the_record_names_weights_and_engines(night) -> None:
    models = json.loads((night[0] / "run" / "run.json").read_text())["sessions"][0]["models"]
    assert len(models["grounding_dino"]["weights_sha256"]) == 64
    assert len(models["sam2"]["weights_sha256"]) == 64


def test_its_export_opens_in_pycocotools_with_empty_images_in_it(night, rows) -> None:
    out = night[0] / "coco"
    options = ("--format", "coco", "--all")
    assert in_this_process(night[0], "export", night[0] / "run", out, *options).code == 0
    (path,) = out.glob("*.json")
    opened = COCO(path)
    done = [row for row in rows.values() if row["outcome"] != "failed"]
    assert len(opened.getImgIds()) == len(done)
    assert len(opened.getAnnIds()) == sum(len(row["instances"]) for row in done)


def test_polygons_of_its_masks_are_the_masks(rows) -> None:
    masks = [one["mask"] for row in rows.values() for one in row["instances"] or () if one["mask"]]
    found = []
    for mask in masks:
        drawn = coco_mask.frPyObjects([outline(mask).ravel().tolist()], *mask["size"])
        found.append(float(coco_mask.iou(drawn, [mask], [0])[0, 0]))
    assert len(found) > 10
    assert np.mean(found) > 0.97


def test_an_image_is_drawn_with_its_labels(night, rows) -> None:
    picture = night[0] / "drawn.png"
    row = str(rows["plain.png"]["row_id"])
    done = in_this_process(night[0], "show", night[0] / "run", "--row", row, "--image", picture)
    assert done.code == 0, done.err
    drawn = Image.open(picture)
    assert drawn.size == (640, 512)
    large = Image.fromarray(plain_scene().pixels).resize(drawn.size, Image.Resampling.NEAREST)
    changed = np.abs(np.asarray(drawn, dtype=int) - np.asarray(large, dtype=int)).max(2) > 30
    assert 0.02 < changed.mean() < 0.6
