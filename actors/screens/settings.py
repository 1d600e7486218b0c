"""Settings of OmniParser. Light: the driver imports them to check a config."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from actors.contract import Device
from actors.hub_model import HubCheckpoint


class OmniParserConfig(HubCheckpoint):
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
    tokenizer: str | None = Field(
        None,
        description="directory or hub id (microsoft/Florence-2-base) of the captioner's tokenizer; "
        "null: it lies beside the captioner's weights",
    )
    device: Device = "auto"
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
