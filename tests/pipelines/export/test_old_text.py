"""Old text layers that leave the exported PDF: one text to copy, and every page as it looked."""

from __future__ import annotations

import io
import json
import re
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pikepdf
import pypdfium2 as pdfium
import pytest
from bad_files import PASSWORD
from conftest import REPOSITORY
from hand_written_pdf import PdfPage, shown, stream, written_pdf
from ocr_documents import line, ocr_run, pages_of, sample

from pipelines.export.documents.export import DocumentExport, export_documents
from pipelines.export.page import COLUMNS, page_of
from pipelines.export.pdf.maker import page_job
from pipelines.export.pdf.old_text.removing import Wanted, without_old_text
from pipelines.export.pdf.text_layer import with_text

CASES = REPOSITORY.parent / "shared/cases/documents"
DPI = 200
OLD = shown(["an old layer"], mode=3)
FONT = "/Resources << /Font << /F1 3 0 R >> >>"
EARLIER = "hidden text layer (earlier OCR)"
#: Drawings that pdfium cannot write again, and their resources.
DRAWINGS = {
    "colours": ("0.2 0.7 0.1 0.1 k 100 100 200 200 re f", ""),
    "shading": (
        "q 100 100 300 300 re W n /S sh Q",
        "/Shading << /S << /ShadingType 2 /ColorSpace /DeviceRGB /Coords [100 100 400 400]"
        " /Function << /FunctionType 2 /Domain [0 1] /C0 [1 0 0] /C1 [0 0 1] /N 1 >> >> >>",
    ),
    "inline image": ("q 90 0 0 90 99 300 cm BI /W 2 /H 1 /CS /RGB /BPC 8 ID \xffAAA\xffA EI Q", ""),
    "spacing": ("BT /F1 14 Tf 3 Tc 10 Tw 120 Tz 72 700 Td (seen) Tj 5 Ts (up) Tj ET", ""),
    "transparency": ("/G gs 1 0 0 rg 9 9 99 99 re f", "/ExtGState << /G << /ca 0.4 >> >>"),
}


def opened(data: bytes) -> pdfium.PdfDocument:
    return pdfium.PdfDocument(data)


def text_of(data: bytes, number: int = 1) -> list[str]:
    with closing(opened(data)) as pdf:
        text: str = pdf[number - 1].get_textpage().get_text_range()
        return text.split("\r\n")


def check_look(before: bytes, after: bytes, levels: int = 0) -> None:
    for pages in zip(opened(before), opened(after), strict=True):
        old, new = (page.render(scale=100 / 72).to_numpy().astype(int) for page in pages)
        assert old.shape == new.shape
        assert np.abs(old - new).max() <= levels


def cleaned(data: bytes, what: Wanted = "hidden", pages: int = 1) -> tuple[bytes, dict[int, str]]:
    clean, done = without_old_text(data, dict.fromkeys(range(1, pages + 1), what), opened)
    check_look(data, clean)
    return clean, done


def made(
    path: Path, lines: list[list[dict[str, Any]]], *, keep: bool = False, **row: Any
) -> tuple[dict[str, Any], bytes]:
    """The report and the exported PDF of a document whose pages have these lines."""
    pages = pages_of(1, path, lines, **row)
    wanted = [page_job(page_of(dict.fromkeys(COLUMNS) | page, None, "all")) for page in pages]
    return with_text(path.read_bytes(), wanted, keep_old_text=keep)


def written(
    folder: Path, *pages: PdfPage, extra: tuple[bytes, ...] = (), catalog: str = ""
) -> Path:
    path = folder / "scan.pdf"
    path.write_bytes(written_pdf(pages, extra, catalog))
    return path


def streams_of(file: bytes) -> list[bytes]:
    found = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", file, re.DOTALL)
    return [zlib.decompress(one) if one[:1] == b"x" else one for one in found]


