"""Views of an image: sizes by the library's rule, tiles that cover it, groups of equal size."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from tiny_grounding_dino import processor

from actors.failures import ItemFailure
from actors.images.encoded import EncodedImage
from actors.images.tiles import Tiles
from actors.images.views import SizeRule, grouped, views_of

RULE = SizeRule(shortest=800, longest=1333, queries=900)
side = st.integers(1, 20_000)


def encoded(width: int, height: int, mode: str = "RGB", kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("size", [(320, 240), (240, 320), (100, 100), (161, 97), (500, 20)])
def test_the_size_is_the_one_that_the_library_resizes_to(size: tuple[int, int]) -> None:
    width, height = size
    image = Image.new("RGB", size)
    library = processor(96, 160)(images=image, return_tensors="pt").pixel_values.shape[-2:]
    assert SizeRule(96, 160, 20).size(height, width) == tuple(library)


@settings(deadline=None)  # the machine is shared
@given(width=side, height=side, step=st.sampled_from([1, 32, 64]))
def test_every_size_gives_the_model_enough_to_look_at(width: int, height: int, step: int) -> None:
    rule = SizeRule(shortest=800, longest=1333, queries=900, step=step)
    size = rule.size(height, width)
    padded = rule.padded(size)
    assert min(size) >= 1
    assert min(padded) >= 32
    assert (padded[0] // 8) * (padded[1] // 8) >= 900
    assert padded[0] >= size[0]
    assert padded[1] >= size[1]
    if min(size) >= 64 and step == 1:
        assert padded == size, "an ordinary image is not padded at all"


@settings(deadline=None)  # the machine is shared
@given(
    width=st.integers(1, 2000),
    height=st.integers(1, 2000),
    tile=st.integers(64, 700),
    share=st.floats(0, 0.5),
    data=st.data(),
)
def test_an_object_up_to_the_overlap_is_whole_in_a_tile(
    width: int, height: int, tile: int, share: float, data: st.DataObject
) -> None:
    tiles = Tiles(size=tile, overlap=int(tile * share))
    views = views_of(0, width, height, RULE, tiles)
    assert views[0].box == (0, 0, width, height)
    assert all(x1 - x0 <= tile and y1 - y0 <= tile for x0, y0, x1, y1 in (v.box for v in views[1:]))
    w, h = min(tiles.overlap, width), min(tiles.overlap, height)
    x = data.draw(st.integers(0, width - w))
    y = data.draw(st.integers(0, height - h))
    assert any(
        x0 <= x and y0 <= y and x + w <= x1 and y + h <= y1
        for x0, y0, x1, y1 in (view.box for view in views)
    )


def test_an_image_no_larger_than_a_tile_is_looked_at_once() -> None:
    assert len(views_of(0, 640, 480, RULE, Tiles(size=640, overlap=64))) == 1
    assert len(views_of(0, 641, 480, RULE, Tiles(size=640, overlap=64))) == 3


def test_tiles_must_advance() -> None:
    with pytest.raises(ValidationError, match="more than half"):
        Tiles(size=100, overlap=51)


def test_groups_hold_equal_sizes_up_to_the_limit() -> None:
    sizes = [(640, 480), (480, 640), (640, 480), (640, 427), (640, 480), (641, 428)]
    views = [views_of(row, w, h, RULE, None)[0] for row, (w, h) in enumerate(sizes)]
    area = views[0].padded[0] * views[0].padded[1]
    rows = [[view.row for view in group] for group in grouped(views, 2 * area)]
    assert rows == [[0, 2], [4], [1], [3], [5]]
    assert [len(group) for group in grouped(views, 1)] == [1] * 6
    stepped = SizeRule(800, 1333, 900, step=64)
    views = [views_of(row, w, h, stepped, None)[0] for row, (w, h) in enumerate(sizes)]
    rows = [[view.row for view in group] for group in grouped(views, 10**12)]
    assert rows == [[0, 2, 4], [1], [3, 5]]


@pytest.mark.parametrize(("mode", "kind"), [("L", "PNG"), ("CMYK", "JPEG"), ("P", "GIF")])
def test_pixels_are_rgb_whatever_the_file_holds(mode: str, kind: str) -> None:
    picture = EncodedImage(encoded(8, 6, mode, kind))
    crop = picture.crop((1, 2, 5, 6))
    assert not isinstance(crop, ItemFailure)
    assert tuple(crop.shape) == (3, 4, 4)


def test_a_truncated_file_is_a_value_at_the_crop() -> None:
    picture = EncodedImage(encoded(64, 64)[:2000])
    assert (picture.width, picture.height) == (64, 64)
    crop = picture.crop((0, 0, 64, 64))
    assert isinstance(crop, ItemFailure)
    assert crop.kind == "CORRUPT_IMAGE"
