"""OCR commands: OCRmyPDF, RapidOCR, docling and PaddleOCR against `nightjar run`.

    python benchmarks/ocr_peers.py [PAGES_DIR] [--truth DIR] [--peers DIR] [--pages 24]
        [--repeats 2] [--out DIR]

Every contestant is a command line as in its manual, with all cores, on the same pages. They take
turns.

- `all in`: pages divided by the wall time of the whole command.
- `reading`: the same without start-up and loading of models. For peers, the time of the same
  command over one page is subtracted. Ours is timed from first to last batch in run.json.
- `ahead from`: number of pages from which our whole command is faster, computed from these two.
- CER with blanks and without, WER: as `nightjar evaluate` counts them, micro average. Lines are
  matched by their boxes, or by their text if the peer gives no boxes. Order and splitting of lines
  do not count. Beside each rate: ours on the same pages.

Each peer has an environment of its own (`make bench-peers`). The report names missing peers.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from parts.docling_models import lay_out
from parts.report import head, median_and_spread, result_stem, table, write
from parts.text_errors import COLUMNS, Truths, cells, counted, legend, names_of, rates, truths_of
from parts.together import quiet

from pipelines.measures.character_errors import TextLine

HERE = Path(__file__).parent
RECEIPTS = HERE.parent.parent / "shared/data/receipts"
CORES = os.cpu_count() or 1
Read = dict[str, list[TextLine]]


@dataclass(frozen=True)
class Peer:
    """A command over a folder of pages. `run` reads all pages and returns their lines."""

    name: str
    run: Callable[[Path, Path], Read]
    missing: Callable[[], str | None] = lambda: None
    pages: int | None = None  #: fewer pages, for a command that starts once per page


def main() -> None:
    arguments = _arguments()
    everything = sorted(
        p for p in arguments.folder.iterdir() if p.suffix.lower() in (".jpg", ".png")
    )
    pages = everything[:: max(len(everything) // arguments.pages, 1)][: arguments.pages]
    truths = truths_of(arguments.truth)
    contestants, absent = [], {}
    for peer in peers(arguments.peers):
        why = peer.missing()
        if why:
            absent[peer.name] = why
        else:
            contestants.append(peer)
    results: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for repeat in range(arguments.repeats):
            for number, peer in enumerate(contestants):
                result = _timed(peer, pages, truths, Path(scratch) / f"{repeat}-{number}")
                results.setdefault(peer.name, []).append(result)
                print(f"{repeat} {peer.name}: {result}", flush=True)
    report = _report(results, absent, len(pages), arguments)
    lines = [*_lines(report), "", legend(truths)]
    write(result_stem(arguments.out, "ocr_peers", report), report, lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", default=RECEIPTS / "images")
    parser.add_argument("--truth", type=Path, default=RECEIPTS / "truth")
    parser.add_argument("--peers", type=Path, default=HERE.parent / ".venvs/peers")
    parser.add_argument("--pages", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    return parser.parse_args()


def _timed(peer: Peer, pages: list[Path], truths: Truths, scratch: Path) -> dict[str, Any]:
    pages = pages[: peer.pages]
    one, _, _ = _run(peer, pages[:1], scratch.with_name(scratch.name + "-one"))
    seconds, read, inner = _run(peer, pages, scratch)
    reading = inner or (seconds - one) * len(pages) / max(len(pages) - 1, 1)
    errors = counted({page.name: read.get(page.name, []) for page in pages}, truths)
    return {
        "pages": len(pages),
        "seconds": round(seconds, 2),
        "one_page_s": round(one, 2),
        "all_in": len(pages) / seconds,
        "reading": len(pages) / max(reading, 1e-3),
        "errors": errors,
    }


def _run(peer: Peer, pages: list[Path], scratch: Path) -> tuple[float, Read, float | None]:
    """(seconds of the command, lines read, seconds of reading alone if the peer reports them)."""
    folder, out = scratch / "pages", scratch / "out"
    folder.mkdir(parents=True)
    out.mkdir()
    for page in pages:
        (folder / page.name).symlink_to(page.resolve())
    start = time.perf_counter()
    read = peer.run(folder, out)
    seconds = time.perf_counter() - start
    inner = out / "reading_s"
    return seconds, read, float(inner.read_text()) if inner.exists() else None


def peers(folder: Path) -> Iterator[Peer]:
    """All contestants; `folder` holds the peers' environments."""
    yield Peer("nightjar run", nightjar)
    yield Peer("rapidocr, its command page by page", rapidocr, pages=6)
    paddle, docling = folder / "paddleocr/bin/paddleocr", folder / "docling/bin/docling"
    yield Peer(
        "paddleocr 3.7 on onnxruntime, its command over the folder",
        lambda pages, out: paddleocr(paddle, pages, out),
        lambda: None if paddle.exists() else f"no {paddle} (make bench-peers)",
    )
    ocrmypdf = folder / "ocrmypdf/bin/ocrmypdf"
    yield Peer(
        "OCRmyPDF with Tesseract, a process per core",
        lambda pages, out: ocrmypdf_tesseract(ocrmypdf, pages, out),
        lambda: _needs(ocrmypdf, "tesseract", "gs"),
    )
    models = folder / "docling-models"
    yield Peer(
        "docling with RapidOCR, its layout model with random weights",
        lambda pages, out: docling_rapidocr(docling, models, pages, out),
        lambda: _docling_missing(docling, models),
    )


