"""What kind of picture a page is: a scene, a document or a screenshot, so that the reader that is
best at it gets it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self

import pyarrow as pa
from pydantic import Field, Tag, model_validator

from actors.contract import Actor, Settings
from actors.embed import Timed, by_engine
from actors.failures import FAILURE, ItemFailure
from actors.grounding.settings import Device, Dtype

SurfaceName = Literal["scene", "document", "screenshot"]
SURFACES: tuple[SurfaceName, ...] = ("scene", "document", "screenshot")

#: A surface and how sure it is, 0..1.
Guess = tuple[SurfaceName, float]

PROMPTS: dict[SurfaceName, tuple[str, ...]] = {
    "scene": (
        "a photo of a street with signs",
        "a photo of a shop front",
        "a photo of a thing with a label on it",
        "a photo of people",
    ),
    "document": (
        "a scanned page of text",
        "a scanned receipt",
        "a photo of a paper document",
        "a filled in form",
    ),
    "screenshot": (
        "a screenshot of a computer program",
        "a screenshot of a web page",
        "a screenshot of a phone",
        "the desktop of a computer",
    ),
}


class SurfaceStatistics(Settings):
    """Flatness, colours and edges, counted: no weights, no download. See
    `actors.surface_statistics` for what it was fitted on and how often it is right."""

    engine: Literal["statistics"] = "statistics"


class SurfaceZeroShot(Settings):
    """CLIP or SigLIP, asked which of some sentences fits best (Radford et al. 2021)."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {"local_files_only", "device", "images_at_once"}
    )

    engine: Literal["zero_shot"]
    model: str = Field(
        description="a checkpoint's directory, or its id on the hub: "
        "google/siglip2-base-patch16-224, openai/clip-vit-base-patch32"
    )
    revision: str | None = Field(None, description="commit, tag or branch on the hub; null: main")
    local_files_only: bool = Field(False, description="never ask the hub, take what is cached")
    device: Device = Field("auto", description="auto: cuda where there is one, else cpu")
    dtype: Dtype = Field("auto", description="auto: bfloat16 on cuda, float32 on cpu")
    prompts: dict[SurfaceName, tuple[str, ...]] = Field(
        PROMPTS, description="sentences for each surface; the best of them speaks for it"
    )
    images_at_once: int | None = Field(
        None, ge=1, description="images of one forward; null: 8 on cpu, 64 on cuda"
    )

    @model_validator(mode="after")
    def _every_surface_has_a_prompt(self) -> Self:
        missing = [name for name in SURFACES if not self.prompts.get(name)]
        if missing:
            raise ValueError(f"prompts has none for {', '.join(missing)}")
        return self


Classifier = Annotated[
    Annotated[SurfaceStatistics, Tag("statistics")] | Annotated[SurfaceZeroShot, Tag("zero_shot")],
    by_engine("statistics", "zero_shot"),
]


class Engine(Protocol):
    """What guesses."""

    provenance: dict[str, str]

    def guesses(self, images: Sequence[bytes]) -> list[Guess | ItemFailure]:
        """For each encoded image its surface, or what is wrong with it."""


class Surface(Actor[SurfaceStatistics | SurfaceZeroShot]):
    """Guesses the surface of pages that no rule has named.

    Reads `image`, an encoded image, upright, or null; and `ruled_surface`, not null where a rule of
    the source knows better: such rows pass without work.
    Writes `guessed_surface` (one of SURFACES) and `guess_score`, 0..1, null where nothing was
    guessed or `surface_failure` says why: CORRUPT_IMAGE, TOO_MANY_PIXELS, OUT_OF_MEMORY,
    ENGINE_FAULT (the model answered NaN). A failure here decides nothing about the page.
    """

    reads = pa.schema([("image", pa.binary()), ("ruled_surface", pa.string())])
    writes = pa.schema(
        [
            ("guessed_surface", pa.string()),
            ("guess_score", pa.float32()),
            ("surface_failure", FAILURE),
        ]
    )
    failure_column = "surface_failure"

    def __init__(self, config: SurfaceStatistics | SurfaceZeroShot) -> None:
        """Raises SetupError: see `actors.surface_zero_shot.ZeroShot`."""
        super().__init__(config)
        self._engine = _opened(config, self.timed)

    def provenance(self) -> dict[str, str]:
        return self._engine.provenance

    def __call__(self, rows: pa.Table) -> pa.Table:
        images, ruled = rows["image"].to_pylist(), rows["ruled_surface"].to_pylist()
        asked = [i for i, one in enumerate(images) if one is not None and ruled[i] is None]
        answers: dict[int, Guess | ItemFailure] = dict(
            zip(asked, self._engine.guesses([images[i] for i in asked]), strict=True)
        )
        found = [_values(answers.get(i)) for i in range(rows.num_rows)]
        for place, field in enumerate(self.writes):
            values = [one[place] for one in found]
            rows = rows.append_column(field.name, pa.array(values, field.type))
        return rows


def _values(answer: Guess | ItemFailure | None) -> tuple[str | None, float | None, Any]:
    """The written columns of one row."""
    if isinstance(answer, ItemFailure):
        return None, None, answer.as_value()
    return (*answer, None) if answer else (None, None, None)


def _opened(config: SurfaceStatistics | SurfaceZeroShot, timed: Timed) -> Engine:
    if isinstance(config, SurfaceStatistics):
        from actors.surface_statistics import Statistics

        return Statistics(timed)
    from actors.surface_zero_shot import ZeroShot  # torch: seconds, and not for the driver

    return ZeroShot(config, timed)
