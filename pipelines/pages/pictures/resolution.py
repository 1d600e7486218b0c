"""Dots per inch of a picture in both directions: the size of its page on paper."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

if TYPE_CHECKING:
    from tifffile import TiffPage

_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
_NO_UNIT, _INCH, _CM = 1, 2, 3
_CM_PER_INCH = 2.54
#: Plausible resolutions of a scanner. Values such as 1 or 72 come from editors.
_LEAST_DPI, _MOST_DPI = 75, 2400
#: A fax of 204 x 98 dots has 2.1, and no machine more than 4: such numbers are an accident.
_MOST_UNEQUAL = 4


class Resolution(NamedTuple):
    """Dots per inch, along a row of the picture and across the rows."""

    x: float
    y: float

    @property
    def turned(self) -> Resolution:
        """Of the picture turned by a quarter."""
        return Resolution(self.y, self.x)


def of_tiff(page: TiffPage, otherwise: float) -> Resolution:
    """The resolution of a page as it is stored; `otherwise` if the file has no plausible one."""
    tags = (page.tags.get(code) for code in (_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT))
    across, down, unit = (tag.value if tag else None for tag in tags)
    factor = {None: 1.0, _INCH: 1.0, _CM: _CM_PER_INCH}.get(unit and int(unit), 0.0)
    return _plausible(factor, _number(across), _number(down), otherwise)


def of_image(image: Image.Image, otherwise: float) -> Resolution:
    """The resolution of a file that Pillow opened; `otherwise` if it has no plausible one."""
    dots, factor = image.info.get("dpi"), 1.0
    if not isinstance(dots, tuple) or len(dots) != 2:  # JFIF and PNG can give a ratio alone
        dots, factor = image.info.get("aspect") or image.info.get("jfif_density"), 0.0
    if not isinstance(dots, tuple) or len(dots) != 2:
        return Resolution(otherwise, otherwise)
    return _plausible(factor, _number(dots[0]), _number(dots[1]), otherwise)


def _number(value: object) -> float:
    """A number, or a numerator and a denominator; 0 for anything else."""
    if isinstance(value, tuple) and len(value) == 2:
        above, below = map(_number, value)
        return above / below if below else 0.0
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


def _plausible(factor: float, x: float, y: float, otherwise: float) -> Resolution:
    """`factor`: from the file's unit to inches; 0: only the ratio of the two numbers counts."""
    if x <= 0 or not 1 / _MOST_UNEQUAL <= y / x <= _MOST_UNEQUAL:
        y = x
    finest = max(x, y)
    if not finest > 0:
        return Resolution(otherwise, otherwise)
    if not _LEAST_DPI <= finest * factor <= _MOST_DPI:
        factor = otherwise / finest
    return Resolution(x * factor, y * factor)
