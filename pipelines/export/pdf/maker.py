"""Make searchable PDFs: fetch the documents again and write them in sandboxes (`text_layer`)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actors.failures import FailureKind, ItemFailure, SetupError
from actors.images.turning import turned_polygon, turned_size
from pipelines.decisions.routing import PageOutcome
from pipelines.errors import ConfigError
from pipelines.export.page import ExportPage
from pipelines.export.pdf.job import packed, unpacked
from pipelines.export.pdf.old_text.removing import Wanted
from pipelines.pages.attached import content_at
from pipelines.pages.fetch import FetchConfig, open_sandbox
from pipelines.pages.notes import PageNote
from pipelines.pages.sandbox import Sandbox
from pipelines.storage.client import Storage

#: Beginnings of `native_reason` for a layer whose visible text is wrong.
WRONG_TEXT = ("garbled", PageNote.TEXT_LAYER_DISAGREES.value)
#: Factor on the time limit of a page: a document of a thousand pages takes about 10 s.
_WALL_TIMES = 10


@dataclass(frozen=True)
class MadePdf:
    """A searchable PDF.

    Attributes:
        file: the PDF.
        there: lines left out because the page already has the same text at their position.
        bare: page without text or picture -> reason.
        old_text: page that had text to take out -> "removed" or "kept: REASON".
        signed: whether the document had a signature, which is no longer valid.
    """

    file: bytes
    there: int
    bare: dict[str, str]
    old_text: dict[str, str]
    signed: bool


class PdfMaker:
    """Makes searchable PDFs. Thread-safe: each thread has its own sandbox.

    Raises ConfigError, for example if a password is not in the environment.
    """

    def __init__(self, fetch: FetchConfig, *, keep_old_text: bool = False) -> None:
        """`fetch`: the `fetch` settings of the run; `keep_old_text`: text that it refused stays."""
        self._keep_old_text = keep_old_text
        limits = fetch.limits.model_copy(update={"wall_s": _WALL_TIMES * fetch.limits.wall_s})
        self._config = fetch.model_copy(
            update={"renderer": "pipelines.export.pdf.text_layer", "limits": limits}
        )
        self._storage = Storage(fetch.storage)
        self._own = threading.local()
        self._sandboxes: list[Sandbox] = []
        try:
            open_sandbox(self._config)  # checks only; the process starts with the first document
        except SetupError as error:
            raise ConfigError(error.message, error.remedy) from error

    def __call__(self, pages: Sequence[ExportPage]) -> MadePdf:
        """The PDF of a document. Raises ItemFailure.

        Args:
            pages: of one document, in order. Pages with native text get no other.
        """
        row = pages[0].row
        data = self._content(row["uri"], row["etag"] if self._config.check_version else None)
        trusted = self._config.native_text.trust_hidden
        wanted = [page_job(page, trust_hidden=trusted) for page in pages]
        job = packed({"pages": wanted, "keep_old_text": self._keep_old_text}, data)
        made = self._sandbox().render(f"{row['uri']} {row['etag']} {hash(job)}", job, 1).image
        try:
            answer, file = unpacked(made or b"")
            there, bare, old = int(answer["there"]), dict(answer["bare"]), dict(answer["old_text"])
            return MadePdf(file, there, bare, old, bool(answer["signed"]))
        except (ValueError, KeyError, TypeError) as error:  # the child is not trusted
            raise ItemFailure(FailureKind.RENDER_CRASH, f"invalid answer: {error}") from error

    def _content(self, uri: str, etag: str | None) -> bytes:
        most = self._config.max_bytes
        return content_at(
            uri,
            lambda stored: self._storage.read(stored, max_bytes=most, etag=etag),
            lambda pdf, name: self._sandbox().attachment(f"{uri} {etag}", pdf, name, most),
        )

    def _sandbox(self) -> Sandbox:
        if not hasattr(self._own, "sandbox"):
            self._own.sandbox = open_sandbox(self._config)
            self._sandboxes.append(self._own.sandbox)
        sandbox: Sandbox = self._own.sandbox
        return sandbox

    def close(self) -> None:
        """End the processes. No thread may use them any more."""
        for sandbox in self._sandboxes:
            sandbox.close()


def page_job(page: ExportPage, *, trust_hidden: bool = False) -> dict[str, Any]:
    """A page in the job of `pipelines.export.pdf.text_layer.render_page`.

    The pages of a document keep their position. So the lines of a page that was turned to be read
    are turned back.
    """
    size = page.size or (0, 0)
    back = -page.rotation % 360
    width, height = turned_size(size, back)
    # The cover of a portfolio waits for review with its native text.
    native = page.row["outcome"] == PageOutcome.NATIVE_TEXT or page.source == "native"
    if native or not page.size:
        lines = []
    else:
        lines = [
            [text, turned_polygon(polygon, back, size)] for text, polygon in placed_lines(page)
        ]
    return {
        "page": page.number,
        "width": width,
        "height": height,
        "lines": lines,
        "old_text": _old_text(page, trust_hidden=trust_hidden),
    }


def _old_text(page: ExportPage, *, trust_hidden: bool) -> Wanted | None:
    """What of the text in the file must go: text that the run refused, or that nobody sees.

    A page that is exported without text keeps what it has.
    """
    notes, reason = page.row.get("notes") or (), page.row.get("native_reason")
    if page.row["outcome"] == PageOutcome.NATIVE_TEXT or page.source == "native":
        gone: Wanted = "covered" if trust_hidden else "hidden"
        return gone if PageNote.HIDDEN_TEXT in notes else None
    if page.text is None or reason is None:
        return None
    wrong = PageNote.TEXT_LAYER_DISAGREES in notes or reason.startswith(WRONG_TEXT)
    return "all" if wrong else "hidden"


def placed_lines(page: ExportPage) -> list[list[Any]]:
    """[text, polygon] of each line, on the upright page.

    Lines without positions are spread over the whole page.
    """
    if not page.unplaced:
        return [[line.text, list(line.polygon or ())] for line in page.lines]
    width, height = page.size or (0, 0)
    step = height / len(page.lines)
    bands = [(step * place, step * (place + 1)) for place in range(len(page.lines))]
    return [
        [line.text, [0.0, top, width, top, width, bottom, 0.0, bottom]]
        for line, (top, bottom) in zip(page.lines, bands, strict=True)
    ]
