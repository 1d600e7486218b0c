"""`nightjar run` with and without a slow fallback reader: the effect on all other pages.

    python benchmarks/escalation.py [--copies 30] [--answer-s 5] [--repeats 3] [--out DIR]

Input: copies of four sample receipts; one of the four is in doubt. A local endpoint takes
`--answer-s` seconds for each request and returns the true text. Contestants take turns. OCR pages/s
is measured from the first to the last OCR batch in run.json; a pipeline that waits for answers has
a lower rate. Tail: seconds from the last OCR batch to the last answer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from parts.report import head, median_and_spread, result_stem, table, write

HERE = Path(__file__).parent
SAMPLES = HERE.parent / "configs/samples/documents"
DOUBTED = "receipt_garage_faded.jpg"
RECEIPTS = ("receipt_grocer.jpg", "receipt_cafe.jpg", "receipt_pharmacy_sideways.jpg", DOUBTED)
WITHOUT, WITH = "no fallback", "slow fallback"

sys.path.append(str(HERE.parent / "tests/resources"))


def main() -> None:
    arguments = _arguments()
    from chat_server import chat_server, said

    truth = (SAMPLES / "truth" / f"{DOUBTED}.page1.txt").read_text()
    results: dict[str, list[dict[str, Any]]] = {WITHOUT: [], WITH: []}
    with tempfile.TemporaryDirectory() as scratch, chat_server() as server:
        server.always = said(truth, delay_s=arguments.answer_s)
        folder = _copied(Path(scratch) / "pages", arguments.copies)
        vlm = {"base_url": server.base_url, "model": "slow", "concurrency": 8}
        for repeat in range(arguments.repeats):
            for name, changes in ((WITHOUT, {}), (WITH, {"vlm": vlm})):
                result = _run(folder, Path(scratch) / f"{repeat}-{len(changes)}", changes)
                results[name].append(result)
                print(f"{repeat} {name}: {result}", flush=True)
    _report(arguments, results)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--copies", type=int, default=30)
    parser.add_argument("--answer-s", type=float, default=5.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    return parser.parse_args()


def _copied(folder: Path, copies: int) -> Path:
    folder.mkdir()
    for copy in range(copies):
        for name in RECEIPTS:
            (folder / f"{copy}-{name}").symlink_to(SAMPLES / name)
    return folder


def _run(folder: Path, run_dir: Path, changes: dict[str, Any]) -> dict[str, Any]:
    config = yaml.safe_load((HERE.parent / "configs/ocr_backfill/quickstart.yaml").read_text())
    config |= {"run_dir": str(run_dir), "source": {"path": str(folder)}, **changes}
    path = run_dir.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(config))
    argv = [sys.executable, "-m", "jobs.cli", "run", "--no-report", str(path)]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    record = json.loads((run_dir / "run.json").read_text())
    (session,) = record["sessions"]
    ocr, vlm = session["stages"]["rapid_ocr"], session["stages"].get("vlm")
    return {
        "pages": ocr["rows"],
        "ocr_s": ocr["last_batch_at"] - ocr["first_batch_at"],
        "tail_s": vlm["last_batch_at"] - ocr["last_batch_at"] if vlm else 0.0,
        "outcomes": record["totals"]["outcomes"],
    }


def _report(arguments: argparse.Namespace, results: dict[str, list[dict[str, Any]]]) -> None:
    rates = {name: [r["pages"] / r["ocr_s"] for r in runs] for name, runs in results.items()}
    ratios = [a / b for a, b in zip(rates[WITH], rates[WITHOUT], strict=True)]
    found = {
        name: {
            "ocr_pages_per_s": median_and_spread(rates[name]),
            "tail_s": round(statistics.median(r["tail_s"] for r in runs), 1),
            "outcomes": runs[0]["outcomes"],
        }
        for name, runs in results.items()
    }
    ratio, spread = median_and_spread(ratios)
    report = head() | {
        "pages": results[WITH][0]["pages"],
        "answer_s": arguments.answer_s,
        "repeats": arguments.repeats,
        "with_over_without": {"median": ratio, "spread": spread},
        "contestants": found,
        "raw": results,
    }
    rows = [
        [
            name,
            f"{row['ocr_pages_per_s'][0]}",
            " .. ".join(map(str, row["ocr_pages_per_s"][1])),
            f"{row['tail_s']}",
            ", ".join(f"{n} {k}" for k, n in row["outcomes"].items()),
        ]
        for name, row in found.items()
    ]
    title = f"# Escalation, {report['date']}, {report['machine']}, {report['pages']} pages"
    words = (
        f"An answer takes {arguments.answer_s:g} s, 8 requests at once. With the fallback, OCR "
        f"runs at {ratio:.2f} ({spread[0]:.2f} .. {spread[1]:.2f}) of its rate without it "
        f"({arguments.repeats} repeats)."
    )
    columns = ["contestant", "OCR pages/s (median)", "spread", "tail s", "outcomes"]
    lines = [title, "", words, "", *table(columns, rows)]
    write(result_stem(arguments.out, "escalation", report), report, lines)


if __name__ == "__main__":
    main()
