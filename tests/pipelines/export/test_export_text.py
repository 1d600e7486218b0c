"""Documents as text, Markdown, JSON lines, hOCR and ALTO, read back and validated."""

from __future__ import annotations

import json
import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from bad_files import drawn
from conftest import REPOSITORY
from markdown_it import MarkdownIt
from ocr_documents import line, ocr_run, pages_of, read_page, sample, unread
from s3_server import Bucket

from pipelines.errors import ConfigError, OutputUnwritable, RunBusy, RunConflict, RunDamaged
from pipelines.export.documents.export import (
    DocumentExport,
    DocumentSummary,
    export_documents,
    survey,
)
from pipelines.export.documents.names import file_name, root_of
from pipelines.review.importing import ReviewImport, write_reviewed
from pipelines.runs.directory import RunDir
from pipelines.storage.client import Storage
from pipelines.storage.objects import is_bucket, local_uri
from pipelines.truth.hocr import hocr_pages

pytest_plugins = ["s3_server"]

ARABIC = "المجموع 12.50 ريال"
HEBREW = 'סה"כ 42 שקלים'
CHINESE = "合計 一千二百円"
RARE = "𠀋 e\N{COMBINING ACUTE ACCENT} <&> \x07"
SHOWN = RARE.replace("\x07", "\ufffd")
RESOURCES = Path(__file__).parents[2] / "resources"
XHTML = "{http://www.w3.org/1999/xhtml}"
ALTO = "{http://www.loc.gov/standards/alto/ns-v4#}"
#: Where `alto-4-4.xsd` of the ALTO board lies (github.com/altoxml/schema, v4, CC BY-SA 4.0). It is
#: not kept here; what the writer may use of it is `ALTO_SHAPES`, checked everywhere.
SCHEMAS = Path(os.environ.get("NIGHTJAR_SCHEMAS") or REPOSITORY.parent / "shared" / "schemas")
#: Element -> (children, attributes that must be there, attributes that may be).
PLACE = {"HPOS", "VPOS", "WIDTH", "HEIGHT"}
ALTO_SHAPES: dict[str, tuple[set[str], set[str], set[str]]] = {
    "alto": ({"Description", "Layout"}, {"SCHEMAVERSION"}, set()),
    "Layout": ({"Page"}, set(), set()),
    "Page": (
        {"PrintSpace"},
        {"ID", "PHYSICAL_IMG_NR"},
        {"HEIGHT", "WIDTH", "PC", "QUALITY_DETAIL"},
    ),
    "PrintSpace": ({"TextBlock"}, set(), PLACE),
    "TextBlock": ({"TextLine"}, {"ID"}, PLACE),
    "TextLine": ({"Shape", "String", "SP"}, set(), PLACE | {"ID", "BASEDIRECTION"}),
    "Shape": ({"Polygon"}, set(), set()),
    "Polygon": (set(), {"POINTS"}, set()),
    "String": (set(), {"CONTENT"}, PLACE | {"WC"}),
    "SP": (set(), set(), set()),
}


def documents_run(folder: Path) -> tuple[RunDir, dict[str, Path]]:
    """Three documents over three shards, their pages in any order.

    A PDF of three pages (one failed), a TIFF of three (one waits for review, one is blank), a
    letter in four scripts.
    """
    source = folder / "scans"
    files = {
        "pdf": sample(source / "box 1", "annual_report.pdf"),
        "tiff": sample(source, "accession_register.tif"),
        "png": sample(source, "letter_donation.png"),
    }
    report = pages_of(
        10,
        files["pdf"],
        [
            [
                line("ANNUAL REPORT", (300, 200, 900, 260), 0.99),
                line("1. of *all*", (300, 280, 700, 320)),
            ],
            [],
            [line("The end", (300, 200, 600, 240))],
        ],
    )
    report[1] = unread(report[1], "RENDER_TIMEOUT")
    register = pages_of(
        20,
        files["tiff"],
        [
            [line("Register", (100, 100, 400, 150))],
            [],
            [line("doubtful", (100, 100, 300, 150), None)],
        ],
    )
    register[2] |= {"outcome": "review", "reasons": ["no_score"]}
    texts = [ARABIC, HEBREW, CHINESE, RARE]
    lines = [line(t, (100, 100 + 80 * n, 900, 160 + 80 * n)) for n, t in enumerate(texts)]
    (letter,) = pages_of(30, files["png"], [lines])
    shards = [[report[2], register[1]], [letter, register[2], report[0]], [report[1], register[0]]]
    return ocr_run(folder / "run", source, *shards), files


