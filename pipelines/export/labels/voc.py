"""Labels as Pascal VOC XML, one file per image."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from pipelines.decisions.triage import Label, Reason
from pipelines.export.labels.image import LabelledImage, _Files, _text
from pipelines.storage.objects import plain_path

#: Pixels from the image's edge within which a reviewed object counts as truncated.
_EDGE = 1.0


class VocWriter(_Files):
    """Writes `Annotations/NAME.xml`, boxes only."""

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
    _text(root, "filename", image.name + image.suffix)
    _text(root, "path", plain_path(image.uri))
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
