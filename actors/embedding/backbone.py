"""Backbones of timm: decode, resize as their training did, one forward for many images."""

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
from actors.images.batches import ahead, in_batches, parts
from actors.images.decoding import rgb

#: Images decoded while others are in the model.
WINDOW = 32
#: (cpu, cuda); not measured on a GPU.
IMAGES_AT_ONCE = (8, 64)
WEIGHTS = "model.safetensors"


class Backbone:
    """A loaded model without its head: pooled features."""

    def __init__(self, config: TimmConfig, timed: Timed) -> None:
        """`timed` names the step that its block's wall time is booked on.

        Raises SetupError: no timm, no checkpoint, a damaged or incomplete one, no such device.
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
        self._images_at_once = config.images_at_once or IMAGES_AT_ONCE[place.on_gpu]
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
        """For each encoded image its features, float32 (n,), or what is wrong with it."""
        results: list[Vector | ItemFailure] = []
        for window in ahead(self._decoded, parts(images, WINDOW)):
            ready = [one for one in window if isinstance(one, Tensor)]
            with self._timed("embed"):
                found = iter(in_batches(self._forward, ready, self._images_at_once))
            results += [
                one if isinstance(one, ItemFailure) else _answer(next(found)) for one in window
            ]
        return results

    def _decoded(self, images: Sequence[bytes]) -> list[Tensor | ItemFailure]:
        """Runs in a thread beside the model."""
        with self._timed("decode"):
            return list(self._threads.map(self._prepared, images))

    def _prepared(self, image: bytes) -> Tensor | ItemFailure:
        """float32 (3, height, width), as the model's training saw images."""
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
        """The length of a vector. Raises SetupError where the model gives none."""
        try:
            (vector,) = self._forward([torch.zeros(size)])
        except (RuntimeError, ValueError) as error:
            raise SetupError(
                f"{name!r} was loaded and does not run: {type(error).__name__}: {error}",
                "take a checkpoint that was made for this version of timm",
            ) from error
        if vector.ndim != 1:
            raise SetupError(
                f"{name!r} gives features of shape {vector.shape} per image, not a vector",
                "take a model that pools its features",
            )
        return len(vector)


def _answer(vector: Vector | None) -> Vector | ItemFailure:
    if vector is None:
        kind, why = FailureKind.OUT_OF_MEMORY, "the image does not fit the device's memory alone"
        return ItemFailure(kind, why)
    if not np.isfinite(vector).all():
        return ItemFailure(FailureKind.ENGINE_FAULT, "the model answered NaN or infinity")
    return vector


def _timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise SetupError(
            f"engine timm needs timm, which cannot be imported: {error}",
            "pip install 'nightjar[curate]', or take engine: statistics",
        ) from error


def _loaded(timm: Any, name: str, folder: Path) -> Any:
    """The model with its weights on the CPU, without its head."""
    if not (folder / WEIGHTS).is_file():
        raise SetupError(
            f"{name!r} has no {WEIGHTS} in {folder}",
            "save it with timm.models.save_for_hf(model, folder), or take one from the hub",
        )
    remedy = "fetch the checkpoint anew: config.json and model.safetensors belong together"
    with load_faults(repr(name), folder, remedy), _missing() as missing:
        model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
    if missing:  # timm would go on with random weights in their place
        raise SetupError(f"{name!r} lacks weights: {missing[0]}", "fetch the checkpoint anew")
    return model


@contextmanager
def _missing() -> Iterator[list[str]]:
    """What timm only logs: weights that the file lacks (`timm/models/_builder.py` of 1.0.31)."""
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
