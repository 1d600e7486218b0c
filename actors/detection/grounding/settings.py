"""Settings of text-prompted detectors, free of heavy imports: the driver reads them too."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from actors.contract import Dtype
from actors.hub_model import HubModel
from actors.images.tiles import Tiles
from actors.ontology import Ontology, Score


class GroundingDinoConfig(HubModel):
    """Which weights, what to look for, and how to look."""

    operational: ClassVar[frozenset[str]] = HubModel.operational | {"forward_pixels"}

    engine: Literal["grounding_dino"] = "grounding_dino"
    dtype: Dtype = Field(
        "auto",
        description="of matrix products; auto: bfloat16 where the device multiplies it (cuda, CPUs "
        "with AMX or AVX512_BF16), else float32",
    )
    ontology: Ontology
    nms_iou: float = Field(
        0.7, gt=0, le=1, description="boxes of one class that overlap by this IoU are one object"
    )
    min_score: Score | None = Field(
        None,
        description="also write candidates below the threshold of their class, down to this "
        "score, with kept = false; null: none",
    )
    tiles: Tiles | None = Field(None, description="for small objects; null: the whole image only")
    size_step: int = Field(
        1,
        ge=1,
        description="images go through the model together if their input sizes, padded to a "
        "multiple of this many pixels, are equal; 1: as the library alone; 32 or 64 fills "
        "batches of unequal images on a GPU (1.5 to 2 x) and moves boxes by 0.2 % of the side",
    )
    forward_pixels: int | None = Field(
        None,
        gt=0,
        description="pixels of one forward at the model's input size; null: 163,840 on cpu, the "
        "whole batch on cuda",
    )
