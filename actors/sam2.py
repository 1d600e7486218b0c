"""SAM 2: a mask for every box."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from actors.contract import Actor, Settings
from actors.failures import FAILURE, ItemFailure
from actors.grounding.settings import Device
from actors.instances import BOXES, MASKS


class Sam2Config(Settings):
    """Which weights, and how much at once."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {"local_files_only", "device", "images_at_once", "boxes_at_once", "decode_threads"}
    )

    model: str = Field(
        description="a checkpoint's directory, its id on the hub (owner/name), or one of Meta's "
        "original .pt files"
    )
    revision: str | None = Field(None, description="commit, tag or branch on the hub; null: main")
    meta_config: str | None = Field(
        None, description="for a .pt file: the config it was published with, sam2.1_hiera_l.yaml"
    )
    local_files_only: bool = Field(False, description="never ask the hub, take what is cached")
    device: Device = Field("auto", description="auto: cuda where there is one, else cpu")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="of encoder and decoder; auto: bfloat16 where the device multiplies it (cuda, "
        "CPUs with AMX or AVX512_BF16), else float32; prompts are float32 always",
    )
    images_at_once: int | None = Field(
        None, ge=1, description="images of one forward of the encoder; null: 1 on cpu, 8 on cuda"
    )
    boxes_at_once: int | None = Field(
        None,
        ge=1,
        description="boxes of one forward of the decoder, whatever images they are on; null: 4 on "
        "cpu, 64 on cuda",
    )
    decode_threads: int = Field(
        2, ge=1, description="images decoded at once, beside the model's forwards"
    )


class Sam2(Actor[Sam2Config]):
    """Gives every box a mask; images without boxes never meet the model.

    Reads `image`, an encoded image, upright (EXIF orientation applied), and `boxes`.
    Writes `masks` (see `actors.instances`): one per box in the same order, null where `boxes` or
    `image` is null or `segment_failure` says why: CORRUPT_IMAGE, TOO_MANY_PIXELS, OUT_OF_MEMORY
    (alone in a forward).
    """

    reads = pa.schema([("image", pa.binary()), ("boxes", BOXES)])
    writes = pa.schema([("masks", MASKS), ("segment_failure", FAILURE)])
    failure_column = "segment_failure"

    def __init__(self, config: Sam2Config) -> None:
        """Raises SetupError: see `actors.segmentation.checkpoint.load`."""
        super().__init__(config)
        # torch: seconds, and not for the driver
        from actors.segmentation.segmenter import Request, Segmenter

        self._request = Request
        self._segmenter = Segmenter(config, self.timed)

    def provenance(self) -> dict[str, str]:
        return self._segmenter.provenance

    def __call__(self, rows: pa.Table) -> pa.Table:
        images = rows["image"].to_pylist()
        boxes = rows["boxes"].to_pylist()
        masks: list[list[Any] | None] = [[] if found == [] else None for found in boxes]
        failures: list[dict[str, str] | None] = [None] * len(images)
        asked = [row for row, found in enumerate(boxes) if found and images[row] is not None]
        requests = [self._request(images[row], [one["box"] for one in boxes[row]]) for row in asked]
        for row, answer in zip(asked, self._segmenter.segment(requests), strict=True):
            if isinstance(answer, ItemFailure):
                failures[row] = answer.as_value()
            else:
                masks[row] = answer
        return rows.append_column("masks", pa.array(masks, MASKS)).append_column(
            "segment_failure", pa.array(failures, FAILURE)
        )
