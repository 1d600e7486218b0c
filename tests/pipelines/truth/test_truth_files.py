"""Truth in every format, under every name, and messages for its faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from labelled_runs import row_of, write_truth

from pipelines.errors import ConfigError
from pipelines.measures.character_errors import TextLine
from pipelines.review.importing import REVIEWED
from pipelines.truth.page_files import read_truth
from pipelines.truth.page_match import errors_of, match, names_of

HOCR = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "x.dtd">
<html xmlns="http://www.w3.org/1999/xhtml"><head><title>a scan</title></head><body>
<div class='ocr_page' id='page_1' title='image "scans/a b.png"; bbox 10 20 610 820; ppageno 0'>
 <p class='ocr_par'><span class='ocr_line' title="bbox 30 40 200 60; baseline 0 -3">
   <span class='ocrx_word' title='bbox 30 40 90 60'>TOTAL</span>
   <span class='ocrx_word' title='bbox 99 40 200 60; x_wconf 9'><strong>5 &amp; 6</strong></span>
 </span></p>
 <h2 class='ocr_header' title='bbox 30 70 200 90'>Caf&eacute;<br/>Ada</h2>
</div>
<div class='ocr_page' title='image "scans/b.png"; bbox 0 0 600 800; ppageno 1'></div>
</body></html>"""


def reviewed(path: Path, *answers: tuple[int, str, str | None, str]) -> Path:
    """A file as review import writes it: (row id, verdict, text, when)."""
    rows = [
        {"row_id": row_id, "verdict": verdict, "text": text, "reviewed_at": at}
        for row_id, verdict, text, at in answers
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, REVIEWED), path)
    return path


def test_sroie_lines_have_boxes_and_commas(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("72,27,680,28,680,81,72,80,NO.2, JALAN \ufeffX\r\n\n1,2,3,2,3,4,1,4,\n")
    (page,) = read_truth(path)
    assert page.lines[0] == TextLine("NO.2, JALAN \ufeffX", (72, 27, 680, 81))
    assert page.lines[1].text == ""
    assert (page.name, page.page, page.row_id) == ("a", None, None)


def test_text_files_are_pages_or_sroie_lines_by_what_is_in_them(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "deed.pdf.page2.txt").write_bytes(b"\xef\xbb\xbfone\n\n two\n")
    write_truth(tmp_path / "scan.txt", ["first"])
    (tmp_path / "blank.txt").touch()
    (tmp_path / "notes.md").write_text("not read")
    pages = {page.name: page for page in read_truth(tmp_path)}
    assert set(pages) == {"x/deed.pdf", "scan", "blank"}
    assert pages["x/deed.pdf"].page == 2
    assert pages["x/deed.pdf"].lines == (TextLine("one"), TextLine(" two"))
    assert pages["scan"].lines[0].text == "first"
    assert pages["scan"].lines[0].box is not None
    assert pages["blank"].lines == ()


def test_hocr_pages_have_lines_whatever_is_around_the_words(tmp_path: Path) -> None:
    path = tmp_path / "book.hocr"
    path.write_text(HOCR)
    first, second = read_truth(path)
    assert first.lines[0] == TextLine("TOTAL 5 & 6", (20, 20, 190, 40)), "from the page's corner"
    assert first.lines[1].text == "CaféAda"
    assert first.size == (600, 800)
    assert (first.name, first.page) == ("a b.png", None), "each page is a file of its own"
    assert (second.name, second.lines) == ("b.png", ())


def test_hocr_pages_of_one_document_are_numbered(tmp_path: Path) -> None:
    text = HOCR.replace("scans/a b.png", "deed.pdf").replace("scans/b.png", "deed.pdf")
    (tmp_path / "deed.html").write_text(text)
    found = [(page.name, page.page) for page in read_truth(tmp_path)]
    assert found == [("deed", 1), ("deed", 2)]
    alone = text.replace('image "deed.pdf"; bbox 0 0 600 800; ppageno 1', "").split("<div")
    (tmp_path / "deed.html").rename(tmp_path / "deed.page7.hocr")
    (tmp_path / "deed.page7.hocr").write_text(f"{alone[0]}<div{alone[1]}")
    assert [(page.name, page.page) for page in read_truth(tmp_path)] == [("deed", 7)]


def test_entities_of_a_document_are_never_expanded(tmp_path: Path) -> None:
    levels = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 50}">' for n in range(20))
    bomb = f'<!DOCTYPE x [<!ENTITY l0 "ha"><!ENTITY f SYSTEM "file:///etc/passwd">{levels}]>'
    line = "<span class='ocr_line'>&l20; &f;</span>"
    (tmp_path / "a.hocr").write_text(f"{bomb}<div class='ocr_page'>{line}</div>")
    (page,) = read_truth(tmp_path)
    assert [text.text for text in page.lines] == ["&l20; &f;"]


