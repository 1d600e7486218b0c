"""Files attached to a PDF: their names and contents, with pikepdf. Child process only.

They are in the document's list of attachments, or behind the paper clips on its pages. Names and
contents come from strangers: names become plain file names, and contents have limits.
"""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import pikepdf

from actors.failures import FailureKind, ItemFailure
from pipelines.pages.attached import NOTHING, Attached, may_have_attachments

_MOST_FILES = 10_000
_MOST_NAME = 120  # characters
#: Unpacked size : size of the whole PDF, as `pipelines.storage.archives.archive.MAX_RATIO`.
_MAX_RATIO, _RATIO_FLOOR = 200, 128 << 20


class AttachedFiles:
    """The files attached to one PDF, which stays open: a portfolio may hold 10,000 mails."""

    def __init__(self, data: bytes, passwords: Sequence[str]) -> None:
        """Raises ItemFailure (CORRUPT_PDF, TOO_MANY_MEMBERS)."""
        self._packed = len(data)
        try:
            self._pdf = opened(data, passwords)
            self._files = dict(_files(self._pdf))
            self._collection = "/Collection" in self._pdf.Root
        except (ItemFailure, MemoryError):
            raise
        except Exception as error:  # a parser can raise anything on malicious bytes
            raise ItemFailure(FailureKind.CORRUPT_PDF, f"attachments: {error}") from error

    @property
    def found(self) -> Attached:
        """Their names."""
        return Attached(names=tuple(self._files), portfolio=bool(self._files) and self._collection)

    def content(self, name: str, max_bytes: int) -> bytes:
        """Raises ItemFailure: OBJECT_MISSING, EMPTY_FILE, TOO_MANY_BYTES, CORRUPT_PDF."""
        if name not in self._files:
            raise ItemFailure(FailureKind.OBJECT_MISSING, f"no file {name!r} is attached")
        try:
            return _unpacked(self._files[name], name, self._packed, max_bytes)
        except (ItemFailure, MemoryError):
            raise
        except Exception as error:
            raise ItemFailure(FailureKind.CORRUPT_PDF, f"attachment {name!r}: {error}") from error


def attached_to(data: bytes, passwords: Sequence[str]) -> Attached:
    """The files attached to a PDF; none if its list cannot be read, which is pdfium's to judge.

    Raises ItemFailure (TOO_MANY_MEMBERS).
    """
    if not may_have_attachments(data):
        return NOTHING
    try:
        return AttachedFiles(data, passwords).found
    except ItemFailure as failure:
        if failure.kind is FailureKind.CORRUPT_PDF:
            return NOTHING
        raise


def _unpacked(stream: pikepdf.Stream, name: str, packed: int, max_bytes: int) -> bytes:
    content = stream.read_bytes()
    size = len(content)
    if size == 0:
        raise ItemFailure(FailureKind.EMPTY_FILE, f"attachment {name!r} has zero bytes")
    if size > max_bytes:
        raise ItemFailure(
            FailureKind.TOO_MANY_BYTES,
            f"attachment {name!r} has {size:,} bytes, the limit is {max_bytes:,}",
        )
    if size > _RATIO_FLOOR and size > _MAX_RATIO * packed:
        raise ItemFailure(
            FailureKind.TOO_MANY_BYTES,
            f"attachment {name!r} unpacks to {size:,} bytes from a PDF of {packed:,}; "
            f"the limit is {_MAX_RATIO} to 1",
        )
    return content


def opened(data: bytes, passwords: Sequence[str]) -> pikepdf.Pdf:
    """A PDF in memory, for `with`. Raises pikepdf.PdfError, pikepdf.PasswordError."""
    for password in ("", *passwords):
        try:
            return pikepdf.open(io.BytesIO(data), password=password, suppress_warnings=True)
        except pikepdf.PasswordError:
            continue
    raise pikepdf.PasswordError("no password fits")


def _files(pdf: pikepdf.Pdf) -> Iterator[tuple[str, pikepdf.Stream]]:
    """(distinct name, content) of each attached file; each file once."""
    seen: set[Any] = set()
    taken: set[str] = set()
    for said, spec in _specifications(pdf):
        stream = _stream_of(spec)
        if stream is None or (stream.is_indirect and stream.objgen in seen):
            continue
        seen.add(stream.objgen)
        if len(taken) == _MOST_FILES:
            raise ItemFailure(
                FailureKind.TOO_MANY_MEMBERS, f"more than {_MOST_FILES:,} files are attached"
            )
        name = distinct(safe_name(_name_of(spec) or said), taken)
        taken.add(name)
        yield name, stream


def _specifications(pdf: pikepdf.Pdf) -> Iterator[tuple[str, Any]]:
    """(name, file specification): of the document, then of the annotations in page order."""
    names = pdf.Root.get("/Names")
    tree = names.get("/EmbeddedFiles") if isinstance(names, pikepdf.Dictionary) else None
    if isinstance(tree, pikepdf.Dictionary):
        for key, spec in pikepdf.NameTree(pdf.make_indirect(tree)).items():
            yield str(key), spec
    for page in pdf.pages:
        annotations = page.obj.get("/Annots")
        for one in annotations if isinstance(annotations, pikepdf.Array) else ():
            if isinstance(one, pikepdf.Dictionary) and one.get("/Subtype") == "/FileAttachment":
                yield "", one.get("/FS")


def _stream_of(spec: Any) -> pikepdf.Stream | None:
    files = spec.get("/EF") if isinstance(spec, pikepdf.Dictionary) else None
    if not isinstance(files, pikepdf.Dictionary):
        return None
    found = (files.get(key) for key in ("/UF", "/F", "/Unix", "/DOS", "/Mac"))
    return next((one for one in found if isinstance(one, pikepdf.Stream)), None)


def _name_of(spec: Any) -> str:
    found = (spec.get(key) for key in ("/UF", "/F", "/Unix", "/DOS", "/Mac"))
    return next((str(one) for one in found if isinstance(one, pikepdf.String) and str(one)), "")


def safe_name(said: str) -> str:
    """A plain file name: no folders, no control characters, at most 120 characters."""
    last = re.split(r"[/\\]", said.strip())[-1]
    plain = "".join("_" if unicodedata.category(char)[0] == "C" else char for char in last)
    path = PurePosixPath(plain.strip() or "attachment")
    suffix = path.suffix[:16]
    stem = path.name.removesuffix(path.suffix)[: _MOST_NAME - len(suffix)]
    return "attachment" if not path.name.strip(". ") else stem + suffix


def distinct(name: str, taken: set[str]) -> str:
    """`name`, or `stem (2).suffix` and so on if it is taken."""
    path, number, free = PurePosixPath(name), 2, name
    while free in taken:
        free = f"{path.name.removesuffix(path.suffix)} ({number}){path.suffix}"
        number += 1
    return free
