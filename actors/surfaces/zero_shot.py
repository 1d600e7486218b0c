"""Zero-shot classification with CLIP or SigLIP: the sentence closest to an image decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import transformers
from PIL import Image
from torch import Tensor
from transformers import AutoModel, AutoProcessor

from actors.checkpoints import load_faults, pick_placement
from actors.contract import Timed
from actors.failures import FailureKind, ItemFailure
from actors.images.batches import Fitting, parts
from actors.images.decoding import rgb
from actors.loading import Family
from actors.surfaces.settings import SURFACES, Guess, SurfaceZeroShot

#: Images decoded and preprocessed together.
_WINDOW = 64
#: (cpu, cuda); not measured on a GPU.
IMAGES_AT_ONCE = (8, 64)
FAMILY = Family(
    AutoModel, AutoProcessor, "set `model` to a CLIP or SigLIP checkpoint with a processor"
)


class ZeroShot:
    """A loaded model with the embeddings of the sentences."""

    def __init__(self, config: SurfaceZeroShot, timed: Timed) -> None:
        """`timed(step)` adds the wall time of its block to a step.

        Raises SetupError if the checkpoint is missing, damaged, incomplete or of another type.
        """
        self._timed = timed
        place = pick_placement(config.device, config.dtype)
        loaded = FAMILY.load(config)
        self._device = place.device
        self._processor: Any = loaded.processor
        with load_faults(repr(config.model), loaded.folder, FAMILY.remedy):
            self._scale = float(loaded.model.logit_scale.detach().exp())
            self._model = loaded.model.to(place.device, place.dtype)
            self._owners = [i for i, name in enumerate(SURFACES) for _ in config.prompts[name]]
            self._words = self._sentences([p for name in SURFACES for p in config.prompts[name]])
        images_at_once = config.images_at_once or IMAGES_AT_ONCE[place.on_gpu]
        self._classified = Fitting(self._forward, images_at_once)
        self.provenance = loaded.provenance | place.provenance(transformers)

    def guesses(self, images: Sequence[bytes]) -> list[Guess | ItemFailure]:
        """The surface of each encoded image, or its failure."""
        results: list[Guess | ItemFailure] = []
        for window in parts(images, _WINDOW):
            with self._timed("decode"):
                pictures = [_picture(image) for image in window]
            ready = [one for one in pictures if isinstance(one, Image.Image)]
            with self._timed("classify"):
                found = iter(self._classified(ready))
            results += [
                one if isinstance(one, ItemFailure) else _guess(next(found)) for one in pictures
            ]
        return results

    @torch.inference_mode()
    def _sentences(self, prompts: Sequence[str]) -> Tensor:
        """Embeddings (n, d) of unit length. Prompts are padded to full length, as SigLIP needs."""
        inputs = self._processor(
            text=list(prompts), padding="max_length", truncation=True, return_tensors="pt"
        )
        names = ("input_ids", "attention_mask")
        kept = {name: inputs[name].to(self._device) for name in names if name in inputs}
        return _unit(self._model.get_text_features(**kept))

    @torch.inference_mode()
    def _forward(self, pictures: Sequence[Image.Image]) -> list[Tensor]:
        """Probabilities (3,) of the surfaces, per image."""
        inputs = self._processor(images=list(pictures), return_tensors="pt")
        dtype = next(self._model.parameters()).dtype
        pixels = inputs["pixel_values"].to(self._device, dtype)
        seen = _unit(self._model.get_image_features(pixel_values=pixels))
        logits = self._scale * (seen @ self._words.T).float().cpu()
        owners = torch.tensor(self._owners)
        best = torch.stack([logits[:, owners == i].amax(1) for i in range(len(SURFACES))], dim=1)
        return list(best.softmax(1))


def _unit(features: Any) -> Tensor:
    vectors: Tensor = getattr(features, "pooler_output", features)
    return vectors / vectors.norm(dim=-1, keepdim=True)


def _picture(image: bytes) -> Image.Image | ItemFailure:
    try:
        return rgb(image)
    except ItemFailure as fault:
        return fault


def _guess(probability: Tensor | None) -> Guess | ItemFailure:
    if probability is None:
        why = "the image does not fit into the device's memory, even in a batch of one"
        return ItemFailure(FailureKind.OUT_OF_MEMORY, why)
    if not probability.isfinite().all():
        return ItemFailure(FailureKind.ENGINE_FAULT, "the model returned NaN or infinity")
    best = int(probability.argmax())
    return SURFACES[best], float(probability[best])
