"""Labels as one COCO JSON file."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict

from actors.images.rle import RleValue, area
from pipelines.decisions.triage import Label
from pipelines.export.labels.image import LabelledImage, _Files, _json
from pipelines.storage.objects import is_bucket, plain_path, split_bucket


class CocoImage(TypedDict):
    """An entry of COCO's `images`, with its origin.

    `file_name`: the local path, or the key in its bucket. `row_id`: a string, because JavaScript's
    numbers hold 53 bits. `reviewed`: accept or correct for a reviewer's labels, else null.
    """

    id: int
    file_name: str
    coco_url: str
    width: int
    height: int
    page: int
    row_id: str
    reviewed: str | None


class CocoAnnotation(TypedDict):
    """An entry of COCO's `annotations`. `segmentation` is empty for a label without a mask."""

    id: int
    image_id: int
    category_id: int
    bbox: list[float]
    area: float
    segmentation: RleValue | list[list[float]]
    iscrowd: Literal[0]
    score: float | None


class CocoWriter(_Files):
    """Writes `annotations.json`: masks as compressed RLE, `bbox` is the label's box.

    Annotations are collected in a separate file until all images are written.
    """

    def __init__(self, out: Path, classes: Sequence[str]) -> None:
        super().__init__()
        self._ids = {name: number for number, name in enumerate(classes, start=1)}
        self._waiting = out / "annotations.part"
        self._file = self.open(out / "annotations.json")
        self._annotations = self.open(self._waiting)
        self._written = 0
        categories = [{"id": number, "name": name} for name, number in self._ids.items()]
        self._file.write(f'{{"categories": {_json(categories)},\n"images": [')

    def write(self, image: LabelledImage) -> None:
        separator = ",\n" if image.number > 1 else "\n"
        self._file.write(separator + _json(coco_image(image)))
        for label in image.labels:
            annotation = coco_annotation(label, self._written + 1, image, self._ids)
            self._annotations.write((",\n" if self._written else "\n") + _json(annotation))
            self._written += 1

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._annotations.flush()
            self._file.write('],\n"annotations": [')
            with self._waiting.open(encoding="utf-8", newline="") as annotations:
                shutil.copyfileobj(annotations, self._file)
            self._file.write("]}\n")
        super().__exit__(*error)
        self._waiting.unlink()


def coco_image(image: LabelledImage) -> CocoImage:
    """The entry of an image, without its labels."""
    return {
        "id": image.number,
        "file_name": split_bucket(image.uri)[1] if is_bucket(image.uri) else plain_path(image.uri),
        "coco_url": image.uri,
        "width": image.width,
        "height": image.height,
        "page": image.page,
        "row_id": str(image.row_id),
        "reviewed": image.reviewed,
    }


def coco_annotation(
    label: Label, number: int, image: LabelledImage, ids: dict[str, int]
) -> CocoAnnotation:
    """The entry of a label. `number`: from 1 over the whole file. `ids`: class -> id."""
    x0, y0, x1, y1 = label["box"]
    rle = label["mask"]
    return {
        "id": number,
        "image_id": image.number,
        "category_id": ids[label["class"]],
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": float(area(rle)) if rle else (x1 - x0) * (y1 - y0),
        "segmentation": rle or [],
        "iscrowd": 0,
        "score": label["score"],
    }
