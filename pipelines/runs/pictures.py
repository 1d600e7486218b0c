"""Pictures of finished rows: a local file that shows one as it is, or the page fetched again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

from PIL import Image

from pipelines.runs.directory import RunDir
from pipelines.runs.refetch import RefetchedPage, Refetcher, RowToFetch
from pipelines.storage.objects import is_bucket, local_path, split_member
from pipelines.storage.walk import etag_of

PNG = b"\x89PNG\r\n\x1a\n"

#: Kinds of files that viewers and data loaders read like Nightjar, if they are upright. Not GIF: a
#: viewer plays all frames. Not TIFF: its variants are read differently.
COMMON_KINDS = frozenset({"jpeg", "png", "webp", "bmp"})

_ORIENTATION = 0x0112  # EXIF tag

#: Each reader reads documents ahead (256 MB by default) and has a child process for rendering.
_MOST_READERS = 4


class Refetchers:
    """Fetches pages again in parallel, one process per core. Raises as `Refetcher`."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._readers: list[Refetcher] = []

    def __call__(self, rows: Sequence[RowToFetch]) -> list[RefetchedPage]:
        """The page of each row, in the same order; each process gets adjacent rows."""
        if not rows:
            return []
        count = min(len(rows), os.cpu_count() or 1, _MOST_READERS)
        while len(self._readers) < count:
            self._readers.append(Refetcher(self._run))
        share = -(-len(rows) // count)
        parts = [rows[start : start + share] for start in range(0, len(rows), share)]
        with ThreadPoolExecutor(len(parts)) as threads:
            pages = threads.map(lambda reader, part: reader(part), self._readers, parts)
            return list(chain.from_iterable(pages))


def suffix_of(data: bytes) -> str:
    """The suffix of a fetched picture: .png or .jpg."""
    return ".png" if data.startswith(PNG) else ".jpg"


def local_file(row: Mapping[str, Any]) -> Path | None:
    """The unchanged local file of a row that is one picture of a common kind; else None.

    None also for a file that the run could not read, or that its reader turned. `row`: columns of
    `pipelines.sources.manifest.MANIFEST`, and `fetch_failure` and `rotation` where there are any.
    """
    uri = row["uri"]
    if is_bucket(uri) or split_member(uri)[1] is not None or row["kind"] not in COMMON_KINDS:
        return None
    if row["pages"] != 1 or row.get("fetch_failure") or row.get("rotation"):
        return None
    path = Path(os.fsdecode(local_path(uri)))
    try:
        same = not row["etag"] or etag_of(path.stat()) == row["etag"]
    except (OSError, ValueError):  # gone, or a name with a null byte
        return None
    return path if same and path.is_absolute() else None


def is_upright(image: Image.Image) -> bool:
    """Whether an open JPEG, PNG, WebP or BMP has no EXIF orientation; may raise what Pillow raises.

    Reads only EXIF in front of the pixels: for EXIF behind them, Pillow would decode all of a PNG.
    """
    exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
    return exif.get(_ORIENTATION, 1) == 1
