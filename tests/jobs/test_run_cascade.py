"""The cascade through the real command, Ray and OCR, with an endpoint that the test controls."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.dataset as ds
import pytest
from bad_files import SAMPLES
from chat_server import Asked, ChatServer, Reply, chat_server, said, status
from conftest import write_config

GROCER, CAFE, FADED = "receipt_grocer.jpg", "receipt_cafe.jpg", "receipt_garage_faded.jpg"
BLANK, TYPED, TORN = "blank_page.png", "annual_report.pdf", "receipt_torn.jpg"
NAMES = (GROCER, CAFE, FADED, BLANK, TYPED, TORN)
#: No page is expected to be so good: all that OCR reads are in doubt.
LEAST = 1e-6
#: What `nightjar calibrate` writes, of one feature: the log odds of an error by the mean score.
CALIBRATION = {
    "version": 2,
    "counts_blanks": True,
    "confidence": 0.9,
    "promises": [{"floor": LEAST, "promised_cer": 0.01, "expected_cer": 0.005, "share": 0.5}],
    "features": ["mean_score"],
    "centre": [-4.0],
    "scale": [1.0],
    "coefficients": [1.0],
    "worst": [1.0],
    "intercept": -4.2,
    "engine": "rapid_ocr",
    "target_cer": 0.02,
    "floor": LEAST,
    "pages": 60,
    "files": 60,
    "sample_lines": 0,
    "characters": 30_000,
    "held_out": {
        "share_accepted": {"value": 0.7, "low": 0.6, "high": 0.8},
        "cer": None,
        "naive_cer": None,
        "cer_of_all": {"value": 0.03, "low": 0.02, "high": 0.04},
    },
    "created": "2026-11-21T00:00:00+00:00",
}
KEY = "a-key-for-the-tests"


def thumbnail(data: bytes) -> Any:
    gray = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    return cv2.resize(gray, (24, 24), interpolation=cv2.INTER_AREA).astype(float)


RECEIPTS = {name: thumbnail((SAMPLES / name).read_bytes()) for name in (GROCER, CAFE, FADED)}


def shown_to(asked: Asked) -> str:
    """Which receipt the picture of a request shows; "" for none of them."""
    url = asked.body["messages"][0]["content"][0]["image_url"]["url"]
    picture = thumbnail(base64.b64decode(url.partition(",")[2]))
    distances = {name: float(np.abs(picture - other).mean()) for name, other in RECEIPTS.items()}
    nearest = min(distances, key=lambda name: distances[name])
    return nearest if distances[nearest] < 4 else ""


def truth(name: str) -> str:
    return (SAMPLES / "truth" / f"{name}.page1.txt").read_text()


def answers(asked: Asked) -> Reply:
    """Right for the grocer after a 429, of another receipt for the cafe, 500 for all others."""
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    match shown_to(asked):
        case "receipt_grocer.jpg":
            return said(truth(GROCER))
        case "receipt_cafe.jpg":
            return said(truth(GROCER))
        case _:
            return status(500)


def run(nightjar: Any, folder: Path, base_url: str) -> list[dict[str, Any]]:
    (folder / "scans").mkdir(exist_ok=True)
    for name in NAMES:
        shutil.copy(SAMPLES / name, folder / "scans")
    vlm = {"base_url": base_url, "model": "reader", "api_key_env": "READER_KEY"}
    patience = {"attempts": 2, "first_wait_s": 0.05, "give_up_after": 50}
    (folder / "calibration.json").write_text(json.dumps(CALIBRATION))
    accept = {"target_cer": 0.01, "calibration": str(folder / "calibration.json")}
    strict = {"accept": accept}
    config = write_config(
        folder, folder / "scans", routing=strict, vlm=vlm | patience, vlm_pool={"num_cpus": 0.1}
    )
    ended = nightjar("run", config)
    assert ended.code == 0, ended.err
    assert KEY not in ended.out + ended.err + (folder / "run" / "run.json").read_text()
    rows: list[dict[str, Any]] = ds.dataset(folder / "run" / "shards").to_table().to_pylist()
    return rows


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READER_KEY", KEY)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as endpoint:
        endpoint.script = [status(429, {"Retry-After": "0.01"})]
        endpoint.always = answers
        yield endpoint


def test_only_pages_in_doubt_are_sent_and_only_confirmed_answers_taken(
    nightjar, tmp_path: Path, server: ChatServer
) -> None:
    rows = run(nightjar, tmp_path, server.base_url)
    assert len(rows) == len({row["row_id"] for row in rows}) == 8
    pages = {(Path(row["uri"]).name, row["page"]): row for row in rows}
    grocer, cafe, faded = (pages[name, 1] for name in (GROCER, CAFE, FADED))
    assert (grocer["outcome"], grocer["text"]) == ("vlm", truth(GROCER).strip())
    assert grocer["reasons"] == ["expected_cer_above_floor"]
    rates = [page["evidence"]["expected_cer"] for page in (grocer, cafe, faded)]
    assert all(LEAST < rate < 0.2 for rate in rates), rates
    assert cafe["outcome"] == "review"
    assert "vlm_disagrees" in cafe["reasons"]
    assert cafe["vlm_text"] == truth(GROCER).strip(), "both readings are kept"
    assert "CAFE" in cafe["text"].upper().replace("É", "E")
    assert faded["outcome"] == "review"
    assert faded["vlm_failure"]["kind"] == "VLM_UNREACHABLE"
    assert faded["vlm_usage"]["requests"] == 2
    assert pages[BLANK, 1]["outcome"] == "review"
    assert pages[BLANK, 1]["vlm_usage"] is None, "a blank page is not asked about"
    assert pages[TYPED, 1]["outcome"] == "native_text"
    assert pages[TYPED, 1]["vlm_usage"] is None
    assert pages[TORN, 1]["outcome"] == "failed"
    asked = [shown_to(one) for one in server.requests]
    assert (asked.count(GROCER), asked.count(CAFE)) in {(2, 1), (1, 2), (1, 1)}
    (session,) = json.loads((tmp_path / "run" / "run.json").read_text())["sessions"]
    assert session["stages"]["vlm"]["failures"]["VLM_UNREACHABLE"] >= 1


@pytest.mark.long
def test_without_an_endpoint_everything_in_doubt_is_reviewed(nightjar, tmp_path: Path) -> None:
    rows = run(nightjar, tmp_path, "http://127.0.0.1:9/v1")
    outcomes = {(Path(row["uri"]).name, row["page"]): row["outcome"] for row in rows}
    assert len(outcomes) == 8
    assert {outcomes[name, 1] for name in (GROCER, CAFE, FADED, BLANK)} == {"review"}
    grocer = next(row for row in rows if row["uri"].endswith(GROCER))
    assert "vlm_unreachable" in grocer["reasons"]
    assert "PELLING" in grocer["text"], "the first reading is kept"
