"""The script of lines and pages, and what of it the reader cannot read."""

from __future__ import annotations

import io
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import REPOSITORY
from PIL import Image, ImageDraw, ImageFont

from actors.ocr.rapid_ocr import RapidOcr, RapidOcrConfig
from actors.ocr.scripts.classes import CLASSES, VIETNAMESE, Alphabet
from actors.ocr.scripts.network import WEIGHTS, Network
from actors.ocr.scripts.page import Scripts, ink_columns
from actors.ocr.scripts.recipe import alphabets, rendering
from actors.ocr.scripts.recipe.rendering import page_crops
from actors.ocr.scripts.recipe.training import Trained, rendered
from actors.ocr.scripts.windows import HEIGHT, WIDTH, windows
from pipelines.decisions.routing import RoutingConfig, measured_and_doubted

RESOURCES = REPOSITORY / "tests/resources/words"
RECEIPTS = REPOSITORY.parent / "shared/data/receipts/images"
PP_OCR = Alphabet(frozenset({"Latn", "Hani"}))
MAIN = CLASSES[1:11]

NOTO = Path("/usr/share/fonts/truetype/noto")
ENGLISH = (
    "The annual report of the society was read and approved.",
    "It lists all donations of the year 2026 and their use.",
    "A copy is kept in the archive on the second floor.",
    "Members may ask for it in writing until the end of June.",
    "The next meeting takes place on Monday at seven.",
    "Please bring the list of books that you have borrowed.",
    "The reading room stays open during the summer.",
    "New members are welcome at any time of the year.",
)
FOREIGN = {
    "Cyrl": ("Общее собрание общества состоится в понедельник.", "Просим принести список книг"),
    "Grek": ("Ετήσια έκθεση διαβάστηκε και εγκρίθηκε χθες.", "Αναγνωστήριο μένει ανοιχτό"),
    "Arab": ("يعقد الاجتماع القادم يوم الاثنين في الساعة السابعة", "قاعة القراءة مفتوحة في الصيف"),
}

has_fonts = pytest.mark.skipif(
    not all(
        [shutil.which("fc-list"), shutil.which("dawg2wordlist"), alphabets.DATA.is_dir()]
        + [Path(f"{alphabets.DATA}/{name}.traineddata").exists() for name in ("hin", "tha", "vie")]
    ),
    reason="needs Debian's fonts-noto*, tesseract-ocr and its language data",
)


@pytest.fixture(scope="module")
def scripts() -> Scripts:
    return Scripts(PP_OCR)


@pytest.fixture(scope="module")
def reader() -> RapidOcr:
    return RapidOcr(RapidOcrConfig())


def read(reader: RapidOcr, *pages: bytes) -> list[dict[str, Any]]:
    return reader(pa.table({"image": pages})).to_pylist()


def mixed_page(name: str | None) -> bytes:
    """An English page with two lines of another script in its middle, as a PNG file."""
    page = Image.new("RGB", (1240, 760), "white")
    foreign = FOREIGN[name] if name else ()
    arabic, latin = (
        ImageFont.truetype(str(NOTO / f"{font}-Regular.ttf"), 34)
        for font in ("NotoNaskhArabic", "NotoSerif")
    )
    for place, line in enumerate((*ENGLISH[:4], *foreign, *ENGLISH[4:])):
        font = arabic if name == "Arab" and line in foreign else latin
        ImageDraw.Draw(page).text((90, 60 + 62 * place), line, fill=(20, 20, 20), font=font)
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()


