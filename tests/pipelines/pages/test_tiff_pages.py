"""Which frames of a TIFF are pages."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from bad_files import drawn
from picture_formats import floats, many
from PIL import Image

from actors.failures import FailureKind, ItemFailure
from pipelines.pages.page import RenderOptions
from pipelines.pages.render import count_pages, render_page

OPTIONS = RenderOptions()
CASES = Path(__file__).parents[4] / "shared" / "cases" / "documents"

Frame = tuple[npt.NDArray[np.generic], dict[str, object]]


def page(number: int, **how: object) -> Frame:
    return np.full((120, 90 + number), 20 * number, np.uint8), how


def thumbnail(number: int, kind: int = 1) -> Frame:
    return np.full((12, 9), 200 + number, np.uint8), {"subfiletype": kind}


def old(kind: int) -> Frame:
    return np.full((12, 9), 200, np.uint8), {"extratags": [(255, "H", 1, kind, True)]}


def mask(kind: int = 4) -> Frame:
    return np.ones((120, 91), bool), {"photometric": "mask", "subfiletype": kind}


def shown(data: bytes) -> list[int]:
    """The gray of each page: 20 times the number of the page that was drawn."""
    found = []
    for number in range(1, count_pages(data, OPTIONS) + 1):
        image = render_page(data, number, OPTIONS).image or b""
        found.append(int(cv2.imdecode(np.frombuffer(image, np.uint8), 0)[5, 5]) // 20)
    return found


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([page(1), thumbnail(1)], [1]),
        ([page(1), thumbnail(1), page(2), thumbnail(2), page(3)], [1, 2, 3]),
        ([thumbnail(1), page(1), page(2)], [1, 2]),
        ([page(1, subfiletype=2), thumbnail(1, 3), page(2, subfiletype=2)], [1, 2]),
        ([page(1), mask(), page(2)], [1, 2]),
        ([page(1), mask(5)], [1]),
        ([page(1), old(2)], [1]),
        ([old(1), page(2)], [10, 2]),
        ([page(3, subfiletype=1)], [3]),
        ([page(1, subfiletype=1), page(2, subfiletype=1)], [1, 2]),
        ([page(1, subifds=1), thumbnail(1), page(2)], [1, 2]),
        ([page(1), page(2), page(3)], [1, 2, 3]),
    ],
)
def test_copies_and_masks_are_no_pages(frames: list[Frame], expected: list[int]) -> None:
    data = many(*frames)
    assert shown(data) == expected
    with pytest.raises(ItemFailure) as caught:
        render_page(data, len(expected) + 1, OPTIONS)
    assert caught.value.kind is FailureKind.PAGE_MISSING


def level(side: int, **how: object) -> Frame:
    return np.full((side, side + 16), 40, np.uint8), {"tile": (16, 16), **how}


def test_levels_of_a_pyramid_are_no_pages() -> None:
    unmarked = many(level(256), (np.zeros((128, 136), np.uint8), {"tile": (16, 16)}))
    assert shown(unmarked) == [2]
    geotiff = many(level(256), level(128, subfiletype=1), level(64, subfiletype=1))
    assert shown(geotiff) == [2]
    assert shown(many(level(256), level(256), level(200))) == [2, 2, 2]  # a stack of pages
    aperio = {"description": "Aperio Image Library v12\n240x256 [0,0 240x256] (16x16)"}
    label = (np.zeros((50, 40), np.uint8), {})
    assert shown(many(level(256, **aperio), label, level(64))) == [2]


@pytest.mark.parametrize("big", [False, True])
def test_no_frame_is_lost_where_the_chain_breaks(big: bool) -> None:
    """A pointer behind the end of the file, or into its middle: the pages behind are not known."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file, bigtiff=big) as writer:
        for number in range(3):
            writer.write(page(number)[0], contiguous=False, metadata=None)
    data = file.getvalue()
    places = [frame.offset for frame in tifffile.TiffFile(io.BytesIO(data)).pages]
    for wrong in (len(data) + 9, len(data) - 3):
        size = 8 if big else 4
        old, new = (place.to_bytes(size, "little") for place in (places[2], wrong))
        at = data.rindex(old, 0, places[2])
        with pytest.raises(ItemFailure) as caught:
            count_pages(data[:at] + new + data[at + size :], OPTIONS)
        assert caught.value.kind is FailureKind.CORRUPT_IMAGE
    for part in np.linspace(0.05, 0.98, 20):
        with pytest.raises(ItemFailure):
            shown(data[: int(len(data) * part)])


def test_a_frame_of_another_form_does_not_hide_its_neighbours() -> None:
    """Pillow reads no float colour, and with it no frame behind."""
    data = many((floats(), {"photometric": "rgb"}), page(2), page(3))
    assert count_pages(data, OPTIONS) == 3
    assert shown(data)[1:] == [2, 3]


def test_a_long_fax_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import pipelines.pages.pictures.tiff as module

    data, opened = many(*(page(n % 9) for n in range(40))), []
    real = module.TiffFile
    monkeypatch.setattr(module, "TiffFile", lambda file: opened.append(file) or real(file))
    assert len(shown(data)) == 40
    assert len(opened) == 1


def test_fax_and_jpeg_frames_are_drawn_as_pillow_draws_them(tmp_path: Path) -> None:
    frames = [drawn(f"Page {n}", (600, 200)) for n in range(3)]
    path = tmp_path / "fax.tif"
    bits = [frame.convert("1") for frame in frames]
    bits[0].save(path, save_all=True, append_images=bits[1:], compression="group4")
    data = path.read_bytes()
    assert count_pages(data, OPTIONS) == 3
    with Image.open(path) as file:
        for number in (3, 1, 2):
            file.seek(number - 1)
            image = render_page(data, number, OPTIONS).image or b""
            found = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_GRAYSCALE)
            np.testing.assert_array_equal(found, np.asarray(file.convert("L")))


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")
def test_the_case_has_one_page() -> None:
    data = (CASES / "with_thumbnail_page.tif").read_bytes()
    assert count_pages(data, OPTIONS) == 1
    only = render_page(data, 1, OPTIONS)
    assert (only.width, only.height) == (1240, 1754)
