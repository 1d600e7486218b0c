"""Settings of YOLO. No heavy imports: the driver reads them to check a config."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from actors.contract import Device, Dtype, Settings
from actors.images.settings import DecodeThreads, ReducedJpeg
from actors.ontology import Ontology, Score


class YoloConfig(Settings):
    """The checkpoint, the ontology and the thresholds of a YOLO.

    The engine, ultralytics, is AGPL-3.0: to ship or serve a product with it you must publish the
    product's code under the same terms, or buy a licence from Ultralytics.
    """

    operational: ClassVar[frozenset[str]] = frozenset(
        {"device", "forward_pixels", "decode_threads"}
    )

    engine: Literal["yolo"] = "yolo"
    model: str = Field(description="an ultralytics checkpoint, a local .pt file; never downloaded")
    device: Device = "auto"
    dtype: Dtype = Field(
        "auto",
        description="dtype of backbone and neck; the head is always float32. auto: float16 on "
        "cuda, float32 on cpu. bfloat16 has ten times the box error of float16",
    )
    image_size: int = Field(
        640, ge=32, multiple_of=32, description="longer side of the model's input, pixels"
    )
    ontology: Ontology = Field(
        description="every prompt must be a class name of the model; case and spaces are ignored"
    )
    nms_iou: float = Field(
        0.7,
        gt=0,
        le=1,
        description="lowest IoU at which two boxes of one class count as one object",
    )
    nms_free: bool = Field(
        False,
        description="use the one-to-one head of YOLOv10 and YOLO26, which needs no NMS and gives "
        "at most 300 boxes per image; nms_iou still merges synonyms; 1 keeps all boxes",
    )
    min_score: Score | None = Field(
        None,
        description="also write candidates below the threshold of their class, down to this "
        "score, with kept = false; null: none",
    )
    forward_pixels: int | None = Field(
        None,
        gt=0,
        description="maximum pixels per forward pass, at the model's input size; null: 409,600 on "
        "cpu (640 x 640; more gains at most 7 %), the whole batch on cuda",
    )
    decode_threads: DecodeThreads = 2
    reduced_jpeg: ReducedJpeg = False
