"""The config of the fallback reader."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from actors.endpoint.settings import EndpointConfig
from actors.escalation.prompts import LINE_PROMPT, PAGE_PROMPT


class VlmConfig(EndpointConfig):
    """The fallback reader's endpoint, its images and its prompts."""

    mode: Literal["page", "regions"] = Field(
        "page",
        description="page: send full pages; regions: send crops of the weak lines, or the full "
        "page if crops cannot help",
    )
    prompt: str = Field(PAGE_PROMPT, min_length=1, description="prompt for a full page")
    line_prompt: str = Field(
        LINE_PROMPT, min_length=1, description="prompt for the crop of one line"
    )
    line_score: float = Field(
        0.8,
        ge=0,
        le=1,
        description="mode regions: lines with a lower score or without a score are sent",
    )
    max_regions: int = Field(
        24, ge=1, le=100, description="mode regions: with more weak lines the full page is sent"
    )
    max_side: int = Field(
        1600, ge=64, description="pixels; images with a larger longer side are reduced to it"
    )
    jpeg_quality: int = Field(90, ge=1, le=100, description="JPEG quality of the sent images")
