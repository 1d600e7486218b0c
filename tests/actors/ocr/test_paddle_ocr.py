"""PaddleOCR in its own environment (`make engines`), on the networks in rapidocr's wheel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pyarrow as pa
import pytest
from bad_files import drawn
from isolated_reader import Isolated
from PIL import Image

from actors.failures import SetupError
from actors.ocr.paddle_ocr import PaddleOcr, PaddleOcrConfig, Script
from actors.ocr.rapid_ocr import RapidOcr, RapidOcrConfig
from pipelines.engine import environments

PYTHON = environments.find("paddle_ocr")
isolated = pytest.mark.skipif(PYTHON is None, reason="no environment paddle_ocr: make engines")

TEXTS = ["Nightjar reads line 42", "TOTAL 12.50", "Invoice 2026-11-21", "alpha beta gamma", "x"]


@pytest.fixture(scope="module")
def there() -> Iterator[Isolated]:
    assert PYTHON
    child = Isolated(PYTHON)
    yield child
    child.close()


@pytest.fixture(scope="module")
def made_by(there: Isolated) -> dict[str, str]:
    """A reader with its defaults, called `reader`."""
    answer: dict[str, str] = there.ask("open", "reader", "actors.ocr.paddle_ocr", "PaddleOcr", {})
    return answer


def encoded(page: Image.Image) -> bytes:
    done, data = cv2.imencode(".png", np.asarray(page))
    assert done
    return data.tobytes()


def texts(row: dict[str, Any]) -> list[str]:
    return [line["text"] for line in row["ocr_lines"]]


def letters(lines: Sequence[str]) -> list[str]:
    return ["".join(line.split()) for line in lines]


@isolated
def test_a_line_comes_back_with_its_place_and_a_score(
    there: Isolated, made_by: dict[str, str]
) -> None:
    (row,) = there.ask("read", "reader", [encoded(drawn(TEXTS[0]))])
    (line,) = row["ocr_lines"]
    assert line["text"].replace(" ", "") == TEXTS[0].replace(" ", "")
    assert line["score"] > 0.9
    xs, ys = line["polygon"][::2], line["polygon"][1::2]
    assert 30 < min(xs) < 70
    assert 100 < min(ys) < max(ys) < 200
    assert row["ink_covered"] > 0.9
    assert row["ocr_engine"] == "paddle_ocr 3.7.0 PP-OCRv6_small onnxruntime cpu"
    assert made_by["engine"] == row["ocr_engine"]
    assert len(made_by["det_sha256"]) == len(made_by["rec_sha256"]) == 64


@isolated
def test_it_reads_what_its_own_pipeline_and_rapid_ocr_read(
    there: Isolated, made_by: dict[str, str]
) -> None:
    """Same weights: PaddleOCR's page loop, and the reader without PaddleOCR."""
    page = encoded(drawn("\n".join(TEXTS[:4]), size=(800, 736)))
    (row,) = there.ask("read", "reader", [page])
    library = there.ask("paddle_pipeline", page)
    assert texts(row) == [text for text, _, _ in library]
    for line, (_, score, polygon) in zip(row["ocr_lines"], library, strict=True):
        assert np.abs(np.array(line["polygon"]).reshape(4, 2) - polygon).max() <= 6  # pixels
        assert line["score"] == pytest.approx(score, abs=0.05)  # it pads to 320 columns
    rapid = RapidOcr(RapidOcrConfig(engine="onnxruntime"))
    (other,) = rapid(pa.table({"image": pa.array([page], pa.binary())})).to_pylist()
    assert letters(texts(row)) == letters(texts(other))  # rapid_ocr mends blanks


@isolated
def test_turned_pages_are_read_upright(there: Isolated, made_by: dict[str, str]) -> None:
    page = drawn("\n".join(TEXTS[:4]), size=(800, 736))
    pages = [encoded(page.rotate(-turn, expand=True)) for turn in (0, 90, 180, 270)]
    rows = there.ask("read", "reader", pages)
    assert [row["rotation"] for row in rows] == [0, 270, 180, 90]
    for row in rows[1:]:
        assert texts(row) == texts(rows[0])
        assert row["ocr_lines"][0]["polygon"] == rows[0]["ocr_lines"][0]["polygon"]


