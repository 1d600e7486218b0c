"""Decodes image files to RGB pixels."""

from __future__ import annotations

import io

from PIL import Image

from actors.failures import FailureKind, ItemFailure


def rgb(data: bytes, side: int | None = None) -> Image.Image:
    """The pixels of an encoded image, RGB. Raises ItemFailure(CORRUPT_IMAGE, TOO_MANY_PIXELS).

    Args:
        data: an image file in a format of Pillow.
        side: sufficient side in pixels; a JPEG is decoded at 1/2, 1/4 or 1/8 if that suffices.
    """
    try:
        image = Image.open(io.BytesIO(data))
        if side:
            image.draft("RGB", (side, side))
        return image.convert("RGB")
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:
        raise ItemFailure(FailureKind.TOO_MANY_PIXELS, str(error)) from error
    except Exception as error:  # OSError, SyntaxError, ValueError, struct.error ...
        what = f"{type(error).__name__}: {error}"
        raise ItemFailure(FailureKind.CORRUPT_IMAGE, what) from error
