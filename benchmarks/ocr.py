"""OCR: `nightjar run`, RapidOCR's loop and the floor on the same pages and cores.

    python benchmarks/ocr.py PAGES_DIR [--truth DIR] [--copies 3] [--repeats 3] [--only NAME]
        [--out DIR]

Contestants take turns (a, b, c, a, b, c ...), so that other load on the machine affects all alike.
Each loads its models and reads one page before its clock starts.

Copies: RapidOCR's loops read every page once, the others `--copies` times. OpenVINO needs 25 to 90
ms for a new input shape. With only 63 pages that start-up cost would be a tenth of the time.

Floor: the same compiled models as ours on inputs that are prepared before the clock starts. With
these models no reader can be faster on this machine.

CER: the lines of both sides are sorted into rows by their boxes (top to bottom, left to right).
Spaces and case are ignored, so that order and splitting of lines do not count. Micro average over
pages. Nightjar keeps lines with a score below 0.5, RapidOCR drops them; `cer_sure` is our CER
without these lines.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jiwer
import yaml
from parts.ocr_worker import Lines, boxed
from parts.report import head, median_and_spread, result_stem, table, write
from parts.together import together
from parts.watch import beside_models, watched

HERE = Path(__file__).parent

OURS, FLOOR = "nightjar run", "floor: bare networks, prepared inputs"
#: name -> (worker kind, engine, processes (0: one per core), threads per process (0: default))
LOOPS = {
    "rapidocr loop, as it ships": ("rapidocr", "onnxruntime", 1, 0),
    "rapidocr loop, one process per core": ("rapidocr", "onnxruntime", 0, 1),
    "rapidocr loop on openvino": ("rapidocr", "openvino", 1, 0),
    "rapidocr loop on openvino, one process per core": ("rapidocr", "openvino", 0, 1),
    "nightjar's actor without Ray": ("actor", "openvino", 0, 1),
    FLOOR: ("floor", "openvino", 0, 1),
}


def main() -> None:
    arguments = _arguments()
    pages = pages_of(arguments.pages)
    with tempfile.TemporaryDirectory() as scratch:
        once = copied(pages, 1, Path(scratch) / "once")
        folder = copied(pages, arguments.copies, Path(scratch) / "pages")
        results: dict[str, list[dict[str, Any]]] = {}
        for repeat in range(arguments.repeats):
            names = arguments.only or list(LOOPS)
            for name, result in _round(once, folder, Path(scratch) / f"run{repeat}", names):
                result["cer"] = cer(result.pop("texts"), arguments.truth)
                if "sure" in result:
                    result["cer_sure"] = cer(result.pop("sure"), arguments.truth)
                results.setdefault(name, []).append(result)
                print(f"{repeat} {name}: {result}", flush=True)
    report = _report(results, arguments, len(pages))
    _write(report, arguments.out)


def pages_of(folder: Path) -> list[Path]:
    """The images of a folder, sorted by name."""
    return sorted(page for page in folder.iterdir() if page.suffix.lower() in (".jpg", ".png"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument(
        "--copies", type=int, default=3, help="copies of each page for ours and the floor"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--only", action="append", choices=LOOPS, help="contestant beside ours; repeatable"
    )
    parser.add_argument("--out", type=Path, default=HERE / "results")
    return parser.parse_args()


def copied(pages: list[Path], copies: int, folder: Path) -> Path:
    folder.mkdir()
    for copy in range(copies):
        for page in pages:
            (folder / f"{copy}-{page.name}").symlink_to(page.resolve())
    return folder


def _round(
    once: Path, folder: Path, run_dir: Path, names: list[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    yield OURS, _ours(folder, run_dir)
    for name in names:
        kind, engine, processes, threads = LOOPS[name]
        pages = once if kind == "rapidocr" else folder
        yield name, _loop(pages, kind, engine, processes or (os.cpu_count() or 1), threads)


def _loop(folder: Path, kind: str, engine: str, processes: int, threads: int) -> dict[str, Any]:
    """All workers load their models, then read their shares of the pages at the same time."""
    pages = sorted(map(str, folder.iterdir()))
    argv = [sys.executable, "-m", "parts.ocr_worker", kind, engine, str(threads)]
    seconds, answers = together(argv, [pages[number::processes] for number in range(processes)])
    return {
        "seconds": seconds,
        "pages": len(pages),
        "peak_mb": sum(a["peak_mb"] for a in answers),
        "texts": {k: v for a in answers for k, v in a["texts"].items()},
    }


def run_argv(folder: Path, run_dir: Path) -> list[str]:
    """The command line of `nightjar run` over `folder`; writes its config beside `run_dir`."""
    config = yaml.safe_load((HERE.parent / "configs/ocr_backfill/quickstart.yaml").read_text())
    config |= {"run_dir": str(run_dir), "source": {"path": str(folder)}}
    config["fetch_pool"] |= {"batch_size": 16}
    config["ocr_pool"] |= {"batch_size": 16}
    path = run_dir.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(config))
    return [sys.executable, "-m", "jobs.cli", "run", "--no-report", str(path)]


def _ours(folder: Path, run_dir: Path) -> dict[str, Any]:
    """`nightjar run`, timed from the first to the last batch of the readers."""
    import pyarrow.dataset as ds

    argv = run_argv(folder, run_dir)
    began = time.perf_counter()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    seen = watched(process)
    assert process.returncode == 0
    wall = time.perf_counter() - began
    session = json.loads((run_dir / "run.json").read_text())["sessions"][0]
    stage = session["stages"]["rapid_ocr"]
    rows = ds.dataset(run_dir / "shards").to_table(columns=["uri", "lines"]).to_pylist()
    return {
        "seconds": stage["last_batch_at"] - stage["first_batch_at"],
        "pages": len(rows),
        "peak_mb": seen.peak_mb,
        "wall_s": wall,
        "first_row_s": session["first_commit_s"],
        "busy_s": stage["busy_s"],
        "steps": stage["seconds"],
        "cpu_s": seen.cpu_between(stage["first_batch_at"], stage["last_batch_at"]),
        "texts": {Path(r["uri"]).name: [boxed(x) for x in r["lines"] or ()] for r in rows},
        "sure": {
            Path(r["uri"]).name: [boxed(x) for x in r["lines"] or () if (x["score"] or 0) >= 0.5]
            for r in rows
        },
    }


def cer(pages: Lines, truth: Path | None) -> float | None:
    """Character error rate (0..1), micro average; the module docstring has the definition."""
    if truth is None or not pages:
        return None
    expected = [in_rows(_truth_lines(truth, name.split("-", 1)[1])) for name in pages]
    read = [in_rows(lines) for lines in pages.values()]
    return float(jiwer.cer(expected, read))


def in_rows(lines: list[list[Any]]) -> str:
    """Lines [text, x0, y0, x1, y1] as one string, row by row, without spaces, in upper case."""
    rows: list[tuple[float, float, list[tuple[float, str]]]] = []
    for text, x0, y0, _, y1 in sorted(lines, key=lambda line: line[2] + line[4]):
        centre, height = (y0 + y1) / 2, y1 - y0
        if rows and abs(centre - rows[-1][0]) < 0.5 * min(height, rows[-1][1]):
            rows[-1][2].append((x0, text))
        else:
            rows.append((centre, height, [(x0, text)]))
    joined = "".join(text for *_, row in rows for _, text in sorted(row))
    return "".join(joined.split()).upper()


def _truth_lines(truth: Path, page: str) -> list[list[Any]]:
    lines: list[list[Any]] = []
    for row in (truth / Path(page).with_suffix(".csv")).read_text(errors="replace").splitlines():
        *corners, text = row.split(",", 8)
        if len(corners) == 8:
            xs, ys = [float(c) for c in corners[::2]], [float(c) for c in corners[1::2]]
            lines.append([text, min(xs), min(ys), max(xs), max(ys)])
    return lines


def _report(results: dict[str, list[dict[str, Any]]], arguments: Any, pages: int) -> dict[str, Any]:
    rates = {n: [r["pages"] / r["seconds"] for r in rs] for n, rs in results.items()}
    ours = statistics.median(rates[OURS])
    rows = {}
    for name, rate in rates.items():
        median, spread = median_and_spread(rate)
        rows[name] = {
            "pages_per_s": median,
            "spread": spread,
            "ours_is": round(ours / statistics.median(rate), 3),
            "cer": results[name][0]["cer"],
            "cer_sure": results[name][0].get("cer_sure"),
            "peak_mb": round(max(r["peak_mb"] for r in results[name])),
        }
    return head() | {
        "pages": f"{pages} pages x {arguments.copies}, {arguments.repeats} repeats",
        "contestants": rows,
        "raw": results,
    }


def _write(report: dict[str, Any], out: Path) -> None:
    rows = []
    for name, row in report["contestants"].items():
        rate = "" if row["cer"] is None else f"{100 * row['cer']:.2f} %"
        if row["cer_sure"] is not None:
            rate += f" ({100 * row['cer_sure']:.2f} %)"
        spread = f"{row['spread'][0]} .. {row['spread'][1]}"
        ours_is, peak = f"{row['ours_is']:.2f} x", str(row["peak_mb"])
        rows.append([name, str(row["pages_per_s"]), spread, ours_is, rate, peak])
    columns = ["contestant", "pages/s (median)", "spread", "ours is", "CER", "peak MB"]
    title = f"# OCR, {report['date']}, {report['machine']}, {report['pages']}"
    lines = [title, "", *table(columns, rows)]
    if FLOOR in report["contestants"]:
        lines += ["", *_gap_lines(report["raw"])]
    write(result_stem(out, "ocr", report), report, lines)


#: Steps of the reader other than its networks -> their names in the table of causes.
STEPS = {"decode": "decoding", "crop": "cutting lines out", "ink": "ink", "order": "reading order"}


def gap(ours: dict[str, Any], floor: dict[str, Any], cores: int) -> dict[str, float]:
    """Core seconds by cause that the run needs beyond the floor. They add up to the gap.

    Steps are wall time of the single-threaded readers; the other causes are CPU time per process.
    `networks beyond the floor`: new input shapes of OpenVINO, memory contention, Arrow. `idle`:
    unused core time, mostly at the end when one reader has no batch left.
    """
    used, pages = ours["cpu_s"], ours["pages"] / floor["pages"]
    found = {name: ours["steps"].get(step, 0.0) for step, name in STEPS.items()}
    networks = used.get("models", 0.0) - sum(found.values())
    found["networks beyond the floor"] = networks - cores * floor["seconds"] * pages
    return found | beside_models(used, cores * ours["seconds"])


def _gap_lines(raw: dict[str, list[dict[str, Any]]]) -> list[str]:
    cores = os.cpu_count() or 1
    pairs = [(one, other) for one, other in zip(raw[OURS], raw[FLOOR], strict=True) if one["cpu_s"]]
    if not pairs:
        return []
    each = [gap(ours, floor, cores) for ours, floor in pairs]
    found = {name: statistics.median(one[name] for one in each) for name in each[0]}
    whole = sum(found.values())
    spent = statistics.median(cores * ours["seconds"] for ours, _ in pairs)
    rows = [
        [name, f"{seconds:.1f}", f"{100 * seconds / whole:.0f} %"]
        for name, seconds in sorted(found.items(), key=lambda item: -item[1])
    ]
    said = (
        f"Causes of the gap to the floor: {whole:.0f} of {spent:.0f} core seconds of a run "
        f"({cores} cores x reading time)."
    )
    return [said, "", *table(["cause", "core seconds", "of the gap"], rows)]


if __name__ == "__main__":
    main()