@isolated
def test_a_batch_reads_as_its_pages_alone(there: Isolated, made_by: dict[str, str]) -> None:
    pages = [encoded(drawn(f"{text}\nsecond line {i}")) for i, text in enumerate(TEXTS)]
    together = there.ask("read", "reader", pages)
    for page, row in zip(pages, together, strict=True):
        (alone,) = there.ask("read", "reader", [page])
        assert texts(row) == texts(alone)
        for a, b in zip(row["ocr_lines"], alone["ocr_lines"], strict=True):
            assert a["score"] == pytest.approx(b["score"], abs=0.001)
            assert a["polygon"] == b["polygon"]


@isolated
def test_an_undecodable_page_fails_alone(there: Isolated, made_by: dict[str, str]) -> None:
    page = encoded(drawn(TEXTS[1]))
    blank = encoded(Image.new("L", (700, 900), 240))
    out = there.ask("read", "reader", [page, b"no image at all", None, b"", blank, page])
    kinds = [(row["ocr_failure"] or {}).get("kind") for row in out]
    assert kinds == [None, "CORRUPT_IMAGE", None, "CORRUPT_IMAGE", None, None]
    assert texts(out[0]) == texts(out[5])
    assert out[2]["ocr_lines"] is None
    assert out[4]["ocr_lines"] == []


@isolated
@pytest.mark.parametrize(("engine", "package"), [("paddle", "paddle"), ("transformers", "torch")])
def test_an_engine_that_is_not_installed_is_named(
    there: Isolated, engine: str, package: str
) -> None:
    with pytest.raises(
        SetupError, match=f"engine {engine}: package {package} is missing"
    ) as caught:
        there.ask("open", "other", "actors.ocr.paddle_ocr", "PaddleOcr", {"engine": engine})
    assert caught.value.remedy.startswith(f"install {package}")


@isolated
@pytest.mark.long
def test_weights_that_cannot_be_downloaded_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a proxy that nobody listens at, and with no weights from before."""
    monkeypatch.setenv("PADDLE_PDX_CACHE_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert PYTHON
    cannot = "PaddleOCR cannot load korean_PP-OCRv5_mobile_rec with engine onnxruntime"
    with closing(Isolated(PYTHON)) as offline, pytest.raises(SetupError, match=cannot):
        offline.ask("open", "other", "actors.ocr.paddle_ocr", "PaddleOcr", {"script": "korean"})


@isolated
def test_missing_weights_are_named(there: Isolated, tmp_path: Path) -> None:
    config = {"rec_dir": str(tmp_path / "none")}
    with pytest.raises(SetupError, match=r"directory .*none does not exist"):
        there.ask("open", "other", "actors.ocr.paddle_ocr", "PaddleOcr", config)


@isolated
def test_every_script_has_a_recogniser_that_paddleocr_knows(there: Isolated) -> None:
    known = there.ask("paddle_models")
    for script in get_args(Script):
        assert PaddleOcrConfig(script=script).recogniser in known


@isolated
def test_its_environment_has_our_ray_and_arrow_and_its_own_numpy(there: Isolated) -> None:
    same = ("ray", "pyarrow", "pydantic")
    assert there.ask("versions", *same) == [version(one) for one in same]
    assert there.ask("versions", "numpy") != [version("numpy")]
    riders = ("pipelines.engine.workers.worker", "pipelines.ocr_backfill")
    heavy = there.ask("imported", riders, ("torch", "transformers", "openvino"))
    assert heavy == [], "what rides in a worker must not need our environment"


def test_in_our_own_environment_it_says_what_is_missing() -> None:
    with pytest.raises(SetupError, match="cannot import paddleocr") as caught:
        PaddleOcr(PaddleOcrConfig())
    assert "make engines" in caught.value.remedy


def test_a_script_names_its_recogniser_unless_one_is_named() -> None:
    assert PaddleOcrConfig().recogniser == "PP-OCRv6_small_rec"
    assert PaddleOcrConfig(script="korean").recogniser == "korean_PP-OCRv5_mobile_rec"
    assert PaddleOcrConfig(script="korean", rec_model="mine").recogniser == "mine"
