"""Text objects that lie on each other, such as the languages of a page with layers."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt

_CELL = 3  # pixels: a grid in which characters of 10 points at 150 dpi have about 20 cells
_MOST_CELLS = 12  # of a character, in each direction
_FAR = 10_000  # cells: objects that are further away overlap nothing that is seen
_MOST_CLASSES = 4  # each costs a picture of the page


def classes_of(
    boxes: npt.NDArray[np.float64], owners: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """A class for each character, so that no two objects of a class overlap.

    Args:
        boxes: (n, 4) left, top, right, bottom in pixels.
        owners: (n,) the object of each character.

    Returns (n,) class from 0 on, and (n,) whether the character's object overlaps no other. From
    the fourth class on, objects may overlap.
    """
    names, at = np.unique(owners, return_inverse=True)
    beside: dict[int, set[int]] = defaultdict(set)
    for one, other in _pairs(boxes, at):
        beside[one].add(other)
        beside[other].add(one)
    of_object = np.zeros(len(names), np.intp)
    alone = np.ones(len(names), np.bool_)
    for name in sorted(beside):
        taken = {int(of_object[other]) for other in beside[name] if other < name}
        free = (number for number in range(_MOST_CLASSES - 1) if number not in taken)
        of_object[name] = next(free, _MOST_CLASSES - 1)
        alone[name] = False
    return of_object[at], alone[at]


def _pairs(boxes: npt.NDArray[np.float64], at: npt.NDArray[np.intp]) -> list[tuple[int, int]]:
    """Pairs of objects that share a cell of the grid, by the middle half of each character."""
    quarter = (boxes[:, 2:] - boxes[:, :2]) / 4
    first = np.clip((boxes[:, :2] + quarter) // _CELL, -_FAR, _FAR).astype(np.int64)
    last = np.clip((boxes[:, 2:] - quarter) // _CELL, -_FAR, _FAR).astype(np.int64)
    wide, high = np.clip(last - first + 1, 1, _MOST_CELLS).T
    count = wide * high
    char = np.repeat(np.arange(len(boxes)), count)
    step = np.arange(len(char)) - np.repeat(np.cumsum(count) - count, count)
    column = first[char, 0] + step % wide[char]
    row = first[char, 1] + step // wide[char]
    cell = (row - row.min()) * (np.ptp(column) + 1) + column - column.min()
    objects = int(at.max()) + 1
    cell, at_cell = np.divmod(np.unique(cell * objects + at[char]), objects)
    pairs: set[tuple[int, int]] = set()
    for shift in range(1, _MOST_CLASSES):
        same = cell[shift:] == cell[:-shift]
        pairs.update(
            zip(at_cell[:-shift][same].tolist(), at_cell[shift:][same].tolist(), strict=True)
        )
    return sorted(pairs)
