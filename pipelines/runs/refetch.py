"""Fetches the pages of finished rows again, with the settings of their run, to show them.

Only the `fetch` settings of the run are read. So this also works for a run with models that this
version does not have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import pyarrow as pa

from actors.failures import FailureKind, FailureValue, ItemFailure, SetupError, failure
from actors.images.turning import turned_file, turned_size
from pipelines.config_files import validated
from pipelines.errors import ConfigError, SourceUnavailable, WorkerUnfit
from pipelines.pages.fetch import FetchConfig, PageFetched, PageFetcher
from pipelines.runs.directory import RunDir
from pipelines.sources.manifest import MANIFEST, ManifestRow


class RowToFetch(ManifestRow, total=False):
    """The part of a finished row that names the page.

    `width`, `height`: its size in the run. Rows of pages may also have `rotation`, see `_turn_of`.
    """

    width: int | None
    height: int | None


class RefetchedPage(TypedDict):
    """A page fetched again: `image` or `fetch_failure`.

    `image`: a JPEG or PNG file, upright and turned as in the run, so that polygons fit it.
    """

    image: bytes | None
    width: int | None
    height: int | None
    fetch_failure: FailureValue | None


class Refetcher:
    """Fetches pages of finished rows again; holds one sandbox.

    Raises RunNotFound, ConfigError (for instance, a password variable is not set).
    """

    def __init__(self, run: RunDir) -> None:
        fetch = run.read_record()["config"]["fetch"]
        config = validated(FetchConfig, fetch, f"{run.record}, config.fetch")
        # A user is waiting: report a store that is down at once, as a failure.
        self._config = config.model_copy(update={"keep_image_for_native": True, "outage_s": 0.0})
        try:
            self._fetch = PageFetcher(self._config)
        except SetupError as error:
            raise ConfigError(error.message, error.remedy) from error
        self._fetch_at_dpi: PageFetcher | None = None

    def __call__(self, rows: Sequence[RowToFetch]) -> list[RefetchedPage]:
        """The page of each row, in the same order.

        A document is read once for its consecutive pages. A page whose size differs from the row's
        is OBJECT_CHANGED, because boxes and lines of the row would be misplaced on it.
        """
        pages = _fetched(self._fetch, rows)
        # Versions without `max_dpi` drew scans at `dpi`.
        older = [
            n for n, row in enumerate(rows) if row["kind"] == "pdf" and not _fits(pages[n], row)
        ]
        if older and self._config.max_dpi is not None:
            if self._fetch_at_dpi is None:
                self._fetch_at_dpi = PageFetcher(self._config.model_copy(update={"max_dpi": None}))
            again = _fetched(self._fetch_at_dpi, [rows[n] for n in older])
            for n, page in zip(older, again, strict=True):
                pages[n] = page if _fits(page, rows[n]) else pages[n]
        return [_checked(page, row) for page, row in zip(pages, rows, strict=True)]


def _fetched(fetch: PageFetcher, rows: Sequence[RowToFetch]) -> list[PageFetched]:
    try:
        pages: list[PageFetched] = fetch(pa.Table.from_pylist(rows, MANIFEST)).to_pylist()
    except SetupError as error:
        raise WorkerUnfit(error.message, error.remedy) from error
    except SourceUnavailable as error:
        fault = failure(FailureKind.STORAGE_ERROR, error.message)
        return [
            {"image": None, "width": None, "height": None, "fetch_failure": fault} for _ in rows
        ]
    return pages


def _checked(page: PageFetched, row: RowToFetch) -> RefetchedPage:
    image, fault = page["image"], page["fetch_failure"]
    if image is None and fault is None:
        fault = failure(FailureKind.ENGINE_FAULT, "the renderer returned no image")
    turn = _turn_of(row)
    before, now = _sizes(page, row)
    if fault is None and not _fits(page, row):
        fault = failure(
            FailureKind.OBJECT_CHANGED,
            f"the page has {now[0]} x {now[1]} pixels; in the run it had {before[0]} x {before[1]}",
        )
    if image is not None and fault is None:
        try:
            image = turned_file(image, turn)
        except ItemFailure as error:
            fault = error.as_value()
    return {
        "image": None if fault else image,
        "width": now[0],
        "height": now[1],
        "fetch_failure": fault,
    }


def _fits(page: PageFetched, row: RowToFetch) -> bool:
    """Whether the page has the size of the row, or there is none to compare."""
    before, now = _sizes(page, row)
    return page["fetch_failure"] is not None or None in before or before == now


def _sizes(
    page: PageFetched, row: RowToFetch
) -> tuple[tuple[int | None, int | None], tuple[int | None, int | None]]:
    """(width, height) of the row, and of the page, turned as in the run."""
    now = turned_size((page["width"], page["height"]), _turn_of(row))
    return (row.get("width"), row.get("height")), now


def _turn_of(row: Mapping[str, object]) -> int:
    """Degrees clockwise by which the page's reader turned it; images and older runs have none."""
    turn = row.get("rotation")
    return turn if isinstance(turn, int) else 0
