"""The picture of each row, as a file that FiftyOne and a browser can show.

A local file that holds one upright picture is named where it lies. Everything else (pages of
documents, members of archives, objects on s3://, pictures that a browser may turn) is fetched once
more, as its run fetched it, into RUN/media, or into the cache of this machine for a run on s3://.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

from PIL import Image, ImageDraw

from pipelines.runs.directory import RunDir
from pipelines.runs.refetch import Refetcher
from pipelines.storage.local_copies import cache_folder
from pipelines.storage.objects import split_member
from pipelines.storage.output_errors import output_errors
from pipelines.storage.walk import etag_of

MediaMode = Literal["local", "download"]

#: What a browser shows as it is; of a GIF it would play all frames.
_SHOWN = {"jpeg": (".jpg", ".jpeg"), "png": (".png",), "webp": (".webp",), "bmp": (".bmp",)}

_ORIENTATION = 0x0112  # EXIF tag
_PLACEHOLDER = (640, 480)  # pixels
_PNG = b"\x89PNG\r\n\x1a\n"

#: Each reads documents ahead (256 MB by default) and holds a child process that renders.
_MOST_READERS = 4


class Media(NamedTuple):
    """A picture. `failure`: kind and message where there is none; `path` then is a placeholder.

    `width`, `height`: pixels; None where the row knows them.
    """

    path: str
    width: int | None = None
    height: int | None = None
    failure: str | None = None


class MediaStore:
    """Finds or makes the pictures of rows."""

    def __init__(self, run: RunDir, mode: MediaMode) -> None:
        """`mode`: `local` names local pictures where they lie, `download` copies all of them."""
        self._run = run
        self._mode = mode
        self._folder = _folder_of(run)
        self._readers: list[Refetcher] = []

    def __call__(self, rows: Sequence[dict[str, Any]]) -> list[Media]:
        """The picture of each row, in the same order.

        Args:
            rows: the columns of `pipelines.sources.manifest.MANIFEST`, `width`, `height` and
                `fetch_failure`. Pages of one document that stand together are read once.

        Raises ConfigError (a password that is not in the environment), OutputUnwritable.
        """
        found = [self._at_hand(row) for row in rows]
        missing = [row for row, media in zip(rows, found, strict=True) if media is None]
        fetched = iter(self._fetched(missing))
        return [media or next(fetched) for media in found]

    def _at_hand(self, row: Mapping[str, Any]) -> Media | None:
        if self._mode == "local" and (path := whole_picture(row)):
            return Media(str(path))
        for suffix in (".jpg", ".png"):
            cached = self._cached(row, suffix)
            if cached.exists():
                return Media(str(cached), *_size(row, cached))
        return None

    def _cached(self, row: Mapping[str, Any], suffix: str) -> Path:
        """A row id is a hash of address, version and page: what lies there never grows old."""
        row_id: int = row["row_id"]
        return self._folder / f"{row_id & 0xFF:02x}" / f"{row_id}{suffix}"

    def _fetched(self, rows: Sequence[dict[str, Any]]) -> list[Media]:
        """In as many processes as there are cores, each with rows that stand together."""
        if not rows:
            return []
        count = min(len(rows), os.cpu_count() or 1, _MOST_READERS)
        while len(self._readers) < count:
            self._readers.append(Refetcher(self._run))
        share = -(-len(rows) // count)
        parts = [rows[start : start + share] for start in range(0, len(rows), share)]
        with ThreadPoolExecutor(len(parts)) as threads:
            pages = threads.map(lambda reader, part: reader(part), self._readers, parts)
            fetched = list(chain.from_iterable(pages))
        with output_errors(self._folder):
            return [self._stored(row, page) for row, page in zip(rows, fetched, strict=True)]

    def _stored(self, row: Mapping[str, Any], page: Mapping[str, Any]) -> Media:
        data: bytes | None = page["image"]
        if data is None:
            return self._placeholder(page["fetch_failure"])
        path = self._cached(row, ".png" if data.startswith(_PNG) else ".jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(data)
        temporary.replace(path)
        return Media(str(path), page["width"], page["height"])

    def _placeholder(self, fault: Mapping[str, str]) -> Media:
        """One picture for all that lack theirs for the same reason."""
        path = self._folder / f"{fault['kind']}.png"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            image = Image.new("RGB", _PLACEHOLDER, "white")
            draw = ImageDraw.Draw(image)
            draw.text((24, 24), f"no picture: {fault['kind']}", fill="black", font_size=28)
            image.save(path)
        return Media(
            str(path), *_PLACEHOLDER, failure=f"{fault['kind']} {fault['message']}".strip()
        )


def _folder_of(run: RunDir) -> Path:
    """RUN/media; for a run in a bucket a folder of this machine, as the app shows local files."""
    if isinstance(run.path, Path):
        return (run.path / "media").resolve()
    digest = hashlib.blake2b(str(run.path).encode(), digest_size=8).hexdigest()
    return cache_folder("media") / f"{run.path.name}-{digest}"


def whole_picture(row: Mapping[str, Any]) -> Path | None:
    """The local file that is this row's picture, as the run saw it, upright; else None.

    Only its header is read. A file that has changed since is none, nor is one that the run could
    not read.
    """
    uri, member = split_member(row["uri"])
    path = Path(uri)
    shown = path.is_absolute() and path.suffix.lower() in _SHOWN.get(row["kind"], ())
    if not shown or member or row["pages"] != 1 or row["fetch_failure"]:
        return None
    try:
        same = not row["etag"] or etag_of(path.stat()) == row["etag"]
        return path if same and _is_upright(path, row["kind"]) else None
    except Exception:  # Pillow has many for damaged files; the reader finds the name of this one
        return None


def _size(row: Mapping[str, Any], path: Path) -> tuple[int, int]:
    """Of a cached picture; of a row that failed its run does not know it."""
    if row["width"] and row["height"]:
        return row["width"], row["height"]
    with Image.open(path) as image:
        return image.size


def _is_upright(path: Path, kind: str) -> bool:
    """Looked for in front of the pixels only: to be sure of a PNG, Pillow would decode it all."""
    with Image.open(path, formats=[kind.upper()]) as image:
        exif = image.getexif() if kind != "png" or "exif" in image.info else {}
        return exif.get(_ORIENTATION, 1) == 1
