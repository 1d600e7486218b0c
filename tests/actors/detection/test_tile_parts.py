"""Parts of objects that only a tile shows are left out; objects of their own are not."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from conftest import REPOSITORY
from PIL import Image, ImageDraw

from actors.detection.boxes import Candidates
from actors.detection.grounding_dino import GroundingDino
from actors.detection.tile_parts import without_parts
from pipelines.job import load_job

STAR, LEG, OVERLAPS = [100, 100, 500, 500], [150, 380, 230, 480], [50, 380, 130, 480]


def view(*rows: tuple[list[int], float, int]) -> Candidates:
    """(box, score, prompt)."""
    boxes = torch.tensor([row[0] for row in rows], dtype=torch.float32).reshape(-1, 4)
    scores = torch.tensor([row[1] for row in rows])
    return Candidates(boxes, scores, torch.tensor([row[2] for row in rows], dtype=torch.int64))


def left(*views: Candidates) -> list[tuple[list[int], float]]:
    """Prompts 0 and 1 are of one class, prompt 2 of another; thresholds 0.4."""
    found = without_parts(views, torch.tensor([0, 0, 1]), torch.full((3,), 0.4), 0.7)
    scores = [round(score, 2) for score in found.scores.tolist()]
    return list(zip(found.boxes.int().tolist(), scores, strict=True))


def test_a_part_that_only_a_tile_shows_is_left_out() -> None:
    assert left(view((STAR, 0.6, 0)), view((LEG, 0.5, 1))) == [(STAR, 0.6)]
    assert left(view((STAR, 0.6, 0)), view((LEG, 0.9, 0))) == [(STAR, 0.6)]
    assert left(view(), view((STAR, 0.6, 0)), view((LEG, 0.5, 0))) == [(STAR, 0.6)]


@pytest.mark.parametrize(
    "views",
    [
        (view((STAR, 0.6, 0), (LEG, 0.5, 0)),),  # no tiles
        (view((STAR, 0.6, 0), (LEG, 0.5, 0)), view()),  # the full image shows it
        (view((STAR, 0.6, 0)), view((LEG, 0.5, 2))),  # another class
        (view((STAR, 0.6, 0)), view((OVERLAPS, 0.5, 0))),  # not inside
        (view((LEG, 0.6, 0)), view((STAR, 0.5, 0))),  # the tile shows the larger one
        (view((STAR, 0.3, 0)), view((LEG, 0.5, 0))),  # the larger one is no label
        (view((STAR, 0.6, 0)), view((STAR, 0.5, 0), (LEG, 0.5, 0))),  # its tile shows both
    ],
)
def test_an_object_of_its_own_stays(views: tuple[Candidates, ...]) -> None:
    assert len(left(*views)) == sum(len(one.scores) for one in views)


def test_a_second_box_of_one_object_is_left_to_nms() -> None:
    closer = [100, 100, 500, 460]
    assert left(view((STAR, 0.6, 0)), view((closer, 0.8, 0))) == [(STAR, 0.6), (closer, 0.8)]


def test_many_candidates_are_compared_in_steps() -> None:
    tile = view(*[([150 + n, 380, 170 + n, 400], 0.5, 0) for n in range(300)])
    assert left(view((STAR, 0.6, 0)), tile) == [(STAR, 0.6)]


def big_star() -> bytes:
    """A star of 228 px in 640 x 640 px: a tile of 256 px shows its legs from close by."""
    image = Image.new("RGB", (640, 640), (235, 235, 235))
    corners = [(505, 386), (535, 464), (619, 468), (554, 521), (576, 602), (505, 556), (435, 602)]
    corners += [(457, 521), (391, 468), (476, 464)]
    ImageDraw.Draw(image).polygon(corners, fill=(222, 30, 30))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


CASE = REPOSITORY.parent / "shared/cases/labels/bigstar.png"


@pytest.mark.parametrize("case", [None, CASE], ids=["drawn", "bigstar.png"])
def test_a_star_larger_than_most_of_a_tile_is_one_star(case: Path | None) -> None:
    if case is not None and not case.exists():
        pytest.skip(f"{case} is not on this machine")
    data = case.read_bytes() if case else big_star()
    overrides = ["detector.tiles={size: 256, overlap: 96}", "detector.ontology.threshold=0.35"]
    _, config = load_job(REPOSITORY / "configs/autolabel/quickstart.yaml", overrides)
    rows = pa.table({"image": pa.array([data], pa.binary())})
    (boxes,) = GroundingDino(config.detector)(rows)["boxes"].to_pylist()
    assert [one["class"] for one in boxes] == ["red star"]
    x0, y0, x1, y1 = boxes[0]["box"]
    assert x1 - x0 > 200
    assert y1 - y0 > 200
