"""Names of exported pictures: unique, whole UTF-8, short enough; COCO's below the source."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import yaml
from hand_made_runs import IMAGES, label, picture, stored, write_run
from pycocotools.coco import COCO

from pipelines.export.labels.export import export_run
from pipelines.export.labels.names import NamesBelow, names_of, stem_of, why_nameless
from pipelines.export.labels.selection import ExportConfig
from pipelines.runs.directory import RunDir


@pytest.mark.parametrize(
    ("uri", "begins"),
    [
        ("/scans/letter.pdf", "letter-"),
        ("/scans/archive.tar.gz!/in/side.png", "side-"),
        ("/scans/report.pdf!/photo.jpg", "photo-"),
        ("s3://bucket/day 1/a b.jpg", "a_b-"),
        ("/scans/.hidden.jpg", "_hidden-"),
        ("/scans/..", "_.-"),
        ("/scans/\x1b[31m\n.png", "__31m_-"),
        ("file:///scans/caf%E9.png", "caf_E9-"),
        ("/scans/" + "猫" * 80 + ".png", "猫" * 50 + "-"),
        ("/scans/a" + "é" * 200 + ".png", "a" + "é" * 74 + "-"),
        ("/scans/" + "😀" * 60 + ".png", "_" * 60 + "-"),
    ],
)
def test_names_are_short_and_whole(uri: str, begins: str, tmp_path: Path) -> None:
    name = stem_of(uri, 1, -1)
    assert name == f"{begins}{'f' * 16}"
    longest = f".{name}.{'0' * 32}.jpeg"  # as ultralytics calls a picture that it mends
    assert len(os.fsencode(longest)) < 256
    (tmp_path / longest).touch()


def test_every_page_has_its_name() -> None:
    names = {stem_of("/scans/a.tif", page, page) for page in range(1, 12)}
    assert len(names) == 11
    assert stem_of("/scans/a.tif", 11, 11).startswith("a-p11-")


@pytest.mark.parametrize(
    ("uri", "page", "kind", "why"),
    [
        ("/scans/a.tif", 1, "tiff", None),
        ("/scans/A.JPG", 1, "png", None),
        ("/scans/a.tif", 2, "tiff", "pages after the first"),
        ("/scans/a.pdf", 1, "pdf", "pages of PDFs"),
        ("/scans/a.zip!/b.png", 1, "png", "members of archives"),
        ("/scans/a.pdf!/b.png", 1, "png", "files attached to PDFs"),
        ("file:///scans/x.zip%21/b.png", 1, "png", None),
        ("file:///scans/caf%E9.png", 1, "png", "names that are not UTF-8"),
        ("s3://bucket/0a1b2c", 1, "jpeg", "names without a picture's suffix"),
        ("/scans/scan.pdf", 1, "jpeg", "names without a picture's suffix"),
    ],
)
def test_what_coco_can_name(uri: str, page: int, kind: str, why: str | None) -> None:
    assert why_nameless(uri, page, kind) == why


def run_over(folder: Path, uris: list[str]) -> RunDir:
    rows = [
        stored(number, Path("/none.png"), outcome="empty", instances=[], width=160, height=120)
        | {"uri": uri}
        for number, uri in enumerate(uris)
    ]
    return write_run(folder / "run", "autolabel", IMAGES, rows[::2], rows[1::2])


@pytest.mark.parametrize(
    ("uris", "source", "names"),
    [
        (["/d/set/a/1.png", "/d/set/a/2.png"], "/d/set", ["a/1.png", "a/2.png"]),
        (["/d/set/a/1.png", "/d/set/b/2.png"], "/d/set/*/*.png", ["a/1.png", "b/2.png"]),
        (["/d/set/1.png"], "/d/set/1.png", ["1.png"]),
        (["/d/set/1.png", "/d/set/b/2.png"], "/d/set/list.csv", ["1.png", "b/2.png"]),
        (["/d/one/1.png", "/d/two/2.png"], "/d/list/list.csv", ["one/1.png", "two/2.png"]),
        (["/x/1.png", "/y/1.png"], "/d/list.jsonl", ["x/1.png", "y/1.png"]),
        (["s3://b/p/1.png", "s3://b/p/q/2.png"], "s3://b/p/", ["1.png", "q/2.png"]),
        (["s3://b/p/1.png", "s3://b/pq/2.png"], "s3://b/p", ["p/1.png", "pq/2.png"]),
        (["s3://b1/1.png", "s3://b2/1.png"], "/list.csv", ["b1/1.png", "b2/1.png"]),
        (["/d/1.png", "s3://b/1.png"], "/d/list.csv", ["d/1.png", "b/1.png"]),
        (["/d/set/1.png", "/d/set.zip!/1.png"], "/d/set", ["1.png", None]),
        (["/d/set/1.png", "file:///d/set/x.zip%21/1.png"], "/d/set", ["1.png", "x.zip!/1.png"]),
        (["/d/ü/1.png", "/d/猫/1.png"], "/d", ["ü/1.png", "猫/1.png"]),
        (["/moved/set/1.png", "/moved/set/2.png"], "set", ["1.png", "2.png"]),
        ([], "/d", []),
    ],
)
def test_coco_names_are_below_the_source(
    uris: list[str], source: str, names: list[str | None], tmp_path: Path
) -> None:
    below = names_of(run_over(tmp_path, uris), source, None)
    wanted = [name for name in names if name]
    assert [below(uri) for uri in uris if not why_nameless(uri, 1, "png")] == wanted
    assert len(set(wanted)) == len(wanted)


def test_no_name_is_given_twice(tmp_path: Path) -> None:
    run = run_over(tmp_path, ["/b/1.png", "s3://b/1.png", "/c/1.png"])
    summary = export_run(run, tmp_path / "out", ExportConfig(format="coco"), ["a"])
    assert (summary.images, summary.missing) == (2, {"names of another image": 1})


def test_a_root_is_a_whole_folder() -> None:
    assert NamesBelow("/d/set")("/d/set2/1.png") == "d/set2/1.png"


def test_odd_classes_come_back_from_every_format(tmp_path: Path) -> None:
    classes = ["no", "1", "a: b", "#x", 'it\'s "red"', "кот, 猫", "line\nbreak", " spaced ", "ﬁ"]
    rows: list[dict[str, Any]] = []
    for number, name in enumerate(classes):
        row = stored(number, picture(tmp_path / f"{number}.jpg"), outcome="accepted", reasons=[])
        rows.append(row | {"instances": [label(name, (10, 10, 50, 60))]})
    run = write_run(tmp_path / "run", "autolabel", IMAGES, rows)
    for form in ("coco", "yolo", "voc"):
        export_run(run, tmp_path / form, ExportConfig(format=form), classes)
    coco = COCO(str(tmp_path / "coco" / "annotations.json"))
    assert [one["name"] for one in coco.dataset["categories"]] == classes
    names = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text(encoding="utf-8"))["names"]
    assert list(names.values()) == classes
    assert not (tmp_path / "voc" / "labelmap.txt").exists(), "it cannot hold `a: b`"
    assert json.loads((tmp_path / "coco" / "annotations.json").read_text())["licenses"] == []


def test_names_of_either_normal_form_stay_two_files(tmp_path: Path) -> None:
    """macOS writes ü as two characters."""
    names = [unicodedata.normalize(form, "ümlaut") for form in ("NFC", "NFD")]
    uris = [str(picture(tmp_path / f"{name}.jpg")) for name in names]
    rows = [
        stored(number, Path(uri), outcome="empty", reasons=[], instances=[])
        for number, uri in enumerate(uris)
    ]
    run = write_run(tmp_path / "run", "autolabel", IMAGES, rows)
    assert export_run(run, tmp_path / "yolo", ExportConfig(format="yolo"), ["a"]).images == 2
    assert len(list((tmp_path / "yolo" / "images").iterdir())) == 2
