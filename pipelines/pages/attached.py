"""What is attached to a PDF, as both sides of the sandbox know it."""

from __future__ import annotations

import re
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict

from actors.failures import FailureKind, ItemFailure
from pipelines.storage.objects import split_attachment

#: Marks of attachments, or of compressed objects, which may hide them. The search takes 1 ms per
#: 10 MB; it spares the other PDFs a second parser (1 to 6 ms).
_SIGNS = re.compile(rb"/EmbeddedFile|/FileAttachment|/Filespec|/Collection|/ObjStm")


class Attached(BaseModel):
    """The files attached to a PDF.

    `names`: one for each file, distinct, without folders. `portfolio`: the PDF is a cover of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: tuple[str, ...] = ()
    portfolio: bool = False


NOTHING = Attached()


def content_at(
    uri: str, read: Callable[[str], bytes], take_out: Callable[[bytes, str], bytes]
) -> bytes:
    """The bytes of a document, which may be attached to a PDF. Raises ItemFailure.

    Args:
        uri: of the document.
        read: reads a stored document by its URI.
        take_out: (PDF, name of the attached file) -> its bytes, in a sandbox.
    """
    stored, name = split_attachment(uri)
    if name is None:
        return read(uri)
    try:
        pdf = read(stored)
    except ItemFailure as fault:
        if fault.kind not in (FailureKind.OBJECT_MISSING, FailureKind.OBJECT_CHANGED):
            raise
        try:
            return read(uri)  # an object whose key really has `x.pdf!/` in it
        except ItemFailure as other:
            missing = other.kind is FailureKind.OBJECT_MISSING
            raise (fault if missing else other) from None
    return take_out(pdf, name)


def may_have_attachments(data: bytes) -> bool:
    """Whether a PDF must be searched for attachments."""
    return bool(_SIGNS.search(data))
