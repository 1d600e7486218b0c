"""Labels as one COCO JSON file."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from typing import Literal, TypedDict

from actors.images.rle import RleValue, area
from pipelines.decisions.triage import Label
from pipelines.export.labels.image import LabelledImage, Masks, Target, _Files, _json
from pipelines.export.labels.mask_outline import outlines


class CocoImage(TypedDict):
    """An entry of COCO's `images`, with its origin.

    `file_name`: of the picture in `images/`, or below the source. `row_id`: a string, because
    JavaScript's numbers hold 53 bits. `reviewed`: accept or correct for a reviewer's labels, else
    null.
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
    """Writes `annotations.json`; `bbox` is the label's box.

    With pictures, `annotations/instances_default.json` is a link to it: datumaro finds it there.
    Annotations are collected in a separate file until all images are written.
    """

    def __init__(self, target: Target) -> None:
        super().__init__()
        self._masks = target.masks
        self._ids = {name: number for number, name in enumerate(target.classes, start=1)}
        self._waiting = target.out / "annotations.part"
        self._file = self.open(target.out / "annotations.json")
        self._annotations = self.open(self._waiting)
        self._written = 0
        if target.whole:
            (target.out / "annotations").mkdir()
            (target.out / "annotations" / "instances_default.json").symlink_to(
                "../annotations.json"
            )
        categories = [
            {"id": number, "name": name, "supercategory": ""} for name, number in self._ids.items()
        ]
        # pycocotools 2.0.9 and 2.0.10 raise KeyError in loadRes without `info`.
        head = {"info": coco_info(target), "licenses": [], "categories": categories}
        self._file.write(_json(head)[:-1] + ',\n"images": [')

    def write(self, image: LabelledImage) -> None:
        separator = ",\n" if image.number > 1 else "\n"
        self._file.write(separator + _json(coco_image(image)))
        for label in image.labels:
            number = self._written + 1
            annotation = coco_annotation(label, number, image, self._ids, self._masks)
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


def coco_info(target: Target) -> dict[str, object]:
    """COCO's `info`. The date is the run's, so that two exports are equal."""
    return {
        "description": f"labels of {target.run}" if target.run else "labels",
        "url": "",
        "version": "1.0",
        "year": int(target.created[:4]) if target.created else 0,
        "contributor": f"nightjar {version('nightjar')}",
        "date_created": target.created,
    }


def coco_image(image: LabelledImage) -> CocoImage:
    """The entry of an image, without its labels."""
    return {
        "id": image.number,
        "file_name": image.file,
        "coco_url": image.uri,
        "width": image.width,
        "height": image.height,
        "page": image.page,
        "row_id": str(image.row_id),
        "reviewed": image.reviewed,
    }


def coco_annotation(
    label: Label, number: int, image: LabelledImage, ids: dict[str, int], masks: Masks = "rle"
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
        "segmentation": segmentation(rle, masks) if rle else [],
        "iscrowd": 0,
        "score": label["score"],
    }


def segmentation(rle: RleValue, masks: Masks) -> RleValue | list[list[float]]:
    """A mask as RLE, as polygons [x, y, x, y, ...], or as nothing."""
    if masks == "rle":
        return rle
    return [part.ravel().tolist() for part in outlines(rle)] if masks == "polygons" else []
