"""Fonts whose maps to characters are wrong: the text layer says other letters than are drawn."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import pytest
import yaml
from hand_written_pdf import PdfPage, shown, written_pdf
from mapped_fonts import Claims, Line, installed, lines, mapped_pdf, right
from matplotlib.figure import Figure
from wrong_maps import WRONG, of_text, table

from pipelines.pages.native_text import NativeText
from pipelines.pages.notes import PageNote
from pipelines.pages.page import Page, RenderOptions
from pipelines.pages.render import render_page

REPOSITORY = Path(__file__).parents[3]
CASES = REPOSITORY.parent / "shared/cases"
DISAGREES = PageNote.TEXT_LAYER_DISAGREES
_DECLARATION = yaml.safe_load(
    (REPOSITORY / "benchmarks/parts/pages/script_texts.yaml").read_text(encoding="utf-8")
)
TEXTS = {
    language: textwrap.wrap(" ".join(_DECLARATION[language]), 70) for language in ("rus", "ell")
}
TEXTS["eng"] = [
    "The committee met on Tuesday and considered the report of the treasurer.",
    "Income from subscriptions rose by four per cent, to 1,204.75 in all.",
    "Quiet jazz vexed the big fowl while Kim played 36 games of 1987.",
    "Resolved that the thanks of the society be given to Mr Oxley.",
]
#: Serif, sans, typewriter, bold, italic, condensed.
FACES = (
    *("DejaVu Serif", "Liberation Sans", "Liberation Mono", "FreeSerif:bold"),
    *("FreeSerif:italic", "DejaVu Sans:width=75"),
)
SERIF, SANS = installed("DejaVu Serif"), installed("DejaVu Sans:bold")


def page_of(data: bytes, **settings: object) -> Page:
    return render_page(
        data, 1, RenderOptions(dpi=72, native_text=NativeText.model_validate(settings))
    )


def assert_refused(page: Page, font: str) -> None:
    assert page.native_reason is not None
    assert page.native_reason.startswith(f"{DISAGREES}: font {font}")
    assert DISAGREES in page.notes
    assert page.native_text is None
    assert page.image is not None


def assert_kept(page: Page, texts: Sequence[str]) -> None:
    assert page.native_reason == "accepted"
    assert page.notes == ()
    assert page.native_text == "\n".join(texts)


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_map_is_refused(kind: str) -> None:
    claims, language = WRONG[kind]
    data = mapped_pdf(lines(TEXTS[language], SERIF, claims))
    assert_refused(page_of(data), "DejaVuSerif")


def test_the_check_can_be_switched_off() -> None:
    data = mapped_pdf(lines(TEXTS["eng"], SERIF, WRONG["vowels exchanged"][0]))
    assert page_of(data, check_fonts=False).native_reason == "accepted"


@pytest.mark.parametrize(("language", "face"), [*zip([*TEXTS, *TEXTS], FACES, strict=True)])
def test_a_right_map_is_kept(face: str, language: str) -> None:
    assert_kept(page_of(mapped_pdf(lines(TEXTS[language], installed(face)))), TEXTS[language])


@pytest.mark.parametrize(
    ("language", "face"),
    [
        ("chi_sim", "Noto Sans CJK SC"),
        ("kor", "Noto Sans CJK KR"),
        ("tha", "Norasi"),
        ("heb", "Noto Sans Hebrew"),
        ("hin", "Noto Sans Devanagari"),
        ("vie", "DejaVu Serif"),
    ],
)
def test_other_scripts(language: str, face: str) -> None:
    font = installed(face)
    if face.split()[0] not in font.stem:
        pytest.skip(f"the font {face} is not installed")
    texts = textwrap.wrap(" ".join(_DECLARATION[language]).replace("|", ""), 36)[:12]
    assert page_of(mapped_pdf(lines(texts, font))).native_reason == "accepted"
    wrong = page_of(mapped_pdf(lines(texts, font, of_text("".join(texts)))))
    assert DISAGREES in wrong.notes


@pytest.mark.parametrize("heading", ["NOTICE", "Contents", "RULES OF ORDER"])
def test_the_font_of_the_heading_is_judged_by_itself(heading: str) -> None:
    body = lines(TEXTS["eng"], SERIF)
    cipher, _ = WRONG["random letters"]
    page = page_of(mapped_pdf([Line(heading, SANS, cipher, size=20), *body]))
    assert_refused(page, "DejaVuSans-Bold")
    page = page_of(mapped_pdf([Line(heading, SANS, size=20), *body]))
    assert_kept(page, [heading, *TEXTS["eng"]])


def test_two_maps_of_one_font_program_are_told_apart() -> None:
    cipher, _ = WRONG["random letters"]
    sound, broken = (mapped_pdf(lines(TEXTS["eng"], SERIF, map_)) for map_ in (right, cipher))
    for _ in range(2):  # in either order, as glyphs are remembered from page to page
        assert_kept(page_of(sound), TEXTS["eng"])
        assert_refused(page_of(broken), "DejaVuSerif")


@pytest.mark.parametrize(
    ("line", "claims"),
    [
        (Line("SMALL CAPITALS OF THE HEADING", SERIF), str.lower),
        (Line("L e t t e r s p a c e d", SERIF, spacing=6), right),
        (Line("Turned by ninety degrees", SERIF, x=300, y=300, turn="0 1 -1 0"), right),
        (Line("Turned by thirty degrees", SERIF, y=200, turn="0.866 0.5 -0.5 0.866"), right),
        (Line("Slanted and narrow letters", SERIF, turn="0.7 0 0.3 1"), right),
        (Line("Mirrored letters of a foil", SERIF, x=500, turn="-1 0 0 1"), right),
    ],
    ids=["small capitals", "spaced", "turned", "turned a little", "slanted", "mirrored"],
)
def test_unusual_setting_is_no_wrong_map(line: Line, claims: Claims) -> None:
    drawn = Line(line.text, line.font, claims, 16, line.x, line.y, line.turn, line.spacing)
    page = page_of(mapped_pdf([drawn, *lines(TEXTS["eng"], SANS)]))
    assert DISAGREES not in page.notes


def test_turned_text_with_a_wrong_map_is_refused() -> None:
    cipher, _ = WRONG["random letters"]
    turned = [
        Line(text, SERIF, cipher, x=100 + 30 * n, y=100, turn="0 1 -1 0")
        for n, text in enumerate(TEXTS["eng"])
    ]
    assert_refused(page_of(mapped_pdf(turned)), "DejaVuSerif")


def test_a_trace_costs_no_page() -> None:
    many = TEXTS["eng"] * 8
    swapped = table({"a": "e", "e": "a"})
    trace = Line("ea", SANS, swapped, y=30)
    page = page_of(mapped_pdf([*lines(many, SERIF, size=10), trace]))
    assert page.native_reason == "accepted"


def test_hidden_text_draws_nothing_to_compare() -> None:
    cipher, _ = WRONG["random letters"]
    hidden = [
        Line(one.text, one.font, cipher, y=one.y, mode=3) for one in lines(TEXTS["eng"], SERIF)
    ]
    page = page_of(mapped_pdf(hidden), trust_hidden=True)
    assert DISAGREES not in page.notes


STANDARD = (
    *("Helvetica-BoldOblique", "Times-Italic", "Courier", "Symbol", "ZapfDingbats"),
    *("Arial,Bold", "NoSuchTypeface"),
)


@pytest.mark.parametrize("name", STANDARD)
def test_fonts_that_are_not_embedded_are_right(name: str) -> None:
    data = written_pdf([PdfPage(shown(TEXTS["eng"]))])
    line = b"/BaseFont /Helvetica /Encoding /WinAnsiEncoding"
    other = b"/BaseFont /%s" % name.encode()
    page = page_of(data.replace(line, other.ljust(len(line))))
    assert page.native_reason is not None
    assert DISAGREES not in page.notes


def figure_of(folder: Path, kind: int) -> bytes:
    """A PDF of matplotlib; `kind` of font: 3 or 42 (TrueType)."""
    with matplotlib.rc_context({"pdf.fonttype": kind, "pdf.compression": 0}):
        figure = Figure(figsize=(8, 6))
        for number, text in enumerate([*TEXTS["eng"], r"$\alpha + \beta = \int x^2$ office"]):
            figure.text(0.05, 0.8 - 0.1 * number, text, fontsize=11)
        figure.savefig(folder / "figure.pdf")
    return (folder / "figure.pdf").read_bytes()


@pytest.mark.parametrize("kind", [3, 42])
def test_pages_of_matplotlib_are_right(kind: int, tmp_path: Path) -> None:
    assert DISAGREES not in page_of(figure_of(tmp_path, kind)).notes


def test_a_painted_font_with_a_wrong_map_is_refused(tmp_path: Path) -> None:
    def permuted(match: re.Match[bytes]) -> bytes:
        names, drawings = zip(*re.findall(rb"(/\w+) (\d+ 0 R)", match[0]), strict=True)
        pairs = zip(names, (*drawings[3:], *drawings[:3]), strict=True)
        return b"<< " + b" ".join(b" ".join(pair) for pair in pairs) + b" >>"

    data = figure_of(tmp_path, 3)
    broken = re.sub(rb"<<(?:\s/\w+ \d+ 0 R){20,} >>", permuted, data)
    assert broken != data
    assert len(broken) == len(data)
    assert_refused(page_of(broken), "DejaVuSans")


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases lie beside the repository")
@pytest.mark.parametrize(
    ("case", "font"),
    [("shift_class_minutes", "DejaVuSerif"), ("heading_font_wrong_map", "DejaVuSans-Bold")],
)
def test_cases_of_the_field(case: str, font: str) -> None:
    assert_refused(page_of((CASES / f"documents/{case}.pdf").read_bytes()), font)


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases lie beside the repository")
@pytest.mark.parametrize("file", sorted(CASES.glob("structure/*.pdf")), ids=lambda file: file.stem)
def test_real_documents_are_right(file: Path) -> None:
    assert DISAGREES not in page_of(file.read_bytes()).notes
