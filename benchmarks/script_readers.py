"""CER of rendered pages by script and engine: rapid_ocr, Tesseract's own lines, our Tesseract.

    python benchmarks/script_readers.py [--out DIR]

Ten languages, two or three fonts, letters of 34 and 24 pixels; one process, one thread. CER counts
runs of white space as one blank, in reading order. A second table has pages in one script with a
few Latin words, read with and without `eng`. A third one says what floors of the mean score accept;
it has pages in letters of 16 and 12 pixels, too, many of which are read badly.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from parts.pages.script_pages import LANGUAGES, Language, Page, missing, page
from parts.report import head, result_stem, table, write
from rapidfuzz.distance import Levenshtein

from actors.ocr.rapid_ocr import RapidOcr, RapidOcrConfig
from actors.ocr.tesseract.language_data import data_folder, installed
from actors.ocr.tesseract.reader import Tesseract, TesseractConfig
from pipelines.decisions.by_script import usual_languages
from pipelines.decisions.routing import Floors, measured

HERE = Path(__file__).parent
SIZES = (34, 24)
LATIN = "London, 10 December 1948"
MIXED_FONT = "DejaVuSans.ttf"
SMALL = (16, 12)
FLOORS = (0.8, 0.85, 0.9)
MIXED = ("rus", "ell", "ara", "heb")
Read = Callable[[bytes], str]


def actor_of(actor: Any) -> Read:
    """Pages read by one of our actors."""

    def read(png: bytes) -> str:
        rows = pa.table({"row_id": [0], "image": pa.array([png], pa.binary())})
        (row,) = actor(rows).to_pylist()
        return "\n".join(line["text"] for line in row["ocr_lines"])

    return read


def own_lines(code: str) -> Read:
    """Pages read by Tesseract alone, with its own layout analysis, told 300 dpi."""
    import cv2
    import tesserocr

    api = tesserocr.PyTessBaseAPI(path=f"{data_folder(None)}/", lang=code, oem=1, psm=3)

    def read(png: bytes) -> str:
        gray = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
        height, width = gray.shape
        api.SetImageBytes(gray.tobytes(), width, height, 1, width)
        api.SetSourceResolution(300)
        return str(api.GetUTF8Text())

    return read


def errors(text: str, truth: str) -> float:
    """CER; a run of white space is one blank."""
    wanted = " ".join(truth.split())
    return Levenshtein.distance(" ".join(text.split()), wanted) / len(wanted)


def judged(read: Read, pages: Sequence[Page]) -> dict[str, float]:
    """Mean CER, and seconds a page."""
    start = time.process_time()
    rates = [errors(read(one.png), "\n".join(one.lines)) for one in pages]
    seconds = (time.process_time() - start) / len(pages)
    return {"cer": round(float(np.mean(rates)), 5), "cpu_s": round(seconds, 3)}


def usual(language: Language) -> Tesseract:
    """Our Tesseract with its usual languages of a script, e.g. rus and eng."""
    return Tesseract(TesseractConfig(languages=usual_languages(language.key)))


def by_language(language: Language, rapid: Read) -> dict[str, Any]:
    """Figures of every engine on the pages of one language."""
    pages = [page(language, font, size) for font in language.fonts for size in SIZES]
    ours = usual(language)
    found = {
        "rapid_ocr": judged(rapid, pages),
        "tesseract alone": judged(own_lines(language.code), pages),
        "tesseract": judged(actor_of(ours), pages),
    }
    return {"script": language.key, "pages": len(pages), "engines": found}


def scored(language: Language) -> list[list[float]]:
    """[mean score, CER] of pages of all sizes in one font, read by our Tesseract."""
    reader = usual(language)
    found = []
    for one in (page(language, language.fonts[0], size) for size in (*SIZES, *SMALL)):
        rows = pa.table({"row_id": [0], "image": pa.array([one.png], pa.binary())})
        (row,) = reader(rows).to_pylist()
        evidence = measured(row["ocr_lines"], Floors(), row)
        text = "\n".join(line["text"] for line in row["ocr_lines"])
        found.append([evidence.mean_score or 0.0, errors(text, "\n".join(one.lines))])
    return [[round(value, 4) for value in pair] for pair in found]


def mixed(language: Language) -> dict[str, float]:
    """CER of pages with Latin words at their end, without and with `eng`."""
    text = f"{language.paragraphs[0]} {LATIN}"
    pages = [page(language, MIXED_FONT, size, text=text) for size in SIZES]
    found = {}
    for codes in ((language.code,), (language.code, "eng")):
        read = actor_of(Tesseract(TesseractConfig(languages=codes)))
        found["+".join(codes)] = judged(read, pages)["cer"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    there = installed(data_folder(None))
    able = [one for one in LANGUAGES if one.code in there and not missing(one)]
    rapid = actor_of(RapidOcr(RapidOcrConfig()))
    report: dict[str, Any] = head() | {"languages": {}, "mixed": {}, "scored": {}}
    for language in able:
        report["languages"][language.code] = by_language(language, rapid)
        report["scored"][language.code] = scored(language)
        if language.code in MIXED:
            report["mixed"] |= mixed(language)
        print(language.code, report["languages"][language.code], flush=True)
    write(result_stem(arguments.out, "script_readers", report), report, lines_of(report))


def lines_of(report: dict[str, Any]) -> list[str]:
    """The report as Markdown."""
    engines = ("rapid_ocr", "tesseract alone", "tesseract")
    rows = []
    for code, one in report["languages"].items():
        figures = [f"{100 * one['engines'][name]['cer']:.2f} %" for name in engines]
        seconds = [f"{one['engines'][name]['cpu_s']:.2f}" for name in engines]
        rows.append([one["script"], code, str(one["pages"]), *figures, " / ".join(seconds)])
    columns = ["script", "language", "pages", *engines, "CPU s a page, in this order"]
    return [
        f"# CER by script and engine, {report['date']}, {report['machine']}",
        "",
        "Rendered pages; blanks count; in reading order. `tesseract alone` has its own layout",
        "analysis (--psm 3, 300 dpi), `tesseract` is the reader of Nightjar with PP-OCR's lines,",
        "and with `eng` in scripts other than Latin.",
        "",
        *table(columns, rows),
        "",
        f"Pages that end with Latin words ({LATIN}), two for each language:",
        "",
        *table(["languages", "CER"], [[k, f"{100 * v:.2f} %"] for k, v in report["mixed"].items()]),
        "",
        f"Floors of Tesseract's mean score, pages in letters of {[*SIZES, *SMALL]} pixels:",
        "",
        *table(["floor", "accepted", "their CER", "CER of the rest"], floors(report["scored"])),
    ]


def floors(pages: dict[str, list[list[float]]]) -> list[list[str]]:
    """Share of pages that each floor accepts, and the mean CER on both sides of it."""
    scores, rates = np.array([pair for own in pages.values() for pair in own]).T
    rows = []
    for floor in FLOORS:
        kept = scores >= floor
        sides = [
            f"{100 * rates[side].mean():.2f} %" if side.any() else "" for side in (kept, ~kept)
        ]
        rows.append([f"{floor:g}", f"{kept.sum()} of {len(kept)}", *sides])
    return rows


if __name__ == "__main__":
    main()
