"""What all contestants of a section work on."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from PIL import Image

from parts.gpu.meter import Contestant, Prepare

#: Roles of contestants; the report pairs detectors and segmenters of one role.
USERS = "library, as users run it"
TUNED = "library, one image at a time, tuned"
OURS = "nightjar"
FLOOR = "floor: bare forwards"
#: Prepared batches that a floor uses in turns.
PREPARED = 2


@dataclass(frozen=True)
class Task:
    """A checkpoint on a device, with its classes and the lowest score of an object."""

    folder: Path
    device: str
    names: tuple[str, ...]
    threshold: float = 0.5

    @property
    def model(self) -> str:
        return str(self.folder)

    def settings(self, dtype: str) -> dict[str, Any]:
        """The settings that our actors share."""
        return {"model": self.model, "device": self.device, "dtype": dtype}

    def ontology(self) -> dict[str, Any]:
        return {"classes": dict.fromkeys(self.names), "threshold": self.threshold}

    def passed_by(self, scores: torch.Tensor, objects: int) -> Task:
        """The task with a threshold between the scores of rank `objects` and the next."""
        best = sorted((*scores.tolist(), 0.0), reverse=True)
        last = min(objects, len(best) - 1)
        threshold = (best[last - 1] + best[last]) / 2
        return replace(self, threshold=min(max(threshold, 1e-6), 1 - 1e-6))


def opened(data: bytes) -> Image.Image:
    """The decoded image, RGB, as users open it."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def moved(inputs: Any, device: str, dtype: torch.dtype) -> dict[str, Any]:
    """A processor's tensors on the device, floating-point ones in `dtype`; other values as is."""
    return {
        name: value.to(device, dtype if value.is_floating_point() else None)
        if isinstance(value, torch.Tensor)
        else value
        for name, value in inputs.items()
    }


def failed_rows(column: Any) -> None:
    """Raise RuntimeError if a row of an actor failed: a failure would be measured as speed."""
    failures = [one for one in column.to_pylist() if one is not None]
    if failures:
        raise RuntimeError(f"{len(failures)} rows failed, e.g. {failures[0]}")


def in_batches(
    table: Callable[[Sequence[bytes]], pa.Table], call: Callable[[pa.Table], Any], batch: int
) -> Prepare:
    """An actor on tables of `batch` rows, which are made before the clock starts."""

    def prepare(images: Sequence[bytes]) -> Callable[[], Any]:
        tables = [table(images[i : i + batch]) for i in range(0, len(images), batch)]

        def run() -> None:
            for rows in tables:
                call(rows)

        return run

    return prepare


def bare(
    inputs: Callable[[Sequence[bytes]], Any], forward: Callable[[Any], Any], batch: int
) -> Prepare:
    """Forward passes on inputs that are on the device before the clock starts."""
    sets: list[Any] = []  # kept, because every call prepares the same first images

    def prepare(images: Sequence[bytes]) -> Callable[[], Any]:
        for start in range(len(sets) * batch, min(len(images), PREPARED * batch), batch):
            sets.append(inputs(images[start : start + batch]))

        @torch.inference_mode()
        def run() -> None:
            for number in range(len(images) // batch):
                forward(sets[number % len(sets)])

        return run

    return prepare


def images_only(images: Sequence[bytes]) -> pa.Table:
    """The rows of an actor that needs no boxes."""
    return pa.table({"image": pa.array(images, pa.binary())})


def line_up(
    ours: Callable[[int], Prepare],
    users: Callable[[], Prepare],
    tuned: Callable[[], Prepare],
    floor: Callable[[int], Prepare],
    batches: Sequence[int],
) -> list[Contestant]:
    """The contestants of a section, most important first; see `gpu.py` on the roles."""
    return [
        *(Contestant(OURS, n, "bfloat16", partial(ours, n)) for n in batches),
        Contestant(USERS, 1, "float32", users),
        Contestant(TUNED, 1, "bfloat16", tuned),
        *(Contestant(FLOOR, n, "bfloat16", partial(floor, n)) for n in batches),
    ]
