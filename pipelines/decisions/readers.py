"""Which readers the cascade has, and which OCR engine reads a page.

One OCR engine reads all pages, or each kind of surface has its own:

    Flow(MANIFEST).through(PageFetcher, ...)     # + image
        .map(surfaces ...)                       # + surface
    read_by(flow, BySurface(scene="paddle_ocr"), stages)
        choose_reader                            # + reader
        through(only("rapid_ocr", RapidOcr))     # + rapid_ocr.ocr_lines ...: null for other rows
        through(only("paddle_ocr", PaddleOcr))   # + paddle_ocr.ocr_lines ...
        join_readings                            # + ocr_lines, ocr_engine, ocr_failure ...

Every row passes through every pool, and one pool reads it. With one engine for all pages there is
no column `reader` and no join.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from actors.contract import Actor, Pool, Settings
from actors.own_rows import READER, only, prefixed
from pipelines.flow import Flow, Step, step

OcrReader = Literal["rapid_ocr", "paddle_ocr", "surya"]
Reader = Literal["native_text", OcrReader, "vlm"]

SURFACE = pa.field("surface", pa.string())


class BySurface(Settings):
    """The reader of each kind of surface (the column `surface`)."""

    scene: OcrReader = Field("paddle_ocr", description="of photographs with text in them")
    document: OcrReader = Field("rapid_ocr", description="of scanned or photographed documents")
    screenshot: OcrReader = Field("rapid_ocr", description="of screenshots")
    unsure: OcrReader = Field("rapid_ocr", description="of pages whose surface is not known")

    def of(self, surface: str | None) -> OcrReader:
        """The reader of one page."""
        known = {"scene": self.scene, "document": self.document, "screenshot": self.screenshot}
        return known.get(surface or "", self.unsure)

    @property
    def readers(self) -> tuple[OcrReader, ...]:
        """The engines that are named, each once."""
        named = (self.unsure, self.document, self.scene, self.screenshot)
        return tuple(dict.fromkeys(named))


def in_order(reader: OcrReader | BySurface | None) -> tuple[Reader, ...]:
    """Every reader that a cascade can have, in the order in which they are asked."""
    return ("native_text", *_engines(reader), "vlm")


def check_cascade(cascade: Sequence[Reader], reader: OcrReader | BySurface | None) -> None:
    """Raise ValueError if `cascade` lacks an engine that `reader` names, or has another order."""
    order, needed = in_order(reader), _engines(reader)
    if list(cascade) != [one for one in order if one in cascade] or set(needed) - set(cascade):
        raise ValueError(
            f"cascade needs {', '.join(needed)} and may add native_text and vlm, in the order "
            f"{', '.join(order)}"
        )


def _engines(reader: OcrReader | BySurface | None) -> tuple[OcrReader, ...]:
    return reader.readers if isinstance(reader, BySurface) else (reader or "rapid_ocr",)


@dataclass(frozen=True)
class ReaderStage:
    """An OCR engine with its settings and pool. It writes `ocr_lines` and related columns."""

    actor: type[Actor[Any]]
    config: Settings
    pool: Pool


@step(reads=pa.schema([SURFACE]), writes=pa.schema([READER]))
def choose_reader(rows: pa.Table, readers: BySurface) -> pa.Table:
    """Name the reader of every page."""
    named = [readers.of(surface) for surface in rows[SURFACE.name].to_pylist()]
    return rows.append_column(READER, pa.array(named, READER.type))


def read_by(
    flow: Flow, readers: OcrReader | BySurface | None, stages: dict[OcrReader, ReaderStage]
) -> Flow:
    """`flow` with each page read by one engine: the same for all, or that of its `surface`.

    `stages` has at least the engines that `readers` names. A column that only some of them write
    is null for the pages of the others. Raises SchemaMismatch.
    """
    if not isinstance(readers, BySurface):
        stage = stages[readers or "rapid_ocr"]
        return flow.through(stage.actor, stage.config, stage.pool)
    flow = flow.map(choose_reader, readers)
    for name in readers.readers:
        stage = stages[name]
        flow = flow.through(only(name, stage.actor), stage.config, stage.pool)
    written = {name: stages[name].actor.writes for name in readers.readers}
    joined = _joining(written)
    return flow.map(joined, _Readings(names=readers.readers)).drop(*joined.reads.names)


class _Readings(Settings):
    names: tuple[str, ...]


def _joining(written: dict[OcrReader, pa.Schema]) -> Step:
    """The step that turns the columns of each reader into those of the page."""
    reads = [
        (prefixed(name, column.name), column.type)
        for name, schema in written.items()
        for column in schema
    ]
    writes = {column.name: column for schema in written.values() for column in schema}
    return Step("join_readings", pa.schema(reads), pa.schema(list(writes.values())), _joined)


def _joined(rows: pa.Table, readings: _Readings) -> pa.Table:
    for column in _shared(rows, readings.names):
        found = [
            rows[prefixed(name, column)]
            for name in readings.names
            if prefixed(name, column) in rows.column_names
        ]
        rows = rows.append_column(column, pc.coalesce(*found) if len(found) > 1 else found[0])
    return rows


def _shared(rows: pa.Table, names: Sequence[str]) -> list[str]:
    """Columns of the page, in the order of `_joining`."""
    columns: dict[str, None] = {}
    for name in names:
        start = prefixed(name, "")
        columns |= {c.removeprefix(start): None for c in rows.column_names if c.startswith(start)}
    return list(columns)