def exported(run: RunDir, out: Path, **changes: Any) -> DocumentSummary:
    return export_documents(run, str(out), DocumentExport(**changes))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return documents_run(tmp_path_factory.mktemp("documents"))[0]


def accounted(summary: DocumentSummary) -> int:
    assert (
        sum(n for name, n in summary.counts.items() if name.startswith("text: ")) == summary.pages
    )
    return summary.pages + sum(summary.left_out.values())


@pytest.mark.parametrize("bucket_rows", [1, 1000])
def test_pages_from_all_shards_stand_in_their_order(
    run: RunDir, tmp_path: Path, bucket_rows: int
) -> None:
    summary = exported(run, tmp_path / "out", format="text", bucket_rows=bucket_rows)
    report = (tmp_path / "out" / "box 1" / "annual_report.pdf.txt").read_text()
    assert report == "ANNUAL REPORT\n1. of *all*\n\f\fThe end\n"
    register = (tmp_path / "out" / "accession_register.tif.txt").read_text()
    assert register.split("\f") == ["Register\n", "", "doubtful\n"]
    assert accounted(summary) == summary.rows == 7
    assert (summary.documents, summary.written) == (3, 3)
    assert summary.counts["text: failed"] == summary.counts["text: blank"] == 1


def test_blank_lines_part_pages_if_asked_for(run: RunDir, tmp_path: Path) -> None:
    exported(run, tmp_path / "out", format="text", page_break="blank-line")
    report = (tmp_path / "out" / "box 1" / "annual_report.pdf.txt").read_text()
    assert report == "ANNUAL REPORT\n1. of *all*\n\nThe end\n"


def test_text_of_all_scripts_is_left_as_it_was_read(run: RunDir, tmp_path: Path) -> None:
    exported(run, tmp_path / "out", format="text")
    letter = (tmp_path / "out" / "letter_donation.png.txt").read_text()
    assert letter.splitlines() == [ARABIC, HEBREW, CHINESE, SHOWN]


def test_trusted_leaves_out_what_waits_for_review(run: RunDir, tmp_path: Path) -> None:
    summary = exported(run, tmp_path / "out", format="text", include="trusted")
    register = (tmp_path / "out" / "accession_register.tif.txt").read_text()
    assert register.split("\f") == ["Register\n", "", ""]
    assert summary.counts["text: review"] == 1
    assert accounted(summary) == summary.rows


def review(run: RunDir, row_id: int, verdict: str, text: str | None) -> None:
    row = {"row_id": row_id, "uri": "u", "page": 1, "outcome": "review", "verdict": verdict}
    nothing = {"instances": None, "note": None}
    write_reviewed(run, [row | nothing | {"text": text}], "me", ReviewImport())


def test_reviewed_text_replaces_the_run_unless_ignored(
    tmp_path: Path,
) -> None:
    run, _ = documents_run(tmp_path)
    review(run, 22, "correct", "doubtless")
    exported(run, tmp_path / "a", format="jsonl", include="trusted")
    exported(run, tmp_path / "b", format="jsonl", reviewed=False)
    name = "pages-00000-of-00001.jsonl"
    one, other = (
        {row["row_id"]: row for row in map(json.loads, (tmp_path / out / name).open())}["22"]
        for out in "ab"
    )
    assert (one["text"], one["text_source"]) == ("doubtless", "reviewed")
    assert one["reviewed"] == "correct"
    assert (other["text"], other["reviewed"]) == ("doubtful", None)
    assert one["lines"][0]["polygon"] is not None  # much like the line that was read
    review(run, 22, "reject", None)
    summary = exported(run, tmp_path / "c", format="text", include="trusted")
    assert summary.counts["text: review"] == 1


def test_a_text_of_other_lines_than_were_read_has_no_places(tmp_path: Path) -> None:
    run, files = documents_run(tmp_path)
    review(run, 22, "correct", "quite\nanother text\nof three lines")
    exported(run, tmp_path / "out", format="jsonl")
    rows = map(json.loads, (tmp_path / "out" / "pages-00000-of-00001.jsonl").open())
    found = {row["row_id"]: row for row in rows}["22"]["lines"]
    assert [one["text"] for one in found] == ["quite", "another text", "of three lines"]
    assert {one["polygon"] for one in found} == {None}
    assert files["tiff"].exists()


