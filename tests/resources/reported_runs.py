"""Runs to report on: many synthetic rows, written as the pipelines write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hand_made_runs import IMAGES, PAGES, label, page, scan, stored, write_run
from PIL import Image

from actors.failures import FailureKind, failure
from pipelines.runs.directory import RunDir

CLASSES = ("red star", "blue star", "green house")
LABELLED = pa.schema([*IMAGES, pa.field("detect_failure", IMAGES.field("fetch_failure").type)])


def images_run(folder: Path, rows: int, shards: int = 1, seed: int = 0) -> RunDir:
    """An autolabel run of `rows` images on 20 files: 80 % accepted, 15 % review, 5 % failed.

    One row of all has the class `green house` and the reason `touches_border`.
    """
    random = np.random.default_rng(seed)
    files = [_noise(folder / "files" / f"{n:02d}.jpg", random) for n in range(20)]
    stored_rows = [_image(n, files[n % 20], random) for n in range(rows)]
    rare = label("green house", (0, 10, 60, 50), reasons=["touches_border"])
    stored_rows[rows // 2] |= {
        "outcome": "review",
        "reasons": ["touches_border"],
        "instances": [rare],
        "detect_failure": None,
        "fetch_failure": None,
    }
    parts = np.array_split(np.arange(rows), shards)
    tables = [[stored_rows[n] for n in part] for part in parts]
    return write_run(folder / "run", "autolabel", LABELLED, *tables)


def _noise(path: Path, random: np.random.Generator) -> Path:
    """A picture that no codec makes small."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = random.integers(0, 255, (120, 160, 3), np.uint8, endpoint=True)
    Image.fromarray(pixels).save(path, quality=90)
    return path


_BOXES = [(8, 8, 60, 50), (30, 40, 120, 110), (70, 10, 150, 90), (5, 60, 50, 115)]


def _image(number: int, path: Path, random: np.random.Generator) -> dict[str, Any]:
    kind = random.random()
    if kind < 0.05:
        fault = failure(FailureKind.CORRUPT_IMAGE, f"{path} is torn")
        return stored(
            number,
            path,
            outcome="failed",
            reasons=["CORRUPT_IMAGE"],
            fetch_failure=fault,
            instances=None,
            detect_failure=None,
        )
    doubtful = kind < 0.2
    labels = [
        _label(CLASSES[int(random.integers(2))], _BOXES[n], float(random.uniform(0.3, 1)), doubtful)
        for n in range(int(random.integers(1, 5)))
    ]
    return stored(
        number,
        path,
        outcome="review" if doubtful else "accepted",
        reasons=["score_in_review_band", "low_mask_iou"] if doubtful else [],
        instances=labels,
        detect_failure=None,
    )


_DRAWN = {box: label("any", box) for box in _BOXES}


def _label(
    name: str, box: tuple[int, int, int, int], score: float, doubtful: bool
) -> dict[str, Any]:
    reasons = ["below_threshold"] if score < 0.5 else ["low_mask_iou"] if doubtful else []
    return _DRAWN[box] | {"class": name, "score": score, "reasons": reasons}


def pages_run(folder: Path, rows: int, lines: int = 30, seed: int = 0) -> RunDir:
    """An OCR run of `rows` pages of one scan: 70 % ocr, 20 % native text, 10 % review."""
    random = np.random.default_rng(seed)
    path = scan(folder / "files" / "page.png", "some words", (600, 800))
    text = "\n".join(f"line {n} of some words that were read" for n in range(lines))
    found = [page(n, path, text, 0.99) for n in range(rows)]
    for row, kind in zip(found, random.random(rows), strict=True):
        for number, line in enumerate(row["lines"]):
            top = 20.0 * number + 10
            line["score"] = float(random.uniform(0.6, 1))
            line["polygon"] = [20.0, top, 500.0, top, 500.0, top + 16, 20.0, top + 16]
        review = kind < 0.1
        row |= {"outcome": "review" if review else "ocr" if kind < 0.8 else "native_text"}
        row |= {"reasons": ["mean_score_below_floor"] if review else []}
    return write_run(folder / "run", "ocr_backfill", PAGES, found)


def rows_of(run: RunDir) -> list[dict[str, Any]]:
    """All rows of a run, as Python objects."""
    tables = [pq.read_table(path) for path in run.shard_files()]
    found: list[dict[str, Any]] = pa.concat_tables(tables).to_pylist()
    return found
