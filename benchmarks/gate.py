"""Regression gate: speed ratios of short benchmark runs against their lower limits.

    python benchmarks/gate.py [--out DIR]

Each ratio is measured side by side in one run. A slow machine therefore passes; a slower version of
the code does not. Each limit is 0.7 of the ratio that was measured when the limit was set, because
short runs on shared machines vary by 20 %. Takes 90 s on two cores. Exit code 1: a ratio is below
its limit.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parts.report import head, result_stem, table, write

HERE = Path(__file__).parent
SAMPLES = HERE.parent / "configs/samples/documents"
RECEIPTS = ("receipt_grocer.jpg", "receipt_cafe.jpg", "receipt_pharmacy_sideways.jpg")
#: Placeholder for a folder with RECEIPTS.
PAGES_HERE = "{pages}"
LABELS = ("--quick", "--count", "32", "--repeats", "2", "--classes", "5")
SHIPPED, FLOOR = "rapidocr loop, as it ships", "floor: bare networks, prepared inputs"
PAGES = (PAGES_HERE, "--copies", "20", "--repeats", "1", "--only", SHIPPED, "--only", FLOOR)
BOXES = ("sections", "boxes, 5 classes")
OURS = "nightjar's GroundingDino"


@dataclass(frozen=True)
class Check:
    """One ratio of one report. `path`: its keys in the JSON; `least`: the lower limit."""

    what: str
    script: str
    arguments: tuple[str, ...]
    path: tuple[str, ...]
    least: float


CHECKS = (
    Check(
        "labelling, 5 classes: ours / the library with one forward per class",
        "labelling",
        LABELS,
        (*BOXES, "library, one forward per class", "ours_is"),
        6.5,
    ),
    Check(
        "labelling, 5 classes: ours / the bare forward passes",
        "labelling",
        LABELS,
        (*BOXES, OURS, "of_floor"),
        0.6,
    ),
    Check(
        "masks: ours / the bare forward passes",
        "labelling",
        LABELS,
        ("sections", "boxes -> masks", "nightjar's Sam2", "of_floor"),
        0.65,
    ),
    Check(
        "OCR: nightjar run / RapidOCR's loop as it ships",
        "ocr",
        PAGES,
        ("contestants", SHIPPED, "ours_is"),
        1.4,
    ),
    Check(
        "OCR: nightjar run / the bare networks",
        "ocr",
        PAGES,
        ("contestants", FLOOR, "ours_is"),
        0.4,
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="also write a report into this folder")
    out = parser.parse_args().out
    reports: dict[tuple[str, ...], Any] = {}
    rows = []
    for check in CHECKS:
        key = (check.script, *check.arguments)
        if key not in reports:
            reports[key] = measured(check.script, check.arguments)
        rows.append({"what": check.what, "ratio": _at(reports[key], check), "least": check.least})
    report = head() | {"checks": rows}
    lines = [f"# Gate, {report['date']}, {report['machine']}", "", *table(*_table(rows))]
    if out:
        write(result_stem(out, "gate", report), report, lines)
    else:
        print("\n".join(lines))
    below = [row["what"] for row in rows if row["ratio"] < row["least"]]
    if below:
        raise SystemExit(f"below the limit: {'; '.join(below)}")


def measured(script: str, arguments: tuple[str, ...]) -> Any:
    """The report of one benchmark run."""
    with tempfile.TemporaryDirectory() as folder:
        pages = Path(folder) / "pages"
        pages.mkdir()
        for name in RECEIPTS:
            (pages / name).symlink_to(SAMPLES / name)
        given = [str(pages) if one == PAGES_HERE else one for one in arguments]
        argv = [sys.executable, str(HERE / f"{script}.py"), *given, "--out", folder]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        (path,) = Path(folder).glob(f"{script}-*.json")
        return json.loads(path.read_text())


def _at(report: Any, check: Check) -> float:
    for key in check.path:
        report = report[key]
    return float(report)


def _table(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    return ["ratio", "measured", "limit", ""], [
        [
            row["what"],
            f"{row['ratio']:.2f}",
            f"{row['least']:.2f}",
            "ok" if row["ratio"] >= row["least"] else "BELOW",
        ]
        for row in rows
    ]


if __name__ == "__main__":
    main()
