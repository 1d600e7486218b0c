"""Loading a SAM 3: the image model, alone or out of a checkpoint for video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, Sam3Model, Sam3Processor

from actors.checkpoints import checkpoint_folder, provenance_of, whole_model
from actors.failures import SetupError

#: The hub's facebook/sam3 is of the second type: the image model is its `detector_model`, which
#: `Sam3Model` takes out by itself, and the tracker's weights are left.
MODEL_TYPES = ("sam3", "sam3_video")


@dataclass(frozen=True)
class Checkpoint:
    """A model on the CPU, float32, in evaluation mode, with the processor that belongs to it."""

    model: Sam3Model
    processor: Any  # Sam3Processor
    provenance: dict[str, str]


def load_sam3(name: str, revision: str | None, local_files_only: bool) -> Checkpoint:
    """Load the model `name`: a local directory, or a hub id at `revision`.

    Raises SetupError for everything that keeps the weights from being exactly those of the
    checkpoint: not there, damaged, incomplete, of another architecture, of another size than its
    processor makes.
    """
    # A bar per worker would drown the run's own log.
    transformers.utils.logging.disable_progress_bar()
    folder = checkpoint_folder(name, revision, local_files_only)
    try:
        model = _model(name, folder)
        processor = Sam3Processor.from_pretrained(folder)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise SetupError(
            f"cannot load {name!r} from {folder}: {type(error).__name__}: {error}",
            "fetch the checkpoint anew: config, processor, tokenizer and safetensors belong to it",
        ) from error
    _check_size(name, model, processor)
    return Checkpoint(model.train(False), processor, provenance_of(name, folder))


def _model(name: str, folder: Path) -> Sam3Model:
    kind = AutoConfig.from_pretrained(folder).model_type
    if kind not in MODEL_TYPES:
        raise SetupError(
            f"{name!r} is a {kind}, this actor runs {' and '.join(MODEL_TYPES)}",
            "choose a SAM 3 checkpoint",
        )
    model: Sam3Model = whole_model(Sam3Model, name, folder)
    return model


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
