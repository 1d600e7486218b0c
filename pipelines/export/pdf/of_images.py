"""Convert an image file to a PDF without loss. Runs in the sandbox's child process.

| image | in the PDF |
|---|---|
| JPEG | unchanged; an EXIF orientation becomes the page's matrix |
| two colours | CCITT group 4 |
| 8-bit PNG | its own compressed data, which PDF supports |
| others | as the run saw them, with PNG compression |
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin

from actors.failures import ItemFailure
from pipelines.pages.image import count_frames, encode, opened, render_image
from pipelines.pages.page import Kind, Page, RenderOptions
from pipelines.pages.pictures import resolution
from pipelines.pages.pictures.resolution import Resolution

_ORIENTATION = 0x0112  # EXIF tag
#: Matrix (a b c d e f of `cm`) that rotates the unit square by EXIF orientation 1 to 8.
_TURNS = (
    (1, 0, 0, 1, 0, 0),
    (-1, 0, 0, 1, 1, 0),
    (-1, 0, 0, -1, 1, 1),
    (1, 0, 0, -1, 0, 1),
    (0, -1, -1, 0, 1, 1),
    (0, -1, 1, 0, 0, 1),
    (0, 1, 1, 0, 0, 0),
    (0, 1, -1, 0, 1, 0),
)
_QUARTER_TURNS = range(5, 9)  # of the orientations
_MOST_POINTS = 14_400  # 200 inches, the largest page that viewers must support


@dataclass(frozen=True)
class _Picture:
    """An embedded image. The size is that of the upright page.

    `entries`: of the image's dictionary. `turn`: one of _TURNS.
    """

    width: int
    height: int
    entries: str
    data: bytes
    turn: tuple[int, ...] = _TURNS[0]


def pdf_of_images(
    data: bytes, kind: Kind, pages: Sequence[Mapping[str, Any]], options: RenderOptions
) -> tuple[bytes, dict[int, str]]:
    """(the PDF, page without a picture -> reason).

    The size of a page follows from the file's resolution in both directions (a fax has 204 x 98
    dots an inch), or `options.dpi` without one. Pages are those of the run. A TIFF
    frame that cannot be decoded becomes a blank page of its own size or that of the page before.

    Args:
        pages: `page`, `width` and `height` of the pages that the run knows.

    Raises ItemFailure if the only page cannot be decoded.
    """
    count = count_frames(data) if kind == "tiff" else 1
    sizes = {page["page"]: (page["width"], page["height"]) for page in pages}
    writer, bare = _Writer(), {}
    last = (round(8.27 * options.dpi), round(11.69 * options.dpi))  # A4
    for number in range(1, count + 1):
        try:
            dpi, picture = _picture(data, kind, number, options)
        except ItemFailure as fault:
            if count == 1:
                raise
            bare[number] = str(fault)
            width, height = sizes.get(number) or last
            writer.add(None, width, height, Resolution(options.dpi, options.dpi))
        else:
            last = picture.width, picture.height
            writer.add(picture, picture.width, picture.height, dpi)
    return writer.file(), bare


def _picture(
    data: bytes, kind: Kind, number: int, options: RenderOptions
) -> tuple[Resolution, _Picture]:
    """(resolution, embedded image). Raises ItemFailure for an image that the run would refuse."""
    page = render_image(data, kind, number, options)
    if kind == "tiff":
        return _of_tiff(data, number, page, options.dpi)
    image = opened(data, kind)
    dpi = resolution.of_image(image, options.dpi)
    turn = image.getexif().get(_ORIENTATION, 1) if kind == "jpeg" else 1
    if turn in _QUARTER_TURNS:
        dpi = dpi.turned
    if kind == "jpeg" and image.mode in ("L", "RGB"):
        colours = "/DeviceGray" if image.mode == "L" else "/DeviceRGB"
        entries = f"{_shape(*image.size, colours, 8)} /Filter /DCTDecode"
        known = turn if turn in range(1, 9) else 1
        return dpi, _Picture(page.width, page.height, entries, data, _TURNS[known - 1])
    if image.mode == "1" and page.image:
        return dpi, _two_colours(page.image)
    return dpi, _from_png(page.image or b"")


def _of_tiff(data: bytes, number: int, page: Page, otherwise: int) -> tuple[Resolution, _Picture]:
    from pipelines.pages.pictures import tiff, tiff_samples

    frame, png = tiff.pages(data)[number - 1], page.image or b""
    dpi = resolution.of_tiff(frame, otherwise)
    if tiff_samples.orientation(frame) in _QUARTER_TURNS:
        dpi = dpi.turned
    return dpi, _two_colours(png) if tiff_samples.is_bilevel(frame) else _from_png(png)


def _two_colours(png: bytes) -> _Picture:
    """An upright black-and-white page as group 4, encoded with Pillow's libtiff."""
    image = Image.open(io.BytesIO(png)).convert("1", dither=Image.Dither.NONE)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[278] = image.height  # RowsPerStrip: one strip, as PDF requires
    file = io.BytesIO()
    image.save(file, "TIFF", compression="group4", tiffinfo=tags)
    strips = Image.open(file)
    (start,), (size,) = strips.tag_v2[273], strips.tag_v2[279]  # type: ignore[attr-defined]
    white_is_zero = strips.tag_v2[262] == 0  # type: ignore[attr-defined]
    entries = (
        f"{_shape(*image.size, '/DeviceGray', 1)} /Filter /CCITTFaxDecode /DecodeParms "
        f"<< /K -1 /Columns {image.width} /Rows {image.height} "
        f"/BlackIs1 {'false' if white_is_zero else 'true'} >>"
    )
    return _Picture(*image.size, entries, file.getvalue()[start : start + size])


