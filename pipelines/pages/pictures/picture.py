"""The value that decoders of this room give."""

from __future__ import annotations

from typing import NamedTuple

from cv2.typing import MatLike


class Picture(NamedTuple):
    """A decoded, upright picture.

    Attributes:
        pixels: uint8 gray (H, W) or BGR (H, W, 3).
        pixel_range: the range of the file's values that became 0 to 255; None for 8-bit samples.
    """

    pixels: MatLike
    pixel_range: tuple[float, float] | None = None