def at(text: str, x: float, y: float, size: float = 12) -> dict[str, Any]:
    """A line as OCR reads it: its box in pixels around text of a size (points) at a place."""
    wide, scale = 0.5 * size * len(text), DPI / 72
    box = (x, 842 - y - 0.8 * size, x + wide, 842 - y + 0.2 * size)
    return line(text, tuple(scale * value for value in box))


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_invisible_text_goes_and_what_pdfium_cannot_write_again_stays(drawing: str) -> None:
    content, resources = DRAWINGS[drawing]
    clean, done = cleaned(written_pdf([PdfPage(content + OLD, "", resources)]))
    assert done == {1: "removed"}
    assert "old" not in " ".join(text_of(clean))


PICTURE = stream(bytes(range(130, 255, 5)) * 3, "/Type /XObject /Subtype /Image /Width 25 /Height 3"
                 " /ColorSpace /DeviceGray /BitsPerComponent 8")  # fmt: skip
HIDDEN = {
    "under a picture": (shown(["an old layer"]) + "q 595 0 0 842 0 0 cm /P Do Q", "/P 100 0 R"),
    "no opacity": ("/G gs " + shown(["an old layer"]), ""),
    "a clip with nothing in it": (shown(["an old layer"], mode=7), ""),
    "white on white": ("1 g " + shown(["an old layer"]) + " 0 g", ""),
}


@pytest.mark.parametrize("how", HIDDEN)
def test_text_that_nobody_sees_goes_however_it_is_hidden(how: str) -> None:
    content, objects = HIDDEN[how]
    resources = f"/ExtGState << /G << /ca 0 /CA 0 >> >> /XObject << {objects} >>"
    page = PdfPage(f"q {content} Q" + shown(["Bates 0012"], y=20), "", resources)
    clean, done = cleaned(written_pdf([page], [PICTURE]))
    assert done == {1: "removed"}
    assert text_of(clean) == ["Bates 0012"]


def test_text_inside_forms_goes_on_the_pages_that_are_asked_for_alone() -> None:
    inner = stream(OLD.encode(), f"/Type /XObject /Subtype /Form /BBox [0 0 595 842] {FONT}")
    outer = stream(
        b"/In Do" + shown(["in a form"], y=600).encode(),
        "/Type /XObject /Subtype /Form /BBox [0 0 595 842] /Matrix [1 0 0 1 9 9]"
        " /Resources << /Font << /F1 3 0 R >> /XObject << /In 100 0 R >> >>",
    )
    page = PdfPage("q .5 0 0 .5 0 0 cm /Out Do Q /Out Do", "", "/XObject << /Out 101 0 R >>")
    clean, done = cleaned(written_pdf([page, page], [inner, outer]))
    assert done == {1: "removed"}
    assert " ".join(text_of(clean)) == "in a form in a form"
    assert "".join(text_of(clean, 2)).count("an old layer") == 2


def test_a_stencil_of_letters_stays_with_what_is_seen_through_it() -> None:
    stencil = "q BT /F1 80 Tf 7 Tr 72 400 Td (CLIP) Tj ET 1 0 0 rg 0 0 600 430 re f Q"
    clean, done = cleaned(written_pdf([PdfPage(stencil + OLD)]))
    assert done == {1: "removed"}
    assert text_of(clean) == ["CLIP"]


@pytest.mark.parametrize(
    "content",
    [
        "BT /F1 12 Tf 72 700 Td (seen ) Tj 3 Tr (hidden ) Tj 0 Tr (after) Tj ET",
        "BT /F1 12 Tf 70 Tz 2 Tc 72 700 Td [-300 (seen )] TJ 3 Tr [-500 (hid) 200 (den )] TJ"
        " 0 Tr [-400 (after)] TJ ET",
        "BT /F1 12 Tf 14 TL 72 700 Td (seen ) Tj 3 Tr (hidden) ' 0 Tr 2 1 (after) \" ET",
        "BT /F1 12 Tf .8 .6 -.6 .8 72 500 Tm (seen ) Tj 3 Tr (hidden ) Tj 0 Tr (after) Tj ET",
    ],
)
def test_text_after_hidden_text_stays_where_it_was(content: str) -> None:
    clean, done = cleaned(written_pdf([PdfPage(content)]))
    assert done == {1: "removed"}
    assert "".join(text_of(clean)).split() == ["seen", "after"]


