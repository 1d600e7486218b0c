"""The labelling benchmark runs, and its contestants find the same boxes and masks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("nightjar's GroundingDino", "nightjar's Sam2")
FLOORS = ("floor: bare forwards, prepared inputs", "the library's bare forwards, prepared inputs")
FINDERS = {
    "library, all classes in one prompt",
    "transformers pipeline, one forward per label",
    "library, one forward per class",
    OURS[0],
    *FLOORS,
}
SEGMENTERS = {
    "library's Sam2Model, image by image",
    OURS[1],
    "floor: embed and decode, prepared inputs",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a quick run wrote."""
    folder = tmp_path_factory.mktemp("benchmark")
    script = ROOT / "benchmarks/labelling.py"
    options = ["--quick", "--count", "4", "--repeats", "1", "--out", str(folder)]
    argv = [sys.executable, str(script), *options]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def sections(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("labelling-*.json")
    return dict(json.loads(path.read_text())["sections"])


def test_every_contestant_has_a_rate(sections: dict[str, Any]) -> None:
    both = [set(section) for title, section in sections.items() if title.endswith("their masks")]
    assert [title for title in sections if title.startswith("boxes, ")][:3] == [
        "boxes, 1 class",
        "boxes, 5 classes",
        "boxes, 20 classes",
    ]
    for title in ("boxes, 1 class", "boxes, 5 classes", "boxes, 20 classes"):
        assert set(sections[title]) == FINDERS
    assert set(sections["boxes -> masks"]) == SEGMENTERS
    assert {"nightjar", "floor"} < both[0]
    for section in sections.values():
        for row in section.values():
            assert row["images_per_s"] > 0
            assert row["cpu_ms_per_image"] > 0
            assert row["ours_is"] > 0


def test_ours_and_the_floor_find_what_the_library_finds(sections: dict[str, Any]) -> None:
    for title, section in sections.items():
        shares = [section[name]["parity"] for name in (*OURS, *FLOORS) if name in section]
        assert all(share >= 0.99 for share in shares)
        assert len(shares) == {"boxes -> masks": 1}.get(title, 0 if "their" in title else 3)


def test_boxes_and_masks_agree_with_the_truth(sections: dict[str, Any]) -> None:
    section = sections["boxes, 20 classes"]
    assert section[OURS[0]]["f1"] > 0.7
    assert sections["boxes -> masks"][OURS[1]]["mask_iou"] > 0.7


def test_the_table_has_a_row_per_contestant(folder: Path, sections: dict[str, Any]) -> None:
    (path,) = folder.glob("labelling-*.md")
    lines = path.read_text().splitlines()
    rows = [line.split(" | ")[0][2:] for line in lines if line.startswith("| ")]
    expected = [name for section in sections.values() for name in ("contestant", *section)]
    assert rows == expected
