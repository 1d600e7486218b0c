"""Ways in which boxes of a page lie worse than on a flat scan."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Quads = npt.NDArray[np.float64]  #: (N, 4, 2), pixels

#: Bend of the paper: height of a bow and of a wave, as a share of the page's height.
_BOW, _WAVE = 0.02, 0.01
#: Lean of vertical edges, dx / dy; by how much the top is narrower than the bottom.
_LEAN, _NARROWER = 0.12, 0.25
#: Standard deviation of a box's place, and what is added at each of its ends, in line heights.
_MOVED, _WIDER = 0.12, 0.25


def _bow(quads: Quads, width: float, height: float, _: np.random.Generator) -> None:
    quads[..., 1] += _BOW * height * (2 * quads[..., 0] / width - 1) ** 2


def _wave(quads: Quads, width: float, height: float, _: np.random.Generator) -> None:
    quads[..., 1] += _WAVE * height * np.sin(2 * np.pi * quads[..., 0] / width)


def _from_below(quads: Quads, width: float, height: float, _: np.random.Generator) -> None:
    scale = 1 - _NARROWER * quads[..., 1] / height
    quads[..., 0] = width / 2 + (quads[..., 0] - width / 2) * scale


def _leaning(quads: Quads, _: float, __: float, ___: np.random.Generator) -> None:
    quads[..., 0] += _LEAN * quads[..., 1]


def _moved(quads: Quads, _: float, __: float, chance: np.random.Generator) -> None:
    quads += chance.normal(0, _MOVED, (len(quads), 1, 2)) * _line_height(quads)


def _wider(quads: Quads, _: float, __: float, ___: np.random.Generator) -> None:
    quads[:, [0, 3], 0] -= _WIDER * _line_height(quads)
    quads[:, [1, 2], 0] += _WIDER * _line_height(quads)


def _line_height(quads: Quads) -> float:
    """Median length of a box's shorter side."""
    sides = np.linalg.norm(quads[:, [1, 3]] - quads[:, :1], axis=2)
    return float(np.median(sides.min(axis=1)))


#: Name -> change of quads in place; `width` and `height` of the page in pixels.
STRESSES: dict[str, Callable[[Quads, float, float, np.random.Generator], None]] = {
    "flat": lambda *_: None,
    "boxes wider by half a line": _wider,
    "boxes moved": _moved,
    "letters lean": _leaning,
    "photo from below": _from_below,
    "paper bent to a wave": _wave,
    "paper bent to a bow": _bow,
}


def stressed(
    name: str, quads: npt.NDArray[np.float32], width: float, height: float, seed: int
) -> npt.NDArray[np.float32]:
    """The quads (N, 4, 2) of a page under one of STRESSES."""
    changed = quads.astype(np.float64)
    STRESSES[name](changed, width, height, np.random.default_rng(seed))
    return changed.astype(np.float32)
