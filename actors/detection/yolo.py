"""YOLO of ultralytics: boxes, or boxes and masks, for the classes of its training.

LICENCE: ultralytics is AGPL-3.0. Ultralytics applies this licence to trained checkpoints, too. If
you ship or serve a product with it, you must publish your code under the same terms or buy a
licence from Ultralytics. Nightjar does not include it: the extra `yolo` installs it, and only this
actor imports it, in its worker.
"""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa

from actors.contract import Actor
from actors.detection.closed_set.settings import YoloConfig
from actors.failures import FAILURE, parted
from actors.instances import BOXES, MASKS


class Yolo(Actor[YoloConfig]):
    """Finds the classes of an ontology in images; they must be classes of the model.

    Reads:
        image: an encoded, upright image (EXIF orientation applied), or null.

    Writes:
        boxes: see `actors.instances`; `prompt` is the model's name of the class. Null without an
            image or after a failure.
        detect_failure: CORRUPT_IMAGE, TOO_MANY_PIXELS, OUT_OF_MEMORY (in a batch of one),
            ENGINE_FAULT (NaN from the model).

    Each anchor has only its best class among all classes of the model. A box with the best class
    dog is never a cat, even if the ontology has only cats.
    """

    reads = pa.schema([("image", pa.binary())])
    writes = pa.schema([("boxes", BOXES), ("detect_failure", FAILURE)])
    failure_column = "detect_failure"
    with_masks: ClassVar[bool] = False

    def __init__(self, config: YoloConfig) -> None:
        """Raises SetupError (see `closed_set.checkpoint.load` and `closed_set.names.matched`)."""
        super().__init__(config)
        from actors.detection.closed_set.detector import Detector

        self._detector = Detector(config, self.timed, self.with_masks)

    def provenance(self) -> dict[str, str]:
        return self._detector.provenance

    def __call__(self, rows: pa.Table) -> pa.Table:
        found = self._detector.find(rows["image"].to_pylist())
        columns = (*parted([one.boxes for one in found]), *parted([one.masks for one in found]))
        for field, column in zip(self.writes, columns, strict=False):  # without masks: two
            rows = rows.append_column(field.name, pa.array(column, field.type))
        return rows


class YoloSeg(Yolo):
    """`Yolo` with masks, for segmentation checkpoints (`-seg`); others raise SetupError.

    Writes, in addition:
        masks: one per box in the same order; `mask_iou` is null, because the model does not
            estimate it. Null if `boxes` is null or only the masks failed.
        segment_failure: OUT_OF_MEMORY or ENGINE_FAULT (NaN) of the masks.
    """

    writes = pa.schema(
        [
            ("boxes", BOXES),
            ("detect_failure", FAILURE),
            ("masks", MASKS),
            ("segment_failure", FAILURE),
        ]
    )
    with_masks = True
