"""Bad files of many kinds, made on request.

Every maker takes a folder, writes one file into it and returns its path. The readable ones show
TEXT, dark on light once decoded rightly; the docstring says how a careless decoder goes wrong.
"""

from __future__ import annotations

import ctypes
import io
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c
from PIL import Image, ImageChops, ImageDraw, ImageFont

from actors.failures import FailureKind

TEXT = "Nightjar reads line 42"
PASSWORD = "nightjar"  # opens encrypted_pdf
SAMPLES = Path(__file__).resolve().parents[2] / "configs" / "samples" / "documents"

Maker = Callable[[Path], Path]


def drawn(text: str = TEXT, size: tuple[int, int] = (640, 480), pixels: int = 44) -> Image.Image:
    """Gray page (mode L): black lines on white, left aligned, in Pillow's own font.

    No strips: RapidOCR's detector enlarges the short side to 736 pixels, so that a page of
    400 x 120 took it 0.33 s, one of 320 x 240 0.13 s.
    """
    page = Image.new("L", size, 255)
    place = (size[0] // 12, size[1] // 4)
    ImageDraw.Draw(page).multiline_text(place, text, fill=0, font=_font(pixels))
    return page


@cache
def _font(pixels: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(pixels)  # 1 ms: it is unpacked anew on each call


def good_page(folder: Path, text: str = TEXT, name: str = "good.png") -> Path:
    """A readable page; the ending of its name decides the format."""
    path = folder / name
    drawn(text, (640, max(480, 240 + 60 * len(text.split("\n"))))).save(path)
    return path


def many_pages(folder: Path, n: int) -> list[Path]:
    """n pages of 320 x 240 px as PNG: page_00000.png, which shows "No.00000", and so on."""
    paths = []
    for number in range(n):
        path = folder / f"page_{number:05d}.png"
        drawn(f"No.{number:05d}", (320, 240), 36).convert("1").save(path, compress_level=1)
        paths.append(path)
    return paths


def pdf_with_text(folder: Path, pages: Sequence[str] = (TEXT,), name: str = "text.pdf") -> Path:
    """A born-digital PDF, A4; each page has its lines as a text layer in Helvetica, 14 pt."""
    document = pdfium.PdfDocument.new()
    font = pdfium_c.FPDFText_LoadStandardFont(document, b"Helvetica")
    for text in pages:
        page = document.new_page(595, 842)
        for number, line in enumerate(text.split("\n")):
            shown = pdfium_c.FPDFPageObj_CreateTextObj(document, font, 14)
            words = (line + "\0").encode("utf-16-le")
            buffer = (ctypes.c_ushort * (len(words) // 2)).from_buffer_copy(words)
            pdfium_c.FPDFText_SetText(shown, buffer)
            pdfium_c.FPDFPageObj_Transform(shown, 1, 0, 0, 1, 72, 770 - 20 * number)
            pdfium_c.FPDFPage_InsertObject(page, shown)
        page.gen_content()
    document.save(folder / name)
    return folder / name


def pdf_of_images(folder: Path, images: Sequence[Path], name: str = "scan.pdf") -> Path:
    """A PDF with one image a page, 150 pixels an inch, without any text layer."""
    first, *rest = (Image.open(image).convert("L") for image in images)
    first.save(folder / name, save_all=True, append_images=rest, resolution=150)
    return folder / name


def zero_bytes(folder: Path) -> Path:
    path = folder / "zero_bytes.jpg"
    path.touch()
    return path


def text_named_jpg(folder: Path) -> Path:
    path = folder / "text_named.jpg"
    path.write_text("This is a note about a picture, not the picture.\n" * 20)
    return path


def _cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def truncated_jpeg(folder: Path) -> Path:
    return _cut(good_page(folder, name="truncated.jpg"), 0.5)


def cut_and_closed_jpeg(folder: Path) -> Path:
    """Half of a JPEG with an end marker: decoders warn, and fill the rest with gray."""
    path = _cut(good_page(folder, name="cut_and_closed.jpg"), 0.5)
    path.write_bytes(path.read_bytes() + b"\xff\xd9")
    return path


def truncated_png(folder: Path) -> Path:
    return _cut(good_page(folder, name="truncated.png"), 0.5)


def truncated_tiff(folder: Path) -> Path:
    """Written with its directory in front, so that only the end of the pixels is missing."""
    path = folder / "truncated.tif"
    drawn().save(path)
    return _cut(path, 0.5)


def truncated_pdf(folder: Path) -> Path:
    """Half of a PDF: neither the cross-reference table nor the trailer is there."""
    return _cut(pdf_with_text(folder, name="truncated.pdf"), 0.5)


def encrypted_pdf(folder: Path) -> Path:
    """One page, RC4 with 128 bits; PASSWORD opens it. It shows a deed, not TEXT."""
    return Path(shutil.copy(SAMPLES / "sealed_deed.pdf", folder / "encrypted.pdf"))


def pdf_without_pages(folder: Path) -> Path:
    """A well-formed PDF with 0 pages. pdfium refuses it without setting its error code, so that
    the code is the one of the failure before it: after `encrypted_pdf`, "password"."""
    return pdf_with_text(folder, pages=(), name="without_pages.pdf")


def huge_page_pdf(folder: Path) -> Path:
    """One page of 200 x 200 inches, the most that PDF allows: 1,600 megapixels at 200 dpi."""
    document = pdfium.PdfDocument.new()
    document.new_page(200 * 72, 200 * 72)
    document.save(folder / "huge_page.pdf")
    return folder / "huge_page.pdf"


def _squeezed(head: bytes, block: bytes, times: int) -> bytes:
    """Raw deflate data of head, then `times` x block; the block is squeezed only once, because a
    full flush makes its data independent of what came before."""
    parts = []
    for data in (head, block):
        squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        parts.append(squeeze.compress(data) + squeeze.flush(zlib.Z_FULL_FLUSH))
    return parts[0] + parts[1] * times + zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS).flush()


def huge_png(folder: Path) -> Path:
    """60,000 x 60,000 pixels, one bit each, all black, every checksum right: 450 MB in 450 KB."""
    side, rows_at_once = 60_000, 1_000
    row = bytes(1 + side // 8)  # filter 0, then the pixels
    deflated = _squeezed(b"", row * rows_at_once, side // rows_at_once)
    adler = (len(row) * side % 65_521) << 16 | 1  # of so many zeros
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)),
        (b"IDAT", b"\x78\xda" + deflated + struct.pack(">I", adler)),
        (b"IEND", b""),
    )
    path = folder / "huge.png"
    with path.open("wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n")
        for kind, data in chunks:
            out.write(struct.pack(">I", len(data)) + kind + data)
            out.write(struct.pack(">I", zlib.crc32(kind + data)))
    return path


def zip_bomb(folder: Path) -> Path:
    """page.bmp, 24 bits, 20,000 x 19,200 pixels, all black: 1.15 GB in 1.2 MB, no header lies."""
    width, height, rows_at_once = 20_000, 19_200, 16
    size = 3 * width * height
    head = struct.pack("<2sIIIIiiHH24x", b"BM", 54 + size, 0, 54, 40, width, height, 1, 24)
    block = bytes(3 * width * rows_at_once)
    path = folder / "bomb.zip"
    info = zipfile.ZipInfo("page.bmp")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, _squeezed(head, block, height // rows_at_once))  # stored as it is
        info.compress_type, info.file_size = zipfile.ZIP_DEFLATED, len(head) + size
        info.CRC = zlib.crc32(head)
        for _ in range(height // rows_at_once):
            info.CRC = zlib.crc32(block, info.CRC)
    with path.open("r+b") as out:
        out.write(info.FileHeader(zip64=False))
    return path


def _png() -> bytes:
    held = io.BytesIO()
    drawn().save(held, "PNG")
    return held.getvalue()


def _zip(path: Path, member: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, _png())
    return path


def corrupt_zip(folder: Path) -> Path:
    """Half of a zip: the directory at its end is missing."""
    return _cut(_zip(folder / "corrupt.zip", "page.png"), 0.5)


def corrupt_member_zip(folder: Path) -> Path:
    """The directory is whole, so that the plan can list it; the data of its member is not."""
    path = _zip(folder / "corrupt_member.zip", "page.png")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)
    path.write_bytes(data)
    return path


def truncated_tar_gz(folder: Path) -> Path:
    path = folder / "truncated.tar.gz"
    page = _png()
    member = tarfile.TarInfo("page.png")
    member.size = len(page)
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(member, io.BytesIO(page))
    return _cut(path, 0.5)


def cmyk_jpeg(folder: Path) -> Path:
    """Four channels, stored inverted as Adobe does: taken as they are, light on dark."""
    path = folder / "cmyk.jpg"
    drawn().convert("RGB").convert("CMYK").save(path, quality=90)
    return path


def gray16_png(folder: Path) -> Path:
    """Ink 4,000 and paper 60,000 of 65,535: cut off at 255, all of it is white."""
    path = folder / "gray16.png"
    ink = np.asarray(drawn(), np.float32) / 255
    Image.fromarray((4_000 + 56_000 * ink).astype(np.uint16)).save(path)
    return path


def palette_png(folder: Path) -> Path:
    """The paper is transparent, and black where transparency is dropped: black on black."""
    path = folder / "palette.png"
    page = Image.fromarray((np.asarray(drawn()) < 128).astype(np.uint8))  # 0 paper, 1 ink
    page.putpalette([0, 0, 0, 0, 0, 0])
    page.save(path, transparency=0)
    return path


def alpha_png(folder: Path) -> Path:
    """Black ink on transparent black, as signatures are exported: dropped alpha, black on black."""
    path = folder / "alpha.png"
    page = Image.new("RGBA", drawn().size, (0, 0, 0, 0))
    page.putalpha(ImageChops.invert(drawn()))
    page.save(path)
    return path


def bilevel_tiff(folder: Path) -> Path:
    path = folder / "bilevel.tif"
    drawn().convert("1").save(path, compression="group4")
    return path


def rotated_jpeg(folder: Path) -> Path:
    """Stored on its side with EXIF orientation 6: upright, it is wider than high."""
    path = folder / "rotated.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    drawn().transpose(Image.Transpose.ROTATE_90).save(path, quality=90, exif=exif)
    return path


def animated_gif(folder: Path) -> Path:
    """TEXT on the first of three frames, other words on the rest."""
    path = folder / "animated.gif"
    rest = [drawn("another frame"), drawn("and one more")]
    drawn().save(path, save_all=True, append_images=rest, duration=100)
    return path


def lossy_webp(folder: Path) -> Path:
    return good_page(folder, name="lossy.webp")


def plain_bmp(folder: Path) -> Path:
    return good_page(folder, name="plain.bmp")


def repairable_pdf(folder: Path) -> Path:
    """The last 11 bytes are missing, and with them where the cross-reference table begins; all
    objects and the trailer are there, so that pdfium can find them by itself."""
    path = pdf_with_text(folder, name="repairable.pdf")
    head, start, _ = path.read_bytes().rpartition(b"startxref")
    path.write_bytes(head + start)
    return path


def broken_xref_pdf(folder: Path) -> Path:
    """The cross-reference table is said to be where it is not."""
    path = pdf_with_text(folder, name="broken_xref.pdf")
    head, start, _ = path.read_bytes().rpartition(b"startxref")
    path.write_bytes(head + start + b"\r\n17\r\n%%EOF\r\n")
    return path


def climbing_zip(folder: Path) -> Path:
    """Its one member, a good page, is named so that unpacking it would leave the folder."""
    return _zip(folder / "climbing.zip", "../../evil.png")


@dataclass(frozen=True)
class BadFile:
    """What to make, and what a run must make of it.

    expected: "OK", or the FailureKind of its one row, given a limit of 100 million pixels at
    200 dpi, a limit of 100 MB on files and members, and no password.
    kind: what the content is, whatever the name says: one of `pipelines.pages.page.Kind`, or zip,
    tar.
    """

    make: Maker
    expected: FailureKind | Literal["OK"]
    kind: str


BAD_FILES = {
    "zero_bytes": BadFile(zero_bytes, FailureKind.EMPTY_FILE, "unknown"),
    "text_named_jpg": BadFile(text_named_jpg, FailureKind.UNSUPPORTED_KIND, "unknown"),
    "truncated_jpeg": BadFile(truncated_jpeg, FailureKind.CORRUPT_IMAGE, "jpeg"),
    "cut_and_closed_jpeg": BadFile(cut_and_closed_jpeg, FailureKind.CORRUPT_IMAGE, "jpeg"),
    "truncated_png": BadFile(truncated_png, FailureKind.CORRUPT_IMAGE, "png"),
    "truncated_tiff": BadFile(truncated_tiff, FailureKind.CORRUPT_IMAGE, "tiff"),
    "truncated_pdf": BadFile(truncated_pdf, FailureKind.CORRUPT_PDF, "pdf"),
    "encrypted_pdf": BadFile(encrypted_pdf, FailureKind.ENCRYPTED_PDF, "pdf"),
    "pdf_without_pages": BadFile(pdf_without_pages, FailureKind.EMPTY_DOCUMENT, "pdf"),
    "huge_page_pdf": BadFile(huge_page_pdf, FailureKind.TOO_MANY_PIXELS, "pdf"),
    "huge_png": BadFile(huge_png, FailureKind.TOO_MANY_PIXELS, "png"),
    "zip_bomb": BadFile(zip_bomb, FailureKind.TOO_MANY_BYTES, "zip"),
    "corrupt_zip": BadFile(corrupt_zip, FailureKind.CORRUPT_ARCHIVE, "zip"),
    "corrupt_member_zip": BadFile(corrupt_member_zip, FailureKind.CORRUPT_ARCHIVE, "zip"),
    "truncated_tar_gz": BadFile(truncated_tar_gz, FailureKind.CORRUPT_ARCHIVE, "tar"),
    "cmyk_jpeg": BadFile(cmyk_jpeg, "OK", "jpeg"),
    "gray16_png": BadFile(gray16_png, "OK", "png"),
    "palette_png": BadFile(palette_png, "OK", "png"),
    "alpha_png": BadFile(alpha_png, "OK", "png"),
    "bilevel_tiff": BadFile(bilevel_tiff, "OK", "tiff"),
    "rotated_jpeg": BadFile(rotated_jpeg, "OK", "jpeg"),
    "animated_gif": BadFile(animated_gif, "OK", "gif"),
    "lossy_webp": BadFile(lossy_webp, "OK", "webp"),
    "plain_bmp": BadFile(plain_bmp, "OK", "bmp"),
    "repairable_pdf": BadFile(repairable_pdf, "OK", "pdf"),
    "broken_xref_pdf": BadFile(broken_xref_pdf, "OK", "pdf"),
    "climbing_zip": BadFile(climbing_zip, "OK", "zip"),
}
