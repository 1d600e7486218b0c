"""Loading a Grounding DINO from a hub or a directory, and what must hold before it may run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForZeroShotObjectDetection, AutoProcessor

from actors.checkpoints import checkpoint_folder, pick_device, provenance_of, whole_model
from actors.contract import Device
from actors.detection.grounding.deformable import gather_samples
from actors.detection.grounding.prompts import CLS, DOT, QUESTION, SEP
from actors.failures import SetupError

MODEL_TYPES = ("grounding-dino", "mm-grounding-dino")


@dataclass(frozen=True)
class Loaded:
    """A model ready to run, float32, in evaluation mode, with its processor."""

    model: Any  # GroundingDinoForObjectDetection or MMGroundingDinoForObjectDetection
    processor: Any  # GroundingDinoProcessor
    device: torch.device
    provenance: dict[str, str]


class RememberedText(nn.Module):
    """Runs a model's text encoder once per prompt and repeats its answer for every image.

    The library encodes the same prompt anew for each image of each batch: on one CPU core that is
    1.0 % of a forward of grounding-dino-tiny at 800 x 800 px and batch 1, 5 % at 320 x 320, and
    2 to 7 % of a forward of the pocket model (batch 8 to 1).
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self._known: dict[tuple[int, ...], Any] = {}

    def forward(self, input_ids: Tensor, *args: Any, **kwargs: Any) -> Any:
        """The encoder's output for ids (batch, length) whose rows are all the same prompt."""
        prompt = tuple(input_ids[0].tolist())
        if prompt not in self._known:
            first = [arg[:1] if isinstance(arg, Tensor) else arg for arg in args]
            self._known[prompt] = self.encoder(input_ids[:1], *first, **kwargs)
        answer = self._known[prompt]
        features = answer.last_hidden_state.expand(len(input_ids), -1, -1)
        return type(answer)(last_hidden_state=features)


def load_grounding_dino(
    name: str, revision: str | None, local_files_only: bool, wanted: Device
) -> Loaded:
    """Load the model `name`: a local directory, or a hub id at `revision`.

    Raises SetupError for everything that keeps the weights from being exactly those of the
    checkpoint: not there, damaged, incomplete, of another architecture, with foreign token ids.
    """
    device = pick_device(wanted)
    # A bar per worker would drown the run's own log.
    transformers.utils.logging.disable_progress_bar()
    folder = checkpoint_folder(name, revision, local_files_only)
    try:
        model = _model(name, folder)
        processor = AutoProcessor.from_pretrained(folder)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise SetupError(
            f"cannot load {name!r} from {folder}: {type(error).__name__}: {error}",
            "fetch the checkpoint anew: config, processor, tokenizer and safetensors belong to it",
        ) from error
    _check_tokens(name, processor.tokenizer)
    model.model.text_backbone = RememberedText(model.model.text_backbone)
    if device.type == "cpu":
        gather_samples(model)
    on = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    provenance = provenance_of(name, folder) | {"device": on}
    return Loaded(model.to(device).eval(), processor, device, provenance)


def _model(name: str, folder: Path) -> Any:
    config = AutoConfig.from_pretrained(folder)
    if config.model_type not in MODEL_TYPES:
        raise SetupError(
            f"{name!r} is a {config.model_type}, this actor runs {' and '.join(MODEL_TYPES)}",
            "choose a Grounding DINO checkpoint",
        )
    return whole_model(AutoModelForZeroShotObjectDetection, name, folder, config=config)


def _check_tokens(name: str, tokenizer: Any) -> None:
    """The model's code finds phrases by BERT's ids; another vocabulary would merge them."""
    for token, expected in (("[CLS]", CLS), ("[SEP]", SEP), (".", DOT), ("?", QUESTION)):
        found = tokenizer.convert_tokens_to_ids(token)
        if found != expected:
            raise SetupError(
                f"the tokenizer of {name!r} gives {token!r} the id {found}, the model's code "
                f"expects {expected}",
                "use the tokenizer that belongs to the checkpoint",
            )
