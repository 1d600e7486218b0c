"""A job with its own model: find blurred or badly exposed photographs. See ../extend.md."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from pydantic import Field

from actors.contract import Actor, Pool, Settings, appended
from actors.failures import FAILURE, FailureKind, failure
from pipelines.config import JobConfig
from pipelines.flow import Flow, step
from pipelines.job import Job
from pipelines.pages.fetch import FetchConfig, PageFetcher
from pipelines.pages.native_text import NativeText
from pipelines.sources.manifest import MANIFEST


class SharpnessConfig(Settings):
    """Settings of the model."""

    long_side: int = Field(1024, ge=64, description="pixels; larger images are shrunk to this")


class QualityRules(Settings):
    """Limits for a good photograph."""

    min_sharpness: float = Field(50.0, ge=0, description="variance of the Laplacian")
    min_brightness: float = Field(40.0, ge=0, le=255, description="mean gray value")
    max_brightness: float = Field(230.0, ge=0, le=255, description="mean gray value")


class Sharpness(Actor[SharpnessConfig]):
    """Measures focus (variance of the Laplacian) and exposure (mean gray value, 0 to 255)."""

    reads = pa.schema([("image", pa.binary())])
    writes = pa.schema(
        [("sharpness", pa.float32()), ("brightness", pa.float32()), ("quality_failure", FAILURE)]
    )
    failure_column = "quality_failure"

    def __init__(self, config: SharpnessConfig) -> None:
        super().__init__(config)
        cv2.setNumThreads(1)  # load a model's weights here, once for each worker

    def __call__(self, rows: pa.Table) -> pa.Table:
        with self.timed("measure"):
            values = [self._measured(image) for image in rows["image"].to_pylist()]
        return appended(rows, self.writes, values)

    def _measured(self, image: bytes | None) -> dict[str, Any]:
        if image is None:  # fetch_failure gives the cause
            return {}
        gray = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_GRAYSCALE)
        if gray is None:
            fault = failure(FailureKind.CORRUPT_IMAGE, "OpenCV cannot decode it")
            return {"quality_failure": fault}
        scale = self.config.long_side / max(gray.shape)
        if scale < 1:
            gray = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        focus = cv2.Laplacian(gray, cv2.CV_64F).var()
        return {"sharpness": float(focus), "brightness": float(gray.mean())}

    def provenance(self) -> dict[str, str]:
        """Versions for run.json; a model adds the digest of its weights."""
        return {"opencv": cv2.__version__}


@step(
    reads=pa.schema([("fetch_failure", FAILURE), *Sharpness.writes]),
    writes=pa.schema([("outcome", pa.string()), ("reasons", pa.list_(pa.string()))]),
)
def judge_quality(rows: pa.Table, rules: QualityRules) -> pa.Table:
    """`outcome`: accepted, review or failed; `reasons` for the last two."""
    verdicts = [_verdict(row, rules) for row in rows.select(judge_quality.reads.names).to_pylist()]
    return appended(rows, judge_quality.writes, verdicts)


def _verdict(row: dict[str, Any], rules: QualityRules) -> dict[str, Any]:
    if fault := row["fetch_failure"] or row["quality_failure"]:
        return {"outcome": "failed", "reasons": [fault["kind"]]}
    if row["sharpness"] is None:  # a PDF page with accepted native text has no image
        return {"outcome": "review", "reasons": ["not_measured"]}
    checks = {
        "blurred": row["sharpness"] < rules.min_sharpness,
        "too_dark": row["brightness"] < rules.min_brightness,
        "too_bright": row["brightness"] > rules.max_brightness,
    }
    reasons = [name for name, found in checks.items() if found]
    return {"outcome": "review" if reasons else "accepted", "reasons": reasons}


class PhotoQualityConfig(JobConfig):
    """The keys of the YAML file, in addition to those of every job."""

    fetch: FetchConfig = FetchConfig(native_text=NativeText(enabled=False))
    sharpness: SharpnessConfig = SharpnessConfig()
    sharpness_pool: Pool = Pool(num_cpus=0.5)
    rules: QualityRules = QualityRules()


def photo_quality(config: PhotoQualityConfig) -> Flow:
    """Fetch, measure, judge."""
    return (
        Flow(MANIFEST)
        .through(PageFetcher, config.fetch, config.fetch_pool)
        .through(Sharpness, config.sharpness, config.sharpness_pool)
        .map(judge_quality, config.rules)
        .drop("image", "native_text", "native_lines", "native_reason", "notes")
    )


JOB = Job("photo_quality", PhotoQualityConfig, photo_quality, "image")
