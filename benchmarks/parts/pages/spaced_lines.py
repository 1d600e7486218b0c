"""Lines of pages with known words, as the recogniser reads them: the evidence for their blanks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from actors.ocr.pp_ocr.detection import DetectionConfig, crop, detector_input, line_quads
from actors.ocr.pp_ocr.engines import Engine, Networks, load_networks
from actors.ocr.pp_ocr.line_reader import stacked, wheel_models
from actors.ocr.pp_ocr.widths import narrowed
from parts.pages.word_pages import Page, truth_in


class ReadLine(NamedTuple):
    """One line. `read`: its n characters; `columns` (n,), `odds` (T,): see `spaces.gaps_of`."""

    truth: str
    read: str
    columns: npt.NDArray[np.int64]
    odds: npt.NDArray[np.float32]

    @property
    def letters_right(self) -> bool:
        """Whether only blanks can differ."""
        return "".join(self.read.split()) == "".join(self.truth.split())


def networks(engine: Engine = "openvino") -> Networks:
    """The networks of the bundled reader on one thread."""
    wheel = wheel_models()
    files = (wheel / "PP-OCRv6_det_small.onnx", wheel / "PP-OCRv6_rec_small.onnx")
    return load_networks(engine, "auto", 1, *files)


def lines_of(reader: Networks, pages: Iterable[Page]) -> Iterator[ReadLine]:
    """The lines of the pages with a true text. Full-width forms are ASCII already."""
    config = DetectionConfig()
    for page in pages:
        probability = reader.detect(detector_input(page.pixels, config))
        height, width = page.pixels.shape[:2]
        for quad in line_quads(probability, (height, width), config):
            truth = truth_in(page.words, quad)
            if not truth:
                continue
            found = reader.recognise(stacked([crop(page.pixels, quad)]))
            columns = np.flatnonzero(found.kept[0])
            text = "".join(reader.characters[k] for k in found.classes[0, columns])
            yield ReadLine(truth, narrowed(text), columns, found.spaces[0])


def blanks(text: str) -> npt.NDArray[np.bool_]:
    """For each character that is not a blank, the last one excepted: whether a blank follows."""
    ends = np.zeros(len("".join(text.split())), bool)
    ends[np.cumsum([len(word) for word in text.split()]) - 1] = True
    return ends[:-1]