def test_markdown_shows_the_very_characters_and_marks_the_pages(
    run: RunDir, tmp_path: Path
) -> None:
    exported(run, tmp_path / "out", format="markdown")
    report = (tmp_path / "out" / "box 1" / "annual_report.pdf.md").read_text()
    assert re.findall("<!-- (.*) -->", report) == [
        "page 1",
        "page 2: failed, RENDER_TIMEOUT",
        "page 3",
    ]
    assert shown(report) == ["ANNUAL REPORT", "1. of *all*", "The end"]
    letter = (tmp_path / "out" / "letter_donation.png.md").read_text()
    assert shown(letter) == [ARABIC, HEBREW, CHINESE, " ".join(SHOWN.split())]


@pytest.mark.parametrize(
    "text",
    [
        "# no heading", "- no list", "+ nor this", "12) nor that", "===", "---", "| a | b |",
        "~~struck~~ `code` [link](http://x)", "a * b * c __d__", "&amp; <b>bold</b>", "\\ end\\",
        "    indented", "> quoted", "$x$",
    ],
)  # fmt: skip
def test_nothing_that_was_read_is_taken_for_markup(tmp_path: Path, text: str) -> None:
    path = sample(tmp_path / "scans", "letter_donation.png")
    (page,) = pages_of(1, path, [[line("before", (9, 9, 90, 20)), line(text, (9, 30, 90, 40))]])
    exported(ocr_run(tmp_path / "run", path.parent, [page]), tmp_path / "out", format="markdown")
    found = (tmp_path / "out" / "letter_donation.png.md").read_text()
    assert shown(found) == ["before", text.strip()]


def shown(markdown: str) -> list[str]:
    """The lines of text that a reader of the rendered page sees, and no element but paragraphs."""
    seen = [""]
    for block in MarkdownIt("gfm-like", {"linkify": False}).parse(markdown):
        assert block.type in ("html_block", "hr", "paragraph_open", "paragraph_close", "inline")
        for child in block.children or ():
            assert child.type in ("text", "text_special", "softbreak", "hardbreak")
            if child.type.endswith("break"):
                seen.append("")
            seen[-1] += child.content
        seen += [""] if block.type == "inline" else []
    return [text for text in seen if text]


def test_json_lines_have_a_row_for_every_page(run: RunDir, tmp_path: Path) -> None:
    summary = exported(run, tmp_path / "out", format="jsonl", bucket_rows=3)
    files = sorted((tmp_path / "out").glob("pages-*.jsonl"))
    rows = [json.loads(text) for path in files for text in path.open()]
    assert len(rows) == accounted(summary) == 7
    places = {row["uri"]: [] for row in rows}
    for row in rows:
        places[row["uri"]].append(row["page"])
    assert all(pages == sorted(pages) for pages in places.values())
    failed = next(row for row in rows if row["outcome"] == "failed")
    assert failed["failure"]["kind"] == "RENDER_TIMEOUT"
    assert failed["text"] is None
    first = next(row for row in rows if row["row_id"] == "10")
    assert first["lines"][0] == {
        **{"text": "ANNUAL REPORT", "score": 0.99},
        **{"polygon": [300, 200, 900, 200, 900, 260, 300, 260], "row": None, "column": None},
    }


def titles(element: ET.Element) -> dict[str, list[str]]:
    parts = (part.split() for part in re.sub(r'"[^"]*"', "x", element.get("title", "")).split(";"))
    return {name: values for name, *values in parts}


