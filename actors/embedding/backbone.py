"""Embeddings from timm backbones: decode, preprocess as in training, forward in batches."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from actors.checkpoints import (
    best_on_cpu,
    checkpoint_folder,
    digest,
    hub_revision,
    load_faults,
    pick_placement,
)
from actors.contract import Timed
from actors.embedding.settings import TimmConfig, Vector
from actors.failures import FailureKind, ItemFailure, SetupError
from actors.images.batches import Fitting, ahead, parts
from actors.images.decoding import rgb

#: Images decoded ahead, while the model runs.
WINDOW = 32
#: (cpu, cuda); not measured on a GPU.
IMAGES_AT_ONCE = (8, 64)
WEIGHTS = "model.safetensors"


class Backbone:
    """A loaded model without its head; it returns pooled features."""

    def __init__(self, config: TimmConfig, timed: Timed) -> None:
        """`timed(step)` adds the wall time of its block to a step.

        Raises SetupError if timm, the checkpoint or the device is missing, or if the checkpoint is
        damaged or incomplete.
        """
        timm = _timm()
        place = pick_placement(config.device, config.dtype, on_cpu=best_on_cpu())
        folder = checkpoint_folder(config)
        model = _loaded(timm, config.model, folder)
        self._timed = timed
        self._device, self._dtype = place.device, place.dtype
        self._model = model.eval().to(self._device, self._dtype)
        settings = timm.data.resolve_data_config(model=model)
        self._transform = timm.data.create_transform(**settings, is_training=False)
        images_at_once = config.images_at_once or IMAGES_AT_ONCE[place.on_gpu]
        self._embedded = Fitting(self._forward, images_at_once)
        self._threads = ThreadPoolExecutor(config.decode_threads)
        length = self._tried(settings["input_size"], config.model)
        self.provenance = {
            "model": config.model,
            "revision": hub_revision(folder),
            "weights_sha256": digest([folder / WEIGHTS]),
            "architecture": f"{model.pretrained_cfg['architecture']}, {length} numbers",
            **place.provenance(timm),
        }

    def vectors(self, images: Sequence[bytes]) -> list[Vector | ItemFailure]:
        """The features, float32 (n,), of each encoded image, or its failure."""
        results: list[Vector | ItemFailure] = []
        for window in ahead(self._decoded, parts(images, max(WINDOW, self._embedded.size or 1))):
            ready = [one for one in window if isinstance(one, Tensor)]
            with self._timed("embed"):
                found = iter(self._embedded(ready))
            results += [
                one if isinstance(one, ItemFailure) else _answer(next(found)) for one in window
            ]
        return results

    def _decoded(self, images: Sequence[bytes]) -> list[Tensor | ItemFailure]:
        """Decode in threads while the model runs."""
        with self._timed("decode"):
            return list(self._threads.map(self._prepared, images))

    def _prepared(self, image: bytes) -> Tensor | ItemFailure:
        """float32 (3, height, width), preprocessed as in the model's training."""
        try:
            pixels: Tensor = self._transform(rgb(image))
        except ItemFailure as fault:
            return fault
        return pixels

    @torch.inference_mode()
    def _forward(self, images: Sequence[Tensor]) -> list[Vector]:
        batch = torch.stack(list(images)).to(self._device, self._dtype)
        features: Tensor = self._model(batch)
        return list(features.float().cpu().numpy())

    def _tried(self, size: tuple[int, int, int], name: str) -> int:
        """The length of a vector, from a trial forward. Raises SetupError if it fails."""
        try:
            (vector,) = self._forward([torch.zeros(size)])
        except (RuntimeError, ValueError) as error:
            raise SetupError(
                f"the model {name!r} fails in a trial run: {type(error).__name__}: {error}",
                "use a checkpoint for the installed version of timm",
            ) from error
        if vector.ndim != 1:
            raise SetupError(
                f"{name!r} gives features of shape {vector.shape} per image, not a vector",
                "use a model with pooled features",
            )
        return len(vector)


def _answer(vector: Vector | None) -> Vector | ItemFailure:
    if vector is None:
        why = "the image does not fit into the device's memory, even in a batch of one"
        return ItemFailure(FailureKind.OUT_OF_MEMORY, why)
    if not np.isfinite(vector).all():
        return ItemFailure(FailureKind.ENGINE_FAULT, "the model returned NaN or infinity")
    return vector


def _timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise SetupError(
            f"engine timm: cannot import the package timm: {error}",
            "pip install 'nightjar[curate]', or set engine: statistics",
        ) from error


def _loaded(timm: Any, name: str, folder: Path) -> Any:
    """The model on the CPU, without its head. Raises SetupError."""
    if not (folder / WEIGHTS).is_file():
        raise SetupError(
            f"{name!r} has no {WEIGHTS} in {folder}",
            "save it with timm.models.save_for_hf(model, folder), or use a checkpoint on the hub",
        )
    remedy = "download config.json and model.safetensors of the checkpoint again"
    with load_faults(repr(name), folder, remedy), _missing() as missing:
        model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
    if missing:  # timm would fill them with random weights
        raise SetupError(f"{name!r} lacks weights: {missing[0]}", "download the checkpoint again")
    return model


@contextmanager
def _missing() -> Iterator[list[str]]:
    """Collects timm's log messages about missing weights (`timm/models/_builder.py`, 1.0.31)."""
    found: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            message = record.getMessage()
            if message.startswith("Missing keys"):
                found.append(message[:500])

    logger, listener = logging.getLogger("timm.models._builder"), Listener()
    level = logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    try:
        yield found
    finally:
        logger.setLevel(level)
        logger.removeHandler(listener)
