"""Draw a page with its lines, or an image with its labels."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from actors.lines import LineValue
from pipelines.decisions.finished import AnyRow
from pipelines.errors import NightjarError
from pipelines.runs.directory import RunDir
from pipelines.runs.refetch import Refetcher

#: Upper bound of a score and its colour, red (unreliable) to green. Blue: no score.
_BANDS = (
    (0.6, "#c1121f"),
    (0.8, "#e85d04"),
    (0.9, "#e0a100"),
    (0.97, "#7a9a01"),
    (1.01, "#1a7f37"),
)
_UNKNOWN = "#1f6feb"
_MARGIN = 44  # pixels below the page, for the legend


def draw_row(run: RunDir, row: AnyRow, path: Path) -> None:
    """Fetch the page of a finished row again and write it with its findings to `path` (PNG).

    Raises NightjarError if the page can no longer be fetched.
    """
    (fetched,) = Refetcher(run)([row])
    failure = fetched["fetch_failure"]
    if failure:
        raise NightjarError(
            f"{row['uri']} page {row['page']}: {failure['kind']}: {failure['message']}",
            "the page cannot be drawn; show the row without --image: nightjar show RUN --row ID",
        )
    page = Image.open(io.BytesIO(fetched["image"] or b"")).convert("RGB")
    if "instances" in row:
        from pipelines.review.overlay_labels import overlay_labels

        overlay_labels(page, dict(enumerate(row["instances"] or []))).save(path)
    else:
        overlay(page, row.get("lines") or []).save(path)


def overlay(page: Image.Image, lines: list[LineValue]) -> Image.Image:
    """`page` (RGB) with the polygon of each line, coloured by its score, and a legend below."""
    canvas = Image.new("RGB", (page.width, page.height + _MARGIN), "white")
    canvas.paste(page, (0, 0))
    draw = ImageDraw.Draw(canvas, "RGBA")
    for line in lines:
        colour = colour_of(line["score"])
        draw.polygon(line["polygon"], fill=f"{colour}2e", outline=colour, width=2)
    font = ImageFont.load_default(16)
    x = 8
    for label, colour in [*_legend(), ("no score", _UNKNOWN)]:
        draw.rectangle((x, page.height + 14, x + 16, page.height + 30), fill=colour)
        draw.text((x + 22, page.height + 12), label, fill="black", font=font)
        x += 34 + int(draw.textlength(label, font=font))
    return canvas


def colour_of(score: float | None) -> str:
    """The colour of a line score (0..1); blue for None."""
    if score is None:
        return _UNKNOWN
    return next(colour for bound, colour in _BANDS if score < bound)


def _legend() -> list[tuple[str, str]]:
    bounds = [bound for bound, _ in _BANDS]
    labels = [f"< {bounds[0]:g}", *(f"< {b:g}" for b in bounds[1:-1]), f">= {bounds[-2]:g}"]
    return list(zip(labels, [colour for _, colour in _BANDS], strict=True))
