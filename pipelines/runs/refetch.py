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
        try:
            # A user is waiting: report a store that is down at once, as a failure.
            changes = {"keep_image_for_native": True, "outage_s": 0.0}
            self._fetch = PageFetcher(config.model_copy(update=changes))
        except SetupError as error:
            raise ConfigError(error.message, error.remedy) from error

    def __call__(self, rows: Sequence[RowToFetch]) -> list[RefetchedPage]:
        """The page of each row, in the same order.

        A document is read once for its consecutive pages. A page whose size differs from the row's
        is OBJECT_CHANGED, because boxes and lines of the row would be misplaced on it.
        """
        wanted = pa.Table.from_pylist(rows, MANIFEST)
        try:
            fetched: list[PageFetched] = self._fetch(wanted).to_pylist()
        except SetupError as error:
            raise WorkerUnfit(error.message, error.remedy) from error
        except SourceUnavailable as error:
            fault = failure(FailureKind.STORAGE_ERROR, error.message)
            return [
                {"image": None, "width": None, "height": None, "fetch_failure": fault} for _ in rows
            ]
        return [_checked(page, row) for page, row in zip(fetched, rows, strict=True)]


def _checked(page: PageFetched, row: RowToFetch) -> RefetchedPage:
    image, fault = page["image"], page["fetch_failure"]
    if image is None and fault is None:
        fault = failure(FailureKind.ENGINE_FAULT, "the renderer returned no image")
    turn = _turn_of(row)
    before = (row.get("width"), row.get("height"))
    now = turned_size((page["width"], page["height"]), turn)
    if fault is None and None not in before and before != now:
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


def _turn_of(row: Mapping[str, object]) -> int:
    """Degrees clockwise by which the page's reader turned it; images and older runs have none."""
    turn = row.get("rotation")
    return turn if isinstance(turn, int) else 0
