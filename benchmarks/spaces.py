"""Blanks that the bundled reader loses or invents, before and after they are mended.

    python benchmarks/spaces.py [--pages 60] [--first 60] [--out DIR]

The pages are drawn from free fonts (parts/pages/word_pages.py, half `judge`): the coefficients in
actors/ocr/pp_ocr/spaces.py were fitted on other fonts, texts and forms. Lost and invented blanks
are counted in lines whose letters are right, word errors (jiwer) in all lines. Takes 2 s a page.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jiwer
from parts.pages.spaced_lines import ReadLine, blanks, lines_of, networks
from parts.pages.word_pages import page
from parts.report import head, result_stem, table, write

from actors.ocr.pp_ocr.spaces import spaced

HERE = Path(__file__).parent
KINDS = ("prose", "forms", "all")


@dataclass
class Count:
    """Lines and blanks of one kind of page. `right`: lines with right letters and blanks."""

    lines: int = 0
    letters_right: int = 0
    lost: int = 0
    invented: int = 0
    lost_mended: int = 0
    invented_mended: int = 0
    right_before: int = 0
    right_after: int = 0
    harmed: int = 0
    wer_before: float = 0.0
    wer_after: float = 0.0

    def add(self, line: ReadLine, after: str) -> None:
        """Count a line that became `after`."""
        self.lines += 1
        if not line.letters_right:
            return
        truth, was, became = (blanks(text) for text in (line.truth, line.read, after))
        self.letters_right += 1
        self.lost += int((truth & ~was).sum())
        self.lost_mended += int((truth & ~was & became).sum())
        self.invented += int((~truth & was).sum())
        self.invented_mended += int((~truth & was & ~became).sum())
        right, stays = bool((was == truth).all()), bool((became == truth).all())
        self.right_before += right
        self.right_after += stays
        self.harmed += right and not stays

    @property
    def mended(self) -> float:
        """Share of the lost and invented blanks that are mended."""
        return (self.lost_mended + self.invented_mended) / max(1, self.lost + self.invented)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", type=int, default=60, help="number of pages")
    parser.add_argument("--first", type=int, default=60, help="number of the first page")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the report")
    given = parser.parse_args()
    report = head() | measured(range(given.first, given.first + given.pages))
    lines = [f"# Blanks between words, {report['date']}, {report['machine']}", "", *text(report)]
    write(result_stem(given.out, "spaces", report), report, lines)


def measured(numbers: Sequence[int]) -> dict[str, Any]:
    """Counts by kind of page, and seconds for reading and for mending."""
    reader = networks()
    found: dict[str, list[tuple[ReadLine, str]]] = {kind: [] for kind in KINDS}
    reading = mending = 0.0
    for number in numbers:
        drawn = page(number, "judge")
        start = time.perf_counter()
        lines = list(lines_of(reader, [drawn]))
        read = time.perf_counter()
        after = [spaced(line.read, line.columns, line.odds) for line in lines]
        mending += time.perf_counter() - read
        reading += read - start
        for kind in (drawn.kind, "all"):
            found[kind] += zip(lines, after, strict=True)
    kinds = {kind: asdict(counted(found[kind])) for kind in KINDS}
    seconds = {"reading_s": reading, "mending_s": mending}
    return {"pages": len(numbers), "kinds": kinds, "seconds": seconds}


def counted(lines: Sequence[tuple[ReadLine, str]]) -> Count:
    """Counts and word error rates of lines with what became of them."""
    count = Count()
    for line, after in lines:
        count.add(line, after)
    if lines:
        truths = [line.truth for line, _ in lines]
        count.wer_before = float(jiwer.wer(truths, [line.read for line, _ in lines]))
        count.wer_after = float(jiwer.wer(truths, [after for _, after in lines]))
    return count


def text(report: dict[str, Any]) -> list[str]:
    """The report as Markdown."""
    columns = ["pages of", "lines", "letters right", "blanks lost", "invented", "mended"]
    columns += ["lines right before", "after", "right lines harmed", "WER before", "after"]
    rows = []
    for kind, values in report["kinds"].items():
        one = Count(**values)
        counts = [one.lines, one.letters_right, one.lost, one.invented]
        harmed = f"{one.harmed} ({one.harmed / max(1, one.right_before):.2%})"
        rates = [f"{one.wer_before:.2%}", f"{one.wer_after:.2%}"]
        lines = [str(one.right_before), str(one.right_after)]
        rows.append([kind, *map(str, counts), f"{one.mended:.1%}", *lines, harmed, *rates])
    pages, seconds = report["pages"], report["seconds"]
    share = seconds["mending_s"] / seconds["reading_s"]
    cost = f"{1000 * seconds['mending_s'] / pages:.1f} ms a page, {share:.2%} of the reading time"
    return [*table(columns, rows), "", f"{pages} pages. Cost of mending: {cost}."]


if __name__ == "__main__":
    main()
