"""Words that a PDF holds and a viewer does not show: never in the text, and the page says so."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pypdfium2 as pdfium
import pytest
from hand_written_pdf import PdfPage, shown, stream, written_pdf
from PIL import Image

from pipelines.pages.native_text import NativeText
from pipelines.pages.notes import PageNote
from pipelines.pages.page import Page, RenderOptions
from pipelines.pages.render import render_page
from pipelines.pages.text_layer.visibility import hidden_objects

CASES = Path(__file__).parents[4] / "shared/cases/documents"
LETTER = [f"Line {n} of a letter about the harvest of this year" for n in range(12)]
SECRET = "The witness is called Adelheid Brandner"
#: Where SECRET stands: 12 pt from (72, 500); a box over it; a box over its words from "called" on.
WORDS = shown([SECRET], y=500)
BOX, HALF = "68 494 250 18 re f", "150 494 200 18 re f"
#: Layers: 100 on, 101 off, 102 printed only, 103 seen only.
LAYERS = [
    b"<< /Type /OCG /Name (English) >>",
    b"<< /Type /OCG /Name (Deutsch) >>",
    b"<< /Type /OCG /Name (Print) /Usage << /View << /ViewState /OFF >>"
    b" /Print << /PrintState /ON >> >> >>",
    b"<< /Type /OCG /Name (Screen) /Usage << /View << /ViewState /ON >>"
    b" /Print << /PrintState /OFF >> >> >>",
]
_ALL = "[100 0 R 101 0 R 102 0 R 103 0 R]"
_AUTO = (
    f"/AS [<< /Event /View /Category [/View] /OCGs {_ALL} >>"
    f" << /Event /Print /Category [/Print] /OCGs {_ALL} >>]"
)
OFF = f"/OCProperties << /OCGs {_ALL} /D << /OFF [101 0 R] {_AUTO} >> >>"
#: The base state is off; only layer 100 is switched on.
BASE_OFF = f"/OCProperties << /OCGs {_ALL} /D << /BaseState /OFF /ON [100 0 R] >> >>"
LISTED = "/Properties << /On 100 0 R /Off 101 0 R /Print 102 0 R /View 103 0 R /Some 104 0 R >>"


def read(content: str, *extra: bytes, resources: str = "", catalog: str = "", **more: str) -> Page:
    """A page of LETTER and `content`."""
    page = PdfPage(shown(LETTER) + content, resources=resources, **more)
    return render_page(written_pdf([page], extra, catalog), 1, RenderOptions())


def check(page: Page, *, hidden: bool, kept: list[str] | None = None) -> None:
    """The letter is kept as it is; the words are left out, or in."""
    text = [] if hidden else [SECRET]
    assert page.native_reason == "accepted"
    assert page.native_text == "\n".join(LETTER + (text if kept is None else kept))
    assert page.notes == ((PageNote.HIDDEN_TEXT,) if hidden or kept else ())


@pytest.mark.parametrize(
    "cover",
    [
        f"0 g {BOX}",
        f"1 g {BOX}",  # white: nothing is seen at all
        f"0.2 0.4 0.9 rg {BOX}",
        "0 g 68 494 m 318 494 l 318 512 l 68 512 l h f",  # a polygon
        "0 g 30 490 m 30 560 440 560 440 490 c f",  # a curve
        "18 w 68 503 m 320 503 l S",  # a thick stroke
        f"q 1 0 0 1 0 0 cm 0 g {BOX} Q",
        "q 0.5 0 0 0.5 0 0 cm 0 g 136 988 500 36 re f Q",
        "/Cover Do",  # within a form object
        "q 250 0 0 18 68 494 cm /Outer Do Q",  # an image in a form
        "q 68 494 250 18 re W n /Sh1 sh Q",  # a shading
        "/Pattern cs /P1 scn " + BOX,
        "/Opaque gs 0 g " + BOX,
        "/Faint gs 0 g " + BOX,  # 95 % black
    ],
)
def test_words_under_a_cover(cover: str) -> None:
    form = b"/Type /XObject /Subtype /Form /BBox [0 0 595 842]".decode()
    extra = [
        stream(f"q 0 g {BOX} Q".encode(), form),
        stream(b"/Im1 Do", f"{form} /Resources << /XObject << /Im1 102 0 R >> >>"),
        picture(np.full((4, 4), 90, np.uint8)),
        b"<< /ShadingType 2 /ColorSpace /DeviceRGB /Coords [68 494 318 494] /Extend [true true]"
        b" /Function << /FunctionType 2 /Domain [0 1] /C0 [1 0 0] /C1 [0 0 1] /N 1 >> >>",
        stream(
            b"0.3 g 0 0 8 8 re f",
            "/Type /Pattern /PatternType 1 /PaintType 1 /TilingType 1 /BBox [0 0 8 8]"
            " /XStep 8 /YStep 8 /Resources << >>",
        ),
    ]
    resources = (
        "/XObject << /Cover 100 0 R /Outer 101 0 R >> /Shading << /Sh1 103 0 R >>"
        " /Pattern << /P1 104 0 R >> /ExtGState << /Opaque << /ca 1 >> /Faint << /ca 0.95 >> >>"
    )
    check(read(f"{WORDS} {cover} 0 g", *extra, resources=resources), hidden=True)


def picture(gray: np.ndarray, mask: str = "") -> bytes:
    file = io.BytesIO()
    Image.fromarray(gray).save(file, "JPEG")
    height, width = gray.shape
    entries = (
        f"/Type /XObject /Subtype /Image /Width {width} /Height {height} /BitsPerComponent 8"
        f" /ColorSpace /DeviceGray /Filter /DCTDecode {mask}"
    )
    return stream(file.getvalue(), entries)


@pytest.mark.parametrize(
    "content",
    [
        f"q 3 Tr 0 g {WORDS.replace('0 Tr', '3 Tr')} Q",
        f"1 g {WORDS} 0 g",
        f"0.99 g {WORDS} 0 g",
        f"0 g {BOX} 0 g {WORDS}",  # black on black
        f"q /Clear gs {WORDS} Q",
        f"q 0 0 50 50 re W n {WORDS} Q",  # clipped away
        f"BT /F1 0.6 Tf 72 500 Td ({SECRET}) Tj ET",
        f"BT /F1 12 Tf 0.01 0 0 0.01 72 500 Tm ({SECRET}) Tj ET",
        f"BT /F1 12 Tf 72 500 Td 900 Ts ({SECRET}) Tj ET",  # lifted off the page
        f"q /Masked gs {WORDS} Q",
        f"q /Thin gs {WORDS} Q",
        f"{WORDS} BT /F2 20 Tf 72 496 Td (nnnnnnnnnnnnnnnnn) Tj ET",  # square bullets
        "/Narrow Do",
        "q 1 0 0 1 0 900 cm /Whole Do Q",
        shown([SECRET], x=700, y=500),
        shown([SECRET], x=72, y=-60),
        shown([SECRET], x=-400, y=500),
    ],
    ids=[
        *("invisible", "white", "nearly white", "black on black", "transparent", "clipped"),
        *("tiny", "scaled to nothing", "lifted", "masked", "2 %"),
        *("squares", "outside of a form", "form outside", "right", "below", "left"),
    ],
)
def test_words_without_a_mark(content: str) -> None:
    form = "/Type /XObject /Subtype /Form /Resources << /Font << /F1 3 0 R >> >>"
    extra = [
        stream(WORDS.encode(), f"{form} /BBox [0 0 50 842]"),
        stream(WORDS.encode(), f"{form} /BBox [0 0 595 842]"),
        stream(
            b"0 g 0 0 595 842 re f",
            f"{form} /BBox [0 0 595 842] /Group << /S /Transparency /CS /DeviceGray >>",
        ),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /ZapfDingbats >>",
    ]
    resources = (
        "/ExtGState << /Clear << /ca 0 /CA 0 >> /Thin << /ca 0.02 >>"
        " /Masked << /SMask << /S /Luminosity /G 102 0 R >> >> >>"
        " /XObject << /Narrow 100 0 R /Whole 101 0 R >>"
    )
    data = written_pdf([PdfPage(shown(LETTER) + content, resources=resources)], extra)
    data = data.replace(b"/F1 3 0 R >> /Ext", b"/F1 3 0 R /F2 103 0 R >> /Ext")
    page = render_page(data, 1, RenderOptions(native_text=NativeText(min_coverage=0)))
    assert page.native_text is not None
    assert "\n".join(LETTER) in page.native_text
    assert "witness" not in page.native_text
    assert "Brandner" not in page.native_text
    assert page.notes == (PageNote.HIDDEN_TEXT,)


@pytest.mark.parametrize(
    ("marked", "catalog", "hidden"),
    [
        (f"/OC /Off BDC {WORDS} EMC", OFF, True),
        (f"/OC /On BDC {WORDS} EMC", OFF, False),
        (f"/OC /Print BDC {WORDS} EMC", OFF, True),
        (f"/OC /View BDC {WORDS} EMC", OFF, False),
        (f"/OC /On BDC /OC /Off BDC {WORDS} EMC EMC", OFF, True),
        (f"/OC /Off BDC /OC /On BDC {WORDS} EMC EMC", OFF, True),
        (f"/OC /Off BDC /Span << /Lang (de) >> BDC {WORDS} EMC EMC", OFF, True),
        (f"/OC /Off BDC EMC {WORDS}", OFF, False),
        (f"/OC /Off BDC {WORDS} EMC", BASE_OFF, True),
        (f"/OC /On BDC {WORDS} EMC", BASE_OFF, False),
        (f"{WORDS} /OC /Off BDC 0 g {BOX} EMC", OFF, False),  # the cover is off
        (f"{WORDS} /OC /On BDC 0 g {BOX} EMC", OFF, True),
        ("/FormOff Do", OFF, True),
        ("/FormOn Do", OFF, False),
        ("/Nested Do", OFF, True),
        (f"/OC /Some BDC {WORDS} EMC", OFF, True),
    ],
)
def test_words_of_a_layer_that_the_viewer_does_not_show(
    marked: str, catalog: str, hidden: bool
) -> None:
    form = "/Type /XObject /Subtype /Form /BBox [0 0 595 842]"
    font = "/Font << /F1 3 0 R >>"
    members = b"<< /Type /OCMD /OCGs [100 0 R 101 0 R] /P /AllOn >>"
    extra = [
        *LAYERS,
        members,
        stream(WORDS.encode(), f"{form} /Resources << {font} >> /OC 101 0 R"),
        stream(WORDS.encode(), f"{form} /Resources << {font} >> /OC 100 0 R"),
        stream(b"/Inner Do", f"{form} /Resources << /XObject << /Inner 105 0 R >> >> /OC 100 0 R"),
    ]
    forms = "/XObject << /FormOff 105 0 R /FormOn 106 0 R /Nested 107 0 R >>"
    check(read(marked, *extra, resources=f"{LISTED} {forms}", catalog=catalog), hidden=hidden)


@pytest.mark.parametrize(
    ("policy", "hidden"), [("AllOn", True), ("AnyOn", False), ("AnyOff", False), ("AllOff", True)]
)
def test_policies_of_several_layers(policy: str, hidden: bool) -> None:
    members = f"<< /Type /OCMD /OCGs [100 0 R 101 0 R] /P /{policy} >>".encode()
    content = f"/OC /Some BDC {WORDS} EMC"
    page = read(content, *LAYERS, members, resources=LISTED, catalog=OFF)
    check(page, hidden=hidden)


def test_two_languages_at_the_same_place() -> None:
    """The words of the layer that is off lie beneath those of the other."""
    english = [f"Members are reminded of rule {n}" for n in range(9)]
    german = [f"Mitglieder beachten die Regel {n}" for n in range(9)]
    content = f"/OC /On BDC {shown(english, y=400)} EMC /OC /Off BDC {shown(german, y=400)} EMC"
    page = read(content, *LAYERS, resources=LISTED, catalog=OFF)
    check(page, hidden=True, kept=english)
    turned = content.replace("/On", "/X").replace("/Off", "/On").replace("/X", "/Off")
    page = read(turned, *LAYERS, resources=LISTED, catalog=OFF)
    check(page, hidden=True, kept=german)


def test_most_of_the_text_may_be_switched_off() -> None:
    """Three languages, two of them off: the rest is a good layer, and no earlier OCR."""
    off = "".join(shown([f"{word} {n}" for n in range(20)], y=740) for word in ("Regel", "Règle"))
    page = read(f"/OC /Off BDC {off} EMC", *LAYERS, resources=LISTED, catalog=OFF)
    check(page, hidden=True, kept=[])
    assert page.notes == (PageNote.HIDDEN_TEXT,)


def test_a_line_is_split_at_the_covered_words() -> None:
    content = f"{shown(['Mr Brandner of Hall paid in May'], y=500)} 0 g 90 494 52 18 re f"
    page = read(content)
    check(page, hidden=True, kept=["Mr", "of Hall paid in May"])
    assert page.native_lines is not None
    first, second = (line.polygon for line in page.native_lines[-2:])
    scale = 200 / 72
    assert first[2] <= 92 * scale
    assert second[0] >= 140 * scale
    assert len(page.native_lines) == len(LETTER) + 2


def test_covers_in_the_middle_at_the_end_and_over_half_of_a_letter() -> None:
    check(read(f"{WORDS} 0 g {HALF}"), hidden=True, kept=["The witness is"])
    # Two thirds of the height, from above: what is left of the letters cannot be read.
    check(read(f"{WORDS} 0 g 68 503 250 9 re f 68 497 250 4 re f"), hidden=True)


@pytest.mark.parametrize(
    "drawn",
    [
        f"1 1 0 rg {BOX} 0 g {WORDS}",  # on a coloured bar
        f"0 g {BOX} 1 g {WORDS} 0 g",  # white on black
        f"{WORDS} q /Veil gs 1 1 0 rg {BOX} Q 0 g",  # under a highlighter
        f"{WORDS} 0.5 w 72 498 m 300 498 l S",  # underlined
        f"{WORDS} 1 w 72 504 m 300 504 l S",  # struck out: it is still to be read
        f"{WORDS} 1 w {BOX[:-1]} S",  # framed
        f"q 60 490 300 30 re W n {WORDS} Q",  # a clip path around it
        f"{WORDS} q 300 0 0 60 60 470 cm /Logo Do Q",  # a picture that is transparent there
        f"0.8 0 0 rg 60 490 300 30 re f 0 0.41 0 rg {WORDS} 0 g",  # red, green: the same gray
        f"0.75 g {WORDS} 0 g",  # pale
        f"1 Tr 0.4 w {WORDS.replace('0 Tr', '1 Tr')} 0 Tr",  # outlines
        f"BT /F1 4 Tf 72 500 Td ({SECRET}) Tj ET",  # small print
        f"{WORDS} {WORDS}",  # twice: a shadow
        f"0.6 g {shown([SECRET], x=72.7, y=499.3)} 0 g {WORDS}",
    ],
)
def test_what_is_seen_stays(drawn: str) -> None:
    mask = (
        "/Type /XObject /Subtype /Image /Width 2 /Height 1 /BitsPerComponent 8"
        " /ColorSpace /DeviceGray"
    )
    extra = [
        picture(np.full((8, 8), 20, np.uint8), "/SMask 101 0 R"),
        stream(b"\x00\x00", mask),
    ]
    resources = "/ExtGState << /Veil << /ca 0.5 /BM /Multiply >> >> /XObject << /Logo 100 0 R >>"
    page = read(drawn, *extra, resources=resources)
    assert page.native_reason == "accepted"
    assert page.native_text is not None
    assert page.native_text.startswith("\n".join([*LETTER, SECRET]))


def test_turned_and_cropped_pages() -> None:
    for turn in (90, 180, 270):
        page = read(f"{WORDS} 0 g {BOX}", entries=f"/Rotate {turn}")
        assert page.native_text is not None
        assert sorted(page.native_text.split("\n")) == sorted(LETTER)
        assert page.notes == (PageNote.HIDDEN_TEXT,)
    page = read(f"{WORDS} 0 g {BOX}", entries="/CropBox [40 300 560 800]")
    check(page, hidden=True)
    page = read(WORDS, entries="/CropBox [40 510 560 800]")
    check(page, hidden=True)


def test_words_under_annotations() -> None:
    """A square of an editor that calls it a redaction."""
    box = stream(f"0 g {BOX}".encode(), "/Type /XObject /Subtype /Form /BBox [0 0 595 842]")
    square = b"<< /Type /Annot /Subtype /Square /Rect [0 0 595 842] /AP << /N 100 0 R >> /F 4 >>"
    page = PdfPage(shown(LETTER) + WORDS, entries="/Annots [101 0 R]")
    options = RenderOptions(native_text=NativeText(min_coverage=0.1))
    read_ = render_page(written_pdf([page], [box, square]), 1, options)
    assert SECRET not in (read_.native_text or "")
    assert PageNote.HIDDEN_TEXT in read_.notes


def test_an_earlier_ocr_is_refused_without_a_note() -> None:
    scan = picture(np.full((300, 200), 120, np.uint8))
    page = PdfPage(
        "q 595 0 0 842 0 0 cm /Im1 Do Q" + shown(LETTER, mode=3),
        resources="/XObject << /Im1 100 0 R >>",
    )
    out = render_page(written_pdf([page], [scan]), 1, RenderOptions())
    assert out.native_reason == "hidden text layer (earlier OCR)"
    assert out.notes == ()


@pytest.mark.parametrize(
    "content",
    [
        "{scan} {layer} {box}",
        "{layer} {scan} {box}",
        "{visible} {scan} {box}",
        "{visible} q 0.5 0 0 0.5 0 0 cm /Form Do Q {box}",
        "{layer} {scan} q 2 0 0 2 0 0 cm /Redacted Do Q",
    ],
    ids=["above", "below", "under the picture", "picture in a form", "box in a form"],
)
def test_redacted_words_are_not_trusted_with_an_earlier_ocr(content: str) -> None:
    """`trust_hidden` takes the hidden layer of a scan, but not the words under a box."""
    form = "/Type /XObject /Subtype /Form /BBox [0 0 1190 1684]"
    extra = [
        picture(np.full((300, 200), 250, np.uint8)),
        stream(
            b"q 1190 0 0 1684 0 0 cm /Im1 Do Q",
            f"{form} /Resources << /XObject << /Im1 100 0 R >> >>",
        ),
        stream(b"0 g 30 257.5 200 8 re f", form),
    ]
    drawn = content.format(
        scan="q 595 0 0 842 0 0 cm /Im1 Do Q",
        layer=shown([*LETTER, SECRET], mode=3),
        visible=shown([*LETTER, SECRET]),
        box="0 g 60 515 400 16 re f",  # over the last line
    )
    page = PdfPage(drawn, resources="/XObject << /Im1 100 0 R /Form 101 0 R /Redacted 102 0 R >>")
    options = RenderOptions(native_text=NativeText(trust_hidden=True, min_coverage=0))
    out = render_page(written_pdf([page], extra), 1, options)
    assert out.native_text == "\n".join(LETTER)
    assert out.notes == (PageNote.HIDDEN_TEXT,)


def test_hidden_objects_of_a_page() -> None:
    content = shown(LETTER) + f"{WORDS} 0 g {BOX} {shown(['Half of it is seen'], y=450)}"
    content += "0 g 100 444 300 18 re f" + shown(["Not drawn"], y=420, mode=3)
    document = pdfium.PdfDocument(written_pdf([PdfPage(content)]))
    page = document[0]
    found = hidden_objects(page)
    assert len(found.whole) == 2
    assert len(found.partly) == 1


@pytest.mark.parametrize(
    ("name", "there", "gone"),
    [
        ("ocg_hidden_language.pdf", "overdue books are charged", "Ausschuss"),
        ("redacted_boxes.pdf", "overdue books are charged", "subscriptions"),
    ],
)
def test_cases(name: str, there: str, gone: str) -> None:
    path = CASES / name
    if not path.exists():
        pytest.skip(f"{path} is not beside this repository")
    page = render_page(path.read_bytes(), 1, RenderOptions())
    assert page.native_text is not None
    assert there in page.native_text
    assert gone not in page.native_text
    assert page.notes == (PageNote.HIDDEN_TEXT,)