def check_hocr(document: str) -> list[ET.Element]:
    """The rules of hOCR 1.2 that bear on what we write; the pages."""
    root = ET.fromstring(document)  # well-formed
    assert [child.tag for child in root] == [XHTML + "head", XHTML + "body"]
    meta = {one.get("name"): one.get("content") for one in root.iter(XHTML + "meta")}
    assert meta["ocr-system"]
    able = set(str(meta["ocr-capabilities"]).split())
    ids = [one.get("id") for one in root.iter() if one.get("id")]
    assert len(ids) == len(set(ids))
    pages = list(root.find(XHTML + "body") or ())
    assert [page.get("class") for page in pages] == ["ocr_page"] * len(pages)
    assert meta["ocr-number-of-pages"] == str(len(pages))
    numbers = [titles(page)["ppageno"] for page in pages]
    assert len({str(number) for number in numbers}) == len(pages)
    inside = {"ocr_page": "ocr_par", "ocr_par": "ocr_line", "ocr_line": "ocrx_word"}
    tags = {"ocr_page": "div", "ocr_par": "p", "ocr_line": "span", "ocrx_word": "span"}
    for page in pages:
        width, height = map(int, titles(page)["bbox"][2:])
        for element in page.iter():
            kind = str(element.get("class"))
            assert kind in able
            assert element.tag == XHTML + tags[kind]
            x0, y0, x1, y1 = map(int, titles(element)["bbox"])  # whole pixels
            assert 0 <= x0 <= x1 <= width
            assert 0 <= y0 <= y1 <= height
            assert {child.get("class") for child in element} <= {inside.get(kind)}
            assert "dir" not in element.attrib or "ocrp_dir" in able
            assert 0 <= float(titles(element).get("x_wconf", ["0"])[0]) <= 100
    return pages


def test_hocr_keeps_the_rules_and_is_read_back_as_it_was_written(
    run: RunDir, tmp_path: Path
) -> None:
    exported(run, tmp_path / "out", format="hocr")
    report = (tmp_path / "out" / "box 1" / "annual_report.pdf.hocr").read_text()
    assert len(check_hocr(report)) == 3
    pages = hocr_pages(report)
    assert [page.number for page in pages] == [1, 2, 3]
    assert {page.image for page in pages} == {"annual_report.pdf"}
    assert [one.text for one in pages[0].lines] == ["ANNUAL REPORT", "1. of *all*"]
    assert pages[0].lines[0].box == (300, 200, 900, 260)
    assert pages[1].lines == []
    assert not any(page.loose for page in pages)


def test_hocr_holds_every_script_and_words_from_the_right(run: RunDir, tmp_path: Path) -> None:
    exported(run, tmp_path / "out", format="hocr")
    letter = (tmp_path / "out" / "letter_donation.png.hocr").read_text()
    (page,) = check_hocr(letter)
    lines = [one for one in page.iter() if one.get("class") == "ocr_line"]
    assert [one.get("dir") for one in lines] == ["rtl", "rtl", None, None]
    assert ["".join(one.itertext()) for one in lines][:3] == [ARABIC, HEBREW, CHINESE]
    words = [[int(titles(word)["bbox"][0]) for word in one] for one in lines]
    assert words[0] == sorted(words[0], reverse=True)  # the first word stands on the right
    assert words[2] == sorted(words[2])


def test_text_without_places_has_the_box_of_its_page_in_hocr_and_none_in_alto(
    tmp_path: Path,
) -> None:
    path = sample(tmp_path / "scans", "letter_donation.png")
    (page,) = pages_of(1, path, [[line("blurred", (9, 9, 90, 20), 0.2)]])
    page |= {"outcome": "vlm", "text": "Dear Sir,\n\nthank you", "text_source": "vlm some-model"}
    run = ocr_run(tmp_path / "run", path.parent, [page])
    summary = exported(run, tmp_path / "hocr", format="hocr")
    assert summary.counts["unplaced"] == summary.counts["text: vlm"] == 1
    (whole,) = check_hocr((tmp_path / "hocr" / "letter_donation.png.hocr").read_text())
    lines = [one for one in whole.iter() if one.get("class") == "ocr_line"]
    assert ["".join(one.itertext()) for one in lines] == ["Dear Sir,", "thank you"]
    assert {tuple(titles(one)["bbox"]) for one in lines} == {tuple(titles(whole)["bbox"])}
    exported(run, tmp_path / "alto", format="alto")
    root = ET.parse(tmp_path / "alto" / "letter_donation.png.alto.xml").getroot()
    found = list(root.iter(ALTO + "TextLine"))
    assert len(list(root.iter(ALTO + "TextBlock"))) == 2  # as the blank line parts them
    assert not any("HPOS" in one.attrib for one in found)


