"""How many pixels a page of a PDF gets: the scan's own, or those of `dpi`."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hand_written_pdf import PdfPage, shown, written_pdf
from pictured_pages import LINES, image_object
from PIL import Image

from actors.failures import FailureKind, ItemFailure
from pipelines.pages.page import Page, RenderOptions
from pipelines.pages.render import render_page

REPOSITORY = Path(__file__).resolve().parents[3]
CASES = REPOSITORY.parent / "shared/cases/documents"

NOISE = np.random.default_rng(3).integers(0, 255, (64, 64)).astype(np.uint8)


def picture(width: int, height: int) -> Image.Image:
    return Image.fromarray(cv2.resize(NOISE, (width, height), interpolation=cv2.INTER_CUBIC))


def scan(
    size: tuple[float, float],
    *pixels: tuple[int, int],
    content: str | None = None,
    entries: str = "",
    **options: object,
) -> Page:
    """A page of `size` points with pictures of `pixels`, one below the other unless `content`."""
    part = size[1] / len(pixels)
    strips = " ".join(
        f"q {size[0]} 0 0 {part} 0 {size[1] - (n + 1) * part} cm /Im{n} Do Q"
        for n in range(len(pixels))
    )
    names = " ".join(f"/Im{n} {100 + n} 0 R" for n in range(len(pixels)))
    page = PdfPage(content or strips, entries, f"/XObject << {names} >>", size)
    data = written_pdf([page], [image_object(picture(*one)) for one in pixels])
    return render_page(data, 1, RenderOptions.model_validate(options))


def size_of(page: Page) -> tuple[int, int]:
    assert page.image is not None
    assert Image.open(io.BytesIO(page.image)).size == (page.width, page.height)
    return page.width, page.height


A4 = (595.0, 842.0)
A4_AT_200 = (1653, 2339)


@pytest.mark.parametrize(
    ("points", "pixels", "expected"),
    [
        ((1654, 2339), (1654, 2339), (1654, 2339)),  # 200 dpi that claims 72
        ((3307, 4677), (3307, 4677), (3307, 4677)),  # 400 dpi that claims 72
        ((2480, 3508), (2480, 3508), (2480, 3508)),
        ((144, 204), (1240, 1757), (1240, 1757)),  # 300 dpi on a stamp's page
        (A4, (2480, 3508), (2480, 3509)),  # 300 dpi
        (A4, (4960, 7016), (2480, 3509)),  # 600 dpi
        (A4, (827, 1170), A4_AT_200),  # 100 dpi
        ((419, 595), (3490, 4960), (2476, 3515)),  # A5 at 600 dpi: pixels of A4 at 300
        ((842, 1191), (3508, 4963), (3508, 4963)),  # A3 at 300 dpi
    ],
)
def test_a_scan_keeps_its_pixels(
    points: tuple[float, float], pixels: tuple[int, int], expected: tuple[int, int]
) -> None:
    width, height = size_of(scan(points, pixels))
    assert width == pytest.approx(expected[0], abs=2)
    assert height == pytest.approx(expected[1], abs=2)


def test_the_pixels_are_those_of_the_scan() -> None:
    page = scan((1000, 1400), (1000, 1400))
    assert page.image is not None
    drawn = np.asarray(Image.open(io.BytesIO(page.image)), np.int64)
    file = io.BytesIO()
    picture(1000, 1400).save(file, "JPEG", quality=85)
    own = np.asarray(Image.open(file), np.int64)
    assert np.abs(drawn - own).max() <= 2  # two JPEG decoders


def test_strips_and_turned_pictures_count_as_one() -> None:
    assert size_of(scan(A4, *[(2480, 877)] * 4))[0] == pytest.approx(2480, abs=2)
    turned = "q 0 842 -595 0 595 0 cm /Im0 Do Q"
    assert size_of(scan(A4, (3508, 2480), content=turned))[0] == pytest.approx(2480, abs=2)
    rotated = scan(A4, (2480, 3508), entries="/Rotate 90")
    assert size_of(rotated) == (pytest.approx(3509, abs=2), pytest.approx(2480, abs=2))


def test_the_finer_of_two_layers_decides() -> None:
    both = "q 595 0 0 842 0 0 cm /Im0 Do Q q 500 0 0 800 40 20 cm /Im1 Do Q"
    width, _ = size_of(scan(A4, (620, 877), (2083, 3333), content=both))
    assert width == pytest.approx(2479, abs=3)


def test_a_photo_on_a_page_does_not_decide() -> None:
    content = "q 300 0 0 300 100 100 cm /Im0 Do Q 72 700 400 20 re f"
    assert size_of(scan(A4, (2400, 2400), content=content)) == A4_AT_200


def test_vector_text_over_a_coarse_picture_is_not_made_coarse() -> None:
    poster = (2384, 3370)  # A0
    words = f"q 2384 0 0 3370 0 0 cm /Im0 Do Q {shown(LINES[:1], x=300, y=3000)}"
    page = scan(poster, (600, 850), content=words, native_text={"enabled": False}, dpi=72)
    assert page.width == pytest.approx(2384, abs=1)


def test_max_dpi_limits_or_switches_off() -> None:
    a3 = (842, 1191)
    assert size_of(scan(a3, (3508, 4963), max_dpi=250))[0] == pytest.approx(2924, abs=1)
    assert size_of(scan(A4, (2480, 3508), max_dpi=None)) == A4_AT_200
    assert size_of(scan((1000, 1400), (1000, 1400), max_dpi=None))[0] > 2700


def test_a_huge_scan_is_still_too_large() -> None:
    with pytest.raises(ItemFailure) as caught:
        scan((4000, 4000), (4000, 4000), max_pixels=9_000_000)
    assert caught.value.kind is FailureKind.TOO_MANY_PIXELS
    assert "4,000 x 4,000 pixels" in str(caught.value)
    page = scan((4000, 4000), (4000, 4000), max_pixels=9_000_000, oversize="shrink")
    assert 8_900_000 < page.width * page.height <= 9_000_000


def test_lines_of_a_native_page_are_in_its_pixels() -> None:
    content = f"q 595 0 0 842 0 0 cm /Im0 Do Q {shown(LINES[:5], y=740)}"
    page = scan(A4, (2480, 3508), content=content, native_text={"max_unread_lines": 99})
    assert page.native_lines is not None
    left, top, *_ = page.native_lines[0].polygon
    assert page.width == pytest.approx(2480, abs=2)
    assert left == pytest.approx(72 * 300 / 72, abs=6)
    assert top == pytest.approx((842 - 740 - 9) * 300 / 72, abs=8)


class TestUserUnit:
    """pdfium ignores it; pikepdf reads it."""

    @pytest.fixture(autouse=True)
    def _pikepdf(self) -> None:
        pytest.importorskip("pikepdf")

    @staticmethod
    def drawn(unit: float, **options: object) -> Page:
        page = PdfPage("10 10 50 50 re f", f"/UserUnit {unit}", size=(100, 140))
        return render_page(written_pdf([page]), 1, RenderOptions.model_validate(options))

    def test_it_makes_the_page_larger(self) -> None:
        assert size_of(self.drawn(4)) == (1112, 1556)
        assert size_of(self.drawn(1)) == (278, 389)

    def test_it_never_makes_a_page_too_large(self) -> None:
        page = self.drawn(75_000, max_pixels=1_000_000)
        assert 990_000 < page.width * page.height <= 1_000_000

    def test_a_scan_decides_itself(self) -> None:
        page = scan((300, 420), (1200, 1680), entries="/UserUnit 10")
        assert size_of(page)[0] == pytest.approx(1200, abs=2)

    def test_it_is_found_in_an_object_stream(self) -> None:
        import pikepdf

        plain = written_pdf([PdfPage("10 10 50 50 re f", "/UserUnit 4", size=(100, 140))])
        packed = io.BytesIO()
        with pikepdf.open(io.BytesIO(plain)) as pdf:
            pdf.save(packed, object_stream_mode=pikepdf.ObjectStreamMode.generate)
        assert b"UserUnit" not in packed.getvalue()
        page = render_page(packed.getvalue(), 1, RenderOptions())
        assert size_of(page) == (1112, 1556)


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")
def test_a_scan_of_400_dpi_that_claims_72_is_read() -> None:
    page = render_page((CASES / "a4_400dpi_as_72dpi.pdf").read_bytes(), 1, RenderOptions())
    assert size_of(page) == (3307, 4677)
