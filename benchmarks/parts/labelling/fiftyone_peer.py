"""FiftyOne's `apply_model` as a contestant for boxes, with its own temporary MongoDB."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from parts.labelling.detectors import Task
from parts.labelling.judge import Boxes, Contestant, Sample, f1, opened

FIFTYONE = "FiftyOne's apply_model, all classes in one prompt"
_TESTS = Path(__file__).parents[3] / "tests"
sys.path += [str(_TESTS.parent), str(_TESTS), str(_TESTS / "resources")]


@contextmanager
def fiftyone() -> Iterator[Any]:
    """Yield the module `fiftyone`, connected to a database that ends with the block."""
    from own_fiftyone import disconnect, mongod

    spec = importlib.util.find_spec("fiftyone")
    if spec is None or spec.origin is None:
        raise SystemExit("fiftyone is not installed: run pip install 'nightjar[curate]'")
    program = Path(spec.origin).parent / "db/bin/mongod"
    with tempfile.TemporaryDirectory() as home, mongod(program, Path(home)) as uri:
        os.environ |= {"FIFTYONE_DATABASE_URI": uri, "FIFTYONE_DO_NOT_TRACK": "true"}
        import fiftyone as fo

        fo.config.show_progress_bars = False
        try:
            yield fo
        finally:
            disconnect()


def contestant(fo: Any, task: Task, folder: Path) -> Contestant:
    """Writes images to `folder`, because FiftyOne reads files. Labels go into its database."""
    from fiftyone.utils.transformers import (
        FiftyOneZeroShotTransformerForObjectDetection,
        FiftyOneZeroShotTransformerForObjectDetectionConfig,
    )

    settings = {"name_or_path": task.model, "classes": list(task.names)}
    model = FiftyOneZeroShotTransformerForObjectDetection(
        FiftyOneZeroShotTransformerForObjectDetectionConfig(settings)
    )

    def prepare(samples: Sequence[Sample]) -> Callable[[], Any]:
        dataset = fo.Dataset()
        paths = [_kept(folder, number, sample) for number, sample in enumerate(samples)]
        dataset.add_samples([fo.Sample(filepath=str(path)) for path in paths])

        def run() -> Any:
            options = {"confidence_thresh": task.floor, "batch_size": task.batch}
            dataset.apply_model(model, label_field="found", num_workers=0, **options)
            return dataset

        return run

    def judge(dataset: Any, samples: Sequence[Sample]) -> dict[str, float | None]:
        found = []
        for made, sample in zip(dataset, samples, strict=True):
            width, height = opened(sample.data).size
            scale = torch.tensor([width, height, width, height])
            labels = made.found.detections if made.found else []
            boxes = [_corners(one.bounding_box, scale) for one in labels]
            names = [one.label for one in labels]
            found.append(Boxes.of(names, [one.confidence for one in labels], _stacked(boxes)))
        return {"f1": f1(found, samples, task.names)}

    return Contestant(FIFTYONE, prepare, judge)


def _kept(folder: Path, number: int, sample: Sample) -> Path:
    path = folder / f"{number:05}.jpg"
    path.write_bytes(sample.data)
    return path


def _corners(box: Sequence[float], scale: torch.Tensor) -> torch.Tensor:
    """xyxy in pixels from FiftyOne's (x, y, width, height) in 0..1."""
    x, y, width, height = box
    return torch.tensor([x, y, x + width, y + height]) * scale


def _stacked(boxes: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack(boxes) if boxes else torch.zeros(0, 4)
