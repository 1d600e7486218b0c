"""Settings of OmniParser. No heavy imports: the driver reads them to check a config."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from actors.contract import Device
from actors.hub_model import HubCheckpoint


class OmniParserConfig(HubCheckpoint):
    """Weights and thresholds. The defaults are those of OmniParser's server."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {"local_files_only", "device", "images_at_once", "captions_at_once"}
    )

    model: str = Field(
        description="a directory in OmniParser's layout: icon_detect_v3/model.pt (TorchScript) or "
        "icon_detect/model.pt (ultralytics), and icon_caption/; or a hub id "
        "(microsoft/OmniParser-v2.0) with a pinned revision"
    )
    revision: str | None = Field(
        None, description="commit on the hub, 40 digits; required because TorchScript is code"
    )
    tokenizer: str | None = Field(
        None,
        description="directory or hub id (microsoft/Florence-2-base) of the captioner's tokenizer; "
        "null: in the directory of the captioner's weights",
    )
    device: Device = "auto"
    image_size: int = Field(
        640, ge=32, multiple_of=32, description="longer side of the detector's input, pixels"
    )
    min_score: float = Field(0.05, ge=0, le=1, description="minimum score of an icon")
    nms_iou: float = Field(
        0.1, gt=0, le=1, description="IoU of NMS: of icons that overlap by more, the best is kept"
    )
    max_overlap: float = Field(
        0.7,
        gt=0,
        le=1,
        description="after NMS, of icons that overlap by a larger share, the smallest is kept",
    )
    max_icons: int = Field(300, ge=1, description="maximum icons per screenshot; the best are kept")
    captions: bool = Field(True, description="caption icons without text")
    caption_size: int = Field(
        64,
        ge=32,
        multiple_of=32,
        description="side of the square that icons are resized to for captions, in pixels; "
        "OmniParser uses 64 on a GPU and 768 on a CPU, with 100 times the work",
    )
    caption_tokens: int = Field(20, ge=1, description="maximum tokens of a caption")
    images_at_once: int | None = Field(
        None, ge=1, description="batch size of the detector; null: 1 on cpu, 16 on cuda"
    )
    captions_at_once: int | None = Field(
        None, ge=1, description="batch size of the captioner; null: 8 on cpu, 128 on cuda"
    )
