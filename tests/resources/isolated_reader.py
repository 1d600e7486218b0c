"""An actor in the python of another environment, asked over pipes.

The parent is `Isolated`; this file, run as a script, is the child.
"""

from __future__ import annotations

import importlib
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Isolated:
    """`ask(what, ...)` answers with what the child's function `what` returns, or raises it."""

    def __init__(self, python: Path) -> None:
        self._child = subprocess.Popen(
            [str(python), __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def ask(self, what: str, *arguments: Any) -> Any:
        assert self._child.stdin
        assert self._child.stdout
        pickle.dump((what, arguments), self._child.stdin)
        self._child.stdin.flush()
        answer = pickle.load(self._child.stdout)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        assert self._child.stdin
        self._child.stdin.close()
        self._child.wait(20)


class _Child:
    def __init__(self) -> None:
        self._actors: dict[str, Any] = {}

    def open(self, name: str, module: str, kind: str, config: dict[str, Any]) -> dict[str, str]:
        loaded = importlib.import_module(module)
        settings = getattr(loaded, kind + "Config").model_validate(config)
        self._actors[name] = getattr(loaded, kind)(settings)
        provenance: dict[str, str] = self._actors[name].provenance()
        return provenance

    def read(self, name: str, images: Sequence[bytes | None]) -> list[dict[str, Any]]:
        import pyarrow as pa

        rows = pa.table({"row_id": range(len(images)), "image": pa.array(images, pa.binary())})
        actor = self._actors[name]
        out = actor(rows)
        assert out.schema.equals(pa.schema([*rows.schema, *actor.writes]))
        found: list[dict[str, Any]] = out.to_pylist()
        return found

    def versions(self, *packages: str) -> list[str]:
        from importlib.metadata import version

        return [version(one) for one in packages]

    def imported(self, modules: Sequence[str], heavy: Sequence[str]) -> list[str]:
        """Those of `heavy` that are there after importing `modules`."""
        for module in modules:
            importlib.import_module(module)
        return [one for one in heavy if one in sys.modules]

    def paddle_models(self) -> list[str]:
        from paddlex.inference.utils.official_models import ALL_MODELS

        return list(ALL_MODELS)

    def paddle_pipeline(self, image: bytes) -> list[tuple[str, float, list[list[float]]]]:
        """The page read by PaddleOCR's own pipeline, with its own padding."""
        import cv2
        import numpy as np
        from paddleocr import PaddleOCR

        from actors.ocr.pp_ocr.paddle_models import embedded

        names = {"detection": "PP-OCRv6_small_det", "recognition": "PP-OCRv6_small_rec"}
        models = {f"text_{role}_model_name": name for role, name in names.items()} | {
            f"text_{role}_model_dir": str(embedded(name)) for role, name in names.items()
        }
        library = PaddleOCR(
            engine="onnxruntime",
            use_doc_orientation_classify=False,
            use_doc_unwarping=False,
            use_textline_orientation=False,
            **models,
        )
        (page,) = library.predict(
            cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR),
            text_rec_score_thresh=0.0,
            text_det_limit_side_len=736,
            text_det_limit_type="min",
            text_det_box_thresh=0.5,
            text_det_unclip_ratio=1.6,
        )
        both = zip(page["rec_texts"], page["rec_scores"], page["rec_polys"], strict=True)
        return [(text, float(score), np.asarray(poly).tolist()) for text, score, poly in both]


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the library prints must not stand among the answers
    child = _Child()
    while True:
        try:
            what, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = getattr(child, what)(*arguments)
        except Exception as error:
            answer = error
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    main()
