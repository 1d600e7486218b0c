"""Loads SAM 3's image model from an image or a video checkpoint."""

from __future__ import annotations

from typing import Any

from transformers import Sam3Model, Sam3Processor

from actors.failures import SetupError
from actors.hub_model import HubCheckpoint
from actors.loading import Family, Pretrained

#: facebook/sam3 on the hub has the second type. `Sam3Model` loads its `detector_model` and ignores
#: the tracker's weights.
FAMILY = Family(
    Sam3Model,
    Sam3Processor,
    "download the checkpoint again, with config, processor, tokenizer and safetensors",
    title="SAM 3",
    types=("sam3", "sam3_video"),
)


def load_sam3(wanted: HubCheckpoint) -> Pretrained:
    """A Sam3Model, float32, with its Sam3Processor.

    Raises SetupError if the checkpoint is missing, damaged, incomplete or of another architecture,
    or if its input size differs from its processor's.
    """
    loaded = FAMILY.load(wanted)
    _check_size(wanted.model, loaded.model, loaded.processor)
    return loaded


def _check_size(name: str, model: Sam3Model, processor: Any) -> None:
    """Check the processor's size; with a wrong size the library fails at the first image."""
    trained = model.config.image_size
    height, width = (trained, trained) if isinstance(trained, int) else trained
    made = processor.image_processor.size
    if (made["height"], made["width"]) != (height, width):
        raise SetupError(
            f"the model {name!r} needs {width} x {height} px, but its processor resizes to "
            f"{made['width']} x {made['height']}",
            "use the checkpoint's own processor config",
        )
