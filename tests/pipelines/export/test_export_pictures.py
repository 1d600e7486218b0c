"""Pictures of exported labels: every label has one, and every loader sees what the run labelled."""

from __future__ import annotations

import csv
import json
import os
import shutil
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import supervision as sv
from conftest import REPOSITORY
from hand_made_runs import IMAGES, stored, write_run
from labelled_folders import CREATED, labelled_folder, one_star
from odd_pictures import lying_on_its_side, plain_scene, same_pictures
from PIL import Image
from pycocotools.coco import COCO
from s3_server import Bucket
from ultralytics.data.utils import IMG_FORMATS, img2label_paths, verify_image_label

from pipelines.errors import ConfigError, SourceUnavailable
from pipelines.export.labels.export import ExportSummary, export_run, survey
from pipelines.export.labels.selection import ExportConfig
from pipelines.runs.directory import RunDir
from pipelines.storage.walk import etag_of

pytest_plugins = ["s3_server"]

CLASSES = ["red star", "blue star", "green house"]
FOLDERS = {"yolo": "images", "yolo-seg": "images", "voc": "JPEGImages", "coco": "images"}
CASES = REPOSITORY.parent / "shared/cases/labels"


def export(run: RunDir, out: Path, form: str, **options: Any) -> ExportSummary:
    return export_run(run, out, ExportConfig.model_validate({"format": form, **options}), CLASSES)


@cache
def pixels() -> np.ndarray:
    return plain_scene().pixels


def scene() -> Image.Image:
    return Image.fromarray(pixels())


