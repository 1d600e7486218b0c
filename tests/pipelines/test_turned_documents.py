"""Turned pages on their way through a job: rows, pictures and exports fit each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pypdfium2 as pdfium
import pytest
from hand_made_runs import write_run
from hand_written_pdf import PdfPage, written_pdf
from PIL import Image

from actors.contract import Settings
from actors.images.turning import turned
from pipelines.config_files import validated
from pipelines.decisions.upright import upright_image
from pipelines.export.page import COLUMNS, page_of
from pipelines.export.pdf.job import packed, unpacked
from pipelines.export.pdf.maker import page_job
from pipelines.export.pdf.text_layer import render_page
from pipelines.ocr_backfill import OcrBackfillConfig, ocr_backfill
from pipelines.pages.page import RenderOptions, sniff
from pipelines.runs.directory import RunDir
from pipelines.runs.refetch import Refetcher
from pipelines.sources.manifest import MANIFEST

SCANS = Path(__file__).parents[1] / "resources" / "words" / "rotated_scans_0_90_180_270.pdf"
TURNS = [0, 90, 180, 270]


def config_of(folder: Path) -> OcrBackfillConfig:
    given = {
        "job": "ocr_backfill",
        "source": {"path": str(folder)},
        "fetch": {"check_version": False, "dpi": 200},
        "run_dir": str(folder / "run"),
    }
    return validated(OcrBackfillConfig, given, "test")


def backfilled(path: Path, pages: int) -> list[dict[str, Any]]:
    """The finished rows of a document, made in this process."""
    row = dict.fromkeys(MANIFEST.names) | {
        "uri": str(path),
        "pages": pages,
        "bytes": path.stat().st_size,
        "kind": sniff(path.read_bytes()),
    }
    rows = [row | {"row_id": page, "page": page} for page in range(1, pages + 1)]
    flow = ocr_backfill(config_of(path.parent))
    out = flow.run_here(pa.Table.from_pylist(rows, MANIFEST))
    assert out.schema.equals(flow.schema)
    finished: list[dict[str, Any]] = out.to_pylist()
    return finished


@pytest.fixture(scope="module")
def scans() -> list[dict[str, Any]]:
    return backfilled(SCANS, 4)


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A PDF whose pictures are upright, but whose entry /Rotate turns its pages, and its rows."""
    path = tmp_path_factory.mktemp("rotated") / "rotated.pdf"
    upright = np.ascontiguousarray(
        pdfium.PdfDocument(SCANS)[0].render(scale=150 / 72, grayscale=True).to_numpy()
    )
    high, wide = upright.shape[:2]
    picture = (
        f"<< /Type /XObject /Subtype /Image /Width {wide} /Height {high} /ColorSpace /DeviceGray "
        f"/BitsPerComponent 8 /Length {wide * high} >>\nstream\n"
    )
    drawn, resources = "q 595 0 0 842 0 0 cm /Scan Do Q", "/XObject << /Scan 100 0 R >>"
    pages = [PdfPage(drawn, f"/Rotate {turn}", resources) for turn in (90, 270)]
    path.write_bytes(written_pdf(pages, [picture.encode() + upright.tobytes() + b"\nendstream"]))
    return path, backfilled(path, 2)


def test_all_four_scans_have_the_same_upright_row(scans: list[dict[str, Any]]) -> None:
    assert [row["rotation"] for row in scans] == TURNS
    assert [row["outcome"] for row in scans] == ["ocr"] * 4
    assert scans[0]["text"].startswith("County Record Office, Dover\n12 March 1954")
    for row in scans:
        assert row["width"] < row["height"]
        for name in ("text", "width", "height"):
            assert row[name] == scans[0][name]
        polygons = [[line["polygon"] for line in one["lines"]] for one in (row, scans[0])]
        np.testing.assert_allclose(*polygons, atol=3)


def test_pages_that_the_entry_rotate_turns_are_read_upright(
    rotated: tuple[Path, list[dict[str, Any]]], scans: list[dict[str, Any]]
) -> None:
    _, rows = rotated
    assert [row["rotation"] for row in rows] == [270, 90]
    assert [row["text"] for row in rows] == [scans[0]["text"]] * 2
    assert {(row["width"], row["height"]) for row in rows} == {(1653, 2339)}


def ink_of(picture: Image.Image, row: dict[str, Any]) -> float:
    """Share of the dark pixels of an upright picture that lie inside the row's lines."""
    dark = np.asarray(picture.convert("L")) < 128
    inside = np.zeros(dark.shape, np.uint8)
    for line in row["lines"]:
        corners = np.array(line["polygon"], np.float32).reshape(4, 2)
        cv2.fillPoly(inside, [np.round(corners).astype(np.int32)], 1)
    assert picture.size == (row["width"], row["height"])
    return float((dark & (inside > 0)).sum() / dark.sum())


def test_pages_that_are_fetched_again_fit_their_polygons(
    tmp_path: Path, scans: list[dict[str, Any]]
) -> None:
    """Review, reports, overlays and curation show these pictures."""
    run = write_run(tmp_path / "run", "ocr_backfill", pa.schema([]))
    fetch = config_of(tmp_path).fetch.model_dump(mode="json")
    run.write_record({"job": "ocr_backfill", "config": {"fetch": fetch}})
    fetched = Refetcher(RunDir(run.path))(scans)
    for page, row in zip(fetched, scans, strict=True):
        assert page["fetch_failure"] is None
        assert (page["width"], page["height"]) == (row["width"], row["height"])
        picture = tmp_path / "picture"
        picture.write_bytes(page["image"] or b"")
        assert ink_of(Image.open(picture), row) > 0.97


