"""The reader with its real networks, on generated pages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from bad_files import SAMPLES, drawn
from PIL import Image, ImageDraw, ImageFont
from rapidocr import RapidOCR

from actors.failures import SetupError
from actors.ocr.pp_ocr.detection import DetectionConfig, text_outside
from actors.ocr.rapid_ocr import RapidOcr, RapidOcrConfig

TEXTS = ["Nightjar reads line 42", "TOTAL 12.50", "Invoice 2026-11-21", "alpha beta gamma", "x"]


AFFINITIES = """
import json, os, sys, time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
import pyarrow as pa
from actors.ocr.rapid_ocr import RapidOcr, RapidOcrConfig

reader = RapidOcr(RapidOcrConfig())
page, seen = Path(sys.argv[1]).read_bytes(), set()
with ThreadPoolExecutor(1) as pool:
    reading = pool.submit(reader, pa.table({"row_id": [0, 1, 2, 3], "image": [page] * 4}))
    while not reading.done():
        for thread in Path("/proc/self/task").iterdir():
            with suppress(ProcessLookupError):
                seen.add(tuple(sorted(os.sched_getaffinity(int(thread.name)))))
        time.sleep(0.005)
assert all(reading.result()["ocr_lines"].to_pylist())
print(json.dumps([*seen]))
"""  # which cores the threads of a reading process may use


@pytest.fixture(scope="module")
def reader() -> RapidOcr:
    return RapidOcr(RapidOcrConfig())


def encoded(page: Image.Image) -> bytes:
    done, data = cv2.imencode(".png", np.asarray(page))
    assert done
    return data.tobytes()


def read(reader: RapidOcr, images: Sequence[bytes | None]) -> list[dict[str, Any]]:
    rows = pa.table({"row_id": range(len(images)), "image": pa.array(images, pa.binary())})
    out = reader(rows)
    assert out.schema.equals(pa.schema([*rows.schema, *reader.writes]))
    assert out["row_id"].to_pylist() == list(range(len(images)))
    return out.to_pylist()


def texts(row: dict[str, Any]) -> list[str]:
    return [line["text"] for line in row["ocr_lines"]]


def letters(lines: Sequence[str]) -> list[str]:
    return ["".join(line.split()) for line in lines]


def test_a_line_comes_back_with_its_place_and_a_score(reader: RapidOcr) -> None:
    (row,) = read(reader, [encoded(drawn(TEXTS[0]))])
    (line,) = row["ocr_lines"]
    assert line["text"].replace(" ", "") == TEXTS[0].replace(" ", "")
    assert line["score"] > 0.9
    xs, ys = line["polygon"][::2], line["polygon"][1::2]
    assert 30 < min(xs) < 70
    assert 100 < min(ys) < max(ys) < 200
    assert row["ink_covered"] > 0.9
    assert row["ocr_engine"].startswith("rapid_ocr 3.10")


def test_a_batch_reads_as_its_pages_alone(reader: RapidOcr) -> None:
    """Same texts; scores to 0.02, since bf16 rounds differently by batch shape."""
    pages = [encoded(drawn(f"{text}\nsecond line {i}")) for i, text in enumerate(TEXTS)]
    together = read(reader, pages)
    for page, row in zip(pages, together, strict=True):
        (alone,) = read(reader, [page])
        assert texts(row) == texts(alone)
        for a, b in zip(row["ocr_lines"], alone["ocr_lines"], strict=True):
            assert a["score"] == pytest.approx(b["score"], abs=0.02)
            assert a["polygon"] == b["polygon"]


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_in_f32_it_reads_what_rapidocr_reads(engine: Any) -> None:
    """Our graphs, packing and line finding against the library's own page loop."""
    ours = RapidOcr(RapidOcrConfig(engine=engine, precision="f32"))
    library = RapidOCR(params={"Global.use_cls": False, "Global.log_level": "error"})
    page = np.asarray(drawn("\n".join(TEXTS[:4]), size=(800, 600)).convert("RGB"))[..., ::-1]
    (row,) = read(ours, [encoded(drawn("\n".join(TEXTS[:4]), size=(800, 600)))])
    expected = library(np.ascontiguousarray(page))
    assert letters(texts(row)) == letters(expected.txts)  # we mend blanks
    for line, box, score in zip(row["ocr_lines"], expected.boxes, expected.scores, strict=True):
        assert np.abs(np.array(line["polygon"]).reshape(4, 2) - box).max() <= 2  # pixels
        assert line["score"] == pytest.approx(score, abs=0.03)  # it pads to 320 columns


def test_an_undecodable_page_fails_alone(reader: RapidOcr) -> None:
    page = encoded(drawn(TEXTS[1]))
    out = read(reader, [page, b"no image at all", None, b"", page])
    kinds = [(row["ocr_failure"] or {}).get("kind") for row in out]
    assert kinds == [None, "CORRUPT_IMAGE", None, "CORRUPT_IMAGE", None]
    assert texts(out[0]) == texts(out[4])
    assert out[2]["ocr_lines"] is None
    assert out[2]["ocr_engine"] is None


