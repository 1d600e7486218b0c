"""Pages whose pixels are turned are found and read upright, with the real networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from bad_files import SAMPLES, drawn
from cv2.typing import MatLike

from actors.images.turning import turned, turned_file, turned_polygon, turned_size
from actors.ocr.rapid_ocr import RapidOcr, RapidOcrConfig

WORDS = Path(__file__).resolve().parents[2] / "resources" / "words"
DIRECTIONS = (0, 90, 180, 270)
BACK = [0, 270, 180, 90]


@pytest.fixture(scope="module")
def reader() -> RapidOcr:
    return RapidOcr(RapidOcrConfig())


def file_of(pixels: MatLike) -> bytes:
    done, data = cv2.imencode(".png", pixels)
    assert done
    return data.tobytes()


def pixels_of(path: Path) -> MatLike:
    pixels = cv2.imread(str(path))
    assert pixels is not None
    return pixels


def read(reader: RapidOcr, files: Sequence[bytes]) -> list[dict[str, Any]]:
    out = reader(pa.table({"image": pa.array(files, pa.binary())}))
    rows: list[dict[str, Any]] = out.to_pylist()
    return rows


def in_four_directions(reader: RapidOcr, page: MatLike) -> list[dict[str, Any]]:
    return read(reader, [file_of(turned(page, turn)) for turn in DIRECTIONS])


def test_a_page_reads_the_same_in_all_directions(reader: RapidOcr) -> None:
    page = pixels_of(SAMPLES / "receipt_cafe.jpg")
    rows = in_four_directions(reader, page)
    assert [row["rotation"] for row in rows] == BACK
    assert len(rows[0]["ocr_lines"]) > 10
    for row in rows[1:]:
        for name in ("text", "polygon", "row", "column"):
            assert [line[name] for line in row["ocr_lines"]] == [
                line[name] for line in rows[0]["ocr_lines"]
            ]
        assert row["ink_covered"] == rows[0]["ink_covered"]


@pytest.mark.parametrize("name", ["vertical_japanese.png", "vertical_slanted_single.png"])
def test_columns_of_japanese_and_chinese_run_down_on_an_upright_page(
    reader: RapidOcr, name: str
) -> None:
    rows = in_four_directions(reader, pixels_of(WORDS / name))
    assert [row["rotation"] for row in rows] == BACK
    texts = [[line["text"] for line in row["ocr_lines"]] for row in rows]
    assert texts[0]
    assert texts == [texts[0]] * 4


def test_pages_with_little_text_or_none_stay_as_they_are(reader: RapidOcr) -> None:
    few, blank = np.asarray(drawn("No 7")), np.full((900, 700), 250, np.uint8)
    rows = read(reader, [file_of(turned(few, turn)) for turn in DIRECTIONS] + [file_of(blank)])
    assert [row["rotation"] for row in rows] == [0] * 5


def test_turning_can_be_switched_off() -> None:
    page = np.asarray(drawn("A page that is upside down\nand stays it"))
    (row,) = read(RapidOcr(RapidOcrConfig(turn_pages=False)), [file_of(turned(page, 180))])
    assert row["rotation"] is None
    assert row["ocr_lines"]


@pytest.mark.parametrize("degrees", DIRECTIONS)
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_files_and_polygons_turn_alike(degrees: int, suffix: str) -> None:
    page = np.full((60, 100, 3), 255, np.uint8)
    page[10:20, 30:70] = (0, 0, 255)
    done, data = cv2.imencode(suffix, page)
    assert done
    file = turned_file(data.tobytes(), degrees)
    found = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    assert (found.shape[1], found.shape[0]) == turned_size((100, 60), degrees)
    polygon = turned_polygon([30, 10, 70, 10, 70, 20, 30, 20], degrees, (100, 60))
    rows, columns = np.nonzero(found[:, :, 0] < 128)
    assert [min(polygon[::2]), max(polygon[::2])] == [columns.min(), columns.max() + 1]
    assert [min(polygon[1::2]), max(polygon[1::2])] == [rows.min(), rows.max() + 1]
    assert (file == data.tobytes()) == (degrees == 0)
    back = turned_polygon(polygon, -degrees % 360, turned_size((100, 60), degrees))
    assert back == [30, 10, 70, 10, 70, 20, 30, 20]
