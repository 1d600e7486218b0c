"""Loading a SAM 2: transformers' checkpoints, and Meta's original `.pt` files."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, Sam2ImageProcessor, Sam2Model

from actors.checkpoints import checkpoint_folder, digest, provenance_of, whole_model
from actors.failures import SetupError
from actors.segmentation.sam2_meta_names import (
    CONFIG_NAMES,
    transformers_config,
    transformers_state,
)

#: The hub's sam2.1-hiera-* are of the second type: the image model and weights for video.
MODEL_TYPES = ("sam2", "sam2_video")


@dataclass(frozen=True)
class Checkpoint:
    """A model on the CPU, float32, with the image processor that belongs to it."""

    model: Sam2Model
    processor: Any  # Sam2ImageProcessor
    provenance: dict[str, str]


def load_sam2(
    name: str, meta_config: str | None, revision: str | None, local_files_only: bool
) -> Checkpoint:
    """Load a checkpoint.

    Args:
        name: a directory, a hub id, or one of Meta's `.pt` files.
        meta_config: which of Meta's configs a `.pt` file belongs to, e.g. sam2.1_hiera_t.yaml.
        revision: of a hub id.
        local_files_only: never ask the hub.

    Raises SetupError for everything that keeps the weights from being exactly those of the
    checkpoint: not there, damaged, incomplete, of another architecture.
    """
    if name.endswith(".pt"):
        return _load_meta(Path(name), meta_config)
    if meta_config is not None:
        raise SetupError(
            f"meta_config {meta_config} is given, but {name!r} is no .pt file",
            "drop meta_config, or set `model` to Meta's checkpoint",
        )
    folder = checkpoint_folder(name, revision, local_files_only)
    try:
        model = _model(name, folder)
        processor = Sam2ImageProcessor.from_pretrained(folder)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise SetupError(
            f"cannot load {name!r} from {folder}: {type(error).__name__}: {error}",
            "fetch the checkpoint anew: config, processor and safetensors belong to it",
        ) from error
    _check_size(name, model, processor)
    return Checkpoint(model, processor, provenance_of(name, folder))


def _model(name: str, folder: Path) -> Sam2Model:
    kind = AutoConfig.from_pretrained(folder).model_type
    if kind not in MODEL_TYPES:
        raise SetupError(f"{name!r} is a {kind}, not a SAM 2", "choose a SAM 2 checkpoint")
    model: Sam2Model = whole_model(Sam2Model, name, folder)
    return model


def _check_size(name: str, model: Sam2Model, processor: Any) -> None:
    """A processor of another size would shift every mask without an error."""
    size = model.prompt_encoder.input_image_size
    if (processor.size["height"], processor.size["width"]) != (size, size):
        raise SetupError(
            f"{name!r} was trained on {size} x {size} px, its processor makes "
            f"{processor.size['width']} x {processor.size['height']}",
            "use the processor config that belongs to the checkpoint",
        )


def _load_meta(path: Path, config_name: str | None) -> Checkpoint:
    if config_name not in CONFIG_NAMES:
        raise SetupError(
            f"{path} is one of Meta's checkpoints, which does not say its own architecture; "
            f"meta_config is {config_name}",
            f"set meta_config to the one it was published with: {', '.join(CONFIG_NAMES)}",
        )
    model = Sam2Model(transformers_config(config_name))
    try:
        model.load_state_dict(transformers_state(_read_meta(path)), strict=True)
    except RuntimeError as error:
        raise SetupError(
            f"{path} does not fit {config_name}: {str(error)[:500]}",
            "set meta_config to the config that the checkpoint was published with",
        ) from error
    provenance = {
        "model": path.name,
        "revision": f"converted from Meta's checkpoint by {config_name}",
        "weights_sha256": digest([path]),
    }
    return Checkpoint(model, Sam2ImageProcessor(), provenance)


def _read_meta(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        state: dict[str, Tensor] = content["model"]
    except FileNotFoundError:
        raise SetupError(
            f"no file {path}", "download the checkpoint and set `model` to its path"
        ) from None
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise SetupError(
            f"{path} is no checkpoint of SAM 2: {type(error).__name__}: {str(error)[:500]}",
            "download the checkpoint anew",
        ) from error
    return state
