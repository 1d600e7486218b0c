"""One page from an image file, with Pillow and OpenCV. Runs only in the sandbox's child."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from cv2.typing import MatLike
from PIL import Image, ImageOps, UnidentifiedImageError

from actors.failures import FailureKind, ItemFailure, said
from pipelines.pages.notes import PageNote
from pipelines.pages.page import Kind, Page, RenderOptions, page_missing, too_many_pixels
from pipelines.pages.pictures import colours, jpeg2000
from pipelines.pages.pictures.checks import check_jpeg, check_png, refuse_rare_jpeg
from pipelines.pages.pictures.heic import learn_heic
from pipelines.pages.pictures.levels import LEAST_LEVELS, levels
from pipelines.pages.pictures.picture import Picture

Image.MAX_IMAGE_PIXELS = None  # `max_pixels` is checked from the header, before decoding
cv2.setNumThreads(1)  # each worker has one child on one core

_ORIENTATION = 0x0112  # EXIF tag
_DEEP_PNG = 16  # bits of a sample, in the header chunk
_PNG_EXIF = (b"eXIf", b"Raw profile type", b"adobe.xmp")  # marks of EXIF data in a PNG
#: Pillow's names of the formats.
_FORMATS = {"jp2": "JPEG2000", "heic": "HEIF"}


def count_frames(data: bytes) -> int:
    """Number of pages of a TIFF, without thumbnails, masks and levels of a pyramid.

    Raises ItemFailure(CORRUPT_IMAGE, UNSUPPORTED_KIND).
    """
    from pipelines.pages.pictures import tiff

    with _corruption_named():
        return len(tiff.pages(data))


def render_image(data: bytes, kind: Kind, page: int, options: RenderOptions) -> Page:
    """Page `page` (1-based) of a TIFF, or the first frame of another image, upright.

    A JPEG or PNG that is already upright 8-bit gray or RGB keeps its bytes, after a test decode
    (1.4 ms for a JPEG of 664 x 1664 at 1/8 scale, which still reads every bit). Any other image
    becomes a PNG. Pictures of more than 8 bits are stretched by the rule of `pictures.levels`.
    Raises ItemFailure(PAGE_MISSING, TOO_MANY_PIXELS, CORRUPT_IMAGE, UNSUPPORTED_KIND).
    """
    with _corruption_named():
        if kind == "tiff":
            return _as_page(_tiff_page(data, page, options))
        if page > 1:
            raise page_missing(page, 1)
        image = opened(data, kind)
        _check_size(*image.size, kind, options)
        if kind == "jpeg":
            check_jpeg(data)
        if _is_plain(image, data):
            if kind == "png":
                check_png(data)
            return Page(image=data, width=image.width, height=image.height)
        return _as_page(_picture(image, data, kind, options))


def opened(data: bytes, kind: Kind) -> Image.Image:
    """The header of an image file. Raises what Pillow raises, ItemFailure(UNSUPPORTED_KIND).

    Only the decoder of the sniffed kind is asked: some of Pillow's fifty start Ghostscript.
    """
    if kind == "heic":
        learn_heic()
    if kind == "jpeg":
        refuse_rare_jpeg(data)
    if kind == "jp2":
        jpeg2000.refuse_many_channels(jpeg2000.header(data))
    try:
        return Image.open(io.BytesIO(data), formats=[_FORMATS.get(kind, kind.upper())])
    except UnidentifiedImageError as error:
        what = f"the header of this {kind} file is damaged, or of a form that is not read"
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, what) from error


def _picture(image: Image.Image, data: bytes, kind: Kind, options: RenderOptions) -> Picture:
    """The pixels of a file that is no TIFF."""
    if kind == "jp2":
        header = jpeg2000.header(data)
        _check_size(header.width, header.height, kind, options)
        if header.bits > 8 or header.signed:
            from pipelines.pages.pictures import samples

            return samples.deep_jpeg2000(data, header)
    if kind == "png" and data[24] == _DEEP_PNG:
        transparent = image.info.get("transparency")
        if not isinstance(transparent, tuple):  # a transparent colour: Pillow finds it
            from pipelines.pages.pictures import samples

            turn = image.getexif().get(_ORIENTATION, 1)
            return samples.deep_png(data, turn, transparent)
    return Picture(_upright_pixels(image))


def _tiff_page(data: bytes, page: int, options: RenderOptions) -> Picture:
    from pipelines.pages.pictures import samples, tiff, tiff_samples  # tifffile loads for 0.25 s

    pages = tiff.pages(data)
    if page > len(pages):
        raise page_missing(page, len(pages))
    found = pages[page - 1]
    _check_size(found.imagewidth, found.imagelength, "tiff", options)
    if tiff_samples.reads_with_pillow(found):
        image = _frame(data, found.index)
        if image is not None:
            return Picture(_upright_pixels(image))
    return samples.tiff_page(found)


def _frame(data: bytes, index: int) -> Image.Image | None:
    """The header of a TIFF's frame; None if Pillow does not know its form, or an earlier one's."""
    try:
        image = opened(data, "tiff")
        image.seek(index)
    except Exception:
        return None
    return image


def _as_page(picture: Picture) -> Page:
    height, width = picture.pixels.shape[:2]
    flat = picture.pixel_range is not None and levels(picture.pixels) < LEAST_LEVELS
    return Page(
        image=encode(picture.pixels),
        width=width,
        height=height,
        pixel_range=picture.pixel_range,
        notes=(PageNote.LOW_CONTRAST,) if flat else (),
    )


def _check_size(width: int, height: int, kind: Kind, options: RenderOptions) -> None:
    if width * height > options.max_pixels:
        raise too_many_pixels(width, height, options, f"{kind} image")


@contextmanager
def _corruption_named() -> Iterator[None]:
    """Raise CORRUPT_IMAGE for the many exceptions of Pillow: OSError, SyntaxError, ..."""
    try:
        yield
    except (ItemFailure, MemoryError):
        raise
    except Exception as error:
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, said(error)) from error


def _is_plain(image: Image.Image, data: bytes) -> bool:
    """Whether every reader decodes this JPEG or PNG to the same upright 8-bit gray or RGB."""
    if image.format in ("JPEG", "MPO"):
        plain = image.mode in ("L", "RGB")
    elif image.format == "PNG":
        depth, colour = data[24], data[25]  # in the header chunk; colour 0 is gray, 2 is RGB
        plain = depth == 8 and colour in (0, 2) and "transparency" not in image.info
        plain = plain and getattr(image, "n_frames", 1) == 1
    else:
        return False
    return plain and not _is_turned(image, data)


def _is_turned(image: Image.Image, data: bytes) -> bool:
    if image.format == "PNG" and not any(mark in data for mark in _PNG_EXIF):
        return False  # getexif would decode the whole image: 50 ms for A4 at 300 dpi
    return image.getexif().get(_ORIENTATION, 1) != 1


def _upright_pixels(image: Image.Image) -> MatLike:
    """uint8 gray (H, W) or BGR (H, W, 3) of 8 bits, with the EXIF orientation applied."""
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode in ("1", "L") and not image.has_transparency_data:
        return np.asarray(image.convert("L"))
    if image.mode == "LAB":  # Pillow does not convert it
        signs = np.asarray([0, 128, 128], np.uint8)  # of a and b
        stored = np.asarray(image, np.uint8) ^ signs
        return colours.bgr(colours.rgb_of_lab(stored))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        paper = Image.new("RGBA", rgba.size, "white")
        image = Image.alpha_composite(paper, rgba)
    return cv2.cvtColor(np.asarray(image.convert("RGB")), cv2.COLOR_RGB2BGR)


_FAST_PNG = [
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
]


def encode(pixels: MatLike) -> bytes:
    """PNG of uint8 gray (H, W) or BGR (H, W, 3) pixels; gray if no pixel has a colour.

    Cost with one thread:
        text page, A4 at 200 dpi       20 ms    420 KB
        gray scan, A4 at 200 dpi       27 ms    560 KB
        colour scan, 2481 x 3508      115 ms    1.9 MB
    The filter UP takes half the time of PNG's adaptive filters and 10 % more bytes. Decoding gets
    faster by the same amount. Raises MemoryError.
    """
    if pixels.ndim == 3:
        blue, green, red = cv2.split(pixels)
        if np.array_equal(blue, green) and np.array_equal(green, red):
            pixels = blue
    done, file = cv2.imencode(".png", pixels, _FAST_PNG)
    if not done:
        raise MemoryError("OpenCV could not encode the page as PNG")
    return file.tobytes()
