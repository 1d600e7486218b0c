"""The one rule that maps samples of more than 8 bits to 8 bits, for documents and labels.

1. No-data is left out: NaN, infinity, numbers from 1e20 on, the declared value (GDAL_NODATA, the
   transparent gray of a PNG), transparent pixels, and a lowest or highest number that is usual for
   no-data and far from all others.
2. The range is from the 0.05th to the 99.95th percentile of the rest: a few hot pixels do not
   darken a picture, and a line of text (0.1 % of a page) still counts.
3. Unsigned samples that use their whole scale keep their tone: the range is 0 to the largest
   number. They do if they reach its upper half and spread over an eighth of it, or if they reach
   its top sixteenth (a blank sheet must not become a picture of its noise).
4. The range becomes 0 to 255, for all colours alike. Lower and higher numbers become 0 and 255, the
   rest of what was left out 0.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

#: Samples of a picture: (H, W) or (H, W, 3), any real number type.
Samples = npt.NDArray[Any]

#: Fewer distinct grays after stretching are no picture that a model could be trusted on.
LEAST_LEVELS = 32

_TAIL_PERCENT = 0.05
_NO_NUMBER = 1e20  # CMIP writes 1e20, NetCDF 9.97e36, GDAL -3.4e38 and -1.8e308
#: How far the lowest or highest number must be from the next one, in spreads of all others, to mean
#: no-data. Zero does so only where it fills a fifth of the picture: less may be ink.
_FAR_IF_USUAL, _FAR_IF_ZERO, _FAR_IF_NEGATIVE = 1.0, 4.0, 10.0
_SHARE_OF_ZERO = 0.2
_USUAL = frozenset(
    {-999.0, -9999.0, -99999.0, -32767.0, -32768.0, 9999.0, 99999.0, 32767.0, 65535.0}
)
_ENOUGH = 2_000_000  # samples for the percentiles: 20 ms
_AT_ONCE = 1 << 20  # samples in float64 at a time: 8 MiB


class Stretched(NamedTuple):
    """8-bit samples of the shape of the input, and the range that became 0 to 255."""

    pixels: npt.NDArray[np.uint8]
    low: float
    high: float


def stretched(
    samples: Samples,
    bits: int,
    no_data: float | None = None,
    seen: npt.NDArray[np.bool_] | None = None,
) -> Stretched:
    """`samples` mapped to 8 bits by the rule of this module.

    Args:
        bits: significant bits of an unsigned sample, e.g. 12 of 16.
        no_data: the declared value of pixels without data.
        seen: (H, W), False for transparent pixels.
    """
    if samples.dtype.kind == "b":
        samples = samples.astype(np.uint8)
    known = _known(samples, no_data, seen)
    if not known.size:
        return Stretched(np.zeros(samples.shape, np.uint8), 0.0, 0.0)
    known = _without_outliers(known)
    low = float(np.percentile(known, _TAIL_PERCENT, method="lower"))
    high = float(np.percentile(known, 100 - _TAIL_PERCENT, method="higher"))
    if low == high:  # all but a few samples are equal: the few are the picture
        low, high = float(known.min()), float(known.max())
    scale = 2**bits - 1
    if samples.dtype.kind == "u" and _uses(low, high, scale):
        return Stretched((samples >> max(bits - 8, 0)).astype(np.uint8), 0.0, float(scale))
    return Stretched(_mapped(samples, low, high, no_data), low, high)


def levels(pixels: MatLike) -> int:
    """Number of distinct grays of uint8 gray (H, W) or BGR (H, W, 3) pixels."""
    gray = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    return int(np.count_nonzero(np.bincount(gray.ravel(), minlength=256)))


def _known(
    samples: Samples, no_data: float | None, seen: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.float64]:
    """About `_ENOUGH` samples with data, evenly from the whole picture."""
    step = max(1, int(np.sqrt(samples.size / _ENOUGH)))
    some = samples[::step, ::step].astype(np.float64)
    there = _is_data(some, samples.dtype, no_data)
    if seen is not None:
        there &= seen[::step, ::step].reshape(*some.shape[:2], *(1,) * (some.ndim - 2))
    return some[there]


def _is_data(
    values: npt.NDArray[np.float64], dtype: np.dtype[np.generic], no_data: float | None
) -> npt.NDArray[np.bool_]:
    there = np.isfinite(values)
    if dtype.kind == "f":
        there &= np.abs(np.where(there, values, 0)) < _NO_NUMBER
        if no_data is not None:  # declared in decimals, stored in the type of the samples
            with np.errstate(over="ignore"):
                no_data = float(dtype.type(no_data))
    return there if no_data is None else there & (values != no_data)


def _without_outliers(known: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """`known` without a lowest and a highest number that mean no-data."""
    for extreme in (np.min, np.max):
        value = float(extreme(known))
        rest = known[known != value]
        if not rest.size:
            break
        gap, spread = abs(float(extreme(rest)) - value), float(np.ptp(rest))
        far = _far(value, 1 - rest.size / known.size)
        if spread > 0 and gap > far * spread:  # two values alone are a drawing
            known = rest
    return known


def _far(value: float, share: float) -> float:
    if value in _USUAL:
        return _FAR_IF_USUAL
    if value == 0:
        return _FAR_IF_ZERO if share >= _SHARE_OF_ZERO else math.inf
    return _FAR_IF_NEGATIVE if value < 0 else math.inf


def _uses(low: float, high: float, scale: int) -> bool:
    spread = high - low
    return high >= scale * 15 / 16 or (high >= scale / 2 and spread >= scale / 8)


def _mapped(
    samples: Samples, low: float, high: float, no_data: float | None
) -> npt.NDArray[np.uint8]:
    pixels = np.empty(samples.shape, np.uint8)
    rows = max(1, _AT_ONCE // max(1, samples[0].size))
    factor = 255 / ((high - low) or 1.0)
    for top in range(0, samples.shape[0], rows):
        values = samples[top : top + rows].astype(np.float64)
        there = _is_data(values, samples.dtype, no_data)
        values = np.where(there, (np.clip(values, low, high) - low) * factor, 0)
        pixels[top : top + rows] = values.round()
    return pixels
