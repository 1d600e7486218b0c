"""Loads and checks a Grounding DINO from a hub or a directory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from actors.checkpoints import best_on_cpu, pick_placement
from actors.detection.grounding.deformable import gather_samples
from actors.detection.grounding.prompts import CLS, DOT, QUESTION, SEP
from actors.failures import SetupError
from actors.hub_model import HubModel
from actors.loading import Family, narrow_products

FAMILY = Family(
    AutoModelForZeroShotObjectDetection,
    AutoProcessor,
    "download the checkpoint again, with config, processor, tokenizer and safetensors",
    title="Grounding DINO",
    types=("grounding-dino", "mm-grounding-dino"),
)


@dataclass(frozen=True)
class Loaded:
    """A model on its device, in evaluation mode, with its processor.

    `dtype`: dtype of matrix products and of their weights; all else is float32.
    """

    model: Any  # GroundingDinoForObjectDetection or MMGroundingDinoForObjectDetection
    processor: Any  # GroundingDinoProcessor
    device: torch.device
    dtype: torch.dtype
    provenance: dict[str, str]


class RememberedText(nn.Module):
    """Runs a model's text encoder once per prompt and repeats its output for every image.

    The library encodes the same prompt for each image of each batch. Share of a forward pass on one
    CPU core: grounding-dino-tiny at batch 1, 1.0 % at 800 x 800 px and 5 % at 320 x 320; the pocket
    model, 2 % at batch 8 and 7 % at batch 1.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self._known: dict[tuple[int, ...], Any] = {}

    def forward(self, input_ids: Tensor, *args: Any, **kwargs: Any) -> Any:
        """The encoder's output for ids (batch, length) with the same prompt in every row."""
        prompt = tuple(input_ids[0].tolist())
        if prompt not in self._known:
            first = [arg[:1] if isinstance(arg, Tensor) else arg for arg in args]
            self._known[prompt] = self.encoder(input_ids[:1], *first, **kwargs)
        answer = self._known[prompt]
        features = answer.last_hidden_state.expand(len(input_ids), -1, -1)
        return type(answer)(last_hidden_state=features)


def load_grounding_dino(config: HubModel) -> Loaded:
    """Load a Grounding DINO or an MM-Grounding-DINO.

    Raises SetupError if the checkpoint is missing, damaged, incomplete or of another architecture,
    or if its tokenizer has other token ids.
    """
    place = pick_placement(config.device, config.dtype, on_cpu=best_on_cpu())
    loaded = FAMILY.load(config)
    model = loaded.model
    _check_tokens(config.model, loaded.processor.tokenizer)
    model.model.text_backbone = RememberedText(model.model.text_backbone)
    if not place.on_gpu:
        gather_samples(model)
    narrow_products(model, place.dtype)
    provenance = loaded.provenance | place.provenance(transformers)
    return Loaded(
        model.to(place.device).eval(), loaded.processor, place.device, place.dtype, provenance
    )


def _check_tokens(name: str, tokenizer: Any) -> None:
    """Check for BERT's ids, because the model's code separates phrases by them."""
    for token, expected in (("[CLS]", CLS), ("[SEP]", SEP), (".", DOT), ("?", QUESTION)):
        found = tokenizer.convert_tokens_to_ids(token)
        if found != expected:
            raise SetupError(
                f"the tokenizer of {name!r} gives {token!r} the id {found}; the model's code "
                f"expects {expected}",
                "use the checkpoint's own tokenizer",
            )
