"""Auto-labelling: images and an ontology in, boxes and masks with reasons out.

One row is one image. A detector finds boxes, a segmenter turns boxes into masks, and triage sends
each image to acceptance or review.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from actors.contract import ModelPool, Settings
from actors.detection.closed_set.settings import YoloConfig
from actors.detection.grounding_dino import GroundingDino
from actors.detection.yolo import Yolo, YoloSeg
from actors.embedding.embed import Embed
from actors.embedding.settings import Embedder
from actors.segmentation.sam2 import Sam2
from actors.segmentation.sam3 import Sam3
from actors.segmentation.settings import Sam2Config, Sam3Config
from pipelines.config import JobConfig
from pipelines.decisions.detectors import Detector, no_masks
from pipelines.decisions.triage import Triage, TriageConfig, triage
from pipelines.flow import Flow
from pipelines.job import Job
from pipelines.pages.fetch import FetchConfig, PageFetcher
from pipelines.pages.native_text import NativeText
from pipelines.sources.manifest import MANIFEST


class AutolabelConfig(JobConfig):
    """Config of the job `autolabel`."""

    operational = JobConfig.operational | {"truth"}

    job: Literal["autolabel"] = Field("autolabel", description="name of the job")
    truth: Path | None = Field(
        None, description="COCO JSON of these images; the summary then has AP and mask IoU"
    )
    fetch: FetchConfig = Field(
        FetchConfig(native_text=NativeText(enabled=False)),
        description="pages of documents are rendered as images; text layers are ignored",
    )
    detector: Detector = Field(description="the model that finds boxes, or boxes and masks")
    detector_pool: ModelPool = Field(
        ModelPool(num_cpus=0.75, max_size=None), description="workers of the detector"
    )
    segmenter: Sam2Config | None = Field(
        None,
        description="turns boxes into masks; null: masks come from the detector, if it has any",
    )
    segmenter_pool: ModelPool | None = Field(
        None,
        description="workers of the segmenter; null: the detector's workers segment as well",
    )
    embedder: Embedder | None = Field(
        None, description="writes a vector for each image, for `nightjar curate --brain`; null: off"
    )
    embedder_pool: ModelPool = Field(ModelPool(num_cpus=0.5), description="workers of the embedder")
    triage: TriageConfig = TriageConfig()

    @model_validator(mode="after")
    def _masks_come_from_one_place(self) -> Self:
        if self.detector.engine == "sam3" and self.segmenter:
            raise ValueError("sam3 makes its own masks: remove segmenter")
        if self.detector.engine == "grounding_dino" and not self.segmenter and self.needs_masks:
            raise ValueError(
                "no model makes masks: set segmenter, or set triage.need_mask: false for boxes only"
            )
        return self

    @property
    def needs_masks(self) -> bool:
        """Whether a label without a mask goes to review."""
        return self.triage.need_mask


def labelled(flow: Flow, config: AutolabelConfig) -> Flow:
    """`flow` with boxes and masks, by the models of the config."""
    detector, pool = config.detector, config.detector_pool
    match detector:
        case Sam3Config():
            return flow.through(Sam3, detector, pool)
        case YoloConfig() if not config.segmenter and config.needs_masks:
            return flow.through(YoloSeg, detector, pool)
        case YoloConfig():
            flow = flow.through(Yolo, detector, pool)
        case _:
            flow = flow.through(GroundingDino, detector, pool)
    if not config.segmenter:
        return flow.map(no_masks, Settings())
    return flow.through(Sam2, config.segmenter, config.segmenter_pool)


def autolabel(config: AutolabelConfig) -> Flow:
    """The dataflow of auto-labelling."""
    fetched = Flow(MANIFEST).through(PageFetcher, config.fetch, config.fetch_pool)
    if config.embedder:
        fetched = fetched.through(Embed, config.embedder, config.embedder_pool)
    return (
        labelled(fetched, config)
        .map(triage, Triage(rules=config.triage, ontology=config.detector.ontology))
        .drop("image", "native_text", "native_lines", "native_reason", "notes")
        .drop("boxes", "masks")
    )


JOB = Job("autolabel", AutolabelConfig, autolabel, "image")
