"""When the text layer of a PDF page is used in place of OCR."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from bad_files import drawn
from hand_written_pdf import PdfPage, shown, stream, written_pdf

from pipelines.pages.native_text import NativeText, TextLayer, decide, garbled_share
from pipelines.pages.page import Page, RenderOptions
from pipelines.pages.render import render_page

GOOD = TextLayer(chars=900, hidden=0, garbled=0.01, coverage=0.98, annotated=0)
LINES = [f"Line {n} of a letter about the harvest of this year" for n in range(20)]
#: A page-wide picture of text, as a scanner makes it.
SCAN = "q 500 0 0 700 50 70 cm /Im1 Do Q"
SCANNED = "/XObject << /Im1 100 0 R >>"


@pytest.mark.parametrize(
    ("change", "accepted", "reason"),
    [
        ({}, True, "accepted"),
        ({"chars": 0}, False, "no text layer"),
        ({"chars": 7}, False, "only 7 characters"),
        ({"hidden": 1.0, "chars": 0}, False, "hidden text layer (earlier OCR)"),
        ({"hidden": 0.6, "coverage": 0.3}, False, "hidden text layer (earlier OCR)"),
        ({"hidden": 0.6}, True, "accepted"),  # the rest is a good layer
        ({"hidden": 0.1}, True, "accepted"),
        ({"garbled": 0.31}, False, "garbled 31 %"),
        ({"coverage": 0.12}, False, "covers 12 % of the ink"),
        ({"annotated": 0.08}, False, "annotations or form fields draw 8 % of the ink"),
    ],
)
def test_each_test_names_itself(change: dict[str, float], accepted: bool, reason: str) -> None:
    assert decide(replace(GOOD, **change), NativeText()) == (accepted, reason)


def test_limits_come_from_the_settings() -> None:
    assert decide(replace(GOOD, hidden=1.0), NativeText(trust_hidden=True))[0]
    assert decide(replace(GOOD, coverage=0.12), NativeText(min_coverage=0.1))[0]
    assert decide(replace(GOOD, chars=7), NativeText(min_chars=5))[0]
    assert not decide(GOOD, NativeText(max_garbled=0.0))[0]
    assert decide(GOOD, NativeText(enabled=False)) == (False, "native text is switched off")


@pytest.mark.parametrize(
    "text",
    [
        "TOTAL RM 12.50 GST REG NO 0012 www.shop.my",
        "Straße und Übergröße: naïve façade, smørrebrød, Łódź",
        "Người Việt Nam được nghiêng",
        "Привет мир, как дела",
        "Ελληνικά κείμενο",
        "日本語テキストとABCの混在",
        "パソコンPCを使うDVDプレーヤーの説明書",
        "第3章GPS機能与USB接口的使用方法",
        "한국어PC사용설명서",
        "مرحبا بالعالم",
        "สวัสดีชาวโลก",
        "µmol, Ångström, 20 °C, § 12",
        "",
    ],
)
def test_clean_text_of_any_script_is_not_garbled(text: str) -> None:
    assert garbled_share(text) == 0


@pytest.mark.parametrize(
    "text",
    [
        "7KLV LV D WHVW ZLWK VKLIWHG FRGHV",  # every code 29 too low
        "MÃ¼ller grÃ¼ÃŸt MÃ¤rz fÃ¼r cafÃ© und Ã©tÃ©",
        "\ue000\ue001\ue002 \ue003\ue004",
        "\ufffd\ufffd\ufffd ok",
        "\x01\x02\x03\x04 abc",
        "Harvest of wheat and oats".translate({ord("a"): "\u0430"}),  # Cyrillic a
    ],
)
def test_garbled_text_is_seen(text: str) -> None:
    assert garbled_share(text) > 0.2


def test_glyphs_without_a_character_count_as_garbled() -> None:
    assert garbled_share("abcde fghij", unmapped=5) == 0.5


# --- real pages ----------------------------------------------------------------------------------


def native(page: PdfPage, *extra: bytes, **settings: object) -> Page:
    options = RenderOptions(native_text=NativeText.model_validate(settings))
    return render_page(written_pdf([page], extra), 1, options)


def scan() -> bytes:
    """An image object: gray JPEG with lines of text all over it."""
    file = io.BytesIO()
    drawn("\n".join(LINES), (1000, 1400), 36).save(file, "JPEG")
    entries = (
        "/Type /XObject /Subtype /Image /Width 1000 /Height 1400 /BitsPerComponent 8"
        " /ColorSpace /DeviceGray /Filter /DCTDecode"
    )
    return stream(file.getvalue(), entries)


def test_a_born_digital_page_is_taken_in_the_order_of_the_pdf() -> None:
    page = native(PdfPage(shown(LINES[10:], y=400) + shown(LINES[:10])))
    assert page.native_reason == "accepted"
    assert page.native_text == "\n".join(LINES[10:] + LINES[:10])
    assert page.image is None
    assert page.native_lines is not None
    left, top, right, _, _, bottom, *_ = page.native_lines[0].polygon
    baseline = (842 - 400) * 200 / 72
    assert left == pytest.approx(200, abs=4)
    assert top < baseline < bottom + 1
    assert 15 < bottom - top < 40  # 12 pt at 200 dpi
    assert 600 < right - left < 900


def test_rules_and_panels_are_no_unread_text() -> None:
    grid = " ".join(f"60 {y} m 540 {y} l S" for y in range(380, 760, 18))
    panel = "0.2 0.3 0.8 rg 60 100 480 150 re f 0 g"
    page = native(PdfPage(f"{panel} {grid} {shown(LINES)}"))
    assert page.native_reason == "accepted"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (SCAN, "no text layer"),
        (shown(LINES, mode=3) + SCAN, "hidden text layer (earlier OCR)"),
        (SCAN + shown(LINES, mode=3), "hidden text layer (earlier OCR)"),
        (shown(LINES) + SCAN, "hidden text layer (earlier OCR)"),  # beneath the picture
        (f"1 g {shown(LINES)}", "hidden text layer (earlier OCR)"),  # white on white
    ],
    ids=["scan", "invisible below", "invisible above", "beneath", "white"],
)
def test_text_that_is_not_drawn_is_not_trusted(content: str, reason: str) -> None:
    page = native(PdfPage(content, resources=SCANNED), scan())
    assert page.native_reason == reason
    assert page.native_text is None
    assert page.native_lines is None
    assert page.image is not None


def test_hidden_text_can_be_trusted() -> None:
    aligned = shown(LINES, x=75, y=700, mode=3)
    page = native(
        PdfPage(SCAN + aligned, resources=SCANNED), scan(), trust_hidden=True, min_coverage=0.01
    )
    assert page.native_text == "\n".join(LINES)


def test_a_header_over_a_scan_does_not_speak_for_it() -> None:
    header = shown(["Stamped by the archive on 12 May"], y=800)
    page = native(PdfPage(SCAN + header, resources=SCANNED), scan())
    assert page.native_reason is not None
    assert page.native_reason.startswith("covers ")


def test_painted_over_and_cropped_lines_are_left_out() -> None:
    redacted = "0 g 60 700 480 20 re f 0 g"
    secret = shown(["Secret name of the witness here"], y=705)
    outside = shown(["Printer's mark outside of the page"], y=20)
    letter = shown(LINES, y=650)
    page = native(PdfPage(secret + redacted + letter + outside, "/CropBox [0 60 595 842]"))
    assert page.native_text == "\n".join(LINES)


def test_text_of_a_font_with_wrong_codes_is_refused() -> None:
    cmap = (
        b"/CIDInit /ProcSet findresource begin begincmap 1 begincodespacerange <00> <FF>"
        b" endcodespacerange 1 beginbfrange <20> <7E> <E020> endbfrange endcmap end"
    )
    font = (
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding"
        b" /ToUnicode 100 0 R >>"
    )
    content = shown(LINES).replace("/F1", "/F2")
    data = written_pdf([PdfPage(content)], [stream(cmap), font])
    data = data.replace(b"/F1 3 0 R", b"/F2 101 0 R")
    page = render_page(data, 1, RenderOptions())
    assert page.native_reason == "garbled 100 %"