def test_the_last_answer_of_a_row_counts(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "reviewed"
    reviewed(folder / "review-b.parquet", (7, "correct", "old", "2026-01-01"))
    reviewed(
        folder / "review-a.parquet",
        (7, "correct", "new\nlines", "2026-01-02"),
        (8, "reject", None, "2026-01-02"),
        (9, "accept", None, "2026-01-02"),
    )
    (tmp_path / "run" / "run.json").write_text("{}")
    for path in (folder, tmp_path / "run"):
        pages = {page.row_id: page for page in read_truth(path)}
        assert set(pages) == {7, 8}, "row 9 is an image: its truth is labels"
        assert [line.text for line in pages[7].lines] == ["new", "lines"]
        assert (pages[8].verdict, pages[8].lines) == ("reject", ())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"1,2,3,2,3,4,1,4,x\nTOTAL 5\n", r"a.csv has a line that is not .*'TOTAL 5'"),
        ("a.txt", b"1,2,3,2,3,4,1,4,x\n1,2,3,2,3,4,1,4,y\nz\n", "has a line that is not"),
        ("a.txt", "Café".encode("latin-1"), r"a.txt is not UTF-8: byte 3 is 0xe9"),
        ("a.txt", "TOTAL".encode("utf-16-le"), "is not UTF-8: it holds NUL"),
        ("a.txt", b" \n", "holds text"),
        ("a.hocr", b"<p>nothing</p>", "holds no ocr_page"),
        (
            "a.hocr",
            b"<div class='ocr_page'><p>loose</p></div>",
            "page 1: there is text, but no line",
        ),
        ("a.parquet", b"PAR1 and then nothing", "cannot read truth"),
        ("a.docx", b"PK", "is not a truth file: its suffix is .docx"),
        ("truth", b"x", "its suffix is missing"),
    ],
)
def test_every_fault_of_a_file_has_a_message(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_truth(tmp_path / name)
    assert caught.value.remedy


def test_every_fault_of_a_folder_has_a_message(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "gone", "no truth at"), (tmp_path, "holds no truth")):
        with pytest.raises(ConfigError, match=message):
            read_truth(path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ConfigError, match="has no reviewed rows"):
        read_truth(tmp_path)


def test_foreign_tables_and_verdicts_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"row_id": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match="it lacks the columns text, verdict"):
        read_truth(tmp_path)
    reviewed(tmp_path / "a.parquet", (1, "acept", "x", ""))
    with pytest.raises(ConfigError, match="unknown verdict 'acept'"):
        read_truth(tmp_path)


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("s3://bucket/scans/a.jpg", "a"),
        ("/scans/a.jpg", "scans/a.jpg"),
        ("/scans/kiosk.zip!/day/ticket.png", "kiosk.zip.day.ticket.png"),
        ("/scans/kiosk.zip!/day/ticket.png", "kiosk.zip/day/ticket"),
    ],
)
def test_a_file_is_known_by_the_ends_of_its_uri(uri: str, name: str) -> None:
    assert name in set(names_of(uri))


def truths(folder: Path, **texts: str) -> list[Any]:
    folder.mkdir()
    for name, text in texts.items():
        (folder / f"{name.replace('__', '.')}.txt").write_text(text)
    return read_truth(folder)


