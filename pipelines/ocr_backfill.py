"""OCR backfill: scanned documents in, text that can be trusted out. One row is one page.

A cascade: the text layer that came with the document, else OCR, else a vision-language model; each
is asked only about what those before it left in doubt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from actors.contract import Pool
from actors.failures import FAILURE
from actors.ocr.line import LINES
from actors.omniparser import OmniParser, OmniParserConfig
from actors.paddle_ocr import PaddleOcr, PaddleOcrConfig
from actors.rapid_ocr import RapidOcr, RapidOcrConfig
from actors.surya import Surya, SuryaConfig
from actors.vlm import Vlm, VlmConfig
from pipelines.config import JobConfig
from pipelines.escalation import against_answer
from pipelines.fetch import FetchConfig, PageFetcher
from pipelines.flow import Flow, step
from pipelines.job import Job
from pipelines.manifest import MANIFEST
from pipelines.readers import BySurface, OcrReader, ReaderStage, read_by
from pipelines.routing import (
    Evidence,
    Outcome,
    RoutingConfig,
    judge,
    reasons_of_failure,
)
from pipelines.surfaces import SurfacesConfig, with_surfaces

Reader = Literal["native_text", OcrReader, "vlm"]


class OcrBackfillConfig(JobConfig):
    """Config of the job `ocr_backfill`."""

    job: Literal["ocr_backfill"] = "ocr_backfill"
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
    surfaces_pool: Pool = Pool(num_cpus=0.25)
    ocr: RapidOcrConfig = RapidOcrConfig()
    ocr_pool: Pool = Pool(num_cpus=0.75, max_size=None)
    paddle_ocr: PaddleOcrConfig | None = Field(None, description="null: its defaults")
    paddle_ocr_pool: Pool = Pool(
        num_cpus=0.75, max_size=None, environment="paddle_ocr", recycle_mb=2048
    )
    surya: SuryaConfig | None = Field(None, description="null: its defaults")
    surya_pool: Pool = Field(
        Pool(num_cpus=0.1, concurrency=4), description="it waits for Surya's server"
    )
    screens: OmniParserConfig | None = Field(
        None, description="finds the elements of screenshots, after they are read; null: nobody"
    )
    screens_pool: Pool = Pool(num_cpus=1)
    vlm: VlmConfig | None = Field(None, description="the fallback reader; null: none")
    vlm_pool: Pool = Field(
        Pool(num_cpus=0.1, concurrency=16),
        description="batches at once (concurrency) so many that confident pages do not wait",
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


EVIDENCE = pa.struct(
    [
        (name, {"int": pa.int32()}.get(str(kind), pa.float32()))
        for name, kind in Evidence.__annotations__.items()
    ]
)

_READ = pa.schema(
    [
        ("native_text", pa.string()),
        ("native_lines", LINES),
        ("fetch_failure", FAILURE),
        ("ocr_lines", LINES),
        ("ocr_engine", pa.string()),
        ("ocr_failure", FAILURE),
    ]
)
#: Of the page as a whole, by whoever read it.
_SEEN = ("ink_share", "ink_covered", "text_outside")
_WEIGHED = pa.schema([("evidence", EVIDENCE), ("doubts", pa.list_(pa.string()))])
#: `lines` and `evidence` are always of the first reader, `lines_source`: its engine. `text` is what
#: to use, `text_source` who read it.
_SETTLED = pa.schema(
    [
        ("outcome", pa.string()),
        ("reasons", pa.list_(pa.string())),
        ("text", pa.string()),
        ("text_source", pa.string()),
        ("lines", LINES),
        ("lines_source", pa.string()),
    ]
)
_SECOND = pa.schema([column for column in Vlm.writes if column.name != "vlm_usage"])


@step(
    reads=pa.schema([*_READ, *((name, pa.float32()) for name in _SEEN)]),
    writes=_WEIGHED,
)
def weigh(rows: pa.Table, config: RoutingConfig) -> pa.Table:
    """Measure every page that OCR has read, and say why its reading is not to be trusted."""
    return _with_columns(rows, weigh.reads, weigh.writes, lambda page: weigh_page(page, config))


@step(reads=pa.schema([*_READ, *_WEIGHED]), writes=_SETTLED)
def settle(rows: pa.Table, config: RoutingConfig) -> pa.Table:
    """Give every page its outcome, its reasons and its final text."""
    return _with_columns(rows, settle.reads, settle.writes, settle_page)


@step(reads=pa.schema([*_READ, *_WEIGHED, *_SECOND]), writes=_SETTLED)
def settle_escalated(rows: pa.Table, config: RoutingConfig) -> pa.Table:
    """The same where a second reader was asked about the pages in doubt."""
    return _with_columns(
        rows,
        settle_escalated.reads,
        settle_escalated.writes,
        lambda page: settle_second(page, config),
    )


def _with_columns(
    rows: pa.Table,
    reads: pa.Schema,
    writes: pa.Schema,
    of_page: Callable[[dict[str, Any]], dict[str, Any]],
) -> pa.Table:
    found = [of_page(page) for page in rows.select(reads.names).to_pylist()]
    for column in writes:
        values = [one[column.name] for one in found]
        rows = rows.append_column(column, pa.array(values, column.type))
    return rows


def weigh_page(page: dict[str, Any], config: RoutingConfig) -> dict[str, Any]:
    """`evidence` and `doubts` of one page; null and none where OCR has read nothing."""
    unread = page["native_text"] is not None or page["ocr_lines"] is None
    if unread or page["fetch_failure"]:
        return {"evidence": None, "doubts": []}
    evidence, doubts = judge(page, config)
    # A reader may have read a part of the page, and say what became of the rest (surya).
    return {
        "evidence": asdict(evidence),
        "doubts": reasons_of_failure(page["ocr_failure"]) + doubts,
    }


def settle_page(page: dict[str, Any]) -> dict[str, Any]:
    """One page's fate: the first of native text, failure, OCR that it qualifies for."""
    if page["native_text"] is not None:
        native = "native"
        return verdict(
            Outcome.NATIVE_TEXT, [], page["native_text"], native, page["native_lines"], native
        )
    failed = reasons_of_failure(page["fetch_failure"], page["ocr_failure"])
    if page["fetch_failure"] or page["ocr_lines"] is None:
        return verdict(Outcome.FAILED, failed or ["no_reading"], None, None, None, None)
    lines, engine = page["ocr_lines"], page["ocr_engine"]
    outcome = Outcome.REVIEW if page["doubts"] else Outcome.OCR
    text = "\n".join(line["text"] for line in lines if line["text"])
    return verdict(outcome, page["doubts"], text, engine, lines, engine)