def test_words_under_boxes_go_and_their_neighbours_stay() -> None:
    """A box over a word in the middle of a line of one text operator."""
    text = "BT /F1 12 Tf 72 700 Td [(Paid to John) 20 ( Smith of Dover)] TJ ET"
    box = "0 g 112 696 64 14 re f"
    data = written_pdf([PdfPage(text + " " + box)])
    clean, done = cleaned(data)
    assert done == {1: "removed"}
    left = "".join(text_of(clean))
    assert "Paid" in left
    assert "Dover" in left
    assert not {"John", "Smith"} & set(left.split())
    with closing(opened(clean)) as pdf:
        assert b"John" not in clean
        assert len(pdf) == 1


def test_wrong_text_that_is_seen_stays_in_view_and_copies_as_blanks() -> None:
    form = stream(
        shown(["in a form"], y=500).encode(),
        f"/Type /XObject /Subtype /Form /BBox [0 0 595 842] {FONT}",
    )
    page = PdfPage(
        "/Span << /ActualText (another) >> BDC " + shown(["7KH PHPEHUV"]) + " EMC /F Do" + OLD,
        "",
        "/XObject << /F 100 0 R >>",
    )
    clean, done = cleaned(written_pdf([page, page], [form]), "all")
    assert done == {1: "removed"}
    assert not "".join(text_of(clean)).strip()
    assert "an old layer" in text_of(clean, 2)  # the same font, on a page that stays
    assert "in a form" in text_of(clean, 2)


def rebuilt(change: Callable[[pikepdf.Pdf], None], **save: Any) -> bytes:
    """Two pages with hidden and seen text, after a change of their objects."""
    pages = [PdfPage(OLD + shown([f"seen {n}"], y=500)) for n in (1, 2)]
    with pikepdf.open(io.BytesIO(written_pdf(pages))) as pdf:
        change(pdf)
        file = io.BytesIO()
        pdf.save(file, **save)
    return file.getvalue()


def inherited(pdf: pikepdf.Pdf) -> None:
    """Resources of all pages, and streams that are cut between two operands."""
    pdf.Root.Pages.Resources = pdf.pages[0].obj.Resources
    for page in pdf.pages:
        del page.obj["/Resources"]
        content = page.obj.Contents.read_bytes()
        cut = content.index(b"Tf") + 3
        parts = [pdf.make_stream(content[:cut]), pdf.make_stream(content[cut:])]
        page.obj.Contents = pikepdf.Array(parts)


def shared(pdf: pikepdf.Pdf) -> None:
    pdf.pages[1].obj.Contents = pdf.pages[0].obj.Contents


@pytest.mark.parametrize("what", ["hidden", "all"])
@pytest.mark.parametrize("change", [inherited, shared])
def test_a_page_that_shares_its_objects_leaves_the_others_alone(
    change: Callable[[pikepdf.Pdf], None], what: Wanted
) -> None:
    clean, done = cleaned(rebuilt(change), what)
    assert done == {1: "removed"}
    assert " ".join(text_of(clean)).strip() == ("seen 1" if what == "hidden" else "")
    assert "an old layer" in text_of(clean, 2)


def test_object_streams_and_linear_files_are_edited() -> None:
    mode = pikepdf.ObjectStreamMode.generate
    data = rebuilt(lambda pdf: None, object_stream_mode=mode, linearize=True)
    clean, done = cleaned(data, pages=2)
    assert done == {1: "removed", 2: "removed"}
    assert [text_of(clean, n) for n in (1, 2)] == [["seen 1"], ["seen 2"]]


