"""What kind of picture a page is: a scene, a document or a screenshot, so that the reader that is
best at it gets it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from actors.contract import Actor, Timed
from actors.failures import FAILURE, ItemFailure
from actors.surfaces.settings import Engine, Guess, SurfaceStatistics, SurfaceZeroShot


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
        """Raises SetupError: see `actors.surfaces.zero_shot.ZeroShot`."""
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
        from actors.surfaces.statistics import Statistics

        return Statistics(timed)
    from actors.surfaces.zero_shot import ZeroShot

    return ZeroShot(config, timed)
