"""Text that a page shows and its text layer lacks; figures that are no text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from hand_written_pdf import PdfPage, shown, written_pdf
from pictured_pages import LINES, OUTSIDE, drawn_on, outlined, pictured, scanned, slanted, written
from PIL import Image, ImageFilter

from pipelines.pages.native_text import NativeText
from pipelines.pages.page import Page, RenderOptions
from pipelines.pages.render import render_page

REPOSITORY = Path(__file__).resolve().parents[3]
CASES = REPOSITORY.parent / "shared/cases"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")

RANDOM = np.random.default_rng(7)
STAMP = shown(["Received by the archive on 12 May 1987"], x=340, y=815)
BATES = shown(["Smith v. Jones, production 0001734"], x=340, y=20)


def read(data: bytes, **settings: object) -> Page:
    return render_page(data, 1, RenderOptions(native_text=NativeText.model_validate(settings)))


def scan(ink: int, paper: int, noise: float = 3, blur: float = 0.8) -> Image.Image:
    lines = [f"{n} {OUTSIDE[n % 3].lower()} {OUTSIDE[(n + 1) % 3].lower()}" for n in range(30)]
    page = written(lines, ink, paper, pixels=26, size=(1240, 1754)).convert("L")
    pixels = np.asarray(page.filter(ImageFilter.GaussianBlur(blur)), np.float64)
    noisy = np.clip(pixels + RANDOM.normal(0, noise, pixels.shape), 0, 255)
    return Image.fromarray(noisy.astype(np.uint8))


NUMBERS = ["    ".join(str(RANDOM.integers(100, 9999)) for _ in range(9)) for _ in range(8)]


@pytest.mark.parametrize(
    "data",
    [
        pictured(written(OUTSIDE, 240, 25), 440),
        pictured(written(OUTSIDE[:1], 240, 25, size=(1000, 90)), 440),
        pictured(written(OUTSIDE, 90, 40), 440),
        pictured(written(OUTSIDE, (250, 230, 120), (180, 60, 40)), 440),
        pictured(written(OUTSIDE, (255, 255, 255), (240, 200, 60)), 440),
        pictured(written(OUTSIDE, 210, 255), 440),
        pictured(written(OUTSIDE, 255, skimage.data.coffee()), 440),
        pictured(written(OUTSIDE, 255, skimage.data.brick(), pixels=34, size=(900, 300)), 440),
        pictured(written(NUMBERS, 0, 255, pixels=24, size=(1000, 340)), 440),
        drawn_on(outlined(OUTSIDE[0], 12, 60, 300)),
        scanned(scan(30, 240), STAMP),
        scanned(scan(185, 235), BATES),
        scanned(scan(208, 236), STAMP),
        scanned(scan(60, 200, 6, 1.5), slanted("CONFIDENTIAL COPY")),
        scanned(scan(30, 240).rotate(90, expand=True).resize((1240, 1754)), STAMP),
        scanned(scan(30, 240).rotate(3, fillcolor=240), BATES),
    ],
    ids=[
        *("white on dark", "one line", "gray on dark", "panel", "white on yellow", "light gray"),
        *("on a photo", "on bricks", "numbers", "outlines"),
        *("stamped", "pale", "paler", "slanted stamp", "sideways", "skewed"),
    ],
)
def test_text_that_the_layer_lacks_refuses_it(data: bytes) -> None:
    page = read(data)
    assert page.native_text is None
    assert page.native_reason is not None
    assert page.native_reason.startswith(("covers ", "lacks "))


def plot() -> str:
    """A curve with axes, ticks and native labels."""
    x = np.linspace(0, 400, 200)
    curve = " ".join(
        f"{80 + a:.1f} {250 + 60 * np.sin(a / 25 + k):.1f} {'l' if i else 'm'}"
        for k in range(4)
        for i, a in enumerate(x)
    )
    ticks = " ".join(f"{80 + 10 * n} 150 m {80 + 10 * n} {156 + 3 * (n % 2)} l" for n in range(40))
    labels = "".join(shown([str(n)], x=80 + 40 * n, y=135) for n in range(10))
    return f" 1 w {curve} S 80 150 400 200 re S {ticks} S {labels}"


def columns(width: float, gap: float, height: float) -> str:
    """Bars of random heights."""
    bars = RANDOM.uniform(0.4, 1, int(400 / (width + gap)))
    parts = (
        f"{80 + i * (width + gap):.1f} 200 {width} {height * bar:.1f} re"
        for i, bar in enumerate(bars)
    )
    return f" {' '.join(parts)} f"


def bar_code(height: int) -> str:
    widths = RANDOM.choice([1, 2, 3], 120)
    places = 80 + np.cumsum(widths)
    parts = (f"{x} 250 {w} {height} re" for x, w in zip(places[::2], widths[::2], strict=True))
    return f" {' '.join(parts)} f"


def marks(shape: str) -> str:
    return " ".join(
        f"q 1 0 0 1 {80 + 14 * i} {200 + 20 * row} cm {shape} Q"
        for i in range(30)
        for row in range(6)
    )


def sign() -> Image.Image:
    photo = Image.fromarray(skimage.data.rocket())
    photo.paste(written(["PIER 7"], 255, (170, 20, 20), pixels=50, size=(230, 90)), (40, 40))
    return photo


@pytest.mark.parametrize(
    "data",
    [
        *(
            pictured(getattr(skimage.data, name)(), 300)
            for name in ("astronaut", "coffee", "camera", "chelsea", "rocket", "brick", "grass")
        ),
        pictured(sign(), 300),
        pictured(RANDOM.integers(0, 255, (300, 400)).astype(np.uint8), 300),
        drawn_on(plot()),
        drawn_on(columns(3, 2, 30)),
        drawn_on(columns(6, 4, 120)),
        drawn_on(bar_code(40)),
        drawn_on(bar_code(9)),
        drawn_on(" ".join(f"60 {y} 480 18 re S" for y in range(80, 400, 18))),
        drawn_on(" ".join(f"[3 2] 0 d 60 {y} m 540 {y} l S" for y in range(80, 400, 9))),
        drawn_on(marks("0 0 9 9 re S")),
        drawn_on(marks("0 0 m 4 9 l 8 0 l h f")),
        drawn_on(outlined("Harbour & Co", 26, 60, 300)),
    ],
    ids=[
        *("astronaut", "coffee", "camera", "cat", "rocket", "brick", "grass"),
        *("photo with a sign", "noise", "plot", "low columns", "columns", "bar code"),
        *("low bar code", "table", "dashes", "boxes", "triangles", "logo"),
    ],
)
def test_figures_do_not_refuse_a_good_layer(data: bytes) -> None:
    page = read(data)
    assert page.native_reason == "accepted"
    assert page.native_text is not None
    assert page.native_text.startswith("\n".join(LINES))


@pytest.mark.parametrize("gray", [0.75, 0.87])
def test_light_native_text_is_kept(gray: float) -> None:
    page = read(written_pdf([PdfPage(f"{gray} g {shown(LINES)}")]))
    assert page.native_text == "\n".join(LINES)


def test_native_text_over_a_photo_is_kept() -> None:
    photo = Image.fromarray(skimage.data.chelsea()).resize((595, 842))
    page = read(scanned(photo, f"1 g {shown(LINES)}"))
    assert page.native_text == "\n".join(LINES)


def test_lines_outside_can_be_allowed() -> None:
    data = pictured(written(OUTSIDE, 240, 25), 440)
    assert read(data).native_reason == "lacks 3 lines of text"
    assert read(data, max_unread_lines=3).native_reason == "accepted"


@needs_cases
def test_the_page_with_a_dark_picture_goes_to_ocr() -> None:
    page = read((CASES / "documents/native_plus_dark_picture.pdf").read_bytes())
    assert page.image is not None
    assert page.native_reason is not None
    assert page.native_reason.startswith("lacks ")


@needs_cases
@pytest.mark.parametrize("path", sorted((CASES / "structure").glob("*.pdf")), ids=lambda p: p.stem)
def test_digital_pages_keep_their_layer(path: Path) -> None:
    assert read(path.read_bytes()).native_reason == "accepted"
