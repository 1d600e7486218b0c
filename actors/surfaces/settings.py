"""Settings of the surface classifiers. No heavy imports: the driver reads them, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Protocol, Self

from pydantic import Field, Tag, model_validator

from actors.contract import Settings, by_engine
from actors.failures import ItemFailure
from actors.hub_model import HubModel

SurfaceName = Literal["scene", "document", "screenshot"]


SURFACES: tuple[SurfaceName, ...] = ("scene", "document", "screenshot")


#: A surface and its score, 0..1.
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
    """A classifier on statistics of flatness, colours and edges; it needs no weights.

    Training data and accuracy: `actors.surfaces.statistics`.
    """

    engine: Literal["statistics"] = "statistics"


class SurfaceZeroShot(HubModel):
    """Zero-shot classification by sentences with CLIP or SigLIP (Radford et al. 2021)."""

    operational: ClassVar[frozenset[str]] = HubModel.operational | {"images_at_once"}

    engine: Literal["zero_shot"]
    model: str = Field(
        description="a checkpoint's directory, or its id on the hub, e.g. "
        "google/siglip2-base-patch16-224 or openai/clip-vit-base-patch32"
    )
    prompts: dict[SurfaceName, tuple[str, ...]] = Field(
        PROMPTS, description="sentences for each surface; the best sentence gives its score"
    )
    images_at_once: int | None = Field(
        None, ge=1, description="images per forward pass; null: 8 on cpu, 64 on cuda"
    )

    @model_validator(mode="after")
    def _every_surface_has_a_prompt(self) -> Self:
        missing = [name for name in SURFACES if not self.prompts.get(name)]
        if missing:
            raise ValueError(f"prompts has no sentence for {', '.join(missing)}")
        return self


Classifier = Annotated[
    Annotated[SurfaceStatistics, Tag("statistics")] | Annotated[SurfaceZeroShot, Tag("zero_shot")],
    by_engine("statistics", "zero_shot"),
]


class Engine(Protocol):
    """A surface classifier."""

    provenance: dict[str, str]

    def guesses(self, images: Sequence[bytes]) -> list[Guess | ItemFailure]:
        """The surface of each encoded image, or its failure."""