def test_rows_find_their_truth_and_the_rest_is_told(tmp_path: Path) -> None:
    rows = [row_of(1, "a", [("x", 0.9)]), row_of(2, "b", [("y", 0.9)])]
    found = match(rows, truths(tmp_path / "t", a="x", c="z"))
    assert [(row["row_id"], truth.name) for row, truth in found.pairs] == [(1, "a")]
    assert found.without_truth == ["/scans/b.jpg page 1"]
    assert [Path(where).name for where in found.unused] == ["c.txt"]


def test_truth_that_cannot_be_told_apart_is_refused(tmp_path: Path) -> None:
    row = row_of(1, "a", [("x", 0.9)])
    with pytest.raises(ConfigError, match="fits two pages"):
        match([row, row | {"uri": "/other/a.jpg"}], truths(tmp_path / "1", a="x"))
    with pytest.raises(ConfigError, match=r"names no page, and /scans/a.jpg has 2 pages"):
        match([row | {"pages": 2}], truths(tmp_path / "2", a="x"))
    with pytest.raises(ConfigError, match="no truth fits a page of the run"):
        match([row], truths(tmp_path / "3", b="x"))
    (tmp_path / "4").mkdir()
    (tmp_path / "4" / "a.csv").write_text("1,2,3,2,3,4,1,4,x")
    with pytest.raises(ConfigError, match=r"two truths for /scans/a.jpg page 1"):
        match([row], [*truths(tmp_path / "5", a="x"), *read_truth(tmp_path / "4")])


def test_boxes_of_another_resolution_are_scaled(tmp_path: Path) -> None:
    row = row_of(1, "a", [("TOTAL", 0.9), ("5.00", 0.9)])
    line = "<p class='ocr_line' title='bbox 40 {} 1000 {}'>{}</p>"
    lines = line.format(20, 60, "TOTAL") + line.format(80, 120, "6.00")
    page = f"<div class='ocr_page' title='bbox 0 0 1200 1600'>{lines}</div>"
    (tmp_path / "a.hocr").write_text(page)
    (truth,) = read_truth(tmp_path)
    found = errors_of(row, truth)
    assert (found.errors, found.characters) == (1, 9)
    assert [(one.place, one.errors) for one in found.lines] == [(0, 0), (1, 1)]


def test_the_format_says_what_a_truth_is_good_for(tmp_path: Path) -> None:
    boxed = "1,2,3,2,3,4,1,4,12 : 30"
    for name, text in {"a.csv": boxed, "b.txt": boxed, "c.txt": "one", "e.txt": ""}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "d.hocr").write_text(HOCR)
    reviewed(tmp_path / "f.parquet", (7, "correct", "text", "2026-01-01"))
    trusted = {
        Path(page.where.split()[0]).name: (page.blanks, page.order) for page in read_truth(tmp_path)
    }
    assert trusted == {
        "a.csv": (False, False),
        "b.txt": (False, False),
        **dict.fromkeys(("c.txt", "d.hocr", "e.txt", "f.parquet"), (True, True)),
    }


def test_a_file_beside_the_truth_overrides_its_format(tmp_path: Path) -> None:
    deep = tmp_path / "x" / "deep"
    deep.mkdir(parents=True)
    for folder in (tmp_path, deep):
        (folder / "a.csv").write_text("1,2,3,2,3,4,1,4,TOTAL 5.00")
        (folder / "b.txt").write_text("lines\nas they came")
    (tmp_path / "truth.yaml").write_text("blanks: true\norder: false\n")
    (tmp_path / "x" / "truth.yaml").write_text("order: true\n")
    found = {page.name: (page.blanks, page.order) for page in read_truth(tmp_path)}
    assert found == {
        "a": (True, False),
        "b": (True, False),
        "x/deep/a": (True, True),
        "x/deep/b": (True, True),
    }
    alone = read_truth(tmp_path / "b.txt")[0]
    assert (alone.blanks, alone.order) == (True, False)


def test_faults_of_that_file_have_a_message(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    for text, message in (("blank: true", "did you mean 'blanks'"), ("- blanks", "mapping")):
        (tmp_path / "truth.yaml").write_text(text)
        with pytest.raises(ConfigError, match=message):
            read_truth(tmp_path)
