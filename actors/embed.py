"""Embed: a vector for every image, so that those that look alike can be found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Annotated, Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Discriminator, Field, Tag

from actors.contract import Actor, Settings
from actors.failures import FAILURE, ItemFailure
from actors.grounding.settings import Device, Dtype

Vector = npt.NDArray[np.float32]
Timed = Callable[[str], AbstractContextManager[None]]

#: The column `embedding`: unit length (L2), float16, as long as the engine makes them; null: none.
EMBEDDING = pa.list_(pa.float16())


class StatisticsConfig(Settings):
    """Colours and edges, counted: no weights, no download.

    Two images are near each other if they look alike in colour and layout. It knows nothing about
    what is on them: good for finding near duplicates, not for finding more of a kind.
    """

    engine: Literal["statistics"] = "statistics"


class TimmConfig(Settings):
    """A backbone of timm, DINOv2 for instance: which weights, and how much at once."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {"local_files_only", "device", "images_at_once", "decode_threads"}
    )

    engine: Literal["timm"] = "timm"
    model: str = Field(
        description="a checkpoint's directory (config.json and model.safetensors, as timm saves "
        "them for the hub), or its id there (timm/vit_small_patch14_dinov2.lvd142m)"
    )
    revision: str | None = Field(None, description="commit, tag or branch on the hub; null: main")
    local_files_only: bool = Field(False, description="never ask the hub, take what is cached")
    device: Device = Field("auto", description="auto: cuda where there is one, else cpu")
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


def by_engine(*names: str) -> Discriminator:
    """Tells settings apart by their key `engine`; the first name is what is meant without it."""

    def engine(settings: Any) -> Any:
        if isinstance(settings, dict):
            return settings.get("engine", names[0])
        return getattr(settings, "engine", None)

    return Discriminator(
        engine,
        custom_error_type="unknown_engine",
        custom_error_message=f"engine is none of {', '.join(names)}",
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


class Embed(Actor[StatisticsConfig | TimmConfig]):
    """Gives every image a vector.

    Reads `image`, an encoded image, upright (EXIF orientation applied), or null.
    Writes `embedding` (see EMBEDDING), null where `image` is null or `embed_failure` says why:
    CORRUPT_IMAGE, TOO_MANY_PIXELS, OUT_OF_MEMORY (alone in a forward), ENGINE_FAULT (the model
    answered NaN). A failure here decides nothing about the image's labels.
    """

    reads = pa.schema([("image", pa.binary())])
    writes = pa.schema([("embedding", EMBEDDING), ("embed_failure", FAILURE)])
    failure_column = "embed_failure"

    def __init__(self, config: StatisticsConfig | TimmConfig) -> None:
        """Raises SetupError: see `actors.embed_timm.Backbone`."""
        super().__init__(config)
        self._engine = _opened(config, self.timed)

    def provenance(self) -> dict[str, str]:
        return self._engine.provenance

    def __call__(self, rows: pa.Table) -> pa.Table:
        images = rows["image"].to_pylist()
        there = [image for image in images if image is not None]
        found = iter(self._engine.vectors(there))
        answers = [None if image is None else next(found) for image in images]
        vectors = [one if isinstance(one, np.ndarray) else None for one in answers]
        faults = [one.as_value() if isinstance(one, ItemFailure) else None for one in answers]
        return rows.append_column("embedding", _column(vectors)).append_column(
            "embed_failure", pa.array(faults, FAILURE)
        )


def _opened(config: StatisticsConfig | TimmConfig, timed: Timed) -> Engine:
    if isinstance(config, StatisticsConfig):
        from actors.embed_statistics import Statistics

        return Statistics(timed)
    from actors.embed_timm import Backbone  # torch: seconds, and not for the driver

    return Backbone(config, timed)


def _column(vectors: Sequence[Vector | None]) -> pa.Array:
    """Unit length, so that float16 holds every number to 3 digits (1 in 2,048)."""
    units = [None if one is None else _unit(one) for one in vectors]
    return pa.array(units, EMBEDDING)


def _unit(vector: Vector) -> npt.NDArray[np.float16]:
    length = float(np.linalg.norm(vector))
    return (vector / length if length > 0 else vector).astype(np.float16)
