"""The pictures of an export: linked, copied, or fetched again as the run saw them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from PIL import Image

from actors.failures import FailureKind
from pipelines.errors import SourceUnavailable
from pipelines.export.labels.names import NamesBelow, stem_of, why_nameless
from pipelines.runs.directory import RunDir
from pipelines.runs.pictures import Refetchers, is_upright, local_file, suffix_of
from pipelines.runs.refetch import RowToFetch
from pipelines.sources.manifest import SeenIds

#: Pictures in memory at once. A phone's turned photo takes 20 MB as a PNG.
BATCH = 32

_SUFFIXES = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "bmp": ".bmp"}

#: Files that are looked at or copied at once: on a network mount each takes 1 to 10 ms.
_THREADS = 8

#: Batches in a row without one readable picture, after which the source counts as down.
_DOWN = 2


class Picture(NamedTuple):
    """The picture of one row.

    Attributes:
        file: its name; "": there is none.
        how: `linked`, `copied`, `written` (fetched again), `named` (COCO without pictures) or
            `turned` (named, but EXIF says how it must be turned).
        why: why there is none: a failure kind, or a reason in words.
        message: more about it.
    """

    file: str
    how: str
    why: str = ""
    message: str = ""


class Pictures(Protocol):
    """Gives each row of a batch its picture."""

    def __call__(self, rows: Sequence[RowToFetch]) -> list[Picture]: ...


#: How a local file gets into the folder. `hardlink`: a copy where the file system cannot link.
Way = Literal["symlink", "hardlink", "copy"]


class PictureFolder:
    """Puts the picture of each row into a folder, with a suffix by content.

    A local file that every loader reads like Nightjar (`loadable`) is linked or copied. Everything
    else is fetched again as in the run: objects, members of archives, pages, pictures that EXIF
    turns, deep and transparent ones, other formats. These become upright 8-bit PNGs, except JPEGs
    and PNGs that are that already.
    """

    def __init__(self, run: RunDir, folder: Path, way: Way) -> None:
        """`folder`: an existing folder."""
        self._folder, self._way = folder, way
        self._refetch = Refetchers(run)
        self._down = 0

    def __call__(self, rows: Sequence[RowToFetch]) -> list[Picture]:
        """The picture of each row, in the same order. Rows without one say why.

        Raises ConfigError (a password is not set), OSError (the folder cannot be written),
        SourceUnavailable (nothing of 64 rows can be read).
        """
        with ThreadPoolExecutor(_THREADS) as threads:
            found = list(threads.map(self._at_hand, rows))
        rest = [row for row, picture in zip(rows, found, strict=True) if picture is None]
        pages = self._refetch(rest)
        faults = [page["fetch_failure"] for page in pages]
        self._check_source([fault["kind"] for fault in faults if fault], len(rows))
        with ThreadPoolExecutor(_THREADS) as threads:
            written = threads.map(self._written, rest, pages)
            return [picture or next(written) for picture in found]

    def _at_hand(self, row: RowToFetch) -> Picture | None:
        path = loadable(row)
        if path is None:
            return None
        name = _stem(row) + _SUFFIXES[row["kind"]]
        if self._way == "symlink":
            (self._folder / name).symlink_to(path)
            return Picture(name, "linked")
        if self._way == "hardlink":
            with suppress(OSError):  # another file system, or a file of somebody else
                os.link(path.resolve(), self._folder / name)
                return Picture(name, "linked")
        try:
            data = path.read_bytes()
        except OSError:  # the reader names the failure
            return None
        (self._folder / name).write_bytes(data)
        return Picture(name, "copied")

    def _written(self, row: RowToFetch, page: Mapping[str, Any]) -> Picture:
        data: bytes | None = page["image"]
        if data is None:
            fault = page["fetch_failure"]
            return Picture("", "", fault["kind"], fault["message"])
        name = _stem(row) + suffix_of(data)
        (self._folder / name).write_bytes(data)
        return Picture(name, "written")

    def _check_source(self, faults: Sequence[str], rows: int) -> None:
        """Stop when the store does not answer: each batch would wait for minutes."""
        lost = len(faults) == rows and set(faults) == {FailureKind.STORAGE_ERROR}
        self._down = self._down + 1 if lost else 0
        if self._down == _DOWN:
            raise SourceUnavailable(
                f"none of {_DOWN * rows} pictures in a row could be read: STORAGE_ERROR",
                "check that the source is there, then start the same command again",
            )


class NamedPictures:
    """COCO without pictures: rows get the name of their file below the source.

    A row without a file of its own has no name, and no name is given twice.
    """

    def __init__(self, names: NamesBelow) -> None:
        self._names = names
        self._given = SeenIds()

    def __call__(self, rows: Sequence[RowToFetch]) -> list[Picture]:
        """The picture of each row, in the same order."""
        with ThreadPoolExecutor(_THREADS) as threads:
            turned = list(threads.map(is_turned, rows))
        named = [self._named(row, way) for row, way in zip(rows, turned, strict=True)]
        hashes = [hash(picture.file) for picture in named if picture.file]
        new = iter(self._given.add(np.array(hashes, np.int64)))
        twice = Picture("", "", "names of another image")
        return [twice if one.file and not next(new) else one for one in named]

    def _named(self, row: RowToFetch, turned: bool) -> Picture:
        if why := why_nameless(row["uri"], row["page"], row["kind"]):
            return Picture("", "", why)
        return Picture(self._names(row["uri"]), "turned" if turned else "named")


class NoPictures:
    """Formats that name no pictures."""

    def __call__(self, rows: Sequence[RowToFetch]) -> list[Picture]:
        """A picture without a name for each row."""
        return [Picture("", "named") for _ in rows]


def loadable(row: Mapping[str, Any]) -> Path | None:
    """The local file of a row from which every loader gets the pixels that the run labelled.

    That is an unchanged, upright picture with 8 bits, gray or colour, without transparency; of the
    kinds that OpenCV and Pillow read alike. Reads only the header.
    """
    path = local_file(row)
    if path is None:
        return None
    kind = row["kind"]
    try:
        with Image.open(path, formats=[kind.upper()]) as image:
            size = (row.get("width"), row.get("height"))
            fits = image.size == size and is_upright(image) and _is_plain(image, path)
    except Exception:  # Pillow raises many types for damaged files; the reader names the failure
        return None
    return path if fits else None


def _is_plain(image: Image.Image, path: Path) -> bool:
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        return False
    with path.open("rb") as file:
        if image.format == "PNG":
            depth, colour = file.read(26)[24:]  # in the header chunk; 0 gray, 2 RGB, 3 palette
            return depth == 8 and colour in (0, 2, 3) and "transparency" not in image.info
        if image.format in ("JPEG", "MPO"):
            # ultralytics writes a JPEG without its end mark anew; older versions through the link.
            file.seek(-2, 2)
            return image.mode in ("L", "RGB") and file.read() == b"\xff\xd9"
    return image.mode in ("L", "RGB")


def is_turned(row: Mapping[str, Any]) -> bool:
    """Whether EXIF turns the local file of a row; False for other rows, and if it is not there."""
    path = local_file(row)
    if path is None:
        return False
    try:
        with Image.open(path, formats=[row["kind"].upper()]) as image:
            return not is_upright(image)
    except Exception:  # Pillow raises many types for damaged files
        return False


def _stem(row: RowToFetch) -> str:
    return stem_of(row["uri"], row["page"], row["row_id"])