@pytest.mark.parametrize(
    "content",
    [
        "Q Q q q " + OLD + " /Nope Do /Span BMC",
        "BT /F1 12 Tf 3 Tr 72 700 Td () Tj [() 5 ()] TJ [] TJ (old) Tj [(a) -20 () (b)] TJ ET",
        "BT /Missing 12 Tf 3 Tr 72 700 Td (old) Tj ET",
    ],
)
def test_careless_content_is_edited_too(content: str) -> None:
    clean, done = cleaned(written_pdf([PdfPage(content + shown(["seen"], y=500, mode=0))]))
    assert done == {1: "removed"}
    assert text_of(clean) == ["seen"]


def test_text_of_an_earlier_export_of_ours_is_replaced(tmp_path: Path) -> None:
    path = written(tmp_path, PdfPage("0.5 g 100 100 50 50 re f"))
    _, first = made(
        path, [[at("Words of ours, \u5408\u8a08", 72, 700)]], native_reason="no text layer"
    )
    path.write_bytes(first)
    report, second = made(path, [[at("Other words", 72, 700)]], native_reason=EARLIER)
    assert report["old_text"] == {1: "removed"}
    assert text_of(second) == ["Other words"]


def test_a_document_without_such_text_is_the_same_bytes() -> None:
    data = written_pdf([PdfPage(shown(["all of it is seen"]))])
    assert without_old_text(data, {1: "hidden"}, opened) == (data, {})


def test_a_locked_document_stays_locked(tmp_path: Path) -> None:
    data = sample(tmp_path, "sealed_deed.pdf").read_bytes()

    def unlocked(file: bytes) -> pdfium.PdfDocument:
        return pdfium.PdfDocument(file, password=PASSWORD)

    clean, done = without_old_text(data, {1: "all"}, unlocked, ["wrong", PASSWORD])
    assert done == {1: "removed"}
    with pytest.raises(pdfium.PdfiumError):
        pdfium.PdfDocument(clean)
    assert not unlocked(clean)[0].get_textpage().get_text_range().strip()


def test_what_is_seen_is_not_doubled_when_the_reader_errs(tmp_path: Path) -> None:
    stamp = shown(["EFTA00012345 CONFIDENTIAL"], x=300, y=30)
    path = written(tmp_path, PdfPage(OLD + stamp))
    lines = [at("what is on the scan", 72, 740), at("EFTA0OO12345 CONF1DENTIAL", 300, 30)]
    report, data = made(path, [lines], native_reason=EARLIER)
    assert text_of(data) == ["EFTA00012345 CONFIDENTIAL", "what is on the scan"]
    assert (report["old_text"], report["there"]) == ({1: "removed"}, 1)
    report, data = made(path, [lines], native_reason=EARLIER, keep=True)
    assert report["old_text"] == {1: "kept: --keep-old-text"}
    assert any("an old layer" in one for one in text_of(data))


def test_our_words_are_left_out_where_the_page_shows_words_and_kept_beside_them(
    tmp_path: Path,
) -> None:
    seen = shown(["as amended in the previous year"], x=72, y=700)
    watermark = "BT /F1 90 Tf 60 500 Td (DRAFT COPY) Tj ET"
    path = written(tmp_path, PdfPage(seen + watermark))
    lines = [
        at("os omonded ln yoa- ra.", 72, 700, 15),  # a poor reading of the same ink
        at("on the scan alone", 72, 650),
        at("printed beneath the watermark", 72, 520),
    ]
    report, data = made(path, [lines], native_reason="covers 40 % of the ink")
    text = " ".join(text_of(data))
    assert "omonded" not in text
    assert "yoa" not in text
    assert "on the scan alone" in text
    assert "printed beneath the watermark" in text
    assert (report["lines"], report["there"]) == (2, 1)


def test_a_page_that_is_exported_without_text_keeps_what_it_has(tmp_path: Path) -> None:
    path = written(tmp_path, PdfPage(OLD))
    report, data = made(path, [[]], native_reason=EARLIER, text=None, outcome="failed")
    assert report["old_text"] == {}
    assert data == path.read_bytes()


