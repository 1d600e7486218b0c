"""Searchable PDFs, opened with pdfium: text at its position, unchanged images."""

from __future__ import annotations

import json
import re
import struct
import zlib
from contextlib import closing
from ctypes import c_int
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c
import pytest
from bad_files import PASSWORD, TEXT, cut_and_closed_jpeg, drawn, pdf_with_text, rotated_jpeg
from hand_made_runs import write_run
from hand_written_pdf import PdfPage, shown, stream, written_pdf
from ocr_documents import SCHEMA, line, ocr_run, pages_of, read_page, sample, sizes_of, unread
from PIL import Image, ImageOps

from pipelines.errors import ConfigError
from pipelines.export.documents.export import DocumentExport, DocumentSummary, export_documents
from pipelines.export.page import COLUMNS, page_of
from pipelines.export.pdf.job import packed, unpacked
from pipelines.export.pdf.maker import page_job
from pipelines.export.pdf.text_layer import render_page, with_text
from pipelines.export.text_layout import runs_of, spans_of, words_of
from pipelines.pages.page import RenderOptions
from pipelines.pages.text_layer.read import read

DPI = 200
NEAR = 6.0  # pixels at 200 dpi: 2.2 points

ARABIC = "المجموع 12.50 ريال"
HEBREW = 'סה"כ 42 שקלים'
MIXED = "Invoice חשבונית 77"
GREEK = "\u0393\u03b5\u03b9\u03ac \u03c3\u03bf\u03c5"
CHINESE = "合計 一千二百円"
RARE = "𠀋 nai\N{COMBINING DIAERESIS}ve"
Chars = list[tuple[str, tuple[float, float, float, float]]]


def exported(folder: Path, *pages: dict[str, Any], **fetch: Any) -> DocumentSummary:
    """Export a run of these pages from `folder`/scans to `folder`/out."""
    run = ocr_run(folder / "run", folder / "scans", list(pages)[::-1], **fetch)
    return export_documents(run, str(folder / "out"), DocumentExport(format="pdf", workers=1))


def made_from(path: Path, pages: list[dict[str, Any]]) -> pdfium.PdfDocument:
    """The searchable PDF of a document, made in this process: a sandbox takes a second to start."""
    wanted = [page_job(page_of(dict.fromkeys(COLUMNS) | page, None, "all")) for page in pages]
    job = packed({"pages": wanted}, path.read_bytes())
    options = RenderOptions(passwords=(PASSWORD,))
    return pdfium.PdfDocument(unpacked(render_page(job, 1, options).image or b"")[1])


def made_and_before(folder: Path, path: Path) -> tuple[pdfium.PdfDocument, pdfium.PdfDocument]:
    made = folder / "out" / f"{path.name}.pdf"
    return pdfium.PdfDocument(made), pdfium.PdfDocument(path)


def chars_of(page: pdfium.PdfPage, size: tuple[int, int]) -> Chars:
    """Characters and their boxes in pixels of the upright page, as pdfium itself maps them."""
    found = []
    with closing(page.get_textpage()) as textpage:
        for index in range(textpage.count_chars()):
            char = chr(pdfium_c.FPDFText_GetUnicode(textpage, index))
            if pdfium_c.FPDFText_IsGenerated(textpage, index) != 1:
                x0, y0, x1, y1 = textpage.get_charbox(index)
                corners = [on_device(page, x, y, size) for x in (x0, x1) for y in (y0, y1)]
                xs, ys = zip(*corners, strict=True)
                found.append((char, (min(xs), min(ys), max(xs), max(ys))))
    return found


def on_device(page: pdfium.PdfPage, x: float, y: float, size: tuple[int, int]) -> tuple[int, int]:
    across, down = c_int(), c_int()
    assert pdfium_c.FPDF_PageToDevice(page, 0, 0, *size, 0, x, y, across, down)
    return across.value, down.value


