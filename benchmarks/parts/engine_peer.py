"""Peers of `engine.py`: our reader under a process pool, or under plain Ray Data.

    python engine_peer.py pool|ray PAGES_DIR OUT_DIR

The reader is ours, so only the engine differs. The code is tutorial style: no failures as values,
no resume, no record. Writes Parquet, and prints start and end of reading as JSON.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

#: Pages per call of the reader, as in `nightjar run`.
BATCH = 16

_reader: Any = None


def main() -> None:
    kind, pages, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    out.mkdir(parents=True)
    began, ended = {"pool": pool, "ray": ray_data}[kind](pages, out)
    print(json.dumps({"began": began, "ended": ended}), flush=True)


# --- a pool of processes --------------------------------------------------------------------------


def pool(pages: Path, out: Path) -> tuple[float, float]:
    """One reader per core, one batch of paths per task, one Parquet file at the end."""
    paths = sorted(map(str, pages.iterdir()))
    batches = [paths[i : i + BATCH] for i in range(0, len(paths), BATCH)]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count(), _load) as workers:
        answers = list(workers.imap_unordered(_read_paths, batches))
    pq.write_table(pa.concat_tables(table for _, table in answers), out / "all.parquet")
    return min(began for began, _ in answers), time.time()


def _load() -> None:
    global _reader
    from actors.ocr.rapid_ocr import RapidOcr, RapidOcrConfig

    _reader = RapidOcr(RapidOcrConfig())


def _read_paths(paths: list[str]) -> tuple[float, pa.Table]:
    began = time.time()
    images = pa.array([Path(path).read_bytes() for path in paths], pa.binary())
    table = _reader(pa.table({"path": paths, "image": images}))
    if torn := [row for row in table["ocr_failure"].to_pylist() if row]:
        raise ValueError(torn[0]["message"])  # like the libraries' own loops
    return began, table.select(["path", "ocr_lines"])


# --- plain Ray Data -------------------------------------------------------------------------------


class Naive:
    """An actor over decoded images: finds and reads lines, page by page."""

    def __init__(self) -> None:
        from actors.ocr.rapid_ocr import RapidOcr, RapidOcrConfig

        self._reader = RapidOcr(RapidOcrConfig())

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        from actors.ocr.pp_ocr.detection import crop, detector_input

        began = time.time()
        texts = []
        for image in batch["image"]:
            page = np.ascontiguousarray(image[..., ::-1])
            small = detector_input(page, self._reader.config.detection)
            quads = self._reader.find_lines(page, small).quads
            lines = self._reader.read_lines([crop(page, quad) for quad in quads])
            texts.append("\n".join(text for text, _ in lines))
        began = np.full(len(texts), began)
        return {"path": batch["path"], "text": np.array(texts, object), "began": began}


def ray_data(pages: Path, out: Path) -> tuple[float, float]:
    """`read_images`, `map_batches`, `write_parquet`.

    Cores are divided as in our run. With Ray's default of one core per actor, no core is left for
    the tasks that read files, and the job never finishes.
    """
    import ray

    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    images = ray.data.read_images(str(pages), include_paths=True, mode="RGB", num_cpus=0.25)
    read = images.map_batches(
        Naive,
        batch_size=BATCH,
        num_cpus=0.75,
        compute=ray.data.ActorPoolStrategy(size=os.cpu_count()),
    )
    read.write_parquet(str(out))
    ended = time.time()
    return float(min(pq.read_table(out)["began"].to_pylist())), ended


if __name__ == "__main__":
    main()
