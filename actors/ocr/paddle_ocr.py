"""PaddleOCR 3.7 as a text reader. It needs its own virtual environment.

PaddleOCR's pipeline reads one page at a time and pads every crop to at least 320 columns. This
actor calls its detector and its recogniser separately. Lines are then packed across pages, as in
`rapid_ocr`. The library still preprocesses pixels, runs the networks and decodes.

LICENCE: PaddleOCR, PaddleX and the PP-OCR weights are Apache-2.0.
"""

from __future__ import annotations

import importlib
import os
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from actors.failures import SetupError
from actors.ocr.pp_ocr.detection import FoundLines, Image, on_page
from actors.ocr.pp_ocr.line_reader import LineReader, LineReaderConfig, Reading
from actors.ocr.pp_ocr.paddle_models import embedded, model_digest
from actors.ocr.pp_ocr.widths import narrowed
from actors.ocr.scripts.classes import VIETNAMESE, Alphabet

PaddleEngine = Literal["onnxruntime", "paddle", "transformers"]
Script = Literal[
    "general",
    "latin",
    "eslav",
    "cyrillic",
    "arabic",
    "devanagari",
    "korean",
    "th",
    "el",
    "te",
    "ta",
]

#: Classes that each recogniser reads beside Latin, by PaddleOCR's documentation.
_READS: dict[Script, tuple[str, ...]] = {
    "general": ("Hani",),
    "latin": (VIETNAMESE,),
    "eslav": ("Cyrl",),
    "cyrillic": ("Cyrl",),
    "arabic": ("Arab",),
    "devanagari": ("Deva",),
    "korean": ("Hang",),
    "th": ("Thai",),
    "el": ("Grek",),
    "te": ("Telu",),
    "ta": ("Taml",),
}

#: Limits that no page reaches, so that the detector does not resize its input.
_NO_LEAST, _NO_MOST = 32, 10**6


class PaddleOcrConfig(LineReaderConfig):
    """PaddleOCR's models and runtime, and the line detection."""

    engine: PaddleEngine = Field(
        "onnxruntime",
        description="runtime; paddle needs paddlepaddle in the pool's environment, transformers "
        "needs torch",
    )
    device: str = Field("cpu", pattern=r"^(cpu|gpu(:\d+)?)$", description="cpu, gpu or gpu:N")
    script: Script = Field(
        "general",
        description="general: PP-OCRv6 (Chinese, Japanese, Latin script); others: the PP-OCRv5 "
        "recogniser of that script; eslav: Russian, Belarusian, Ukrainian",
    )
    det_model: str = Field("PP-OCRv6_small_det", description="PaddleOCR's name of the detector")
    rec_model: str | None = Field(
        None, description="PaddleOCR's name of the recogniser; null: chosen by `script`"
    )
    det_dir: Path | None = Field(
        None,
        description="the detector's directory in PaddleOCR's layout; null: for PP-OCRv6_small on "
        "onnxruntime the files in rapidocr's wheel, else PaddleOCR downloads them",
    )
    rec_dir: Path | None = Field(None, description="the same for the recogniser")

    @property
    def recogniser(self) -> str:
        """PaddleOCR's name of the recogniser."""
        if self.rec_model:
            return self.rec_model
        return "PP-OCRv6_small_rec" if self.script == "general" else _PPOCR_V5.format(self.script)


_PPOCR_V5 = "{}_PP-OCRv5_mobile_rec"


