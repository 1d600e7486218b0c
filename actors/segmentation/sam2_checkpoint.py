"""Loading a SAM 2: transformers' checkpoints, and Meta's original `.pt` files."""

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

#: The hub's sam2.1-hiera-* are of the second type: the image model and weights for video.
FAMILY = Family(
    Sam2Model,
    Sam2ImageProcessor,
    "fetch the checkpoint anew: config, processor and safetensors belong to it",
    title="SAM 2",
    types=("sam2", "sam2_video"),
)


def load_sam2(config: Sam2Config) -> Pretrained:
    """A Sam2Model, float32, with its Sam2ImageProcessor; from Meta's `.pt` file or a directory.

    Raises SetupError for everything that keeps the weights from being exactly those of the
    checkpoint: not there, damaged, incomplete, of another architecture, of another size than its
    processor makes.
    """
    name, meta_config = config.model, config.meta_config
    if name.endswith(".pt"):
        return _load_meta(Path(name), meta_config)
    if meta_config is not None:
        raise SetupError(
            f"meta_config {meta_config} is given, but {name!r} is no .pt file",
            "drop meta_config, or set `model` to Meta's checkpoint",
        )
    loaded = FAMILY.load(config)
    _check_size(name, loaded.model, loaded.processor)
    return loaded


def _check_size(name: str, model: Sam2Model, processor: Any) -> None:
    """A processor of another size would shift every mask without an error."""
    size = model.prompt_encoder.input_image_size
    if (processor.size["height"], processor.size["width"]) != (size, size):
        raise SetupError(
            f"{name!r} was trained on {size} x {size} px, its processor makes "
            f"{processor.size['width']} x {processor.size['height']}",
            "use the processor config that belongs to the checkpoint",
        )


def _load_meta(path: Path, config_name: str | None) -> Pretrained:
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
    return Pretrained(model.eval(), Sam2ImageProcessor(), path.parent, provenance)


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
