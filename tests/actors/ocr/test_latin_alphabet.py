"""`ocr.alphabet: latin`: no Han characters, and the same text where there is none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from actors.ocr.pp_ocr.latin import latin_classes
from actors.ocr.rapid_ocr import RapidOcr, RapidOcrConfig

FONT = "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"


def drawn(text: str) -> np.ndarray:
    """A BGR line (48, 640, 3)."""
    page = np.full((48, 640, 3), 255, np.uint8)
    cv2.putText(page, text, (8, 34), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (0, 0, 0), 2, cv2.LINE_AA)
    return page


def han() -> np.ndarray:
    """A line of Han, BGR (48, 400, 3)."""
    page = Image.new("RGB", (400, 48), "white")
    ImageDraw.Draw(page).text((8, 4), "中国人大王", fill="black", font=ImageFont.truetype(FONT, 36))
    return np.asarray(page)


def test_latin_classes_leave_out_han_kana_and_full_width() -> None:
    assert latin_classes(["", "a", "é", "米", "\uff0a", "*", "カ", "€", " "]).tolist() == [
        0,
        1,
        2,
        5,
        7,
        8,
    ]


@pytest.mark.skipif(not Path(FONT).exists(), reason="needs Debian's fonts-noto-cjk")
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_han_is_never_read_and_latin_stays_the_same(engine: str) -> None:
    lines = [drawn("Total 12.50 EUR"), han()]
    full, latin = (
        RapidOcr(RapidOcrConfig.model_validate({"engine": engine, "alphabet": name})).read_lines(
            lines
        )
        for name in ("any", "latin")
    )
    assert full[0][0] == latin[0][0] == "Total 12.50 EUR"
    assert full[0][1] == pytest.approx(latin[0][1])
    assert any("\u4e00" <= char <= "\u9fff" for char in full[1][0])
    assert latin[1][0].isascii()
    assert latin[1][1] is None or latin[1][1] < full[1][1]
