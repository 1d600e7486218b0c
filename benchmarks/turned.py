"""Turned pages: how many are found, how well they are read, and what looking for them costs.

    python benchmarks/turned.py [PAGES_DIR] [--seed 500] [--every 1] [--out DIR]

Input: pages of several kinds, rendered with Debian's fonts, and the images of PAGES_DIR, all
upright. Each is turned by 0, 90, 180 and 270 degrees and read by `rapid_ocr`.

Right: the reader turned the page back to upright. CER: of the page's text in reading order, blanks
counted, against the text of the same page read upright; so 0 means that the turn cost nothing.
"Without" is the reader with `turn_pages: false`, on every fourth page.

Cost: the reader's seconds for judging the upright pages, and those for everything else.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from cv2.typing import MatLike
from parts.pages.turned_pages import rendered_pages
from parts.report import head, result_stem, table, write
from rapidfuzz.distance import Levenshtein

from actors.images.turning import turned
from actors.ocr.rapid_ocr import RapidOcr, RapidOcrConfig

HERE = Path(__file__).parent
TURNS = (0, 90, 180, 270)
#: Pages with fewer lines say little about their direction and are counted apart.
LINES = 5
EVERY = 4
BATCH = 8


@dataclass
class Page:
    """An upright page, and its text and number of lines as read upright."""

    kind: str
    file: bytes
    text: str = ""
    lines: int = 0


def main() -> None:
    arguments = _arguments()
    pages = [Page(page.kind, _file(page.pixels)) for page in rendered_pages(arguments.seed)]
    pages += [Page("real receipt", file.read_bytes()) for file in _images(arguments.pages)]
    pages = pages[:: arguments.every]
    on, off = RapidOcr(RapidOcrConfig()), RapidOcr(RapidOcrConfig(turn_pages=False))
    found: list[dict[str, Any]] = []
    for page, row in zip(pages, _read(on, [page.file for page in pages]), strict=True):
        page.text, page.lines = _text(row), len(row["ocr_lines"])
        found.append(_judged(page, 0, row))
    cost = dict(on.seconds)
    for turn in TURNS[1:]:
        files = [_turned(page.file, turn) for page in pages]
        found += [_judged(p, turn, r) for p, r in zip(pages, _read(on, files), strict=True)]
        some = _read(off, files[::EVERY])
        for one, page, row in zip(found[-len(pages) :: EVERY], pages[::EVERY], some, strict=True):
            one["without"] = Levenshtein.distance(page.text, _text(row))
    report = {**head(), "seed": arguments.seed, "pages": len(pages), "cost": cost, "found": found}
    write(result_stem(arguments.out, "turned", report), report, _lines(report))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", type=Path, nargs="?")
    parser.add_argument("--seed", type=int, default=500)
    parser.add_argument("--every", type=int, default=1, help="take every n-th page")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    return parser.parse_args()


def _images(folder: Path | None) -> list[Path]:
    return sorted(folder.glob("*.jpg")) if folder else []


def _file(pixels: MatLike) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def _turned(file: bytes, turn: int) -> bytes:
    pixels = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return _file(turned(pixels, turn))


def _read(reader: RapidOcr, files: Sequence[bytes]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for start in range(0, len(files), BATCH):
        batch = pa.table({"image": pa.array(files[start : start + BATCH], pa.binary())})
        rows += reader(batch).drop_columns(["image"]).to_pylist()
    return rows


def _text(row: dict[str, Any]) -> str:
    return "\n".join(line["text"] for line in row["ocr_lines"] if line["text"])


def _judged(page: Page, turn: int, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": page.kind,
        "turn": turn,
        "lines": page.lines,
        "right": row["rotation"] == -turn % 360,
        "characters": len(page.text),
        "wrong": Levenshtein.distance(page.text, _text(row)),
        "without": None,
    }


def _lines(report: dict[str, Any]) -> list[str]:
    found, cost = report["found"], report["cost"]
    many = [one for one in found if one["lines"] >= LINES]
    right = sum(one["right"] for one in many)
    kinds = [*dict.fromkeys(one["kind"] for one in found), f"all with {LINES} and more lines"]
    groups = {kind: [one for one in found if one["kind"] == kind] for kind in kinds[:-1]} | {
        kinds[-1]: many
    }
    rows = [[kind, *_row(group)] for kind, group in groups.items()]
    judging, upright = cost["turn"], sum(one["turn"] == 0 for one in found)
    return [
        f"# Turned pages, {report['date']}, {report['machine']}",
        "",
        f"{report['pages']} pages in four directions. Right: {right} of {len(many)} with {LINES} "
        f"and more lines. Judging takes {1000 * judging / upright:.0f} ms of an upright page, "
        f"{judging / sum(cost.values()):.1%} of the reader's time.",
        "",
        *table(
            ["pages", "n", *(f"right at {turn}" for turn in TURNS), "CER turned", "without"], rows
        ),
    ]


def _row(group: Sequence[dict[str, Any]]) -> list[str]:
    cells = [str(len(group) // len(TURNS))]
    for turn in TURNS:
        same = [one for one in group if one["turn"] == turn]
        cells.append(f"{sum(one['right'] for one in same)} of {len(same)}")
    turned_ones = [one for one in group if one["turn"]]
    asked = [one for one in turned_ones if one["without"] is not None]
    cells.append(_rate(turned_ones, "wrong"))
    cells.append(_rate(asked, "without"))
    return cells


def _rate(ones: Sequence[dict[str, Any]], key: str) -> str:
    characters = sum(one["characters"] for one in ones)
    return f"{sum(one[key] for one in ones) / characters:.2%}" if characters else ""


if __name__ == "__main__":
    main()
