"""Labels as YOLO text files: boxes or outlines."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import yaml

from pipelines.decisions.triage import Label
from pipelines.export.labels.image import LabelledImage, _Files
from pipelines.export.labels.mask_outline import outline


class YoloWriter(_Files):
    """Writes `labels/NAME.txt`, `data.yaml`, `sources.csv`, and links to local files in `images/`.

    Images in buckets and archives must be copied to `images/` under the names in `sources.csv`.
    """

    def __init__(self, out: Path, classes: Sequence[str], outlines: bool = False) -> None:
        super().__init__()
        self._out, self._outlines = out, outlines
        self._ids = {name: number for number, name in enumerate(classes)}
        (out / "labels").mkdir()
        (out / "images").mkdir()
        # Without `path`, paths are relative to data.yaml. The user makes the split.
        data = {"train": "images", "val": "images", "names": dict(enumerate(classes))}
        with (out / "data.yaml").open("w", encoding="utf-8") as file:
            yaml.safe_dump(data, file, sort_keys=False, allow_unicode=True)
        self._sources = csv.writer(self.open(out / "sources.csv"))
        self._sources.writerow(["image", "uri", "page", "width", "height", "outcome", "reviewed"])

    def write(self, image: LabelledImage) -> None:
        file = image.name + image.suffix
        size, said = (image.width, image.height), (image.outcome, image.reviewed)
        self._sources.writerow([file, image.uri, image.page, *size, *said])
        lines = [yolo_line(label, image, self._ids, self._outlines) for label in image.labels]
        text = "".join(f"{line}\n" for line in lines)
        (self._out / "labels" / f"{image.name}.txt").write_text(text, encoding="utf-8")
        if image.local is not None and image.page == 1:
            (self._out / "images" / file).symlink_to(image.local)


def yolo_seg_writer(out: Path, classes: Sequence[str]) -> YoloWriter:
    """YoloWriter with outlines of masks instead of boxes."""
    return YoloWriter(out, classes, outlines=True)


def yolo_line(label: Label, image: LabelledImage, ids: dict[str, int], outlines: bool) -> str:
    """``class cx cy w h`` or ``class x y x y ...``, relative to the image.

    One object is one line: parts of a mask are joined and holes are filled
    (`pipelines.export.labels.mask_outline`). A label without a mask gets the outline of its box.
    """
    x0, y0, x1, y1 = label["box"]
    if outlines:
        points: Sequence[tuple[float, float]] = outline(label["mask"]) if label["mask"] else ()
        points = points or [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        values = [v for x, y in points for v in (x / image.width, y / image.height)]
    else:
        values = [
            (x0 + x1) / 2 / image.width,
            (y0 + y1) / 2 / image.height,
            (x1 - x0) / image.width,
            (y1 - y0) / image.height,
        ]
    return " ".join([str(ids[label["class"]]), *(f"{value:.6f}" for value in values)])
