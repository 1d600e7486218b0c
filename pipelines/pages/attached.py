"""What is attached to a PDF, as both sides of the sandbox know it."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict

#: A PDF with attachments has one of these outside of compressed objects. The search takes 1 ms per
#: 10 MB; it spares the other PDFs a second parser.
_SIGNS = re.compile(rb"/EmbeddedFile|/FileAttachment|/Filespec|/Collection")


class Attached(BaseModel):
    """The files attached to a PDF.

    `names`: one for each file, distinct, without folders. `portfolio`: the PDF is a cover of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: tuple[str, ...] = ()
    portfolio: bool = False


NOTHING = Attached()


def may_have_attachments(data: bytes) -> bool:
    """Whether a PDF must be searched for attachments."""
    return bool(_SIGNS.search(data))
