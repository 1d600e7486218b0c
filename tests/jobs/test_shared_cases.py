"""All files of `../shared/cases/` in two real runs: the outcomes that its README calls right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pypdfium2 as pdfium
import pytest
from conftest import REPOSITORY, Ended, write_config
from rapidfuzz.distance import Indel

CASES = REPOSITORY.parent / "shared/cases"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")

MINUTES = """The committee met on Tuesday and considered the report of the treasurer.
Income from subscriptions rose by four per cent over the previous year.
The secretary was asked to write to the county about the state of the road.
It was agreed that the reading room should open on Saturday mornings."""
SLIDE = """Quarterly results
Revenue rose to 4.2 million
Orders fell by nine per cent
Outlook: two plants to close
Dividend unchanged at 35 cents"""
LETTER = """Dear Mr Hammond,
We thank you for your letter of the third instant
concerning the parish registers of Saint Olave."""


def rows_of(run: Path) -> dict[str, list[dict[str, Any]]]:
    """File name -> its rows in the order of their pages."""
    rows = ds.dataset(run / "shards").to_table().to_pylist()
    files = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["page"]):
        files[row["uri"].rpartition("/")[2]].append(row)
    return files


def holds(text: str, wanted: str) -> bool:
    """Whether each line of `wanted` is in `text` as a line, but for a few characters."""
    there = [line.strip() for line in text.splitlines()]
    return all(
        max((Indel.normalized_similarity(line, one) for one in there), default=0) > 0.9
        for line in wanted.splitlines()
    )


def seen(pdf: Path) -> str:
    """What a person copies from the first page of a PDF."""
    text: str = pdfium.PdfDocument(pdf)[0].get_textpage().get_text_range()
    return text.replace("\r\n", "\n")


@pytest.mark.long
def test_documents_come_out_as_their_readme_says(
    nightjar: Callable[..., Ended], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    ended = nightjar("run", write_config(tmp_path, CASES))
    assert ended.code == 0, ended.err
    files = rows_of(run)
    one = {name: rows[0] for name, rows in files.items()}

    for name in ("shift_class_minutes.pdf", "heading_font_wrong_map.pdf"):
        assert one[name]["outcome"] == "ocr"
        assert "text_layer_disagrees" in one[name]["notes"]
        assert holds(one[name]["text"], MINUTES)
    assert holds(one["heading_font_wrong_map.pdf"]["text"], "WHAT IS THE PURPOSE OF THE SOCIETY")
    assert holds(one["native_plus_dark_picture.pdf"]["text"], SLIDE)
    assert len(one["native_plus_dark_picture.pdf"]["text"].splitlines()) == 26
    assert holds(one["bates_stamp_garbage_layer.pdf"]["text"], LETTER)

    assert one["ocg_hidden_language.pdf"]["outcome"] == "native_text"
    assert "hidden_text" in one["ocg_hidden_language.pdf"]["notes"]
    assert len(one["ocg_hidden_language.pdf"]["text"].splitlines()) == 8
    assert "Income" not in one["redacted_boxes.pdf"]["text"]
    assert one["xfa_please_wait.pdf"]["outcome"] == "review"
    assert "dynamic_form" in one["xfa_please_wait.pdf"]["reasons"]
    assert "attachments" in one["portfolio_cover.pdf"]["notes"]

    assert one["master.jp2"]["outcome"] == "ocr"
    assert len(files["with_thumbnail_page.tif"]) == 1
    scan = one["a4_400dpi_as_72dpi.pdf"]
    assert (scan["outcome"], scan["width"], scan["height"]) == ("ocr", 3307, 4677)
    lines = one["control_bytes.pdf"]["lines"]
    assert len(lines) == len(one["control_bytes.pdf"]["text"].splitlines())
    assert all(line["polygon"] for line in lines)
    assert files["令和六年.jpg"][0]["uri"].endswith("shiftjis.zip!/請求書/令和六年.jpg")

    done = nightjar("export", run, tmp_path / "pdf", "--format", "pdf")
    assert done.code == 0, done.err
    copied = seen(next((tmp_path / "pdf").rglob("bates_stamp_garbage_layer.pdf.pdf")))
    assert holds(copied, LETTER)
    assert "lorem" not in copied
    fax = pdfium.PdfDocument(next((tmp_path / "pdf").rglob("fax_standard_204x98_g3.tif.pdf")))
    assert fax[0].get_size() == pytest.approx((610, 790), abs=1)
    redacted = seen(next((tmp_path / "pdf").rglob("redacted_boxes.pdf.pdf")))
    assert "Income" not in redacted


@pytest.mark.long
def test_pictures_come_out_as_their_readme_says(
    nightjar: Callable[..., Ended], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    changes = {
        "source.path": CASES / "labels",
        "run_dir": run,
        "truth": "null",
        "detector.model": REPOSITORY / "configs/autolabel/pocket/detector",
        "segmenter.model": REPOSITORY / "configs/autolabel/pocket/segmenter",
        "detector.tiles": "{size: 256, overlap: 96}",
    }
    options = [f"--set={key}={value}" for key, value in changes.items()]
    ended = nightjar("run", REPOSITORY / "configs/autolabel/quickstart.yaml", *options)
    assert ended.code == 0, ended.err
    files = rows_of(run)
    one = {name: rows[0] for name, rows in files.items()}

    assert len(one["bigstar.png"]["instances"]) == 1
    scene = {"blue star", "blue circle", "orange circle"}
    for name in ("phone.avif", "noext"):
        assert {label["class"] for label in one[name]["instances"]} == scene
    for name in ("gray16_12bit.png", "float_nodata.tif"):
        low, high = one[name]["pixel_range"]
        assert high > low
    for form in ("coco", "yolo"):
        out = tmp_path / form
        done = nightjar("export", run, out, "--format", form, "--all", "--copy-images")
        assert done.code == 0, done.err
        pictures = [path.name for path in (out / "images").iterdir()]
        assert len(pictures) == sum(len(rows) for rows in files.values())
        assert {path.suffix for path in (out / "images").glob("noext*")} == {".jpg"}
        assert len([name for name in pictures if name.startswith("pages")]) == 3
