"""Labels as Pascal VOC: the tree of its development kit, boxes only."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from pipelines.decisions.triage import Label, Reason
from pipelines.export.labels.image import LabelledImage, Target, _Files, _text
from pipelines.storage.objects import plain_path

#: The folder of the pictures.
PICTURES = "JPEGImages"

#: A line of labelmap.txt is NAME:COLOUR:PARTS:ACTIONS; # begins a comment.
_BREAKS_LABELMAP = re.compile(r"^\s|^#|[:\n\r]|\s$")

#: Pixels from the image's edge within which a reviewed object counts as truncated.
_EDGE = 1.0


class VocWriter(_Files):
    """Writes `Annotations/NAME.xml`, `ImageSets/Main/train.txt` and `labelmap.txt`.

    `train.txt` has the names of all images, `labelmap.txt` the classes, as datumaro and CVAT want
    them. A class that it cannot hold, such as `a:b`, leaves it out.
    """

    def __init__(self, target: Target) -> None:
        super().__init__()
        self._folder = target.out / "Annotations"
        self._folder.mkdir()
        self._run = target.run
        lists = target.out / "ImageSets" / "Main"
        lists.mkdir(parents=True)
        self._names = self.open(lists / "train.txt")
        if not any(_BREAKS_LABELMAP.search(name) for name in target.classes):
            names = dict.fromkeys(("background", *target.classes))
            lines = ["# label:color_rgb:parts:actions", *(f"{name}:::" for name in names), ""]
            (target.out / "labelmap.txt").write_text("\n".join(lines), encoding="utf-8")

    def write(self, image: LabelledImage) -> None:
        root = voc_annotation(image, self._run)
        ET.indent(root)
        path = self._folder / f"{image.name}.xml"
        ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
        self._names.write(f"{image.name}\n")


def voc_annotation(image: LabelledImage, run: str = "") -> ET.Element:
    """The XML of one image. `run`: name of the run."""
    root = ET.Element("annotation")
    _text(root, "folder", PICTURES)
    _text(root, "filename", image.file)
    _text(root, "path", plain_path(image.uri))
    source = ET.SubElement(root, "source")
    for name, said in (("database", run or "Nightjar"), ("annotation", "Nightjar")):
        _text(source, name, said)
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


def _truncated(label: Label, image: LabelledImage) -> bool:
    """True for an object at the image's edge. By `reasons`; reviewed labels have none: by box."""
    if not image.reviewed:
        return Reason.BORDER in label["reasons"]
    x0, y0, x1, y1 = label["box"]
    return min(x0, y0, image.width - x1, image.height - y1) <= _EDGE


def voc_box(box: Sequence[float]) -> dict[str, int]:
    """A box in VOC's convention: pixels from 1, last one included; a row of 200 px is 1..200."""
    x0, y0, x1, y1 = box
    xmin, ymin = round(x0) + 1, round(y0) + 1
    return {
        "xmin": xmin,
        "ymin": ymin,
        "xmax": max(xmin, round(x1)),
        "ymax": max(ymin, round(y1)),
    }
