"""OCR backfill: scanned documents in, text that can be trusted out. One row is one page.

A cascade: the text layer that came with the document, else OCR, else a vision-language model; each
is asked only about what those before it left in doubt.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from actors.contract import Pool
from actors.escalation.vlm import Vlm, VlmConfig
from actors.ocr.paddle_ocr import PaddleOcr, PaddleOcrConfig
from actors.ocr.rapid_ocr import RapidOcr, RapidOcrConfig
from actors.ocr.surya import Surya, SuryaConfig
from actors.screens.omniparser import OmniParser
from actors.screens.settings import OmniParserConfig
from pipelines.config import JobConfig
from pipelines.decisions.readers import BySurface, OcrReader, ReaderStage, read_by
from pipelines.decisions.routing import RoutingConfig
from pipelines.decisions.settling import SEEN, settle, settle_escalated, weigh
from pipelines.decisions.surfaces import SurfacesConfig, with_surfaces
from pipelines.flow import Flow
from pipelines.job import Job
from pipelines.pages.fetch import FetchConfig, PageFetcher
from pipelines.sources.manifest import MANIFEST

Reader = Literal["native_text", OcrReader, "vlm"]


class OcrBackfillConfig(JobConfig):
    """Config of the job `ocr_backfill`."""

    job: Literal["ocr_backfill"] = Field("ocr_backfill", description="name of the job")
    cascade: tuple[Reader, ...] | None = Field(
        None,
        description="readers in turn, each with its floor: native_text (fetch.native_text), "
        "the OCR engines (routing), vlm (routing.vlm); null: those that are configured",
    )
    reader: OcrReader | BySurface | None = Field(
        None,
        description="the OCR engine of all pages, or one for each surface (the column `surface`); "
        "null: rapid_ocr",
    )
    surfaces: SurfacesConfig | None = Field(
        None, description="how a page's surface is told, for `reader` and `screens`; null: not told"
    )
    surfaces_pool: Pool = Field(Pool(num_cpus=0.25), description="workers of surfaces.classifier")
    ocr: RapidOcrConfig = Field(RapidOcrConfig(), description="settings of rapid_ocr")
    ocr_pool: Pool = Field(Pool(num_cpus=0.75, max_size=None), description="workers of rapid_ocr")
    paddle_ocr: PaddleOcrConfig | None = Field(
        None, description="settings of paddle_ocr; null: its defaults"
    )
    paddle_ocr_pool: Pool = Field(
        Pool(num_cpus=0.75, max_size=None, environment="paddle_ocr", recycle_mb=2048),
        description="workers of paddle_ocr",
    )
    surya: SuryaConfig | None = Field(None, description="settings of surya; null: its defaults")
    surya_pool: Pool = Field(
        Pool(num_cpus=0.1, concurrency=4),
        description="workers of surya; they wait for Surya's server",
    )
    screens: OmniParserConfig | None = Field(
        None, description="finds the elements of screenshots, after they are read; null: nobody"
    )
    screens_pool: Pool = Field(Pool(num_cpus=1), description="workers of screens")
    vlm: VlmConfig | None = Field(None, description="the fallback reader; null: none")
    vlm_pool: Pool = Field(
        Pool(num_cpus=0.1, concurrency=16),
        description="workers of vlm; concurrency is high so that accepted pages do not wait for "
        "slow answers",
    )
    routing: RoutingConfig = RoutingConfig()

    @model_validator(mode="after")
    def _cascade_can_be_run(self) -> Self:
        readers, needed, order = self.readers, self.ocr_readers, self._order
        if list(readers) != [one for one in order if one in readers] or set(needed) - set(readers):
            raise ValueError(
                f"cascade is {', '.join(needed)} and what you want of the others, in the order "
                f"{', '.join(order)}"
            )
        if "vlm" in readers and self.vlm is None:
            raise ValueError("cascade names vlm: say in vlm where it is and what it is called")
        if "native_text" in readers and not self.fetch.native_text.enabled:
            raise ValueError("cascade names native_text, and fetch.native_text.enabled is false")
        if self.screens and self.surfaces is None:
            raise ValueError("screens needs surfaces: it looks at screenshots and nothing else")
        if self.vlm and self.vlm.budget and self.vlm_pool.max_size != 1:
            raise ValueError("vlm.budget is kept by one worker: set vlm_pool.max_size to 1")
        return self

    @property
    def ocr_readers(self) -> tuple[OcrReader, ...]:
        """The OCR engines that read some of the pages."""
        chosen = self.reader or "rapid_ocr"
        return chosen.readers if isinstance(chosen, BySurface) else (chosen,)

    @property
    def _order(self) -> tuple[Reader, ...]:
        return ("native_text", *self.ocr_readers, "vlm")

    @property
    def readers(self) -> tuple[Reader, ...]:
        """The cascade, settled."""
        if self.cascade is not None:
            return self.cascade
        off = {"vlm": self.vlm is None, "native_text": not self.fetch.native_text.enabled}
        return tuple(one for one in self._order if not off.get(one))

    @property
    def stages(self) -> dict[OcrReader, ReaderStage]:
        """Every OCR engine as it is configured."""
        paddle, surya = self.paddle_ocr or PaddleOcrConfig(), self.surya or SuryaConfig()
        return {
            "rapid_ocr": ReaderStage(RapidOcr, self.ocr, self.ocr_pool),
            "paddle_ocr": ReaderStage(PaddleOcr, paddle, self.paddle_ocr_pool),
            "surya": ReaderStage(Surya, surya, self.surya_pool),
        }

    @property
    def fetching(self) -> FetchConfig:
        """`fetch`, without text layers where the cascade has none."""
        if "native_text" in self.readers:
            return self.fetch
        off = self.fetch.native_text.model_copy(update={"enabled": False})
        return self.fetch.model_copy(update={"native_text": off})


def read_pages(flow: Flow, config: OcrBackfillConfig) -> Flow:
    """`flow` with each page's `ocr_lines` and what is known of them, by the engines of `config`."""
    if isinstance(config.reader, BySurface):
        return read_by(flow, config.reader, config.stages)
    (name,) = config.ocr_readers
    stage = config.stages[name]
    return flow.through(stage.actor, stage.config, stage.pool)


def ocr_backfill(config: OcrBackfillConfig) -> Flow:
    """The dataflow of OCR backfill."""
    fetched = Flow(MANIFEST).through(PageFetcher, config.fetching, config.fetch_pool)
    if config.surfaces:
        fetched = with_surfaces(fetched, config.surfaces, config.surfaces_pool)
    read = read_pages(fetched, config).map(weigh, config.routing)
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
