"""Finished runs of both jobs, made by hand: real files, shards and run.json, no models, no Ray."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw
from pycocotools import mask as coco

from actors.failures import FAILURE
from actors.lines import LINES
from pipelines.decisions.triage import LABELS, TriageConfig
from pipelines.pages.fetch import FetchConfig
from pipelines.runs.directory import RunDir
from pipelines.sources.manifest import MANIFEST

EVIDENCE = pa.struct(
    [
        ("characters", pa.int32()),
        ("mean_score", pa.float32()),
        ("ink_covered", pa.float32()),
        ("text_outside", pa.float32()),
        ("expected_cer", pa.float32()),
    ]
)
_COMMON = [
    *MANIFEST,
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("fetch_failure", FAILURE),
    pa.field("outcome", pa.string()),
    pa.field("reasons", pa.list_(pa.string())),
]
PAGES = pa.schema(
    [
        *_COMMON,
        pa.field("text", pa.string()),
        pa.field("text_source", pa.string()),
        pa.field("lines", LINES),
        pa.field("evidence", EVIDENCE),
        pa.field("vlm_text", pa.string()),
        pa.field("vlm_model", pa.string()),
        pa.field("vlm_failure", FAILURE),
    ]
)
IMAGES = pa.schema([*_COMMON, pa.field("instances", LABELS)])

CLASSES = ("red star", "blue star", "green house")
ONTOLOGY = {"threshold": 0.5, "classes": {name: {} for name in CLASSES}}


def write_run(path: Path, job: str, schema: pa.Schema, *shards: list[dict[str, Any]]) -> RunDir:
    """A run directory with these shards and the record that `pipelines.run.Run.opened` writes."""
    run = RunDir(path)
    run.create()
    config: dict[str, Any] = {"fetch": FetchConfig().model_dump(mode="json")}
    if job == "autolabel":
        config |= {"detector": {"ontology": ONTOLOGY}}
        config |= {"triage": TriageConfig().model_dump(mode="json")}
    run.write_record({"job": job, "config": config})
    for number, rows in enumerate(shards):
        table = pa.Table.from_pylist(rows, schema)
        pq.write_table(table, run.shards / f"part-00000-{number}.parquet")
    return run


def stored(row_id: int, path: Path, **changes: Any) -> dict[str, Any]:
    """The columns that every row has, for a one-page file on disk that waits for review."""
    there = path.exists()
    width, height = Image.open(path).size if there else (None, None)
    row = {
        "row_id": row_id,
        "uri": str(path),
        "page": 1,
        "pages": 1,
        "etag": None,
        "bytes": path.stat().st_size if there else 0,
        "kind": path.suffix[1:].replace("jpg", "jpeg"),
        "width": width,
        "height": height,
        "fetch_failure": None,
        "outcome": "review",
        "reasons": ["mean_score_below_floor"],
    }
    return row | changes


def page(row_id: int, path: Path, text: str | None, score: float, **changes: Any) -> dict[str, Any]:
    """A page that was read as `text`, all lines with this score, all ink explained."""
    lines = (text or "").split("\n")
    found = [{"text": t, "score": score, "polygon": [8, 8, 90, 8, 90, 20, 8, 20]} for t in lines]
    evidence = {
        "characters": sum(map(len, lines)),
        "mean_score": score,
        "ink_covered": 1.0,
        "text_outside": 0.0,
        "expected_cer": None,
    }
    read = {
        "text": text,
        "text_source": "rapid_ocr 3.10",
        "lines": found,
        "evidence": evidence,
        **dict.fromkeys(("vlm_text", "vlm_model", "vlm_failure")),
    }
    unread = dict.fromkeys(read)
    return stored(row_id, path, **(unread if text is None else read)) | changes


def scan(path: Path, text: str, size: tuple[int, int] = (120, 60)) -> Path:
    """A page on disk, as its suffix says; JPEG or PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("L", size, "white")
    ImageDraw.Draw(image).text((8, 8), text, fill="black")
    image.save(path)
    return path


def tiff(path: Path, pages: int) -> Path:
    """A document whose pages differ in their shade: page n is 10 x n everywhere."""
    frames = [Image.new("L", (50, 40), 5 * (number + 1)) for number in range(pages)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


def picture(path: Path, size: tuple[int, int] = (160, 120)) -> Path:
    """A colour JPEG on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "grey").save(path)
    return path


def label(name: str, box: tuple[int, int, int, int], **changes: Any) -> dict[str, Any]:
    """A label that fills its box on an image of 160 x 120, and that nothing speaks against."""
    x0, y0, x1, y1 = box
    pixels = np.zeros((120, 160), np.uint8, order="F")
    pixels[y0:y1, x0:x1] = 1
    rle = coco.encode(pixels)
    good = {
        "class": name,
        "score": 0.9,
        "box": [float(edge) for edge in box],
        "mask": {"counts": rle["counts"].decode(), "size": [120, 160]},
        "mask_iou": 0.95,
        "box_agreement": 1.0,
        "prompt": name,
        "source": "grounding_dino",
        "reasons": [],
    }
    return good | changes


def items_of(folder: Path) -> list[dict[str, Any]]:
    """The items of a review folder, in their order."""
    lines = (folder / "items.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def fill(folder: Path, answers: dict[int, dict[str, Any]]) -> None:
    """Set keys of items by row id, as a person would."""
    items = [item | answers.get(int(item["row_id"]), {}) for item in items_of(folder)]
    text = "".join(json.dumps(item) + "\n" for item in items)
    (folder / "items.jsonl").write_text(text, encoding="utf-8")
