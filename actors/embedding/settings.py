"""Settings of the embedders. No heavy imports: the driver reads them to check a config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, Tag

from actors.contract import Dtype, Settings, by_engine
from actors.failures import ItemFailure
from actors.hub_model import HubModel
from actors.images.settings import DecodeThreads

Vector = npt.NDArray[np.float32]


#: The column `embedding`: float16 of unit length (L2); the engine sets the dimension. Null: none.
EMBEDDING = pa.list_(pa.float16())


class StatisticsConfig(Settings):
    """Statistics of colours and edges; they need no weights.

    Images with similar colours and layout are close. The statistics do not recognise objects: they
    find near duplicates, but not images of the same kind.
    """

    engine: Literal["statistics"] = "statistics"


class TimmConfig(HubModel):
    """A timm backbone, e.g. DINOv2: its checkpoint and batch sizes."""

    operational: ClassVar[frozenset[str]] = HubModel.operational | {
        "images_at_once",
        "decode_threads",
    }

    engine: Literal["timm"] = "timm"
    model: str = Field(
        description="a checkpoint's directory (config.json and model.safetensors, in timm's hub "
        "format), or its id on the hub (timm/vit_small_patch14_dinov2.lvd142m)"
    )
    dtype: Dtype = Field(
        "auto",
        description="auto: bfloat16 on cuda and on CPUs with AMX or AVX512_BF16, else float32",
    )
    images_at_once: int | None = Field(
        None, ge=1, description="images per forward pass; null: 8 on cpu, 64 on cuda"
    )
    decode_threads: DecodeThreads = 2


Embedder = Annotated[
    Annotated[StatisticsConfig, Tag("statistics")] | Annotated[TimmConfig, Tag("timm")],
    by_engine("statistics", "timm"),
]


class Engine(Protocol):
    """An embedder."""

    provenance: dict[str, str]

    def vectors(self, images: Sequence[bytes]) -> list[Vector | ItemFailure]:
        """A vector of each encoded image, of any length above 0, or its failure."""
