"""Image formats of cameras, scanners and archives: read as they look, or called by their names."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
from picture_formats import FORMATS, drawing, many, saved, tiff, words
from PIL import Image

from actors.failures import FailureKind, ItemFailure, failure
from actors.images.decoding import opened, rgb
from pipelines.pages.page import Page, RenderOptions, sniff
from pipelines.pages.pictures.heic import learn_heic
from pipelines.pages.render import count_pages, render_page
from pipelines.pages.sandbox import Sandbox, SandboxLimits

OPTIONS = RenderOptions()
CASES = Path(__file__).parents[4] / "shared" / "cases"


def pixels(page: Page) -> np.ndarray:
    assert page.image is not None
    image = cv2.imdecode(np.frombuffer(page.image, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert image.shape[:2] == (page.height, page.width)
    return image.astype(int)


def failed(data: bytes, options: RenderOptions = OPTIONS) -> ItemFailure:
    try:
        count_pages(data, options)
        render_page(data, 1, options)
    except ItemFailure as fault:
        return fault
    pytest.fail("no failure")


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_shows_the_drawing(name: str) -> None:
    data = FORMATS[name]()
    suffix = Path(name).suffix[1:]
    assert sniff(data) == {"tif": "tiff", "jpx": "jp2", "j2k": "jp2"}.get(suffix, suffix)
    assert count_pages(data, OPTIONS) == 1
    apart = np.abs(pixels(render_page(data, 1, OPTIONS)) - drawing())
    # Lab has another white, JPEG and JPEG 2000 lose at edges.
    assert apart.mean() < 4
    assert np.percentile(apart, 90) < 12


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_cut_anywhere_is_corrupt(name: str) -> None:
    """Never drawn half, and never something else than a corrupt image."""
    data = FORMATS[name]()
    for part in np.linspace(0.03, 0.97, 12):
        fault = failed(data[: int(len(data) * part)])
        assert fault.kind is FailureKind.CORRUPT_IMAGE, (part, str(fault))
        assert fault.message


def test_the_sandbox_reads_them_and_outlives_their_damage() -> None:
    with Sandbox(OPTIONS, SandboxLimits()) as sandbox:
        sandbox.start()
        child = sandbox._child
        for name, make in FORMATS.items():
            data = make()
            page = sandbox.render(name, data, 1)
            assert (page.width, page.height) == (320, 240)
            assert (page.pixel_range is not None) == name.startswith(
                ("deep", "float", "uint", "alpha16", "near", "jpeg2000_deep")
            )
            with pytest.raises(ItemFailure, match="CORRUPT_IMAGE"):
                sandbox.render(f"half of {name}", data[: len(data) // 2], 1)
        assert sandbox._child is child  # no codec broke it


@pytest.mark.parametrize("name", FORMATS)
def test_pixels_are_limited_before_decoding(name: str) -> None:
    few = RenderOptions(max_pixels=240 * 320 - 1)
    assert failed(FORMATS[name](), few).kind is FailureKind.TOO_MANY_PIXELS


def test_the_size_of_a_jpeg_2000_is_that_of_its_codestream() -> None:
    """The box around it may claim a small one."""
    data = FORMATS["photo.jp2"]()
    at = data.index(b"ihdr") + 4
    lie = data[:at] + (24).to_bytes(4, "big") + (32).to_bytes(4, "big") + data[at + 8 :]
    assert failed(lie, RenderOptions(max_pixels=10_000)).kind is FailureKind.TOO_MANY_PIXELS


def test_orientation_is_honoured_in_deep_pictures_and_phones() -> None:
    lying = Image.fromarray(drawing()).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = np.asarray(lying).astype(np.uint16) * 257
    for data in (
        saved(lying, "AVIF", exif=exif, quality=95),
        tiff(deep, photometric="rgb", extratags=[(274, "H", 1, 6, True)]),
    ):
        assert np.abs(pixels(render_page(data, 1, OPTIONS)) - drawing()).mean() < 4


@pytest.mark.parametrize(
    ("samples", "how", "why"),
    [
        (np.zeros((8, 9, 5), np.uint8), {"planarconfig": "contig"}, "5 bands without colours"),
        (np.zeros((8, 9), np.complex64), {}, "no real numbers"),
    ],
)
def test_a_tiff_that_is_not_read_says_why(samples: np.ndarray, how: dict, why: str) -> None:
    fault = failed(tiff(samples, **how))
    assert fault.kind is FailureKind.UNSUPPORTED_KIND
    assert why in fault.message


def test_camera_raw_in_tiff_is_called_so() -> None:
    thumb, sensor = np.zeros((8, 9, 3), np.uint8), np.zeros((32, 36), np.uint16)
    preview = {"photometric": "rgb", "subfiletype": 1, "subifds": 1}
    nef = many((thumb, preview), (sensor, {"photometric": "cfa"}))
    dng = tiff(sensor, photometric="minisblack", extratags=[(50706, 1, 4, b"\1\4\0\0", True)])
    for data in (nef, dng):
        fault = failed(data)
        assert fault.kind is FailureKind.UNSUPPORTED_KIND
        assert fault.message.startswith("Camera raw")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (imagecodecs.jpeg8_encode(words() >> 4, bitspersample=12), "JPEG of 12 bits"),
        (imagecodecs.jpeg8_encode(drawing(), lossless=True), "Lossless JPEG"),
        (imagecodecs.jpegls_encode(drawing()), "JPEG-LS"),
        (imagecodecs.jpegxl_encode(drawing()), "JPEG XL"),
        (imagecodecs.jpeg2k_encode(np.zeros((9, 9, 5), np.uint8)), "JPEG 2000 with 5 channels"),
    ],
    ids=["12 bits", "lossless", "ls", "xl", "channels"],
)
def test_rare_forms_are_called_by_their_names(data: bytes, name: str) -> None:
    fault = failed(data)
    assert fault.kind is FailureKind.UNSUPPORTED_KIND
    assert fault.message == f"{name} is not supported" or fault.message.startswith(name)


def test_heic_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    data = FORMATS["phone.heic"]()
    learn_heic.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    fault = failed(data)
    assert fault.kind is FailureKind.UNSUPPORTED_KIND
    assert 'pip install "nightjar[heic]"' in fault.message


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\xff\x0a" + bytes(90), "JPEG XL"),
        (b"8BPS\0\x01" + bytes(90), "Photoshop"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (bytes(128) + b"DICM" + bytes(90), "DICOM"),
    ],
)
def test_a_format_that_is_not_read_is_called_by_its_name(head: bytes, name: str) -> None:
    fault = failed(head)
    assert fault.kind is FailureKind.UNSUPPORTED_KIND
    assert fault.message.startswith(name)
    assert fault.message.endswith("is not supported")


# --- messages ----------------------------------------------------------------------------------


def test_no_message_holds_an_address() -> None:
    """Two runs over one file write the same bytes."""
    address = re.compile(r"0x[0-9a-f]{6,}|@\d+\.\d+\]")
    for data in (b"BM" + bytes(12) + b"\x28" + bytes(90), b"GIF89a", b"RIFF\0\0\0\0WEBPxxxx"):
        first, again = failed(data), failed(bytes(bytearray(data)))
        assert first.message == again.message
        assert not address.search(first.message)
    for broken in (b"no image", b"\x89PNG\r\n\x1a\n"):
        with pytest.raises(ItemFailure) as caught:
            rgb(broken) if broken == b"no image" else opened(broken)
        assert caught.value.kind is FailureKind.CORRUPT_IMAGE
        assert not address.search(caught.value.message)


def test_the_door_takes_addresses_and_clocks_out_of_every_message() -> None:
    said = "<_io.BytesIO object at 0x7f0a1b2c3d4e> [ WARN:0@1.234] global Thread 0x00007f12 (most"
    clean = "<_io.BytesIO object> [ WARN] global Thread (most"
    assert failure(FailureKind.ENGINE_FAULT, said)["message"] == clean
    assert ItemFailure(FailureKind.ENGINE_FAULT, said).message == clean
    assert failure(FailureKind.CORRUPT_IMAGE, "marker 0xd9")["message"] == "marker 0xd9"


# --- the case files ----------------------------------------------------------------------------


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")
@pytest.mark.parametrize(
    ("name", "size"),
    [("documents/master.jp2", (620, 877)), ("labels/phone.avif", (320, 240))],
)
def test_the_case_is_read(name: str, size: tuple[int, int]) -> None:
    page = render_page((CASES / name).read_bytes(), 1, OPTIONS)
    assert (page.width, page.height) == size
    assert pixels(page).std() > 20