def _needs(program: Path, *commands: str) -> str | None:
    if not program.exists():
        return f"no {program} (make bench-peers)"
    gone = [name for name in commands if shutil.which(name) is None]
    return (
        f"not installed: {', '.join(gone)} (apt-get install tesseract-ocr ghostscript)"
        if gone
        else None
    )


def _docling_missing(docling: Path, models: Path) -> str | None:
    """Why docling cannot run. If it can, its models are prepared here, before any clock starts."""
    if not docling.exists():
        return f"no {docling} (make bench-peers)"
    lay_out(models)
    return None


def nightjar(pages: Path, out: Path) -> Read:
    """`nightjar run` with the quickstart's settings."""
    import pyarrow.dataset as ds

    config = yaml.safe_load((HERE.parent / "configs/ocr_backfill/quickstart.yaml").read_text())
    config |= {"run_dir": str(out / "run"), "source": {"path": str(pages)}}
    path = out / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    quiet([sys.executable, "-m", "jobs.cli", "run", "--no-report", str(path)])
    session = json.loads((out / "run/run.json").read_text())["sessions"][0]
    stage = session["stages"]["rapid_ocr"]
    (out / "reading_s").write_text(str(stage["last_batch_at"] - stage["first_batch_at"]))
    rows = ds.dataset(out / "run/shards").to_table(columns=["uri", "lines"]).to_pylist()
    return {
        Path(r["uri"]).name: [_line(x["text"], x["polygon"]) for x in r["lines"] or ()]
        for r in rows
    }


def rapidocr(pages: Path, out: Path) -> Read:
    """`rapidocr -img PAGE` prints the lines. The command takes one image at a time."""
    read: Read = {}
    for page in sorted(pages.iterdir()):
        said = quiet([str(Path(sys.executable).with_name("rapidocr")), "-img", str(page)])
        (out / f"{page.name}.txt").write_text(said)
        read[page.name] = _rapidocr_lines(said)
    return read


def _rapidocr_lines(said: str) -> list[TextLine]:
    """The texts of a printed RapidOCROutput: its field `txts`, a tuple of strings."""
    import ast

    start = said.find("txts=(")
    if start < 0:
        return []
    end = said.index("),", start)
    return [TextLine(text) for text in ast.literal_eval(said[start + 5 : end + 1])]


def paddleocr(program: Path, pages: Path, out: Path) -> Read:
    """PP-OCRv6 small from the ONNX files in RapidOCR's wheel: the same weights as ours."""
    detection, recognition = _stock_models(out / "models")
    off = ("doc_orientation_classify", "doc_unwarping", "textline_orientation")
    argv = [str(program), "ocr", "-i", str(pages), "--engine", "onnxruntime"]
    argv += ["--text_detection_model_name", "PP-OCRv6_small_det"]
    argv += ["--text_detection_model_dir", str(detection)]
    argv += ["--text_recognition_model_name", "PP-OCRv6_small_rec"]
    argv += ["--text_recognition_model_dir", str(recognition)]
    argv += [word for name in off for word in (f"--use_{name}", "False")]
    quiet([*argv, "--save_path", str(out)])
    read: Read = {}
    for page in pages.iterdir():
        found = json.loads((out / f"{page.stem}_res.json").read_text())
        both = zip(found["rec_texts"], found["rec_polys"], strict=True)
        read[page.name] = [
            _line(text, [x for corner in quad for x in corner]) for text, quad in both
        ]
    return read


def _stock_models(folder: Path) -> list[Path]:
    """The models of rapidocr's wheel with PaddleOCR's default: lines are at least 320 columns."""
    from actors.ocr.pp_ocr.paddle_models import embedded

    made = []
    for name in ("PP-OCRv6_small_det", "PP-OCRv6_small_rec"):
        shutil.copytree(embedded(name) or "", folder / name)
        recipe = folder / name / "inference.yml"
        known = yaml.safe_load(recipe.read_text())
        for step in known["PreProcess"]["transform_ops"]:
            if "RecResizeImg" in step:
                step["RecResizeImg"]["image_shape"] = [3, 48, 320]
        recipe.write_text(yaml.safe_dump(known, allow_unicode=True))
        made.append(folder / name)
    return made


