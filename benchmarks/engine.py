"""One reader under three engines: `nightjar run`, a process pool, and plain Ray Data.

    python benchmarks/engine.py PAGES_DIR [--copies 2] [--repeats 2] [--out DIR]

The peers are the usual code without Nightjar (`parts/engine_peer.py`): `multiprocessing.Pool`, and
`ray.data.read_images` with an actor and `write_parquet`. All use our reader and its networks, in
turns. `reading` is timed from the first batch to the last byte written, `all in` over the whole
process. Memory is the peak of the summed proportional set sizes. A second test gives each engine
eight pages, one of them truncated, and counts the pages that it writes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
from ocr import OURS, copied, pages_of, run_argv
from parts.report import head, median_and_spread, result_stem, spread_text, table, write
from parts.watch import watched

HERE = Path(__file__).parent
SAMPLES = HERE.parent / "configs/samples/documents"
PEERS = {"multiprocessing.Pool": "pool", "Ray Data, read_images and an actor": "ray"}


def main() -> None:
    arguments = _arguments()
    pages = pages_of(arguments.pages)
    results: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = copied(pages, arguments.copies, Path(scratch) / "pages")
        torn = _with_a_torn_page(Path(scratch) / "torn")
        for repeat in range(arguments.repeats):
            for name in (OURS, *PEERS):
                result = _measured(name, folder, Path(scratch) / f"{repeat}-{len(results)}-{name}")
                results.setdefault(name, []).append(result)
                print(f"{repeat} {name}: {result}", flush=True)
        written = {
            name: _measured(name, torn, Path(scratch) / f"torn-{name}")["pages"]
            for name in (OURS, *PEERS)
        }
    report = _report(results, written)
    write(result_stem(arguments.out, "engine", report), report, _lines(report))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", type=Path)
    parser.add_argument("--copies", type=int, default=2, help="copies of each page")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    return parser.parse_args()


def _with_a_torn_page(folder: Path) -> Path:
    good = sorted(set(SAMPLES.glob("receipt_*.jpg")) - {SAMPLES / "receipt_torn.jpg"})
    folder.mkdir()
    for number in range(7):
        page = good[number % len(good)]
        (folder / f"{number}{page.suffix}").symlink_to(page.resolve())
    (folder / "torn.jpg").write_bytes(good[0].read_bytes()[:2000])
    return folder


def _measured(name: str, pages: Path, out: Path) -> dict[str, Any]:
    """Run one engine. `pages` is the number of rows written, 0 if the process failed."""
    began = time.perf_counter()
    log = out.with_suffix(".log").open("w+")
    process = subprocess.Popen(_argv(name, pages, out), stdout=log, stderr=subprocess.DEVNULL)
    peak = watched(process).peak_mb
    wall = time.perf_counter() - began
    shards = out / "shards" if name == OURS else out
    if process.returncode:
        return {"pages": 0, "exit_code": process.returncode, "wall_s": wall}
    if name == OURS:
        record = json.loads((out / "run.json").read_text())["sessions"][0]
        stage = record["stages"]["rapid_ocr"]
        seconds = stage["last_batch_at"] - stage["first_batch_at"]
    else:
        log.seek(0)
        times = json.loads(log.read().splitlines()[-1])
        seconds = times["ended"] - times["began"]
    rows = ds.dataset(shards, format="parquet").count_rows()
    return {"pages": rows, "reading_s": seconds, "wall_s": wall, "peak_mb": peak}


def _argv(name: str, pages: Path, out: Path) -> list[str]:
    if name != OURS:
        return [
            sys.executable,
            str(HERE / "parts/engine_peer.py"),
            PEERS[name],
            str(pages),
            str(out),
        ]
    return run_argv(pages, out)


def _report(results: dict[str, list[dict[str, Any]]], written: dict[str, int]) -> dict[str, Any]:
    found = {}
    for name, ones in results.items():
        reading, spread = median_and_spread([one["pages"] / one["reading_s"] for one in ones])
        all_in, _ = median_and_spread([one["pages"] / one["wall_s"] for one in ones])
        found[name] = {
            "reading": reading,
            "spread": spread,
            "all_in": all_in,
            "peak_mb": round(max(one["peak_mb"] for one in ones)),
            "of_eight_with_one_torn": written[name],
        }
    ours = found[OURS]
    for one in found.values():
        one["ours_is"] = round(ours["reading"] / one["reading"], 2)
        one["ours_is_all_in"] = round(ours["all_in"] / one["all_in"], 2)
    pages = results[OURS][0]["pages"]
    return head() | {"pages": pages, "repeats": len(results[OURS]), "engines": found}


def _lines(report: dict[str, Any]) -> list[str]:
    rows = [
        [
            name,
            f"{one['reading']:.2f}",
            spread_text(one["spread"]),
            f"{one['ours_is']:.2f} x",
            f"{one['all_in']:.2f}",
            f"{one['ours_is_all_in']:.2f} x",
            f"{one['peak_mb']:,}",
            f"{one['of_eight_with_one_torn']} of 8",
        ]
        for name, one in report["engines"].items()
    ]
    columns = ["engine", "pages/s reading", "spread", "ours is", "all in", "ours is", "peak MB"]
    title = f"# One reader, three engines, {report['date']}, {report['machine']}"
    what = (
        f"{report['pages']} pages x {report['repeats']}, medians, {os.cpu_count()} processes each; "
        "the reader and its networks are the same. Last column: pages written of eight, one of "
        "them truncated."
    )
    return [title, "", what, "", *table([*columns, "one truncated page"], rows)]


if __name__ == "__main__":
    main()
