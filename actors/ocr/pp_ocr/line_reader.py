"""Base class of readers with two networks, a line detector and a text recogniser.

Detection runs page by page. The line crops of all pages of a batch are then pooled, sorted by width
and recognised in batches with little padding (`actors.ocr.pp_ocr.packing`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import ClassVar, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from actors.contract import Actor, Settings, appended
from actors.failures import FAILURE, FailureKind, FailureValue, SetupError, failure
from actors.images.turning import turned
from actors.lines import READING, LineValue, ReadingValue
from actors.ocr.pp_ocr.detection import (
    LINE_HEIGHT,
    DetectionConfig,
    FoundLines,
    Image,
    crop,
    detector_input,
)
from actors.ocr.pp_ocr.ink import coverage, ink_cells
from actors.ocr.pp_ocr.joined import parted
from actors.ocr.pp_ocr.orientation import lines_to_judge, turn_needed
from actors.ocr.pp_ocr.packing import TAIL, pack
from actors.ocr.reading_order import judged_order
from actors.ocr.scripts.classes import Alphabet
from actors.ocr.scripts.page import Scripts

#: Text of one line and its score, 0..1; the score is None if no text was read.
Reading = tuple[str, float | None]

#: Gray value of the padding; it is 0 after normalisation, as in training.
_PADDING = 127


class LineReaderConfig(Settings):
    """Line detection and batching."""

    operational: ClassVar[frozenset[str]] = frozenset({"threads", "lines_per_batch"})

    threads: int = Field(
        1,
        ge=1,
        description="threads per worker; for many pages, more workers are faster than more threads",
    )
    detection: DetectionConfig = DetectionConfig()
    turn_pages: bool = Field(
        True,
        description="find pages that are turned by 90, 180 or 270 degrees and read them upright",
    )
    lines_per_batch: int = Field(
        4, ge=1, description="lines per recognition batch: 4 on a CPU, 32 and more on a GPU"
    )


class LinesRead(ReadingValue, total=False):
    """The columns that `LineReader` writes for one page; a missing key is a null."""

    ocr_failure: FailureValue | None


@dataclass
class _Page:
    """One page between detection and recognition.

    Attributes:
        columns: the output columns, still without `ocr_lines`.
        quads: (N, 4, 2) float32, pixels of the page; None if the detector did not run.
        crops: crops of the N lines.
        readings: of the N lines; empty before recognition.
        scripts: of the N lines; empty before they are known.
    """

    columns: LinesRead = field(default_factory=LinesRead)
    quads: npt.NDArray[np.float32] | None = None
    crops: list[Image] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    scripts: list[str | None] = field(default_factory=list)


C = TypeVar("C", bound=LineReaderConfig)


class LineReader(Actor[C]):
    """Reads pages. A null `image` gives nulls.

    * `ocr_lines`: in reading order, polygons in pixels of the upright page. Weak lines are not
      dropped: a line that was found but not read keeps its polygon, with the text "" and a null
      score.
    * `ink_share`: share (0..1) of the page's cells with ink.
    * `ink_covered`: share of these cells inside a line; null without ink.
    * `text_outside`: see `actors.ocr.pp_ocr.detection.FoundLines`.
    * `rotation`: degrees clockwise by which the page was turned (`actors.ocr.pp_ocr.orientation`);
      null without `turn_pages`.
    * `script`, `unread_script`, `unread_letters`, `unread_ink`: see `actors.ocr.scripts.page`.
    * `order_doubt`: see `actors.ocr.order.doubt`.
    * `ocr_failure`: CORRUPT_IMAGE.
    """

    reads = pa.schema([("image", pa.binary())])
    writes = pa.schema([*READING, ("ocr_failure", FAILURE)])
    failure_column = "ocr_failure"

    alphabet: Alphabet | None  #: what the recogniser can read; None: unknown
    engine: str  #: value of the column `ocr_engine`; its first word is the reader's name

    def __init__(self, config: C) -> None:
        super().__init__(config)
        cv2.setNumThreads(config.threads)

    @abstractmethod
    def find_lines(self, page: Image, small: Image) -> FoundLines:
        """The text lines of a BGR page (H, W, 3); `small` is the page at the detector's size."""

    @abstractmethod
    def recognise(self, lines: npt.NDArray[np.uint8]) -> list[Reading]:
        """The texts of BGR lines (N, 48, W, 3) of equal width."""

    def __call__(self, rows: pa.Table) -> pa.Table:
        files = rows["image"].to_pylist()
        pages = [self._found(data) for data in files]
        self._recognise_pages(pages)
        with self.timed("turn"):
            turns = [self._turn_missed(page) for page in pages]
        again = {place: turn for place, turn in enumerate(turns) if turn is not None}
        for place, turn in again.items():
            pages[place] = self._found(files[place], turn)
        self._recognise_pages([pages[place] for place in again])
        with self.timed("scripts"):
            for page in pages:
                self._find_scripts(page)
        with self.timed("order"):
            for page in pages:
                if page.quads is not None:
                    page.columns |= _in_order(page.quads, page.readings, page.scripts)
        return appended(rows, self.writes, [page.columns for page in pages])

    def _found(self, data: bytes | None, turn: int | None = None) -> _Page:
        """Line crops and ink of one page, or its failure.

        `turn`: degrees clockwise by which the page is turned; None: as its lines say.
        """
        if data is None:
            return _Page()
        with self.timed("decode"):
            page = decoded(data)
        if page is None:
            fault = failure(FailureKind.CORRUPT_IMAGE, "OpenCV cannot decode the image")
            return _Page({"ocr_failure": fault})
        page = turned(page, turn or 0)
        small, found = self._detected(page)
        if turn is None and self.config.turn_pages:
            with self.timed("turn"):
                turn = self._turn_of_sideways(page, found.quads)
            if turn:
                page = turned(page, turn)
                small, found = self._detected(page)
        with self.timed("crop"):
            quads = parted(page, found.quads)
            crops = [crop(page, quad) for quad in quads]
        with self.timed("ink"):
            share, covered = coverage(ink_cells(small), quads, (page.shape[0], page.shape[1]))
        columns: LinesRead = {
            "ink_share": share,
            "ink_covered": covered,
            "text_outside": found.outside,
            "rotation": turn,
            "ocr_engine": self.engine,
        }
        return _Page(columns, quads, crops)

    def _detected(self, page: Image) -> tuple[Image, FoundLines]:
        """The page at the detector's size, and its lines."""
        with self.timed("detect"):
            small = detector_input(page, self.config.detection)
            return small, self.find_lines(page, small)

    def _turn_of_sideways(self, page: Image, quads: npt.NDArray[np.float32]) -> int:
        """The turn that a page needs, if its lines do not run from left to right; else 0."""
        judged = lines_to_judge(quads)
        if judged.direction == 0:
            return 0
        crops = [crop(page, quads[place]) for place in judged.places]
        return turn_needed(judged, crops, self.read_lines(crops), self.read_lines)

    def _turn_missed(self, page: _Page) -> int | None:
        """The right turn of a page that was read upside down; None for all others.

        Only now the scores are known that tell most upright pages without further reading.
        """
        before = page.columns.get("rotation")
        if before is None or page.quads is None:
            return None
        judged = lines_to_judge(page.quads)
        if judged.direction != 0:
            return None
        crops = [page.crops[place] for place in judged.places]
        readings = [page.readings[place] for place in judged.places]
        more = turn_needed(judged, crops, readings, self.read_lines)
        return (before + more) % 360 if more else None

    def _recognise_pages(self, pages: Sequence[_Page]) -> None:
        """Set `readings` of every page; their lines are read together."""
        with self.timed("recognise"):
            readings = iter(self.read_lines([line for page in pages for line in page.crops]))
        for page in pages:
            page.readings = list(islice(readings, len(page.crops)))

    def _find_scripts(self, page: _Page) -> None:
        """Set `scripts` of a page, and its columns about scripts."""
        texts = [reading[0] for reading in page.readings]
        scores = [reading[1] for reading in page.readings]
        found = self._scripts.of_page(page.crops, texts, scores)
        page.scripts = found.lines
        if page.quads is not None:
            page.columns["script"] = found.page
            page.columns["unread_script"] = found.unread_script
            page.columns["unread_letters"] = found.unread_letters
            page.columns["unread_ink"] = found.unread_ink

    @cached_property
    def _scripts(self) -> Scripts:
        return Scripts(self.alphabet)

    def read_lines(self, crops: Sequence[Image]) -> list[Reading]:
        """The text of each BGR line (48, W, 3), in input order."""
        answers: list[Reading] = [("", None)] * len(crops)
        widths = [line.shape[1] for line in crops]
        for batch in pack(widths, self.config.lines_per_batch):
            lines = stacked([crops[i] for i in batch])
            for index, answer in zip(batch, self.recognise(lines), strict=True):
                answers[index] = answer
        return answers


