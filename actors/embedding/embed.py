"""Embed: a vector for every image, for similarity search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from actors.contract import Actor, Timed
from actors.embedding.settings import EMBEDDING, Engine, StatisticsConfig, TimmConfig, Vector
from actors.failures import FAILURE, ItemFailure


class Embed(Actor[StatisticsConfig | TimmConfig]):
    """Computes an embedding of every image.

    Reads:
        image: an encoded, upright image (EXIF orientation applied), or null.

    Writes:
        embedding: see EMBEDDING; null without an image or after a failure.
        embed_failure: CORRUPT_IMAGE, TOO_MANY_PIXELS, OUT_OF_MEMORY (in a batch of one),
            ENGINE_FAULT (NaN from the model). It does not change the image's labels.
    """

    reads = pa.schema([("image", pa.binary())])
    writes = pa.schema([("embedding", EMBEDDING), ("embed_failure", FAILURE)])
    failure_column = "embed_failure"

    def __init__(self, config: StatisticsConfig | TimmConfig) -> None:
        """Raises SetupError (see `actors.embedding.backbone.Backbone`)."""
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
        from actors.embedding.statistics import Statistics

        return Statistics(timed)
    from actors.embedding.backbone import Backbone

    return Backbone(config, timed)


def _column(vectors: Sequence[Vector | None]) -> pa.Array:
    """Vectors scaled to unit length; float16 then has a precision of 3 digits (1 in 2,048)."""
    units = [None if one is None else _unit(one) for one in vectors]
    return pa.array(units, EMBEDDING)


def _unit(vector: Vector) -> npt.NDArray[np.float16]:
    length = float(np.linalg.norm(vector))
    return (vector / length if length > 0 else vector).astype(np.float16)
