"""Text reader with RapidOCR's PP-OCRv6 networks."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from actors.contract import Device
from actors.ocr.pp_ocr.detection import FoundLines, Image, found_lines
from actors.ocr.pp_ocr.engines import AlphabetName, Engine, Networks, Precision, load_networks
from actors.ocr.pp_ocr.line_reader import (
    LineReader,
    LineReaderConfig,
    Reading,
    decoded,
    stacked,
    wheel_models,
)
from actors.ocr.pp_ocr.spaces import spaced
from actors.ocr.pp_ocr.widths import narrowed
from actors.ocr.scripts.classes import Alphabet

__all__ = ["RapidOcr", "RapidOcrConfig", "decoded", "stacked"]


class RapidOcrConfig(LineReaderConfig):
    """The networks, their runtime, and the line detection."""

    engine: Engine = Field(
        "openvino", description="runtime of the networks; a missing runtime is an error"
    )
    precision: Precision = Field(
        "auto", description="precision of OpenVINO; auto: bf16 if the CPU supports it, else f32"
    )
    alphabet: AlphabetName = Field(
        "any",
        description="latin: read Latin letters, digits and punctuation only, so that rows of "
        "asterisks or rules do not become Han; any: all characters of the recogniser",
    )
    det_model: Path | None = Field(None, description="ONNX file; null: the one in rapidocr's wheel")
    rec_model: Path | None = Field(None, description="ONNX file; null: the one in rapidocr's wheel")

    @property
    def device(self) -> Device:
        """Where the engine runs; pools are sized by it."""
        return "cuda" if self.engine == "onnxruntime-cuda" else "cpu"


class RapidOcr(LineReader[RapidOcrConfig]):
    """See `LineReader`. It runs RapidOCR's networks without the rapidocr library."""

    def __init__(self, config: RapidOcrConfig) -> None:
        super().__init__(config)
        wheel = wheel_models()
        self._files = {
            "det": config.det_model or wheel / "PP-OCRv6_det_small.onnx",
            "rec": config.rec_model or wheel / "PP-OCRv6_rec_small.onnx",
        }
        self._networks: Networks = load_networks(
            config.engine,
            config.precision,
            config.threads,
            det=self._files["det"],
            rec=self._files["rec"],
            alphabet=config.alphabet,
        )
        self.alphabet = Alphabet.of_characters(self._networks.characters)
        models = self._files["rec"].stem.replace("_rec", "")
        self.engine = f"rapid_ocr {version('rapidocr')} {models} {self._networks.name}"

    def provenance(self) -> dict[str, str]:
        digests = {
            f"{role}_sha256": hashlib.sha256(path.read_bytes()).hexdigest()
            for role, path in self._files.items()
        }
        return {"engine": self.engine, "det": self._files["det"].name} | digests

    def find_lines(self, page: Image, small: Image) -> FoundLines:
        size = (page.shape[0], page.shape[1])
        return found_lines(self._networks.detect(small), size, self.config.detection)

    def recognise(self, lines: npt.NDArray[np.uint8]) -> list[Reading]:
        """Decode, then mend full-width forms and spaces (`widths`, `spaces`).

        A score is the mean probability of the characters that were read; mending leaves it alone.
        """
        columns = self._networks.recognise(lines)
        kept = columns.kept
        scores = np.split(columns.probability(kept), np.cumsum(kept.sum(axis=1))[:-1])
        names = self._networks.characters
        readings: list[Reading] = []
        for line, mask, odds, score in zip(
            columns.classes, kept, columns.spaces, scores, strict=True
        ):
            text = narrowed("".join(names[c] for c in line[mask]))
            text = spaced(text, np.flatnonzero(mask), odds)
            readings.append((text, float(score.mean()) if len(score) else None))
        return readings