def test_alto_is_valid_and_holds_what_was_read(run: RunDir, tmp_path: Path) -> None:
    exported(run, tmp_path / "out", format="alto")
    files = sorted((tmp_path / "out").rglob("*.alto.xml"))
    assert len(files) == 3
    for path in files:
        check_alto(path)
    report = ET.parse(tmp_path / "out" / "box 1" / "annual_report.pdf.alto.xml").getroot()
    pages = list(report.iter(ALTO + "Page"))
    assert [page.get("PHYSICAL_IMG_NR") for page in pages] == ["1", "2", "3"]
    assert pages[1].get("QUALITY_DETAIL") == "failed: RENDER_TIMEOUT"
    assert texts_of(pages[0]) == ["ANNUAL REPORT", "1. of *all*"]
    letter = ET.parse(tmp_path / "out" / "letter_donation.png.alto.xml").getroot()
    assert texts_of(letter)[:3] == [ARABIC, HEBREW, CHINESE]
    lines = list(letter.iter(ALTO + "TextLine"))
    assert [one.get("BASEDIRECTION") for one in lines] == ["rtl", "rtl", None, None]


def check_alto(path: Path) -> None:
    """Against what we use of ALTO 4.4, and against its whole schema where that is at hand."""
    root = ET.parse(path).getroot()
    described = {one for part in root.iter(ALTO + "Description") for one in part.iter()}
    assert described
    names = [one.get("ID") for one in root.iter() if one.get("ID")]
    assert len(names) == len(set(names))
    for one in root.iter():
        name = one.tag.removeprefix(ALTO)
        if name not in ALTO_SHAPES:
            assert one in described, name
            continue
        children, needed, allowed = ALTO_SHAPES[name]
        assert {child.tag.removeprefix(ALTO) for child in one} <= children, name
        assert needed <= set(one.attrib) <= needed | allowed, (name, one.attrib)
        numbers = {key: float(one.attrib[key]) for key in {*PLACE, "WC", "PC"} & set(one.attrib)}
        assert all(value >= 0 for value in numbers.values()), one.attrib
        assert max(numbers.get("WC", 0), numbers.get("PC", 0)) <= 1
    if (SCHEMAS / "alto-4-4.xsd").exists():
        check_whole_schema(path)


def check_whole_schema(path: Path) -> None:
    xmlschema = pytest.importorskip("xmlschema")
    schema = xmlschema.XMLSchema(
        str(SCHEMAS / "alto-4-4.xsd"),
        locations={"http://www.w3.org/1999/xlink": str(RESOURCES / "alto_xlink.xsd")},
        allow="local",
    )
    schema.validate(str(path))


def texts_of(element: ET.Element) -> list[str]:
    lines = element.iter(ALTO + "TextLine")
    return [" ".join(str(s.get("CONTENT")) for s in one.iter(ALTO + "String")) for one in lines]


@pytest.mark.parametrize("form", ["hocr", "alto"])
def test_lines_beyond_the_page_and_turned_ones_are_cut_to_it(tmp_path: Path, form: str) -> None:
    path = sample(tmp_path / "scans", "letter_donation.png")
    slanted = (100, 300, 500, 400, 490, 440, 90, 340)
    down = (50, 500, 90, 500, 90, 900, 50, 900)
    beyond = (-40, -10, 99999, 30)
    lines = [line("over the edge", beyond), line("up the hill", slanted), line("going down", down)]
    (page,) = pages_of(1, path, [lines])
    exported(ocr_run(tmp_path / "run", path.parent, [page]), tmp_path / "out", format=form)
    (found,) = (tmp_path / "out").glob("letter*")
    if form == "alto":
        check_alto(found)
        shapes = [one.get("POINTS") for one in ET.parse(found).getroot().iter(ALTO + "Polygon")]
        assert shapes[1] == "100.0,300.0 500.0,400.0 490.0,440.0 90.0,340.0"
        return
    (checked,) = check_hocr(found.read_text())
    angles = [
        titles(one).get("textangle") for one in checked.iter() if one.get("class") == "ocr_line"
    ]
    assert angles == [None, ["-14.0"], ["-90.0"]]
    words = [titles(one)["bbox"] for one in checked.iter() if one.get("class") == "ocrx_word"]
    assert int(words[-1][1]) > int(words[-2][1])  # "down" stands below "going"


def snapshot(out: Path) -> dict[str, int]:
    files = (path for path in out.rglob("*") if path.is_file() and ".nightjar" not in path.parts)
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in files}


