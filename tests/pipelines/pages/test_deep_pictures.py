"""Pictures of more than 8 bits a sample: one rule stretches them over the values that are there."""

from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from picture_formats import drawing, tiff, words

from pipelines.pages.notes import PageNote
from pipelines.pages.page import Page, RenderOptions
from pipelines.pages.pictures.levels import levels, stretched
from pipelines.pages.render import render_page

CASES = Path(__file__).parents[4] / "shared" / "cases" / "labels"
FLOAT_MAX = float(np.finfo(np.float32).max)

Gray = npt.NDArray[np.uint8]


def scene() -> npt.NDArray[np.float64]:
    """(200, 300), 0 to 1: a ramp, a dark disc and a bright one."""
    down, across = np.mgrid[0:200, 0:300]
    picture = 0.3 + 0.4 * across / 299 + 0.02 * np.random.default_rng(1).standard_normal((200, 300))
    picture[np.hypot(down - 100, across - 80) < 40] = 0.05
    picture[np.hypot(down - 100, across - 220) < 40] = 0.95
    return np.clip(picture, 0, 1)


def png(samples: npt.NDArray[np.uint16]) -> bytes:
    return cv2.imencode(".png", samples)[1].tobytes()


def rendered(data: bytes) -> tuple[Page, Gray]:
    page = render_page(data, 1, RenderOptions())
    image = cv2.imdecode(np.frombuffer(page.image or b"", np.uint8), cv2.IMREAD_UNCHANGED)
    return page, np.asarray(image, np.uint8)


def check_scene(gray: Gray, left_out: tuple[slice, slice] | None = None) -> None:
    """It looks as the scene does at full contrast."""
    seen = np.ones(gray.shape, bool)
    if left_out is not None:
        seen[left_out] = False
        assert gray[left_out].max() == 0
    assert np.corrcoef(gray[seen], scene()[seen])[0, 1] > 0.999
    assert gray[seen].min() < 5
    assert gray[seen].max() > 250
    assert levels(gray) > 100


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        (0, 4095, np.uint16),  # 12 of 16 bits
        (0, 1023, np.uint16),
        (300, 700, np.uint16),
        (31_744, 35_840, np.uint16),  # CT, shifted by 32,768
        (-1024, 3071, np.int16),  # CT
        (-1000, -200, np.int16),
        (250.0, 310.0, np.float32),  # kelvin
        (-1.0, 1.0, np.float64),
        (-32_000, 31_000, np.int16),
        (100_000, 900_000, np.int32),
        (0, 70_000, np.uint32),
    ],
)
def test_the_values_that_are_there_become_black_to_white(
    low: float, high: float, dtype: type
) -> None:
    samples = (low + (high - low) * scene()).astype(dtype)
    page, gray = rendered(tiff(samples))
    check_scene(gray)
    assert page.pixel_range == pytest.approx(
        (low + 0.05 * (high - low), low + 0.95 * (high - low)), abs=0.01 * (high - low)
    )
    assert page.notes == ()


@pytest.mark.parametrize(
    ("no_data", "declared"),
    [
        (np.nan, None),
        (np.inf, None),
        (-np.inf, None),
        (-9999.0, None),
        (-9999.0, "-9999"),
        (-32768.0, None),
        (-FLOAT_MAX, None),
        (FLOAT_MAX, "3.4028234663852886e+38"),
        (9999.0, "9999"),
        (-1e6, None),
        (1e20, None),
        (7.0, "7"),
        (-3.4e38, "-1.7976931348623157e+308"),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 3000.0])
def test_no_data_is_left_out(no_data: float, declared: str | None, scale: float) -> None:
    samples = (scale * scene()).astype(np.float32)
    hole = np.s_[60:140, 130:170]  # between the discs
    samples[hole] = no_data
    tags = [(42113, "s", 0, declared, True)] if declared else []
    page, gray = rendered(tiff(samples, extratags=tags))
    check_scene(gray, hole)
    assert page.pixel_range == pytest.approx((0.05 * scale, 0.95 * scale), abs=0.01 * scale)


@pytest.mark.parametrize(
    ("low", "high", "fill", "dtype"),
    [
        (0, 4095, 65535, np.uint16),
        (7000, 12_000, 0, np.uint16),  # Landsat: 0 outside of the scene
        (31_744, 35_840, 0, np.uint16),
        (0, 9000, 32767, np.int16),
        (-1024, 3000, -32768, np.int16),
        (0.0, 1.0, 9999.0, np.float32),
    ],
)
def test_padding_of_a_third_does_not_eat_the_range(
    low: float, high: float, fill: float, dtype: type
) -> None:
    samples = (low + (high - low) * scene()).astype(dtype)
    seen = samples[:140].copy()
    samples[140:] = fill
    page, gray = rendered(tiff(samples))
    assert page.pixel_range is not None
    assert levels(gray[:140]) > 50
    assert set(np.unique(gray[140:])) == {255 if fill > high else 0}
    if fill or low > 20_000:  # Landsat's 0 is too near to be left out; the grays suffice
        assert page.pixel_range == pytest.approx((seen.min(), seen.max()), rel=0.02, abs=0.02)


def test_a_drawing_of_two_or_three_grays_keeps_all_of_them() -> None:
    for grays in ((0, 65535), (0, 500), (0, 500, 1000), (0, 60_000, 65_535)):
        samples = np.repeat(np.asarray(grays, np.uint16), 40)[None].repeat(50, 0)
        _, gray = rendered(png(samples))
        assert levels(gray) == len(grays)


