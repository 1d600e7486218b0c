"""Runtimes for the PP-OCR networks: OpenVINO and ONNX Runtime, with one interface.

An engine is asked for by name and there is no silent fallback: what is missing raises SetupError.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

from actors.failures import SetupError

Engine = Literal["openvino", "onnxruntime", "onnxruntime-cuda"]
Precision = Literal["auto", "f32", "bf16"]
Pixels = MatLike  # uint8, BGR


class Networks(Protocol):
    """Both networks, loaded. `characters`: classes of the recogniser, blank first."""

    name: str
    characters: list[str]

    def detect(self, page: Pixels) -> npt.NDArray[np.float32]:
        """BGR page (H, W, 3), sides multiples of 32 -> probability of text (H, W), 0..1."""

    def recognise(self, lines: Pixels) -> tuple[npt.NDArray[np.int64], Probability]:
        """BGR lines (N, 48, W, 3) -> class of each column (N, T), and how sure it is."""


#: Boolean (N, T): which columns are asked about -> their probabilities (n,), 0..1, row by row.
Probability = Callable[[npt.NDArray[np.bool_]], npt.NDArray[np.float32]]


def load_networks(
    engine: Engine, precision: Precision, threads: int, det: Path, rec: Path
) -> Networks:
    """Raises SetupError where a file, a package or a device is missing."""
    for path in (det, rec):
        if not path.is_file():
            raise SetupError(
                f"no model file {path}",
                "set ocr.det_model and ocr.rec_model to ONNX files, or leave them out to take "
                "those in rapidocr's wheel",
            )
    if engine == "openvino":
        return OpenVino(precision, threads, det, rec)
    return OnnxRuntime(threads, det, rec, cuda=engine == "onnxruntime-cuda")


class OpenVino:
    """On the CPU. Precision `auto` is the CPU's own: bf16 where it has the instructions."""

    def __init__(self, precision: Precision, threads: int, det: Path, rec: Path) -> None:
        import openvino as ov

        from actors.ocr.pp_ocr import openvino_graphs as graphs

        self._tensor = ov.Tensor
        core = ov.Core()
        # OpenVINO pins, and the first thread of every process to core 0: two workers on two cores
        # read 24 pages in 10.6 s, one worker in 10.7 s, two that are not pinned in 5.7 s.
        options: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        if precision != "auto":
            options["INFERENCE_PRECISION_HINT"] = precision
        detector = core.compile_model(graphs.detector(core, det), "CPU", options)
        recogniser = core.compile_model(graphs.recogniser(core, rec), "CPU", options)
        self._detect = detector.create_infer_request()
        self._recognise = recogniser.create_infer_request()
        self.characters = graphs.characters(core, rec)
        hint = recogniser.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.name = f"openvino {hint}"

    def detect(self, page: Pixels) -> npt.NDArray[np.float32]:
        self._detect.infer([self._tensor(page[None], shared_memory=True)])
        result: npt.NDArray[np.float32] = self._detect.get_output_tensor().data[0, 0]
        return result

    def recognise(self, lines: Pixels) -> tuple[npt.NDArray[np.int64], Probability]:
        self._recognise.infer([self._tensor(lines, shared_memory=True)])
        logits = self._recognise.get_output_tensor().data

        def probability(asked: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
            chosen = logits[asked]
            peak = chosen.max(axis=1, keepdims=True)
            sure: npt.NDArray[np.float32] = 1 / np.exp(chosen - peak).sum(axis=1)
            return sure

        return logits.argmax(axis=2), probability


class OnnxRuntime:
    """On the CPU, or on a CUDA device."""

    def __init__(self, threads: int, det: Path, rec: Path, *, cuda: bool) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        provider = "CUDAExecutionProvider" if cuda else "CPUExecutionProvider"
        if provider not in ort.get_available_providers():
            raise SetupError(
                f"engine onnxruntime-cuda: this worker's onnxruntime offers "
                f"{', '.join(ort.get_available_providers())}",
                "install onnxruntime-gpu in the worker's environment, or set ocr.engine: openvino",
            )
        # EXHAUSTIVE, the default, searches anew for every new line width.
        settings = {"cudnn_conv_algo_search": "DEFAULT"} if cuda else {}
        self._detector, self._recogniser = (
            ort.InferenceSession(str(path), options, providers=[(provider, settings)])
            for path in (det, rec)
        )
        if self._recogniser.get_providers()[0] != provider:
            raise SetupError(
                f"engine onnxruntime-cuda: {provider} did not start on this worker",
                "check its CUDA libraries and num_gpus of the pool, or set ocr.engine: openvino",
            )
        listed = self._recogniser.get_modelmeta().custom_metadata_map["character"]
        self.characters = ["", *listed.splitlines(), " "]
        self.name = f"onnxruntime {ort.__version__} {'cuda' if cuda else 'cpu'} f32"

    def detect(self, page: Pixels) -> npt.NDArray[np.float32]:
        result: npt.NDArray[np.float32] = _run(self._detector, page[None])[0, 0]
        return result

    def recognise(self, lines: Pixels) -> tuple[npt.NDArray[np.int64], Probability]:
        probabilities = _run(self._recogniser, lines)
        return probabilities.argmax(axis=2), lambda asked: probabilities[asked].max(axis=1)


def _run(session: Any, pixels: Pixels) -> Any:
    """uint8 (N, H, W, 3) through a session that takes (x - 127.5) / 127.5 as (N, 3, H, W)."""
    values = (pixels.transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 127.5
    return session.run(None, {session.get_inputs()[0].name: values})[0]
