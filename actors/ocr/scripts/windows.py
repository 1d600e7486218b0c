"""Windows of line crops, the input of the script classifier."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from actors.ocr.pp_ocr.detection import Image

#: Height and width of a window in pixels, for 48 x 192 pixels of a crop.
HEIGHT, WIDTH = 32, 128
_TAKEN = 192
#: Least range of gray values that counts as full contrast.
_LEAST_RANGE = 32.0


def windows(crop: Image, most: int) -> npt.NDArray[np.float32]:
    """Up to `most` windows of a BGR line (48, W, 3), spread over it: (n, HEIGHT, WIDTH) float32.

    Paper is 0 and ink about 1, also for light text on a dark ground. A short line is padded with
    paper.
    """
    columns = crop.shape[1]
    count = max(1, min(most, -(-columns // _TAKEN)))
    room = max(0, columns - _TAKEN)
    starts = [room // 2] if count == 1 else [room * i // (count - 1) for i in range(count)]
    return np.stack([_window(crop[:, start : start + _TAKEN]) for start in starts])


def _window(part: Image) -> npt.NDArray[np.float32]:
    gray = cv2.cvtColor(np.ascontiguousarray(part), cv2.COLOR_BGR2GRAY)
    columns = max(1, part.shape[1] * WIDTH // _TAKEN)
    gray = cv2.resize(gray, (columns, HEIGHT), interpolation=cv2.INTER_AREA)
    shares = np.cumsum(np.bincount(gray.ravel(), minlength=256)) / gray.size
    low, middle, high = (int(np.searchsorted(shares, share)) for share in (0.02, 0.5, 0.98))
    # Text covers less than half of a line, so the median is paper.
    dark = middle - low >= high - middle
    span = max(float(middle - low if dark else high - middle), _LEAST_RANGE)
    ink = (middle - gray.astype(np.float32)) / (span if dark else -span)
    window = np.zeros((HEIGHT, WIDTH), np.float32)
    window[:, :columns] = np.clip(ink, -0.5, 1.5)
    return window
