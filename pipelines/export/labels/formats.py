"""Label formats by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from pipelines.export.labels import voc, yolo
from pipelines.export.labels.coco import CocoWriter
from pipelines.export.labels.image import LabelledImage, Target, Writer, _Files, _json
from pipelines.export.labels.pictures import Way


class JsonLinesWriter(_Files):
    """Writes `labels.jsonl`: one image per line with all fields of its labels."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self._file = self.open(target.out / "labels.jsonl")

    def write(self, image: LabelledImage) -> None:
        self._file.write(_json(asdict(image)) + "\n")


WRITERS: dict[str, Callable[[Target], Writer]] = {
    "coco": CocoWriter,
    "yolo": yolo.YoloWriter,
    "yolo-seg": yolo.yolo_seg_writer,
    "voc": voc.VocWriter,
    "jsonl": JsonLinesWriter,
}

#: The folder of the pictures in each format.
PICTURE_FOLDERS = {name: voc.PICTURES if name == "voc" else yolo.PICTURES for name in WRITERS}

#: Formats with pictures beside their labels, and how local ones get there. datumaro refuses a VOC
#: set whose pictures are symbolic links to another folder.
LINKED: dict[str, Way] = {"yolo": "symlink", "yolo-seg": "symlink", "voc": "hardlink"}
