"""Settings of SAM 2 and SAM 3. No heavy imports: the driver reads them to check a config."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from actors.hub_model import HubModel
from actors.images.settings import DecodeThreads, NvJpeg, ReducedJpeg
from actors.ontology import Ontology, Score


class Sam2Config(HubModel):
    """The checkpoint and batch sizes of a SAM 2."""

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
        None,
        description="for a .pt file: Meta's config of the checkpoint, e.g. sam2.1_hiera_l.yaml",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="dtype of encoder and decoder; auto: bfloat16 on cuda and on CPUs with AMX or "
        "AVX512_BF16, else float32. Prompts are always float32",
    )
    images_at_once: int | None = Field(
        None, ge=1, description="batch size of the encoder, images; null: 1 on cpu, 8 on cuda"
    )
    boxes_at_once: int | None = Field(
        None,
        ge=1,
        description="batch size of the decoder, boxes of any images; null: 4 on cpu, 64 on cuda",
    )
    decode_threads: DecodeThreads = 2
    reduced_jpeg: ReducedJpeg = False
    nvjpeg: NvJpeg = False


class Sam3Config(HubModel):
    """The checkpoint, the ontology, the thresholds and batch sizes of a SAM 3."""

    operational: ClassVar[frozenset[str]] = HubModel.operational | {
        "images_at_once",
        "prompts_at_once",
        "decode_threads",
    }

    engine: Literal["sam3"] = "sam3"
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="dtype of matrix products; auto: bfloat16 on cuda and on CPUs with AMX or "
        "AVX512_BF16, else float32. Coordinates are always float32",
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
    images_at_once: int | None = Field(
        None, ge=1, description="batch size of the encoder, images; null: 1 on cpu, 8 on cuda"
    )
    prompts_at_once: int | None = Field(
        None,
        ge=1,
        description="batch size after the encoder, pairs of prompt and image; null: 1 on cpu, 16 "
        "on cuda",
    )
    decode_threads: DecodeThreads = 2
    reduced_jpeg: ReducedJpeg = False
    nvjpeg: NvJpeg = False
