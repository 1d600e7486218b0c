"""The formats of `pipelines.export`: each takes one labelled image after the other."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Protocol, Self

import yaml
from pycocotools import mask as coco

from pipelines.objects import is_s3, split_member, split_s3
from pipelines.outline import outline
from pipelines.triage import Reason

#: Pixels from the edge of an image at which a reviewed object counts as cut off by it.
_EDGE = 1.0


@dataclass(frozen=True)
class LabelledImage:
    """One image of an export.

    Attributes:
        number: 1, 2, ... in the order of the export.
        uri, page: where it came from.
        width, height: of the upright image, pixels; all boxes and masks refer to it.
        outcome: what the run said.
        reviewed: accept or correct, where `labels` are a reviewer's; else None.
        labels: values of `pipelines.triage.LABEL`.
    """

    number: int
    row_id: int
    uri: str
    page: int
    width: int
    height: int
    outcome: str
    reviewed: str | None
    labels: list[dict[str, Any]]

    @property
    def name(self) -> str:
        """A file name of its own: the stem of the source and the row id."""
        stem = Path(split_member(self.uri)[1] or self.uri).stem
        readable = re.sub(r"[^\w.-]", "_", stem)[:80]
        return f"{readable}-{self.row_id % (1 << 64):016x}"


class Writer(Protocol):
    """Writes below a directory that is there and empty; whole once the context is left."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...
    def write(self, image: LabelledImage) -> None: ...


class _Files:
    """Open files, closed when the context is left."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def open(self, path: Path) -> IO[str]:
        return self._stack.enter_context(path.open("w", encoding="utf-8", newline=""))


class JsonLinesWriter(_Files):
    """`labels.jsonl`: an image a line, with everything that is known of its labels."""

    def __init__(self, out: Path, classes: Sequence[str]) -> None:
        super().__init__()
        self._file = self.open(out / "labels.jsonl")

    def write(self, image: LabelledImage) -> None:
        self._file.write(_json(asdict(image)) + "\n")


class CocoWriter(_Files):
    """`annotations.json`; masks as compressed RLE, `bbox` the label's box.

    Annotations wait in a file of their own until the images are all written.
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


def coco_image(image: LabelledImage) -> dict[str, Any]:
    """An entry of COCO's `images`. `file_name`: the local path, or the key in its bucket."""
    return {
        "id": image.number,
        "file_name": split_s3(image.uri)[1] if is_s3(image.uri) else image.uri,
        "coco_url": image.uri,
        "width": image.width,
        "height": image.height,
        "page": image.page,
        "row_id": str(image.row_id),  # JavaScript's numbers end at 53 bits
        "reviewed": image.reviewed,
    }


def coco_annotation(
    label: dict[str, Any], number: int, image: LabelledImage, ids: dict[str, int]
) -> dict[str, Any]:
    """An entry of COCO's `annotations`. Without a mask `segmentation` is empty, as in COCO."""
    x0, y0, x1, y1 = label["box"]
    rle = label["mask"]
    return {
        "id": number,
        "image_id": image.number,
        "category_id": ids[label["class"]],
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": float(coco.area(rle)) if rle else (x1 - x0) * (y1 - y0),
        "segmentation": rle or [],
        "iscrowd": 0,
        "score": label["score"],
    }


class YoloWriter(_Files):
    """`labels/NAME.txt`, `data.yaml`, `sources.csv`, and `images/NAME` as links to local files.

    Images in buckets and archives have to be put into `images/` under the names in `sources.csv`.
    """

    def __init__(self, out: Path, classes: Sequence[str], outlines: bool = False) -> None:
        super().__init__()
        self._out, self._outlines = out, outlines
        self._ids = {name: number for number, name in enumerate(classes)}
        (out / "labels").mkdir()
        (out / "images").mkdir()
        # Without `path` the folder of data.yaml is meant. The split is the reader's to make.
        data = {"train": "images", "val": "images", "names": dict(enumerate(classes))}
        with (out / "data.yaml").open("w", encoding="utf-8") as file:
            yaml.safe_dump(data, file, sort_keys=False, allow_unicode=True)
        self._sources = csv.writer(self.open(out / "sources.csv"))
        self._sources.writerow(["image", "uri", "page", "width", "height", "outcome", "reviewed"])

    def write(self, image: LabelledImage) -> None:
        file = image.name + Path(image.uri).suffix.lower()
        size, said = (image.width, image.height), (image.outcome, image.reviewed)
        self._sources.writerow([file, image.uri, image.page, *size, *said])
        lines = [yolo_line(label, image, self._ids, self._outlines) for label in image.labels]
        text = "".join(f"{line}\n" for line in lines)
        (self._out / "labels" / f"{image.name}.txt").write_text(text, encoding="utf-8")
        if image.uri.startswith("/") and image.page == 1 and split_member(image.uri)[1] is None:
            (self._out / "images" / file).symlink_to(image.uri)


