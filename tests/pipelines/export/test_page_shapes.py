"""Searchable PDFs of pictures have the shape and size that the file states."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pypdfium2 as pdfium
import pytest
from bad_files import drawn
from picture_formats import many, saved, tiff
from PIL import Image

from pipelines.export.pdf.of_images import pdf_of_images
from pipelines.export.pdf.writing import Projection
from pipelines.pages.page import RenderOptions, sniff

OPTIONS = RenderOptions()
CASES = Path(__file__).parents[4] / "shared" / "cases" / "documents"


def made(data: bytes) -> pdfium.PdfDocument:
    file, bare = pdf_of_images(data, sniff(data), [], OPTIONS)
    assert not bare
    return pdfium.PdfDocument(file)


def points(data: bytes) -> tuple[int, int]:
    wide, high = made(data)[0].get_size()
    return round(wide), round(high)


def fax(dpi: tuple[float, float], unit: int = 2, **how: object) -> bytes:
    """1728 x 1075 dots, one bit, as a standard fax has them."""
    page = Image.new("1", (1728, 1075), 1)
    page.paste(0, (200, 100, 600, 150))
    tags = {282: dpi[0], 283: dpi[1], 296: unit}
    return saved(page, "TIFF", compression="group4", tiffinfo=tags, **how)


@pytest.mark.parametrize(
    ("dpi", "unit", "expected"),
    [
        ((204, 98), 2, (610, 790)),
        ((203.2, 97.79), 2, (612, 791)),
        ((204, 196), 2, (610, 395)),
        ((204, 391), 2, (610, 198)),
        ((80.3, 38.6), 3, (610, 789)),  # dots per centimetre
        ((300, 300), 2, (415, 258)),
        ((200, 100), 1, (622, 774)),  # no unit: the ratio alone, at 200 dpi
        ((1, 1), 1, (622, 387)),
        ((72, 72), 2, (622, 387)),
        ((300, 1), 2, (415, 258)),  # an accident
        ((0, 0), 2, (622, 387)),
    ],
)
def test_both_resolutions_of_a_tiff_count(
    dpi: tuple[float, float], unit: int, expected: tuple[int, int]
) -> None:
    assert points(fax(dpi, unit)) == pytest.approx(expected, abs=1)


def test_a_page_of_unequal_dots_keeps_every_dot() -> None:
    data = fax((204, 98))
    page = made(data)[0]
    drawn_page = page.render(scale=204 / 72).to_pil().convert("L")
    stored = Image.open(io.BytesIO(data)).convert("L")
    assert drawn_page.width == stored.width
    rows = np.asarray(drawn_page.resize(stored.size, Image.Resampling.NEAREST))
    assert (rows == np.asarray(stored)).mean() > 0.999


def test_text_lies_on_the_ink_of_unequal_dots() -> None:
    """Places in pixels of the picture become places on the page, by each direction's dots."""
    page = made(fax((204, 98)))[0]
    block = ((200.0, 100.0), (600.0, 100.0), (600.0, 150.0), (200.0, 150.0))
    found = Projection(page, 1728, 1075)(block)
    expected = [(x / 204 * 72, page.get_height() - y / 98 * 72) for x, y in block]
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_a_turned_page_of_unequal_dots() -> None:
    data = fax((204, 98))
    image = Image.open(io.BytesIO(data))
    turned = saved(image, "TIFF", tiffinfo={282: 204, 283: 98, 296: 2, 274: 6})
    assert points(turned) == pytest.approx((790, 610), abs=1)


@pytest.mark.parametrize(
    ("kind", "how", "expected"),
    [
        ("JPEG", {"dpi": (200, 100)}, (230, 346)),
        ("JPEG", {"dpi": (200, 200)}, (230, 173)),
        ("JPEG", {"dpi": (72, 72)}, (230, 173)),
        ("JPEG", {}, (230, 173)),
        ("PNG", {"dpi": (300, 150)}, (154, 230)),
        ("BMP", {"dpi": (100, 200)}, (461, 173)),
    ],
)
def test_both_densities_of_other_formats_count(
    kind: str, how: dict[str, tuple[int, int]], expected: tuple[int, int]
) -> None:
    assert points(saved(drawn(), kind, **how)) == pytest.approx(expected, abs=1)


def test_a_jpeg_may_give_the_ratio_of_its_dots_alone() -> None:
    data = bytearray(saved(drawn(), "JPEG"))
    at = data.index(b"JFIF\0") + 7  # unit, and two densities
    data[at : at + 5] = bytes([0, 0, 2, 0, 1])
    assert points(bytes(data)) == pytest.approx((230, 346), abs=1)


def test_pages_of_the_pdf_are_those_of_the_run() -> None:
    """No page for a thumbnail, and no shifted ones behind it."""
    first, second = (np.full((100, 80 + n), 50 * n, np.uint8) for n in (1, 2))
    small = (first[::9, ::9], {"subfiletype": 1})
    document = made(many((first, {}), small, (second, {"resolution": (100, 50)})))
    sizes = [page.get_size() for page in document]
    np.testing.assert_allclose(sizes, [(29, 36), (59, 144)], atol=1)


def test_a_deep_picture_is_embedded_as_the_run_saw_it() -> None:
    ramp = np.linspace(0, 4095, 100 * 256).reshape(100, 256).astype(np.uint16)
    picture = made(tiff(ramp))[0].render(scale=200 / 72).to_numpy()
    assert picture[2, 2].max() < 10
    assert picture[-3, -3].min() > 245


@pytest.mark.parametrize("name", ["master.jp2", "fax_standard_204x98_g3.tif"])
@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")
def test_the_case_has_its_true_shape(name: str) -> None:
    expected = {"master.jp2": (223, 316), "fax_standard_204x98_g3.tif": (610, 790)}[name]
    assert points((CASES / name).read_bytes()) == pytest.approx(expected, abs=1)
