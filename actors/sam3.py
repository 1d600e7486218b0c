"""SAM 3: boxes and masks for the classes of an ontology, from one model."""

from __future__ import annotations

from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from actors.contract import Actor, Settings
from actors.failures import FAILURE, parted
from actors.grounding.settings import Device
from actors.instances import BOXES, MASKS
from actors.ontology import Ontology, Score


class Sam3Config(Settings):
    """Which weights, what to look for, and how much at once."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {"local_files_only", "device", "images_at_once", "prompts_at_once", "decode_threads"}
    )

    engine: Literal["sam3"] = "sam3"
    model: str = Field(description="a checkpoint's directory, or its id on the hub (owner/name)")
    revision: str | None = Field(None, description="commit, tag or branch on the hub; null: main")
    local_files_only: bool = Field(False, description="never ask the hub, take what is cached")
    device: Device = Field("auto", description="auto: cuda where there is one, else cpu")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="of matrix products; auto: bfloat16 where the device multiplies it (cuda, CPUs "
        "with AMX or AVX512_BF16), else float32; coordinates are float32 always",
    )
    ontology: Ontology
    nms_iou: float = Field(
        0.7, gt=0, le=1, description="boxes of one class that overlap by this IoU are one object"
    )
    min_score: Score | None = Field(
        None,
        description="also write candidates below the threshold of their class, down to this "
        "score, with kept = false; null: none",
    )
    images_at_once: int | None = Field(
        None, ge=1, description="images of one forward of the encoder; null: 1 on cpu, 8 on cuda"
    )
    prompts_at_once: int | None = Field(
        None,
        ge=1,
        description="prompts of one forward behind the encoder, each on one image, whichever; "
        "null: 1 on cpu, 16 on cuda",
    )
    decode_threads: int = Field(
        2, ge=1, description="images decoded at once, beside the model's forwards"
    )


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
        from actors.segmentation.sam3_finder import Finder  # torch: seconds, not for the driver

        self._finder = Finder(config, self.timed)

    def provenance(self) -> dict[str, str]:
        return self._finder.provenance

    def __call__(self, rows: pa.Table) -> pa.Table:
        found = self._finder.find(rows["image"].to_pylist())
        columns = (*parted([one.boxes for one in found]), *parted([one.masks for one in found]))
        for field, column in zip(self.writes, columns, strict=True):
            rows = rows.append_column(field.name, pa.array(column, field.type))
        return rows
