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
from pipelines.pages.fetch import FetchConfig, open_sandbox
from pipelines.pages.sandbox import Sandbox
from pipelines.storage.client import Storage

#: Factor on the time limit of a page: a document of a thousand pages takes about 10 s.
_WALL_TIMES = 10


@dataclass(frozen=True)
class MadePdf:
    """A searchable PDF.

    Attributes:
        file: the PDF.
        there: lines left out because the page already has the same text at their position.
        bare: page without text or picture -> reason.
    """

    file: bytes
    there: int
    bare: dict[str, str]


class PdfMaker:
    """Makes searchable PDFs. Thread-safe: each thread has its own sandbox.

    Raises ConfigError, for example if a password is not in the environment.
    """

    def __init__(self, fetch: FetchConfig) -> None:
        """`fetch`: the `fetch` settings of the run."""
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
            pages: of one document, in order. Pages with native text are not changed.
        """
        row = pages[0].row
        etag = row["etag"] if self._config.check_version else None
        data = self._storage.read(row["uri"], max_bytes=self._config.max_bytes, etag=etag)
        job = packed({"pages": [page_job(page) for page in pages]}, data)
        made = self._sandbox().render(f"{row['uri']} {row['etag']} {hash(job)}", job, 1).image
        try:
            answer, file = unpacked(made or b"")
            return MadePdf(file, int(answer["there"]), dict(answer["bare"]))
        except (ValueError, KeyError, TypeError) as error:  # the child is not trusted
            raise ItemFailure(FailureKind.RENDER_CRASH, f"invalid answer: {error}") from error

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


def page_job(page: ExportPage) -> dict[str, Any]:
    """A page in the job of `pipelines.export.pdf.text_layer.render_page`.

    The pages of a document keep their position. So the lines of a page that was turned to be read
    are turned back.
    """
    size = page.size or (0, 0)
    back = -page.rotation % 360
    width, height = turned_size(size, back)
    if page.row["outcome"] == PageOutcome.NATIVE_TEXT or not page.size:
        lines = []
    else:
        lines = [
            [text, turned_polygon(polygon, back, size)] for text, polygon in placed_lines(page)
        ]
    return {"page": page.number, "width": width, "height": height, "lines": lines}


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