class PaddleOcr(LineReader[PaddleOcrConfig]):
    """See `LineReader`. Scores are PaddleOCR's means over characters; null for an empty text."""

    def __init__(self, config: PaddleOcrConfig) -> None:
        """Raises SetupError if paddleocr, the engine or the weights are missing."""
        super().__init__(config)
        os.environ.setdefault("PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK", "True")
        try:
            library = importlib.import_module("paddleocr")
        except ImportError as error:
            raise SetupError(
                f"cannot import paddleocr in this worker's environment: {error}",
                "run `make engines` and set paddle_ocr_pool.environment: paddle_ocr",
            ) from error
        _check_engine(config.engine)
        limits = config.detection
        detector, recogniser = config.det_model, config.recogniser
        self._folders = {
            "det": _folder(config, detector, config.det_dir),
            "rec": _folder(config, recogniser, config.rec_dir),
        }
        self._detector = _opened(
            library.TextDetection,
            config,
            detector,
            self._folders["det"],
            limit_type="min",
            limit_side_len=_NO_LEAST,
            thresh=limits.threshold,
            box_thresh=limits.box_threshold,
            unclip_ratio=limits.unclip_ratio,
        )
        self._recogniser = _opened(
            library.TextRecognition, config, recogniser, self._folders["rec"]
        )
        models = recogniser.replace("_rec", "")
        known = not config.rec_model
        self.alphabet = Alphabet(frozenset({"Latn", *_READS[config.script]})) if known else None
        self.engine = f"paddle_ocr {version('paddleocr')} {models} {config.engine} {config.device}"

    def provenance(self) -> dict[str, str]:
        digests = {
            f"{role}_sha256": model_digest(folder)
            for role, folder in self._folders.items()
            if folder is not None
        }
        return {"engine": self.engine, "det": self.config.det_model} | digests

    def find_lines(self, page: Image, small: Image) -> FoundLines:
        (found,) = self._detector.predict(small, batch_size=1, max_side_limit=_NO_MOST)
        quads = np.array(found["dt_polys"], np.float32)
        sizes = (small.shape[0], small.shape[1]), (page.shape[0], page.shape[1])
        return FoundLines(on_page(quads, *sizes))  # the predictor does not return its map

    def recognise(self, lines: npt.NDArray[np.uint8]) -> list[Reading]:
        """Full-width forms are mended, spaces are not: the library returns no columns."""
        answers = self._recogniser.predict(list(lines), batch_size=len(lines))
        return [
            (narrowed(one["rec_text"]), float(one["rec_score"])) if one["rec_text"] else ("", None)
            for one in answers
        ]


def _check_engine(engine: PaddleEngine) -> None:
    """Fail early: PaddleOCR would first try to download weights, for 20 s.

    Raises SetupError.
    """
    package = {"paddle": "paddle", "transformers": "torch"}.get(engine, engine)
    if find_spec(package) is None:
        raise SetupError(
            f"engine {engine}: package {package} is missing in this worker's environment",
            f"install {'paddlepaddle' if engine == 'paddle' else package} into the pool's "
            "environment, or set paddle_ocr.engine: onnxruntime",
        )


def _folder(config: PaddleOcrConfig, model: str, chosen: Path | None) -> Path | None:
    """The directory of a model; None: PaddleOCR finds or downloads it. Raises SetupError."""
    if chosen is not None:
        if not chosen.is_dir():
            raise SetupError(
                f"directory {chosen} does not exist",
                "set det_dir and rec_dir to model directories in PaddleOCR's layout",
            )
        return chosen
    return embedded(model) if config.engine == "onnxruntime" else None


def _opened(
    kind: Any, config: PaddleOcrConfig, model: str, folder: Path | None, **limits: Any
) -> Any:
    onnx = {
        "intra_op_num_threads": config.threads,
        "inter_op_num_threads": 1,
        "log_severity_level": 3,
    }
    try:
        return kind(
            model_name=model,
            model_dir=str(folder) if folder else None,
            engine=config.engine,
            device=config.device,
            engine_config=onnx if config.engine == "onnxruntime" else None,
            cpu_threads=config.threads,
            **limits,
        )
    except Exception as error:  # RuntimeError, ValueError, bare Exception: no package, no weights
        raise SetupError(
            f"PaddleOCR cannot load {model} with engine {config.engine}: "
            f"{type(error).__name__}: {error}",
            "check the models' names and the engine, or set det_dir and rec_dir to their "
            "directories",
        ) from error
