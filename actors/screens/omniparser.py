"""OmniParser: screenshots in, what lies on them out: icons with captions, and text.

OmniParser (Lu et al. 2024, arXiv 2408.00203) is no package but a recipe: a detector of what can be
clicked, an OCR reader, rules that join the two (`actors.screens.merging`), and a captioner for
icons without text. Here the lines come from our own reader and every score is kept; OmniParser's
own output drops them.

LICENCE: OmniParser's code, captioner and third detector are MIT. Its older detectors are
ultralytics checkpoints under AGPL-3.0, run by the extra `yolo`; see `actors.detection.yolo`.
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
    """Finds the elements of the pages whose `surface` is ``screenshot``; all others get nulls.

    Reads `image`, an encoded image, upright (EXIF orientation applied), or null; and `lines`, what
    a reader found on it, null or empty: no text.
    Writes `elements` (see `actors.screens.element`), null where `image` is null or `parse_failure`
    says why: CORRUPT_IMAGE, TOO_MANY_PIXELS, OUT_OF_MEMORY (alone in a forward), ENGINE_FAULT (the
    detector answered NaN).

    No accuracy is claimed here: with the published weights it is that of OmniParser's paper as far
    as our OCR reader equals theirs.
    """

    reads = pa.schema([("image", pa.binary()), ("lines", LINES), ("surface", pa.string())])
    writes = pa.schema([("elements", ELEMENTS), ("parse_failure", FAILURE)])
    failure_column = "parse_failure"

    def __init__(self, config: OmniParserConfig) -> None:
        """Raises SetupError: see `actors.screens.parser.ScreenParser`."""
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
