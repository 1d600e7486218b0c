"""Settings of SAM 2 and SAM 3. Light: the driver imports them to check a config."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from actors.hub_model import HubModel
from actors.ontology import Ontology, Score


class Sam2Config(HubModel):
    """Which weights, and how much at once."""

    operational: ClassVar[frozenset[str]] = HubModel.operational | {
        "images_at_once",
        "boxes_at_once",
        "decode_threads",
    }

    model: str = Field(
        description="a checkpoint's directory, its id on the hub (owner/name), or one of Meta's "
        "original .pt files"
    )
    meta_config: str | None = Field(
        None, description="for a .pt file: the config it was published with, sam2.1_hiera_l.yaml"
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="of encoder and decoder; auto: bfloat16 where the device multiplies it (cuda, "
        "CPUs with AMX or AVX512_BF16), else float32; prompts are float32 always",
    )
    images_at_once: int | None = Field(
        None, ge=1, description="images of one forward of the encoder; null: 1 on cpu, 8 on cuda"
    )
    boxes_at_once: int | None = Field(
        None,
        ge=1,
        description="boxes of one forward of the decoder, whatever images they are on; null: 4 on "
        "cpu, 64 on cuda",
    )
    decode_threads: int = Field(
        2, ge=1, description="images decoded at once, beside the model's forwards"
    )


class Sam3Config(HubModel):
    """Which weights, what to look for, and how much at once."""

    operational: ClassVar[frozenset[str]] = HubModel.operational | {
        "images_at_once",
        "prompts_at_once",
        "decode_threads",
    }

    engine: Literal["sam3"] = "sam3"
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="of matrix products; auto: bfloat16 where the device multiplies it (cuda, CPUs "
        "with AMX or AVX512_BF16), else float32; coordinates are float32 always",
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
    images_at_once: int | None = Field(
        None, ge=1, description="images of one forward of the encoder; null: 1 on cpu, 8 on cuda"
    )
    prompts_at_once: int | None = Field(
        None,
        ge=1,
        description="prompts of one forward behind the encoder, each on one image, whichever; "
        "null: 1 on cpu, 16 on cuda",
    )
    decode_threads: int = Field(
        2, ge=1, description="images decoded at once, beside the model's forwards"
    )