@pytest.mark.parametrize("share", [0.001, 0.9])
def test_integers_have_no_data_too(share: float) -> None:
    samples = (2000 * scene()).astype(np.int16)
    rows = np.s_[: max(1, round(200 * share)) if share > 0.5 else 1, :]
    samples[rows] = -9999
    _, gray = rendered(tiff(samples))
    assert levels(gray[180:]) > 100
    assert gray[rows].max() == 0


def test_a_transparent_gray_of_a_png_is_no_data() -> None:
    samples = (4000 * scene() + 90).astype(np.uint16)
    samples[60:140, 130:170] = 65535
    whole = png(samples)
    at = whole.index(b"IDAT") - 4
    body = b"tRNS" + (65535).to_bytes(2, "big")
    chunk = (2).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    _, gray = rendered(whole[:at] + chunk + whole[at:])
    check_scene(gray, np.s_[60:140, 130:170])


def test_a_few_hot_pixels_do_not_darken_the_picture() -> None:
    samples = (4095 * scene()).astype(np.uint16)
    samples[::40, ::60] = 65535  # 25 of 60,000
    _, gray = rendered(png(samples))
    assert gray[50:150, 200:240].mean() > 200


def test_a_photo_that_uses_its_16_bits_keeps_its_tone() -> None:
    """The high bytes, as before: no percentile, no shift of colours, no noise."""
    photo = words()
    page, _ = rendered(png(photo[..., ::-1]))
    assert page.pixel_range == (0, 65535)
    again = cv2.imdecode(np.frombuffer(page.image or b"", np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(again, drawing())


def test_colours_are_stretched_alike() -> None:
    """12 bits of colour in 16: nearly black before; the mixture of each colour is kept."""
    page, _ = rendered(png((words() >> 4)[..., ::-1]))
    again = cv2.imdecode(np.frombuffer(page.image or b"", np.uint8), cv2.IMREAD_COLOR_RGB)
    assert page.pixel_range == (0, 4095)
    assert np.abs(again.astype(int) - drawing()).max() <= 1


def test_a_blank_sheet_in_16_bits_stays_white() -> None:
    paper = np.random.default_rng(0).normal(64_000, 400, (300, 200)).clip(0, 65535)
    page, gray = rendered(png(paper.astype(np.uint16)))
    assert page.pixel_range == (0, 65535)
    assert gray.min() > 235


def test_one_line_of_text_on_a_deep_page_keeps_its_paper_clean() -> None:
    """The ink is 0.4 % of the page: percentiles that cut it off would stretch the paper's noise."""
    paper = np.random.default_rng(0).normal(3500, 30, (1000, 700))
    cv2.putText(paper, "Page 7 of 12, Minutes", (150, 500), 0, 1.0, 250.0, 2)
    _, gray = rendered(png(paper.clip(0, 4095).astype(np.uint16)))
    assert np.percentile(gray, 5) > 225
    assert gray.min() < 10


def test_white_is_zero_is_inverted_in_16_bits() -> None:
    samples = (65535 - 65535 * scene()).astype(np.uint16)
    _, gray = rendered(tiff(samples, photometric="miniswhite"))
    assert np.corrcoef(gray.ravel(), scene().ravel())[0, 1] > 0.999


@pytest.mark.parametrize(
    "samples",
    [
        np.full((90, 120), 1000, np.uint16),
        np.full((90, 120), np.nan, np.float32),
        1000 + np.random.default_rng(0).integers(0, 12, (90, 120)).astype(np.uint16),
        np.where(np.arange(120) < 60, 7, 9)[None].repeat(90, 0).astype(np.int16),
        np.full((90, 120), -9999, np.int16),
    ],
    ids=["equal", "nothing", "noise", "two", "no-data"],
)
def test_a_picture_with_few_grays_is_noted(samples: npt.NDArray[np.generic]) -> None:
    page, gray = rendered(tiff(samples))
    assert levels(gray) < 32
    assert page.notes == (PageNote.LOW_CONTRAST,)
    assert page.pixel_range is not None


def test_eight_bits_are_neither_stretched_nor_noted() -> None:
    for data in (tiff(np.full((9, 9), 100, np.uint8)), cv2.imencode(".png", np.zeros((9, 9)))[1]):
        page, _ = rendered(bytes(data))
        assert (page.pixel_range, page.notes) == (None, ())


def test_percentiles_of_a_part_are_those_of_the_whole() -> None:
    """The percentiles come from two of the three million samples."""
    samples = np.random.default_rng(0).integers(0, 4096, (1000, 1000, 3), np.uint16)
    found = stretched(samples, 16)
    assert (found.low, found.high) == pytest.approx((2, 4093), abs=2)
    assert found.pixels.shape == samples.shape


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")
@pytest.mark.parametrize(
    ("name", "expected"),
    [("gray16_12bit.png", (16, 3728)), ("float_nodata.tif", (0.008, 0.914))],
)
def test_the_case_shows_its_objects(name: str, expected: tuple[float, float]) -> None:
    page, gray = rendered((CASES / name).read_bytes())
    assert page.pixel_range == pytest.approx(expected, abs=0.001)
    assert page.notes == ()
    star, disc, ground = gray[50, 40], gray[75, 230], gray[220, 250]
    assert ground - 100 > max(star, disc)
