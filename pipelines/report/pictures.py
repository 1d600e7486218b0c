"""Thumbnails of the chosen rows as data URLs, with limits of size and time."""

from __future__ import annotations

import base64
import io
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from pipelines.decisions.finished import AnyRow
from pipelines.errors import NightjarError
from pipelines.runs.directory import RunDir
from pipelines.runs.refetch import RefetchedPage, Refetcher

#: Pages fetched together; pages of one document are then read once. Time is checked in between.
_PAGES = 4
#: Longer side in pixels and WebP quality, from largest to smallest.
_STEPS = ((1280, 80), (1024, 75), (800, 70), (640, 65), (512, 60), (384, 50), (256, 40), (144, 30))
#: Typical bytes of a thumbnail of each step, to start near the limit; from receipts and scenes.
_LIKELY = (120_000, 80_000, 45_000, 28_000, 18_000, 9_000, 4_000, 0)
_BASE64 = 4 / 3


@dataclass(frozen=True)
class Thumbnail:
    """A WebP as a data URL, `width` x `height` pixels."""

    url: str
    width: int
    height: int


@dataclass(frozen=True)
class NoPicture:
    """The reason for a missing picture."""

    why: str


TIME_IS_UP = NoPicture("Not fetched: time limit for pictures reached.")


def pictures(
    run: RunDir, rows: Sequence[AnyRow], most_bytes: int, until: float
) -> Iterator[Thumbnail | NoPicture]:
    """A picture of each row, in order.

    Args:
        run: its `fetch` settings are used.
        rows: rows that the run could not fetch are not tried again.
        most_bytes: limit for all data URLs together.
        until: time limit as `time.monotonic()`; later rows get no picture, even if a fetch hangs.
    """
    wanted = [row for row in rows if not row.get("fetch_failure")]
    pages = _Fetching(run, wanted, until)
    left, to_come = most_bytes, len(wanted)
    for row in rows:
        fault = row.get("fetch_failure")
        if fault:
            yield NoPicture(f"{fault['kind']}: it could not be fetched in the run.")
            continue
        made = _made(pages.next(), int(left / to_come / _BASE64))
        left -= len(made.url) if isinstance(made, Thumbnail) else 0
        to_come -= 1
        yield made


def _made(page: RefetchedPage | NoPicture, most_bytes: int) -> Thumbnail | NoPicture:
    if isinstance(page, NoPicture):
        return page
    fault = page["fetch_failure"]
    if fault:
        return NoPicture(f"{fault['kind']}: {fault['message']}")
    try:
        return thumbnail(page["image"] or b"", most_bytes)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        return NoPicture(f"it cannot be decoded: {error}")


def thumbnail(data: bytes, most_bytes: int) -> Thumbnail | NoPicture:
    """The JPEG or PNG file `data` as a WebP of at most `most_bytes`, as large as fits.

    Raises OSError, ValueError or Image.DecompressionBombError if it cannot be decoded.
    """
    file = Image.open(io.BytesIO(data), formats=["JPEG", "PNG"])
    file.draft(None, (_STEPS[0][0], _STEPS[0][0]))  # decodes a JPEG at 1/2, 1/4 or 1/8
    image = file.convert("L" if file.mode in ("1", "L", "I", "I;16") else "RGB")
    first = next(place for place, likely in enumerate(_LIKELY) if likely <= most_bytes)
    for side, quality in _STEPS[first:]:
        small = image.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
        made = io.BytesIO()
        small.save(made, "WEBP", quality=quality, method=3)
        if made.tell() <= most_bytes:
            url = "data:image/webp;base64," + base64.b64encode(made.getvalue()).decode()
            return Thumbnail(url, small.width, small.height)
    return NoPicture("Left out: size limit for the pictures of a report reached.")


class _Fetching:
    """Fetches in a daemon thread, so that a source that hangs does not block the report."""

    def __init__(self, run: RunDir, rows: Sequence[AnyRow], until: float) -> None:
        self._until = until
        self._pages: queue.Queue[RefetchedPage | NoPicture] = queue.Queue(maxsize=2 * _PAGES)
        if rows:
            threading.Thread(target=self._pump, args=(run, rows), daemon=True).start()

    def next(self) -> RefetchedPage | NoPicture:
        """The page of the next row, or `TIME_IS_UP`."""
        try:
            return self._pages.get(timeout=max(self._until - time.monotonic(), 0.001))
        except queue.Empty:
            return TIME_IS_UP

    def _pump(self, run: RunDir, rows: Sequence[AnyRow]) -> None:
        why = ""
        try:
            refetch = Refetcher(run)
            for start in range(0, len(rows), _PAGES):
                for page in refetch(rows[start : start + _PAGES]):
                    if not self._put(page):
                        return
        except NightjarError as error:
            why = error.message
        except Exception as error:  # a config of another version, a source that is gone
            why = f"{type(error).__name__}: {error}"
        while why and self._put(NoPicture(f"It cannot be fetched: {why}")):
            pass

    def _put(self, page: RefetchedPage | NoPicture) -> bool:
        """Hand over a page. False after the time limit."""
        while time.monotonic() < self._until:
            try:
                self._pages.put(page, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False
