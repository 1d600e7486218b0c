"""Pages fetched again: in the size that their row says."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hand_written_pdf import PdfPage, written_pdf
from pictured_pages import image_object
from PIL import Image

from pipelines.runs.directory import RunDir
from pipelines.runs.refetch import Refetcher
from pipelines.sources.manifest import MANIFEST


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run whose record has no `max_dpi`, and a PDF with a scan of 300 dpi on A5."""
    picture = image_object(Image.new("L", (1746, 2480), 200))
    content = "q 419 0 0 595 0 0 cm /Im1 Do Q"
    page = PdfPage(content, resources="/XObject << /Im1 100 0 R >>", size=(419, 595))
    (tmp_path / "scan.pdf").write_bytes(written_pdf([page], [picture]))
    run = RunDir(tmp_path / "run")
    run.create()
    run.write_record({"config": {"fetch": {"dpi": 200}}})
    return run


def row(run: RunDir, width: int, height: int) -> Any:
    path = Path(run.path).parent / "scan.pdf"
    wanted = dict.fromkeys(MANIFEST.names) | {"row_id": 0, "uri": str(path), "kind": "pdf"}
    return wanted | {"page": 1, "pages": 1, "bytes": 1, "width": width, "height": height}


@pytest.mark.parametrize("size", [(1747, 2480), (1164, 1653)], ids=["own pixels", "at dpi"])
def test_scans_have_the_pixels_of_their_run(run: RunDir, size: tuple[int, int]) -> None:
    (page,) = Refetcher(run)([row(run, *size)])
    assert page["fetch_failure"] is None
    assert page["image"] is not None
    assert Image.open(io.BytesIO(page["image"])).size == size


def test_any_other_size_is_another_document(run: RunDir) -> None:
    (page,) = Refetcher(run)([row(run, 500, 700)])
    assert page["image"] is None
    assert page["fetch_failure"] is not None
    assert page["fetch_failure"]["kind"] == "OBJECT_CHANGED"
