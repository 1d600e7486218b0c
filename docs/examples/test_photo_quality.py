"""Tests of photo_quality.py: the actor alone, the flow in this process, the job through Ray."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import yaml
from photo_quality import PhotoQualityConfig, Sharpness, SharpnessConfig, photo_quality

from pipelines.sources.manifest import MANIFEST

HERE = Path(__file__).parent
SCENE = HERE.parents[1] / "configs" / "samples" / "scenes" / "scene_04.jpg"

EXPECTED = {
    "sharp.jpg": ("accepted", []),
    "blurred.jpg": ("review", ["blurred"]),
    "torn.jpg": ("failed", ["CORRUPT_IMAGE"]),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph, a blurred copy, and half of the photograph's file."""
    folder = tmp_path_factory.mktemp("photos")
    data = SCENE.read_bytes()
    (folder / "sharp.jpg").write_bytes(data)
    (folder / "torn.jpg").write_bytes(data[: len(data) // 2])
    blurred = cv2.GaussianBlur(cv2.imread(str(SCENE)), (0, 0), 4)
    cv2.imwrite(str(folder / "blurred.jpg"), blurred)
    return folder


def verdicts(rows: pa.Table) -> dict[str, tuple[str, list[str]]]:
    return {Path(r["uri"]).name: (r["outcome"], r["reasons"]) for r in rows.to_pylist()}


def test_what_is_no_image_is_a_value_in_its_row() -> None:
    rows = pa.table({"image": [b"no image", SCENE.read_bytes(), None]})
    out = Sharpness(SharpnessConfig())(rows)
    assert [f and f["kind"] for f in out["quality_failure"].to_pylist()] == [
        "CORRUPT_IMAGE",
        None,
        None,
    ]
    assert out["sharpness"].is_valid().to_pylist() == [False, True, False]


def test_the_flow_in_this_process(photos: Path) -> None:
    files = [
        {"row_id": n, "uri": str(path), "page": 1, "pages": 1, "kind": "jpeg"}
        for n, path in enumerate(sorted(photos.iterdir()))
    ]
    settings = {"job": "photo_quality:JOB", "run_dir": "", "source": {"path": str(photos)}}
    flow = photo_quality(PhotoQualityConfig.model_validate(settings))
    rows = flow.run_here(pa.Table.from_pylist(files, MANIFEST))
    assert rows.schema.names == flow.schema.names
    assert verdicts(rows) == EXPECTED


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of the whole job: photo_quality.yaml over the three files."""
    folder = tmp_path_factory.mktemp("job")
    config = yaml.safe_load((HERE / "photo_quality.yaml").read_text())
    config |= {"run_dir": str(folder / "run"), "source": {"path": str(photos)}}
    (folder / "night.yaml").write_text(yaml.safe_dump(config))
    python_path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [sys.executable, "-m", "jobs.cli", "run", "night.yaml"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": python_path},
        check=True,
    )
    return folder / "run"


def test_the_whole_job_through_ray(finished: Path) -> None:
    assert verdicts(ds.dataset(finished / "shards").to_table()) == EXPECTED