@pytest.mark.parametrize("form", ["text", "jsonl"])
def test_a_second_export_writes_what_has_changed_and_nothing_else(
    tmp_path: Path, form: str
) -> None:
    run, _ = documents_run(tmp_path)
    first = exported(run, tmp_path / "out", format=form, bucket_rows=1)
    before = snapshot(tmp_path / "out")
    second = exported(run, tmp_path / "out", format=form, bucket_rows=1)
    before.pop("documents.jsonl")
    unchanged = snapshot(tmp_path / "out")
    unchanged.pop("documents.jsonl")
    assert unchanged == before
    assert (second.kept, second.written, second.changed) == (first.written, 0, 0)
    assert second.counts == first.counts
    review(run, 22, "correct", "doubtless")
    third = exported(run, tmp_path / "out", format=form, bucket_rows=1)
    assert (third.kept, third.written, third.changed) == (first.written - 1, 0, 1)
    after = snapshot(tmp_path / "out")
    assert len([name for name in before if after[name] != before[name]]) == 1
    assert third.counts["text: reviewed"] == 1


def test_pages_that_come_later_join_their_document(tmp_path: Path) -> None:
    run, _ = documents_run(tmp_path)
    late = run.shards / "part-00000-2.parquet"
    late.rename(tmp_path / "late.parquet")
    exported(run, tmp_path / "out", format="text")
    (tmp_path / "late.parquet").rename(late)
    summary = exported(run, tmp_path / "out", format="text")
    assert (summary.kept, summary.changed) == (1, 2)
    register = (tmp_path / "out" / "accession_register.tif.txt").read_text()
    assert register.split("\f") == ["Register\n", "", "doubtful\n"]


def test_the_index_says_which_file_holds_which_document(run: RunDir, tmp_path: Path) -> None:
    exported(run, tmp_path / "out", format="text")
    entries = [json.loads(text) for text in (tmp_path / "out" / "documents.jsonl").open()]
    assert all((tmp_path / "out" / entry["file"]).exists() for entry in entries)
    assert sorted(entry["pages"] for entry in entries) == [1, 3, 3]
    assert all(Path(entry["uri"]).exists() for entry in entries)


def test_another_run_or_other_settings_are_refused(run: RunDir, tmp_path: Path) -> None:
    exported(run, tmp_path / "out", format="text")
    with pytest.raises(RunConflict, match="format 'text', not 'hocr'"):
        exported(run, tmp_path / "out", format="hocr")
    other, _ = documents_run(tmp_path)
    with pytest.raises(RunConflict, match="holds another export: run"):
        exported(other, tmp_path / "out", format="text")


@pytest.mark.parametrize("name", ["export.json", "done-00000.jsonl"])
def test_a_torn_file_of_the_ledger_is_named(run: RunDir, tmp_path: Path, name: str) -> None:
    exported(run, tmp_path / "out", format="text")
    torn = tmp_path / "out" / ".nightjar" / name
    torn.write_bytes(torn.read_bytes()[:-20])
    with pytest.raises(RunDamaged, match=f"{name} is damaged") as caught:
        exported(run, tmp_path / "out", format="text")
    assert f"delete {tmp_path / 'out'}" in caught.value.remedy


def test_two_exports_to_one_place_do_not_write_at_once(run: RunDir, tmp_path: Path) -> None:
    with (
        RunDir(tmp_path / "out" / ".nightjar").locked(),
        pytest.raises(RunBusy, match="is being written by process"),
    ):
        exported(run, tmp_path / "out", format="text")
    assert exported(run, tmp_path / "out", format="text").written == 3


def test_a_folder_that_holds_something_else_is_refused(run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"holds other files, such as mine\.txt"):
        exported(run, tmp_path / "out", format="text")
    with pytest.raises(OutputUnwritable):
        exported(run, tmp_path / "out" / "mine.txt", format="text")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_documents_of_which_nothing_was_read_are_left_out_and_counted(tmp_path: Path) -> None:
    path = sample(tmp_path / "scans", "sealed_deed.pdf")
    page = unread(read_page(1, path, []), "ENCRYPTED_PDF", "no password given")
    run = ocr_run(tmp_path / "run", path.parent, [page])
    summary = exported(run, tmp_path / "out", format="text")
    assert dict(summary.left_out) == {"ENCRYPTED_PDF": 1}
    assert summary.problems == [(str(path), "no password given")]
    assert accounted(summary) == summary.rows == 1
    assert not list((tmp_path / "out").glob("*.txt"))


