"""Which readers the cascade has, and which OCR engine reads a page.

One OCR engine reads all pages, or each script has its own (`pipelines.decisions.by_script`), or
each kind of surface:

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
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import Discriminator, Field, Tag

from actors.contract import Actor, Pool, Settings
from actors.ocr.tesseract.reader import PAGE_LANGUAGES, TesseractConfig
from actors.own_rows import READER, first, only, prefixed
from pipelines.decisions.by_script import FIRST, ByScript, Choice, OcrReader, choose_by_script
from pipelines.flow import Flow, Step, step

__all__ = ["ByScript", "BySurface", "OcrReader", "Reader", "ReaderStage", "Readers", "read_by"]

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


def _kind(value: Any) -> str:
    """Which of the three forms of `Readers` a value has, so that errors are about that one."""
    keys = set(value) if isinstance(value, dict) else {type(value).__name__}
    if keys & {ByScript.__name__, *ByScript.model_fields}:
        return "by script"
    return "by surface" if isinstance(value, dict | BySurface) else "one"


#: The OCR engine of all pages, or that of each surface, or that of each script.
Readers = Annotated[
    Annotated[OcrReader, Tag("one")]
    | Annotated[BySurface, Tag("by surface")]
    | Annotated[ByScript, Tag("by script")],
    Discriminator(_kind),
]


def in_order(reader: Readers | None) -> tuple[Reader, ...]:
    """Every reader that a cascade can have, in the order in which they are asked."""
    return ("native_text", *_engines(reader), "vlm")


def check_cascade(cascade: Sequence[Reader], reader: Readers | None) -> None:
    """Raise ValueError if `cascade` lacks an engine that `reader` names, or has another order."""
    order, needed = in_order(reader), _engines(reader)
    if list(cascade) != [one for one in order if one in cascade] or set(needed) - set(cascade):
        raise ValueError(
            f"cascade needs {', '.join(needed)} and may add native_text and vlm, in the order "
            f"{', '.join(order)}"
        )


def _engines(reader: Readers | None) -> tuple[OcrReader, ...]:
    if isinstance(reader, BySurface | ByScript):
        return reader.readers
    return (reader or "rapid_ocr",)


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


def read_by(flow: Flow, readers: Readers | None, stages: dict[OcrReader, ReaderStage]) -> Flow:
    """`flow` with each page read by one engine: the same for all, or that of its `surface`.

    `stages` has at least the engines that `readers` names. A column that only some of them write
    is null for the pages of the others. Raises SchemaMismatch.
    """
    if isinstance(readers, ByScript):
        return _read_by_script(flow, readers, stages)
    if not isinstance(readers, BySurface):
        stage = stages[readers or "rapid_ocr"]
        return flow.through(stage.actor, stage.config, stage.pool)
    flow = flow.map(choose_reader, readers)
    for name in readers.readers:
        stage = stages[name]
        flow = flow.through(only(name, stage.actor), stage.config, stage.pool)
    return _join(flow, readers.readers, stages)


def _read_by_script(flow: Flow, readers: ByScript, stages: dict[OcrReader, ReaderStage]) -> Flow:
    stage = stages[FIRST]
    flow = flow.through(first(FIRST, stage.actor), stage.config, stage.pool)
    tesseract = stages["tesseract"].config
    assert isinstance(tesseract, TesseractConfig)
    spoken = tesseract.languages if isinstance(tesseract.languages, dict) else {}
    languages = {script: "+".join(names) for script, names in spoken.items()}
    flow = flow.map(choose_by_script, Choice(readers=readers, languages=languages))
    for name in readers.readers[1:]:
        stage = stages[name]
        flow = flow.through(only(name, stage.actor), stage.config, stage.pool)
    return _join(flow, readers.readers, stages).drop(PAGE_LANGUAGES.name)


def _join(flow: Flow, names: tuple[OcrReader, ...], stages: dict[OcrReader, ReaderStage]) -> Flow:
    joined = _joining({name: stages[name].actor.writes for name in names})
    read = [name for name in joined.reads.names if name != READER.name]
    return flow.map(joined, _Readings(names=names)).drop(*read)


class _Readings(Settings):
    names: tuple[str, ...]


def _joining(written: dict[OcrReader, pa.Schema]) -> Step:
    """The step that gives each page the columns of its reader."""
    reads = [
        (prefixed(name, column.name), column.type)
        for name, schema in written.items()
        for column in schema
    ]
    writes = {column.name: column for schema in written.values() for column in schema}
    reading = pa.schema([READER, *reads])
    return Step("join_readings", reading, pa.schema(list(writes.values())), _joined)


def _joined(rows: pa.Table, readings: _Readings) -> pa.Table:
    readers = rows[READER.name].to_pylist()
    for column in _shared(rows, readings.names):
        found = [n for n in readings.names if prefixed(n, column) in rows.column_names]
        # Row i of the reader at place p is value p * rows + i of all readers' columns together.
        parts = [rows[prefixed(name, column)].combine_chunks() for name in found]
        places = [
            found.index(reader) * rows.num_rows + i if reader in found else None
            for i, reader in enumerate(readers)
        ]
        values = pa.concat_arrays([_whole(part) for part in parts])
        rows = rows.append_column(column, values.take(pa.array(places, pa.int64())))
    return rows


def _whole(part: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One array; `combine_chunks` of an empty column is still in chunks."""
    if isinstance(part, pa.ChunkedArray):
        return pa.concat_arrays(part.chunks) if part.num_chunks else pa.array([], part.type)
    return part


def _shared(rows: pa.Table, names: Sequence[str]) -> list[str]:
    """Columns of the page, in the order of `_joining`."""
    columns: dict[str, None] = {}
    for name in names:
        start = prefixed(name, "")
        columns |= {c.removeprefix(start): None for c in rows.column_names if c.startswith(start)}
    return list(columns)
