"""SAM 3: boxes and masks for the classes of an ontology, from one model."""

from __future__ import annotations

import pyarrow as pa

from actors.contract import Actor
from actors.failures import FAILURE, parted
from actors.instances import BOXES, MASKS
from actors.segmentation.settings import Sam3Config


class Sam3(Actor[Sam3Config]):
    """Finds the classes of an ontology in images, with boxes and masks.

    Reads:
        image: an encoded, upright image (EXIF orientation applied), or null.

    Writes:
        boxes: see `actors.instances`; null without an image or after a detection failure.
        detect_failure: CORRUPT_IMAGE, TOO_MANY_PIXELS, OUT_OF_MEMORY (in a batch of one),
            ENGINE_FAULT (NaN from the model).
        masks: one per box in the same order; `mask_iou` is null, because the model does not
            estimate it. Null if `boxes` is null or only the masks failed.
        segment_failure: OUT_OF_MEMORY or ENGINE_FAULT of the masks.
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
        """Raises SetupError (see `actors.segmentation.sam3_checkpoint` and `sam3_prompts`)."""
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
