"""Loads SAM 2 from transformers checkpoints and from Meta's original `.pt` files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Sam2ImageProcessor, Sam2Model

from actors.checkpoints import digest
from actors.failures import SetupError
from actors.loading import Family, Pretrained
from actors.segmentation.sam2_meta_names import (
    CONFIG_NAMES,
    transformers_config,
    transformers_state,
)
from actors.segmentation.settings import Sam2Config

#: sam2.1-hiera-* on the hub have the second type: the image model plus weights for video.
FAMILY = Family(
    Sam2Model,
    Sam2ImageProcessor,
    "download the checkpoint again, with config, processor and safetensors",
    title="SAM 2",
    types=("sam2", "sam2_video"),
)


def load_sam2(config: Sam2Config) -> Pretrained:
    """A Sam2Model, float32, with its Sam2ImageProcessor, from Meta's `.pt` file or a directory.

    Raises SetupError if the checkpoint is missing, damaged, incomplete or of another architecture,
    or if its input size differs from its processor's.
    """
    name, meta_config = config.model, config.meta_config
    if name.endswith(".pt"):
        return _load_meta(Path(name), meta_config)
    if meta_config is not None:
        raise SetupError(
            f"meta_config {meta_config} is set, but {name!r} is not a .pt file",
            "remove meta_config, or set `model` to Meta's checkpoint",
        )
    loaded = FAMILY.load(config)
    _check_size(name, loaded.model, loaded.processor)
    return loaded


def _check_size(name: str, model: Sam2Model, processor: Any) -> None:
    """Check the processor's size; a wrong size would shift every mask without an error."""
    size = model.prompt_encoder.input_image_size
    if (processor.size["height"], processor.size["width"]) != (size, size):
        raise SetupError(
            f"the model {name!r} needs {size} x {size} px, but its processor resizes to "
            f"{processor.size['width']} x {processor.size['height']}",
            "use the checkpoint's own processor config",
        )


def _load_meta(path: Path, config_name: str | None) -> Pretrained:
    if config_name not in CONFIG_NAMES:
        raise SetupError(
            f"{path} is a checkpoint of Meta, which does not contain its architecture; "
            f"meta_config is {config_name}",
            f"set meta_config to the checkpoint's config: {', '.join(CONFIG_NAMES)}",
        )
    model = Sam2Model(transformers_config(config_name))
    try:
        model.load_state_dict(transformers_state(_read_meta(path)), strict=True)
    except RuntimeError as error:
        raise SetupError(
            f"{path} does not fit {config_name}: {str(error)[:500]}",
            "set meta_config to the checkpoint's config",
        ) from error
    provenance = {
        "model": path.name,
        "revision": f"converted from Meta's checkpoint by {config_name}",
        "weights_sha256": digest([path]),
    }
    return Pretrained(model.eval(), Sam2ImageProcessor(), path.parent, provenance)


def _read_meta(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        state: dict[str, Tensor] = content["model"]
    except FileNotFoundError:
        raise SetupError(
            f"file {path} does not exist", "download the checkpoint and set `model` to its path"
        ) from None
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise SetupError(
            f"{path} is not a checkpoint of SAM 2: {type(error).__name__}: {str(error)[:500]}",
            "download the checkpoint again",
        ) from error
    return state
