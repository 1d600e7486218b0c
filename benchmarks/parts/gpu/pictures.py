"""Pictures of a given size, from the sample files of the repository."""

from __future__ import annotations

from functools import lru_cache
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np

SAMPLES = Path(__file__).parents[3] / "configs/samples"
#: Grey levels of the noise, as of a sensor: resized samples alone would be too smooth for a JPEG.
NOISE = 6.0
QUALITY = 90


@lru_cache
def pictures(megapixels: float, count: int) -> list[bytes]:
    """JPEG files of 4:3, all of one size, each different.

    Each holds four sample files (rendered scenes and photographed receipts), resized, with noise.
    """
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5 / 2) * 2
    width = round(height * 4 / 3 / 2) * 2
    whole = ("scenes/scene_*.jpg", "documents/receipt_[cg]*.jpg")  # the torn one is truncated
    paths = sorted(path for pattern in whole for path in SAMPLES.glob(pattern))
    samples = cycle([cv2.imread(str(path)) for path in paths])
    rng = np.random.default_rng(0)
    return [_picture(list(islice(samples, 4)), width, height, rng) for _ in range(count)]


def _picture(parts: list[np.ndarray], width: int, height: int, rng: np.random.Generator) -> bytes:
    half = (width // 2, height // 2)
    a, b, c, d = (cv2.resize(part, half, interpolation=cv2.INTER_AREA) for part in parts)
    whole = np.vstack([np.hstack([a, b]), np.hstack([c, d])])
    noise = rng.standard_normal(whole.shape, dtype=np.float32) * NOISE
    pixels = np.clip(whole + noise, 0, 255).astype(np.uint8)
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return encoded.tobytes()


def boxes(width: int, height: int, count: int) -> list[list[float]]:
    """Boxes of different sizes inside an image, x0, y0, x1, y1 in pixels."""
    rng = np.random.default_rng(1)
    corners = np.sort(rng.random((count, 2, 2)) * 0.9, axis=1)
    corners[:, 1] += 0.1  # no box is thinner than a tenth of the image
    return (corners * (width, height)).reshape(count, 4).round(1).tolist()
