"""Memory of a long run over many small pages: workers, driver, object store.

    python benchmarks/memory.py [--pages 10000] [--every 5] [--out DIR]

Runs OCR backfill over small pages. Every few seconds it reads the unique set size of the driver and
of each worker, and the size of the object store. The report has one row per tenth of the pages. A
column that keeps rising is a leak. The first tenth includes start-up and OpenVINO's new shapes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import yaml
from parts.report import head, result_stem, table, write
from parts.watch import role_of

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "tests/resources"))
PARTS = 10


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as scratch:
        config, run_dir = _prepared(Path(scratch), arguments.pages)
        argv = [sys.executable, "-m", "jobs.cli", "run", "--no-report", str(config)]
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        seen = list(_watched(process, run_dir, arguments.every))
        if process.returncode:
            raise SystemExit(f"nightjar run ended with exit code {process.returncode}")
    rows = _by_part(seen, arguments.pages)
    report = head() | {"pages": arguments.pages, "parts": rows, "samples": len(seen)}
    names = [name for name in rows[-1] if name != "pages"]
    cells = [[str(row["pages"]), *(str(row.get(name, "")) for name in names)] for row in rows]
    title = f"# Memory of a run of {arguments.pages:,} small pages, {report['date']}"
    what = f"{report['machine']}. Peak of each tenth in MB. Workers: sum of their unique memory."
    lines = [title, "", what, "", *table(["pages done", *names], cells)]
    write(result_stem(arguments.out, "memory", report), report, lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", type=int, default=10_000)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two measurements")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    return parser.parse_args()


def _prepared(scratch: Path, pages: int) -> tuple[Path, Path]:
    """(config, run_dir) of a run over `pages` links to 64 generated pages."""
    from bad_files import many_pages

    drawn, source = scratch / "drawn", scratch / "source"
    drawn.mkdir()
    source.mkdir()
    many_pages(drawn, 64)
    kept = sorted(drawn.iterdir())
    for number in range(pages):
        page = kept[number % len(kept)]
        (source / f"{number:06}{page.suffix}").symlink_to(page)
    config = yaml.safe_load((HERE.parent / "configs/ocr_backfill/quickstart.yaml").read_text())
    config |= {"run_dir": str(scratch / "run"), "source": {"path": str(source)}}
    config["sink"] = {"flush_seconds": 5.0}
    path = scratch / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return path, scratch / "run"


def _watched(process: subprocess.Popen[bytes], run_dir: Path, every: float) -> Any:
    """(rows committed, {role: MB}) every `every` seconds."""
    known: dict[Path, int] = {}
    while process.poll() is None:
        used = _memory(psutil.Process(process.pid))
        for path in (run_dir / "shards").glob("*.parquet"):
            if path not in known:
                known[path] = pq.read_metadata(path).num_rows
        yield sum(known.values()), used
        time.sleep(every)


def _memory(driver: psutil.Process) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for process in [driver, *driver.children(recursive=True)]:
        try:
            role = "driver" if process.pid == driver.pid else role_of(process)
            used = process.memory_full_info()
        except (psutil.NoSuchProcess, psutil.ZombieProcess, OSError):
            continue
        if role == "raylet":  # maps the whole store; about 30 MB of this are its libraries
            found["object store"] += (used.rss - used.uss) / 1e6
        found[role] += used.uss / 1e6
    return found


def _by_part(seen: list[tuple[int, dict[str, float]]], pages: int) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for number in range(PARTS):
        low, high = pages * number // PARTS, pages * (number + 1) // PARTS
        inside = [used for rows, used in seen if low <= rows < high or rows == high == pages]
        peaks: dict[str, Any] = {"pages": high}
        for used in inside:
            for name, amount in used.items():
                peaks[name] = max(peaks.get(name, 0), round(amount))
        parts.append(peaks)
    return parts


if __name__ == "__main__":
    main()
