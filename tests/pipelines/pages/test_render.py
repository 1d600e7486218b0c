"""Bytes in, an upright page out. The decoders run in this process here, for speed."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from bad_files import (
    BAD_FILES,
    PASSWORD,
    drawn,
    encrypted_pdf,
    huge_page_pdf,
    pdf_without_pages,
    rotated_jpeg,
)
from hand_written_pdf import PdfPage, shown, stream, written_pdf
from PIL import Image

from actors.failures import FailureKind, ItemFailure
from pipelines.pages.page import Page, RenderOptions, sniff
from pipelines.pages.render import count_pages, render_page

OPTIONS = RenderOptions()
PICTURES = RenderOptions(keep_image_for_native=True)
#: Where storage, not the renderer, says what is wrong.
STORED = ("zero_bytes", "zip_bomb", "corrupt_zip", "corrupt_member_zip", "truncated_tar_gz")
CONTENT = {name: bad for name, bad in BAD_FILES.items() if name not in (*STORED, "climbing_zip")}


def pixels(page: Page) -> npt.NDArray[np.uint8]:
    """The image as the OCR actor decodes it: BGR (H, W, 3)."""
    assert page.image is not None
    image = cv2.imdecode(np.frombuffer(page.image, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape[:2] == (page.height, page.width)
    return np.asarray(image, np.uint8)


def saved(image: Image.Image, kind: str, **how: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def failure_of(data: bytes, page: int = 1, options: RenderOptions = OPTIONS) -> FailureKind:
    with pytest.raises(ItemFailure) as caught:
        render_page(data, page, options)
    assert caught.value.message
    return caught.value.kind


@pytest.mark.parametrize("name", [n for n, bad in CONTENT.items() if bad.expected != "OK"])
def test_every_fault_of_the_content_is_named(name: str, tmp_path: Path) -> None:
    bad = CONTENT[name]
    assert failure_of(bad.make(tmp_path).read_bytes()) is bad.expected


@pytest.mark.parametrize("name", [n for n, bad in CONTENT.items() if bad.expected == "OK"])
def test_a_strange_but_sound_file_shows_its_text(name: str, tmp_path: Path) -> None:
    path = CONTENT[name].make(tmp_path)
    page = render_page(path.read_bytes(), 1, PICTURES)
    gray = pixels(page).mean(axis=2)
    assert np.median(gray) > 220  # paper is light, ink is dark and little
    assert gray.min() < 70
    if path.suffix != ".pdf":
        apart = np.abs(gray - np.asarray(drawn(), np.float32))
        assert apart.mean() < 25  # paper of gray16_png is 21 darker; decoded wrongly: > 100


def test_kinds_come_from_content_not_from_names(tmp_path: Path) -> None:
    for name, bad in CONTENT.items():
        assert sniff(bad.make(tmp_path).read_bytes()) == bad.kind, name
    assert sniff(b"BMW of Munich builds cars, and this is a text.") == "unknown"
    assert sniff(b"junk of a mail gateway\r\n%PDF-1.4") == "pdf"
    assert sniff(b"") == "unknown"


# --- images ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "mode", "how"),
    [
        ("JPEG", "L", {}),
        ("JPEG", "RGB", {"progressive": True}),
        ("PNG", "L", {}),
        ("PNG", "RGB", {}),
    ],
)
def test_a_plain_jpeg_or_png_keeps_its_bytes(kind: str, mode: str, how: dict[str, bool]) -> None:
    data = saved(drawn().convert(mode), kind, **how)
    page = render_page(data, 1, OPTIONS)
    assert page.image == data
    assert (page.width, page.height) == drawn().size
    assert page.native_reason is None


def test_images_that_a_plain_viewer_shows_wrong_are_encoded_again(tmp_path: Path) -> None:
    rotated = rotated_jpeg(tmp_path).read_bytes()
    page = render_page(rotated, 1, OPTIONS)
    assert (page.width, page.height) == drawn().size  # its file is higher than wide
    assert page.image is not None
    assert sniff(page.image) == "png"
    assert Image.open(io.BytesIO(page.image)).mode == "L"  # no colour in it, so no colour stored


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WebP"])
def test_orientation_is_honoured_in_every_format(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    lying = drawn().transpose(Image.Transpose.ROTATE_90).convert("RGB")
    page = render_page(saved(lying, kind, exif=exif), 1, OPTIONS)
    assert np.abs(pixels(page).mean(axis=2) - np.asarray(drawn(), np.float32)).mean() < 5


def test_sixteen_bit_colour_keeps_its_high_bytes() -> None:
    deep = np.full((20, 30, 3), (1 << 8, 128 << 8, 255 << 8), np.uint16)
    _, file = cv2.imencode(".png", deep)
    assert pixels(render_page(file.tobytes(), 1, OPTIONS))[10, 10].tolist() == [1, 128, 255]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_samples_of_32_bits_are_stretched_to_gray(dtype: type) -> None:
    ramp = np.linspace(-3, 5, 256).reshape(16, 16) * 1000
    page = render_page(saved(Image.fromarray(ramp.astype(dtype)), "TIFF"), 1, OPTIONS)
    gray = pixels(page)[..., 0].ravel()
    assert np.abs(gray.astype(int) - np.arange(256)).max() <= 1


def test_palette_colours_are_looked_up() -> None:
    red = Image.new("RGB", (20, 20), (200, 10, 30)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert pixels(render_page(saved(red, "GIF"), 1, OPTIONS))[5, 5].tolist() == [30, 10, 200]


def test_transparent_colour_key_of_a_png_becomes_paper() -> None:
    page = Image.new("RGB", (20, 20), (255, 0, 255))
    page.putpixel((3, 4), (0, 0, 0))
    image = pixels(render_page(saved(page, "PNG", transparency=(255, 0, 255)), 1, OPTIONS))
    assert image[10, 10].tolist() == [255, 255, 255]
    assert image[4, 3].tolist() == [0, 0, 0]


def test_frames_of_a_tiff_are_pages() -> None:
    frames = [Image.new("L", (30 + i, 20), 50 * i) for i in range(4)]
    data = saved(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert count_pages(data, OPTIONS) == 4
    third = render_page(data, 3, OPTIONS)
    assert (third.width, third.height) == (32, 20)
    assert pixels(third).max() == pixels(third).min() == 100
    assert failure_of(data, 5) is FailureKind.PAGE_MISSING


# --- PDF ---------------------------------------------------------------------------------------


def ink_inside(page: Page, polygon: list[float]) -> float:
    """Share of the page's ink in an upright box."""
    ink = pixels(page).mean(axis=2) < 128
    left, top, right, bottom = polygon[0], polygon[1], polygon[4], polygon[5]
    inside = ink[round(top) - 1 : round(bottom) + 2, round(left) - 1 : round(right) + 2]
    return float(inside.sum() / ink.sum())


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotation_and_crop_are_honoured_by_picture_and_text(rotation: int) -> None:
    only = PdfPage(
        shown(["A line of text to be found"], x=100, y=700),
        f"/Rotate {rotation} /CropBox [50 400 450 800]",
    )
    page = render_page(written_pdf([only]), 1, PICTURES)
    wide, high = round(400 / 72 * 200) + 1, round(400 / 72 * 200) + 1
    assert (page.width, page.height) == pytest.approx((wide, high), abs=1)
    assert page.native_lines is not None
    assert [line.text for line in page.native_lines] == ["A line of text to be found"]
    assert ink_inside(page, page.native_lines[0].polygon) > 0.99


