"""Finished OCR runs whose true texts are known: real shards, no models, no Ray.

A page has good lines (3 wrong characters in 1,000) and bad ones (150). The scores of bad lines are
lower, and all scores of a page are lowered alike by a shade that says nothing about its errors: so
the mean score misleads, and the weak lines tell. With `signal=False` scores are drawn from the same
range whatever the line is.
"""

from __future__ import annotations

import string
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hand_made_runs import write_run

from actors.lines import LINES
from pipelines.decisions.routing import Floors, measured
from pipelines.decisions.settling import EVIDENCE
from pipelines.runs.directory import RunDir
from pipelines.sources.manifest import MANIFEST

SCHEMA = pa.schema(
    [
        *MANIFEST,
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("outcome", pa.string()),
        ("reasons", pa.list_(pa.string())),
        ("text", pa.string()),
        ("text_source", pa.string()),
        ("lines", LINES),
        ("lines_source", pa.string()),
        ("evidence", EVIDENCE),
    ]
)
WIDTH, HEIGHT = 600, 800
_LETTERS = np.array(list(string.ascii_lowercase + string.digits))


def polygon(number: int) -> list[float]:
    """Of line `number` of a page, 20 px high, 30 px apart."""
    top = 30.0 * number + 10
    return [20.0, top, 500.0, top, 500.0, top + 20, 20.0, top + 20]


def row_of(
    row_id: int,
    name: str,
    lines: list[tuple[str, float]],
    outside: float | None = None,
    **changes: Any,
) -> Any:
    """A page read as `lines` (text, score) by rapid_ocr, and accepted.

    `outside`: share of its text that the detector half saw and that is in no line.
    """
    read = [
        {"text": text, "score": score, "polygon": polygon(number)}
        for number, (text, score) in enumerate(lines)
    ]
    whole = {"ink_share": 0.1, "ink_covered": 0.95, "text_outside": outside}
    row = {
        "row_id": row_id,
        "uri": f"/scans/{name}.jpg",
        "page": 1,
        "pages": 1,
        "kind": "jpeg",
        "width": WIDTH,
        "height": HEIGHT,
        "outcome": "ocr",
        "reasons": [],
        "text": "\n".join(text for text, _ in lines),
        "text_source": "rapid_ocr 3.10",
        "lines": read,
        "lines_source": "rapid_ocr 3.10",
        "evidence": asdict(measured(read, Floors(), whole)),
    }
    return row | changes


def labelled_run(
    folder: Path, files: int, seed: int = 0, *, signal: bool = True, missed: bool = False
) -> RunDir:
    """A run in `folder`/run, and the truth of its pages as SROIE lines in `folder`/truth.

    With `missed`, every fourth page lacks 4 of its lines, and the detector half saw them.
    """
    random = np.random.default_rng(seed)
    (folder / "truth").mkdir(parents=True)
    rows = []
    for number in range(files):
        bad_share = min(random.exponential(0.15), 0.9)
        shade = random.uniform(0, 0.1)
        truth, read = [], []
        for _ in range(20):
            bad = random.random() < bad_share
            text = "".join(random.choice(_LETTERS, random.integers(5, 30)))
            score = random.uniform(0.5, 0.8) if bad else random.uniform(0.975, 1.0)
            if not signal:
                score = random.uniform(0.5, 1.0)
            truth.append(text)
            read.append((misread(text, 0.15 if bad else 0.003, random), score - shade))
        lost = 4 if missed and number % 4 == 0 else 0
        outside = 0.6 * lost / len(read) + random.uniform(0, 0.004) if missed else None
        rows.append(row_of(number, f"{number:03d}", read[: len(read) - lost], outside))
        write_truth(folder / "truth" / f"{number:03d}.csv", truth)
    return write_run(folder / "run", "ocr_backfill", SCHEMA, rows[::2], rows[1::2])


def misread(text: str, share: float, random: np.random.Generator) -> str:
    """`text` with each character replaced with this probability."""
    return "".join("#" if random.random() < share else letter for letter in text)


def write_truth(path: Path, lines: list[str]) -> None:
    """SROIE lines at the places of `polygon`."""
    corners = (",".join(f"{edge:.0f}" for edge in polygon(n)) for n in range(len(lines)))
    rows = [f"{corner},{text}" for corner, text in zip(corners, lines, strict=True)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
