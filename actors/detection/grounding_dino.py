"""Grounding DINO and MM-Grounding-DINO: boxes for the classes of an ontology."""

from __future__ import annotations

import pyarrow as pa

from actors.contract import Actor
from actors.detection.grounding.settings import GroundingDinoConfig
from actors.failures import FAILURE, parted
from actors.instances import BOXES


class GroundingDino(Actor[GroundingDinoConfig]):
    """Finds the classes of an ontology in images, all prompts in one forward.

    Reads `image`: an encoded image, upright (EXIF orientation applied), or null.
    Writes `boxes` (see `actors.instances`), null where `image` is null or could not be looked at;
    then `detect_failure` says why: CORRUPT_IMAGE, TOO_MANY_PIXELS, OUT_OF_MEMORY (alone in a
    forward), ENGINE_FAULT (the model answered NaN).
    """

    reads = pa.schema([("image", pa.binary())])
    writes = pa.schema([("boxes", BOXES), ("detect_failure", FAILURE)])
    failure_column = "detect_failure"

    def __init__(self, config: GroundingDinoConfig) -> None:
        """Raises SetupError: see `grounding.weights.load_grounding_dino` and `prompts.pack`."""
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
