"""Reports of the benchmarks: machine, rates with spread, JSON and Markdown."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_UNITS = ("amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni", "avx_vnni")


def head(gpu: str | None = None) -> dict[str, str]:
    """Date and machine, the first two keys of every report. `gpu`: named before the processor."""
    machine = f"{_processor()}, {os.cpu_count()} cores"
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{gpu}, {machine}" if gpu else machine,
    }


def _processor() -> str:
    """Name and low-precision instruction sets, which decide the speed of bfloat16."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    known = dict(line.split(":", 1) for line in lines if ":" in line)
    known = {key.strip(): value.strip() for key, value in known.items()}
    units = [unit for unit in _UNITS if unit in known.get("flags", "").split()]
    return f"{known.get('model name', platform.machine())} ({', '.join(units) or 'no bf16 units'})"


def median_and_spread(rates: Sequence[float]) -> tuple[float, list[float]]:
    """The median, and the lowest and highest value, rounded to 3 digits."""
    return round(statistics.median(rates), 3), [round(min(rates), 3), round(max(rates), 3)]


def spread_text(spread: Sequence[float]) -> str:
    """Both ends of a range, with two digits."""
    return " .. ".join(f"{end:.2f}" for end in spread)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def result_stem(folder: Path, name: str, report: dict[str, Any]) -> Path:
    """`folder`/NAME-MACHINE-CORES-DATE, so that results of several machines can be kept."""
    machine = re.sub(r"[^a-z0-9]+", "-", report["machine"].split("(")[0].lower()).strip("-")
    return folder / f"{name}-{machine}-{os.cpu_count()}c-{report['date']}"


def write(stem: Path, report: dict[str, Any], lines: Sequence[str], show: bool = True) -> None:
    """Write the report as `stem`.json and the lines as `stem`.md; `show`: print the lines."""
    stem.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    stem.with_suffix(".md").write_text("\n".join(lines) + "\n")
    if show:
        print("\n".join(lines))
