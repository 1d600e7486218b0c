"""Which model finds boxes: the choice in a config, and the step for jobs without masks."""

from __future__ import annotations

from typing import Annotated, Any

import pyarrow as pa
from pydantic import Discriminator, Tag

from actors.contract import Settings
from actors.detection.closed_set.settings import YoloConfig
from actors.detection.grounding.settings import GroundingDinoConfig
from actors.failures import FAILURE
from actors.instances import MASKS
from actors.segmentation.settings import Sam3Config
from pipelines.flow import step


def _engine(detector: Any) -> Any:
    if isinstance(detector, dict):
        return detector.get("engine", "grounding_dino")
    return getattr(detector, "engine", None)


#: Settings of a detector; the key `engine` chooses the model (default: grounding_dino).
Detector = Annotated[
    Annotated[GroundingDinoConfig, Tag("grounding_dino")]
    | Annotated[YoloConfig, Tag("yolo")]
    | Annotated[Sam3Config, Tag("sam3")],
    Discriminator(
        _engine,
        custom_error_type="unknown_engine",
        custom_error_message="engine must be one of grounding_dino, yolo, sam3",
    ),
]


@step(
    reads=pa.schema([]),
    writes=pa.schema([("masks", MASKS), ("segment_failure", FAILURE)]),
)
def no_masks(rows: pa.Table, _: Settings) -> pa.Table:
    """Null masks, for jobs that need boxes only."""
    for column in no_masks.writes:
        rows = rows.append_column(column, pa.nulls(rows.num_rows, column.type))
    return rows
