"""Settings of tiles."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from actors.contract import Settings


class Tiles(Settings):
    """For small objects: detect in the full image and again in overlapping tiles.

    Parts of a large object that only a tile shows are left out: `actors.detection.tile_parts`.
    """

    size: int = Field(ge=64, description="side of a tile, pixels of the upright image")
    overlap: int = Field(
        ge=0,
        description="pixels shared by neighbouring tiles; objects up to this size are complete in "
        "at least one tile",
    )

    @model_validator(mode="after")
    def _tiles_advance(self) -> Self:
        if self.overlap > self.size // 2:
            raise ValueError(
                f"overlap {self.overlap} is more than half of the tiles' size {self.size}"
            )
        return self
