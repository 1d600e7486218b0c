"""Label formats by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from pipelines.export.labels.coco import CocoWriter
from pipelines.export.labels.image import LabelledImage, Writer, _Files, _json
from pipelines.export.labels.voc import VocWriter
from pipelines.export.labels.yolo import YoloWriter, yolo_seg_writer


class JsonLinesWriter(_Files):
    """Writes `labels.jsonl`: one image per line with all fields of its labels."""

    def __init__(self, out: Path, classes: Sequence[str]) -> None:
        super().__init__()
        self._file = self.open(out / "labels.jsonl")

    def write(self, image: LabelledImage) -> None:
        self._file.write(_json(asdict(image)) + "\n")


WRITERS: dict[str, Callable[[Path, Sequence[str]], Writer]] = {
    "coco": CocoWriter,
    "yolo": YoloWriter,
    "yolo-seg": yolo_seg_writer,
    "voc": VocWriter,
    "jsonl": JsonLinesWriter,
}
