"""Tesseract with its real networks, on rendered pages of ten languages in nine scripts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from rapidfuzz.distance import Levenshtein

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

from parts.pages.script_pages import LANGUAGES, SIZE, Language, Page, missing, page

from actors.failures import SetupError
from actors.ocr.tesseract.language_data import alphabet, data_folder, debian_package, installed
from actors.ocr.tesseract.reader import Tesseract, TesseractByScript, TesseractConfig

pytest.importorskip("tesserocr", reason="tesserocr is missing: pip install nightjar[tesseract]")
try:
    THERE = set(installed(data_folder(None)))
except SetupError:
    THERE = set()
#: Highest CER of a page, with blanks: Chinese and Thai marks are hard, the rest is almost perfect.
MOST = {"chi_sim": 0.06, "tha": 0.06, "ell": 0.04}


def lacking(*codes: str) -> str:
    """What a test with these languages lacks, or ""."""
    packages = " ".join(debian_package(code) for code in codes if code not in THERE)
    fonts = [missing(language) for language in LANGUAGES if language.code in codes]
    return f"apt-get install {packages}" if packages else next(filter(None, fonts), "")


def skipped(*codes: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(bool(lacking(*codes)), reason=lacking(*codes) or "nothing is missing")


def language(code: str) -> Language:
    return next(one for one in LANGUAGES if one.code == code)


def read(reader: Tesseract, *images: bytes | None, languages: str | None = None) -> Any:
    columns = {
        "row_id": pa.array(range(len(images)), pa.int64()),
        "image": pa.array(images, pa.binary()),
        "page_languages": pa.array([languages] * len(images), pa.string()),
    }
    rows = pa.table(columns)
    out = reader(rows)
    assert out.schema.equals(pa.schema([*rows.schema, *reader.writes]))
    assert out["row_id"].to_pylist() == list(range(len(images)))
    return out.to_pylist()


def texts(row: dict[str, Any]) -> list[str]:
    return [line["text"] for line in row["ocr_lines"]]


def cer(row: dict[str, Any], wanted: Page) -> float:
    truth = "\n".join(wanted.lines)
    return float(Levenshtein.distance("\n".join(texts(row)), truth) / len(truth))


@pytest.fixture(scope="module")
def reader() -> TesseractByScript:
    known = {one.key: [one.code] for one in LANGUAGES if one.code in THERE}
    if not known:
        pytest.skip(lacking("eng"))
    return TesseractByScript(TesseractConfig.model_validate({"languages": known}))


@pytest.mark.parametrize("code", [one.code for one in LANGUAGES])
def test_a_page_is_read_with_its_lines_scores_and_places(
    reader: TesseractByScript, code: str
) -> None:
    if lacking(code):
        pytest.skip(lacking(code))
    wanted = page(language(code), language(code).fonts[0])
    (row,) = read(reader, wanted.png, languages=code)
    assert cer(row, wanted) <= MOST.get(code, 0.02)
    assert row["ocr_engine"].startswith("tesseract 5.")
    assert row["ocr_engine"].endswith(f" {code}")
    assert (row["rotation"], row["ocr_failure"]) == (0, None)
    assert row["ink_covered"] > 0.95
    assert row["text_outside"] < 0.02
    assert (row["unread_script"] or 0) < 0.05
    lines = row["ocr_lines"]
    assert np.mean([line["score"] for line in lines]) > 0.8
    assert len(lines) == len(wanted.lines)
    assert [line["row"] for line in lines] == list(range(len(lines)))
    for line, (x0, y0, x1, y1) in zip(lines, wanted.boxes, strict=True):
        xs, ys = line["polygon"][::2], line["polygon"][1::2]
        assert np.allclose([min(xs), max(xs)], [x0, x1], atol=SIZE)
        assert np.allclose([min(ys), max(ys)], [y0, y1], atol=0.5 * SIZE)


@skipped("heb")
def test_numbers_in_a_line_from_the_right_stand_in_logical_order(reader: TesseractByScript) -> None:
    text = "\u05db\u05dc \u05d0\u05d3\u05dd 1948 \u05d9\u05e9 \u05dc\u05d5 12.50 (25)"
    (row,) = read(reader, page(language("heb"), "DejaVuSans.ttf", text=text).png, languages="heb")
    assert texts(row) == [text]


@skipped("ara", "eng")
def test_latin_words_in_arabic_lines_have_no_marks_of_direction() -> None:
    """A number right beside a Latin word would change places with it: Tesseract's own limit."""
    text = "\u0644\u0643\u0644 \u0641\u0631\u062f Paris \u0641\u064a 1948"
    reader = Tesseract(TesseractConfig(languages=("ara", "eng")))
    (row,) = read(reader, page(language("ara"), "DejaVuSans.ttf", text=text).png)
    assert texts(row) == [text]
    assert row["ocr_engine"].endswith(" ara+eng")


@skipped("rus")
@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_page_is_read_upright(reader: TesseractByScript, turn: int) -> None:
    wanted = page(language("rus"), "NotoSans-Regular.ttf")
    turned = wanted.picture.rotate(turn, expand=True)
    (row,) = read(reader, png(turned), languages="rus")
    assert row["rotation"] == turn
    assert cer(row, wanted) < 0.02


