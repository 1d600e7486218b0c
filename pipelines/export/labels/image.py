"""One labelled image, and what a writer of labels must offer."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, Self

from pipelines.decisions.triage import Label
from pipelines.storage.objects import split_member


@dataclass(frozen=True)
class LabelledImage:
    """One image of an export.

    Attributes:
        number: 1, 2, ... in the order of the export.
        uri, page: where it came from.
        width, height: of the upright image, pixels; all boxes and masks refer to it.
        outcome: what the run said.
        reviewed: accept or correct, where `labels` are a reviewer's; else None.
        labels: a reviewer's, or the run's.
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
