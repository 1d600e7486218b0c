"""One labelled image, and the interface of label writers."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, Protocol, Self

import numpy as np

from pipelines.decisions.triage import Label
from pipelines.export.characters import escaped_json, xml_text
from pipelines.export.labels.names import stem_of

Masks = Literal["rle", "polygons", "none"]

#: From this length on, numpy rounds a list faster than Python.
_LONG = 32


@dataclass(frozen=True)
class LabelledImage:
    """One image of an export.

    Attributes:
        number: 1, 2, ... in the order of the export.
        uri, page: of the source.
        width, height: of the upright image in pixels; all boxes and masks refer to it.
        outcome: of the run.
        reviewed: accept or correct if `labels` are a reviewer's, else None.
        labels: the reviewer's or the run's.
        file: name of the picture: in the picture folder of the export if it has one, else below
            the folder that COCO's names refer to.
    """

    number: int
    row_id: int
    uri: str
    page: int
    width: int
    height: int
    outcome: str
    reviewed: str | None
    labels: list[Label]
    file: str = ""

    @property
    def name(self) -> str:
        """A unique file name without a suffix."""
        return stem_of(self.uri, self.page, self.row_id)


@dataclass(frozen=True)
class Target:
    """Where and what a writer writes.

    Attributes:
        out: an existing empty directory.
        classes: of the ontology, in its order.
        run: name of the run.
        created: when the run was created, ISO 8601; "" if not known.
        masks: how COCO has the masks.
        whole: whether the pictures are beside the labels.
    """

    out: Path
    classes: tuple[str, ...]
    run: str = ""
    created: str = ""
    masks: Masks = "rle"
    whole: bool = False


class Writer(Protocol):
    """Writes into an existing empty directory; complete when the context is left."""

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


def _text(parent: ET.Element, name: str, value: object) -> None:
    ET.SubElement(parent, name).text = xml_text(str(value))


def _json(value: Any) -> str:
    return escaped_json(json.dumps(_rounded(value), ensure_ascii=False, allow_nan=False))


def _rounded(value: Any) -> Any:
    """`value` for JSON: floats rounded to 4 decimals, NaN and infinity as null."""
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return _rounded_many(value) or [_rounded(item) for item in value]
    return value


def _rounded_many(values: list[Any]) -> list[float] | None:
    """`_rounded` of a long list of finite numbers, such as a polygon; None for other lists.

    A polygon of 300 numbers takes a ninth of the time of one number after the other.
    """
    if len(values) < _LONG or not isinstance(values[0], float):
        return None
    numbers = np.asarray(values)
    if numbers.dtype != np.float64 or not np.isfinite(numbers).all():
        return None
    found: list[float] = numbers.round(4).tolist()
    return found
