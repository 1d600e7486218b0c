"""Grounding DINO and MM-Grounding-DINO: boxes for the classes of an ontology."""

from __future__ import annotations

import pyarrow as pa

from actors.contract import Actor
from actors.detection.grounding.settings import GroundingDinoConfig
from actors.failures import FAILURE, parted
from actors.instances import BOXES


class GroundingDino(Actor[GroundingDinoConfig]):
    """Finds the classes of an ontology in images, with all prompts in one forward pass.

    Reads:
        image: an encoded, upright image (EXIF orientation applied), or null.

    Writes:
        boxes: see `actors.instances`; null without an image or after a failure.
        detect_failure: CORRUPT_IMAGE, TOO_MANY_PIXELS, OUT_OF_MEMORY (in a batch of one),
            ENGINE_FAULT (NaN from the model).
    """

    reads = pa.schema([("image", pa.binary())])
    writes = pa.schema([("boxes", BOXES), ("detect_failure", FAILURE)])
    failure_column = "detect_failure"

    def __init__(self, config: GroundingDinoConfig) -> None:
        """Raises SetupError (see `grounding.weights.load_grounding_dino` and `prompts.pack`)."""
        super().__init__(config)
        from actors.detection.grounding.detector import Detector

        self._detector = Detector(config, self.timed)

    def provenance(self) -> dict[str, str]:
        return self._detector.provenance

    def __call__(self, rows: pa.Table) -> pa.Table:
        boxes, failures = parted(self._detector.find(rows["image"].to_pylist()))
        return rows.append_column("boxes", pa.array(boxes, BOXES)).append_column(
            "detect_failure", pa.array(failures, FAILURE)
        )
