"""Types of a rendered page, and the kind of a file by its first bytes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from actors.contract import Settings
from actors.failures import FailureKind, ItemFailure
from pipelines.pages.native_text import NativeText
from pipelines.pages.notes import PageNote

Kind = Literal["pdf", "tiff", "jpeg", "png", "webp", "bmp", "gif", "unknown"]


class RenderOptions(Settings):
    """How pages are rendered. The child gets this once, when it starts."""

    dpi: int = Field(200, ge=36, le=1200, description="resolution of PDF pages")
    max_pixels: int = Field(
        100_000_000, ge=1, description="most pixels of a page, checked before it is decoded"
    )
    oversize: Literal["fail", "shrink"] = Field(
        "fail", description="a PDF page above max_pixels: TOO_MANY_PIXELS, or render at a lower dpi"
    )
    native_text: NativeText = NativeText()
    keep_image_for_native: bool = False
    passwords: tuple[str, ...] = ()


class TextLine(BaseModel):
    """One line of native text, as a value of `actors.lines.LINE`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    text: str
    score: None = None
    polygon: Annotated[list[float], Field(min_length=8, max_length=8)]


class Page(BaseModel):
    """One upright page. The parent validates it, because the child is not trusted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: A JPEG or PNG file, 8-bit gray or RGB, upright; None if the text layer replaces it.
    image: bytes | None = None
    width: Annotated[int, Field(ge=1)]  #: pixels of the upright page
    height: Annotated[int, Field(ge=1)]
    native_text: str | None = None  #: lines in the order of the PDF, joined by newlines
    native_lines: list[TextLine] | None = None  #: polygons in pixels of `width` x `height`
    native_reason: str | None = None  #: why the layer was accepted or refused; None for images
    notes: tuple[PageNote, ...] = ()


def sniff(data: bytes) -> Kind:
    """The kind of a file by its first 1,024 bytes."""
    head = data[:1024]
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "tiff"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    # Text can start with "BM" too, so the header size is checked.
    if head.startswith(b"BM") and head[14:18] in _BMP_HEADERS:
        return "bmp"
    return "pdf" if b"%PDF-" in head else "unknown"  # readers accept leading junk


_BMP_HEADERS = frozenset(size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124))


def unsupported() -> ItemFailure:
    """The failure of a file that is no supported document or image."""
    return ItemFailure(
        FailureKind.UNSUPPORTED_KIND,
        "by its content the file is no PDF, TIFF, JPEG, PNG, WebP, BMP or GIF",
    )


def page_missing(page: int, pages: int) -> ItemFailure:
    """The failure of a page beyond the end."""
    return ItemFailure(
        FailureKind.PAGE_MISSING, f"page {page} does not exist: the document has {pages} pages"
    )


def too_many_pixels(width: int, height: int, options: RenderOptions, what: str) -> ItemFailure:
    """The failure of a page above the pixel limit."""
    return ItemFailure(
        FailureKind.TOO_MANY_PIXELS,
        f"{what} has {width:,} x {height:,} pixels, the limit is {options.max_pixels:,}",
    )