def settle_second(page: dict[str, Any], config: RoutingConfig) -> dict[str, Any]:
    """The same; a page in doubt whose second reading is believed has that text.

    Its reasons are then the doubts that the second reader settled. Otherwise those against the
    second reading join them, and the text stays that of the first.
    """
    settled = settle_page(page)
    if settled["outcome"] != Outcome.REVIEW.value:
        return settled
    against = against_answer(page, config.vlm)
    if against:
        return settled | {"reasons": [*dict.fromkeys([*page["doubts"], *against])]}
    source = f"vlm {page['vlm_model']}"
    return settled | {
        "outcome": Outcome.VLM.value,
        "text": page["vlm_text"],
        "text_source": source,
    }


def verdict(
    outcome: Outcome,
    reasons: list[str],
    text: str | None,
    source: str | None,
    lines: list[dict[str, Any]] | None,
    lines_source: str | None,
) -> dict[str, Any]:
    """The columns that settling writes for one page."""
    return {
        "outcome": outcome.value,
        "reasons": reasons,
        "text": text,
        "text_source": source,
        "lines": lines,
        "lines_source": lines_source,
    }


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
    return settled.drop(*("image", "native_lines", "ocr_lines", "ocr_engine", *_SEEN, "doubts"))


JOB = Job("ocr_backfill", OcrBackfillConfig, ocr_backfill, "page")
