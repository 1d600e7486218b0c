"""Reading order on rendered pages, by kind of page and by skew.

    python benchmarks/reading_order.py [--pages 20] [--read 1] [--angles 0 1 3 5 10] [--out DIR]

Pages are those of `parts.pages.ordered_pages`, with fonts of their own. A few of these seeds were
looked at while the rules were made (10000 to 10003, 10500, 10501). A right successor is a true line
that is followed by the true next line; a right break is a pair of lines that the text parts as the
truth does, by a tab or by a newline.

* Boxes: true boxes of every line, with a detector's margins and noise, and true texts.
* Stresses: the same boxes, changed as in `parts.pages.bent_pages`. A page is doubted if its
  `order_doubt` is above the default floor. Pages with a share of right successors below 0.8 should
  be doubted, pages of at least 0.95 should not.
* Reader: `rapid_ocr` reads the picture (`--read` pages of each kind and angle). The successors
  count only lines that were read; NED is the edit distance of the whole text in order. A page is
  accepted by the default floors.

Pages with odd seeds lean to the left.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from parts.pages.bent_pages import STRESSES, stressed
from parts.pages.ordered_pages import KINDS, page
from parts.pages.page_setter import JUDGE_SEED
from parts.pages.page_sheet import Sheet
from parts.report import head, result_stem, table, write

from actors.ocr.reading_order import judged_order
from pipelines.decisions.routing import Floors

HERE = Path(__file__).parent
#: Share of right successors below which a page must not be accepted.
LEAST = 0.8
#: Share from which the order of a page counts as right.
RIGHT = 0.95
Counts = dict[str, float]


def main() -> None:
    arguments = _arguments()
    boxes, reader = defaultdict[str, Counts](_none), defaultdict[str, Counts](_none)
    for kind, angle, seed, sheet in _pages(arguments.pages, arguments.angles):
        _add(boxes, kind, angle, judged(sheet, _lean(angle, seed), seed))
    stresses = defaultdict[str, Counts](_none)
    for _, angle, seed, sheet in _pages(arguments.pages, arguments.angles[:2]):
        for stress in STRESSES:
            counts = judged(sheet, _lean(angle, seed), seed, stress)
            for name in (stress, "all"):
                _sum(stresses[name], counts)
    if arguments.read:
        read = _reader()
        for kind, angle, seed, sheet in _pages(arguments.read, arguments.angles):
            found = read(sheet, _lean(angle, seed))
            print(kind, angle, found, flush=True)
            _add(reader, kind, angle, found)
    report: dict[str, Any] = head() | {
        "pages": arguments.pages,
        "read": arguments.read,
        "angles": arguments.angles,
        "boxes": boxes,
        "stresses": stresses,
        "reader": reader,
    }
    write(result_stem(arguments.out, "reading_order", report), report, _lines(report))


def judged(sheet: Sheet, angle: float, seed: int, stress: str = "flat") -> Counts:
    """Count the right successors and breaks of a page whose boxes and texts are known."""
    mixed = np.random.default_rng(seed).permutation(len(sheet.lines))
    texts = [sheet.lines[i].text for i in mixed]
    quads = stressed(stress, sheet.quads(angle, seed), sheet.width, sheet.height, seed)
    places, doubt = judged_order(quads[mixed], texts)
    order = [int(mixed[place.index]) for place in places]
    rows = {int(mixed[place.index]): place.row for place in places}
    right = sum(after == before + 1 for before, after in pairwise(order))
    pairs = list(pairwise(range(len(order))))
    low, doubted = right < LEAST * len(pairs), (doubt or 0) > Floors().max_order_doubt
    good = right >= RIGHT * len(pairs)
    breaks = [(sheet.lines[a].row == sheet.lines[b].row) == (rows[a] == rows[b]) for a, b in pairs]
    return {
        "pages": 1,
        "right": right,
        "successors": len(pairs),
        "breaks": sum(breaks),
        "low": low,
        "low_doubted": low and doubted,
        "good": good,
        "good_doubted": good and doubted,
    }


def _pages(count: int, angles: list[float]) -> Iterator[tuple[str, float, int, Sheet]]:
    """Kind, angle, seed and page."""
    for kind in KINDS:
        for number in range(count):
            sheet = page(kind, JUDGE_SEED + number)
            for angle in angles:
                yield kind, angle, JUDGE_SEED + number, sheet


def _lean(angle: float, seed: int) -> float:
    return -angle if seed % 2 else angle


def _reader() -> Any:
    import pyarrow as pa

    from actors.lines import page_text
    from actors.ocr.rapid_ocr import RapidOcr, RapidOcrConfig
    from pipelines.decisions.routing import RoutingConfig, measured_and_doubted
    from pipelines.measures.character_errors import TextLine
    from pipelines.measures.order_errors import compare_in_order

    actor = RapidOcr(RapidOcrConfig())

    def read(sheet: Sheet, angle: float) -> Counts:
        data = cv2.imencode(".png", sheet.image(angle))[1].tobytes()
        (row,) = actor(pa.table({"image": pa.array([data], pa.binary())})).to_pylist()
        ours = [TextLine(line["text"]) for line in row["ocr_lines"]]
        errors = compare_in_order(ours, [TextLine(line.text) for line in sheet.lines])
        right = errors.successors - errors.wrong_successors
        low = right < LEAST * errors.successors
        _, doubts = measured_and_doubted(row, RoutingConfig())
        true_rows, rows = (
            set(text.split("\n")) for text in (sheet.text(), page_text(row["ocr_lines"]))
        )
        return {
            "pages": 1,
            "right": right,
            "successors": errors.successors,
            "rows": len(true_rows & rows),
            "true_rows": len(true_rows),
            "errors": errors.spaced_errors,
            "characters": errors.spaced_characters,
            "low": low,
            "accepted": not doubts,
            "low_accepted": low and not doubts,
        }

    return read


def _none() -> Counts:
    return defaultdict(float)


def _add(table: dict[str, Counts], kind: str, angle: float, counts: Counts) -> None:
    for name in (f"{kind} | {angle:g}", f"{kind} | all", f"all | {angle:g}", "all | all"):
        _sum(table[name], counts)


def _sum(total: Counts, counts: Counts) -> None:
    for key, value in counts.items():
        total[key] += float(value)


def _lines(report: dict[str, Any]) -> list[str]:
    angles = [*(f"{angle:g}" for angle in report["angles"]), "all"]
    rows = [
        [
            kind,
            *(
                _share(report["boxes"][f"{kind} | {angle}"], "right", "successors")
                for angle in angles
            ),
            _share(report["boxes"][f"{kind} | all"], "breaks", "successors"),
            f"{report['boxes'][f'{kind} | all']['low']:.0f}",
        ]
        for kind in [*KINDS, "all"]
    ]
    columns = [
        "page",
        *(f"{angle}°" for angle in angles[:-1]),
        "all",
        "right breaks",
        "pages below 0.8",
    ]
    lines = [
        f"# Reading order, {report['date']}, {report['machine']}",
        "",
        "Share of right successors on true boxes, by skew; "
        f"{report['pages']} pages of each kind and skew.",
        "",
        *table(columns, rows),
        "",
        "Doubted orders under stresses (`order_uncertain`).",
        "",
        *_stress_lines(report["stresses"]),
    ]
    if report["read"]:
        lines += ["", *_read_lines(report, angles)]
    return lines


def _stress_lines(stresses: dict[str, Counts]) -> list[str]:
    rows = [
        [
            name,
            f"{counts['pages']:.0f}",
            _share(counts, "right", "successors"),
            f"{counts['low_doubted']:.0f} of {counts['low']:.0f}",
            f"{counts['good_doubted']:.0f} of {counts['good']:.0f}",
        ]
        for name, counts in stresses.items()
        if name != "all"
    ]
    columns = ["boxes", "pages", "right successors", f"below {LEAST} and doubted"]
    return table([*columns, f"at least {RIGHT} and doubted"], rows)


def _read_lines(report: dict[str, Any], angles: list[str]) -> list[str]:
    rows = []
    for kind in [*KINDS, "all"]:
        whole = report["reader"][f"{kind} | all"]
        shares = [
            _share(report["reader"][f"{kind} | {angle}"], "right", "successors") for angle in angles
        ]
        ned = f"{100 * whole['errors'] / max(whole['characters'], 1):.2f} %"
        counts = [f"{whole[key]:.0f}" for key in ("pages", "low", "accepted", "low_accepted")]
        rows.append([kind, *shares, ned, *counts])
    columns = ["page", *(f"{angle}°" for angle in angles[:-1]), "all", "NED", "pages", "below 0.8"]
    return [
        f"The same with `rapid_ocr`; {report['read']} pages of each kind and skew.",
        "",
        *table([*columns, "accepted", "accepted below 0.8"], rows),
    ]


def _share(counts: Counts, part: str, whole: str) -> str:
    return f"{counts[part] / max(counts[whole], 1):.4f}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=20, help="pages of each kind, true boxes")
    parser.add_argument("--read", type=int, default=0, help="pages of each kind that are read")
    parser.add_argument("--angles", type=float, nargs="+", default=[0.0, 1.0, 3.0, 5.0, 10.0])
    parser.add_argument("--out", type=Path, default=HERE / "results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