def _from_png(png: bytes) -> _Picture:
    """An upright 8-bit gray or RGB PNG; an interlaced one is encoded again."""
    if png[28]:
        pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
        png = encode(pixels) if pixels is not None else png
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
    colours = 3 if png[25] == 2 else 1
    entries = (
        f"{_shape(width, height, '/DeviceRGB' if colours == 3 else '/DeviceGray', 8)} "
        f"/Filter /FlateDecode /DecodeParms << /Predictor 15 /Colors {colours} "
        f"/BitsPerComponent 8 /Columns {width} >>"
    )
    return _Picture(width, height, entries, _idat(png))


def _idat(png: bytes) -> bytes:
    """The zlib stream of a PNG, joined from its chunks."""
    at, found = 8, []
    while at + 12 <= len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        if png[at + 4 : at + 8] == b"IDAT":
            found.append(png[at + 8 : at + 8 + size])
        at += 12 + size
    return b"".join(found)


def _shape(width: int, height: int, colours: str, bits: int) -> str:
    return f"/Width {width} /Height {height} /ColorSpace {colours} /BitsPerComponent {bits}"


class _Writer:
    """Writes a PDF of pictures: a catalogue, a page tree, and three objects per page."""

    def __init__(self) -> None:
        self._bodies: list[bytes] = []

    def add(self, picture: _Picture | None, width: int, height: int, dpi: Resolution) -> None:
        """Add a page of `width` x `height` pixels; a blank one without a picture."""
        sides = 72 * width / dpi.x, 72 * height / dpi.y
        shrink = max(1.0, max(sides) / _MOST_POINTS)
        # At most 0.001 points smaller: renderers round float32 points up to whole pixels.
        wide, high = (f"{(math.ceil(1000 * side / shrink) - 1) / 1000}" for side in sides)
        number = 3 + len(self._bodies)
        drawn, resources = "", ""
        if picture:
            turn = " ".join(map(str, picture.turn))
            drawn = f"q {wide} 0 0 {high} 0 0 cm {turn} cm /Page Do Q"
            resources = f"/XObject << /Page {number + 2} 0 R >>"
        self._bodies += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {wide} {high}] "
            f"/Resources << {resources} >> /Contents {number + 1} 0 R >>".encode(),
            _stream("", drawn.encode()),
            _stream(f"/Type /XObject /Subtype /Image {picture.entries}", picture.data)
            if picture
            else b"null",
        ]

    def file(self) -> bytes:
        """The PDF file."""
        count = len(self._bodies) // 3
        kids = " ".join(f"{3 + 3 * place} 0 R" for place in range(count))
        head = [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            f"<< /Type /Pages /Kids [{kids}] /Count {count} >>".encode(),
        ]
        out = io.BytesIO()
        out.write(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")  # non-ASCII bytes mark a binary file
        places = []
        for number, body in enumerate([*head, *self._bodies], start=1):
            places.append(out.tell())
            out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
        start = out.tell()
        table = b"".join(b"%010d 00000 n \n" % place for place in places)
        out.write(b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(places) + 1, table))
        out.write(b"trailer\n<< /Size %d /Root 1 0 R >>\n" % (len(places) + 1))
        out.write(b"startxref\n%d\n%%%%EOF\n" % start)
        return out.getvalue()


def _stream(entries: str, data: bytes) -> bytes:
    if not entries:
        data, entries = zlib.compress(data), "/Filter /FlateDecode"
    return f"<< /Length {len(data)} {entries} >>\nstream\n".encode() + data + b"\nendstream"