@skipped("rus")
def test_a_page_that_leans_is_read(reader: TesseractByScript) -> None:
    wanted = page(language("rus"), "NotoSans-Regular.ttf", turn=4)
    (row,) = read(reader, wanted.png, languages="rus")
    assert cer(row, wanted) < 0.05


@skipped("rus", "ell")
def test_each_page_of_a_batch_has_its_languages_and_the_rest_the_first(
    reader: TesseractByScript,
) -> None:
    russian = page(language("rus"), "NotoSans-Regular.ttf")
    greek = page(language("ell"), "NotoSans-Regular.ttf")
    columns = {
        "row_id": pa.array([7, 8, 9, 10], pa.int64()),
        "image": pa.array([russian.png, greek.png, None, russian.png], pa.binary()),
        "page_languages": pa.array(["rus", "ell", None, "rus"], pa.string()),
    }
    out = reader(pa.table(columns)).to_pylist()
    assert [row["row_id"] for row in out] == [7, 8, 9, 10]
    assert [(row["ocr_engine"] or "").split(" ")[-1] for row in out] == ["rus", "ell", "", "rus"]
    assert cer(out[0], russian) < 0.02
    assert cer(out[1], greek) < 0.04
    assert read(reader) == []


def test_pages_without_text_and_files_that_are_no_pages(reader: TesseractByScript) -> None:
    noise = np.random.default_rng(3).integers(0, 255, (400, 500, 3), np.uint8)
    blank, dot = Image.new("RGB", (800, 1000), "white"), Image.new("L", (1, 1), "black")
    images = [png(blank), png(dot), png(Image.fromarray(noise)), b"no image", b"", None]
    rows = read(reader, *images)
    assert [row["ocr_lines"] for row in rows[:2]] == [[], []]
    assert rows[2]["ocr_lines"] is not None
    assert [(row["ocr_failure"] or {}).get("kind") for row in rows] == [
        *(None, None, None),
        *("CORRUPT_IMAGE", "CORRUPT_IMAGE"),
        None,
    ]
    assert all(row["ocr_lines"] is None for row in rows[3:])


@skipped("eng")
def test_a_huge_page_is_read() -> None:
    """9,000 x 6,000 pixels; the detector sees it reduced, the lines come from the full page."""
    wanted = page(language("eng"), "NotoSans-Regular.ttf")
    huge = cv2.resize(np.asarray(wanted.picture)[:400], (9000, 2900))
    huge = np.vstack([huge, np.full((3100, 9000, 3), 255, np.uint8)])
    done, data = cv2.imencode(".jpg", huge)
    assert done
    (row,) = read(Tesseract(TesseractConfig()), data.tobytes())
    assert texts(row)[0] == wanted.lines[0]


def test_missing_data_name_debians_package(tmp_path: Path) -> None:
    if "eng" not in THERE:
        pytest.skip(lacking("eng"))
    config = TesseractConfig(languages=("eng", "chi_tra_vert"))
    with pytest.raises(SetupError, match=r"no data for chi_tra_vert in .*there: .*eng") as caught:
        Tesseract(config)
    assert "apt-get install tesseract-ocr-chi-tra-vert" in caught.value.remedy
    with pytest.raises(SetupError, match="no language data of Tesseract") as caught:
        Tesseract(TesseractConfig(tessdata=tmp_path / "none"))
    assert "apt-get install tesseract-ocr-eng" in caught.value.remedy
    (tmp_path / "eng.traineddata").write_bytes(b"broken")
    with pytest.raises(SetupError, match="cannot load eng"):
        Tesseract(TesseractConfig(tessdata=tmp_path))


def test_the_folder_of_the_variable_comes_before_debians(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TESSDATA_PREFIX", str(tmp_path))
    (tmp_path / "script").mkdir()
    for name in ("osd", "rus", "script/Cyrillic"):
        (tmp_path / f"{name}.traineddata").touch()
    assert data_folder(None) == tmp_path
    assert installed(tmp_path) == ["rus", "script/Cyrillic"]


def test_languages_have_the_letters_of_their_scripts() -> None:
    assert alphabet(("rus", "ell")).classes == {"Cyrl", "Grek"}
    assert alphabet(("rus", "eng")).reads("Latn")
    assert not alphabet(("rus", "eng")).reads("Viet")
    assert alphabet(("vie",)).reads("Viet")
    assert alphabet(("jpn",)).classes == {"Hani", "Latn"}


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tesserocr", None)
    with pytest.raises(SetupError, match="cannot import tesserocr") as caught:
        Tesseract(TesseractConfig())
    assert "nightjar[tesseract]" in caught.value.remedy


@skipped("eng", "rus")
def test_provenance_has_the_versions_and_the_digests() -> None:
    config = TesseractConfig(languages=("rus", "eng"))
    found = Tesseract(config).provenance()
    assert found["engine"].startswith("tesseract 5.")
    assert found["languages"] == "rus+eng"
    assert {len(found[f"{name}_sha256"]) for name in ("eng", "rus", "det")} == {64}


def png(picture: Image.Image) -> bytes:
    done, data = cv2.imencode(".png", np.asarray(picture))
    assert done
    return data.tobytes()
