"""OCR: `nightjar run`, RapidOCR's loop and the floor on the same pages and cores.

    python benchmarks/ocr.py PAGES_DIR [--truth DIR] [--copies 3] [--repeats 3] [--only NAME]
        [--out DIR]

Contestants take turns (a, b, c, a, b, c ...), so that other load on the machine affects all alike.
Each loads its models and reads one page before its clock starts.

Copies: RapidOCR's loops read every page once, the others `--copies` times. OpenVINO needs 25 to 90
ms for a new input shape. With only 63 pages that start-up cost would be a tenth of the time.

Floor: the same compiled models as ours on inputs that are prepared before the clock starts. With
these models no reader can be faster on this machine.

CER with blanks and without, WER: as `nightjar evaluate` counts them; order and splitting of lines
do not count. Micro average over pages. Nightjar keeps lines with a score below 0.5, RapidOCR drops
them; `sure` has our rates without these lines, in brackets in the table.
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

import yaml
from parts.ocr_worker import Lines, boxed
from parts.report import head, median_and_spread, result_stem, table, write
from parts.text_errors import COLUMNS, Truths, cells, counted, legend, names_of, rates, truths_of
from parts.together import together
from parts.watch import beside_models, watched

from pipelines.measures.character_errors import TextLine

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
    truths = truths_of(arguments.truth) if arguments.truth else {}
    with tempfile.TemporaryDirectory() as scratch:
        once = copied(pages, 1, Path(scratch) / "once")
        folder = copied(pages, arguments.copies, Path(scratch) / "pages")
        results: dict[str, list[dict[str, Any]]] = {}
        for repeat in range(arguments.repeats):
            names = arguments.only or list(LOOPS)
            for name, result in _round(once, folder, Path(scratch) / f"run{repeat}", names):
                result["rates"] = errors_of(result.pop("texts"), truths)
                if "sure" in result:
                    result["sure"] = errors_of(result["sure"], truths)
                results.setdefault(name, []).append(result)
                print(f"{repeat} {name}: {result}", flush=True)
    report = _report(results, arguments, len(pages))
    _write(report, truths, arguments.out)


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


def errors_of(pages: Lines, truths: Truths) -> dict[str, float]:
    """The rates of pages named COPY-NAME.SUFFIX; empty without truth."""
    if not truths:
        return {}
    read = {
        copy: {
            name.partition("-")[2]: [
                TextLine(text, (x0, y0, x1, y1)) for text, x0, y0, x1, y1 in lines
            ]
            for name, lines in pages.items()
            if name.partition("-")[0] == copy
        }
        for copy in {name.partition("-")[0] for name in pages}
    }
    return rates(one for pages in read.values() for one in counted(pages, truths).values())


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
            "rates": results[name][0]["rates"],
            "sure": results[name][0].get("sure"),
            "peak_mb": round(max(r["peak_mb"] for r in results[name])),
        }
    return head() | {
        "pages": f"{pages} pages x {arguments.copies}, {arguments.repeats} repeats",
        "contestants": rows,
        "raw": results,
    }


def _write(report: dict[str, Any], truths: Truths, out: Path) -> None:
    names = names_of(row["rates"] for row in report["contestants"].values())
    rows = []
    for name, row in report["contestants"].items():
        found = cells(row["rates"], names)
        if row["sure"]:
            found = [f"{a} ({b})" for a, b in zip(found, cells(row["sure"], names), strict=True)]
        spread = f"{row['spread'][0]} .. {row['spread'][1]}"
        ours_is, peak = f"{row['ours_is']:.2f} x", str(row["peak_mb"])
        rows.append([name, str(row["pages_per_s"]), spread, ours_is, *found, peak])
    headings = [COLUMNS[name] for name in names]
    columns = ["contestant", "pages/s (median)", "spread", "ours is", *headings, "peak MB"]
    title = f"# OCR, {report['date']}, {report['machine']}, {report['pages']}"
    lines = [title, "", *table(columns, rows)]
    if truths:
        lines += ["", f"{legend(truths)} In brackets: without lines that score below 0.5."]
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
