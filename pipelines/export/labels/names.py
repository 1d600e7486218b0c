"""Names of pictures: flat unique names in an export, and COCO's names below the source."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import ConfigError
from pipelines.export.documents.names import absolute, root_of
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import iter_rows
from pipelines.storage.objects import is_bucket, plain_path, split_attachment, split_member

#: Most bytes of the readable part of a name. File systems allow 255 for the whole name; trainers
#: write beside it under longer temporary names (ultralytics: 34 bytes more).
_LONGEST = 150

_PICTURES = "jpg jpeg jpe jfif png apng webp bmp gif tif tiff avif heic heif jp2 jpx jpf"
#: FiftyOne goes by the suffix, and one file that it takes for no picture ends its whole import.
_SUFFIXES = {f".{name}" for name in _PICTURES.split()}

_MAGIC = re.compile(r"[*?\[]")


def stem_of(uri: str, page: int, row_id: int) -> str:
    """A unique file name without a suffix: the name of the source, its page, and the row id.

    At most 180 bytes of UTF-8, letters, digits, `_`, `-` and `.`, and no dot in front: data loaders
    pass over hidden files.

    >>> stem_of("/scans/box 1/letter.pdf", 2, 255)
    'letter-p2-00000000000000ff'
    """
    stem = PurePosixPath(plain_path(uri)).stem
    readable = re.sub(r"[^\w.-]|^\.", "_", stem).encode()[:_LONGEST].decode(errors="ignore")
    paged = f"-p{page}" if page > 1 else ""
    return f"{readable}{paged}-{row_id % (1 << 64):016x}"


class NamesBelow:
    """COCO's `file_name`: the path of a picture below a folder or prefix."""

    def __init__(self, root: str) -> None:
        """`root`: without a slash at its end; "": names are whole paths without their first /."""
        self.root = root

    def __call__(self, uri: str) -> str:
        """The name of a file or object.

        >>> NamesBelow("/photos")("/photos/cats/a.jpg")
        'cats/a.jpg'
        >>> NamesBelow("")("s3://bucket/cats/a.jpg")
        'bucket/cats/a.jpg'
        """
        path = plain_path(uri)
        if self.root and path.startswith(self.root + "/"):
            return path[len(self.root) + 1 :]
        return re.sub(r"^\w+://", "", path).lstrip("/")


def why_nameless(uri: str, page: int, kind: str) -> str | None:
    """Why COCO cannot name the picture of a row so that loaders find and read it; else None."""
    if split_attachment(uri)[1] is not None:
        return "files attached to PDFs"
    if split_member(uri)[1] is not None:
        return "members of archives"
    if kind == "pdf":
        return "pages of PDFs"
    if page > 1:
        return "pages after the first"
    if plain_path(uri).startswith("file://"):
        return "names that are not UTF-8"
    suffix = PurePosixPath(uri).suffix.lower()
    return None if suffix in _SUFFIXES else "names without a picture's suffix"


def names_of(run: RunDir, source: str | None, relative_to: str | None) -> NamesBelow:
    """The names of a run's pictures.

    They are relative to `relative_to`; else to the folder or prefix that the run listed (of a list:
    its folder); if pictures lie outside of it, to the deepest folder that holds all of them.

    Raises ConfigError if `relative_to` does not hold all of them.
    """
    first, last = _first_and_last(run)
    common = _folder_of_both(first, last)
    if relative_to is not None:
        root = absolute(relative_to if is_bucket(relative_to) else os.path.normpath(relative_to))
        for uri in (first, last):
            if uri and not uri.startswith(root + "/"):
                raise ConfigError(
                    f"--relative-to {relative_to}: {uri} is not below it",
                    f"name a folder or prefix that holds all images, such as {common or '/'}",
                )
        return NamesBelow(root)
    for root in _roots(source):
        if root and (common == root or common.startswith(root + "/")):
            return NamesBelow(root)
    return NamesBelow(common)


def _roots(source: str | None) -> Iterator[str]:
    """Folders or prefixes that a source names: its own, that of a list, that before a glob."""
    if not source:
        return
    yield root_of(source)
    path = plain_path(absolute(source) if not source.startswith("file://") else source)
    yield path.rpartition("/")[0]
    yield _MAGIC.split(path)[0].rpartition("/")[0]


def _first_and_last(run: RunDir) -> tuple[str, str]:
    """The first and the last path in the order of characters, of files and objects; "" if none.

    All others begin with what these two have in common.
    """
    ends: list[str] = []
    for batch in iter_rows(run, ["uri"]):
        uris = batch["uri"]
        odd = pc.starts_with(uris, "file://")
        ends += [plain_path(uri) for uri in uris.filter(odd).to_pylist()]
        plain = uris.filter(pc.invert(pc.or_(odd, pc.match_substring(uris, "!/"))))
        ends += [end.as_py() for end in _min_max(plain).values() if end.is_valid]
        ends = [end for end in ends if not end.startswith("file://")]
        ends = [min(ends), max(ends)] if ends else []
    return (ends[0], ends[-1]) if ends else ("", "")


def _min_max(values: pa.Array) -> Any:
    return pc.min_max(values)


def _folder_of_both(first: str, last: str) -> str:
    """The deepest folder or prefix that holds both, without a slash at its end; "": none does."""
    folders = zip(first.split("/")[:-1], last.split("/")[:-1], strict=False)
    common = "/".join(one for one, _ in takewhile(lambda both: both[0] == both[1], folders))
    return "" if common.endswith(":/") else common  # two buckets share no more than their scheme
