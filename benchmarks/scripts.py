"""The script classifier on pages in fonts that it was not trained on: confusion, and its cost.

    python benchmarks/scripts.py [--pages 40] [--lines 14] [--out DIR]

Lines are rendered, without a detector and a reader: the classifier gets crops, and readings that
say nothing. A page is right if its script is the true one. Mixed pages are Latin with a share of
lines in another script; they are noticed if more of their width is unreadable for PP-OCRv6 than
`routing.floors` allows.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from parts.report import head, result_stem, table, write

from actors.ocr.scripts.classes import CLASSES, NONE, VIETNAMESE, Alphabet
from actors.ocr.scripts.page import PageScripts, Scripts
from actors.ocr.scripts.recipe.rendering import page_crops
from pipelines.decisions.routing import Floors

HERE = Path(__file__).parent
PP_OCR = Alphabet(frozenset({"Latn", "Hani"}))
#: Classes of the table; the others are reported together.
MAIN = CLASSES[1:11]
_MIXED = 3


def judged(scripts: Scripts, crops: Sequence[Any]) -> PageScripts:
    """The scripts of crops whose readings say nothing: letters that speak for no class."""
    texts = ["\u03c8" * (crop.shape[1] // 24) for crop in crops]
    return scripts.of_page(crops, texts, [0.99] * len(crops))


def pages_of(scripts: Scripts, name: str, pages: int, lines: int) -> dict[str, Any]:
    """Counts of the pages and lines of one class, by the script that was found."""
    chance = random.Random(f"{name} held out")
    found, by_line, unread, letters = Counter[str](), Counter[str](), 0, 0
    for _ in range(pages):
        answer = judged(scripts, page_crops(name, chance, lines, held_out=True))
        found[answer.page or NONE] += 1
        by_line.update(script or NONE for script in answer.lines)
        unread += (answer.unread_script or 0) > Floors().max_unread_script
        letters += (answer.unread_letters or 0) > Floors().max_unread_letters
    return {"pages": found, "lines": by_line, "script": unread, "letters": letters}


def mixed_pages(scripts: Scripts, name: str, pages: int, lines: int) -> int:
    """Latin pages with a few lines of another class that are noticed."""
    chance = random.Random(f"{name} mixed")
    noticed = 0
    for _ in range(pages):
        crops = page_crops("Latn", chance, lines - _MIXED, held_out=True)
        crops += page_crops(name, chance, _MIXED, held_out=True)
        chance.shuffle(crops)
        answer = judged(scripts, crops)
        noticed += (answer.unread_script or 0) > Floors().max_unread_script or (
            answer.unread_letters or 0
        ) > Floors().max_unread_letters
    return noticed


def seconds_a_page(scripts: Scripts, lines: int) -> float:
    """CPU seconds of the classifier for one page of Latin lines, the median of 9."""
    crops = page_crops("Latn", random.Random(1), lines)
    taken = []
    for _ in range(9):
        start = time.process_time()
        judged(scripts, crops)
        taken.append(time.process_time() - start)
    return float(np.median(taken))


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=40, help="pages of each script")
    parser.add_argument("--lines", type=int, default=14, help="lines of a page")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    scripts = Scripts(PP_OCR)
    found = {name: pages_of(scripts, name, chosen.pages, chosen.lines) for name in CLASSES[1:]}
    mixed = {
        name: mixed_pages(scripts, name, chosen.pages // 2, chosen.lines)
        for name in MAIN
        if name not in ("Latn", "Hani")
    }
    report = head() | {
        "pages": chosen.pages,
        "lines": chosen.lines,
        "scripts": found,
        "mixed": mixed,
        "cpu_ms_60_lines": round(1000 * seconds_a_page(scripts, 60), 2),
    }
    write(result_stem(chosen.out, "scripts", report), report, _lines(report))


def _lines(report: dict[str, Any]) -> list[str]:
    rows = []
    for name, one in report["scripts"].items():
        truth = {"Hani": ("Hani", "Jpan"), VIETNAMESE: ("Latn",)}.get(name, (name,))
        right = sum(one["pages"][script] for script in truth)
        lines = sum(one["lines"][script] for script in truth)
        wrong = {script: n for script, n in one["pages"].items() if script not in truth}
        rows.append(
            [
                name,
                f"{right} of {report['pages']}",
                ", ".join(f"{script} {n}" for script, n in wrong.items()),
                f"{100 * lines / sum(one['lines'].values()):.1f} %",
                str(one["script"]),
                str(one["letters"]),
                f"{report['mixed'][name]} of {report['pages'] // 2}"
                if name in report["mixed"]
                else "",
            ]
        )
    return [
        f"# Scripts of pages, {report['date']}, {report['machine']}",
        "",
        f"{report['pages']} pages of {report['lines']} lines for each script, in fonts held out "
        f"from the training where a script has several. CPU time for a page of 60 lines: "
        f"{report['cpu_ms_60_lines']} ms. Mixed: Latin pages with {_MIXED} lines of the script.",
        "",
        *table(
            [
                "script",
                "pages right",
                "wrong",
                "lines right",
                "`script_not_readable`",
                "`letters_not_readable`",
                "mixed pages noticed",
            ],
            rows,
        ),
    ]


if __name__ == "__main__":
    main()