def test_the_value_of_a_form_field_comes_out_once(tmp_path: Path) -> None:
    look = stream(
        b"/Tx BMC BT /F1 12 Tf 2 4 Td (John Smith) Tj ET EMC",
        f"/Type /XObject /Subtype /Form /BBox [0 0 200 20] {FONT}",
    )
    field = (
        b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (n) /V (John Smith) /F 4"
        b" /Rect [150 600 350 620] /AP << /N 100 0 R >> >>"
    )
    page = PdfPage(shown(["Name of member:"], x=50, y=604), "/Annots [101 0 R]")
    catalog = "/AcroForm << /Fields [101 0 R] /DR << /Font << /F1 3 0 R >> >> /DA (/F1 12 Tf) >>"
    path = written(tmp_path, page, extra=(look, field), catalog=catalog)
    reason = "annotations or form fields draw 40 % of the ink"
    whole = at("Name of member: John Srnith", 50, 604, 12)
    (report, data) = made(path, [[whole]], native_reason=reason)
    assert "".join(text_of(data)).count("Name") == 1
    assert "Srnith" in "".join(text_of(data))
    assert report["lines"] == 1
    assert any(b"/ActualText" in one for one in streams_of(data))  # see `writing.write_line`


def test_hidden_words_of_an_accepted_page_go_without_other_changes(tmp_path: Path) -> None:
    page = PdfPage(shown(["Paid to Smith"]) + " 0 g 100 730 90 20 re f" + shown(["Dover"], y=500))
    path = written(tmp_path, page)
    row = {"outcome": "native_text", "native_reason": "accepted"}
    report, data = made(path, [[]], notes=["hidden_text"], **row)
    assert report["old_text"] == {1: "removed"}
    assert "Smith" not in "".join(text_of(data))
    assert "Dover" in "".join(text_of(data))
    assert made(path, [[]], notes=[], **row)[1] == path.read_bytes()


def test_the_index_says_which_pages_lost_and_which_kept_their_old_text(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    path = written(tmp_path / "scans", PdfPage(OLD), PdfPage())
    lines = [[at("new words", 72, 740)], [at("page two", 72, 740)]]
    pages = pages_of(1, path, lines, native_reason=EARLIER)
    run = ocr_run(tmp_path / "run", tmp_path / "scans", pages)
    for keep, verdict, why in (
        (False, "removed", "removed"),
        (True, "kept", "kept: --keep-old-text"),
    ):
        out = tmp_path / verdict
        config = DocumentExport(format="pdf", workers=1, keep_old_text=keep)
        summary = export_documents(run, str(out), config)
        (entry,) = map(json.loads, (out / "documents.jsonl").read_text().splitlines())
        assert (entry["old_text"], entry["old_text_pages"]) == (verdict, {"1": why})
        assert sum("old text layer" in note for note in summary.notes) == 1
        text = text_of((out / "scan.pdf.pdf").read_bytes())
        assert ("an old layer" in " ".join(text)) is keep
        assert "new words" in " ".join(text)


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")
@pytest.mark.parametrize(
    ("name", "row", "wanted"),
    [
        ("bates_stamp_garbage_layer.pdf", {"native_reason": EARLIER}, "removed"),
        ("shift_class_minutes.pdf", {"native_reason": "text_layer_disagrees"}, "removed"),
        ("heading_font_wrong_map.pdf", {"native_reason": "text_layer_disagrees"}, "removed"),
        (
            "redacted_boxes.pdf",
            {"outcome": "native_text", "native_reason": "accepted", "notes": ["hidden_text"]},
            "removed",
        ),
    ],
)
def test_cases(name: str, row: dict[str, Any], wanted: str) -> None:
    path = CASES / name
    read = [] if "outcome" in row else [at("County Record Office, Dover", 53, 770, 14)]
    report, data = made(path, [read], **row)
    assert report["old_text"] == {1: wanted}
    check_look(path.read_bytes(), data, levels=4)  # the edges of letters beneath a box
    text = " ".join(text_of(data))
    if read:
        assert text.split() == ["County", "Record", "Office,", "Dover"]
    assert "Income" not in text
