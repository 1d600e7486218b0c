"""File names of exported documents: the path of the source below OUT, plus a suffix."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from pipelines.export.characters import safe_name
from pipelines.export.documents.ledger import HIDDEN
from pipelines.storage.objects import is_bucket, local_path, split_member

#: Most bytes of a path component: file systems allow 255, minus suffix and temporary name.
_LONGEST = 180


def root_of(source: str | None) -> str:
    """The folder or prefix that a run listed, the root of all names; "" for a file list or none."""
    if not source or source.lower().endswith((".parquet", ".csv", ".jsonl")):
        return ""
    if is_bucket(source) or source.startswith("file://"):
        return source.rstrip("/")
    return str(Path(source).expanduser().absolute())


def absolute(out: str) -> str:
    """`out` as a URI of `pipelines.storage.objects`, without a trailing slash."""
    return out.rstrip("/") if is_bucket(out) else str(Path(out).expanduser().absolute())


def file_name(uri: str, root: str, suffix: str) -> str:
    """A relative path. It keeps the full name of the source, so that names are unique.

    A name that would leave the folder, is invalid or too long is changed and gets a hash of the
    uri.

    >>> file_name("/scans/box 1/letter.pdf", "/scans", ".txt")
    'box 1/letter.pdf.txt'
    >>> file_name("/scans/kiosk.zip!/in/a.png", "/scans", ".txt")
    'kiosk.zip!/in/a.png.txt'
    """
    path, root = _plain(uri), _plain(root)
    below = path.removeprefix(root + "/") if root else path
    if path == root:
        below = path.rpartition("/")[2]
    elif below == path:
        below = re.sub(r"^\w+://", "", path).lstrip("/")
    mended = "/".join(_mended(part) for part in below.split("/"))
    if mended == below and path == uri:  # a folder `x.zip!` may stand beside an archive `x.zip`
        return mended + suffix
    digest = hashlib.blake2b(uri.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{mended}-{digest}{suffix}"


def _plain(uri: str) -> str:
    """A local URI as its path, bytes that are no UTF-8 as surrogates; other URIs as they are."""
    stored, member = split_member(uri)
    if stored.startswith("file://"):
        stored = local_path(stored).decode("utf-8", "surrogateescape")
    return stored if member is None else f"{stored}!/{member}"


def _mended(part: str) -> str:
    if part in ("", ".", "..", HIDDEN):
        return "_" + part.replace(".", "_")
    part = safe_name(part)
    data = part.encode("utf-8", "surrogatepass")
    return part if len(data) <= _LONGEST else data[:_LONGEST].decode("utf-8", "ignore")
