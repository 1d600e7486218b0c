"""SAM 3: boxes and masks for the classes of an ontology, from one model."""

from __future__ import annotations

import pyarrow as pa

from actors.contract import Actor
from actors.failures import FAILURE, parted
from actors.instances import BOXES, MASKS
from actors.segmentation.settings import Sam3Config


class Sam3(Actor[Sam3Config]):
    """Finds the classes of an ontology in images and gives each object its mask.

    Reads `image`: an encoded image, upright (EXIF orientation applied), or null.
    Writes `boxes` and `masks` (see `actors.instances`), one mask per box in the same order. Both
    are null where `image` is null or could not be looked at; then `detect_failure` says why:
    CORRUPT_IMAGE, TOO_MANY_PIXELS, OUT_OF_MEMORY (alone in a forward), ENGINE_FAULT (the model
    answered NaN). Where boxes are there and masks could not be made, `masks` alone is null and
    `segment_failure` says why: OUT_OF_MEMORY, ENGINE_FAULT. The model does not estimate the IoU
    of its masks: `mask_iou` is null.
    """

    reads = pa.schema([("image", pa.binary())])
    writes = pa.schema(
        [
            ("boxes", BOXES),
            ("detect_failure", FAILURE),
            ("masks", MASKS),
            ("segment_failure", FAILURE),
        ]
    )
    failure_column = "detect_failure"

    def __init__(self, config: Sam3Config) -> None:
        """Raises SetupError: see `actors.segmentation.sam3_checkpoint` and `sam3_prompts`."""
        super().__init__(config)
        from actors.segmentation.sam3_finder import Finder

        self._finder = Finder(config, self.timed)

    def provenance(self) -> dict[str, str]:
        return self._finder.provenance

    def __call__(self, rows: pa.Table) -> pa.Table:
        found = self._finder.find(rows["image"].to_pylist())
        columns = (*parted([one.boxes for one in found]), *parted([one.masks for one in found]))
        for field, column in zip(self.writes, columns, strict=True):
            rows = rows.append_column(field.name, pa.array(column, field.type))
        return rows