def decoded(data: bytes) -> Image | None:
    """BGR page (H, W, 3) from encoded bytes; None if they are not an image.

    The EXIF orientation is ignored, because the fetch stage has already applied it.
    """
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        page: Image | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # `data` is empty
        return None
    return page


def stacked(crops: Sequence[Image]) -> npt.NDArray[np.uint8]:
    """One batch (N, 48, W + TAIL, 3) of crops of equal width."""
    columns = crops[0].shape[1]
    batch = np.full((len(crops), LINE_HEIGHT, columns + TAIL, 3), _PADDING, np.uint8)
    for row, line in zip(batch, crops, strict=True):
        row[:, :columns] = line
    return batch


def wheel_models() -> Path:
    """The directory of the ONNX files in rapidocr's wheel. Raises SetupError."""
    spec = find_spec("rapidocr")  # not imported, because that would import three runtimes
    if spec is None or spec.origin is None:
        raise SetupError(
            "the package rapidocr is not installed", "install it, or set the paths of model files"
        )
    return Path(spec.origin).parent / "models"


def _in_order(
    quads: npt.NDArray[np.float32], readings: Sequence[Reading], scripts: Sequence[str | None]
) -> LinesRead:
    """The lines of one page in reading order, and the doubt about it."""
    lines: list[LineValue] = [
        {"text": text, "score": score, "polygon": quad.ravel().tolist(), "script": script}
        for quad, (text, score), script in zip(quads, readings, scripts, strict=True)
    ]
    places, doubt = judged_order(quads, [line["text"] for line in lines])
    ordered: list[LineValue] = [
        {**lines[p.index], "row": p.row, "column": p.column} for p in places
    ]
    return {"ocr_lines": ordered, "order_doubt": doubt}