def box_around(chars: Chars) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = zip(*(box for _, box in chars), strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def box_of(wanted: dict[str, Any]) -> tuple[float, float, float, float]:
    xs, ys = wanted["polygon"][::2], wanted["polygon"][1::2]
    return min(xs), min(ys), max(xs), max(ys)


def dense(text: str) -> str:
    return "".join(text.split())


def check_places(page: pdfium.PdfPage, lines: list[dict[str, Any]], size: tuple[int, int]) -> None:
    """The characters inside each line's box are that line's, and fill it."""
    chars = chars_of(page, size)
    for wanted in lines:
        x0, y0, x1, y1 = box_of(wanted)
        inside = [
            (char, box)
            for char, box in chars
            if x0 <= (box[0] + box[2]) / 2 <= x1 and y0 <= (box[1] + box[3]) / 2 <= y1
        ]
        assert sorted(dense("".join(c for c, _ in inside))) == sorted(surrogates(wanted["text"]))
        np.testing.assert_allclose(box_around(inside), box_of(wanted), atol=NEAR)


def surrogates(text: str) -> str:
    """Without spaces, as UTF-16 has it: pdfium counts characters beyond U+FFFF as two."""
    units = np.frombuffer(dense(text).encode("utf-16-le"), np.uint16)
    return "".join(map(chr, units))


def bytes_of(document: pdfium.PdfDocument) -> bytes:
    """As it was made, not as pdfium would save it now."""
    data: bytes = document._input
    return data


def streams_of(file: bytes) -> list[bytes]:
    found = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", file, re.DOTALL)
    return [zlib.decompress(one) if one[:1] == b"x" else one for one in found]


def text_of(page: pdfium.PdfPage) -> list[str]:
    with closing(page.get_textpage()) as textpage:
        return str(textpage.get_text_range()).splitlines()


def picture_of(page: pdfium.PdfPage, dpi: float = 100) -> npt.NDArray[np.uint8]:
    pixels: npt.NDArray[np.uint8] = page.render(scale=dpi / 72).to_numpy()
    return pixels


def rows_at(top: int, *texts: str, width: int = 900) -> list[dict[str, Any]]:
    return [
        line(t, (150, top + 70 * n, 150 + width, top + 70 * n + 48)) for n, t in enumerate(texts)
    ]


def test_a_scanned_pdf_keeps_its_pages_and_gets_its_text_where_it_was_read(tmp_path: Path) -> None:
    path = sample(tmp_path / "scans", "minutes_scanned.pdf")
    lines = [rows_at(200, "MINUTES of the meeting", "held on 9 March"), rows_at(300, "Page two.")]
    summary = exported(tmp_path, *pages_of(1, path, lines))
    made, before = made_and_before(tmp_path, path)
    assert len(made) == len(before) == 2
    for number, size in enumerate(sizes_of(path)):
        check_places(made[number], lines[number], size)
        np.testing.assert_array_equal(picture_of(made[number]), picture_of(before[number]))
    assert text_of(made[0]) == ["MINUTES of the meeting", "held on 9 March"]
    assert (summary.pages, summary.documents, summary.counts["text: ocr"]) == (2, 1, 2)


def test_the_text_layer_is_read_back_by_our_own_reader_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "blank.pdf"
    path.write_bytes(written_pdf([PdfPage()]))
    texts = [ARABIC, CHINESE, "Plain words, 1234", HEBREW, MIXED, RARE]
    tops = range(200, 200 + 70 * len(texts), 70)
    lines = [line(t, (150, y, 150 + 30 * len(t), y + 48)) for t, y in zip(texts, tops, strict=True)]
    page = made_from(path, pages_of(1, path, [lines]))[0]
    found, _ = read(page, DPI / 72, trust_hidden=True)
    assert [one.text for one in found] == texts
    for one, wanted in zip(found, lines, strict=True):
        np.testing.assert_allclose(one.polygon, wanted["polygon"], atol=NEAR)


def test_numbers_in_lines_from_the_right_stand_where_a_reader_sees_them(tmp_path: Path) -> None:
    path = sample(tmp_path / "scans", "letter_donation.png")
    made = made_from(path, pages_of(1, path, [rows_at(200, ARABIC, width=700)]))
    chars = [(c, box) for c, box in chars_of(made[0], sizes_of(path)[0]) if not c.isspace()]
    assert "".join(c for c, _ in chars) == dense(ARABIC)
    middles = [(box[0] + box[2]) / 2 for _, box in chars]
    first, number = len(ARABIC.split()[0]), len("12.50")
    word, digits, last = middles[:first], middles[first:][:number], middles[first + number :]
    assert digits == sorted(digits)  # the number runs from the left
    assert word == sorted(word, reverse=True)
    assert min(word) > max(digits)  # and comes after the first word, which is on the right
    assert max(last) < min(digits)


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
def test_turned_and_cropped_pages_have_their_text_upright(tmp_path: Path, turned: int) -> None:
    path = tmp_path / "scans" / "turned.pdf"
    path.parent.mkdir()
    drawing = "0 0 1 rg 100 500 200 90 re f 1 0 0 rg 250 300 30 30 re f"
    entries = f"/Rotate {turned} /CropBox [50 60 545 742]"
    path.write_bytes(written_pdf([PdfPage(drawing, entries)]))
    lines = rows_at(150, "First line", CHINESE, ARABIC, width=600)
    made, before = made_from(path, pages_of(1, path, [lines])), pdfium.PdfDocument(path)
    check_places(made[0], lines, sizes_of(path)[0])
    np.testing.assert_array_equal(picture_of(made[0]), picture_of(before[0]))
    assert dense("".join(text_of(made[0]))) == dense("First line" + CHINESE + ARABIC)


def test_content_that_leaves_its_state_behind_moves_no_text(tmp_path: Path) -> None:
    path = tmp_path / "scans" / "careless.pdf"
    path.parent.mkdir()
    path.write_bytes(written_pdf([PdfPage("q 3 0 0 3 40 50 cm 0 1 0 rg 10 10 50 50 re f")]))
    lines = rows_at(400, "not three times as large")
    made, before = made_from(path, pages_of(1, path, [lines])), pdfium.PdfDocument(path)
    check_places(made[0], lines, sizes_of(path)[0])
    np.testing.assert_array_equal(picture_of(made[0]), picture_of(before[0]))


def test_slanted_lines_and_lines_that_run_down_keep_their_direction(tmp_path: Path) -> None:
    path = sample(tmp_path / "scans", "letter_donation.png")
    slanted = line("up the hill", (100, 600, 700, 500, 708, 548, 108, 648))
    down = line("going down", (1000, 400, 1048, 400, 1048, 900, 1000, 900))
    made = made_from(path, pages_of(1, path, [[slanted, down]]))
    chars = chars_of(made[0], sizes_of(path)[0])
    middles = [((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for _, b in chars]
    hill, below = middles[: len("up the hill")], middles[-len("going down") :]
    assert hill[-1][0] - hill[0][0] > 500
    assert -110 < hill[-1][1] - hill[0][1] < -70
    assert below[-1][1] - below[0][1] > 400
    assert abs(below[-1][0] - below[0][0]) < NEAR
    np.testing.assert_allclose(box_around(chars[: len("up the hill")]), box_of(slanted), atol=NEAR)


IMAGES = [
    *("letter_donation.png", "receipt_cafe.jpg", "accession_register.tif"),
    *("receipt_pharmacy_sideways.jpg", "blank_page.png"),
]


@pytest.mark.parametrize("name", IMAGES)
def test_pictures_become_pages_without_losing_a_pixel(tmp_path: Path, name: str) -> None:
    path = sample(tmp_path / "scans", name)
    sizes = sizes_of(path)
    lines = [rows_at(100, f"Page {number}", GREEK, width=400) for number in range(len(sizes))]
    made = made_from(path, pages_of(1, path, lines))
    assert len(made) == len(sizes)
    image = Image.open(path)
    for number, size in enumerate(sizes):
        image.seek(number)
        check_places(made[number], lines[number], size)
        dpi = round(72 * size[0] / made[number].get_size()[0])
        wanted = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        found = np.asarray(made[number].render(scale=dpi / 72).to_pil().convert("RGB"))
        assert found.shape == wanted.shape
        # libjpeg's decoders may differ by a level or two; what is not a JPEG is exact
        assert int(np.abs(found.astype(int) - wanted).max()) <= (3 if name.endswith("jpg") else 0)
    if name.endswith("jpg"):
        assert path.read_bytes() in bytes_of(made)


def test_a_jpeg_that_its_exif_turns_goes_in_as_it_is_and_is_shown_upright(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    path = rotated_jpeg(tmp_path / "scans")
    lines = rows_at(100, TEXT, width=400)
    made = made_from(path, pages_of(1, path, [lines]))
    assert path.read_bytes() in bytes_of(made)
    page = made[0]
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    found = np.asarray(page.render(scale=DPI / 72).to_pil().convert("L"))
    assert int(np.abs(found.astype(int) - wanted).max()) <= 3
    check_places(page, lines, sizes_of(path)[0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_shown_as_pillow_shows_it(
    tmp_path: Path, orientation: int
) -> None:
    path = tmp_path / "scans" / "turned.jpg"
    path.parent.mkdir()
    exif = Image.Exif()
    exif[0x0112] = orientation
    drawn("Abc", (320, 240)).save(path, quality=95, exif=exif, dpi=(150, 150))
    page = made_from(path, pages_of(1, path, [[]]))[0]
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    found = np.asarray(page.render(scale=150 / 72).to_pil().convert("L"))
    assert found.shape == wanted.shape
    assert int(np.abs(found.astype(int) - wanted).max()) <= 3


def test_native_text_stays_alone_and_failed_pages_stay_without(tmp_path: Path) -> None:
    path = sample(tmp_path / "scans", "annual_report.pdf")
    first, second, third = pages_of(1, path, [rows_at(200, "ours"), rows_at(200, "ours"), []])
    native = first | {"outcome": "native_text", "text_source": "native"}
    pages = [native, unread(second, "RENDER_TIMEOUT"), third]
    made, before = made_from(path, pages), pdfium.PdfDocument(path)
    assert [text_of(page) for page in made] == [text_of(page) for page in before]
    assert bytes_of(made) == path.read_bytes()


def test_a_line_that_an_earlier_layer_has_there_is_not_doubled(tmp_path: Path) -> None:
    path = tmp_path / "scans" / "earlier.pdf"
    path.parent.mkdir()
    path.write_bytes(written_pdf([PdfPage(shown(["Hidden words", "OCR of old"], mode=3))]))
    before = pdfium.PdfDocument(path)
    chars = chars_of(before[0], sizes_of(path)[0])
    same = line("hidden words!", box_around(chars[: len("Hidden words")]))
    other = line("CCR of gold", box_around(chars[-len("OCR of old") :]))
    summary = exported(tmp_path, *pages_of(1, path, [[same, other]]))
    made, _ = made_and_before(tmp_path, path)
    found = " ".join(text_of(made[0]))
    assert found.count("idden words") == 1
    assert "CCR of gold" in found
    assert summary.notes == {"lines that their pages had already": 1}


def test_text_without_places_lies_over_the_whole_page(tmp_path: Path) -> None:
    path = sample(tmp_path / "scans", "letter_donation.png")
    (page,) = pages_of(1, path, [[line("blurred", (9, 9, 90, 20), 0.2)]])
    page |= {"outcome": "vlm", "text": "Dear Sir,\nthank you", "text_source": "vlm some-model"}
    made = made_from(path, [page])
    assert text_of(made[0]) == ["Dear Sir,", "thank you"]
    width, height = sizes_of(path)[0]
    found = box_around(chars_of(made[0], (width, height)))
    np.testing.assert_allclose(found, (0, 0, width, height), atol=0.01 * height)


def test_a_locked_pdf_stays_locked_with_its_own_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sample(tmp_path / "scans", "sealed_deed.pdf")
    page = pages_of(1, path, [rows_at(1200, "a seal, illegible")])[0]
    monkeypatch.setenv("DEED", PASSWORD)
    exported(tmp_path, page, passwords_env=("DEED",))
    file = tmp_path / "out" / "sealed_deed.pdf.pdf"
    with pytest.raises(pdfium.PdfiumError):
        pdfium.PdfDocument(file)
    made = pdfium.PdfDocument(file, password=PASSWORD)
    assert text_of(made[0])[-1] == "a seal, illegible"
    monkeypatch.delenv("DEED")
    with pytest.raises(ConfigError, match="DEED"):
        exported(tmp_path, page, passwords_env=("DEED",))


def test_a_document_that_cannot_be_had_is_left_out_and_tried_again(tmp_path: Path) -> None:
    path = sample(tmp_path / "scans", "receipt_cafe.jpg")
    good = sample(tmp_path / "scans", "letter_donation.png")
    pages = [*pages_of(1, path, [rows_at(100, "CAFE")]), *pages_of(2, good, [rows_at(100, "Sir")])]
    kept = path.rename(tmp_path / "elsewhere.jpg")
    summary = exported(tmp_path, *pages)
    assert dict(summary.left_out) == {"OBJECT_MISSING": 1}
    assert summary.pages + sum(summary.left_out.values()) == summary.rows == 2
    assert not (tmp_path / "out" / "receipt_cafe.jpg.pdf").exists()
    kept.rename(path)
    again = exported(tmp_path, *pages)
    assert (again.written, again.kept, dict(again.left_out)) == (1, 1, {})
    assert (tmp_path / "out" / "receipt_cafe.jpg.pdf").exists()


def test_a_picture_that_is_broken_or_another_by_now_is_named(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    broken = cut_and_closed_jpeg(tmp_path / "scans")
    page = unread(read_page(1, broken, []), "CORRUPT_IMAGE")
    other = sample(tmp_path / "scans", "receipt_cafe.jpg")
    changed = pages_of(2, other, [rows_at(100, "CAFE")])[0] | {"etag": "12-34"}
    summary = exported(tmp_path, page, changed)
    assert dict(summary.left_out) == {"CORRUPT_IMAGE": 1, "OBJECT_CHANGED": 1}
    assert {uri for uri, _ in summary.problems} == {str(broken), str(other)}


def test_a_broken_frame_of_a_tiff_is_a_blank_page(tmp_path: Path) -> None:
    path = tmp_path / "scans" / "half.tif"
    path.parent.mkdir()
    frames = [Image.effect_noise((200, 300), 50) for _ in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:], compression="raw")
    sizes = [(200, 300)] * 3
    data = bytearray(path.read_bytes())
    at = Image.open(path)
    at.seek(1)
    tag = at.tag_v2  # type: ignore[attr-defined]
    start = data.index(struct.pack("<HHII", 273, 4, 1, tag[273][0])) + 8
    data[start : start + 4] = (len(data) + 999).to_bytes(
        4, "little"
    )  # its strip lies beyond the end
    path.write_bytes(data)
    pages = [
        read_page(n, path, rows_at(100, f"page {n}", width=40), page=n, pages=3, width=w, height=h)
        for n, (w, h) in enumerate(sizes, start=1)
    ]
    summary = exported(tmp_path, pages[0], unread(pages[1], "CORRUPT_IMAGE"), pages[2])
    made = pdfium.PdfDocument(tmp_path / "out" / "half.tif.pdf")
    assert [len(text_of(page)) for page in made] == [1, 0, 1]
    assert [round(side) for side in made[1].get_size()] == [72, 108]
    assert int(picture_of(made[1]).min()) == 255
    assert summary.notes == {"pages that could not be drawn, or written on": 1}
    (entry,) = map(json.loads, (tmp_path / "out" / "documents.jsonl").open())
    assert entry["bare"]["2"].startswith("CORRUPT_IMAGE")


def test_two_colours_are_kept_as_fax_group_4(tmp_path: Path) -> None:
    path = tmp_path / "scans" / "fax.tif"
    path.parent.mkdir()
    drawn("Fax 42", (1728, 1100)).convert("1").save(path, compression="group4", dpi=(204, 204))
    file = bytes_of(made_from(path, pages_of(1, path, [rows_at(100, "Fax 42")])))
    assert b"/CCITTFaxDecode" in file
    assert len(file) < path.stat().st_size + 8000
    page = pdfium.PdfDocument(file)[0]
    found = np.asarray(page.render(scale=204 / 72).to_pil().convert("L"))
    np.testing.assert_array_equal(found, np.asarray(Image.open(path).convert("L")))


def test_members_of_archives_are_documents_too(tmp_path: Path) -> None:
    path = sample(tmp_path / "scans", "kiosk.zip")
    uri = f"{path}!/tram_ticket.png"
    page = read_page(1, path, rows_at(20, "TRAM", width=100), width=640, height=480)
    exported(tmp_path, page | {"uri": uri, "kind": "png"})
    made = pdfium.PdfDocument(tmp_path / "out" / "kiosk.zip!" / "tram_ticket.png.pdf")
    assert text_of(made[0]) == ["TRAM"]


def test_lines_of_no_size_or_no_characters_do_no_harm() -> None:
    document = written_pdf([PdfPage()])
    nothing = [["dot", [5.0, 5.0] * 4], ["\x07\x08", [9, 9, 90, 9, 90, 20, 9, 20]]]
    fine = ["fine", [100, 100, 300, 100, 300, 140, 100, 140]]
    page = {"page": 1, "width": 1654, "height": 2339, "lines": [*nothing, fine]}
    beyond = page | {"page": 7}
    answer, file = with_text(document, [page, beyond])
    assert text_of(pdfium.PdfDocument(file)[0])[-1] == "fine"
    assert answer["bare"] == {7: "the document has no such page"}


def test_the_same_text_makes_the_same_file() -> None:
    document = written_pdf([PdfPage(shown(["Drawn"]))])
    lines = [["same", [100, 100, 300, 100, 300, 140, 100, 140]]]
    page = {"page": 1, "width": 1654, "height": 2339, "lines": lines}
    one, other = (with_text(document, [page])[1] for _ in range(2))
    random = rb"/ID\s*\[<\w*><\w*>\]"  # pdfium draws it
    assert re.sub(random, b"", one) == re.sub(random, b"", other)


def test_nothing_of_a_document_is_lost(tmp_path: Path) -> None:
    """Outline, form fields, attachments, streams that nobody knows: all are still there."""
    notes = stream(b"a stream of somebody else", "/Type /Whatever")
    catalog = "/PieceInfo << /Other << /Private 100 0 R >> >> /Lang (en)"
    path = tmp_path / "scans" / "rich.pdf"
    path.parent.mkdir()
    path.write_bytes(written_pdf([PdfPage(shown(["Drawn"]))], [notes], catalog))
    file = bytes_of(made_from(path, pages_of(1, path, [rows_at(1500, "read")])))
    kept = streams_of(file)
    assert b"a stream of somebody else" in kept
    assert b"/PieceInfo" in file
    assert shown(["Drawn"]).encode() in kept  # the page's own content, as it was
    assert text_of(pdfium.PdfDocument(file)[0]) == ["Drawn", "read"]


def test_directions_of_a_line() -> None:
    assert [(r.start, r.end, r.rtl) for r in runs_of("abc 12")] == [(0, 6, False)]
    assert [r.rtl for r in runs_of(ARABIC)] == [True, False, True]
    assert [r.rtl for r in runs_of(MIXED)] == [False, True, False]
    assert runs_of("") == []
    for text in ("abc", ARABIC, HEBREW, MIXED, CHINESE):
        spans = spans_of(text)
        assert sum(right - left for left, right in spans) == pytest.approx(1)
        assert min(left for left, _ in spans) == pytest.approx(0)
        assert [word for word, *_ in words_of(text)] == text.split()


def test_words_stand_where_a_real_typesetter_puts_them(tmp_path: Path) -> None:
    """Against the characters of a PDF in Helvetica: half a letter off on average."""
    path = pdf_with_text(tmp_path, ["Minutes of the annual general meeting, 1984"])
    page = pdfium.PdfDocument(path)[0]
    found, _ = read(page, 1.0, trust_hidden=True)
    (x0, _, x1, *_), text = found[0].polygon, found[0].text
    chars = chars_of(page, tuple(map(round, page.get_size())))  # type: ignore[arg-type]
    spans = spans_of(text)
    off = [
        abs((box[0] + box[2]) / 2 - x0 - (x1 - x0) * (left + right) / 2)
        for (_, box), (left, right) in zip(chars, spans, strict=True)
    ]
    assert np.mean(off) < 3.5  # points, at 14 pt


def test_runs_from_before_the_second_reader_can_be_exported(tmp_path: Path) -> None:
    path = sample(tmp_path / "scans", "receipt_cafe.jpg")
    (page,) = pages_of(1, path, [rows_at(100, "CAFE")])
    schema = SCHEMA
    for name in ("vlm_lines", "lines_source", "native_reason", "vlm_text"):
        schema = schema.remove(schema.get_field_index(name))
    run = write_run(tmp_path / "run", "ocr_backfill", schema, [page])
    summary = export_documents(run, str(tmp_path / "out"), DocumentExport(format="text"))
    assert summary.written == 1
    assert next((tmp_path / "out").rglob("*.txt")).read_text() == "CAFE\n"
