"""One page from an image file, with Pillow and OpenCV. Runs only in the sandbox's child."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike
from PIL import Image, ImageOps

from actors.failures import FailureKind, ItemFailure
from pipelines.pages.page import Kind, Page, RenderOptions, page_missing, too_many_pixels

Image.MAX_IMAGE_PIXELS = None  # `max_pixels` is checked from the header, before decoding
cv2.setNumThreads(1)  # each worker has one child on one core

_ORIENTATION = 0x0112  # EXIF tag
_PNG_EXIF = (b"eXIf", b"Raw profile type", b"adobe.xmp")  # marks of EXIF data in a PNG


def count_frames(data: bytes) -> int:
    """Number of frames of a TIFF. Raises ItemFailure(CORRUPT_IMAGE)."""
    with _corruption_named():
        frames: int = getattr(_opened(data, "tiff"), "n_frames", 1)
        return frames


def render_image(data: bytes, kind: Kind, page: int, options: RenderOptions) -> Page:
    """Frame `page` (1-based) of a TIFF, or the first frame of another image, upright.

    A JPEG or PNG that is already upright 8-bit gray or RGB keeps its bytes, after a test decode
    (1.4 ms for a JPEG of 664 x 1664 at 1/8 scale, which still reads every bit). Any other image
    becomes a PNG. Raises ItemFailure(PAGE_MISSING, TOO_MANY_PIXELS, CORRUPT_IMAGE).
    """
    with _corruption_named():
        image = _opened(data, kind)
        frames = getattr(image, "n_frames", 1) if kind == "tiff" else 1
        if page > frames:
            raise page_missing(page, frames)
        if kind == "tiff":
            image.seek(page - 1)
        width, height = image.size
        if width * height > options.max_pixels:
            raise too_many_pixels(width, height, options, f"{kind} image")
        if kind == "jpeg":
            _check_jpeg(data)
        if _is_plain(image, data):
            if kind == "png":
                _check_png(data)
            return Page(image=data, width=width, height=height)
        pixels = _upright_pixels(image)
    return Page(image=encode(pixels), width=pixels.shape[1], height=pixels.shape[0])


@contextmanager
def _corruption_named() -> Iterator[None]:
    """Raise CORRUPT_IMAGE for the many exceptions of Pillow: OSError, SyntaxError, ..."""
    try:
        yield
    except (ItemFailure, MemoryError):
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, what) from error


def _opened(data: bytes, kind: Kind) -> Image.Image:
    # Only the decoder of the sniffed kind: some of Pillow's fifty decoders start Ghostscript.
    return Image.open(io.BytesIO(data), formats=[kind.upper()])


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


def _check_jpeg(data: bytes) -> None:
    """Raise CORRUPT_IMAGE unless every scan of the JPEG is complete.

    Pillow and OpenCV report a JPEG that ends early. A truncated JPEG with an end marker only causes
    a warning, and its lower part is grey. Pillow drops the warning; OpenCV's libjpeg writes it to
    stderr.
    """
    decoded, said = _with_stderr(data, cv2.IMREAD_REDUCED_GRAYSCALE_8)
    if decoded is None:
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, f"truncated or damaged JPEG {said}".strip())
    # Extra bytes before a marker are harmless padding.
    warnings = re.findall(r"Corrupt JPEG data: (?!\d+ extraneous).*", said)
    if warnings:
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, warnings[0])


def _check_png(data: bytes) -> None:
    """Raise CORRUPT_IMAGE unless OpenCV, which is stricter than Pillow, decodes the PNG."""
    decoded, said = _with_stderr(data, cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, f"truncated or damaged PNG {said}".strip())


def _with_stderr(data: bytes, flags: int) -> tuple[MatLike | None, str]:
    """The decoded image (None on failure), and what the decoder wrote to stderr."""
    with TemporaryFile() as sink:
        kept = os.dup(2)
        os.dup2(sink.fileno(), 2)
        try:
            decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        sink.seek(0)
        return decoded, sink.read(2000).decode(errors="replace").strip()


def _upright_pixels(image: Image.Image) -> MatLike:
    """uint8 gray (H, W) or BGR (H, W, 3), with the EXIF orientation applied."""
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
    if image.mode in ("I", "F"):
        return _stretched(np.asarray(image, np.float64))
    if image.mode in ("1", "L") and not image.has_transparency_data:
        return np.asarray(image.convert("L"))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        paper = Image.new("RGBA", rgba.size, "white")
        image = Image.alpha_composite(paper, rgba)
    return cv2.cvtColor(np.asarray(image.convert("RGB")), cv2.COLOR_RGB2BGR)


def _stretched(values: npt.NDArray[np.float64]) -> MatLike:
    """uint8 (H, W), darkest to lightest as 0..255: 32-bit samples have no standard range."""
    finite = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    low, high = float(finite.min()), float(finite.max())
    return ((finite - low) * (255.0 / ((high - low) or 1.0))).round().astype(np.uint8)


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
