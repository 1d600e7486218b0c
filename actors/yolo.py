"""YOLO of ultralytics: boxes, or boxes and masks, for the classes that a model was trained on.

LICENCE: ultralytics is AGPL-3.0, and its makers count the checkpoints that it trained in. Whoever
ships a product with it, or serves one over a network, must publish their code under the same terms
or buy a licence from Ultralytics. Nightjar does not contain it: the extra `yolo` installs it, and
nothing of it is imported before this actor starts in a worker.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from actors.contract import Actor, Settings
from actors.failures import FAILURE, parted
from actors.grounding.settings import Device, Dtype
from actors.instances import BOXES, MASKS
from actors.ontology import Ontology, Score


class YoloConfig(Settings):
    """Which weights, which of their classes, and how to look.

    The engine, ultralytics, is AGPL-3.0: shipping or serving a product with it obliges to publish
    the product's code under the same terms, or to buy a licence from Ultralytics.
    """

    operational: ClassVar[frozenset[str]] = frozenset({"device", "forward_pixels"})

    engine: Literal["yolo"] = "yolo"
    model: str = Field(description="an ultralytics checkpoint, a local .pt file; never downloaded")
    device: Device = Field("auto", description="auto: cuda where there is one, else cpu")
    dtype: Dtype = Field(
        "auto",
        description="of backbone and neck, the head is float32 always; auto: float16 on cuda, "
        "float32 on cpu; bfloat16 moves boxes ten times as far as float16",
    )
    image_size: int = Field(
        640, ge=32, multiple_of=32, description="longer side of the model's input, pixels"
    )
    ontology: Ontology = Field(
        description="every prompt is the name of one of the model's classes; case and spaces make "
        "no difference"
    )
    nms_iou: float = Field(
        0.7, gt=0, le=1, description="boxes of one class that overlap by this IoU are one object"
    )
    nms_free: bool = Field(
        False,
        description="use the one-to-one head of YOLOv10 and YOLO26, trained to need no NMS: at "
        "most 300 boxes per image; nms_iou still folds synonyms, 1 leaves all boxes",
    )
    min_score: Score | None = Field(
        None,
        description="also write candidates below the threshold of their class, down to this "
        "score, with kept = false; null: none",
    )
    forward_pixels: int | None = Field(
        None,
        gt=0,
        description="pixels of one forward at the model's input size; null: 409,600 on cpu (640 "
        "x 640; more at once gains 7 % at most), the whole batch on cuda",
    )


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
        """Raises SetupError: see `actors.closed_set.checkpoint.load` and `names.matched`."""
        super().__init__(config)
        from actors.closed_set.detector import Detector  # torch: seconds, and not for the driver

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
