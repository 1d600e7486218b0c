"""OmniParser: screenshots in, what lies on them out: icons with captions, and text.

OmniParser (Lu et al. 2024, arXiv 2408.00203) is no package but a recipe: a detector of what can be
clicked, an OCR reader, rules that join the two (`actors.screens.merging`), and a captioner for
icons without text. Here the lines come from our own reader and every score is kept; OmniParser's
own output drops them.

LICENCE: OmniParser's code, captioner and third detector are MIT. Its older detectors are
ultralytics checkpoints under AGPL-3.0, run by the extra `yolo`; see `actors.yolo`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field

from actors.contract import Actor, Settings
from actors.failures import FAILURE, parted
from actors.grounding.settings import Device
from actors.ocr.line import LINES
from actors.screens.element import ELEMENTS


class OmniParserConfig(Settings):
    """Which weights, and how to look. Defaults are those of OmniParser's own server."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {"local_files_only", "device", "images_at_once", "captions_at_once"}
    )

    model: str = Field(
        description="a directory in OmniParser's layout: icon_detect_v3/model.pt (TorchScript) or "
        "icon_detect/model.pt (ultralytics), and icon_caption/; or its id on the hub "
        "(microsoft/OmniParser-v2.0) with a pinned revision"
    )
    revision: str | None = Field(
        None, description="commit on the hub, 40 digits: a TorchScript file is code"
    )
    local_files_only: bool = Field(False, description="never ask the hub, take what is cached")
    tokenizer: str | None = Field(
        None,
        description="directory or hub id (microsoft/Florence-2-base) of the captioner's tokenizer; "
        "null: it lies beside the captioner's weights",
    )
    device: Device = Field("auto", description="auto: cuda where there is one, else cpu")
    image_size: int = Field(
        640, ge=32, multiple_of=32, description="longer side of the detector's input, pixels"
    )
    min_score: float = Field(0.05, ge=0, le=1, description="of an icon")
    nms_iou: float = Field(
        0.1, gt=0, le=1, description="icons that overlap by this IoU are one, the stronger"
    )
    max_overlap: float = Field(
        0.7, gt=0, le=1, description="of icons that overlap by more, the smaller stays"
    )
    max_icons: int = Field(300, ge=1, description="on one screenshot, strongest first")
    captions: bool = Field(True, description="ask what icons without text show")
    caption_size: int = Field(
        64,
        ge=32,
        multiple_of=32,
        description="icons are captioned as squares of so many pixels; 64 is what OmniParser does "
        "on a GPU, 768 what it does on a CPU, at 100 times the work",
    )
    caption_tokens: int = Field(20, ge=1, description="of a caption at most")
    images_at_once: int | None = Field(
        None, ge=1, description="of one forward of the detector; null: 1 on cpu, 16 on cuda"
    )
    captions_at_once: int | None = Field(
        None, ge=1, description="of one forward of the captioner; null: 8 on cpu, 128 on cuda"
    )


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
        from actors.screens.parser import ScreenParser  # torch: seconds, and not for the driver

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
