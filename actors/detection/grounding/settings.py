"""Settings of Grounding DINO. No heavy imports: the driver reads them to check a config."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from actors.contract import Dtype
from actors.hub_model import HubModel
from actors.images.settings import DecodeThreads, NvJpeg, ReducedJpeg
from actors.images.tiles import Tiles
from actors.ontology import Ontology, Score


class GroundingDinoConfig(HubModel):
    """The checkpoint, the ontology and the thresholds of a Grounding DINO."""

    operational: ClassVar[frozenset[str]] = HubModel.operational | {
        "forward_pixels",
        "decode_threads",
    }

    engine: Literal["grounding_dino"] = "grounding_dino"
    dtype: Dtype = Field(
        "auto",
        description="dtype of matrix products; auto: bfloat16 on cuda and on CPUs with AMX or "
        "AVX512_BF16, else float32",
    )
    ontology: Ontology
    nms_iou: float = Field(
        0.7,
        gt=0,
        le=1,
        description="lowest IoU at which two boxes of one class count as one object",
    )
    min_score: Score | None = Field(
        None,
        description="also write candidates below the threshold of their class, down to this "
        "score, with kept = false; null: none",
    )
    tiles: Tiles | None = Field(None, description="for small objects; null: only the full image")
    size_step: int = Field(
        1,
        ge=1,
        description="input sizes are padded to a multiple of this many pixels; images of equal "
        "padded size share a batch. 1: no extra padding. 32 or 64: fuller batches of images of "
        "different size on a GPU (1.5 to 2 x faster); boxes move by 0.2 % of the side",
    )
    forward_pixels: int | None = Field(
        None,
        gt=0,
        description="maximum pixels per forward pass, at the model's input size; null: 163,840 on "
        "cpu, the whole batch on cuda",
    )
    decode_threads: DecodeThreads = 2
    reduced_jpeg: ReducedJpeg = False
    nvjpeg: NvJpeg = False
