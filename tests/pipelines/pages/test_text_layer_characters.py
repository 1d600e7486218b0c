"""Characters of native text that are no letters: form feeds, control bytes, marks without width."""

from __future__ import annotations

from pathlib import Path

import pytest
from hand_written_pdf import PdfPage, stream, written_pdf

from actors.lines import LineValue
from pipelines.export.page import placed
from pipelines.pages.page import Page, RenderOptions
from pipelines.pages.render import render_page

REPOSITORY = Path(__file__).resolve().parents[3]
CASES = REPOSITORY.parent / "shared/cases/documents"

#: The character that stands for the letter "~", or for the byte 1, which draws nothing.
LINES = ["The harbour office~was closed", "Boats may land~at low tide", "Keys are~with the warden"]


def page_with(said: str, *, drawn: bool) -> Page:
    """A page on which a font says `said` for a letter that is drawn, or for one that is not."""
    byte = "~" if drawn else "\\001"
    codes = said.encode("utf-16-be").hex().upper()
    cmap = (
        "/CIDInit /ProcSet findresource begin begincmap 1 begincodespacerange <00> <FF>"
        " endcodespacerange 1 beginbfrange <20> <7D> <0020> endbfrange"
        f" 2 beginbfchar <7E> <{codes}> <01> <{codes}> endbfchar endcmap end"
    )
    font = (
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding"
        b" /ToUnicode 100 0 R >>"
    )
    words = " ".join(f"({line.replace('~', byte)}) Tj T*" for line in LINES)
    page = PdfPage(f"BT /F2 12 Tf 72 740 Td 18 TL {words} ET")
    data = written_pdf([page], [stream(cmap.encode()), font])
    return render_page(data.replace(b"/F1 3 0 R", b"/F2 101 0 R"), 1, RenderOptions())


def lines_of(page: Page) -> list[LineValue]:
    assert page.native_lines is not None
    return [
        {"text": line.text, "score": None, "polygon": line.polygon} for line in page.native_lines
    ]


BREAKS = ["\t", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\u2028", "\u2029", "\n", "\r"]


@pytest.mark.parametrize("said", BREAKS, ids=ascii)
@pytest.mark.parametrize("drawn", [False, True])
def test_line_breaks_within_a_line_cost_no_place(said: str, drawn: bool) -> None:
    page = page_with(said, drawn=drawn)
    expected = [line.replace("~", "\ufffd" if drawn else " ") for line in LINES]
    assert page.native_text == "\n".join(expected)
    assert [line["text"] for line in lines_of(page)] == expected
    exported = placed(page.native_text, [lines_of(page)])
    assert [line.text for line in exported] == expected
    assert all(line.polygon for line in exported)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("\x01", ""),
        ("\x07", ""),
        ("\x1b", ""),
        ("\x7f", ""),
        ("\xad", ""),  # a soft hyphen that breaks no word
        ("\u200b", ""),
        ("\u2060", ""),
        ("\ufeff", ""),
        ("\xa0", " "),
        ("\u2009", " "),
        ("\u202f", " "),
        ("\u3000", "\u3000"),
        ("\u200c", "\u200c"),  # joins letters of Persian and Hindi
    ],
    ids=ascii,
)
def test_what_is_not_drawn(said: str, expected: str) -> None:
    page = page_with(said, drawn=False)
    assert page.native_text == "\n".join(line.replace("~", expected) for line in LINES)


def test_a_soft_hyphen_that_is_drawn_is_a_hyphen() -> None:
    text = page_with("\xad", drawn=True).native_text
    assert text == "\n".join(line.replace("~", "-") for line in LINES)


def test_old_rows_with_form_feeds_keep_their_places() -> None:
    """Versions before this one left them in the text."""
    lines: list[LineValue] = [
        {
            "text": f"one\x0c{n}\u2028two",
            "score": None,
            "polygon": [0.0, n, 9, n, 9, n + 1, 0, n + 1],
        }
        for n in range(3)
    ]
    exported = placed("\n".join(str(line["text"]) for line in lines), [lines])
    assert [line.polygon is not None for line in exported] == [True] * 3


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")
def test_the_page_with_control_bytes_keeps_its_places() -> None:
    page = render_page((CASES / "control_bytes.pdf").read_bytes(), 1, RenderOptions())
    assert page.native_text is not None
    assert not [char for char in page.native_text if ord(char) < 32 and char != "\n"]
    exported = placed(page.native_text, [lines_of(page)])
    assert len(exported) == len(page.native_text.split("\n")) == 27
    assert all(line.polygon for line in exported)
