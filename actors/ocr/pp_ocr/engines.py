"""Runtimes for the PP-OCR networks: OpenVINO and ONNX Runtime, with one interface.

There is no silent fallback: a missing engine raises SetupError.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

from actors.failures import SetupError
from actors.ocr.pp_ocr.latin import latin_classes

Engine = Literal["openvino", "onnxruntime", "onnxruntime-cuda"]
Precision = Literal["auto", "f32", "bf16"]
AlphabetName = Literal["any", "latin"]
Pixels = MatLike  # uint8, BGR

#: Columns of 18,710 logits at a time: 1.2 MB.
_STEP = 16
#: Smallest probability that has a logarithm here.
_SMALLEST = 1e-30


#: Boolean mask (N, T) of columns -> probabilities (n,) of their classes, 0..1, row by row.
Probability = Callable[[npt.NDArray[np.bool_]], npt.NDArray[np.float32]]


class Columns(NamedTuple):
    """What the recogniser says of each column of N lines.

    Attributes:
        classes: (N, T) int64, the most probable class.
        spaces: (N, T) float32, log-odds of the space against this class, and against "no character"
            where this class is the space.
        probability: the probabilities of `classes` in the columns that are asked for.
    """

    classes: npt.NDArray[np.int64]
    spaces: npt.NDArray[np.float32]
    probability: Probability

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """(N, T): the columns that become characters.

        Greedy CTC decoding merges equal neighbours and drops "no character" (Graves et al. 2006).
        """
        kept = self.classes != 0
        kept[:, 1:] &= self.classes[:, 1:] != self.classes[:, :-1]
        return kept


class Networks(Protocol):
    """Both loaded networks. `characters`: classes; "no character" is first, the space last."""

    name: str
    characters: list[str]

    def detect(self, page: Pixels) -> npt.NDArray[np.float32]:
        """BGR page (H, W, 3), sides multiples of 32 -> probability of text (H, W), 0..1."""

    def recognise(self, lines: Pixels) -> Columns:
        """Read BGR lines (N, 48, W, 3); T is W / 8."""


def load_networks(
    engine: Engine,
    precision: Precision,
    threads: int,
    det: Path,
    rec: Path,
    alphabet: AlphabetName = "any",
) -> Networks:
    """Load both networks. Raises SetupError if a file, a package or a device is missing.

    With the alphabet `latin` all columns have a class of `latin_classes`. Their probabilities are
    those among all classes, so that a Han character that became a letter has a low score.
    """
    for path in (det, rec):
        if not path.is_file():
            raise SetupError(
                f"model file {path} does not exist",
                "set ocr.det_model and ocr.rec_model to ONNX files, or remove them to use the "
                "files in rapidocr's wheel",
            )
    if engine == "openvino":
        return OpenVino(precision, threads, det, rec, alphabet)
    return OnnxRuntime(threads, det, rec, alphabet, cuda=engine == "onnxruntime-cuda")


def _allowed(alphabet: AlphabetName, characters: list[str]) -> npt.NDArray[np.int64] | None:
    """Classes to choose from; None: all."""
    return latin_classes(characters) if alphabet == "latin" else None


def _best(
    values: npt.NDArray[np.float32], allowed: npt.NDArray[np.int64] | None
) -> npt.NDArray[np.int64]:
    """The class (N, T) with the highest of the values (N, T, classes)."""
    if allowed is None:
        return values.argmax(axis=2)
    return allowed[values[:, :, allowed].argmax(axis=2)]


def _space_and_rival(
    values: npt.NDArray[np.float32], classes: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Values (N, T) of the space and of the class that it is compared with (`Columns.spaces`)."""
    rivals = np.where(classes == values.shape[2] - 1, 0, classes)
    return values[:, :, -1], np.take_along_axis(values, rivals[:, :, None], axis=2)[:, :, 0]


def _softmax(
    logits: npt.NDArray[np.float32],
    classes: npt.NDArray[np.int64],
    asked: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float32]:
    """Probabilities (n,) of `classes` (N, T) in the columns `asked` (N, T).

    `logits`: (N, T, all classes). In steps that fit the cache: 13 instead of 43 ms for 585 columns,
    about a page.
    """
    lines, columns = np.nonzero(asked)
    chosen = logits[lines, columns, classes[asked]]
    sums = np.empty(len(chosen), np.float32)
    with np.errstate(over="ignore"):  # a class far below the best of a masked alphabet
        for start in range(0, len(chosen), _STEP):
            step = slice(start, start + _STEP)
            shares = logits[lines[step], columns[step]]
            shares -= chosen[step, None]
            np.exp(shares, out=shares).sum(axis=1, out=sums[step])
        return np.reciprocal(sums)