def yolo_seg_writer(out: Path, classes: Sequence[str]) -> YoloWriter:
    """YoloWriter with the outlines of masks in place of boxes."""
    return YoloWriter(out, classes, outlines=True)


def yolo_line(
    label: dict[str, Any], image: LabelledImage, ids: dict[str, int], outlines: bool
) -> str:
    """``class cx cy w h`` or ``class x y x y ...``, relative to the image.

    One object is one line: parts of a mask are joined by lines without width, holes are filled
    (see `pipelines.outline`). A label without a mask gets the outline of its box.
    """
    x0, y0, x1, y1 = label["box"]
    if outlines:
        points = outline(label["mask"]) if label["mask"] else []
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


class VocWriter(_Files):
    """`Annotations/NAME.xml`, boxes only."""

    def __init__(self, out: Path, classes: Sequence[str]) -> None:
        super().__init__()
        self._folder = out / "Annotations"
        self._folder.mkdir()

    def write(self, image: LabelledImage) -> None:
        root = voc_annotation(image)
        ET.indent(root)
        path = self._folder / f"{image.name}.xml"
        ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def voc_annotation(image: LabelledImage) -> ET.Element:
    """The XML of one image."""
    root = ET.Element("annotation")
    _text(root, "filename", image.name + Path(image.uri).suffix.lower())
    _text(root, "path", image.uri)
    size = ET.SubElement(root, "size")
    for name, value in (("width", image.width), ("height", image.height), ("depth", 3)):
        _text(size, name, value)
    _text(root, "segmented", 0)
    for label in image.labels:
        found = ET.SubElement(root, "object")
        _text(found, "name", label["class"])
        _text(found, "pose", "Unspecified")
        _text(found, "truncated", int(_truncated(label, image)))
        _text(found, "difficult", 0)
        box = ET.SubElement(found, "bndbox")
        for name, corner in voc_box(label["box"]).items():
            _text(box, name, corner)
    return root


def _truncated(label: dict[str, Any], image: LabelledImage) -> bool:
    """Whether an object goes on beyond the image. A review empties `reasons`: then by the box."""
    if not image.reviewed:
        return Reason.BORDER in label["reasons"]
    x0, y0, x1, y1 = label["box"]
    return min(x0, y0, image.width - x1, image.height - y1) <= _EDGE


def voc_box(box: Sequence[float]) -> dict[str, int]:
    """VOC counts pixels from 1 and includes the last: the whole of a 200 px row is 1..200."""
    x0, y0, x1, y1 = box
    xmin, ymin = round(x0) + 1, round(y0) + 1
    return {
        "xmin": xmin,
        "ymin": ymin,
        "xmax": max(xmin, round(x1)),
        "ymax": max(ymin, round(y1)),
    }


def _text(parent: ET.Element, name: str, value: object) -> None:
    ET.SubElement(parent, name).text = str(value)


def _json(value: Any) -> str:
    return json.dumps(_rounded(value), ensure_ascii=False, allow_nan=False)


def _rounded(value: Any) -> Any:
    """float32 carries 7 digits; NaN is no JSON."""
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value


WRITERS: dict[str, Callable[[Path, Sequence[str]], Writer]] = {
    "coco": CocoWriter,
    "yolo": YoloWriter,
    "yolo-seg": yolo_seg_writer,
    "voc": VocWriter,
    "jsonl": JsonLinesWriter,
}
