"""Finished labelling runs of real files: listed and read as by a run, labelled by hand, no Ray."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from hand_made_runs import IMAGES, label, write_run
from pycocotools import mask as coco

from pipelines.pages.fetch import FetchConfig, PageFetcher, open_sandbox
from pipelines.runs.directory import RunDir
from pipelines.sources.listing import SourceConfig
from pipelines.sources.manifest import freeze, iter_parts, read_part
from pipelines.storage.client import Storage, StorageSettings

CREATED = "2026-11-30T20:00:00+00:00"

Labels = Callable[[dict[str, Any]], list[dict[str, Any]]]


def masked(name: str, pixels: npt.NDArray[np.bool_], **changes: Any) -> dict[str, Any]:
    """A label of the class `name` with this mask, and the box around it."""
    ys, xs = pixels.nonzero()
    rle = coco.encode(np.asfortranarray(pixels, np.uint8))
    mask = {"counts": rle["counts"].decode(), "size": list(pixels.shape)}
    box = [float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)]
    return label(name, (0, 0, 1, 1)) | {"box": box, "mask": mask} | changes


def one_star(row: dict[str, Any]) -> list[dict[str, Any]]:
    """A star over the middle of the picture, a quarter of its sides away from the edges."""
    pixels = np.zeros((row["height"], row["width"]), bool)
    x, y = row["width"] // 4, row["height"] // 4
    pixels[y : row["height"] - y, x : row["width"] - x] = True
    return [masked("red star", pixels)]


def labelled_folder(
    path: Path,
    source: str | Path,
    labels: Labels = one_star,
    storage: StorageSettings | None = None,
) -> RunDir:
    """A run in `path` over `source`, with `labels` of each row; rows that cannot be read failed."""
    settings = storage or StorageSettings()
    fetch = FetchConfig(storage=settings, outage_s=0)
    run = RunDir(path)
    run.create()
    config = SourceConfig(path=str(source))
    client = Storage(settings)
    freeze(config, run.manifest, storage=client, open_counter=lambda: open_sandbox(fetch))
    manifest = pa.concat_tables(read_part(part) for part in iter_parts(run.manifest))
    rows = [_row(row, labels) for row in PageFetcher(fetch)(manifest).to_pylist()]
    run = write_run(path, "autolabel", IMAGES, rows)
    changes = {"fetch": fetch.model_dump(mode="json"), "source": config.model_dump(mode="json")}
    record = run.read_record()
    run.write_record(record | {"created": CREATED, "config": record["config"] | changes})
    return run


def _row(row: dict[str, Any], labels: Labels) -> dict[str, Any]:
    failed = row["fetch_failure"] is not None
    kept = {name: row[name] for name in IMAGES.names if name in row}
    found = None if failed else labels(row)
    outcome = "failed" if failed else "accepted" if found else "empty"
    return kept | {"outcome": outcome, "reasons": [], "instances": found}
