"""OCR engines: our actors, each in its environment, and PaddleOCR's own loop.

    python benchmarks/ocr_engines.py PAGES_DIR [--truth DIR] [--pages N] [--repeats 2] [--out DIR]

One process with one thread each, in turns. Each loads its models and reads one page before its
clock starts. CPU seconds per page are reported too, because other load on the machine affects them
less than wall time. Error rates as in `ocr.py`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from parts.report import head, median_and_spread, result_stem, spread_text, table, write

HERE = Path(__file__).parent
Lines = list[list[Any]]  # [text, x0, y0, x1, y1], pixels

#: name -> (environment, actor, settings); `pipeline` is PaddleOCR's own loop.
CONTESTANTS: dict[str, tuple[str | None, str, dict[str, Any]]] = {
    "rapid_ocr, openvino": (None, "rapid_ocr", {"engine": "openvino"}),
    "rapid_ocr, onnxruntime": (None, "rapid_ocr", {"engine": "onnxruntime"}),
    "paddle_ocr, onnxruntime": ("paddle_ocr", "paddle_ocr", {}),
    "PaddleOCR 3.7's own loop, onnxruntime": ("paddle_ocr", "pipeline", {}),
}


def main() -> None:
    if sys.argv[1] == "--worker":
        _work(sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4]))
        return
    from ocr import errors_of
    from parts.text_errors import legend, truths_of

    arguments = _arguments()
    truths = truths_of(arguments.truth) if arguments.truth else {}
    pages = sorted(map(str, arguments.pages_dir.iterdir()))
    if arguments.pages:
        pages = pages[:: max(1, len(pages) // arguments.pages)][: arguments.pages]
    results: dict[str, list[dict[str, Any]]] = {}
    for repeat in range(arguments.repeats):
        for name, contestant in CONTESTANTS.items():
            answer = _asked(*contestant, pages)
            answer["rates"] = errors_of(answer.pop("texts"), truths)
            results.setdefault(name, []).append(answer)
            print(f"{repeat} {name}: {answer}", flush=True)
    found = {name: _figures(answers, len(pages)) for name, answers in results.items()}
    report = head() | {"pages": len(pages), "repeats": arguments.repeats, "engines": found}
    lines = _lines(report)
    if truths:
        lines += ["", legend(truths)]
    write(result_stem(arguments.out, "ocr_engines", report), report, lines)


def _figures(answers: list[dict[str, Any]], pages: int) -> dict[str, Any]:
    rate, spread = median_and_spread([pages / one["seconds"] for one in answers])
    cpu, _ = median_and_spread([one["cpu_s"] / pages for one in answers])
    return {
        "pages_per_s": rate,
        "spread": spread,
        "cpu_s_per_page": cpu,
        "rates": answers[0]["rates"],
        "peak_mb": round(max(one["peak_mb"] for one in answers)),
    }


def _lines(report: dict[str, Any]) -> list[str]:
    from parts.text_errors import COLUMNS, cells, names_of

    names = names_of(one["rates"] for one in report["engines"].values())
    rows = [
        [
            name,
            f"{one['pages_per_s']:.2f}",
            spread_text(one["spread"]),
            f"{one['cpu_s_per_page']:.2f}",
            *cells(one["rates"], names),
            f"{one['peak_mb']:,}",
        ]
        for name, one in report["engines"].items()
    ]
    columns = ["engine", "pages/s (median)", "spread", "CPU s/page"]
    columns += [*(COLUMNS[name] for name in names), "peak MB"]
    title = f"# OCR engines, {report['date']}, {report['machine']}"
    what = f"{report['pages']} pages x {report['repeats']}, one process and one thread each."
    return [title, "", what, "", *table(columns, rows)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages_dir", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument(
        "--pages", type=int, help="number of pages, spread over the folder; default: all"
    )
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    return parser.parse_args()


def _asked(
    environment: str | None, reader: str, settings: dict[str, Any], pages: Sequence[str]
) -> dict[str, Any]:
    from pipelines.engine import environments

    python = environments.find(environment) if environment else Path(sys.executable)
    if python is None:
        raise SystemExit(f"there is no environment {environment!r}: run `make engines`")
    job = [reader, json.dumps(settings), json.dumps(list(pages))]
    done = subprocess.run(
        [str(python), __file__, "--worker", *job], stdout=subprocess.PIPE, text=True, check=True
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _work(reader: str, settings: dict[str, Any], pages: list[str]) -> None:
    read = _pipeline() if reader == "pipeline" else _actor(reader, settings)
    read(pages[:1])
    wall, cpu = time.perf_counter(), time.process_time()
    texts = read(pages)
    answer = {
        "seconds": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "texts": {f"0-{Path(page).name}": lines for page, lines in texts.items()},
    }
    print(json.dumps(answer), flush=True)


def _actor(name: str, settings: dict[str, Any]) -> Callable[[list[str]], dict[str, Lines]]:
    import importlib

    import pyarrow as pa
    from parts.ocr_worker import boxed

    module = importlib.import_module(f"actors.ocr.{name}")
    kind = {"rapid_ocr": "RapidOcr", "paddle_ocr": "PaddleOcr"}[name]
    actor = getattr(module, kind)(getattr(module, kind + "Config")(**settings))

    def read(pages: list[str]) -> dict[str, Lines]:
        images = pa.array([Path(page).read_bytes() for page in pages], pa.binary())
        found = actor(pa.table({"image": images}))["ocr_lines"].to_pylist()
        both = zip(pages, found, strict=True)
        return {page: [boxed(line) for line in lines] for page, lines in both}

    return read


def _pipeline() -> Callable[[list[str]], dict[str, Lines]]:
    import cv2
    from paddleocr import PaddleOCR

    from actors.ocr.pp_ocr.paddle_models import embedded

    cv2.setNumThreads(1)
    names = {"detection": "PP-OCRv6_small_det", "recognition": "PP-OCRv6_small_rec"}
    models = {f"text_{role}_model_name": name for role, name in names.items()} | {
        f"text_{role}_model_dir": str(embedded(name)) for role, name in names.items()
    }
    library = PaddleOCR(
        engine="onnxruntime",
        engine_config={"intra_op_num_threads": 1, "inter_op_num_threads": 1},
        use_doc_orientation_classify=False,
        use_doc_unwarping=False,
        use_textline_orientation=False,
        device="cpu",
        **models,
    )

    def read(pages: list[str]) -> dict[str, Lines]:
        found: dict[str, Lines] = {}
        for page in pages:
            (answer,) = library.predict(page, text_rec_score_thresh=0.0)
            both = zip(answer["rec_texts"], answer["rec_polys"], strict=True)
            found[page] = [
                [text, *map(float, (*poly.min(axis=0), *poly.max(axis=0)))] for text, poly in both
            ]
        return found

    return read


if __name__ == "__main__":
    main()
