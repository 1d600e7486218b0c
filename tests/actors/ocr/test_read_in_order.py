"""The reader with its networks: order, rows and vertical lines of real pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa
import pytest
from bad_files import SAMPLES

from actors.lines import page_text
from actors.ocr.rapid_ocr import RapidOcr, RapidOcrConfig

REPOSITORY = Path(__file__).parents[3]
sys.path.append(str(REPOSITORY / "benchmarks"))
WORDS = REPOSITORY / "tests/resources/words"


@pytest.fixture(scope="module")
def reader() -> RapidOcr:
    return RapidOcr(RapidOcrConfig())


def lines_of(reader: RapidOcr, data: bytes) -> list[Any]:
    return reader(pa.table({"image": pa.array([data], pa.binary())}))["ocr_lines"].to_pylist()[0]


def test_prices_stand_beside_their_items(reader: RapidOcr) -> None:
    lines = lines_of(reader, (SAMPLES / "receipt_cafe.jpg").read_bytes())
    rows = page_text(lines).split("\n")
    assert rows[3].startswith("TABLE 7\tSERVER")
    assert "Flat white\t7.60" in rows
    assert "1\tCrème brûlée\t5.25" in rows
    assert "TOTAL\tGBP 38.23" in rows
    assert "CARD **** 4417\t38.23" in rows


def test_vertical_lines_from_right_to_left(reader: RapidOcr) -> None:
    lines = lines_of(reader, (WORDS / "vertical_japanese.png").read_bytes())
    assert page_text(lines).split("\n") == ["この日本語の文章は", "複数の列に", "分かれています"]


def test_a_vertical_line_that_leans_is_cut_along_its_long_side(reader: RapidOcr) -> None:
    (line,) = lines_of(reader, (WORDS / "vertical_slanted_single.png").read_bytes())
    text = "国破山河在城春草木深感時花濺涙恨別鳥驚心烽火連三月家書抵万金白頭搔更短渾欲不勝簪"
    assert line["text"].replace("掻", "搔") == text  # two forms of one character
    x, y = line["polygon"][::2], line["polygon"][1::2]
    assert y[0] < y[3]  # the first corner is the top left one
    assert x[0] < x[1]


def test_columns_at_three_degrees(reader: RapidOcr) -> None:
    from parts.pages.ordered_pages import page

    sheet = page("two columns", 3)
    data = cv2.imencode(".png", sheet.image(3.0))[1].tobytes()
    found = [line["text"] for line in lines_of(reader, data)]
    true = [line.text for line in sheet.lines]
    places = [true.index(text) for text in found if text in true]
    assert len(places) > 0.6 * len(true)
    assert places == sorted(places)
