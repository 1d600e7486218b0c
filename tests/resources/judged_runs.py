"""Runs beside their truth: labels on images of 640 x 480, random or by hand, and pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hand_made_runs import CLASSES, IMAGES, write_run
from labelled_runs import SCHEMA, write_truth
from pycocotools import mask as coco

from pipelines.review.importing import REVIEWED
from pipelines.runs.directory import RunDir

WIDTH, HEIGHT = 640, 480
STAR, BLUE, HOUSE = CLASSES
Box = tuple[float, float, float, float]


def rle(box: Box) -> dict[str, Any]:
    """The mask of a whole box."""
    x0, y0, x1, y1 = map(round, box)
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    pixels[y0:y1, x0:x1] = 1
    made = coco.encode(pixels)
    return {"counts": made["counts"].decode(), "size": [HEIGHT, WIDTH]}


def label(name: str, box: Box, score: float | None = 0.9, **changes: Any) -> dict[str, Any]:
    """A label with a mask that fills its box; below 0.5 a candidate."""
    made = {
        "class": name,
        "score": score,
        "box": list(box),
        "mask": rle(box),
        "mask_iou": 0.95,
        "box_agreement": 1.0,
        "prompt": name,
        "source": "grounding_dino",
        "reasons": [] if score is None or score >= 0.5 else ["below_threshold"],
    }
    return made | changes


def image(
    row_id: int, uri: str, labels: list[dict[str, Any]] | None, **changes: Any
) -> dict[str, Any]:
    """A row; None: it failed."""
    row = {
        "row_id": row_id,
        "uri": uri,
        "page": 1,
        "pages": 1,
        "etag": "v1",
        "bytes": 1,
        "kind": "jpeg",
        "width": WIDTH,
        "height": HEIGHT,
        "fetch_failure": None,
        "outcome": "failed" if labels is None else "accepted",
        "reasons": [],
        "instances": labels,
    }
    return row | changes


def run_of(folder: Path, rows: list[dict[str, Any]]) -> RunDir:
    """In `folder`; in two shards, if there are rows for two."""
    shards = [rows[::2], rows[1::2]] if len(rows) > 1 else [rows]
    return write_run(folder, "autolabel", IMAGES, *shards)


def truth_of(path: Path, objects: dict[str, list[tuple[str, Box]]], **extra: Any) -> Path:
    """COCO instances with masks, on images of these file names; `extra` goes into every object."""
    annotations = [
        {
            "id": 0,
            "image_id": number,
            "category_id": CLASSES.index(name) + 5,
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "area": (box[2] - box[0]) * (box[3] - box[1]),
            "segmentation": rle(box),
            "iscrowd": 0,
            **extra,
        }
        for number, found in enumerate(objects.values())
        for name, box in found
    ]
    dataset = {
        "images": [
            {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT}
            for number, name in enumerate(objects)
        ],
        "annotations": [one | {"id": number} for number, one in enumerate(annotations, 1)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES, 5)],
    }
    path.write_text(json.dumps(dataset))
    return path


def random_box(random: np.random.Generator) -> Box:
    """Small, medium or large as COCO has it."""
    side = float(random.choice([20, 60, 150])) * random.uniform(0.8, 1.2)
    x, y = random.uniform(0, WIDTH - side), random.uniform(0, HEIGHT - side)
    return round(x, 1), round(y, 1), round(x + side, 1), round(y + side, 1)


def nudged(box: Box, random: np.random.Generator) -> Box:
    """Near enough to be found, or not."""
    side = box[2] - box[0]
    x, y = random.normal(0, 0.05 * side, 2)
    x0, y0 = max(box[0] + x, 0), max(box[1] + y, 0)
    return x0, y0, min(x0 + side, WIDTH), min(y0 + side, HEIGHT)


def random_labels(
    objects: list[tuple[str, Box]], random: np.random.Generator
) -> list[dict[str, Any]]:
    """Most objects found, some under another name, some not; and ghosts."""
    found = []
    for name, box in objects:
        if random.random() < 0.85:
            said = name if random.random() < 0.9 else str(random.choice(CLASSES))
            score = round(random.uniform(0.3, 1), 4)
            found.append(label(said, nudged(box, random), score))
    ghosts = range(int(random.poisson(0.8)))
    found += [
        label(str(random.choice(CLASSES)), random_box(random), round(random.uniform(0.1, 0.8), 4))
        for _ in ghosts
    ]
    return found


def random_world(folder: Path, images: int, seed: int) -> tuple[RunDir, Path]:
    """A run with labels and candidates in `folder`/run, and its truth."""
    random = np.random.default_rng(seed)
    objects, rows = {}, []
    for number in range(images):
        count = int(random.poisson(2.0))
        true = [(str(random.choice(CLASSES)), random_box(random)) for _ in range(count)]
        name = f"{number:03d}.jpg"
        objects[name] = true
        kind = "png" if number % 3 == 0 else "jpeg"
        outcome = "accepted" if random.random() < 0.6 else "review"
        labels = random_labels(true, random)
        rows.append(image(number, f"/images/{name}", labels, kind=kind, outcome=outcome))
    run = run_of(folder / "run", rows)
    record = run.read_record()
    record["config"]["detector"]["min_score"] = 0.1
    run.write_record(record)
    return run, truth_of(folder / "truth.json", objects)


def review(run: RunDir, answers: list[tuple[int, str, Any]]) -> None:
    """Answers as `nightjar review import` writes them; a text or labels."""
    (run.path / "reviewed").mkdir()
    rows = [
        {
            "row_id": row_id,
            "verdict": verdict,
            "instances": answer if isinstance(answer, list) else None,
            "text": answer if isinstance(answer, str) else None,
            "reviewed_at": "2026-11-21T10:00:00.000000+00:00",
        }
        for row_id, verdict, answer in answers
    ]
    table = pa.Table.from_pylist(rows, REVIEWED)
    pq.write_table(table, run.path / "reviewed" / "review-1.parquet")


def pages_run(folder: Path, rows: list[dict[str, Any]], truth: dict[str, list[str]]) -> RunDir:
    """A run in `folder`/run, and SROIE truth by file name in `folder`/truth."""
    (folder / "truth").mkdir(parents=True)
    for name, lines in truth.items():
        write_truth(folder / "truth" / f"{name}.csv", lines)
    schema = SCHEMA.append(pa.field("vlm_text", pa.string()))
    return write_run(folder / "run", "ocr_backfill", schema, rows)
