"""The config of the fallback reader: what is sent of a page, and what is asked about it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from actors.endpoint.settings import EndpointConfig
from actors.escalation.prompts import LINE_PROMPT, PAGE_PROMPT


class VlmConfig(EndpointConfig):
    """Which model is asked about which part of a page."""

    mode: Literal["page", "regions"] = Field(
        "page",
        description="page: send whole pages; regions: send crops of the weak lines, and the "
        "page where crops cannot help",
    )
    prompt: str = Field(PAGE_PROMPT, min_length=1, description="the question about a whole page")
    line_prompt: str = Field(
        LINE_PROMPT, min_length=1, description="the question about a crop of one line"
    )
    line_score: float = Field(
        0.8,
        ge=0,
        le=1,
        description="mode regions: lines below this score, or without one, are sent",
    )
    max_regions: int = Field(
        24, ge=1, le=100, description="mode regions: a page with more weak lines is sent whole"
    )
    max_side: int = Field(1600, ge=64, description="pixels; larger images are reduced to this")
    jpeg_quality: int = Field(90, ge=1, le=100, description="of the pictures that are sent")
