"""The calibration files of a run. A file that cannot be read is shown with its error."""

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
_LEAST = 0.5  # left end of the score axis; few lines score less
_PICTURE = 1200  # pixels of the longer side; the original has 1,500


@dataclass(frozen=True)
class Calibrated:
    """One file of RUN/calibration.

    Attributes:
        fault: error on reading; then all other fields are empty.
        summary: one sentence.
        held_out: results on held-out files.
        lines: line score -> share of wrong characters, if the calibration has a model of lines.
        picture: the plot of `nightjar calibrate`.
    """

    name: str
    fault: str = ""
    summary: str = ""
    held_out: Table | None = None
    lines: Chart | None = None
    picture: Thumbnail | None = None


def calibrations(run: RunDir) -> list[Calibrated]:
    """The first 8 JSON files in RUN/calibration, by name."""
    files = listed(run.path / "calibration", "*.json")
    return [_calibrated(path) for path in files[:_FILES]]


def _calibrated(path: RunPath) -> Calibrated:
    try:
        made = load_calibration(path)
    except (ValueError, RecursionError) as error:
        return Calibrated(path.name, fault=str(error))
    return Calibrated(
        path.name,
        summary=f"{made.engine}: {made.pages:,} pages of {made.files:,} files; CER "
        f"{made.kind_of_cer()}; {_promise(made)}",
        held_out=_held_out(made.held_out, made.kind_of_cer()),
        lines=_lines(made),
        picture=picture(path.with_suffix(".png")),
    )


def _promise(made: Calibration) -> str:
    target = f"{100 * made.target_cer:g} %"
    found = made.promise(made.target_cer)
    if found is None:
        return f"no floor promises {target}"
    return (
        f"at most {target} is promised with a confidence of {100 * made.confidence:g} %, "
        f"{100 * found.expected_cer:.2f} % is expected (floor {found.floor:.4g})"
    )


def _held_out(held: HeldOut, kind: str) -> Table:
    rows = [
        ["pages accepted", _interval(held.share_accepted)],
        [f"CER of accepted pages, {kind}", _interval(held.cer)],
        ["CER of the same number of pages with the best mean scores", _interval(held.naive_cer)],
        ["CER of all pages", _interval(held.cer_of_all)],
    ]
    return Table(("on held-out files", "95 % interval"), rows)


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
        "Wrong characters by line score",
        drawn,
        x_name="line score",
        y_name="share of wrong characters",
        summary="expected share of wrong characters in a line, by its score and length",
        left=_LEAST,
    )


def picture(path: RunPath) -> Thumbnail | None:
    """A PNG as a thumbnail. It is decoded and encoded again, so that only pixels get through."""
    try:
        image = Image.open(io.BytesIO(path.read_bytes()), formats=["PNG"]).convert("RGB")
        image.thumbnail((_PICTURE, _PICTURE), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        image.save(file, "WEBP", quality=80)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    url = "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
    return Thumbnail(url, image.width, image.height)
