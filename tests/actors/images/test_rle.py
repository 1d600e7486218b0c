"""Run lengths against pycocotools and against plain arrays."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from pycocotools import mask as coco

from actors.images.rle import (
    Bits,
    area,
    cut,
    decoded,
    encoded,
    from_edges,
    from_lengths,
    lengths_of,
    mask_ious,
    tight_boxes,
)

HEIGHT, WIDTH = 61, 47


def mask_of(seed: int) -> Bits:
    """Dust for odd seeds, one large rectangle for even ones; 0 and 1 are empty and full."""
    if seed < 2:
        return np.full((HEIGHT, WIDTH), bool(seed))
    random = np.random.default_rng(seed)
    if seed % 2:
        return random.random((HEIGHT, WIDTH)) < 0.3
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[random.integers(30) : random.integers(31, 61), random.integers(20) : 47] = True
    return mask


@pytest.fixture(params=range(8))
def mask(request: pytest.FixtureRequest) -> Bits:
    return mask_of(request.param)


def runs_of(mask: Bits) -> list[int]:
    """Lengths of equal pixels down the columns, background first, one pixel at a time."""
    runs, inside = [0], False
    for pixel in mask.ravel(order="F"):
        if pixel != inside:
            runs.append(0)
            inside = not inside
        runs[-1] += 1
    return runs


def test_a_mask_comes_back_from_its_run_lengths(mask: Bits) -> None:
    value = encoded(mask)
    assert value["counts"].encode() == coco.encode(np.asfortranarray(mask, np.uint8))["counts"]
    assert value["size"] == [HEIGHT, WIDTH]
    back = decoded(value)
    assert back.dtype == bool
    assert np.array_equal(back, mask)
    assert area(value) == mask.sum()


def test_a_mask_of_numbers_is_one_of_bits(mask: Bits) -> None:
    assert encoded(np.asarray(mask * 200, np.uint8)) == encoded(mask)


def test_lengths_are_those_of_the_pixels(mask: Bits) -> None:
    assert lengths_of(encoded(mask)["counts"]).tolist() == runs_of(mask)


def test_lengths_and_edges_make_the_same_mask(mask: Bits) -> None:
    flat = mask.ravel(order="F")
    wanted = coco.encode(np.asfortranarray(mask, np.uint8))
    edges = np.flatnonzero(np.diff(flat, prepend=False))
    assert from_edges(edges, HEIGHT, WIDTH) == wanted
    assert from_lengths(runs_of(mask), HEIGHT, WIDTH) == wanted


@pytest.mark.parametrize("counts", ["", "\x01\x02", "o" * 5000, "\u00e9"])
def test_nonsense_has_no_lengths(counts: str) -> None:
    with pytest.raises(ValueError, match=r"run length|ascii"):
        lengths_of(counts)


@pytest.mark.parametrize("box", [(0, 0, WIDTH, HEIGHT), (3.2, 7, 20.5, 40), (9.1, 9.1, 9.4, 9.4)])
def test_a_mask_is_cut_at_its_box(mask: Bits, box: tuple[float, float, float, float]) -> None:
    x0, y0, x1, y1 = box
    xs, ys = np.arange(WIDTH), np.arange(HEIGHT)[:, None]
    inside = mask & (xs >= x0) & (xs < x1) & (ys >= y0) & (ys < y1)
    kept = cut(from_lengths(runs_of(mask), HEIGHT, WIDTH), box)
    assert np.array_equal(decoded(kept), inside)
    (tight,) = tight_boxes([kept])
    rows, columns = np.nonzero(inside)
    edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else [0] * 4
    assert tight.tolist() == edges


def test_masks_are_compared_pixel_by_pixel() -> None:
    masks = [mask_of(seed) for seed in range(5)]
    values = [encoded(mask) for mask in masks]
    for row, one in zip(mask_ious(values, values[1:]), masks, strict=True):
        for iou, other in zip(row, masks[1:], strict=True):
            assert iou == pytest.approx((one & other).sum() / (one | other).sum())
    assert mask_ious(values[:1], values[:1]).tolist() == [[0.0]], "two empty masks"
    assert mask_ious([], values).shape == (0, 5)


def test_run_lengths_need_no_torch() -> None:
    code = "import sys, actors.images.rle; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
