"""Auto-labelling: images and an ontology in, boxes and masks with reasons out. One row is one
image."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from actors.contract import Pool
from actors.grounding_dino import GroundingDino, GroundingDinoConfig
from actors.sam2 import Sam2, Sam2Config
from pipelines.config import JobConfig
from pipelines.fetch import FetchConfig, PageFetcher
from pipelines.flow import Flow
from pipelines.job import Job
from pipelines.manifest import MANIFEST
from pipelines.native_text import NativeText
from pipelines.triage import Triage, TriageConfig, triage


class AutolabelConfig(JobConfig):
    """Config of the job `autolabel`."""

    job: Literal["autolabel"] = "autolabel"
    fetch: FetchConfig = Field(
        FetchConfig(native_text=NativeText(enabled=False)),
        description="pages of documents are looked at as images, whatever text they carry",
    )
    detector: GroundingDinoConfig
    detector_pool: Pool = Pool(num_cpus=0.5)
    segmenter: Sam2Config
    segmenter_pool: Pool = Pool(num_cpus=0.5)
    triage: TriageConfig = TriageConfig()


def autolabel(config: AutolabelConfig) -> Flow:
    """The dataflow of auto-labelling."""
    return (
        Flow(MANIFEST)
        .through(PageFetcher, config.fetch, config.fetch_pool)
        .through(GroundingDino, config.detector, config.detector_pool)
        .through(Sam2, config.segmenter, config.segmenter_pool)
        .map(triage, Triage(rules=config.triage, ontology=config.detector.ontology))
        .drop("image", "native_text", "native_lines", "native_reason", "boxes", "masks")
    )


JOB = Job("autolabel", AutolabelConfig, autolabel, "image")
