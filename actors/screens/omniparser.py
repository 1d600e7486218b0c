"""OmniParser: finds the elements of screenshots, i.e. icons with captions, and text.

OmniParser (Lu et al. 2024, arXiv 2408.00203) is a method, not a package: a detector of clickable
regions, an OCR reader, merging rules (`actors.screens.merging`), and a captioner for icons without
text. This actor takes the lines from our own reader. It keeps all scores, which OmniParser drops.

LICENCE: OmniParser's code, captioner and third detector are MIT. Its older detectors are
ultralytics checkpoints under AGPL-3.0 and need the extra `yolo`; see `actors.detection.yolo`.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from actors.contract import Actor
from actors.failures import FAILURE, parted
from actors.lines import LINES
from actors.screens.element import ELEMENTS
from actors.screens.settings import OmniParserConfig


class OmniParser(Actor[OmniParserConfig]):
    """Finds the elements of pages with `surface` ``screenshot``; all other pages get nulls.

    Reads:
        image: an encoded, upright image (EXIF orientation applied), or null.
        lines: text lines of a reader; null or empty: no text.

    Writes:
        elements: see `actors.screens.element`; null without an image or after a failure.
        parse_failure: CORRUPT_IMAGE, TOO_MANY_PIXELS, OUT_OF_MEMORY (in a batch of one),
            ENGINE_FAULT (NaN from the detector).

    We have not measured its accuracy. OmniParser's paper reports accuracy with the published
    weights and another OCR reader.
    """

    reads = pa.schema([("image", pa.binary()), ("lines", LINES), ("surface", pa.string())])
    writes = pa.schema([("elements", ELEMENTS), ("parse_failure", FAILURE)])
    failure_column = "parse_failure"

    def __init__(self, config: OmniParserConfig) -> None:
        """Raises SetupError (see `actors.screens.parser.ScreenParser`)."""
        super().__init__(config)
        from actors.screens.parser import ScreenParser

        self._parser = ScreenParser(config, self.timed)

    def provenance(self) -> dict[str, str]:
        return self._parser.provenance

    def __call__(self, rows: pa.Table) -> pa.Table:
        images, lines = rows["image"].to_pylist(), rows["lines"].to_pylist()
        surfaces = rows["surface"].to_pylist()
        shown = [i for i, one in enumerate(images) if one and surfaces[i] == "screenshot"]
        found = self._parser.parse([(images[i], lines[i] or []) for i in shown])
        answers: list[Any] = [None] * len(images)
        for i, answer in zip(shown, found, strict=True):
            answers[i] = answer
        elements, failures = parted(answers)
        return rows.append_column("elements", pa.array(elements, ELEMENTS)).append_column(
            "parse_failure", pa.array(failures, FAILURE)
        )
