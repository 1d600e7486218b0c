"""Drawings on a page of which every text was read are no reason for a review, by a real reader."""

from __future__ import annotations

import io
from typing import Any, cast

import pyarrow as pa
import pytest
import skimage.data
from pictured_pages import OUTSIDE, written
from PIL import Image, ImageDraw

from actors.ocr.rapid_ocr import RapidOcr, RapidOcrConfig
from pipelines.decisions.error_model import PageModel
from pipelines.decisions.evidence import EvidenceValue
from pipelines.decisions.routing import RoutingConfig, measured_and_doubted


@pytest.fixture(scope="module")
def reader() -> RapidOcr:
    return RapidOcr(RapidOcrConfig(threads=1))


def illustrated(drawing: Image.Image | None) -> Image.Image:
    lines = [line for n in range(4) for line in (OUTSIDE[n % 3], OUTSIDE[(n + 1) % 3])]
    page = written(lines, 0, 255, pixels=24, size=(900, 1100))
    if drawing is not None:
        page.paste(drawing, (150, 450))
    return page


def sketch() -> Image.Image:
    """Curves and circles, as an engraver draws a lighthouse."""
    picture = Image.new("RGB", (600, 560), "white")
    pen = ImageDraw.Draw(picture)
    for n in range(40):
        pen.arc((20 + 7 * n, 30, 580, 540 - 6 * n), 20 + 3 * n, 200 + 4 * n, "black", 2)
    for n in range(12):
        pen.polygon([(300, 20), (250 - 4 * n, 520), (350 + 4 * n, 520)], outline="black")
    return picture


def read(reader: RapidOcr, page: Image.Image) -> Any:
    file = io.BytesIO()
    page.save(file, "PNG")
    (row,) = reader(pa.table({"image": pa.array([file.getvalue()], pa.binary())})).to_pylist()
    return row


MODEL = PageModel(
    features=("missed_ink",),
    centre=(0.0,),
    scale=(1.0,),
    coefficients=(0.0,),
    worst=(0.1,),
    intercept=-4.0,
)

PICTURES = {
    "sketch": sketch(),
    "brick": Image.fromarray(skimage.data.brick()).convert("RGB").resize((560, 560)),
    "rocket": Image.fromarray(skimage.data.rocket()).resize((600, 400)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_an_illustrated_page_is_accepted(reader: RapidOcr, name: str) -> None:
    row = read(reader, illustrated(PICTURES[name]))
    evidence, doubts = measured_and_doubted(row, RoutingConfig())
    assert evidence.lines == 8
    assert evidence.ink_covered is not None
    assert evidence.ink_covered < 0.7  # much ink is in no line
    assert doubts == []
    # With a calibration on pages without drawings, ink alone is no reason either.
    assert MODEL.expected_cer(evidence.as_value(), row["ocr_lines"]) == pytest.approx(
        0.018, abs=0.001
    )
    blind = evidence.as_value() | {"text_outside": 0.1}
    assert MODEL.expected_cer(cast(EvidenceValue, blind), row["ocr_lines"]) is None


def test_a_page_of_one_picture_has_no_text_and_is_not_called_blank(reader: RapidOcr) -> None:
    page = Image.fromarray(skimage.data.grass()).convert("RGB").resize((1100, 1100))
    evidence, doubts = measured_and_doubted(read(reader, page), RoutingConfig())
    assert evidence.lines == 0
    assert doubts == ["no_text_found"]


def test_an_empty_page_is_blank(reader: RapidOcr) -> None:
    blank = Image.new("RGB", (900, 1100), "white")
    assert measured_and_doubted(read(reader, blank), RoutingConfig())[1] == ["blank_page"]
