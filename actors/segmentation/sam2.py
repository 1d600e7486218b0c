"""SAM 2: a mask for every box."""

from __future__ import annotations

from typing import cast

import pyarrow as pa

from actors.contract import Actor
from actors.failures import FAILURE, FailureValue, ItemFailure
from actors.instances import BOXES, MASKS, Instance, MaskValue
from actors.segmentation.settings import Sam2Config


class Sam2(Actor[Sam2Config]):
    """Computes a mask for every box; images without boxes skip the model.

    Reads:
        image: an encoded, upright image (EXIF orientation applied), or null.
        boxes: see `actors.instances`.

    Writes:
        masks: see `actors.instances`; one per box in the same order. Null if `image` or `boxes` is
            null, and after a failure.
        segment_failure: CORRUPT_IMAGE, TOO_MANY_PIXELS, OUT_OF_MEMORY (in a batch of one).
    """

    reads = pa.schema([("image", pa.binary()), ("boxes", BOXES)])
    writes = pa.schema([("masks", MASKS), ("segment_failure", FAILURE)])
    failure_column = "segment_failure"

    def __init__(self, config: Sam2Config) -> None:
        """Raises SetupError (see `actors.segmentation.sam2_checkpoint.load_sam2`)."""
        super().__init__(config)
        # It imports torch, which takes seconds and which the driver does not need.
        from actors.segmentation.sam2_segmenter import Segmenter, ToSegment

        self._request = ToSegment
        self._segmenter = Segmenter(config, self.timed)

    def provenance(self) -> dict[str, str]:
        return self._segmenter.provenance

    def __call__(self, rows: pa.Table) -> pa.Table:
        images = cast(list[bytes | None], rows["image"].to_pylist())
        boxes = cast(list[list[Instance] | None], rows["boxes"].to_pylist())
        masks: list[list[MaskValue] | None] = [[] if found == [] else None for found in boxes]
        failures: list[FailureValue | None] = [None] * len(images)
        requests = {
            row: self._request(image, [one["box"] for one in found])
            for row, (image, found) in enumerate(zip(images, boxes, strict=True))
            if found and image is not None
        }
        answers = self._segmenter.segment(list(requests.values()))
        for row, answer in zip(requests, answers, strict=True):
            if isinstance(answer, ItemFailure):
                failures[row] = answer.as_value()
            else:
                masks[row] = answer
        return rows.append_column("masks", pa.array(masks, MASKS)).append_column(
            "segment_failure", pa.array(failures, FAILURE)
        )
