"""Manifest rows -> page images or native text: the first stage of every document flow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, ClassVar, Literal, TypedDict

import pyarrow as pa
from pydantic import BeforeValidator, Field, PrivateAttr

from actors.contract import Actor, Settings, appended
from actors.failures import FAILURE, FailureKind, FailureValue, ItemFailure, SetupError
from actors.lines import LINES, LineValue
from pipelines.pages.attached import content_at
from pipelines.pages.native_text import NativeText
from pipelines.pages.notes import PageNote
from pipelines.pages.page import Page, RenderOptions, TextLine
from pipelines.pages.read_ahead import Document, ReadAhead
from pipelines.pages.sandbox import Sandbox, SandboxLimits, renderer_name
from pipelines.storage.archives.archive import is_archive
from pipelines.storage.archives.containers import unopened
from pipelines.storage.client import Storage, StorageSettings
from pipelines.storage.objects import names_attachments, split_attachment
from pipelines.storage.outage import PatientReads


class FetchConfig(Settings):
    """Reading documents and rendering their pages."""

    operational: ClassVar[frozenset[str]] = frozenset({"threads", "read_ahead_mb", "outage_s"})

    dpi: int = Field(200, ge=36, le=1200, description="resolution at which PDF pages are rendered")
    max_dpi: int | None = Field(
        300,
        ge=36,
        le=1200,
        description="highest resolution of PDF pages that are scans, which keep the pixels of the "
        "scan; at least the pixels of A4 at 300 dpi are kept; null: `dpi` for every page",
    )
    oversize: Literal["fail", "shrink"] = Field(
        "fail",
        description="what to do with a PDF page above limits.max_pixels: `fail` "
        "(TOO_MANY_PIXELS) or `shrink` (render at a lower dpi)",
    )
    max_bytes: int = Field(
        512 << 20, ge=1, description="largest document in bytes; else TOO_MANY_BYTES"
    )
    check_version: bool = Field(
        True,
        description="fail with OBJECT_CHANGED if a document has changed since the manifest was "
        "written",
    )
    passwords_env: tuple[str, ...] = Field(
        (), description="names of environment variables (on the workers) with PDF passwords"
    )
    native_text: NativeText = NativeText()
    keep_image_for_native: bool = Field(
        False, description="render a page even if its text layer is accepted"
    )
    limits: SandboxLimits = SandboxLimits()
    renderer: Annotated[str | None, BeforeValidator(renderer_name)] = Field(
        None,
        description="import path of a module with count_pages and render_page, which runs in a "
        "sandbox; null: Nightjar's own renderer",
    )
    storage: StorageSettings = StorageSettings()
    outage_s: float = Field(
        900.0,
        ge=0,
        description="seconds that a worker waits for a source that is down: it does not answer, "
        "refuses the credentials, is gone, or can no longer be read at all; then the run stops "
        "(exit code 3) and can be started again",
    )
    threads: int = Field(8, ge=1, description="documents that a worker reads in advance, at once")
    read_ahead_mb: int = Field(
        256, ge=1, description="MiB of documents held per worker; one document may exceed it"
    )

    _readable: tuple[str, ...] = PrivateAttr(())
    _attachments: bool = PrivateAttr(False)

    @property
    def readable(self) -> tuple[str, ...]:
        """URIs of the source that could be read when it was listed; see `PatientReads`."""
        return self._readable

    def knowing(self, readable: Sequence[str]) -> FetchConfig:
        """The same settings, with URIs that were readable when the source was listed."""
        knows = self.model_copy()
        knows._readable = tuple(readable)
        return knows

    def reading_attachments(self, read: bool) -> FetchConfig:
        """The same settings, with whether attached files have rows (`source.attachments`)."""
        knows = self.model_copy()
        knows._attachments = read
        return knows

    def has_rows_of(self, uri: str) -> bool:
        """Whether the files attached to the PDF at `uri` have rows of their own."""
        return self._attachments and names_attachments(uri)

    def without_native_text(self) -> FetchConfig:
        """The same settings; every page is rendered and its text layer is ignored."""
        off = self.native_text.model_copy(update={"enabled": False})
        return self.model_copy(update={"native_text": off})


class PageWanted(TypedDict):
    """The input row of `PageFetcher`."""

    uri: str
    page: int
    pages: int
    etag: str | None
    bytes: int | None
    kind: str


class PageFetched(TypedDict, total=False):
    """The output row of `PageFetcher`; a missing key is a null."""

    image: bytes | None
    width: int | None
    height: int | None
    native_text: str | None
    native_lines: list[LineValue] | None
    native_reason: str | None
    notes: list[str] | None
    pixel_range: list[float] | None
    fetch_failure: FailureValue | None


class PageFetcher(Actor[FetchConfig]):
    """Reads documents and renders one page per row, in a sandbox.

    Each row gets one of: `image` (a JPEG or PNG file, 8-bit gray or RGB, upright), `native_text` (a
    PDF's accepted text layer), `fetch_failure`. `width`, `height`: pixels of the upright page;
    polygons in `native_lines` are in these pixels. `native_reason`: why the text layer was accepted
    or refused; null for images. `notes`: values of PageNote; null for a failed page. `pixel_range`:
    the values that became 0 and 255 in a picture of more than 8 bits (`pictures.levels`).

    Raises SourceUnavailable if the source stays down, WorkerUnfit if there is no room to unpack an
    archive, SetupError if the sandbox cannot be started again: the run stops and no row fails.
    """

    reads = pa.schema(
        [
            ("uri", pa.string()),
            ("page", pa.int32()),
            ("pages", pa.int32()),
            ("etag", pa.string()),
            ("bytes", pa.int64()),
            ("kind", pa.string()),
        ]
    )
    writes = pa.schema(
        [
            ("image", pa.binary()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("native_text", pa.string()),
            ("native_lines", LINES),
            ("native_reason", pa.string()),
            ("notes", pa.list_(pa.string())),
            ("pixel_range", pa.list_(pa.float64())),
            ("fetch_failure", FAILURE),
        ]
    )
    failure_column = "fetch_failure"

    def __init__(self, config: FetchConfig) -> None:
        super().__init__(config)
        self._sandbox = open_sandbox(config)
        self._sandbox.start()
        storage = Storage(config.storage)
        self._source = PatientReads(storage, config.outage_s, config.readable)
        self._documents = ReadAhead(self._read, config.threads, config.read_ahead_mb << 20)
        #: The last attached file that was taken out of its PDF: its pages follow each other.
        self._taken_out: tuple[str, bytes] | None = None

    def __call__(self, rows: pa.Table) -> pa.Table:
        wanted: list[PageWanted] = rows.select(self.reads.names).to_pylist()
        documents = [_stored(row) for row in wanted]
        self._documents.expect(documents)
        pages = [self._page(document, row) for document, row in zip(documents, wanted, strict=True)]
        return appended(rows, self.writes, pages)

    def _page(self, document: Document, row: PageWanted) -> PageFetched:
        """Read and render one page, or return its failure."""
        try:
            with self.timed("fetch"):
                data = self._content(document, row)
            with self.timed("render"):
                key = f"{row['uri']} {row['etag']}"
                self._check_plan(key, data, row)
                page = self._sandbox.render(key, data, row["page"])
                return _as_columns(page, attachments_have_rows=self.config.has_rows_of(row["uri"]))
        except ItemFailure as failure:
            return {"fetch_failure": failure.as_value()}

    def _content(self, document: Document, row: PageWanted) -> bytes:
        """The bytes of the row's document: `document`, or a file attached to it."""
        key = f"{row['uri']} {row['etag']}"
        if self._taken_out is not None and self._taken_out[0] == key:
            return self._taken_out[1]

        def read(uri: str) -> bytes:
            whole = Document(uri, row["etag"], row["bytes"] or 0)
            return self._documents.get(document if uri == document.uri else whole)

        def take_out(pdf: bytes, name: str) -> bytes:
            most = self.config.max_bytes
            content = self._sandbox.attachment(document.key, pdf, name, most)
            self._taken_out = key, content
            return content

        return content_at(row["uri"], read, take_out)

    def _check_plan(self, key: str, data: bytes, row: PageWanted) -> None:
        """Raise ItemFailure if the number of pages differs from the manifest's.

        The manifest has no rows for further pages, so they would be lost silently. Such a document
        could not be opened while planning (a missing password, a timeout) and got a single row.
        """
        if row["kind"] == "unknown" and is_archive(data):
            raise unopened(row["uri"], data)
        counted = self._sandbox.count_pages(key, data)
        if counted != row["pages"]:
            raise ItemFailure(
                FailureKind.OBJECT_CHANGED,
                f"the document has {counted} pages, the manifest {row['pages']}; "
                "plan again (--new)",
            )

    def _read(self, document: Document) -> bytes:
        etag = document.etag if self.config.check_version else None
        return self._source.read(document.uri, max_bytes=self.config.max_bytes, etag=etag)

    def provenance(self) -> dict[str, str]:
        """Versions of the decoders."""
        packages = ("pypdfium2", "pillow", "opencv-python-headless", "tifffile", "imagecodecs")
        own = {"renderer": self.config.renderer} if self.config.renderer else {}
        return own | {name: version(name) for name in packages}


def open_sandbox(config: FetchConfig) -> Sandbox:
    """The sandbox of this config; its process starts with the first page.

    Raises SetupError if a variable of `passwords_env` is not set.
    """
    options = RenderOptions(
        dpi=config.dpi,
        max_dpi=config.max_dpi,
        oversize=config.oversize,
        native_text=config.native_text,
        keep_image_for_native=config.keep_image_for_native,
        passwords=tuple(_secret(name) for name in config.passwords_env),
    )
    return Sandbox(options, config.limits, config.renderer)


def _stored(row: PageWanted) -> Document:
    """The stored document of a row: of an attached file its PDF, whose size is not in the row."""
    stored, name = split_attachment(row["uri"])
    return Document(stored, row["etag"], (row["bytes"] or 0) if name is None else 0)


def _as_columns(page: Page, *, attachments_have_rows: bool) -> PageFetched:
    lines = page.native_lines
    notes = [one for one in page.notes if one != PageNote.PORTFOLIO or not attachments_have_rows]
    return {
        "image": page.image,
        "width": page.width,
        "height": page.height,
        "native_text": page.native_text,
        "native_lines": None if lines is None else [_as_value(line) for line in lines],
        "native_reason": page.native_reason,
        "notes": [note.value for note in notes],
        "pixel_range": None if page.pixel_range is None else list(page.pixel_range),
    }


def _as_value(line: TextLine) -> LineValue:
    return {"text": line.text, "score": line.score, "polygon": line.polygon}


def _secret(name: str) -> str:
    if name not in os.environ:
        raise SetupError(
            f"fetch.passwords_env names {name}, which is not set on the worker",
            f"export {name} before the cluster starts, or remove it from fetch.passwords_env",
        )
    return os.environ[name]
