"""Dynamic XFA forms: the page is a placeholder, and nothing that is read of it is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest
from hand_written_pdf import PdfPage, shown, stream, written_pdf

from pipelines.pages.native_text import NativeText
from pipelines.pages.notes import PageNote
from pipelines.pages.page import Page, RenderOptions
from pipelines.pages.render import render_page

CASES = Path(__file__).parents[4] / "shared/cases/documents"
WAIT = [
    "Please wait...",
    "If this message is not eventually replaced by the proper contents of the document, your PDF",
    "viewer may not be able to display this type of document.",
    "You can upgrade to the latest version of Adobe Reader for Windows, Mac, or Linux by visiting",
    "http://www.adobe.com/go/reader_download.",
    "For more assistance with Adobe Reader visit http://www.adobe.com/go/acrreader.",
]
WARTEN = [
    "Bitte warten...",
    "Wenn diese Meldung nicht durch den richtigen Inhalt des Dokuments ersetzt wird, kann Ihr",
    "PDF-Viewer diese Art von Dokument eventuell nicht anzeigen.",
    "Sie finden die neueste Version auf http://www.adobe.com/de/products/acrobat/readstep2.html.",
    "Hilfe zu Adobe Reader: http://www.adobe.com/support/products/acrreader.html.",
]
OTHER = ["Momentje geduld, dit formulier wordt voor u geladen."]
FORM = [f"Line {n} of an application for a place in the allotment garden" for n in range(24)]
XML = "<xdp:xdp xmlns:xdp='http://ns.adobe.com/xdp/'>{}</xdp:xdp>"
FIELDS = (
    "<template xmlns='http://www.xfa.org/schema/xfa-template/3.3/'><subform name='f'>"
    "<field name='Surname'/></subform></template>"
)
BARE = (
    "<template xmlns='http://www.xfa.org/schema/xfa-template/3.3/'><subform name='f'/></template>"
)
REQUIRED = (
    "<config><acrobat><acrobat7><dynamicRender>required</dynamicRender></acrobat7></acrobat>"
    "</config>"
)
FORBIDDEN = REQUIRED.replace("required", "forbidden")


def read(
    lines: list[str],
    xml: str | None,
    *,
    catalog: str = "",
    widget: bool = False,
    packets: bool = False,
    native: bool = True,
) -> Page:
    """A page of `lines`, in a PDF with an XFA form."""
    extra = [
        stream(XML.format(xml or "").encode()),
        b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (Surname) /Rect [72 60 300 80] /P 10 0 R >>",
        stream((xml or "").encode()),
    ]
    entry = "/XFA [(preamble) 100 0 R (template) 102 0 R]" if packets else "/XFA 100 0 R"
    fields = "/Fields [101 0 R]" if widget else "/Fields []"
    form = f"/AcroForm << {fields} {entry if xml else ''} >> {catalog}"
    page = PdfPage(shown(lines), entries="/Annots [101 0 R]" if widget else "")
    options = RenderOptions(native_text=NativeText(enabled=native))
    return render_page(written_pdf([page], extra, form), 1, options)


@pytest.mark.parametrize("lines", [WAIT, WARTEN, OTHER, FORM])
@pytest.mark.parametrize("packets", [False, True])
def test_a_form_that_must_be_rendered(lines: list[str], packets: bool) -> None:
    page = read(lines, FIELDS, catalog="/NeedsRendering true", packets=packets)
    assert page.notes == (PageNote.DYNAMIC_FORM,)
    assert page.native_reason == "placeholder of a dynamic form"
    assert page.native_text is None
    assert page.image is not None


@pytest.mark.parametrize(
    ("lines", "xml"),
    [(WAIT, BARE), (WARTEN, FIELDS), (OTHER, FIELDS), (OTHER, BARE + REQUIRED), (WAIT, None)],
)
def test_other_signs_of_a_placeholder(lines: list[str], xml: str | None) -> None:
    """Without NeedsRendering; the last has lost its form to a tool that knows no XFA."""
    assert read(lines, xml).notes == (PageNote.DYNAMIC_FORM,)
    assert read(lines, xml, packets=True).notes == (PageNote.DYNAMIC_FORM,)


def test_the_config_says_so_without_a_text_layer() -> None:
    page = read(OTHER, FIELDS, catalog="/NeedsRendering true", native=False)
    assert page.notes == (PageNote.DYNAMIC_FORM,)


@pytest.mark.parametrize("xml", [BARE, FIELDS, FIELDS + FORBIDDEN])
def test_pages_of_a_static_form_are_real(xml: str) -> None:
    page = read(FORM, xml, widget=True)
    assert page.notes == ()
    assert page.native_text == "\n".join(FORM)


def test_a_static_form_without_fields_on_this_page_is_real() -> None:
    assert read(FORM, FIELDS).native_reason == "accepted"
    assert read(FORM, BARE + FORBIDDEN).native_reason == "accepted"


def test_text_about_adobe_is_no_placeholder() -> None:
    about = [
        "Download the newest version from adobe.com before you fill in the form.",
        "We thank the readers of this leaflet for their letters and their patience.",
    ]
    assert read([*about, *FORM], None).native_reason == "accepted"


def test_case() -> None:
    path = CASES / "xfa_please_wait.pdf"
    if not path.exists():
        pytest.skip(f"{path} is not beside this repository")
    page = render_page(path.read_bytes(), 1, RenderOptions())
    assert page.notes == (PageNote.DYNAMIC_FORM,)
    assert page.native_text is None
