"""Masks encoded from their outline: the same pixels as from an up-sampled mask."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from actors.images.mask_logits import encode, on_device
from actors.images.outlines import Taps, edges, mean
from actors.images.rle import Rle, decoded, from_edges

ALONG_THE_OUTLINE, ALL_PIXELS = 1e9, 0.0  # shares at which the one or the other is computed


def upsampled(logits: npt.NDArray[np.float32], height: int, width: int) -> Rle:
    """The mask with every pixel computed, by pycocotools."""
    down, across = Taps.of(logits.shape[0], height), Taps.of(logits.shape[1], width)
    lines = mean(logits[down.low], logits[down.high], down.weight[:, None])
    mask = mean(lines[:, across.low], lines[:, across.high], across.weight) > 0
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))


sides = st.integers(1, 9)
values = st.one_of(st.integers(-8, 8).map(lambda n: n / 8), st.just(float("nan")))


@settings(deadline=None, max_examples=300)
@given(
    logits=arrays(np.float32, st.tuples(sides, sides), elements=values),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
)
def test_outline_gives_every_pixel(
    logits: npt.NDArray[np.float32], height: int, width: int
) -> None:
    wanted = upsampled(logits, height, width)
    for share in (ALONG_THE_OUTLINE, ALL_PIXELS):
        found = from_edges(edges(logits, height, width, share), height, width)
        assert found == wanted


def blob(share: float, seed: int) -> npt.NDArray[np.float32]:
    """A disc of this share of the image with a rough edge, as a segmenter's logits."""
    y, x = np.mgrid[:256, :256] / 256
    noise = np.random.default_rng(seed).normal(scale=0.3, size=(256, 256))
    distance = np.sqrt(share / np.pi) - np.hypot(x - 0.45, y - 0.55)
    return (60 * distance + noise).astype(np.float32)


@pytest.mark.parametrize("size", [(480, 640), (1223, 1631), (3000, 4000), (180, 130)])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.05, 0.8, 4.0])
def test_masks_are_those_of_other_libraries(size: tuple[int, int], share: float) -> None:
    """OpenCV and torch compute coordinates in float32: samples differ by up to 5e-5."""
    logits = blob(share, seed=size[0])
    (rle,) = encode([torch.from_numpy(logits)], *size)
    assert rle == upsampled(logits, *size)
    found = decoded(rle)
    resized = cv2.resize(logits, size[::-1], interpolation=cv2.INTER_LINEAR) > 0
    assert (found != resized).sum() <= 3
    (on_a_device,) = on_device(torch.from_numpy(logits)[None], *size)
    assert (found != decoded(on_a_device)).sum() <= 3


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 5)])
def test_empty_full_and_tiny_masks(size: tuple[int, int]) -> None:
    empty, full = np.full((2, 256, 256), [[[-1.0]], [[1.0]]], np.float32)
    assert edges(empty, *size).tolist() == []
    assert edges(full, *size).tolist() == [0]
    assert decoded(from_edges(edges(full, *size), *size)).all()
    spot = empty.copy()
    spot[3, 250] = 1  # between the pixels of these images
    assert edges(spot, *size).tolist() == []
    assert edges(np.full((1, 1), np.nan, np.float32), *size).tolist() == []


def test_masks_of_a_device_are_told_apart() -> None:
    """A run that reaches the end of one mask does not go on in the next."""
    logits = torch.stack([torch.from_numpy(blob(share, 0)) for share in (4.0, 4.0, 0.0, 0.1, 4.0)])
    found = on_device(logits, 60, 80)
    assert found == [on_device(one[None], 60, 80)[0] for one in logits]
    assert [decoded(rle).mean() for rle in found[:3]] == [1, 1, 0]