def test_size_is_known_without_rendering() -> None:
    odd = PdfPage(shown(["A line of text to be found"], x=10, y=50), size=(333.3, 211.7))
    data = written_pdf([odd])
    blind, seen = render_page(data, 1, OPTIONS), render_page(data, 1, PICTURES)
    assert blind.image is None
    assert (blind.width, blind.height) == pixels(seen).shape[1::-1]


def test_annotations_and_form_fields_are_drawn_and_distrusted() -> None:
    paint = stream(b"0 0 200 40 re f", "/Type /XObject /Subtype /Form /BBox [0 0 200 40]")
    stamp = b"<< /Type /Annot /Subtype /Stamp /Rect [100 300 300 340] /F 4 /AP << /N 100 0 R >> >>"
    widget = (
        b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (name) /V (x) /Rect [100 200 300 240] /F 4"
        b" /AP << /N 100 0 R >> >>"
    )
    only = PdfPage(shown(["Text that may be trusted"] * 9), "/Annots [101 0 R 102 0 R]")
    data = written_pdf([only], [paint, stamp, widget], "/AcroForm << /Fields [102 0 R] >>")
    page = render_page(data, 1, OPTIONS)
    scale = 200 / 72
    for y in (320, 220):
        assert pixels(page)[round((842 - y) * scale), round(200 * scale)].max() < 30
    assert page.native_text is None
    assert "annotations or form fields" in (page.native_reason or "")


def test_a_password_opens_an_encrypted_pdf(tmp_path: Path) -> None:
    data = encrypted_pdf(tmp_path).read_bytes()
    assert failure_of(data, 1, RenderOptions(passwords=("wrong",))) is FailureKind.ENCRYPTED_PDF
    assert render_page(data, 1, RenderOptions(passwords=("wrong", PASSWORD))).width > 0


def test_a_pdf_without_pages_is_empty_whatever_was_opened_before(tmp_path: Path) -> None:
    empty = pdf_without_pages(tmp_path).read_bytes()
    assert failure_of(encrypted_pdf(tmp_path).read_bytes()) is FailureKind.ENCRYPTED_PDF
    assert failure_of(empty) is FailureKind.EMPTY_DOCUMENT


def test_pages_beyond_the_end_are_missing() -> None:
    data = written_pdf([PdfPage(), PdfPage()])
    assert count_pages(data, OPTIONS) == 2
    assert failure_of(data, 3) is FailureKind.PAGE_MISSING


def test_a_page_that_cannot_be_loaded_leaves_its_neighbours_alone() -> None:
    data = written_pdf([PdfPage(shown(["x"])), PdfPage(), PdfPage(shown(["y"]))])
    broken = data.replace(b"\n12 0 obj\n<< /Type /Page ", b"\n12 0 obj\n(( /Type /Page ")
    assert failure_of(broken, 2) is FailureKind.CORRUPT_PDF
    assert render_page(broken, 3, OPTIONS).image is not None


def test_an_oversize_page_can_be_rendered_smaller(tmp_path: Path) -> None:
    data = huge_page_pdf(tmp_path).read_bytes()
    shrink = RenderOptions(oversize="shrink", max_pixels=1_000_000)
    page = render_page(data, 1, shrink)
    assert 990_000 < page.width * page.height <= 1_000_000
    assert pixels(page).min() == 255


def test_colour_is_kept_and_gray_stored_where_there_is_none() -> None:
    red = written_pdf([PdfPage("1 0 0 rg 100 100 200 200 re f")])
    black = written_pdf([PdfPage("0 g 100 100 200 200 re f")])
    image = pixels(render_page(red, 1, OPTIONS))
    assert image[round((842 - 150) * 200 / 72), round(150 * 200 / 72)].tolist() == [0, 0, 255]
    stored = render_page(black, 1, OPTIONS).image
    assert stored is not None
    assert Image.open(io.BytesIO(stored)).mode == "L"
