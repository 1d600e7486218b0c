"""A detector and a segmenter of one worker: the image is decoded once, at a scale for both."""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tiny_grounding_dino
import tiny_sam2
from PIL import Image

from actors.detection.grounding.settings import GroundingDinoConfig
from actors.detection.grounding_dino import GroundingDino
from actors.images.encoded import EncodedImage
from actors.images.kept import KEPT
from actors.segmentation.sam2 import Sam2
from actors.segmentation.settings import Sam2Config

ONTOLOGY: dict[str, Any] = {"classes": {"cat": {}, "dog": {}}, "threshold": 0.02}
SIZES = [(160, 120), (320, 240), (200, 150)]
ON_CPU: dict[str, Any] = {"device": "cpu", "dtype": "float32"}


def picture(width: int, height: int, seed: int = 0) -> bytes:
    """A JPEG of soft coloured noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()


def table(images: list[bytes]) -> pa.Table:
    ids = pa.array(range(len(images)), pa.int64())
    return pa.table({"row_id": ids, "image": pa.array(images, pa.binary())})


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The checkpoints of a detector (160 px) and of a segmenter (128 px)."""
    found: Path = tiny_grounding_dino.save(
        tmp_path_factory.mktemp("detector"),
        tiny_grounding_dino.tiny_model("mm-grounding-dino"),
        tiny_grounding_dino.processor(),
    )
    return str(found), str(tiny_sam2.tiny_checkpoint(tmp_path_factory.mktemp("segmenter")))


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    KEPT.clear()
    yield
    KEPT.clear()


def detector(folder: str, **settings: Any) -> GroundingDino:
    return GroundingDino(GroundingDinoConfig(model=folder, ontology=ONTOLOGY, **ON_CPU, **settings))


def test_the_segmenter_takes_what_the_detector_decoded(folders: tuple[str, str]) -> None:
    gc.collect()  # segmenters of other tests are in cycles
    find = detector(folders[0])
    rows = table([picture(*size) for size in SIZES])
    alone = find(rows)
    assert KEPT.held == 0, "no model of this process wants the pixels"
    segment = Sam2(Sam2Config(model=folders[1], **ON_CPU))
    expected = segment(alone)["masks"].to_pylist()
    found = find(rows)
    assert KEPT.held == sum(3 * width * height for width, height in SIZES)
    assert segment(found)["masks"].to_pylist() == expected
    assert KEPT.held == 0
    find(rows)
    segment(alone.slice(0, 1))  # the others had no boxes
    assert KEPT.held == 0


def test_pixels_of_a_batch_that_failed_are_freed_by_the_next(folders: tuple[str, str]) -> None:
    find = detector(folders[0])
    segment = Sam2(Sam2Config(model=folders[1], **ON_CPU))
    find(table([picture(160, 120, seed) for seed in range(3)]))
    find(table([picture(200, 150, seed=7)]))
    assert KEPT.held == 3 * 200 * 150
    del segment


def whole(data: bytes, need: tuple[int, int], keep: bool = False) -> tuple[int, ...]:
    image = EncodedImage(data, keep)
    image.need = need
    pixels = image.whole()
    assert not isinstance(pixels, Exception)
    return tuple(pixels.shape)


def test_a_jpeg_is_decoded_at_the_scale_that_suffices() -> None:
    data = picture(645, 483)
    assert whole(data, (483, 645)) == (3, 483, 645)
    assert whole(data, (242, 300)) == (3, 483, 645)
    assert whole(data, (241, 300)) == (3, 242, 323)
    assert whole(data, (120, 160)) == (3, 121, 162)
    assert whole(data, (3, 3)) == (3, 61, 81)
    assert whole(data, (1000, 1000)) == (3, 483, 645)


def test_the_larger_need_of_two_models_decides(folders: tuple[str, str]) -> None:
    data = picture(640, 480)
    full = Sam2(Sam2Config(model=folders[1], **ON_CPU))
    assert whole(data, (120, 160), keep=True) == (3, 480, 640)
    KEPT.clear()
    del full
    gc.collect()
    half = Sam2(Sam2Config(model=folders[1], reduced_jpeg=True, **ON_CPU))
    assert whole(data, (60, 80), keep=True) == (3, 240, 320)  # 160 x 120 is not 128 high
    assert whole(data, (60, 80)) == (3, 240, 320), "taken"
    assert whole(data, (60, 80)) == (3, 60, 80), "decoded for this model alone"
    del half


def test_boxes_stay_pixels_of_the_file(folders: tuple[str, str]) -> None:
    """Random weights order equal boxes anew, so each box is compared with the nearest one."""
    rows = table([picture(640, 480, seed) for seed in range(2)])
    exact, reduced = (
        detector(folders[0], reduced_jpeg=flag)(rows)["boxes"].to_pylist() for flag in (False, True)
    )
    for one, other in zip(exact, reduced, strict=True):
        boxes, others = (np.array([instance["box"] for instance in few]) for few in (one, other))
        assert boxes.max() > 320
        nearest = np.abs(boxes[:, None] - others[None]).max(2).min(1)
        assert np.median(nearest) < 0.01 * 640


def test_tiles_are_cut_from_the_full_image(folders: tuple[str, str]) -> None:
    rows = table([picture(640, 480)])
    tiles = {"size": 320, "overlap": 64}
    exact, same = (
        detector(folders[0], tiles=tiles, reduced_jpeg=flag)(rows)["boxes"].to_pylist()
        for flag in (False, True)
    )
    assert exact == same
