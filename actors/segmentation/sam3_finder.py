"""Turns encoded images into instances with masks: decode, embed, detect, select, segment."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from actors.checkpoints import best_on_cpu, pick_placement
from actors.detection.boxes import Candidates, Selector
from actors.failures import FailureKind, ItemFailure
from actors.images.batches import Fitting, ahead, halving, parts
from actors.images.mask_logits import encode
from actors.images.rle import unestimated
from actors.instances import Instance, MaskValue
from actors.segmentation.inputs import Inputs, Resized
from actors.segmentation.sam3_checkpoint import load_sam3
from actors.segmentation.sam3_packed import Maps, Outline, PackedSam3, Pair, Sighting
from actors.segmentation.sam3_prompts import tokens_of
from actors.segmentation.settings import Sam3Config

#: (cpu, cuda). Seconds on one CPU thread, for the architecture of facebook/sam3 at 1,008 px: 76 to
#: embed an image; per prompt 3.9 to detect at batch 1, 4.0 at 2 and 4.5 at 4, and 1.2 for its masks
#: at any of these batch sizes. The values for cuda are not measured.
IMAGES_AT_ONCE = (1, 8)
PROMPTS_AT_ONCE = (1, 16)


@dataclass(frozen=True)
class Finding:
    """The columns of one row: values, failures, or None."""

    boxes: list[Instance] | ItemFailure | None
    masks: list[MaskValue] | ItemFailure | None


@dataclass(frozen=True)
class Chosen:
    """The instances of one image.

    Attributes:
        candidates: index of each instance among the image's candidates.
        outlines: the masks to compute, in the order of the candidates.
    """

    instances: list[Instance]
    candidates: list[int]
    outlines: list[Outline] = field(default_factory=list)


class Finder:
    """A loaded SAM 3 with its prompts and rules."""

    def __init__(
        self, config: Sam3Config, timed: Callable[[str], AbstractContextManager[None]]
    ) -> None:
        """`timed(step)` adds the wall time of its block to a step. Raises SetupError."""
        place = pick_placement(config.device, config.dtype, on_cpu=best_on_cpu())
        loaded = load_sam3(config)
        text: Any = loaded.model.config.text_config
        prompts = tokens_of(
            list(config.ontology.prompts()),
            loaded.processor.tokenizer,
            limit=text.max_position_embeddings,
        )
        self._timed = timed
        self._inputs = Inputs(
            loaded.processor.image_processor, place.device, config.reduced_jpeg, config.nvjpeg
        )
        self._selector = Selector(config.ontology, config.nms_iou, config.min_score)
        self._sam3 = PackedSam3(
            loaded.model, prompts, self._selector.floors.tolist(), place.device, place.dtype
        )
        images_at_once = config.images_at_once or IMAGES_AT_ONCE[place.on_gpu]
        prompts_at_once = config.prompts_at_once or PROMPTS_AT_ONCE[place.on_gpu]
        self._embedded = Fitting(self._embed, images_at_once)
        self._looked = Fitting(self._sam3.look, prompts_at_once)
        self._drawn = Fitting(self._sam3.masks, prompts_at_once)
        # Maximum images with maps on the device: enough to fill a batch with pairs.
        packed = math.ceil(prompts_at_once / len(prompts))
        self._images_held = max(images_at_once, packed)
        self._threads = ThreadPoolExecutor(config.decode_threads)
        self.provenance = loaded.provenance | place.provenance(transformers)

    def find(self, images: Sequence[bytes | None]) -> list[Finding]:
        """The instances and masks of each image, or its failure; None for None."""
        encoded = [data for data in images if data is not None]
        findings: list[Finding] = []
        for window in ahead(self._prepared, parts(encoded, self._images_held)):
            seen = iter(self._window([one for one in window if isinstance(one, Resized)]))
            findings += [
                Finding(one, None) if isinstance(one, ItemFailure) else next(seen) for one in window
            ]
        rest = iter(findings)
        return [Finding(None, None) if data is None else next(rest) for data in images]

    def _prepared(self, images: Sequence[bytes]) -> list[Resized | ItemFailure]:
        """Decode images in threads while the model runs."""
        with self._timed("decode"):
            return list(self._threads.map(self._inputs.read, images))

    def _embed(self, pixels: Sequence[Tensor]) -> list[Maps]:
        return self._sam3.embed(list(self._inputs.normalised(pixels)))

    def _window(self, images: Sequence[Resized]) -> list[Finding]:
        with self._timed("embed"):
            maps = self._embedded([image.pixels for image in images])
        pairs = [
            Pair(one, concept) for one in maps if one is not None for concept in self._sam3.concepts
        ]
        with self._timed("look"):
            sightings = iter(self._looked(pairs))
        with self._timed("select"):
            chosen = [
                self._chosen(image, one, sightings) for image, one in zip(images, maps, strict=True)
            ]
        outlines = [o for one in chosen if isinstance(one, Chosen) for o in one.outlines]
        with self._timed("draw"):
            drawn = iter(self._drawn(outlines))
        return [
            Finding(one, None)
            if isinstance(one, ItemFailure)
            else Finding(one.instances, self._masks(image, one, drawn))
            for image, one in zip(images, chosen, strict=True)
        ]

    def _chosen(
        self, image: Resized, maps: Maps | None, sightings: Iterator[Sighting | None]
    ) -> Chosen | ItemFailure:
        """The instances of one image, from the next `sightings`; none if `maps` is None."""
        if maps is None:
            return _out_of_memory(
                "the image does not fit into the device's memory, even in a batch of one"
            )
        answers = [next(sightings) for _ in self._sam3.concepts]
        seen = [answer for answer in answers if answer is not None]
        if len(seen) < len(answers):
            return _out_of_memory("a single prompt does not fit into the device's memory")
        if not all(one.finite for one in seen):
            return ItemFailure(FailureKind.ENGINE_FAULT, "the model returned NaN or infinity")
        found = Candidates.joined(
            [_candidates(one, number, image) for number, one in enumerate(seen)]
        )
        # Boxes outside the image and boxes without area are dropped.
        whole = (found.boxes[:, 2:] > found.boxes[:, :2]).all(1).nonzero()[:, 0]
        picked = self._selector.picked(found[whole], "sam3")
        candidates = [int(whole[index]) for index, _ in picked]
        outlines = self._outlines(maps, seen, set(candidates))
        return Chosen([instance for _, instance in picked], candidates, outlines)

    def _outlines(
        self, maps: Maps, seen: Sequence[Sighting], candidates: set[int]
    ) -> list[Outline]:
        """The requests to the mask decoder, in the order of the candidates."""
        outlines = []
        start = 0
        for concept, sighting in zip(self._sam3.concepts, seen, strict=True):
            own = [i for i in range(len(sighting.scores)) if start + i in candidates]
            if own and sighting.scene is not None:
                queries = sighting.queries[torch.tensor(own, device=sighting.queries.device)]
                outlines.append(Outline(Pair(maps, concept), queries, sighting.scene))
            start += len(sighting.scores)
        return outlines

    def _masks(
        self, image: Resized, chosen: Chosen, drawn: Iterator[Tensor | None]
    ) -> list[MaskValue] | ItemFailure:
        """A mask per instance, in their order, from the next values of `drawn`."""
        answers = [next(drawn) for _ in chosen.outlines]
        logits = [answer for answer in answers if answer is not None]
        if len(logits) < len(answers):
            return _out_of_memory(
                "the masks of a single prompt do not fit into the device's memory"
            )
        if not all(part.isfinite().all() for part in logits):
            return ItemFailure(
                FailureKind.ENGINE_FAULT, "the model returned NaN or infinity in a mask"
            )
        by_candidate = dict(
            zip(sorted(chosen.candidates), (one for part in logits for one in part), strict=True)
        )
        with self._timed("encode_masks"):
            rles = halving(
                lambda masks: encode(masks, image.height, image.width),
                [by_candidate[candidate] for candidate in chosen.candidates],
            )
        encoded = [rle for rle in rles if rle is not None]
        if len(encoded) < len(rles):
            size = f"{image.width} x {image.height}"
            return _out_of_memory(f"a single mask of {size} px does not fit into memory")
        boxes = np.array([instance["box"] for instance in chosen.instances]).reshape(-1, 4)
        return unestimated(encoded, boxes)


def _candidates(sighting: Sighting, number: int, image: Resized) -> Candidates:
    """Candidates with boxes in pixels of the upright image. `number`: index of the prompt."""
    edges = torch.tensor([image.width, image.height, image.width, image.height])
    boxes = (sighting.boxes * edges).clamp(torch.zeros(4), edges)
    return Candidates(boxes, sighting.scores, torch.full((len(boxes),), number))


def _out_of_memory(message: str) -> ItemFailure:
    return ItemFailure(FailureKind.OUT_OF_MEMORY, message)
