"""Several processes with both models that share one GPU, as workers of a run do; without Ray."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from actors.detection.grounding.settings import GroundingDinoConfig
from actors.detection.grounding_dino import GroundingDino
from actors.segmentation.sam2 import Sam2
from actors.segmentation.settings import Sam2Config
from parts.gpu.pictures import pictures
from parts.gpu.task import Task, failed_rows, images_only
from parts.together import answer_together, together


@dataclass(frozen=True)
class Shared:
    """What each process does: `images` pictures in tables of `batch` rows."""

    detector: Task
    segmenter: Task
    batch: int
    images: int
    different: int
    megapixels: float

    def asked(self) -> dict[str, Any]:
        """The same as JSON, for a process."""
        return {
            "detector": self.detector.settings("bfloat16") | {"ontology": self.detector.ontology()},
            "segmenter": self.segmenter.settings("bfloat16"),
            "batch": self.batch,
            "images": self.images,
            "pictures": [self.megapixels, self.different],
        }


def images_per_s(shared: Shared, workers: int) -> float:
    """Images/s of all processes together, from the common start to the end of the last one."""
    gc.collect()
    if shared.detector.device == "cuda":
        torch.cuda.empty_cache()  # of this process, which waits
    argv = [sys.executable, "-m", "parts.gpu.sharing"]
    seconds, _ = together(argv, [shared.asked()] * workers)
    return workers * shared.images / seconds


def prepare(given: dict[str, Any]) -> Callable[[], Any]:
    """Load both models and warm them up; returns the work."""
    detector = GroundingDino(GroundingDinoConfig.model_validate(given["detector"]))
    segmenter = Sam2(Sam2Config.model_validate(given["segmenter"]))
    seen, batch = pictures(*given["pictures"]), given["batch"]
    images = [seen[number % len(seen)] for number in range(given["images"])]
    tables = [images_only(images[i : i + batch]) for i in range(0, len(images), batch)]

    def work(rows: Any) -> int:
        found = segmenter(detector(rows))
        failed_rows(found["detect_failure"])
        failed_rows(found["segment_failure"])
        return sum(len(masks) for masks in found["masks"].to_pylist())

    work(tables[0])
    return lambda: sum(work(rows) for rows in tables)


if __name__ == "__main__":
    answer_together(prepare)
