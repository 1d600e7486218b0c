"""Compares our answers with the library's, both computed in float32 on the same device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco

#: Limits for the same object: corners in pixels, scores.
PIXELS, SCORE = 0.5, 1e-3
#: The smallest share of objects that both sides have, and the largest share of mask pixels that
#: differ.
SAME, DIFFERING = 0.99, 2e-4
#: An object that only one side has does not count if its score is this close to the threshold:
#: rounding decides it.
UNDECIDED = 1e-4


@dataclass(frozen=True)
class Found:
    """An object of one image. `box`: x0, y0, x1, y1 in pixels; `mask`: bool (height, width)."""

    name: str
    score: float
    box: Sequence[float]
    mask: NDArray[np.bool_] | None = None


@dataclass
class Agreement:
    """Counts over all images, and the largest differences among the objects that both have.

    `threshold`: lowest score of an object.
    """

    threshold: float = 0.0
    ours: int = 0
    theirs: int = 0
    same: int = 0
    undecided: int = 0
    pixels: float = 0.0
    score: float = 0.0
    mask_pixels: int = 0
    differing: int = 0

    def add(self, ours: Sequence[Found], theirs: Sequence[Found]) -> None:
        """Count one image. Each object of ours takes the nearest free one of its class."""
        self.ours, self.theirs = self.ours + len(ours), self.theirs + len(theirs)
        rest, alone = list(theirs), []
        for one in ours:
            near = [(_apart(one, other), i) for i, other in enumerate(rest) if _same(one, other)]
            if near:
                apart, i = min(near)
                self._matched(one, rest.pop(i), apart)
            else:
                alone.append(one)
        at_threshold = self.threshold + UNDECIDED
        self.undecided += sum(one.score <= at_threshold for one in (*alone, *rest))

    def add_masks(self, ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> None:
        """Count the pixels of two masks of the same object."""
        self.mask_pixels += ours.size
        self.differing += int((ours != theirs).sum())

    def _matched(self, one: Found, other: Found, apart: float) -> None:
        self.same += 1
        self.pixels = max(self.pixels, apart)
        self.score = max(self.score, abs(one.score - other.score))
        if one.mask is not None and other.mask is not None:
            self.add_masks(one.mask, other.mask)

    def report(self) -> dict[str, Any]:
        """The figures, and whether they are within the limits; without objects they are not."""
        either = self.ours + self.theirs - self.same - self.undecided
        share = self.same / either if either else None
        differing = self.differing / self.mask_pixels if self.mask_pixels else None
        seen = [share is None or share >= SAME, differing is None or differing <= DIFFERING]
        return {
            "ours": self.ours,
            "theirs": self.theirs,
            "same": self.same,
            "undecided": self.undecided,
            "same_share": share,
            "largest_pixels": round(self.pixels, 5) if self.same else None,
            "largest_score": round(self.score, 7) if self.same else None,
            "mask_pixels": self.mask_pixels,
            "differing_mask_pixels": self.differing,
            "within": all(seen) and bool(either or self.mask_pixels),
        }


@contextmanager
def full_float32() -> Iterator[None]:
    """No TF32 in convolutions, which is cuDNN's default; matrix products have none by default."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def dense(mask: dict[str, Any]) -> NDArray[np.bool_]:
    """The pixels of one of our masks, bool (height, width)."""
    return coco.decode({"counts": mask["counts"], "size": mask["size"]}).astype(bool)


def _same(one: Found, other: Found) -> bool:
    close = _apart(one, other) <= PIXELS and abs(one.score - other.score) <= SCORE
    return one.name == other.name and close


def _apart(one: Found, other: Found) -> float:
    return float(np.abs(np.subtract(one.box, other.box)).max())
