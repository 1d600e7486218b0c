"""Pages from right to left, as Tesseract reads them, exported and read back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pypdfium2 as pdfium
import pytest
from ocr_documents import ocr_run, pages_of
from rapidfuzz.distance import Levenshtein

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

from parts.pages.script_pages import LANGUAGES, missing, page

from actors.failures import SetupError
from actors.ocr.tesseract.language_data import data_folder, installed
from actors.ocr.tesseract.reader import Tesseract, TesseractConfig
from pipelines.export.documents.export import DocumentExport, export_documents
from pipelines.pages.text_layer.read import read

pytest.importorskip("tesserocr")
DPI = 200


@pytest.fixture(scope="module", params=["ara", "heb"])
def read_page(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A picture of a page, its lines as Tesseract read them, and the right texts."""
    (language,) = (one for one in LANGUAGES if one.code == request.param)
    try:
        there = installed(data_folder(None))
    except SetupError as error:
        pytest.skip(error.remedy)
    if language.code not in there or missing(language):
        pytest.skip(missing(language) or f"no data of Tesseract for {language.code}")
    wanted = page(language, language.fonts[0])
    path = tmp_path_factory.mktemp("scans") / f"{language.code}.png"
    wanted.picture.save(path, dpi=(DPI, DPI))
    reader = Tesseract(TesseractConfig(languages=(language.code,)))
    rows = pa.table({"row_id": [0], "image": pa.array([path.read_bytes()], pa.binary())})
    (row,) = reader(rows).to_pylist()
    return path, row["ocr_lines"], wanted.lines


@pytest.mark.parametrize("form", ["pdf", "text"])
def test_lines_come_back_in_logical_order(read_page: Any, tmp_path: Path, form: str) -> None:
    path, lines, truth = read_page
    run = ocr_run(tmp_path / "run", path.parent, pages_of(1, path, [lines]))
    settings = DocumentExport.model_validate({"format": form, "workers": 1})
    export_documents(run, str(tmp_path / "out"), settings)
    (made,) = (one for one in (tmp_path / "out").rglob(f"{path.stem}*") if one.is_file())
    if form == "pdf":
        found = [one.text for one in read(pdfium.PdfDocument(made)[0], 1.0, trust_hidden=True)[0]]
    else:
        found = made.read_text(encoding="utf-8").splitlines()
    assert found == [line["text"] for line in lines]
    assert Levenshtein.distance("\n".join(found), "\n".join(truth)) < 0.02 * len("\n".join(truth))