def unclear(crops: list[Any]) -> tuple[list[str], list[float | None]]:
    """Readings that say nothing about the script."""
    return ["ψ" * (crop.shape[1] // 24) for crop in crops], [0.99] * len(crops)


def test_weights_are_small_and_of_the_classes() -> None:
    assert WEIGHTS.stat().st_size < 300_000
    blank = np.zeros((2, HEIGHT, WIDTH), np.float32)
    assert Network().logits(blank).shape == (2, len(CLASSES))


def test_the_stored_network_is_the_trained_one(tmp_path: Path) -> None:
    from torch import inference_mode, rand

    trained = Trained().eval()
    np.savez(tmp_path / "weights.npz", **trained.stored())
    pixels = rand(3, 1, HEIGHT, WIDTH)
    with inference_mode():
        expected = trained(pixels).numpy()
    found = Network(tmp_path / "weights.npz").logits(pixels[:, 0].numpy())
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_windows_show_ink_as_one_on_light_and_on_dark_paper() -> None:
    crop = np.full((48, 400, 3), 230, np.uint8)
    crop[20:30, ::8] = 20
    for picture in (crop, 255 - crop):
        cut = windows(picture, 2)
        assert cut.shape == (2, HEIGHT, WIDTH)
        assert cut.max() > 0.4
        assert abs(float(np.median(cut))) < 0.05
    assert windows(crop[:, :90], 2).shape == (1, HEIGHT, WIDTH)


def test_alphabets_follow_from_the_characters() -> None:
    latin = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    assert Alphabet.of_characters(latin).classes == {"Latn"}
    assert Alphabet.of_characters(latin + "αβγδεζηθικλμνξοπρστυφχψω").classes == {"Latn"}
    russian = Alphabet.of_characters("абвгдежзийклмнопрстуфхцчшщьыъэюя")
    assert russian.reads("Cyrl")
    assert russian.reads("Zyyy")
    assert not russian.reads("Latn")


def test_a_page_without_lines_has_no_script(scripts: Scripts) -> None:
    nothing = scripts.of_page([], [], [])
    assert nothing.lines == []
    assert (nothing.page, nothing.unread_script, nothing.unread_ink) == (None, None, None)


@has_fonts
def test_pages_of_ten_scripts_in_fonts_that_the_training_did_not_see(scripts: Scripts) -> None:
    """Worn like bad scans. `benchmarks/scripts.py` measures more of them: 198 of 200 are right."""
    right = noticed = 0
    for name in MAIN:
        chance = random.Random(f"test {name}")
        for _ in range(4):
            crops = page_crops(name, chance, 12, held_out=True)
            found = scripts.of_page(crops, *unclear(crops))
            assert found.unread_script is not None
            assert found.unread_letters is not None
            right += found.page == {VIETNAMESE: "Latn"}.get(name, name)
            unread = max(found.unread_script, found.unread_letters) > 0.05
            assert not (unread and name in ("Latn", "Hani"))
            noticed += unread
    assert right >= 0.9 * 4 * len(MAIN)
    assert noticed >= 0.9 * 4 * (len(MAIN) - 2)


@pytest.mark.skipif(
    not (NOTO / "NotoNaskhArabic-Regular.ttf").exists(), reason="needs Debian's fonts-noto-core"
)
@pytest.mark.parametrize("name", [None, *FOREIGN])
def test_two_lines_of_another_script_on_an_english_page(reader: RapidOcr, name: str | None) -> None:
    (found,) = read(reader, mixed_page(name))
    scripts = [line["script"] for line in found["ocr_lines"]]
    assert found["script"] == "Latn"
    assert scripts.count("Latn") >= len(ENGLISH)
    _, doubts = measured_and_doubted(found, RoutingConfig())
    assert doubts == [] if name is None else "script_not_readable" in doubts
    if name is not None:
        assert name in scripts


def test_a_reader_of_the_script_has_nothing_unread(reader: RapidOcr) -> None:
    page = (RESOURCES / "vertical_japanese.png").read_bytes()
    (found,) = read(reader, page)
    assert found["script"] == "Jpan"
    assert found["unread_script"] == 0
    assert found["unread_ink"] == 0


@pytest.mark.parametrize(
    ("name", "script", "reason"),
    [
        ("cyrillic_page.png", "Cyrl", "script_not_readable"),
        ("vietnamese_page.png", "Latn", "letters_not_readable"),
    ],
)
def test_pages_that_the_reader_cannot_read_are_never_accepted(
    reader: RapidOcr, name: str, script: str, reason: str
) -> None:
    (found,) = read(reader, (RESOURCES / name).read_bytes())
    assert found["script"] == script
    _, doubts = measured_and_doubted(found, RoutingConfig())
    assert reason in doubts


needs_receipts = pytest.mark.skipif(not RECEIPTS.is_dir(), reason="needs ../shared/data/receipts")


def are_latin(reader: RapidOcr, files: Sequence[Path]) -> None:
    for file in files:
        (found,) = read(reader, file.read_bytes())
        assert found["script"] == "Latn", file.name
        assert found["unread_script"] <= 0.05, file.name
        assert found["unread_letters"] <= 0.05, file.name


@needs_receipts
def test_three_real_receipts_stay_latin(reader: RapidOcr) -> None:
    are_latin(reader, sorted(RECEIPTS.iterdir())[:3])


@needs_receipts
@pytest.mark.long
def test_all_real_receipts_stay_latin(reader: RapidOcr) -> None:
    are_latin(reader, sorted(RECEIPTS.iterdir()))


LIBERATION = Path("/usr/share/fonts/truetype/liberation/LiberationSerif-Regular.ttf")


@pytest.mark.skipif(not LIBERATION.exists(), reason="needs Debian's fonts-liberation")
def test_a_page_of_digits_is_in_no_other_script(reader: RapidOcr) -> None:
    """Of these, a third looked like Georgian letters."""
    chance = random.Random(0)
    page = Image.new("L", (1240, 860), 245)
    for place in range(60):
        where = (100 + place % 5 * 220, 100 + place // 5 * 60)
        text = f"{chance.randrange(100_000) / 100:.2f}"
        font = ImageFont.truetype(str(LIBERATION), 30)
        ImageDraw.Draw(page).text(where, text, font=font, fill=20)
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    (row,) = read(reader, buffer.getvalue())
    assert row["script"] is None
    assert row["unread_script"] == 0


def test_columns_without_ink_do_not_count() -> None:
    crop = np.full((48, 200, 3), 255, np.uint8)
    assert ink_columns(crop) == 0
    crop[10:40, 50:80] = 0
    assert ink_columns(crop) == 30


@has_fonts
def test_the_recipe_renders_windows_of_every_class() -> None:
    cut, classes = rendered(1, seed=5)
    assert cut.shape[1:] == (HEIGHT, WIDTH)
    assert set(classes.tolist()) == set(range(len(CLASSES)))
    assert rendering.fonts("Latn", True)
    assert not set(rendering.fonts("Latn", True)) & set(rendering.fonts("Latn", False))
