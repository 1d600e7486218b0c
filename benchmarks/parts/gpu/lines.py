"""The report of `benchmarks/gpu.py` as Markdown."""

from __future__ import annotations

from typing import Any

from parts.gpu.task import OURS
from parts.report import spread_text, table

COLUMNS = [
    "contestant",
    "batch",
    "dtype",
    "images/s (median)",
    "spread",
    "best of ours is",
    "GPU busy",
    "GPU ms/image",
    "CPU ms/image",
    "weights MB",
    "peak MB above",
    "dollars per million images",
]
NOT_MEASURED = "not measured"
REHEARSAL = (
    "**A rehearsal on a CPU with small models. It shows that the benchmark works. No figure in it "
    "says anything about a GPU.**"
)


def lines(report: dict[str, Any]) -> list[str]:
    """The report as Markdown."""
    head = "Rehearsal of the GPU benchmark" if report["rehearsal"] else "GPU benchmark"
    found = [f"# {head}, {report['date']}, {report['machine']}", ""]
    if report["rehearsal"]:
        found += [REHEARSAL, ""]
    found += [
        f"{report['weights']}; {len(report['names'])} classes; {report['objects']}. "
        f"{report['turns']} turns of about {report['seconds']:g} s each. {report['engine']}, "
        f"{report['torch_threads']} torch threads. {_price(report)}{report['ended']}",
    ]
    for title, section in report["sections"].items():
        found += ["", f"## {title}", "", *_section(section)]
    if report["pairs"]:
        found += ["", "## Detector, then segmenter (calculated from the rates above)", ""]
        found += table(
            ["models", "contestant", "batch", "images/s", "dollars per million images"],
            [_pair(row) for row in report["pairs"]],
        )
    if report["sharing"]:
        found += ["", "## Processes that share the GPU, each with detector and segmenter", ""]
        found += table(
            ["processes", "images/s of all"], [_shared(row) for row in report["sharing"]]
        )
    return found


def _shared(row: dict[str, Any]) -> list[str]:
    rate = row.get("missing") or _number(row["images_per_s"], ".2f")
    return [str(row["workers"]), rate]


def _price(report: dict[str, Any]) -> str:
    price = report["dollars_per_hour"]
    return "" if price is None else f"Assumed price of a GPU hour: {price:g} dollars. "


def _section(section: dict[str, Any]) -> list[str]:
    if "missing" in section:
        return [f"Not measured: {section['missing']}."]
    found = [_agreement(section["parity"]), ""] if section.get("parity") else []
    best = max(
        (row["images_per_s"] for row in section["rows"] if row["role"] == OURS and _has(row)),
        default=None,
    )
    return found + table(COLUMNS, [_cells(row, best) for row in section["rows"]])


def _agreement(parity: dict[str, Any]) -> str:
    """Parity in a sentence."""
    if "missing" in parity:
        return f"Parity with the library: not measured, {parity['missing']}."
    said = []
    if parity["same_share"] is not None:
        said.append(
            f"{parity['same']} objects of {parity['ours']} (ours) and {parity['theirs']} (library) "
            f"are the same, corners within {parity['largest_pixels']} px and scores within "
            f"{parity['largest_score']}; {parity['undecided']} others lie at the threshold"
        )
    if parity["mask_pixels"]:
        said.append(
            f"{parity['differing_mask_pixels']} of {parity['mask_pixels']} mask pixels differ"
        )
    verdict = "within the limits" if parity["within"] else "**outside the limits**"
    return f"Parity with the library in float32: {'; '.join(said) or 'no objects'} ({verdict})."


def _has(row: dict[str, Any]) -> bool:
    return "images_per_s" in row


def _cells(row: dict[str, Any], best: float | None) -> list[str]:
    name = [row["role"], str(row["batch"]), row["dtype"]]
    if not _has(row):
        return [*name, row.get("missing", NOT_MEASURED), *[""] * (len(COLUMNS) - 4)]
    rate = row["images_per_s"]
    busy = row["gpu_busy"]
    return [
        *name,
        f"{rate:.2f}" + (f" ({row['missing']})" if "missing" in row else ""),
        spread_text(row["spread"]),
        f"{best / rate:.2f} x" if best else "",
        NOT_MEASURED if busy is None else f"{busy:.0%}",
        _number(row["gpu_ms_per_image"], ".2f"),
        _number(row["cpu_ms_per_image"], ".2f"),
        _number(row["weights_mb"], ".0f"),
        _number(row["peak_mb"], ".0f"),
        _number(row["dollars_per_million"], ".2f"),
    ]


def _pair(row: dict[str, Any]) -> list[str]:
    figures = [_number(row["images_per_s"], ".2f"), _number(row["dollars_per_million"], ".2f")]
    return [" + ".join(row["models"]), row["role"], str(row["batch"]), *figures]


def _number(figure: float | None, form: str) -> str:
    return NOT_MEASURED if figure is None else format(figure, form)
