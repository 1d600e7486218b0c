"""Classifies pages as scene, document or screenshot, to choose the best reader for each."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from actors.contract import Actor, Timed
from actors.failures import FAILURE, ItemFailure
from actors.surfaces.settings import Engine, Guess, SurfaceStatistics, SurfaceZeroShot


class Surface(Actor[SurfaceStatistics | SurfaceZeroShot]):
    """Classifies the surface of pages without a surface from a rule.

    Reads:
        image: an encoded, upright image, or null.
        ruled_surface: the surface from a rule of the source; such rows are not classified.

    Writes:
        guessed_surface: one of SURFACES; null for unclassified rows and after a failure.
        guess_score: 0..1; null like `guessed_surface`.
        surface_failure: CORRUPT_IMAGE, TOO_MANY_PIXELS, OUT_OF_MEMORY, ENGINE_FAULT (NaN from the
            model). It does not change the page's outcome.
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
        """Raises SetupError (see `actors.surfaces.zero_shot.ZeroShot`)."""
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
    """The output columns of one row."""
    if isinstance(answer, ItemFailure):
        return None, None, answer.as_value()
    return (*answer, None) if answer else (None, None, None)


def _opened(config: SurfaceStatistics | SurfaceZeroShot, timed: Timed) -> Engine:
    if isinstance(config, SurfaceStatistics):
        from actors.surfaces.statistics import Statistics

        return Statistics(timed)
    from actors.surfaces.zero_shot import ZeroShot

    return ZeroShot(config, timed)
