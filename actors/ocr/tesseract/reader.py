"""Tesseract 5 as a text reader: PP-OCR finds the lines of a page, Tesseract reads them.

Tesseract's own layout analysis is not used. It drops and invents lines (actors/ocr/README.md); with
PP-OCR's lines, turned and skewed pages, reading order and evidence are those of the other readers.

LICENCE: Tesseract and its language data are Apache-2.0, tesserocr is MIT.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, StringConstraints

from actors.failures import SetupError
from actors.ocr.pp_ocr.detection import FoundLines, Image, found_lines
from actors.ocr.pp_ocr.engines import OpenVinoDetector, Precision
from actors.ocr.pp_ocr.line_reader import LineReader, LineReaderConfig, Reading, wheel_models
from actors.ocr.scripts.page import Scripts
from actors.ocr.tesseract.language_data import (
    ScriptName,
    alphabet,
    data_files,
    data_folder,
    digest,
)

Language = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z_/]*$")]
Languages = Annotated[tuple[Language, ...], Field(min_length=1)]

#: Page segmentation modes: a line of text; a line as it is, without any analysis of its layout. The
#: first reads better (CER 0.3 against 3.0 % on three rendered Cyrillic pages), but returns nothing
#: for one of 13 Arabic lines, which the second then reads.
_LINE, _RAW_LINE = 7, 13
#: Engine mode: the LSTM networks. Debian's data hold no others.
_LSTM = 1
#: Dots per inch that Tesseract assumes; without them it guesses, and warns for every line.
_DPI = 300
#: Pixels of paper around a line.
_PAPER = 10
#: Marks of direction, which Tesseract puts between words of different directions.
_MARKS = dict.fromkeys(map(ord, "\u200e\u200f\u202a\u202b\u202c\u202d\u202e"))

#: The languages to read a page with, joined by "+", e.g. rus+eng; null: those of the config.
PAGE_LANGUAGES = pa.field("page_languages", pa.string())


class TesseractConfig(LineReaderConfig):
    """Tesseract's languages, and the line detection."""

    languages: Languages | dict[ScriptName, Languages] | None = Field(
        None,
        description="Tesseract's names of languages, e.g. [rus, ukr]; with `reader` by script also "
        "languages of each script, e.g. {cyrillic: [rus, ukr]}. null: eng, or the most common "
        "language of each script",
    )
    tessdata: Path | None = Field(
        None,
        description="folder of the .traineddata files; null: that of the environment variable "
        "TESSDATA_PREFIX, else Debian's",
    )
    precision: Precision = Field(
        "auto", description="precision of the line detection; see ocr.precision"
    )

    @property
    def choices(self) -> list[tuple[str, ...]]:
        """Every list of languages that pages are read with; the first one is the default."""
        if isinstance(self.languages, dict):
            return list(dict.fromkeys(self.languages.values())) or [("eng",)]
        return [self.languages or ("eng",)]


class Tesseract(LineReader[TesseractConfig]):
    """See `LineReader`. Scores are means of the words' confidences, weighted by their characters.

    Right-to-left text is in logical order.
    """

    def __init__(self, config: TesseractConfig) -> None:
        """Raises SetupError if tesserocr or the data of a language are missing."""
        super().__init__(config)
        os.environ["OMP_THREAD_LIMIT"] = str(config.threads)  # read once, as the library is loaded
        try:
            self._library: Any = importlib.import_module("tesserocr")
        except ImportError as error:
            raise SetupError(
                f"cannot import tesserocr in this worker's environment: {error}",
                "pip install 'nightjar[tesseract]', and Debian's packages tesseract-ocr-* for the "
                "language data",
            ) from error
        folder = data_folder(config.tessdata)
        self._files = data_files(folder, {name for one in config.choices for name in one})
        self._detection = wheel_models() / "PP-OCRv6_det_small.onnx"
        self._detector = OpenVinoDetector(config.precision, config.threads, self._detection)
        self._version = self._library.tesseract_version().split()[1]
        self._readers = {"+".join(one): self._loaded(folder, one) for one in config.choices}
        self._scripts_of = {"+".join(one): Scripts(alphabet(one)) for one in config.choices}
        self._speak("+".join(config.choices[0]))

    def _loaded(self, folder: Path, languages: Sequence[str]) -> Any:
        try:
            reader = self._library.PyTessBaseAPI(
                path=f"{folder}/", lang="+".join(languages), oem=_LSTM, psm=_LINE
            )
        except RuntimeError as error:
            raise SetupError(
                f"Tesseract cannot load {', '.join(languages)} from {folder}: {error}",
                "install the language data again",
            ) from error
        reader.SetVariable("debug_file", os.devnull)
        return reader

    def _speak(self, languages: str) -> None:
        """Read the next lines with `languages`, e.g. rus+eng."""
        self._reader = self._readers[languages]
        self._scripts = self._scripts_of[languages]
        self.engine = f"tesseract {self._version} {languages}"

    def provenance(self) -> dict[str, str]:
        return {
            "engine": f"tesseract {self._version}",
            "tesserocr": version("tesserocr"),
            "languages": ", ".join(self._readers),
            "det": self._detection.name,
            "det_sha256": digest(self._detection),
        } | {f"{name}_sha256": digest(path) for name, path in sorted(self._files.items())}

    def find_lines(self, page: Image, small: Image) -> FoundLines:
        size = (page.shape[0], page.shape[1])
        return found_lines(self._detector.detect(small), size, self.config.detection)

    def read_lines(self, crops: Sequence[Image]) -> list[Reading]:
        """The text of each BGR line (48, W, 3), in input order. Lines are not batched."""
        return [self._read(line) for line in crops]

    def recognise(self, lines: npt.NDArray[np.uint8]) -> list[Reading]:
        return self.read_lines(list(lines))

    def _read(self, line: Image) -> Reading:
        gray = cv2.cvtColor(line, cv2.COLOR_BGR2GRAY)
        page = np.pad(gray, _PAPER, constant_values=int(np.median(gray)))
        height, width = page.shape
        for mode in (_LINE, _RAW_LINE):
            self._reader.SetPageSegMode(mode)
            self._reader.SetImageBytes(page.tobytes(), width, height, 1, width)
            self._reader.SetSourceResolution(_DPI)
            text = " ".join(self._reader.GetUTF8Text().translate(_MARKS).split())
            if text:
                return text, _score(self._reader.MapWordConfidences())
        return "", None


def _score(words: Sequence[tuple[str, int]]) -> float | None:
    """Mean confidence (0..1) of words with confidences of 0 to 100, weighted by characters."""
    total = sum(len(word) for word, _ in words)
    if not total:
        return None
    return sum(len(word) * sure for word, sure in words) / total / 100


class TesseractByScript(Tesseract):
    """`Tesseract` with languages of its own for each page: the column PAGE_LANGUAGES."""

    reads = pa.schema([*Tesseract.reads, PAGE_LANGUAGES])

    def __call__(self, rows: pa.Table) -> pa.Table:
        asked = rows[PAGE_LANGUAGES.name].to_pylist()
        default = next(iter(self._readers))
        places: dict[str, list[int]] = {}
        for place, languages in enumerate(asked):
            places.setdefault(languages or default, []).append(place)
        parts = []
        for languages, own in places.items():
            self._speak(languages)
            parts.append(super().__call__(rows.take(own)))
        read = pa.concat_tables(parts) if parts else super().__call__(rows)
        order = np.argsort([place for own in places.values() for place in own])
        return read.take(order) if parts else read