class OpenVinoDetector:
    """The detector on the CPU. Precision `auto`: bf16 if the CPU has instructions for it."""

    def __init__(self, precision: Precision, threads: int, det: Path) -> None:
        import openvino as ov

        from actors.ocr.pp_ocr import openvino_graphs as graphs

        self._tensor = ov.Tensor
        self._core = core = ov.Core()
        # OpenVINO pins the first thread of every process to core 0, so workers share one core.
        # Seconds for 24 pages on two cores: one worker 10.7, two workers 10.6, unpinned 5.7.
        self._options: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        if precision != "auto":
            self._options["INFERENCE_PRECISION_HINT"] = precision
        detector = core.compile_model(graphs.detector(core, det), "CPU", self._options)
        self._detect = detector.create_infer_request()
        hint = detector.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.name = f"openvino {hint}"

    def detect(self, page: Pixels) -> npt.NDArray[np.float32]:
        """BGR page (H, W, 3), sides multiples of 32 -> probability of text (H, W), 0..1."""
        self._detect.infer([self._tensor(page[None], shared_memory=True)])
        result: npt.NDArray[np.float32] = self._detect.get_output_tensor().data[0, 0]
        return result


class OpenVino(OpenVinoDetector):
    """Both networks on the CPU."""

    def __init__(
        self, precision: Precision, threads: int, det: Path, rec: Path, alphabet: AlphabetName
    ) -> None:
        from actors.ocr.pp_ocr import openvino_graphs as graphs

        super().__init__(precision, threads, det)
        core = self._core
        recogniser = core.compile_model(graphs.recogniser(core, rec), "CPU", self._options)
        self._recognise = recogniser.create_infer_request()
        self.characters = graphs.characters(core, rec)
        self._allowed = _allowed(alphabet, self.characters)

    def recognise(self, lines: Pixels) -> Columns:
        self._recognise.infer([self._tensor(lines, shared_memory=True)])
        logits = self._recognise.get_output_tensor().data
        classes = _best(logits, self._allowed)

        def probability(asked: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
            return _softmax(logits, classes, asked)

        space, rival = _space_and_rival(logits, classes)
        return Columns(classes, space - rival, probability)


class OnnxRuntime:
    """The networks on the CPU or on a CUDA device."""

    def __init__(
        self, threads: int, det: Path, rec: Path, alphabet: AlphabetName, *, cuda: bool
    ) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        provider = "CUDAExecutionProvider" if cuda else "CPUExecutionProvider"
        if provider not in ort.get_available_providers():
            raise SetupError(
                f"engine onnxruntime-cuda: this worker's onnxruntime has no CUDA; it offers "
                f"{', '.join(ort.get_available_providers())}",
                "install onnxruntime-gpu in the worker's environment, or set ocr.engine: openvino",
            )
        # The default, EXHAUSTIVE, repeats its search for every new line width.
        settings = {"cudnn_conv_algo_search": "DEFAULT"} if cuda else {}
        self._detector, self._recogniser = (
            ort.InferenceSession(str(path), options, providers=[(provider, settings)])
            for path in (det, rec)
        )
        if self._recogniser.get_providers()[0] != provider:
            raise SetupError(
                f"engine onnxruntime-cuda: {provider} did not start on this worker",
                "check the worker's CUDA libraries and the pool's num_gpus, or set ocr.engine: "
                "openvino",
            )
        listed = self._recogniser.get_modelmeta().custom_metadata_map["character"]
        self.characters = ["", *listed.splitlines(), " "]
        self._allowed = _allowed(alphabet, self.characters)
        self.name = f"onnxruntime {ort.__version__} {'cuda' if cuda else 'cpu'} f32"

    def detect(self, page: Pixels) -> npt.NDArray[np.float32]:
        result: npt.NDArray[np.float32] = _run(self._detector, page[None])[0, 0]
        return result

    def recognise(self, lines: Pixels) -> Columns:
        probabilities = _run(self._recogniser, lines)
        classes = _best(probabilities, self._allowed)

        def probability(asked: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
            chosen = classes[asked][:, None]
            sure: npt.NDArray[np.float32] = np.take_along_axis(
                probabilities[asked], chosen, axis=1
            )[:, 0]
            return sure

        space, rival = np.log(np.maximum(_space_and_rival(probabilities, classes), _SMALLEST))
        return Columns(classes, space - rival, probability)


def _run(session: Any, pixels: Pixels) -> Any:
    """Run uint8 `pixels` (N, H, W, 3), as (x - 127.5) / 127.5 in shape (N, 3, H, W)."""
    values = (pixels.transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 127.5
    return session.run(None, {session.get_inputs()[0].name: values})[0]
