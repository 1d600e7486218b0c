"""Exports read by tools that are not in the lock, in an environment of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hand_made_runs import CLASSES, IMAGES, label, picture, stored, write_run

from pipelines.export.labels.export import export_run
from pipelines.export.labels.selection import ExportConfig

PACKAGES = ("datumaro==1.13.12", "label-studio-sdk==2.1.2", "pycocotools==2.0.9")

READ = """
import json, sys
from pathlib import Path
import datumaro
from label_studio_sdk.converter.imports.coco import convert_coco_to_ls
from pycocotools.coco import COCO

folder = Path(sys.argv[1])
found = {}
for name, kind in (("rle", "coco"), ("polygons", "coco"), ("voc", "voc"), ("yolo", "yolo")):
    items = list(datumaro.Dataset.import_from(str(folder / name), kind))
    there = sum(item.media.data is not None for item in items)
    boxes = [one for item in items for one in item.annotations if type(one).__name__ == "Bbox"]
    found[f"datumaro {name}"] = [len(items), there, len(boxes)]
for name in ("rle", "polygons", "named"):
    coco = COCO(str(folder / name / "annotations.json"))
    result = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "score": 0.5}
    found[f"pycocotools {name}"] = len(coco.loadRes([result]).anns)
for name in ("polygons", "none"):
    target = folder / f"{name}.json"
    convert_coco_to_ls(str(folder / name / "annotations.json"), str(target))
    tasks = json.loads(target.read_text())
    found[f"Label Studio {name}"] = [
        len(tasks), sum(len(one["annotations"][0]["result"]) for one in tasks)
    ]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def loaders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with these tools."""
    folder = tmp_path_factory.mktemp("loaders")
    uv = str(Path(sys.executable).with_name("uv"))
    python = folder / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", python, *PACKAGES]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot install {', '.join(PACKAGES)}: {done.stderr[-300:]}")
    return python


@pytest.mark.long
def test_other_tools_load_the_exports(loaders: Path, tmp_path: Path) -> None:
    rows = [
        stored(number, picture(tmp_path / "files" / name), outcome="accepted", reasons=[])
        | {"instances": [label("red star", (10, 20, 50, 60)), label("blue star", (60, 20, 90, 60))]}
        for number, name in enumerate(("a/1.jpg", "b/1.jpg", "a/ü.png"))
    ]
    run = write_run(tmp_path / "run", "autolabel", IMAGES, rows)
    whole = {"copy_images": True}
    exports: dict[str, dict[str, Any]] = {
        "rle": {"format": "coco", **whole},
        "polygons": {"format": "coco", "masks": "polygons", **whole},
        "none": {"format": "coco", "masks": "none", **whole},
        "named": {"format": "coco"},
        "voc": {"format": "voc"},
        "yolo": {"format": "yolo"},
    }
    for name, settings in exports.items():
        export_run(run, tmp_path / name, ExportConfig.model_validate(settings), CLASSES)
    done = subprocess.run(
        [loaders, "-c", READ, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        **{f"datumaro {name}": [3, 3, 6] for name in ("rle", "polygons", "voc", "yolo")},
        **{f"pycocotools {name}": 1 for name in ("rle", "polygons", "named")},
        "Label Studio polygons": [3, 12],
        "Label Studio none": [3, 6],
    }
