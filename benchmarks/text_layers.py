"""Wrong font maps in text layers: how many are refused, and how many right ones.

    python benchmarks/text_layers.py [--unseen FOLDER] [--every 1] [--out DIR]

Input: one page for every font and map, the font embedded, with a heading and eight lines. Fonts are
the faces of fontconfig that have the letters; they gave the templates (`fonts/recipe.py`). FOLDER
adds faces that no template saw (.ttf, .otf, .woff). For the published figures these were 32
families of npm's @fontsource, in regular, bold and italic. A display face is handwriting,
blackletter, pixels or the like (`_DISPLAY`).

Refused: `wrong_fonts` names a font of the page, with no regard to the other tests of a layer.
"heading of n letters": the font of the heading alone is wrong, and the body is right.
Takes 0.2 s a page.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pypdfium2 as pdfium
import yaml
from fontTools.ttLib import TTFont
from parts.report import head, result_stem, table, write

from pipelines.pages.text_layer.fonts.check import wrong_fonts
from pipelines.pages.text_layer.fonts.recipe import fonts as template_fonts
from pipelines.pages.text_layer.lines import runs_of

sys.path.append(str(Path(__file__).parents[1] / "tests/resources"))

from mapped_fonts import Line, installed, lines, mapped_pdf, right
from wrong_maps import WRONG

HERE = Path(__file__).parent
TEXTS = HERE / "parts/pages/script_texts.yaml"
#: Families that are no text faces.
_DISPLAY = (
    *("amatic", "caveat", "dancing", "great-vibes", "lobster", "marck", "pacifico"),
    *("press-start", "unifraktur", "Z003", "Purisa"),
)
_HEADINGS = {6: "NOTICE", 8: "CONTENTS", 12: "RULES ON CHAMPIONSHIP"}
_FIGURES = ("Nr. 1 2023, 1,204.75 + 3,618.90 = 4,823.65",)
_COLUMNS = 72  # characters of a line


@dataclass(frozen=True)
class Case:
    """A page of one kind in one font."""

    kind: str
    group: str
    font: Path
    drawn: tuple[Line, ...]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--unseen", type=Path, help="folder of fonts that no template saw")
    parser.add_argument("--every", type=int, default=1, help="take every n-th font")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the report")
    given = parser.parse_args()
    report = head() | measured(list(_fonts(given.unseen))[:: given.every])
    given.out.mkdir(parents=True, exist_ok=True)
    write(result_stem(given.out, "text_layers", report), report, _text(report))


def measured(fonts: Sequence[tuple[str, Path]]) -> dict[str, Any]:
    """[refused, pages] by kind of map and group of fonts, what was refused, and milliseconds."""
    counts: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    false_alarms: list[str] = []
    times: list[float] = []
    for group, font in fonts:
        for case in _cases(group, font):
            found, milliseconds = _refused(mapped_pdf(case.drawn))
            count = counts[case.kind][group]
            count[0] += bool(found)
            count[1] += 1
            if case.kind.startswith("right"):
                times.append(milliseconds)
                false_alarms += [f"{font.name}, {case.kind}: {one}" for one in found]
    times.sort()
    spread = {"median": times[len(times) // 2], "p95": times[int(0.95 * len(times))]}
    plain = {kind: dict(groups) for kind, groups in counts.items()}
    return {"counts": plain, "false_alarms": false_alarms, "milliseconds": spread}


def _fonts(unseen: Path | None) -> Iterator[tuple[str, Path]]:
    for font in template_fonts():
        yield ("display" if _is_display(font) else "templates'"), font
    found = sorted(unseen.rglob("*")) if unseen else []
    for font in found:
        if font.suffix in (".ttf", ".otf", ".woff"):
            yield ("unseen display" if _is_display(font) else "unseen"), font


def _is_display(font: Path) -> bool:
    return any(name.lower() in font.name.lower() for name in _DISPLAY)


def _cases(group: str, font: Path) -> Iterator[Case]:
    for language in ("eng", "rus", "ell"):
        body = _body(language)
        if not _has(font, "".join(body)):
            continue
        yield Case(f"right, {language}", group, font, tuple(lines(body, font)))
        for kind, (claims, of) in WRONG.items():
            if of == language:
                yield Case(kind, group, font, tuple(lines(body, font, claims)))
        if language == "eng":
            yield from _headings(group, font, body)


def _headings(group: str, font: Path, body: list[str]) -> Iterator[Case]:
    plain = installed("Liberation Serif")
    claims, _ = WRONG["random letters"]
    for letters, text in _HEADINGS.items():
        for kind, said in (("right heading", right), ("heading", claims)):
            heading = Line(text, font, said, size=20, y=790)
            name = f"{kind} of {letters} letters"
            yield Case(name, group, font, (heading, *lines(body, plain)))


def _refused(data: bytes) -> tuple[list[str], float]:
    """The wrong fonts of a page, and the milliseconds that finding them took."""
    page = pdfium.PdfDocument(data)[0]
    textpage = page.get_textpage()
    runs = list(runs_of(textpage))
    start = time.perf_counter()
    found = [str(one) for one in wrong_fonts(page, textpage, runs)]
    return found, 1000 * (time.perf_counter() - start)


@cache
def _body(language: str) -> list[str]:
    words = " ".join(yaml.safe_load(TEXTS.read_text())[language]).replace("|", "").split()
    rows = [""]
    for word in words:
        if len(rows[-1]) + len(word) > _COLUMNS:
            rows.append("")
        rows[-1] = f"{rows[-1]} {word}".strip()
    return [*rows[:8], *(_FIGURES if language == "eng" else ())]


@cache
def _has(font: Path, text: str) -> bool:
    known = TTFont(font, lazy=True).getBestCmap() or {}
    return all(ord(char) in known for char in text if char.isalpha())


def _text(report: dict[str, Any]) -> list[str]:
    """The report as Markdown."""
    groups = list(dict.fromkeys(g for row in report["counts"].values() for g in row))
    rows = []
    for kind, counts in report["counts"].items():
        cells = [counts.get(group, [0, 0]) for group in groups]
        rows.append([kind, *(f"{bad} of {pages}" if pages else "" for bad, pages in cells)])
    times = report["milliseconds"]
    return [
        f"# Pages refused for wrong font maps, {report['date']}, {report['machine']}",
        "",
        *table(["map", *(f"{group} faces" for group in groups)], rows),
        "",
        f"Cost of right pages: median {times['median']:.1f} ms, p95 {times['p95']:.1f} ms.",
        *(f"- {alarm}" for alarm in report["false_alarms"]),
    ]


if __name__ == "__main__":
    main()
