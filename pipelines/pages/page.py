"""Types of a rendered page, and the kind of a file by its first bytes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from actors.contract import Settings
from actors.failures import FailureKind, ItemFailure
from pipelines.pages.native_text import NativeText
from pipelines.pages.notes import PageNote
from pipelines.storage.known_names import HEAD_BYTES, known_name

Kind = Literal["pdf", "tiff", "jpeg", "png", "webp", "bmp", "gif", "jp2", "avif", "heic", "unknown"]


class RenderOptions(Settings):
    """How pages are rendered. The child gets this once, when it starts."""

    dpi: int = Field(200, ge=36, le=1200, description="resolution of PDF pages")
    max_dpi: int | None = Field(300, ge=36, le=1200, description="see `FetchConfig.max_dpi`")
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
    #: Lowest and highest value of a picture of more than 8 bits that became 0 and 255.
    pixel_range: tuple[FiniteFloat, FiniteFloat] | None = None
    notes: tuple[PageNote, ...] = ()


def sniff(data: bytes) -> Kind:
    """The kind of a file by its first 1,024 bytes; `unknown` for one that is not read."""
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
    if head.startswith(_JPEG_2000) and head[20:24] not in _NO_PICTURE:
        return "jp2"
    if (found := _by_brand(head)) != "unknown":
        return found
    return "pdf" if b"%PDF-" in head else "unknown"  # readers accept leading junk


def _by_brand(head: bytes) -> Kind:
    match known_name(head) if head[4:8] == b"ftyp" else None:
        case "AVIF":
            return "avif"
        case "HEIC":
            return "heic"
    return "unknown"


#: A JPEG 2000 file, and a bare codestream.
_JPEG_2000 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_NO_PICTURE = (b"jpm ", b"mjp2")  # brands of compound documents and of video
_BMP_HEADERS = frozenset(size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124))


READ_KINDS = "PDF, TIFF, JPEG, PNG, WebP, BMP, GIF, JPEG 2000, AVIF or HEIC"


def unsupported(data: bytes) -> ItemFailure:
    """The failure of a file that is no supported document or image; it names the format."""
    name = known_name(data[:HEAD_BYTES])
    return ItemFailure(
        FailureKind.UNSUPPORTED_KIND,
        f"{name} is not supported" if name else f"by its content the file is no {READ_KINDS}",
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