def test_a_blank_page_has_no_lines_and_no_ink(reader: RapidOcr) -> None:
    noisy = np.random.default_rng(1).normal(236, 6, (900, 700)).clip(0, 255).astype(np.uint8)
    (row,) = read(reader, [encoded(Image.fromarray(noisy))])
    assert row["ocr_lines"] == []
    assert row["ink_share"] < 0.002


def test_a_picture_without_words_leaves_its_ink_unexplained(reader: RapidOcr) -> None:
    page = drawn(TEXTS[1], size=(900, 900))
    ImageDraw.Draw(page).ellipse((300, 500, 700, 860), outline=0, width=14)
    (row,) = read(reader, [encoded(page)])
    assert row["ink_covered"] < 0.6


def test_text_outside_the_lines_is_what_the_detector_sees_and_the_reader_leaves_out() -> None:
    page = encoded(drawn("\n".join(TEXTS[:2])))
    strict = RapidOcrConfig(detection=DetectionConfig(box_threshold=0.9))
    found = [
        (len(row["ocr_lines"]), row["text_outside"])
        for config in (RapidOcrConfig(), strict)
        for row in read(RapidOcr(config), [page])
    ]
    assert found == [(2, pytest.approx(0, abs=0.002)), (0, 1.0)]


def test_half_seen_text_counts_by_its_probability() -> None:
    seen = np.zeros((100, 200), np.float32)
    seen[20:30, 20:120], seen[60:70, 20:120], seen[80:90, :] = (
        0.9,
        0.1,
        0.04,
    )  # a line, faint, noise
    quad = np.array([[[36, 36], [244, 36], [244, 64], [36, 64]]], np.float32)  # at twice the size
    assert text_outside(seen, quad, (200, 400)) == pytest.approx(0.1)
    assert text_outside(seen, quad[:0], (200, 400)) == 1
    assert text_outside(seen * 0, quad, (200, 400)) is None


def test_faint_lines_are_kept_with_their_low_scores(reader: RapidOcr) -> None:
    """RapidOCR drops what scores below 0.5; here the router decides."""
    faded = (SAMPLES / "receipt_garage_faded.jpg").read_bytes()
    (row,) = read(reader, [faded])
    scores = [line["score"] for line in row["ocr_lines"] if line["score"] is not None]
    assert len(scores) > 10
    assert min(scores) < 0.9 < max(scores)


def test_large_pages_are_read_at_full_resolution(reader: RapidOcr) -> None:
    """An A4 page at 300 dpi: the detector sees 2,000 pixels, the crops come from all 3,508."""
    page = Image.new("L", (2480, 3508), 255)
    font = ImageFont.load_default(34)
    for i in range(10):
        line = f"small print in row {i} of 9"
        ImageDraw.Draw(page).text((200, 300 + 330 * i), line, fill=0, font=font)
    (row,) = read(reader, [encoded(page)])
    expected = [f"smallprintinrow{i}of9" for i in range(10)]
    assert [text.replace(" ", "") for text in texts(row)] == expected
    assert 3250 < row["ocr_lines"][-1]["polygon"][1] < 3300


def test_short_lines_are_not_turned_upside_down(reader: RapidOcr) -> None:
    """RapidOCR's line classifier, on by default, turns some: No.00999 became 66600.oN."""
    (row,) = read(reader, [encoded(drawn("No.00999", (320, 240), 40))])
    assert "".join(texts(row)).replace(" ", "") == "No.00999"


def test_no_thread_is_bound_to_one_core(tmp_path: Path) -> None:
    """OpenVINO's way is to pin: then all workers of a machine share core 0.

    In a process of its own: here, threads of the library's sessions, which pin, may still live.
    """
    page = tmp_path / "page.png"
    page.write_bytes(encoded(drawn("\n".join(TEXTS), size=(1200, 1600))))
    done = subprocess.run(
        [sys.executable, "-c", AFFINITIES, page], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [sorted(os.sched_getaffinity(0))]


def test_asking_for_cuda_without_cuda_is_an_error_not_a_fallback() -> None:
    with pytest.raises(SetupError, match="onnxruntime-cuda") as caught:
        RapidOcr(RapidOcrConfig(engine="onnxruntime-cuda"))
    assert "openvino" in caught.value.remedy


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"model file .*none\.onnx does not exist"):
        RapidOcr(RapidOcrConfig(rec_model=tmp_path / "none.onnx"))


def test_provenance_names_engine_and_digests(reader: RapidOcr) -> None:
    made_by = reader.provenance()
    assert made_by["engine"] == reader.engine
    assert len(made_by["det_sha256"]) == len(made_by["rec_sha256"]) == 64


def test_the_time_table_knows_the_steps(reader: RapidOcr) -> None:
    reader.seconds.clear()
    read(reader, [encoded(drawn(TEXTS[0]))])
    assert set(reader.seconds) == {
        *("decode", "detect", "turn", "crop", "ink", "recognise", "scripts", "order")
    }
