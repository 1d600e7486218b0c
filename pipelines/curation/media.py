"""The picture of each row, as a local file that a browser can show.

A local file with one upright picture is used in place. All other pictures (pages of documents,
members of archives, objects in buckets, pictures with an EXIF rotation) are fetched again as in the
run, into RUN/media; for a run in a bucket into a cache on this machine.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from PIL import Image, ImageDraw

from pipelines.runs.directory import RunDir
from pipelines.runs.pictures import Refetchers, is_upright, local_file, suffix_of
from pipelines.storage.local_copies import cache_folder
from pipelines.storage.output_errors import output_errors

MediaMode = Literal["local", "download"]

#: A browser goes by the suffix.
_SUFFIXES = {"jpeg": (".jpg", ".jpeg"), "png": (".png",), "webp": (".webp",), "bmp": (".bmp",)}

_PLACEHOLDER = (640, 480)  # pixels


class Media(NamedTuple):
    """A picture.

    `width`, `height`: pixels; None if the row has them. `failure`: kind and message if the picture
    cannot be fetched; `path` is then a placeholder.
    """

    path: str
    width: int | None = None
    height: int | None = None
    failure: str | None = None


class MediaStore:
    """Finds or fetches the pictures of rows."""

    def __init__(self, run: RunDir, mode: MediaMode) -> None:
        """`mode`: `local` uses local pictures in place, `download` copies all pictures."""
        self._run = run
        self._mode = mode
        self._folder = _folder_of(run)
        self._refetch = Refetchers(run)

    def __call__(self, rows: Sequence[dict[str, Any]]) -> list[Media]:
        """The picture of each row, in the same order.

        Args:
            rows: the columns of `pipelines.sources.manifest.MANIFEST`, `width`, `height` and
                `fetch_failure`. Adjacent pages of one document are read once.

        Raises ConfigError (a password is not in the environment), OutputUnwritable.
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
        """Path of a fetched picture. It never goes stale: the row id is a hash of the version."""
        row_id: int = row["row_id"]
        return self._folder / f"{row_id & 0xFF:02x}" / f"{row_id}{suffix}"

    def _fetched(self, rows: Sequence[Any]) -> list[Media]:
        fetched = self._refetch(rows)
        with output_errors(self._folder):
            return [self._stored(row, page) for row, page in zip(rows, fetched, strict=True)]

    def _stored(self, row: Mapping[str, Any], page: Mapping[str, Any]) -> Media:
        data: bytes | None = page["image"]
        if data is None:
            return self._placeholder(page["fetch_failure"])
        path = self._cached(row, suffix_of(data))
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(data)
        temporary.replace(path)
        return Media(str(path), page["width"], page["height"])

    def _placeholder(self, fault: Mapping[str, str]) -> Media:
        """One placeholder for all rows with the same kind of failure."""
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
    """RUN/media; for a run in a bucket a local cache, because the app shows local files only."""
    if isinstance(run.path, Path):
        return (run.path / "media").resolve()
    digest = hashlib.blake2b(str(run.path).encode(), digest_size=8).hexdigest()
    return cache_folder("media") / f"{run.path.name}-{digest}"


def whole_picture(row: Mapping[str, Any]) -> Path | None:
    """The local file that shows this row's picture upright and unchanged; else None.

    Reads only the header. None also for a file that the run could not read, or that its reader
    turned.
    """
    path = local_file(row) if row["uri"].startswith("/") else None
    if path is None or path.suffix.lower() not in _SUFFIXES[row["kind"]]:
        return None
    try:
        with Image.open(path, formats=[row["kind"].upper()]) as image:
            return path if is_upright(image) else None
    except Exception:  # Pillow raises many types for damaged files; the reader names the failure
        return None


def _size(row: Mapping[str, Any], path: Path) -> tuple[int, int]:
    """Size of a cached picture. A failed row does not have it."""
    if row["width"] and row["height"]:
        return row["width"], row["height"]
    with Image.open(path) as image:
        return image.size