def test_a_page_of_another_size_is_still_noticed(
    tmp_path: Path, scans: list[dict[str, Any]]
) -> None:
    run = write_run(tmp_path / "run", "ocr_backfill", pa.schema([]))
    fetch = config_of(tmp_path).fetch.model_dump(mode="json")
    run.write_record({"job": "ocr_backfill", "config": {"fetch": fetch}})
    (page,) = Refetcher(RunDir(run.path))([scans[1] | {"rotation": 0}])
    assert (page["fetch_failure"] or {})["kind"] == "OBJECT_CHANGED"


def searchable(path: Path, rows: list[dict[str, Any]]) -> pdfium.PdfDocument:
    """The searchable PDF of a document, made in this process."""
    wanted = [page_job(page_of(dict.fromkeys(COLUMNS) | row, None, "all")) for row in rows]
    job = packed({"pages": wanted}, path.read_bytes())
    return pdfium.PdfDocument(unpacked(render_page(job, 1, RenderOptions()).image or b"")[1])


def dense(text: str) -> str:
    return "".join(text.split())


def check_layer(page: pdfium.PdfPage, row: dict[str, Any]) -> None:
    """Each line's text is found on its ink, on the page as it lies in the file."""
    scale = 200 / 72
    dark = np.asarray(page.render(scale=scale, grayscale=True).to_pil()) < 128
    textpage = page.get_textpage()
    # pdfium extracts text in the order of the page as it lies, so order is not compared.
    assert sorted(dense(textpage.get_text_range())) == sorted(dense(row["text"]))
    covered = np.zeros(dark.shape, np.uint8)
    left, bottom, right, top = page.get_bbox()
    for number in range(textpage.count_rects()):
        x0, y0, x1, y1 = textpage.get_rect(number)
        share = [(x0 - left) / (right - left), (x1 - left) / (right - left)]
        down = [(top - y1) / (top - bottom), (top - y0) / (top - bottom)]
        corners = [(x, y) for x in share for y in down]
        at = [on_shown(x, y, page.get_rotation()) for x, y in corners]
        xs = [round(x * dark.shape[1]) for x, _ in at]
        ys = [round(y * dark.shape[0]) for _, y in at]
        covered[max(min(ys), 0) : max(ys), max(min(xs), 0) : max(xs)] = 1
    assert (dark & (covered > 0)).sum() / dark.sum() > 0.95
    assert covered.mean() < 0.5


def on_shown(x: float, y: float, degrees: int) -> tuple[float, float]:
    """A point of the unturned page on the page as a viewer shows it; shares of the sides."""
    return {0: (x, y), 90: (1 - y, x), 180: (1 - x, 1 - y), 270: (y, 1 - x)}[degrees]


def test_the_text_layer_lies_on_the_lines_of_the_page_as_it_lies_in_the_file(
    scans: list[dict[str, Any]], rotated: tuple[Path, list[dict[str, Any]]]
) -> None:
    for path, rows in ((SCANS, scans), rotated):
        made, before = searchable(path, rows), pdfium.PdfDocument(path)
        for page, old, row in zip(made, before, rows, strict=True):
            assert page.get_size() == old.get_size()
            assert page.get_rotation() == old.get_rotation()
            check_layer(page, row)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_an_image_file_keeps_its_position_in_its_pdf(
    tmp_path: Path, scans: list[dict[str, Any]], degrees: int
) -> None:
    path = tmp_path / "scan.png"
    upright = pdfium.PdfDocument(SCANS)[0].render(scale=200 / 72, grayscale=True).to_numpy()
    pixels = turned(upright, -degrees % 360)
    Image.fromarray(pixels).save(path)
    (page,) = searchable(path, [scans[0] | {"page": 1, "rotation": degrees}])
    shown = np.asarray(page.render(scale=200 / 72, grayscale=True).to_pil())
    assert shown.shape == pixels.shape
    assert np.abs(shown.astype(int) - pixels).mean() < 3  # pdfium smooths edges
    check_layer(page, scans[0])


def test_a_second_reader_sees_the_upright_picture() -> None:
    """Only turned pictures are encoded again; rows without a picture stay without one."""
    page = np.zeros((40, 60), np.uint8)
    page[:10, :20] = 255
    done, data = cv2.imencode(".png", page)
    assert done
    file = data.tobytes()
    files = [file, file, file, None, b"no picture"]
    rows = pa.table(
        {
            "fetched_image": pa.array(files, pa.binary()),
            "rotation": pa.array([90, 0, None, None, 180], pa.int16()),
        }
    )
    first, *others = upright_image.run(rows, Settings())["image"].to_pylist()
    found = cv2.imdecode(np.frombuffer(first, np.uint8), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(found, turned(page, 90))
    assert others == [file, file, None, None]
    assert upright_image.run(rows[1:4], Settings())["image"].to_pylist() == [file, file, None]


def test_the_picture_is_turned_only_for_stages_that_look_at_it(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    second = {"vlm": {"base_url": "http://127.0.0.1:1/v1", "model": "m"}}
    again = OcrBackfillConfig.model_validate(config.model_dump(mode="json") | second)
    riders = [
        [step.step.name for stage in ocr_backfill(one).stages for step in stage.then if step.step]
        for one in (config, again)
    ]
    assert [("upright_size" in one, "upright_image" in one) for one in riders] == [
        (True, False),
        (True, True),
    ]
