"""Process of one contestant: load, read one page, print READY, wait for GO, read all, answer."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from parts.together import answer_together

#: page name -> lines, each [text, x0, y0, x1, y1] with its box in pixels
Lines = dict[str, list[list[Any]]]
Reader = Callable[[], Lines]


def main() -> None:
    kind, engine, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    prepare = {"rapidocr": rapidocr_loop, "floor": floor, "actor": actor}[kind]

    def prepared(pages: list[str]) -> Callable[[], Any]:
        read = prepare(engine, threads, pages)

        def answer() -> dict[str, Any]:
            texts = read()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
            return {"texts": texts, "peak_mb": peak}

        return answer

    answer_together(prepared)


def rapidocr_loop(engine: str, threads: int, pages: list[str]) -> Reader:
    """The library's own loop: one call per page. `threads` 0: the library's default."""
    from rapidocr import EngineType, RapidOCR

    chosen = EngineType(engine)
    parameters: dict[str, Any] = {
        "Global.log_level": "error",
        "Det.engine_type": chosen,
        "Cls.engine_type": chosen,
        "Rec.engine_type": chosen,
    }
    if threads:
        import cv2

        cv2.setNumThreads(threads)
        name = "intra_op_num_threads" if engine == "onnxruntime" else "inference_num_threads"
        parameters[f"EngineConfig.{engine}.{name}"] = threads
    library = RapidOCR(params=parameters)
    library(pages[0])

    def read() -> Lines:
        found: Lines = {}
        for page in pages:
            answer = library(page)
            boxes = [] if answer.boxes is None else answer.boxes
            found[Path(page).name] = [
                [text, *map(float, (*box.min(axis=0), *box.max(axis=0)))]
                for text, box in zip(answer.txts or (), boxes, strict=True)
            ]
        return found

    return read


def actor(engine: str, threads: int, pages: list[str]) -> Reader:
    """Our actor without Ray: models, decoding and packing."""
    import pyarrow as pa

    from actors.ocr.rapid_ocr import RapidOcr, RapidOcrConfig

    reader = RapidOcr(RapidOcrConfig.model_validate({"engine": engine, "threads": threads}))

    def rows(some: list[str]) -> pa.Table:
        return pa.table({"image": pa.array([Path(p).read_bytes() for p in some], pa.binary())})

    def read() -> Lines:
        found: Lines = {}
        for start in range(0, len(pages), 16):
            some = pages[start : start + 16]
            for page, lines in zip(some, reader(rows(some))["ocr_lines"].to_pylist(), strict=True):
                found[Path(page).name] = [boxed(line) for line in lines]
        return found

    reader(rows(pages[:1]))
    return read


def boxed(line: dict[str, Any]) -> list[Any]:
    """[text, x0, y0, x1, y1] of one of our lines."""
    xs, ys = line["polygon"][::2], line["polygon"][1::2]
    return [line["text"], min(xs), min(ys), max(xs), max(ys)]


def floor(engine: str, threads: int, pages: list[str]) -> Reader:
    """The compiled networks alone on prepared inputs in ideal batches: no decoding, no cropping, no
    text, no reading order. Pages are prepared 16 at a time, like the batches of a run."""
    from actors.ocr.pp_ocr.detection import crop, detector_input
    from actors.ocr.pp_ocr.line_reader import decoded, stacked
    from actors.ocr.pp_ocr.packing import pack
    from actors.ocr.rapid_ocr import RapidOcr, RapidOcrConfig

    reader = RapidOcr(RapidOcrConfig.model_validate({"engine": engine, "threads": threads}))
    networks = reader._networks
    inputs: list[np.ndarray[Any, Any]] = []
    batches: list[np.ndarray[Any, Any]] = []
    for start in range(0, len(pages), 16):
        crops = []
        for path in pages[start : start + 16]:
            page = decoded(Path(path).read_bytes())
            assert page is not None
            small = detector_input(page, reader.config.detection)
            inputs.append(small)
            crops += [crop(page, quad) for quad in reader.find_lines(page, small).quads]
        widths = [line.shape[1] for line in crops]
        chosen = pack(widths, reader.config.lines_per_batch)
        batches += [stacked([crops[i] for i in batch]) for batch in chosen]

    def read() -> Lines:
        for page in inputs:
            networks.detect(page)
        for batch in batches:
            networks.recognise(batch)
        return {}

    return read


if __name__ == "__main__":
    main()
