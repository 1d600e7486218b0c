"""Turns encoded screenshots and their text lines into elements: detect, merge, caption."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from actors.checkpoints import hub_revision, pick_device
from actors.failures import FailureKind, ItemFailure
from actors.images.batches import Fitting
from actors.images.decoding import rgb
from actors.images.letterbox import Letterbox
from actors.lines import LineValue
from actors.screens.element import ElementValue
from actors.screens.florence import Captioner
from actors.screens.icons import Canvas, Found, load_icons, strongest
from actors.screens.merging import merged
from actors.screens.weights import CAPTIONERS, DETECTORS, first_there, weights_folder

if TYPE_CHECKING:
    from actors.screens.settings import OmniParserConfig

#: (cpu, cuda). On a CPU larger batches do not speed up the detector (see
#: `actors.detection.closed_set.detector`).
IMAGES_AT_ONCE, CAPTIONS_AT_ONCE = (1, 16), (8, 128)

Elements = list[ElementValue]


@dataclass
class _Screen:
    """The state of one screenshot during parsing."""

    lines: Sequence[LineValue]
    image: Image.Image | None = None
    frame: Letterbox | None = None
    canvas: Canvas | None = None
    elements: Elements = field(default_factory=list)
    fault: ItemFailure | None = None


class ScreenParser:
    """A loaded detector and captioner."""

    def __init__(
        self, config: OmniParserConfig, timed: Callable[[str], AbstractContextManager[None]]
    ) -> None:
        """`timed(step)` adds the wall time of its block to a step.

        Raises SetupError if files are missing, damaged, of another type or not pinned.
        """
        self._config, self._timed = config, timed
        device = pick_device(config.device)
        on_gpu = device.type == "cuda"
        folder = weights_folder(config)
        detector = first_there(folder, DETECTORS, "icon detector")
        self._icons = load_icons(detector, config.image_size, config.min_score, device)
        self._captioner: Captioner | None = None
        if config.captions:
            captioner = first_there(folder, CAPTIONERS, "captioner")
            sizes = (config.caption_size, config.caption_tokens)
            self._captioner = Captioner(
                captioner, config.tokenizer, *sizes, device, config.local_files_only
            )
        self._found = Fitting(self._icons, config.images_at_once or IMAGES_AT_ONCE[on_gpu])
        captions_at_once = config.captions_at_once or CAPTIONS_AT_ONCE[on_gpu]
        self._captions = Fitting(self._captioner, captions_at_once) if self._captioner else None
        self.provenance = {
            "model": config.model,
            "revision": hub_revision(folder),
            "device": torch.cuda.get_device_name() if on_gpu else "cpu",
            **self._icons.provenance,
            **(self._captioner.provenance if self._captioner else {}),
        }

    def parse(
        self, screenshots: Sequence[tuple[bytes, Sequence[LineValue]]]
    ) -> list[Elements | ItemFailure]:
        """The elements of each (encoded image, lines), or its failure."""
        screens = [_Screen(lines) for _, lines in screenshots]
        with self._timed("decode"):
            for screen, (data, _) in zip(screens, screenshots, strict=True):
                self._decode(screen, data)
        with self._timed("detect"):
            self._detect([screen for screen in screens if screen.canvas is not None])
        if self._captions:
            with self._timed("caption"):
                self._describe(screens, self._captions)
        return [screen.fault or screen.elements for screen in screens]

    def _decode(self, screen: _Screen, data: bytes) -> None:
        try:
            screen.image = rgb(data)
        except ItemFailure as fault:
            screen.fault = fault
            return
        screen.frame, screen.canvas = self._icons.canvas(screen.image)

    def _detect(self, screens: Sequence[_Screen]) -> None:
        """Detect and merge, in batches of equal canvas size."""
        alike: dict[tuple[int, ...], list[_Screen]] = {}
        for screen in screens:
            if screen.canvas is not None:
                alike.setdefault(screen.canvas.shape, []).append(screen)
        for same in alike.values():
            canvases = [screen.canvas for screen in same if screen.canvas is not None]
            answers = self._found(canvases, canvases[0].size)
            for screen, found in zip(same, answers, strict=True):
                self._merge(screen, found)

    def _merge(self, screen: _Screen, found: Found | None) -> None:
        config, frame = self._config, screen.frame
        if found is None or frame is None:
            what = "the screenshot does not fit into the device's memory, even in a batch of one"
            screen.fault = ItemFailure(FailureKind.OUT_OF_MEMORY, what)
        elif not found.finite:
            what = "the detector returned NaN or infinity"
            screen.fault = ItemFailure(FailureKind.ENGINE_FAULT, what)
        else:
            boxes, scores = strongest(found, frame, config.nms_iou, config.max_icons)
            screen.elements = merged(boxes, scores, screen.lines, config.max_overlap)

    def _describe(
        self, screens: Sequence[_Screen], captions: Fitting[Canvas, tuple[str, float | None]]
    ) -> None:
        """Caption the icons without text, in batches over all screenshots."""
        silent = [
            (screen, one)
            for screen in screens
            for one in screen.elements
            if one["type"] == "icon" and one["text"] is None
        ]
        crops = [_crop(screen, one["box"]) for screen, one in silent]
        answers = captions(crops)
        for (screen, one), answer in zip(silent, answers, strict=True):
            if answer is None:
                what = "an icon does not fit into the captioner's memory, even in a batch of one"
                screen.fault = ItemFailure(FailureKind.OUT_OF_MEMORY, what)
                continue
            one["caption"], one["content_score"] = answer[0] or None, answer[1]


def _crop(screen: _Screen, box: Sequence[float]) -> Canvas:
    """RGB pixels of a box, including all pixels that it touches."""
    assert screen.image is not None
    x0, y0, x1, y1 = box
    cut = screen.image.crop((math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1)))
    return np.asarray(cut)