def ocrmypdf_tesseract(program: Path, pages: Path, out: Path) -> Read:
    """One single-threaded process per page, one per core at a time."""
    environment = os.environ | {"OMP_THREAD_LIMIT": "1"}

    def one(page: Path) -> tuple[str, list[TextLine]]:
        text = out / f"{page.stem}.txt"
        argv = [str(program), "--jobs", "1", "--image-dpi", "200", "--output-type", "pdf"]
        argv += ["--sidecar", str(text), str(page), str(out / f"{page.stem}.pdf")]
        quiet(argv, environment)
        return page.name, _text_lines(text)

    with ThreadPoolExecutor(CORES) as pool:
        return dict(pool.map(one, sorted(pages.iterdir())))


def docling_rapidocr(program: Path, models: Path, pages: Path, out: Path) -> Read:
    """Full-page OCR without tables, so that docling only reads and orders lines."""
    argv = [str(program), "--from", "image", "--to", "text", "--artifacts-path", str(models)]
    argv += ["--ocr-engine", "rapidocr", "--ocr-mode", "full_page", "--no-tables"]
    quiet([*argv, "--num-threads", str(CORES), "--output", str(out), str(pages)])
    return {page.name: _text_lines(out / f"{page.stem}.txt") for page in pages.iterdir()}


def _text_lines(text: Path) -> list[TextLine]:
    return [TextLine(line) for line in text.read_text().splitlines() if line.strip()]


def _line(text: str | None, polygon: list[float]) -> TextLine:
    xs, ys = polygon[::2], polygon[1::2]
    return TextLine(text or "", (min(xs), min(ys), max(xs), max(ys)))


def _report(
    results: dict[str, list[dict[str, Any]]], absent: dict[str, str], pages: int, arguments: Any
) -> dict[str, Any]:
    ours = {key: _median(results["nightjar run"], key) for key in ("all_in", "reading")}
    rows = {}
    for name, found in results.items():
        row: dict[str, Any] = {"pages": found[0]["pages"]}
        ours_there = results["nightjar run"][0]["errors"]
        row["rates"] = rates(found[0]["errors"].values())
        row["rates_ours_there"] = rates(ours_there[page] for page in found[0]["errors"])
        for key in ("all_in", "reading"):
            row[key], row[f"{key}_spread"] = median_and_spread([one[key] for one in found])
            row[f"{key}_ours_is"] = round(ours[key] / _median(found, key), 3)
        row["ahead_from"] = _ahead_from(results["nightjar run"], found)
        rows[name] = row
    what = f"{pages} pages, {arguments.repeats} repeats, {CORES} cores"
    return head() | {"pages": what, "contestants": rows, "left_out": absent, "raw": results}


def _ahead_from(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> int | None:
    """Number of pages from which our whole command is faster; None if it never is."""
    rates = [_median(found, "reading") for found in (ours, theirs)]
    starts = [_start(found, rate) for found, rate in zip((ours, theirs), rates, strict=True)]
    if rates[0] <= rates[1]:
        return None
    return max(1, math.ceil((starts[0] - starts[1]) / (1 / rates[1] - 1 / rates[0])))


def _start(found: list[dict[str, Any]], rate: float) -> float:
    """Start-up: seconds of the whole command without reading."""
    return _median(found, "seconds") - found[0]["pages"] / rate


def _median(found: list[dict[str, Any]], key: str) -> float:
    return float(statistics.median(one[key] for one in found))


def _lines(report: dict[str, Any]) -> list[str]:
    names = names_of(row["rates"] for row in report["contestants"].values())
    rows = [
        [
            name,
            f"{row['reading']:.2f} ({row['reading_spread'][0]} .. {row['reading_spread'][1]})",
            f"{row['reading_ours_is']:.2f} x",
            f"{row['all_in']:.2f}",
            f"{row['all_in_ours_is']:.2f} x",
            f"{row['ahead_from'] or '-'}",
            *_beside(row, names),
        ]
        for name, row in report["contestants"].items()
    ]
    columns = ["contestant", "reading, pages/s (spread)", "ours is", "all in", "ours is"]
    columns += ["ahead from (pages)", *(f"{COLUMNS[name]} (ours there)" for name in names)]
    title = f"# OCR peers as commands, {report['date']}, {report['machine']}, {report['pages']}"
    gone = [f"Left out: {name}: {why}." for name, why in report["left_out"].items()]
    return [title, "", *table(columns, rows), "", *gone]


def _beside(row: dict[str, Any], names: list[str]) -> list[str]:
    both = cells(row["rates"], names), cells(row["rates_ours_there"], names)
    return [f"{theirs} ({ours})" for theirs, ours in zip(*both, strict=True)]


if __name__ == "__main__":
    main()
