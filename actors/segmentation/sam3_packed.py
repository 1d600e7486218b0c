"""SAM 3 in batches: prompts and images are encoded once; only selected objects get masks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import Sam3Model
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.sam3.modeling_sam3 import Sam3MaskDecoderOutput, Sam3VisionEncoderOutput

from actors.loading import narrow_products
from actors.segmentation.attention import attend_fast
from actors.segmentation.sam3_prompts import Tokens

#: Feature maps of one image, finest first. For facebook/sam3: (256, 288, 288), (256, 144, 144),
#: (256, 72, 72); 111 MB as float32.
Maps = tuple[Tensor, ...]


@dataclass(frozen=True)
class Concept:
    """An encoded prompt.

    Attributes:
        features: float32 (length, width), one row per token.
        mask: bool (length,), false for padding.
        floor: minimum score of a candidate, 0..1.
    """

    features: Tensor
    mask: Tensor
    floor: float


@dataclass(frozen=True)
class Pair:
    """One prompt to look for in one image."""

    maps: Maps
    concept: Concept


@dataclass(frozen=True)
class Sighting:
    """The n candidates of one prompt in one image with at least the minimum score.

    Attributes:
        boxes: float32 (n, 4), x0, y0, x1, y1 relative to the image, not clipped, on the CPU.
        scores: float32 (n,), 0..1, on the CPU: probability of the query times the probability of
            the prompt's presence in the image, as in the library's post-processing.
        finite: whether the output has neither NaN nor infinity.
        queries: (n, width), on the device: the candidates' input of the mask decoder.
        scene: (cells, width), on the device: the coarsest map conditioned on the prompt (5 MB as
            float32). None if n is 0, to save memory.
    """

    boxes: Tensor
    scores: Tensor
    finite: bool
    queries: Tensor
    scene: Tensor | None


@dataclass(frozen=True)
class Outline:
    """Masks to compute for some candidates, queries (n, width), of one pair."""

    pair: Pair
    queries: Tensor
    scene: Tensor


class MasksLater(nn.Module):
    """Replaces the model's mask decoder and returns the decoder's input.

    The library computes a mask for every query of every prompt, but few queries are selected. A
    pair without instances then saves 1.2 of 5.1 s after the image encoder (one CPU thread,
    1,008 px), and a copy of the finest map, 85 MB.
    """

    def forward(
        self, decoder_queries: Tensor, encoder_hidden_states: Tensor, **_: Any
    ) -> Sam3MaskDecoderOutput:
        """Returns the queries as `pred_masks` and the image as `semantic_seg`."""
        return Sam3MaskDecoderOutput(pred_masks=decoder_queries, semantic_seg=encoder_hidden_states)


class PackedSam3:
    """Runs a Sam3Model on pairs of image and prompt."""

    def __init__(
        self,
        model: Sam3Model,
        prompts: Sequence[Tokens],
        floors: Sequence[float],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """Move `model` to `device`, encode the prompts, and delete the text encoder.

        The text encoder has 353 M of facebook/sam3's 840 M parameters, 1.4 GB.

        Args:
            prompts, floors: tokens and minimum score of each prompt.
            dtype: float32, or the dtype of autocast for matrix products and of their weights. A
                model wholly in bfloat16 would also have coordinates with 8 bits: steps of 4 pixels
                at 1,008.
        """
        nn.Module.to(model, device)  # mypy cannot see the arguments of the library's own
        self.device, self._dtype, self._model = device, dtype, model
        self.concepts = [
            self._read(tokens, floor) for tokens, floor in zip(prompts, floors, strict=True)
        ]
        del model.text_encoder
        self._mask_decoder = model.mask_decoder
        model.add_module("mask_decoder", MasksLater())
        narrow_products(model, dtype)
        narrow_products(self._mask_decoder, dtype)
        if dtype != torch.float32:
            attend_fast(model.vision_encoder, device, dtype)

    @torch.inference_mode()
    def _read(self, tokens: Tokens, floor: float) -> Concept:
        mask = torch.tensor([tokens.mask], device=self.device)
        ids = torch.tensor([tokens.input_ids], device=self.device)
        features = self._model.get_text_features(ids, attention_mask=mask).pooler_output
        return Concept(features[0], mask[0].bool(), floor)

    @torch.inference_mode()
    def embed(self, pixels: Sequence[Tensor]) -> list[Maps]:
        """Feature maps of normalised images (3, size, size). Raises torch.OutOfMemoryError."""
        batch = torch.stack(list(pixels)).to(self.device)
        with self._autocast():
            seen = self._model.get_vision_features(batch)
        # The coarsest map is for video; the library's image model drops it, too.
        return list(zip(*seen.fpn_hidden_states[:-1], strict=True))

    @torch.inference_mode()
    def look(self, pairs: Sequence[Pair]) -> list[Sighting]:
        """The candidates of each pair, independent of the others. Raises torch.OutOfMemoryError."""
        coarse = torch.stack([pair.maps[-1] for pair in pairs])
        # The library computes positions in the dtype of the maps. In bfloat16 the error is up to a
        # quarter of a cell, 0.3 % of the image's side.
        positions = self._model.vision_encoder.neck.position_encoding(
            coarse[:1].shape, self.device, torch.float32
        ).expand(len(pairs), -1, -1, -1)
        with self._autocast():
            out = self._model(
                vision_embeds=Sam3VisionEncoderOutput(
                    # The finer maps are only for the mask decoder. The model drops the last map.
                    fpn_hidden_states=(coarse, coarse),
                    fpn_position_encoding=(positions, positions),
                ),
                text_embeds=BaseModelOutputWithPooling(
                    pooler_output=torch.stack([pair.concept.features for pair in pairs])
                ),
                attention_mask=torch.stack([pair.concept.mask for pair in pairs]),
            )
        scores = out.pred_logits.float().sigmoid() * out.presence_logits.float().sigmoid()
        answers = zip(
            pairs,
            scores.cpu(),
            out.pred_boxes.float().cpu(),
            out.pred_masks,  # see MasksLater
            out.semantic_seg,
            strict=True,
        )
        return [self._sighting(*answer) for answer in answers]

    def _sighting(
        self, pair: Pair, scores: Tensor, boxes: Tensor, queries: Tensor, scene: Tensor
    ) -> Sighting:
        chosen = (scores >= pair.concept.floor).nonzero()[:, 0]
        return Sighting(
            boxes[chosen],
            scores[chosen],
            bool(scores.isfinite().all() and boxes.isfinite().all()),
            queries[chosen.to(self.device)],
            scene.clone() if len(chosen) else None,  # a view would keep the whole batch in memory
        )

    @torch.inference_mode()
    def masks(self, outlines: Sequence[Outline]) -> list[Tensor]:
        """For each outline the probability minus 0.5, float32 (n, h, w): above 0 inside the mask.

        The library up-samples probabilities and thresholds them at 0.5. Logits thresholded at 0
        would give different edges. NaN stays NaN. Raises torch.OutOfMemoryError.
        """
        levels = zip(*(outline.pair.maps for outline in outlines), strict=True)
        concepts = [outline.pair.concept for outline in outlines]
        with self._autocast():
            out = self._mask_decoder(
                # Queries do not interact here, so padding does not change results.
                decoder_queries=pad_sequence([o.queries for o in outlines], batch_first=True),
                backbone_features=[torch.stack(maps) for maps in levels],
                encoder_hidden_states=torch.stack([outline.scene for outline in outlines]),
                prompt_features=torch.stack([concept.features for concept in concepts]),
                prompt_mask=torch.stack([concept.mask for concept in concepts]),
            )
        return [
            logits[: len(outline.queries)].float().sigmoid() - 0.5
            for outline, logits in zip(outlines, out.pred_masks, strict=True)
        ]

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, self._dtype, enabled=self._dtype != torch.float32)
