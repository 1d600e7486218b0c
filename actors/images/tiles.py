"""How a large image is cut into tiles: the settings."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from actors.contract import Settings


class Tiles(Settings):
    """Small objects: look at the image once as a whole and once more in overlapping squares."""

    size: int = Field(ge=64, description="side of a tile, pixels of the upright image")
    overlap: int = Field(
        ge=0, description="pixels that neighbours share; an object up to this size is whole in one"
    )

    @model_validator(mode="after")
    def _tiles_advance(self) -> Self:
        if self.overlap > self.size // 2:
            raise ValueError(
                f"tiles of {self.size} px cannot overlap by {self.overlap}: at most half of it"
            )
        return self
