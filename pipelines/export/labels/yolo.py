"""Labels as YOLO text files: boxes or outlines."""

from __future__ import annotations

import csv

import yaml

from pipelines.decisions.triage import Label
from pipelines.export.labels.image import LabelledImage, Target, _Files
from pipelines.export.labels.mask_outline import outline

#: The folder of the pictures. Trainers find labels by replacing it with `labels` in a path.
PICTURES = "images"


class YoloWriter(_Files):
    """Writes `labels/NAME.txt`, `data.yaml` and `sources.csv`."""

    def __init__(self, target: Target, outlines: bool = False) -> None:
        super().__init__()
        self._out, self._outlines = target.out, outlines
        self._ids = {name: number for number, name in enumerate(target.classes)}
        (target.out / "labels").mkdir()
        # Without `path`, paths are relative to data.yaml. The user makes the split.
        names = dict(enumerate(target.classes))
        data = {"train": PICTURES, "val": PICTURES, "names": names}
        with (target.out / "data.yaml").open("w", encoding="utf-8") as file:
            yaml.safe_dump(data, file, sort_keys=False, allow_unicode=True)
        self._sources = csv.writer(self.open(target.out / "sources.csv"))
        self._sources.writerow(["image", "uri", "page", "width", "height", "outcome", "reviewed"])

    def write(self, image: LabelledImage) -> None:
        size, said = (image.width, image.height), (image.outcome, image.reviewed)
        self._sources.writerow([image.file, image.uri, image.page, *size, *said])
        lines = [yolo_line(label, image, self._ids, self._outlines) for label in image.labels]
        text = "".join(f"{line}\n" for line in lines)
        (self._out / "labels" / f"{image.name}.txt").write_text(text, encoding="utf-8")


def yolo_seg_writer(target: Target) -> YoloWriter:
    """YoloWriter with outlines of masks instead of boxes."""
    return YoloWriter(target, outlines=True)


def yolo_line(label: Label, image: LabelledImage, ids: dict[str, int], outlines: bool) -> str:
    """``class cx cy w h`` or ``class x y x y ...``, relative to the image.

    One object is one line: parts and holes of a mask are joined
    (`pipelines.export.labels.mask_outline`). A label without a mask gets the outline of its box.
    """
    x0, y0, x1, y1 = label["box"]
    if outlines:
        points = outline(label["mask"]).tolist() if label["mask"] else ()
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
