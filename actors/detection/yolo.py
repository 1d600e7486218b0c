"""YOLO of ultralytics: boxes, or boxes and masks, for the classes that a model was trained on.

LICENCE: ultralytics is AGPL-3.0, and its makers count the checkpoints that it trained in. Whoever
ships a product with it, or serves one over a network, must publish their code under the same terms
or buy a licence from Ultralytics. Nightjar does not contain it: the extra `yolo` installs it, and
nothing of it is imported before this actor starts in a worker.
"""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa

from actors.contract import Actor
from actors.detection.closed_set.settings import YoloConfig
from actors.failures import FAILURE, parted
from actors.instances import BOXES, MASKS


class Yolo(Actor[YoloConfig]):
    """Finds those objects of a model's classes that an ontology asks for.

    Reads `image`: an encoded image, upright (EXIF orientation applied), or null.
    Writes `boxes` (see `actors.instances`), null where `image` is null or could not be looked at;
    then `detect_failure` says why: CORRUPT_IMAGE, TOO_MANY_PIXELS, OUT_OF_MEMORY (alone in a
    forward), ENGINE_FAULT (the model answered NaN). `prompt` is the model's own name of the class.

    An anchor has one class, the model's best of all that it knows: a dog that may be a cat is no
    cat, even if the ontology asks for cats only.
    """

    reads = pa.schema([("image", pa.binary())])
    writes = pa.schema([("boxes", BOXES), ("detect_failure", FAILURE)])
    failure_column = "detect_failure"
    with_masks: ClassVar[bool] = False

    def __init__(self, config: YoloConfig) -> None:
        """Raises SetupError: see `closed_set.checkpoint.load` and `closed_set.names.matched`."""
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
    """The same with a mask for every box, by a segmentation checkpoint (`-seg`).

    Writes also `masks`, one per box in the same order, null where `boxes` is; `mask_iou` is null,
    since the model estimates none. Where the masks alone failed `masks` is null, `boxes` stay, and
    `segment_failure` says why: OUT_OF_MEMORY, ENGINE_FAULT (NaN). A checkpoint that makes no masks
    is a SetupError.
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
