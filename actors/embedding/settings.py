"""Settings of the embedders. Light: the driver imports them to check a config."""

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

Vector = npt.NDArray[np.float32]


#: The column `embedding`: unit length (L2), float16, as long as the engine makes them; null: none.
EMBEDDING = pa.list_(pa.float16())


class StatisticsConfig(Settings):
    """Colours and edges, counted: no weights, no download.

    Two images are near each other if they look alike in colour and layout. It knows nothing about
    what is on them: good for finding near duplicates, not for finding more of a kind.
    """

    engine: Literal["statistics"] = "statistics"


class TimmConfig(HubModel):
    """A backbone of timm, DINOv2 for instance: which weights, and how much at once."""

    operational: ClassVar[frozenset[str]] = HubModel.operational | {
        "images_at_once",
        "decode_threads",
    }

    engine: Literal["timm"] = "timm"
    model: str = Field(
        description="a checkpoint's directory (config.json and model.safetensors, as timm saves "
        "them for the hub), or its id there (timm/vit_small_patch14_dinov2.lvd142m)"
    )
    dtype: Dtype = Field(
        "auto",
        description="auto: bfloat16 where the device multiplies it (cuda, CPUs with AMX or "
        "AVX512_BF16), else float32",
    )
    images_at_once: int | None = Field(
        None, ge=1, description="images of one forward; null: 8 on cpu, 64 on cuda"
    )
    decode_threads: int = Field(
        2, ge=1, description="images decoded at once, beside the model's forwards"
    )


Embedder = Annotated[
    Annotated[StatisticsConfig, Tag("statistics")] | Annotated[TimmConfig, Tag("timm")],
    by_engine("statistics", "timm"),
]


class Engine(Protocol):
    """What makes the vectors."""

    provenance: dict[str, str]

    def vectors(self, images: Sequence[bytes]) -> list[Vector | ItemFailure]:
        """For each encoded image a vector of any length above 0, or what is wrong with it."""
