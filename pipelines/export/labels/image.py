"""One labelled image, and the interface of label writers."""

from __future__ import annotations

import json
import math
import os
import re
import xml.etree.ElementTree as ET
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, Self

from pipelines.decisions.triage import Label
from pipelines.export.characters import escaped_json, xml_text
from pipelines.storage.objects import is_bucket, local_path, plain_path, split_member


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
        """A unique file name: the stem of the source and the row id."""
        stem = Path(split_member(self.uri)[1] or plain_path(self.uri)).stem
        readable = re.sub(r"[^\w.-]", "_", stem)[:80]
        return f"{readable}-{self.row_id % (1 << 64):016x}"

    @property
    def suffix(self) -> str:
        """The suffix of the source, in lower case, with `_` for odd characters."""
        return re.sub(r"[^\w.-]", "_", Path(self.uri).suffix.lower())[:16]

    @property
    def local(self) -> Path | None:
        """The path of a local file that is no member of an archive."""
        if is_bucket(self.uri) or split_member(self.uri)[1] is not None:
            return None
        return Path(os.fsdecode(local_path(self.uri)))


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
        return [_rounded(item) for item in value]
    return value