def odd_files(folder: Path) -> None:
    """Files with one scene each that some loader does not read, or reads differently."""
    folder.mkdir()
    same_pictures(folder, pixels())
    picture = scene()
    picture.save(folder / "frames.gif", save_all=True, append_images=[picture.rotate(180)])
    picture.save(folder / "lossless.webp", lossless=True)
    picture.save(folder / "plain.bmp")
    picture.save(folder / "packed.tif", compression="tiff_lzw")
    picture.save(folder / "pages.tif", save_all=True, append_images=[picture, picture])
    picture.save(folder / "wrong suffix.png", "JPEG", quality=98)
    picture.save(folder / "noext", "JPEG", quality=98)
    (folder / "more after its end.jpg").write_bytes((folder / "noext").read_bytes() + b"\0\0")
    picture.save(folder / ("猫" * 80 + ".png"))
    picture.save(folder / 'it\'s, "quoted"\nand broken.png')
    picture.save(os.fsencode(folder) + b"/caf\xe9.png", "PNG")
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        archive.write(folder / "plain.png", "in/plain.png")
        archive.write(folder / "noext", "in/noext")


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run over `odd_files` in a folder `files` beside it."""
    folder = tmp_path_factory.mktemp("odd")
    odd_files(folder / "files")
    return labelled_folder(folder / "run", folder / "files")


@pytest.fixture
def plain(tmp_path: Path) -> RunDir:
    """A run over four plain pictures in `tmp_path`/files."""
    (tmp_path / "files" / "sub").mkdir(parents=True)
    rows = []
    for number, name in enumerate(("a.png", "b.png", "sub/a.png", "sub/c.jpg")):
        path = tmp_path / "files" / name
        scene().save(path)
        row = stored(number, path, outcome="accepted", etag=etag_of(path.stat()), reasons=[])
        rows.append(row | {"instances": one_star(row)})
    return write_run(tmp_path / "run", "autolabel", IMAGES, rows)


@pytest.mark.parametrize(
    ("form", "options"),
    [("yolo", {}), ("yolo", {"copy_images": True}), ("voc", {}), ("coco", {"copy_images": True})],
)
def test_every_loader_sees_the_upright_scene(
    odd: RunDir, tmp_path: Path, form: str, options: dict[str, Any]
) -> None:
    out = tmp_path / "out"
    summary = export(odd, out, form, **options)
    assert (summary.images, dict(summary.missing)) == (21, {})
    pictures = sorted((out / FOLDERS[form]).iterdir())
    assert len(pictures) == 21
    assert any(path.is_symlink() for path in pictures) == (form == "yolo" and not options)
    wanted = pixels().astype(int)
    for path in pictures:
        assert len(os.fsencode(path.name)) <= 200
        assert not path.name.startswith(".")
        assert path.suffix[1:] in IMG_FORMATS & {"jpg", "png", "webp", "bmp"}
        by_cv2 = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        assert by_cv2 is not None
        by_pillow = Image.open(path)
        assert {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp"}[
            str(by_pillow.format)
        ] == path.suffix
        for seen in (by_cv2[:, :, ::-1], np.asarray(by_pillow.convert("RGB"))):
            assert np.abs(seen.astype(int) - wanted).mean() < 3, path.name


def test_ultralytics_reads_every_label_with_its_picture(odd: RunDir, tmp_path: Path) -> None:
    for form in ("yolo", "yolo-seg"):
        out = tmp_path / form
        export(odd, out, form)
        pictures = sorted(map(str, (out / "images").iterdir()))
        labels = img2label_paths([*pictures])
        assert sorted(labels) == sorted(map(str, (out / "labels").iterdir()))
        for picture, label in zip(pictures, labels, strict=True):
            read = verify_image_label((picture, label, "", False, 3, 0, 0, False))
            assert read[0] == picture, read[-1]
            assert read[2] == (256, 320), "height and width, upright"
            np.testing.assert_allclose(read[1], [[0, 0.5, 0.5, 0.5, 0.5]], atol=1e-3)
    source = odd.path.parent / "files" / "more after its end.jpg"
    assert source.read_bytes().endswith(b"\0\0"), "ultralytics mends such files through links"


def test_sources_csv_names_every_picture(odd: RunDir, tmp_path: Path) -> None:
    export(odd, tmp_path / "out", "yolo")
    with (tmp_path / "out" / "sources.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    folder = odd.path.parent / "files"
    assert {row["image"] for row in rows} == {
        path.name for path in (tmp_path / "out" / "images").iterdir()
    }
    uris = {row["uri"] for row in rows}
    assert f'{folder}/it\'s, "quoted"\nand broken.png' in uris
    assert f"file://{folder}/caf%E9.png" in uris


def test_coco_names_what_a_loader_finds_below_the_source(odd: RunDir, tmp_path: Path) -> None:
    summary = export(odd, tmp_path / "out", "coco")
    assert summary.missing == {
        "members of archives": 2,
        "pages after the first": 2,
        "names that are not UTF-8": 1,
        "names without a picture's suffix": 1,
    }
    assert summary.pictures == {"named": 14, "turned": 1}
    coco = COCO(str(tmp_path / "out" / "annotations.json"))
    names = [image["file_name"] for image in coco.imgs.values()]
    assert len(set(names)) == len(names) == 15
    folder = odd.path.parent / "files"
    assert all((folder / name).is_file() for name in names)
    assert coco.dataset["info"]["date_created"] == CREATED
    assert coco.dataset["licenses"] == []
    data = sv.DetectionDataset.from_coco(str(folder), str(tmp_path / "out" / "annotations.json"))
    assert sum(map(len, data.annotations.values())) == 15


@pytest.mark.parametrize("masks", ["rle", "polygons", "none"])
def test_coco_with_pictures_is_whole(odd: RunDir, tmp_path: Path, masks: str) -> None:
    out = tmp_path / "out"
    export(odd, out, "coco", copy_images=True, masks=masks)
    coco = COCO(str(out / "annotations" / "instances_default.json"))
    for image in coco.imgs.values():
        assert Image.open(out / "images" / image["file_name"]).size == (320, 256)
    shapes = [one["segmentation"] for one in coco.anns.values()]
    assert all(isinstance(shape, dict) for shape in shapes) == (masks == "rle")
    if masks == "none":
        assert shapes == [[]] * 21
    else:
        assert all(coco.annToMask(one).sum() == one["area"] for one in coco.anns.values())
    data = sv.DetectionDataset.from_coco(
        str(out / "images"), str(out / "annotations.json"), force_masks=masks == "rle"
    )
    assert len(data) == 21
    shutil.move(out, tmp_path / "moved")
    moved = json.loads((tmp_path / "moved" / "annotations" / "instances_default.json").read_text())
    assert len(moved["images"]) == 21, "the link leads into the same folder"


def test_pages_of_documents_are_pictures(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    document = tmp_path / "files" / "report.pdf"
    scene().save(document, "PDF", save_all=True, append_images=[scene()])
    run = labelled_folder(tmp_path / "run", tmp_path / "files")
    assert export(run, tmp_path / "named", "coco").missing == {"pages of PDFs": 2}
    summary = export(run, tmp_path / "voc", "voc")
    assert (summary.images, summary.pictures) == (2, {"written": 2})
    names = {path.name[:9] for path in (tmp_path / "voc" / "JPEGImages").iterdir()}
    assert "report-p2" in names


def test_what_is_gone_or_has_changed_is_counted(plain: RunDir, tmp_path: Path) -> None:
    (tmp_path / "files" / "a.png").unlink()
    scene().resize((64, 64)).save(tmp_path / "files" / "b.png")
    for form in ("yolo", "voc"):
        summary = export(plain, tmp_path / form, form)
        assert (summary.images, summary.labels) == (2, 2)
        assert summary.missing == {"OBJECT_MISSING": 1, "OBJECT_CHANGED": 1}
        named = {Path(uri).name: message for uri, _, message in summary.problems}
        assert set(named) == {"a.png", "b.png"}
        assert named["b.png"].startswith("OBJECT_CHANGED")
        written = {path.stem for path in (tmp_path / form).rglob("*-*.*")}
        assert len(written) == 2, "no label without a picture"
    shutil.rmtree(tmp_path / "files")
    with pytest.raises(SourceUnavailable, match="none of 4 pictures can be read"):
        export(plain, tmp_path / "out", "yolo")
    assert not (tmp_path / "out").exists()
    assert export(plain, tmp_path / "coco", "coco").images == 4, "names need no files"


def test_a_survey_says_what_would_be_linked_and_copied(plain: RunDir, tmp_path: Path) -> None:
    def surveyed(form: str, **options: Any) -> ExportSummary:
        config = ExportConfig.model_validate({"format": form, **options})
        return survey(plain, tmp_path / "out", config, CLASSES)

    sizes = sum(path.stat().st_size for path in (tmp_path / "files").rglob("*.*"))
    assert surveyed("yolo").pictures == {"linked": 4}
    copied = surveyed("voc", copy_images=True)
    assert (copied.pictures, copied.bytes) == ({"copied": 4}, sizes)
    assert (surveyed("coco").images, surveyed("coco").pictures) == (4, {})
    assert not (tmp_path / "out").exists()


def test_objects_of_a_bucket_are_copied(bucket: Bucket, tmp_path: Path) -> None:
    lying_on_its_side(tmp_path, scene())
    scene().save(tmp_path / "plain.png")
    for name in ("lying.jpg", "plain.png"):
        bucket.put(f"set/day 1/{name}", (tmp_path / name).read_bytes())
    bucket.put("set/day 2/gone.png", (tmp_path / "plain.png").read_bytes())
    source = f"s3://{bucket.name}/set"
    run = labelled_folder(tmp_path / "run", source, storage=bucket.settings)
    bucket.client.delete_object(Bucket=bucket.name, Key="set/day 2/gone.png")
    summary = export(run, tmp_path / "yolo", "yolo")
    assert summary.pictures == {"written": 2}
    assert summary.missing == {"OBJECT_MISSING": 1}
    written = {path.name.split("-")[0]: path for path in (tmp_path / "yolo" / "images").iterdir()}
    assert written["plain"].read_bytes() == (tmp_path / "plain.png").read_bytes()
    assert Image.open(written["lying"]).size == (320, 256)
    export(run, tmp_path / "coco", "coco")
    found = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    names = [image["file_name"] for image in found["images"]]
    assert sorted(names) == ["day 1/lying.jpg", "day 1/plain.png", "day 2/gone.png"]
    export(run, tmp_path / "day", "coco", relative_to=f"s3://{bucket.name}")
    found = json.loads((tmp_path / "day" / "annotations.json").read_text())
    assert found["images"][0]["file_name"] == "set/day 1/lying.jpg"


def test_voc_pictures_lie_in_its_own_folder(plain: RunDir, tmp_path: Path) -> None:
    """datumaro refuses links out of the set."""
    export(plain, tmp_path / "out", "voc")
    pictures = list((tmp_path / "out" / "JPEGImages").iterdir())
    assert len(pictures) == 4
    assert not any(path.is_symlink() for path in pictures)
    for path in (tmp_path / "out" / "Annotations").iterdir():
        name = ET.parse(path).getroot().findtext("filename")
        assert (tmp_path / "out" / "JPEGImages" / str(name)).is_file()


def test_options_that_do_not_fit_are_refused(plain: RunDir, tmp_path: Path) -> None:
    for form, options, said in (
        ("yolo", {"masks": "polygons"}, "--masks is for --format coco"),
        ("voc", {"relative_to": "/"}, "--relative-to is for --format coco"),
        ("coco", {"relative_to": "/", "copy_images": True}, "relative to OUT/images"),
        ("coco", {"relative_to": str(tmp_path / "elsewhere")}, "a.png is not below it"),
    ):
        with pytest.raises(ConfigError, match=said):
            export(plain, tmp_path / "out", form, **options)
    assert not (tmp_path / "out").exists()


def of_cases(name: str) -> Callable[[Path], None]:
    """The file of ../shared/cases/labels; where that is not, one of the same kind."""

    def write(path: Path) -> None:
        if (CASES / name).is_file():
            shutil.copy(CASES / name, path)
        elif name == "noext":
            scene().save(path, "JPEG")
        else:
            scene().save(path, "TIFF", save_all=True, append_images=[scene(), scene()])

    return write


def test_pages_tif_has_three_pictures(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    of_cases("pages.tif")(tmp_path / "files" / "pages.tif")
    run = labelled_folder(tmp_path / "run", tmp_path / "files")
    named = export(run, tmp_path / "named", "coco")
    assert (named.images, named.missing) == (1, {"pages after the first": 2})
    export(run, tmp_path / "whole", "coco", copy_images=True)
    found = json.loads((tmp_path / "whole" / "annotations.json").read_text())
    names = {image["file_name"] for image in found["images"]}
    assert len(names) == 3
    assert names == {path.name for path in (tmp_path / "whole" / "images").iterdir()}


def test_noext_is_linked_with_the_suffix_of_its_content(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    of_cases("noext")(tmp_path / "files" / "noext")
    run = labelled_folder(tmp_path / "run", tmp_path / "files")
    export(run, tmp_path / "out", "yolo")
    (linked,) = (tmp_path / "out" / "images").iterdir()
    assert linked.suffix == ".jpg"
    assert linked.resolve() == tmp_path / "files" / "noext"
