"""OCR runs over real documents, made by hand: pages with lines at places that a test knows."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pypdfium2 as pdfium
from bad_files import PASSWORD, SAMPLES
from hand_made_runs import PAGES, stored, write_run
from PIL import Image, ImageOps

from actors.failures import FAILURE
from actors.lines import LINES
from pipelines.pages.fetch import FetchConfig
from pipelines.pages.page import sniff
from pipelines.runs.directory import RunDir

SCHEMA = pa.schema(
    [
        *PAGES,
        pa.field("lines_source", pa.string()),
        pa.field("vlm_lines", LINES),
        pa.field("ocr_failure", FAILURE),
        pa.field("native_reason", pa.string()),
        pa.field("notes", pa.list_(pa.string())),
    ]
)
_NOTHING = dict.fromkeys(set(SCHEMA.names) - set(PAGES.names))

Box = tuple[float, float, float, float]


def line(text: str, box: Box | Sequence[float], score: float | None = 0.9) -> dict[str, Any]:
    """A line in a box (x0, y0, x1, y1) or a quad (8 numbers), pixels."""
    if len(box) == 4:
        x0, y0, x1, y1 = box
        box = (x0, y0, x1, y0, x1, y1, x0, y1)
    return {"text": text, "score": score, "polygon": list(map(float, box))}


def sizes_of(path: Path, dpi: int = 200) -> list[tuple[int, int]]:
    """Width and height of each page as a run would see it, pixels."""
    if path.suffix == ".pdf":
        document = pdfium.PdfDocument(path, password=PASSWORD)
        points = [page.get_size() for page in document]
        return [(math.ceil(w * dpi / 72), math.ceil(h * dpi / 72)) for w, h in points]
    image, sizes = Image.open(path), []
    for frame in range(getattr(image, "n_frames", 1)):
        image.seek(frame)
        sizes.append(ImageOps.exif_transpose(image).size)
    return sizes


def read_page(
    row_id: int, path: Path, lines: Sequence[dict[str, Any]], **changes: Any
) -> dict[str, Any]:
    """A page that OCR has read, and that is believed."""
    page = {
        "outcome": "ocr",
        "reasons": [],
        "text": "\n".join(line["text"] for line in lines),
        "text_source": "rapid_ocr 3.10",
        "lines": list(lines),
        "lines_source": "rapid_ocr 3.10",
    }
    nothing = _NOTHING | dict.fromkeys(("evidence", "vlm_text", "vlm_model", "vlm_failure"))
    gone = path.with_name("no such file")  # `stored` looks into pictures; not every page is one
    there = {"uri": str(path)}
    if path.exists():
        there |= {"bytes": path.stat().st_size, "kind": sniff(path.read_bytes()[:1024])}
    return stored(row_id, gone) | nothing | page | there | changes


def pages_of(
    first_id: int, path: Path, texts: Sequence[Sequence[dict[str, Any]]], **changes: Any
) -> list[dict[str, Any]]:
    """All pages of a document, with the lines of each."""
    sizes = sizes_of(path)
    return [
        read_page(
            first_id + place,
            path,
            lines,
            page=place + 1,
            pages=len(sizes),
            **{"width": sizes[place][0], "height": sizes[place][1], **changes},
        )
        for place, lines in enumerate(texts)
    ]


def unread(page: dict[str, Any], kind: str, message: str = "it broke") -> dict[str, Any]:
    """The page as one that failed."""
    nothing = dict.fromkeys(("text", "text_source", "lines", "lines_source"))
    failed = {"outcome": "failed", "reasons": [kind]}
    return page | nothing | failed | {"fetch_failure": {"kind": kind, "message": message}}


def sample(folder: Path, name: str) -> Path:
    """A copy of a sample document in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(SAMPLES / name, folder / name))


def ocr_run(
    folder: Path, source: Path | str, *shards: list[dict[str, Any]], **fetch: Any
) -> RunDir:
    """A run over `source` with these shards. `fetch`: changes of its fetch config."""
    run = write_run(folder, "ocr_backfill", SCHEMA, *shards)
    config = {
        "fetch": FetchConfig(**fetch).model_dump(mode="json"),
        "source": {"path": str(source)},
    }
    run.write_record({"job": "ocr_backfill", "config": config})
    return run
