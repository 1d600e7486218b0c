"""OCR backfill: scanned documents in, text that can be trusted out. One row is one page.

A cascade: the document's own text layer, then OCR, then a vision-language model. Each reader gets
only the pages that the reader before it left in doubt.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from actors.contract import ModelPool, Pool
from actors.escalation.vlm import Vlm, VlmConfig
from actors.ocr.paddle_ocr import PaddleOcr, PaddleOcrConfig
from actors.ocr.rapid_ocr import RapidOcr, RapidOcrConfig
from actors.ocr.surya import Surya, SuryaConfig
from actors.ocr.tesseract.reader import Tesseract, TesseractByScript, TesseractConfig
from actors.screens.omniparser import OmniParser
from actors.screens.settings import OmniParserConfig
from pipelines.config import JobConfig
from pipelines.decisions import readers as reading
from pipelines.decisions.by_script import ByScript, with_languages
from pipelines.decisions.readers import OcrReader, Reader, Readers, ReaderStage
from pipelines.decisions.routing import RoutingConfig
from pipelines.decisions.settling import SEEN, settle, settle_escalated, weigh
from pipelines.decisions.surfaces import SurfacesConfig, with_surfaces
from pipelines.decisions.upright import turned_upright
from pipelines.flow import Flow
from pipelines.job import Job
from pipelines.pages.fetch import FetchConfig, PageFetcher
from pipelines.sources.manifest import MANIFEST


class OcrBackfillConfig(JobConfig):
    """Config of the job `ocr_backfill`."""

    job: Literal["ocr_backfill"] = Field("ocr_backfill", description="name of the job")
    cascade: tuple[Reader, ...] | None = Field(
        None,
        description="readers in the order they are asked: native_text (limits: fetch.native_text), "
        "OCR engines (limits: routing), vlm (limits: routing.vlm); null: all that are configured",
    )
    reader: Readers | None = Field(
        None,
        description="OCR engine of all pages, or one for each surface, or one for each script "
        "(e.g. {cyrillic: tesseract}); null: rapid_ocr",
    )
    surfaces: SurfacesConfig | None = Field(
        None,
        description="how to find each page's surface, which `reader` and `screens` use; null: off",
    )
    surfaces_pool: ModelPool = Field(
        ModelPool(num_cpus=0.25), description="workers of surfaces.classifier"
    )
    ocr: RapidOcrConfig = Field(RapidOcrConfig(), description="settings of rapid_ocr")
    ocr_pool: ModelPool = Field(
        ModelPool(num_cpus=0.75, max_size=None), description="workers of rapid_ocr"
    )
    paddle_ocr: PaddleOcrConfig | None = Field(
        None, description="settings of paddle_ocr; null: its defaults"
    )
    paddle_ocr_pool: ModelPool = Field(
        ModelPool(num_cpus=0.75, max_size=None, environment="paddle_ocr", recycle_mb=2048),
        description="workers of paddle_ocr",
    )
    surya: SuryaConfig | None = Field(None, description="settings of surya; null: its defaults")
    surya_pool: Pool = Field(
        Pool(num_cpus=0.1, concurrency=4),
        description="workers of surya; they wait for Surya's server",
    )
    tesseract: TesseractConfig | None = Field(
        None, description="settings of tesseract; null: its defaults"
    )
    tesseract_pool: Pool = Field(
        Pool(num_cpus=0.75, max_size=None), description="workers of tesseract"
    )
    screens: OmniParserConfig | None = Field(
        None, description="finds the elements of screenshots after OCR; null: off"
    )
    screens_pool: ModelPool = Field(ModelPool(num_cpus=1), description="workers of screens")
    vlm: VlmConfig | None = Field(None, description="the fallback reader; null: none")
    vlm_pool: Pool = Field(
        Pool(num_cpus=0.1, concurrency=16),
        description="workers of vlm; high concurrency keeps slow answers from blocking other pages",
    )
    routing: RoutingConfig = RoutingConfig()

    @model_validator(mode="after")
    def _keys_fit_together(self) -> Self:
        reading.check_cascade(self.readers, self.reader)
        if "vlm" in self.readers and self.vlm is None:
            raise ValueError("cascade names vlm: set vlm.base_url and vlm.model")
        if "native_text" in self.readers and not self.fetch.native_text.enabled:
            raise ValueError("cascade names native_text, but fetch.native_text.enabled is false")
        self.reading_tesseract()
        if self.screens and self.surfaces is None:
            raise ValueError("screens needs surfaces, to know which pages are screenshots")
        if self.vlm and self.vlm.budget and self.vlm_pool.max_size != 1:
            raise ValueError("vlm.budget needs a single worker: set vlm_pool.max_size to 1")
        return self

    @property
    def readers(self) -> tuple[Reader, ...]:
        """The cascade: `cascade`, or every configured reader."""
        if self.cascade is not None:
            return self.cascade
        off = {"vlm": self.vlm is None, "native_text": not self.fetch.native_text.enabled}
        return tuple(one for one in reading.in_order(self.reader) if not off.get(one))

    def reading_tesseract(self) -> ReaderStage:
        """The stage of tesseract. Raises ValueError if its languages and `reader` do not fit."""
        config = self.tesseract or TesseractConfig()
        if isinstance(self.reader, ByScript):
            resolved = with_languages(config, self.reader)
            return ReaderStage(TesseractByScript, resolved, self.tesseract_pool)
        if isinstance(config.languages, dict):
            raise ValueError(
                "tesseract.languages by script needs `reader` by script, e.g. "
                "reader: {cyrillic: tesseract}; else give a list"
            )
        return ReaderStage(Tesseract, config, self.tesseract_pool)

    @property
    def fetching(self) -> FetchConfig:
        """`fetch`; text layers are off if the cascade leaves them out."""
        fetch = self.fetch if "native_text" in self.readers else self.fetch.without_native_text()
        return fetch.reading_attachments(self.source.attachments)


def read_pages(flow: Flow, config: OcrBackfillConfig) -> Flow:
    """`flow` with the columns of the OCR engines: `ocr_lines`, `ocr_engine`, `ocr_failure`, ..."""
    paddle, surya = config.paddle_ocr or PaddleOcrConfig(), config.surya or SuryaConfig()
    stages: dict[OcrReader, ReaderStage] = {
        "rapid_ocr": ReaderStage(RapidOcr, config.ocr, config.ocr_pool),
        "paddle_ocr": ReaderStage(PaddleOcr, paddle, config.paddle_ocr_pool),
        "surya": ReaderStage(Surya, surya, config.surya_pool),
        "tesseract": config.reading_tesseract(),
    }
    return reading.read_by(flow, config.reader, stages)


def ocr_backfill(config: OcrBackfillConfig) -> Flow:
    """The dataflow of OCR backfill."""
    fetched = Flow(MANIFEST).through(PageFetcher, config.fetching, config.fetch_pool)
    if config.surfaces:
        fetched = with_surfaces(fetched, config.surfaces, config.surfaces_pool)
    looks_again = "vlm" in config.readers or config.screens is not None
    read = turned_upright(read_pages(fetched, config), picture=looks_again)
    read = read.map(weigh, config.routing)
    if "vlm" in config.readers and config.vlm:
        escalated = read.through(Vlm, config.vlm, config.vlm_pool)
        settled = escalated.map(settle_escalated, config.routing)
    else:
        settled = read.map(settle, config.routing)
    if config.screens:
        settled = settled.through(OmniParser, config.screens, config.screens_pool)
    return settled.drop(
        *("image", "native_lines", "ocr_lines", "ocr_engine", *SEEN.names, "doubts")
    )


JOB = Job("ocr_backfill", OcrBackfillConfig, ocr_backfill, "page")
