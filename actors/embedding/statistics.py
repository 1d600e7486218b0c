"""Embeddings from statistics of colours and edges, without weights."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
import numpy.typing as npt
from PIL import Image

from actors.contract import Timed
from actors.embedding.settings import Vector
from actors.failures import ItemFailure
from actors.images.decoding import rgb

#: Images are reduced to this side, in pixels. JPEGs are decoded at a fraction of their size.
_SIDE = 64
#: Cells per side of the grid, edge directions, and bins per colour channel.
_CELLS, _DIRECTIONS, _STEPS = 4, 8, 4

#: Length of a vector: mean colours and edges of each cell, colours of the full image.
LENGTH = _CELLS**2 * (3 + _DIRECTIONS) + _STEPS**3

Floats = npt.NDArray[np.float32]


class Statistics:
    """A vector of three parts with equal weight, each of unit length.

    * The mean colour of each of 4 x 4 cells, minus medium grey.
    * The edges of each cell: a histogram of gradient directions over 180 degrees, weighted by
      gradient strength (after Dalal and Triggs, CVPR 2005).
    * A histogram of 4 x 4 x 4 colours over the full image, as square roots (after Arandjelovic and
      Zisserman, CVPR 2012).
    """

    def __init__(self, timed: Timed) -> None:
        """`timed(step)` adds the wall time of its block to a step."""
        self._timed = timed
        self.provenance = {
            "model": f"colour and edge statistics, {LENGTH} numbers",
            "revision": "1",
            "engine": f"pillow {version('pillow')}, numpy {np.__version__}",
        }

    def vectors(self, images: Sequence[bytes]) -> list[Vector | ItemFailure]:
        """A float32 vector (LENGTH,) per encoded image, or CORRUPT_IMAGE or TOO_MANY_PIXELS."""
        with self._timed("statistics"):
            return [_vector(image) for image in images]


def _vector(data: bytes) -> Vector | ItemFailure:
    try:
        pixels = _small(data)
    except ItemFailure as fault:
        return fault
    parts = (_mean_colours(pixels), _edges(pixels), _used(pixels))
    vector: Vector = np.concatenate([_unit(part) for part in parts]).astype(np.float32)
    return vector


def _small(data: bytes) -> Floats:
    """float32 (64, 64, 3), RGB, 0..1, without keeping the aspect ratio."""
    with rgb(data, _SIDE) as image:
        small = image.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / np.float32(255)


def _cells(values: Floats) -> Floats:
    """(64, 64, n) -> (16, 256, n): the pixels of each cell."""
    size = _SIDE // _CELLS
    cut = values.reshape(_CELLS, size, _CELLS, size, -1)
    return cut.transpose(0, 2, 1, 3, 4).reshape(_CELLS**2, size**2, -1)


def _mean_colours(pixels: Floats) -> Floats:
    means: Floats = _cells(pixels).mean(1).ravel() - 0.5
    return means


def _edges(pixels: Floats) -> Floats:
    down, right = np.gradient(pixels @ np.array([0.299, 0.587, 0.114], np.float32))
    strength = np.hypot(down, right)
    turn = np.arctan2(down, right) % np.pi / np.pi
    direction = np.minimum((turn * _DIRECTIONS).astype(int), _DIRECTIONS - 1)
    weighted = np.eye(_DIRECTIONS, dtype=np.float32)[direction] * strength[..., None]
    return np.sqrt(_cells(weighted).sum(1)).ravel()


def _used(pixels: Floats) -> Floats:
    steps = np.minimum((pixels * _STEPS).astype(int), _STEPS - 1)
    colours = steps @ np.array([_STEPS**2, _STEPS, 1])
    counts = np.bincount(colours.ravel(), minlength=_STEPS**3)
    return np.sqrt(counts / _SIDE**2).astype(np.float32)


def _unit(vector: Floats) -> Floats:
    """The vector scaled to length 1; a zero vector is unchanged."""
    return vector / max(float(np.linalg.norm(vector)), 1e-6)
