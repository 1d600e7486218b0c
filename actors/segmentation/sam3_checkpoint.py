"""Loading a SAM 3: the image model, alone or out of a checkpoint for video."""

from __future__ import annotations

from typing import Any

from transformers import Sam3Model, Sam3Processor

from actors.failures import SetupError
from actors.hub_model import HubCheckpoint
from actors.loading import Family, Pretrained

#: The hub's facebook/sam3 is of the second type: the image model is its `detector_model`, which
#: `Sam3Model` takes out by itself, and the tracker's weights are left.
FAMILY = Family(
    Sam3Model,
    Sam3Processor,
    "fetch the checkpoint anew: config, processor, tokenizer and safetensors belong to it",
    title="SAM 3",
    types=("sam3", "sam3_video"),
)


def load_sam3(wanted: HubCheckpoint) -> Pretrained:
    """A Sam3Model, float32, with its Sam3Processor.

    Raises SetupError for everything that keeps the weights from being exactly those of the
    checkpoint: not there, damaged, incomplete, of another architecture, of another size than its
    processor makes.
    """
    loaded = FAMILY.load(wanted)
    _check_size(wanted.model, loaded.model, loaded.processor)
    return loaded


def _check_size(name: str, model: Sam3Model, processor: Any) -> None:
    """Positions are laid out for one size; the library would fail at the first image."""
    trained = model.config.image_size
    height, width = (trained, trained) if isinstance(trained, int) else trained
    made = processor.image_processor.size
    if (made["height"], made["width"]) != (height, width):
        raise SetupError(
            f"{name!r} was trained on {width} x {height} px, its processor makes "
            f"{made['width']} x {made['height']}",
            "use the processor config that belongs to the checkpoint",
        )
