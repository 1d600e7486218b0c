"""The calibrations that lie in a run. One that cannot be read is named, with why."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipelines.decisions.error_model import Calibration, HeldOut, load_calibration
from pipelines.measures.intervals import Interval
from pipelines.report.charts import Chart, Table, curves
from pipelines.report.pictures import Thumbnail
from pipelines.runs.directory import RunDir
from pipelines.storage.paths import RunPath, listed

_FILES = 8
_LEAST = 0.5  # the score from which on lines are drawn; few are weaker
_PICTURE = 1200  # pixels of its longer side; as drawn 1,500


@dataclass(frozen=True)
class Calibrated:
    """One file of RUN/calibration. `fault`: why it could not be read; then the rest is empty.

    Attributes:
        summary: in a sentence. held_out: what it did to files that it had not seen.
        lines: line score -> wrong characters, if it has a model of the lines.
        picture: as drawn by `nightjar calibrate`.
    """

    name: str
    fault: str = ""
    summary: str = ""
    held_out: Table | None = None
    lines: Chart | None = None
    picture: Thumbnail | None = None


def calibrations(run: RunDir) -> list[Calibrated]:
    """Of all JSON files in RUN/calibration, by name."""
    files = listed(run.path / "calibration", "*.json")
    return [_calibrated(path) for path in files[:_FILES]]


def _calibrated(path: RunPath) -> Calibrated:
    try:
        made = load_calibration(path)
    except (ValueError, RecursionError) as error:
        return Calibrated(path.name, fault=str(error))
    floor = "no floor meets it" if made.floor is None else f"the floor is {made.floor:.4g}"
    return Calibrated(
        path.name,
        summary=f"{made.engine}: {made.pages:,} pages of {made.files:,} files; for an error rate "
        f"of {100 * made.target_cer:g} % {floor}",
        held_out=_held_out(made.held_out),
        lines=_lines(made),
        picture=picture(path.with_suffix(".png")),
    )


def _held_out(held: HeldOut) -> Table:
    rows = [
        ["pages accepted", _interval(held.share_accepted)],
        ["error rate of these", _interval(held.cer)],
        ["error rate of as many pages, taken by mean score", _interval(held.naive_cer)],
        ["error rate of all pages", _interval(held.cer_of_all)],
    ]
    return Table(("on files that it had not seen", "95 % interval"), rows)


def _interval(figure: Interval | None) -> str:
    if figure is None:
        return "none"
    return f"{100 * figure.value:.2f} % ({100 * figure.low:.2f} to {100 * figure.high:.2f})"


def _lines(made: Calibration) -> Chart | None:
    if made.lines is None:
        return None
    scores = np.linspace(_LEAST, 1, 51)
    drawn, shortest = {}, 1
    for longest, steps in zip(made.lines.up_to, made.lines.bands, strict=True):
        last = longest == made.lines.up_to[-1]
        name = f"{shortest} characters or more" if last else f"{shortest} to {longest} characters"
        shares = steps.at(scores)
        drawn[name] = [(float(x), float(y)) for x, y in zip(scores, shares, strict=True)]
        shortest = longest + 1
    return curves(
        "What a line's score is worth",
        drawn,
        x_name="score of the line",
        y_name="share of its characters that are wrong",
        summary="expected share of wrong characters by line score, a line for each length",
        left=_LEAST,
    )


def picture(path: RunPath) -> Thumbnail | None:
    """A PNG, decoded and written anew: nothing but pixels gets into the report."""
    try:
        image = Image.open(io.BytesIO(path.read_bytes()), formats=["PNG"]).convert("RGB")
        image.thumbnail((_PICTURE, _PICTURE), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        image.save(file, "WEBP", quality=80)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    url = "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
    return Thumbnail(url, image.width, image.height)