def test_to_a_bucket_and_on_again(run: RunDir, bucket: Bucket) -> None:
    out = f"s3://{bucket.name}/exports/text"
    config = DocumentExport(format="text")
    first = export_documents(run, out, config, storage=bucket.settings)
    storage = Storage(bucket.settings)
    report = storage.read(f"{out}/box 1/annual_report.pdf.txt", max_bytes=1 << 20).decode()
    assert report.startswith("ANNUAL REPORT\n")
    assert is_bucket(out)
    again = export_documents(run, out, config, storage=bucket.settings)
    assert (again.kept, again.written) == (first.written, 0)
    index = storage.read(f"{out}/documents.jsonl", max_bytes=1 << 20).decode()
    assert len(index.splitlines()) == 3


def test_from_a_bucket(tmp_path: Path, bucket: Bucket) -> None:
    here, _ = documents_run(tmp_path)
    review(here, 22, "correct", "doubtless")
    folder = tmp_path / "run"
    for path in folder.rglob("*"):
        if path.is_file():
            bucket.put(f"runs/a/{path.relative_to(folder)}", path.read_bytes())
    there = RunDir(f"s3://{bucket.name}/runs/a", bucket.settings)
    summary = exported(there, tmp_path / "out", format="text")
    assert summary.counts["text: reviewed"] == 1
    register = (tmp_path / "out" / "accession_register.tif.txt").read_text()
    assert register.split("\f") == ["Register\n", "", "doubtless\n"]


def test_a_survey_counts_and_writes_nothing(run: RunDir) -> None:
    found = survey(run, DocumentExport(format="hocr"))
    assert (found.rows, found.documents) == (7, 3)
    assert found.outcomes["review"] == 1
    assert "box 1/annual_report.pdf.hocr" in found.names


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("/scans/a/b.pdf", "a/b.pdf.txt"),
        ("/scans/x.zip!/in/b.pdf", "x.zip!/in/b.pdf.txt"),
        ("/elsewhere/b.pdf", "elsewhere/b.pdf.txt"),
        ("s3://bucket/a/b.pdf", "bucket/a/b.pdf.txt"),
    ],
)
def test_names_are_those_of_the_source(uri: str, name: str) -> None:
    assert file_name(uri, "/scans", ".txt") == name


@pytest.mark.parametrize(
    "uri",
    [
        "/scans/x.zip!/../../evil.pdf", "/scans/x.zip!//etc/passwd", "/scans/./../b.pdf",
        "/scans/.nightjar/export.json", "/scans/" + "long" * 99, "/scans/a\nb\x00.pdf", "/scans//",
    ],
)  # fmt: skip
def test_no_name_leaves_the_folder(uri: str, tmp_path: Path) -> None:
    name = file_name(uri, "/scans", ".txt")
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    assert path.resolve().is_relative_to(tmp_path.resolve())
    assert not name.startswith(".nightjar")
    assert file_name(uri + "2", "/scans", ".txt") != name


@pytest.mark.parametrize("form", ["text", "hocr", "pdf"])
def test_files_whose_names_are_no_utf8_keep_their_folders_in_out(tmp_path: Path, form: Any) -> None:
    """Below a source whose own name is no UTF-8 either."""
    source = os.fsencode(tmp_path) + b"/sc\xe4ns"
    pages = []
    for number, name in enumerate((b"box/M\xfcller.png", b"box/M\xf6ller.png")):
        path = Path(os.fsdecode(source + b"/" + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn("name", (80, 40)).save(path)
        row = read_page(number + 1, path, [line(f"text {number}", (9, 9, 70, 30))])
        pages.append(row | {"uri": local_uri(os.fsencode(path)), "width": 80, "height": 40})
    run = ocr_run(tmp_path / "run", os.fsdecode(source), pages)
    summary = exported(run, tmp_path / "out", format=form)
    assert summary.written == 2
    entries = map(json.loads, (tmp_path / "out/documents.jsonl").read_text().splitlines())
    files = sorted(entry["file"] for entry in entries)
    assert len(files) == 2
    assert all(re.fullmatch(r"box/M_ller\.png-[0-9a-f]{16}\.\w+", name) for name in files)
    assert all((tmp_path / "out" / name).is_file() for name in files)


def test_two_names_that_are_mended_alike_stay_two() -> None:
    assert file_name("/s/a\n", "/s", "") != file_name("/s/a\t", "/s", "")
    assert root_of("s3://bucket/prefix/") == "s3://bucket/prefix"
    assert root_of("/lists/some.csv") == ""
