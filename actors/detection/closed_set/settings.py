"""Settings of YOLO. Light: the driver imports them to check a config."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from actors.contract import Device, Dtype, Settings
from actors.ontology import Ontology, Score


class YoloConfig(Settings):
    """Which weights, which of their classes, and how to look.

    The engine, ultralytics, is AGPL-3.0: shipping or serving a product with it obliges to publish
    the product's code under the same terms, or to buy a licence from Ultralytics.
    """

    operational: ClassVar[frozenset[str]] = frozenset({"device", "forward_pixels"})

    engine: Literal["yolo"] = "yolo"
    model: str = Field(description="an ultralytics checkpoint, a local .pt file; never downloaded")
    device: Device = "auto"
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
