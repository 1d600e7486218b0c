"""Control characters in names and texts: every export is well-formed and safe to print."""

from __future__ import annotations

import csv
import json
import re
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import pypdfium2 as pdfium
import pytest
from bad_files import good_page
from ocr_documents import line, ocr_run, read_page
from PIL import Image
from test_export import CLASSES, LEFT, finished, label, row_of

from pipelines.export.characters import clean_text, safe_name, xml_text
from pipelines.export.documents.export import DocumentExport, export_documents
from pipelines.export.documents.names import file_name
from pipelines.export.labels.export import export_run
from pipelines.export.labels.selection import ExportConfig
from pipelines.runs.directory import RunDir
from pipelines.truth.coco import lookup
from pipelines.truth.page_match import names_of

#: A bell, a colour code, a C1 code, a line break: a file system allows all of them in names.
ODD = "a\x01\x1b[31m\x9bb\nc"
TEXT = "left \x1b]0;title\x07 right\x00 \ufffe"
CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f]")


def test_what_becomes_of_each_character() -> None:
    assert clean_text("a\tb\n\fc\x1bd\x9be\x7f") == "a\tb\n\fc\ufffdd\ufffde\ufffd"
    assert xml_text("a\tb\x0cc\ufffe\U0001f600\ud800") == "a\tb\ufffdc\ufffd\U0001f600\ufffd"
    assert safe_name(ODD) == "a__[31m_b_c"


@pytest.fixture
def labels(tmp_path: Path) -> RunDir:
    """One image with an odd name: a local one, in an archive, and in a folder `x.zip!`."""
    (tmp_path / "x.zip!").mkdir()
    image = good_page(tmp_path, name=f"{ODD}.png")
    inside = good_page(tmp_path / "x.zip!", name="in.png")
    uris = [
        str(image),
        f"{tmp_path}/z.zip!/{ODD}.pn\x1bg",
        f"file://{tmp_path}/x.zip%21/{inside.name}",
    ]
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(image, f"{ODD}.pn\x1bg")
    rows = [
        row_of(number, image, "accepted", [label("star", LEFT)], uri=uri)
        for number, uri in enumerate(uris)
    ]
    for row in rows:
        row["width"], row["height"] = Image.open(image).size
        row["etag"] = None
    return finished(tmp_path, rows)


def test_labels_of_odd_names(labels: RunDir, tmp_path: Path) -> None:
    for form in ("voc", "coco", "yolo", "jsonl"):
        export_run(labels, tmp_path / form, ExportConfig(format=form), CLASSES)
    voc = [ET.parse(path).getroot() for path in sorted((tmp_path / "voc").rglob("*.xml"))]
    assert len(voc) == 3
    paths = {root.findtext("path") for root in voc}
    assert f"{tmp_path}/a\ufffd\ufffd[31m\ufffdb\nc.png" in paths
    assert f"{tmp_path}/x.zip!/in.png" in paths
    coco = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    names = [one["file_name"] for one in coco["images"]]
    assert names == [f"{ODD}.png", "x.zip!/in.png"], "names its file exactly"
    uri = f"file://{tmp_path}/x.zip%21/in.png"
    assert lookup({one["file_name"]: one["id"] for one in coco["images"]}, uri) == 2
    assert "x.zip/in" in names_of(uri)
    with (tmp_path / "yolo" / "sources.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["uri"] == f"{tmp_path}/{ODD}.png"
    links = {path.resolve().name for path in (tmp_path / "yolo" / "images").iterdir()}
    assert {f"{ODD}.png", "in.png"} <= links
    assert len(links) == 3
    written = [path.name for path in tmp_path.rglob("*") if not path.name.startswith("a\x01")]
    assert not [name for name in written if CONTROL.search(name) or "\n" in name]
    lines = (tmp_path / "jsonl" / "labels.jsonl").read_text()
    assert not CONTROL.search(lines), "JSON escapes what a terminal obeys"


@pytest.mark.parametrize("form", ["text", "markdown", "jsonl", "hocr", "alto", "pdf"])
def test_documents_of_odd_names_and_texts(form: str, tmp_path: Path) -> None:
    page = good_page(tmp_path, name=f"{ODD}.png")
    lines = [line(TEXT, (40, 40, 600, 90), 0.9), line("second", (40, 100, 300, 150), 0.9)]
    row = read_page(1, page, lines) | {"width": 640, "height": 480}
    run = ocr_run(tmp_path / "run", tmp_path, [row])
    out = tmp_path / "out"
    summary = export_documents(run, str(out), DocumentExport.model_validate({"format": form}))
    assert summary.pages == 1
    files = [path for path in out.rglob("*") if path.is_file() and ".nightjar" not in path.parts]
    (document,) = [path for path in files if path.name != "documents.jsonl"]
    assert not CONTROL.search(document.name)
    shown = "left \ufffd]0;title\ufffd right\ufffd"
    if form == "pdf":
        text = pdfium.PdfDocument(document)[0].get_textpage().get_text_range()
        assert "left" in text
        assert "right" in text
        assert not CONTROL.search(text.replace("\r", ""))
        return
    text = document.read_text()
    assert not CONTROL.search(text)
    if form in ("hocr", "alto"):
        root = ET.fromstring(text)
        words = "".join(root.itertext()) + "".join(one.get("CONTENT", "") for one in root.iter())
        assert "\ufffd]0;title\ufffd" in words
    else:
        assert shown.replace("]", "\\]") in text if form == "markdown" else shown in text


def test_a_real_folder_and_an_archive_of_one_name_give_two_files() -> None:
    archive = file_name("/s/x.zip!/a.png", "/s", ".txt")
    folder = file_name("file:///s/x.zip%21/a.png", "/s", ".txt")
    assert archive == "x.zip!/a.png.txt"
    assert re.fullmatch(r"x\.zip!/a\.png-[0-9a-f]{16}\.txt", folder)
