"""SAM 3 as a batch machine: prompts read once, images embedded once, masks made for what is
chosen."""

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

from actors.segmentation.attention import attend_fast
from actors.segmentation.sam3_prompts import Tokens

#: The maps of one image, finest first: for facebook/sam3 (256, 288, 288), (256, 144, 144),
#: (256, 72, 72); 111 MB as float32.
Maps = tuple[Tensor, ...]


@dataclass(frozen=True)
class Concept:
    """A prompt as the model has read it.

    Attributes:
        features: float32 (length, width), one row per token.
        mask: bool (length,), false for padding.
        floor: lowest score of a candidate, 0..1.
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
    """What may be seen of one prompt in one image: n candidates that reach the floor.

    Attributes:
        boxes: float32 (n, 4), x0, y0, x1, y1 relative to the image, not clipped, on the CPU.
        scores: float32 (n,), 0..1, on the CPU: the probability of the query times that of the
            prompt's presence in the image, as the library's post-processing has it.
        finite: false where the model answered NaN or infinity.
        queries: (n, width), on the device: what the mask decoder wants of the candidates.
        scene: (cells, width), on the device: the coarsest map as seen with the prompt; None where
            n is 0, so that a prompt that nothing answers to holds no memory (5 MB as float32).
    """

    boxes: Tensor
    scores: Tensor
    finite: bool
    queries: Tensor
    scene: Tensor | None


@dataclass(frozen=True)
class Outline:
    """Masks to be made: of some candidates, queries (n, width), of one pair."""

    pair: Pair
    queries: Tensor
    scene: Tensor


class MasksLater(nn.Module):
    """Stands where the model has its mask decoder, and hands on what that would have read.

    The library makes a mask for every query of every prompt. Most prompts are not in most images,
    and few queries are chosen: a pair without instances saves 1.2 s of the 5.1 s that it takes
    behind the image encoder (one CPU thread, 1,008 px), and copies of the finest map, 85 MB each.
    """

    def forward(
        self, decoder_queries: Tensor, encoder_hidden_states: Tensor, **_: Any
    ) -> Sam3MaskDecoderOutput:
        """Queries in the place of masks, the image in the place of the semantic map."""
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
        """Move `model` to `device` and read the prompts; afterwards its text encoder is dropped.

        That is 353 M of facebook/sam3's 840 M parameters, 1.4 GB.

        Args:
            prompts, floors: of each prompt its tokens and its candidates' lowest score.
            dtype: float32, or the one that autocast computes matrix products in. Weights in half
                precision would take coordinates with them: bfloat16 has 8 bits, 4 of 1,008 pixels.
        """
        nn.Module.to(model, device)  # the library's own hides what it takes from mypy
        self.device, self._dtype, self._model = device, dtype, model
        self.concepts = [
            self._read(tokens, floor) for tokens, floor in zip(prompts, floors, strict=True)
        ]
        del model.text_encoder
        self._mask_decoder = model.mask_decoder
        model.add_module("mask_decoder", MasksLater())
        if dtype != torch.float32:
            for module in model.vision_encoder.modules():
                if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                    module.to(dtype)  # once, where autocast would do it in every forward
            attend_fast(model.vision_encoder, device, dtype)

    @torch.inference_mode()
    def _read(self, tokens: Tokens, floor: float) -> Concept:
        mask = torch.tensor([tokens.mask], device=self.device)
        ids = torch.tensor([tokens.input_ids], device=self.device)
        features = self._model.get_text_features(ids, attention_mask=mask).pooler_output
        return Concept(features[0], mask[0].bool(), floor)

    @torch.inference_mode()
    def embed(self, pixels: Sequence[Tensor]) -> list[Maps]:
        """Maps of images (3, size, size), normalised. Raises torch.OutOfMemoryError."""
        batch = torch.stack(list(pixels)).to(self.device)
        with self._autocast():
            seen = self._model.get_vision_features(batch)
        # The coarsest of them is for video; the image model drops it too.
        return list(zip(*seen.fpn_hidden_states[:-1], strict=True))

    @torch.inference_mode()
    def look(self, pairs: Sequence[Pair]) -> list[Sighting]:
        """What is seen of each pair, whatever the others are. Raises torch.OutOfMemoryError."""
        coarse = torch.stack([pair.maps[-1] for pair in pairs])
        # The library lays positions out in the dtype of the maps: as bfloat16 they are wrong by up
        # to a quarter of a cell, 0.3 % of the image's side.
        positions = self._model.vision_encoder.neck.position_encoding(
            coarse[:1].shape, self.device, torch.float32
        ).expand(len(pairs), -1, -1, -1)
        with self._autocast():
            out = self._model(
                vision_embeds=Sam3VisionEncoderOutput(
                    # Finer maps are for the mask decoder; the model drops the last of those given.
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
            scene.clone() if len(chosen) else None,  # a view would keep the whole pack
        )

    @torch.inference_mode()
    def masks(self, outlines: Sequence[Outline]) -> list[Tensor]:
        """For each outline float32 (n, h, w), above 0 inside the mask, NaN where the model is.

        The library up-samples probabilities and cuts them at 0.5, which gives other edges than
        logits cut at 0: this is the probability less 0.5. Raises torch.OutOfMemoryError.
        """
        levels = zip(*(outline.pair.maps for outline in outlines), strict=True)
        concepts = [outline.pair.concept for outline in outlines]
        with self._autocast():
            out = self._mask_decoder(
                # No query meets another here, so that padding changes nothing.
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
