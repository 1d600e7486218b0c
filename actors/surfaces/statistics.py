"""Classifies scene, document or screenshot from eleven statistics of an image, without weights.

`configs/samples/fit_surfaces.py` fits the classifier on 119 images: our sample documents, scenes
and screenshots, 63 receipts (SROIE) and 11 photographs. Accuracy:

    images                                            number   correct
    fitted, leave one out                             119      113 (95 %)
    fitted, leave one out, score 0.8 and more         90       88
    real screenshots from OmniParser's repository     11       9

The two wrong screenshots are desktops with a photograph. These samples are small. For another
kind of archive measure again, write rules, or use `zero_shot`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
import numpy.typing as npt
from PIL import Image

from actors.contract import Timed
from actors.failures import ItemFailure
from actors.images.decoding import rgb
from actors.surfaces.settings import SURFACES, Guess

Floats = npt.NDArray[np.float32]

#: Longer side in pixels of the reduced image, for all statistics but flatness.
_SIDE = 256
#: Rows of the strip of the full image, for flatness.
_ROWS = 512

NAMES = (
    *("flat", "few_colours", "entropy", "paper", "saturation", "dark"),
    *("straight_rows", "straight_columns", "edges", "wide", "margin"),
)

#: Mean and standard deviation of each statistic over the fitted images.
_MEAN = np.array([0.59, 0.741, 0.46, 0.511, 0.147, 0.189, 0.558, 0.406, 0.133, -0.04, 0.474])
_DEVIATION = np.array([0.38, 0.27, 0.261, 0.398, 0.197, 0.333, 0.251, 0.235, 0.088, 0.734, 0.408])
#: Weights and bias of the logistic regression, (3, 11) and (3,), in the order of SURFACES.
_WEIGHTS = np.array(
    [
        [-1.174, -0.505, 0.203, -0.998, 0.629, 0.078, -0.433, 0.747, -0.323, 0.245, 0.428],
        [-0.716, 0.12, -0.456, 0.939, -0.844, -0.366, 0.091, -1.033, 1.106, -0.314, 0.054],
        [1.89, 0.385, 0.253, 0.058, 0.215, 0.287, 0.343, 0.286, -0.783, 0.069, -0.482],
    ]
)
_BIAS = np.array([0.099, -0.272, 0.173])


class Statistics:
    """A logistic regression on `numbers`."""

    def __init__(self, timed: Timed) -> None:
        """`timed(step)` adds the wall time of its block to a step."""
        self._timed = timed
        self.provenance = {
            "model": "surface statistics",
            "revision": "1",
            "engine": f"pillow {version('pillow')}, numpy {np.__version__}",
        }

    def guesses(self, images: Sequence[bytes]) -> list[Guess | ItemFailure]:
        """The surface of each encoded image, or CORRUPT_IMAGE or TOO_MANY_PIXELS."""
        with self._timed("statistics"):
            return [_guess(image) for image in images]


def _guess(data: bytes) -> Guess | ItemFailure:
    try:
        with rgb(data) as image:
            found = numbers(image)
    except ItemFailure as fault:
        return fault
    logits = _WEIGHTS @ ((found - _MEAN) / _DEVIATION) + _BIAS
    odds = np.exp(logits - logits.max())
    best = int(odds.argmax())
    return SURFACES[best], float(odds[best] / odds.sum())


def numbers(image: Image.Image) -> Floats:
    """The eleven statistics of an RGB image, float32 (11,), each about 0..1, in order of NAMES.

    * flat: share of pixels that differ from their right and lower neighbour by at most 1 of 255.
      Drawn images have many.
    * few_colours: share of pixels in the 4 most frequent of 4,096 colours.
    * entropy: entropy of the brightness in 32 bins; 1 for a uniform distribution.
    * paper: share of grey pixels that are nearly as bright as the brightest.
    * saturation: mean of (largest - smallest) / largest channel.
    * dark: share of pixels with a brightness below 0.25.
    * straight_rows, straight_columns: share of the width (height) that the 5 longest horizontal
      (vertical) edges span. Windows, bars and tables have long edges.
    * edges: share of pixels with a gradient above 0.08.
    * wide: log2 of width / height; 0 for a square.
    * margin: share of paper in a border of 2 % of the sides. Pages have margins, windows have bars.
    """
    pixels = _small(image)
    light = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    strongest, weakest = pixels.max(axis=2), pixels.min(axis=2)
    saturation = (strongest - weakest) / np.maximum(strongest, np.float32(0.05))
    down, right = np.abs(np.diff(light, axis=0)), np.abs(np.diff(light, axis=1))
    paper = (light > 0.85 * np.quantile(light, 0.98)) & (saturation < 0.15)
    found = (
        _flat(image),
        _common(pixels),
        _entropy(light),
        paper.mean(),
        saturation.mean(),
        (light < 0.25).mean(),
        _spans((down > 0.04).mean(axis=1)),
        _spans((right > 0.04).mean(axis=0)),
        (np.maximum(down[:, 1:], right[1:]) > 0.08).mean(),
        np.log2(image.width / image.height),
        _frame(paper),
    )
    return np.array(found, np.float32)


def _small(image: Image.Image) -> Floats:
    """float32 (h, w, 3), 0..1, longer side at most 256, each side at least 8 pixels."""
    scale = min(1.0, _SIDE / max(image.size))
    size = (max(8, round(image.width * scale)), max(8, round(image.height * scale)))
    return np.asarray(image.resize(size, Image.Resampling.BOX), np.float32) / np.float32(255)


def _flat(image: Image.Image) -> float:
    """Share of flat pixels in the middle rows. A strip suffices; 2 million pixels take 20 ms."""
    top = max(0, (image.height - _ROWS) // 2)
    strip = np.asarray(image.crop((0, top, image.width, min(image.height, top + _ROWS))), np.int16)
    if min(strip.shape[:2]) < 2:
        return 0.0
    right = np.abs(strip[:-1, 1:] - strip[:-1, :-1]).max(axis=2) <= 1
    down = np.abs(strip[1:, :-1] - strip[:-1, :-1]).max(axis=2) <= 1
    return float((right & down).mean())


def _common(pixels: Floats) -> float:
    steps = np.minimum((pixels * 16).astype(np.int32), 15) @ np.array([256, 16, 1])
    counts = np.bincount(steps.ravel())
    return float(np.sort(counts)[-4:].sum() / steps.size)


def _entropy(light: Floats) -> float:
    counts = np.bincount(np.minimum((light * 32).astype(np.int32), 31).ravel(), minlength=32)
    share = counts[counts > 0] / light.size
    return float(-(share * np.log2(share)).sum() / 5)


def _frame(paper: npt.NDArray[np.bool_]) -> float:
    frame = np.ones(paper.shape, np.bool_)
    high, wide = (max(1, round(0.02 * side)) for side in paper.shape)
    frame[high:-high, wide:-wide] = False
    return float(paper[frame].mean())


def _spans(shares: Floats) -> float:
    return float(np.sort(shares)[-5:].mean())
