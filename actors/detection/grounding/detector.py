"""Turns encoded images into instances: decode, group, run the model, select."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from actors.detection.boxes import Candidates, Selector, in_view
from actors.detection.grounding.forward import ChunkScores, Forward
from actors.detection.grounding.prompts import PromptChunk, marks_of, pack
from actors.detection.grounding.settings import GroundingDinoConfig
from actors.detection.grounding.weights import Loaded, load_grounding_dino
from actors.detection.tile_parts import without_parts
from actors.failures import FailureKind, ItemFailure
from actors.images.batches import Fitting, ahead
from actors.images.device_jpeg import device_jpeg
from actors.images.encoded import EncodedImage
from actors.images.kept import KEPT
from actors.images.views import SizeRule, View, grouped, views_of
from actors.instances import Instance

log = logging.getLogger(__name__)

#: Maximum pixels per forward pass on a CPU, with padding; a larger image goes alone. Time per image
#: on one core: the pocket model at 120 x 160 takes 12 ms at batch 1, 6.2 at 8, 6.1 at 16;
#: grounding-dino-tiny at 800 x 800 takes 7.9 s at batch 1 and 7.4 s at 2, with 1.2 GB more memory.
CPU_FORWARD_PIXELS = 8 * 128 * 160
UNLIMITED = 10**12

Crop = tuple[View, Tensor | ItemFailure]


class Detector:
    """A loaded model with its prompts and rules."""

    def __init__(
        self, config: GroundingDinoConfig, timed: Callable[[str], AbstractContextManager[None]]
    ) -> None:
        """`timed(step)` adds the wall time of its block to a step. Raises SetupError."""
        loaded = load_grounding_dino(config)
        chunks = _chunks(config, loaded)
        self._timed, self._tiles, self._reduced = timed, config.tiles, config.reduced_jpeg
        self._jpeg = device_jpeg(config.nvjpeg, loaded.device)
        self._forward = Forward(loaded, chunks, loaded.dtype)
        self._answers = Fitting(self._forward)
        self._selector = Selector(config.ontology, config.nms_iou, config.min_score)
        sides = loaded.processor.image_processor.size
        self._rule = SizeRule(
            sides["shortest_edge"],
            sides["longest_edge"],
            loaded.model.config.num_queries,
            config.size_step,
        )
        default_pixels = UNLIMITED if loaded.device.type == "cuda" else CPU_FORWARD_PIXELS
        self._forward_pixels = config.forward_pixels or default_pixels
        self._threads = ThreadPoolExecutor(config.decode_threads)
        self.provenance = loaded.provenance | {"forwards_per_image": str(len(chunks))}

    @torch.inference_mode()
    def find(self, images: Sequence[bytes | None]) -> list[list[Instance] | ItemFailure | None]:
        """The instances of each image, or its failure; None for None."""
        KEPT.clear()
        pictures: dict[int, EncodedImage] = {}
        failed: dict[int, ItemFailure] = {}
        for row, data in enumerate(images):
            try:
                if data is not None:
                    pictures[row] = EncodedImage(data, keep=True, jpeg=self._jpeg)
            except ItemFailure as fault:
                failed[row] = fault
        found: dict[int, list[tuple[View, Candidates]]] = {row: [] for row in pictures}
        for group in ahead(lambda views: self._cropped(views, pictures), self._groups(pictures)):
            failed |= {view.row: crop for view, crop in group if isinstance(crop, ItemFailure)}
            for view, candidates in self._seen(group, pictures):
                if isinstance(candidates, ItemFailure):
                    failed[view.row] = candidates
                else:
                    found[view.row].append((view, candidates))
        with self._timed("select"):
            instances = {
                row: self._instances(parts) for row, parts in found.items() if row not in failed
            }
        return [failed.get(row, instances.get(row)) for row in range(len(images))]

    def _groups(self, pictures: dict[int, EncodedImage]) -> list[list[View]]:
        views: list[View] = []
        for row, picture in pictures.items():
            own = views_of(row, picture.width, picture.height, self._rule, self._tiles)
            picture.crops = len(own)
            if self._reduced and len(own) == 1:
                picture.need = own[0].size
            views += own
        return grouped(views, self._forward_pixels)

    def _cropped(self, views: Sequence[View], pictures: dict[int, EncodedImage]) -> list[Crop]:
        """The pixels of each view at its input size, while the model runs."""

        def resized(view: View) -> Tensor | ItemFailure:
            crop = pictures[view.row].crop(view.box)
            return self._forward.resized(view, crop) if isinstance(crop, Tensor) else crop

        with self._timed("decode"):
            return list(zip(views, self._threads.map(resized, views), strict=True))

    def _seen(
        self, group: Sequence[Crop], pictures: dict[int, EncodedImage]
    ) -> list[tuple[View, Candidates | ItemFailure]]:
        """Candidates of each readable view of one group."""
        ready = [(view, crop) for view, crop in group if isinstance(crop, Tensor)]
        with self._timed("forward"):
            answers = self._answers(ready, math.prod(group[0][0].padded))
        return [
            (view, self._candidates(view, pictures[view.row], answer))
            for (view, _), answer in zip(ready, answers, strict=True)
        ]

    def _candidates(
        self, view: View, picture: EncodedImage, answer: list[ChunkScores] | None
    ) -> Candidates | ItemFailure:
        if answer is None:
            size = f"{view.size[1]} x {view.size[0]} px"
            what = (
                f"an input of {size} does not fit into the device's memory, even in a batch of one"
            )
            return ItemFailure(FailureKind.OUT_OF_MEMORY, what)
        parts = []
        for chunk in answer:
            if not math.isfinite(float(chunk.scores.sum() + chunk.boxes.sum())):
                return ItemFailure(FailureKind.ENGINE_FAULT, "the model returned NaN or infinity")
            wanted = chunk.scores >= self._selector.floors[chunk.prompts]
            query, phrase = wanted.nonzero(as_tuple=True)
            found = Candidates(chunk.boxes[query], chunk.scores[wanted], chunk.prompts[phrase])
            if len(query):  # most images have no candidates and skip this step
                boxes, whole = in_view(found.boxes, view.box, picture.width, picture.height)
                found = Candidates(boxes, found.scores, found.prompts)[whole]
            parts.append(found)
        return parts[0] if len(parts) == 1 else Candidates.joined(parts)

    def _instances(self, parts: Sequence[tuple[View, Candidates]]) -> list[Instance]:
        """The instances of one image, from the candidates of its views."""
        # The full image first: it is larger than its tiles.
        views = [one for _, one in sorted(parts, key=lambda part: -_area(part[0]))]
        found, select = views[0], self._selector
        if len(views) > 1 and any(len(one.scores) > 0 for one in views):
            found = without_parts(views, select.class_of, select.thresholds, select.nms_iou)
        return select.instances(found, "grounding_dino") if len(found.scores) else []


def _area(view: View) -> int:
    x0, y0, x1, y1 = view.box
    return (x1 - x0) * (y1 - y0)


def _chunks(config: GroundingDinoConfig, loaded: Loaded) -> list[PromptChunk]:
    tokenizer, limit = loaded.processor.tokenizer, loaded.model.config.max_text_len
    chunks = pack(
        list(config.ontology.prompts()),
        lambda text: tokenizer(text, add_special_tokens=False)["input_ids"],
        unknown=tokenizer.unk_token_id,
        limit=limit,
        marks=marks_of(tokenizer.get_vocab()),
    )
    if len(chunks) > 1:
        log.warning(
            "the ontology's prompts exceed the limit of %d tokens of %s: each image takes %d "
            "forward passes",
            limit,
            config.model,
            len(chunks),
        )
    return chunks
