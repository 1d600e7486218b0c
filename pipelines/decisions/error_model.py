"""Calibration: the expected character error rate (CER) of a page, from the evidence of its reading.

`nightjar calibrate` writes it as a small JSON file. A config names the file, and loading the config
inlines it: `run.json` and the keys that guard a run directory hold the whole calibration, and
workers need no file.

Every feature is oriented: a higher value means more risk, and no coefficient is negative. So weaker
lines never lower the expected error rate, for any sample. A page has no expected error rate,
and so fails closed, if a feature is missing or higher than on every page of the sample. A feature
with the coefficient 0 serves only as this limit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import (
    BeforeValidator,
    Field,
    FiniteFloat,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from actors.contract import Settings
from actors.lines import LineValue
from pipelines.decisions.evidence import EvidenceValue
from pipelines.errors import RunUnreadable
from pipelines.measures.intervals import Interval
from pipelines.measures.promises import Promise, promise_for
from pipelines.storage.paths import STORAGE_CONTEXT, RunPath, run_path

VERSION = 2  # of the file format; also in `Calibration.version`

Floats = npt.NDArray[np.float64]
Numbers = tuple[FiniteFloat, ...]

#: Characters of lines with a lower score are weak. Share of wrong characters by line score, on 63
#: receipts: 0.90 to 0.95: 9 %; 0.95 to 0.97: 3 %; above: 1 %.
WEAK = 0.95
#: Added before the logarithm: one wrong character on a page of 500.
_LEAST_RISK = 0.002
#: Highest `text_outside` of a page of which every text was read, as the default floor.
_ALL_READ = 0.02
#: Tolerance of comparisons: shards hold float32, these numbers are float64.
ROUNDING = 1e-6

FEATURES = (
    *("mean_score", "line_risk", "text_risk", "weak_characters"),
    *("text_outside", "missed_ink", "garbled"),
)
#: Features that need the line model.
_OF_LINES = ("line_risk", "text_risk")


class Steps(Settings):
    """A monotone map by linear interpolation between points, flat beyond them."""

    x: Numbers = Field(description="points, in rising order")
    y: Numbers = Field(description="values at these points")

    @model_validator(mode="after")
    def _is_a_map(self) -> Self:
        if not self.x or len(self.x) != len(self.y):
            raise ValueError("x and y must have the same length, at least 1")
        if any(one > other for one, other in zip(self.x, self.x[1:], strict=False)):
            raise ValueError("x must not decrease")
        return self

    def at(self, values: Floats) -> Floats:
        """Mapped values, float64, in the shape of `values`."""
        mapped: Floats = np.interp(values, self.x, self.y)
        return mapped


class LineModel(Settings):
    """Expected share of wrong characters of a line, 0..1, by its score and its length."""

    up_to: tuple[int, ...] = Field(
        description="longest line of each band, in characters without spaces; the last band "
        "includes longer lines"
    )
    bands: tuple[Steps, ...] = Field(description="one map for each band, falling with the score")

    @model_validator(mode="after")
    def _one_map_a_band(self) -> Self:
        if not self.bands or len(self.bands) != len(self.up_to):
            raise ValueError("up_to and bands must have the same length, at least 1")
        return self

    def risk(self, scores: Floats, characters: npt.NDArray[np.int64]) -> Floats:
        """Expected share of wrong characters, (lines,) float64, 0..1."""
        band = np.minimum(np.searchsorted(self.up_to, characters), len(self.bands) - 1)
        found = np.ones(len(scores))
        for number, steps in enumerate(self.bands):
            found[band == number] = steps.at(scores[band == number])
        return found


class PageModel(Settings):
    """Logistic regression on standardised features."""

    features: tuple[str, ...] = Field(description=f"features, some of {', '.join(FEATURES)}")
    centre: Numbers = Field(description="mean of each feature in the sample")
    scale: Numbers = Field(description="standard deviation of each feature in the sample")
    coefficients: Numbers = Field(description="coefficient of each standardised feature, 0 or more")
    worst: Numbers = Field(description="highest value of each feature in the sample")
    intercept: FiniteFloat = Field(description="intercept of the logistic regression")
    lines: LineModel | None = Field(None, description="error rate of a line by its score")

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        for name in ("centre", "scale", "coefficients", "worst"):
            if len(getattr(self, name)) != len(self.features):
                raise ValueError(f"{name} must have one number for each of {list(self.features)}")
        unknown = [name for name in self.features if name not in FEATURES]
        if unknown:
            raise ValueError(f"unknown features: {', '.join(unknown)}")
        if any(number < 0 for number in self.coefficients):
            raise ValueError("coefficients must not be negative")
        if any(number <= 0 for number in self.scale):
            raise ValueError("scale must be positive")
        needy = [name for name in _OF_LINES if name in self.features]
        if needy and self.lines is None:
            raise ValueError(f"{needy[0]} needs the line model (lines)")
        return self

    def expected_cer(self, evidence: EvidenceValue, lines: Sequence[LineValue]) -> float | None:
        """Expected character error rate of a page, 0..1.

        None (the page fails closed) if a score or a feature is missing, or if a feature is worse
        than on every page of the sample. Ink outside the lines is no text if the detector saw none
        there: an illustrated page counts as the page of the sample with the most such ink.
        """
        found = page_features(evidence, *scores_and_lengths(lines), self.lines)
        values = np.array([np.nan if found[n] is None else found[n] for n in self.features], float)
        if evidence.get("unscored_lines") or evidence.get("mean_score") is None:
            return None
        worst = np.array(self.worst)
        outside = evidence.get("text_outside")
        if outside is not None and outside <= _ALL_READ:
            drawn = np.array(self.features) == "missed_ink"
            values[drawn] = np.minimum(values[drawn], worst[drawn])
        if not np.all(values <= worst + ROUNDING):  # false for NaN
            return None
        return float(self.estimate(values[None])[0])

    def weighs(self, name: str) -> bool:
        """Whether a feature raises the expected error rate; the others are only limits."""
        return dict(zip(self.features, self.coefficients, strict=True)).get(name, 0.0) > 0

    def sees_missed_text(self) -> bool:
        """Whether the model itself rejects pages with much missed text, so that floors need not.

        It does if it weighs `missed_ink`, or if `text_outside` is a feature.
        """
        return self.weighs("missed_ink") or "text_outside" in self.features

    def estimate(self, values: Floats) -> Floats:
        """Expected error rates, (pages,) float64, of (pages, features) values without NaN."""
        scaled = (values - np.array(self.centre)) / np.array(self.scale)
        logit = self.intercept + scaled @ np.array(self.coefficients)
        share: Floats = 1 / (1 + np.exp(-np.clip(logit, -30, 30)))
        return share

    def line_goodness(self, score: float | None, characters: int) -> float | None:
        """Expected share of right characters of a line, 0..1.

        Args:
            score: of the line, 0..1.
            characters: of the line, without spaces.

        None without a score, without text, or without a line model.
        """
        if score is None or characters < 1 or self.lines is None or not 0 <= score <= 1:
            return None
        return 1 - float(self.lines.risk(np.array([score], float), np.array([characters]))[0])


class HeldOut(Settings):
    """Figures on pages that the fit has not seen, by cross-validation over files. Shares 0..1."""

    share_accepted: Interval = Field(description="accepted pages / pages")
    cer: Interval | None = Field(description="CER of the accepted pages; null: no accepted page")
    naive_cer: Interval | None = Field(
        description="CER of as many pages, chosen by their mean line score"
    )
    cer_of_all: Interval = Field(description="CER of all pages")


class Calibration(PageModel):
    """The content of a calibration file, for one engine."""

    version: Literal[2] = Field(2, description="version of the file's format")
    engine: str = Field(min_length=1, description="first word of lines_source, such as rapid_ocr")
    language: str | None = Field(None, description="language of the sample; null: not given")
    counts_blanks: bool = Field(
        description="whether all CERs count a run of white space as one character; false: white "
        "space is left out"
    )
    confidence: float = Field(
        gt=0, lt=1, description="probability with which a promise holds for other files"
    )
    promises: tuple[Promise, ...] = Field(
        description="floors and their promises, from strict to loose"
    )
    target_cer: float = Field(
        ge=0, le=1, description="CER that the accepted pages together should meet"
    )
    floor: float | None = Field(
        description="highest expected CER of an accepted page for this target; null: no floor "
        "promises it"
    )
    pages: int = Field(description="pages of the sample")
    files: int = Field(description="files of the sample")
    sample_lines: int = Field(description="text lines of the sample")
    characters: int = Field(description="true characters of the sample")
    held_out: HeldOut = Field(description="figures on pages outside the training files")
    created: str = Field(description="when the file was written")

    def kind_of_cer(self) -> str:
        """Which CER this calibration is about."""
        return "with blanks" if self.counts_blanks else "without blanks"

    def promise(self, target: float) -> Promise | None:
        """The loosest floor that promises a CER of at most `target`; None: no floor does."""
        return promise_for(self.promises, target)

    def floor_for(self, target: float, where: str) -> float:
        """The floor of a target. Raises ValueError, with the name `where`, if there is none."""
        if found := self.promise(target):
            return found.floor
        asked = f"{where} promises no CER of {100 * target:g} %"
        if not self.promises:
            raise ValueError(f"{asked}, nor any other: calibrate with more files")
        lowest = 100 * self.promises[0].promised_cer
        raise ValueError(
            f"{asked}: the lowest is {lowest:.2f} % ({self.files} files, confidence "
            f"{100 * self.confidence:g} %). Give a higher target_cer, or calibrate with more files"
        )


def scores_and_lengths(
    lines: Sequence[LineValue],
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Scores, (lines,) float64, and lengths, (lines,) int64 characters without spaces.

    A line without text, or with white space only, counts as one character with the score 0.
    """
    read = [((line["text"] or "").strip(), line["score"]) for line in lines]
    lengths = np.array([max(len("".join(text.split())), 1) for text, _ in read], np.int64)
    scores = np.array([score if text and score is not None else 0.0 for text, score in read], float)
    return scores, lengths


def page_features(
    evidence: EvidenceValue,
    scores: Floats,
    lengths: npt.NDArray[np.int64],
    lines: LineModel | None,
) -> dict[str, float | None]:
    """The features of a page. A higher value means more risk; None: not measured.

    * `mean_score`: log odds of a wrong character, taking the mean line score as a probability.
    * `line_risk`: logarithm of the share of wrong characters that the line model expects.
    * `text_risk`: the same, with the text that the detector saw outside the lines as missing.
    * `weak_characters`: share of characters in lines below `WEAK`.
    * `missed_ink`: share of the ink outside the lines.
    * `text_outside`, `garbled`: as in the evidence.
    """
    mean, covered = evidence.get("mean_score"), evidence.get("ink_covered")
    found: dict[str, float | None] = dict.fromkeys(FEATURES)
    if mean is not None:
        wrong = min(max(1 - mean, 1e-4), 1 - 1e-4)
        found["mean_score"] = float(np.log(wrong / (1 - wrong)))
    if covered is not None:
        found["missed_ink"] = 1 - covered
    outside = evidence.get("text_outside")
    found["text_outside"], found["garbled"] = outside, evidence.get("garbled")
    if len(scores):
        found["weak_characters"] = float(lengths[scores < WEAK].sum() / lengths.sum())
    if len(scores) and lines is not None:
        risk = np.average(lines.risk(scores, lengths), weights=lengths)
        found["line_risk"] = float(log_risk(risk))
        if outside is not None:
            found["text_risk"] = float(log_risk(with_missing(risk, outside)))
    return found


def with_missing(share: Any, outside: Any) -> Any:
    """Share of wrong or missing text, 0..1, from the wrong share of the lines; any shape."""
    return share * (1 - outside) + outside


def log_risk(share: Any) -> Any:
    """Logarithm of a share of wrong characters (0..1), as the features use it; any shape."""
    return np.log(share + _LEAST_RISK)


def load_calibration(path: RunPath) -> Calibration:
    """Read a calibration file. Raises ValueError with the reason."""
    try:
        raw = json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"no calibration file {path}: make one with nightjar calibrate") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a calibration file: {error}") from None
    except RunUnreadable as error:
        raise ValueError(f"cannot read the calibration {path}: {error.message}") from error
    if not isinstance(raw, dict) or "version" not in raw:
        raise ValueError(f"{path} is not a calibration file: it has no key version")
    if raw["version"] != VERSION:
        raise ValueError(
            f"{path} has format version {raw['version']}, this Nightjar reads {VERSION}: "
            "run nightjar calibrate again"
        )
    try:
        return Calibration.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path} is not a valid calibration: {where} {first['msg']}") from None


def _inlined(value: Any, info: ValidationInfo) -> Any:
    """Replace paths by the calibrations in their files.

    `info.context` may hold the storage settings for paths in buckets. Raises ValueError with the
    path if a file has no floor for `target_cer`.
    """
    items = value if isinstance(value, list | tuple) else [value]
    storage = (info.context or {}).get(STORAGE_CONTEXT)
    found = []
    for item in items:
        if isinstance(item, str | Path):
            made = load_calibration(run_path(item, storage))
            if "target_cer" in info.data:  # it is missing if it is invalid itself
                made.floor_for(info.data["target_cer"], str(item))
            item = made
        found.append(item)
    return tuple(found)


#: One calibration for each engine. A config gives a path or a list of paths.
Calibrations = Annotated[
    tuple[Calibration, ...],
    BeforeValidator(_inlined, json_schema_input_type=str | list[str] | list[Calibration]),
]


class Accept(Settings):
    """Accept readings by their expected error rate instead of raw score floors.

    The floor, the highest expected rate of an accepted page, is the one for `target_cer` in the
    calibration.
    """

    target_cer: float = Field(
        gt=0,
        le=1,
        description="CER of all accepted pages together that the calibration promises, with its "
        "confidence; whether blanks count is in the calibration",
    )
    calibration: Calibrations = Field(
        description="calibration file of nightjar calibrate, or a list with one file for each "
        "engine"
    )

    @model_validator(mode="before")
    @classmethod
    def _says_what_became_of_the_floor(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and "max_expected_cer" in raw:
            raise ValueError(
                "max_expected_cer is gone: give target_cer, the CER of all accepted pages "
                "together; the floor for it is in the calibration"
            )
        return raw

    @model_validator(mode="after")
    def _one_of_each_engine(self) -> Self:
        engines = [one.engine for one in self.calibration]
        if not engines or len(set(engines)) < len(engines):
            raise ValueError(f"calibration needs one file for each engine, it has {engines}")
        for one in self.calibration:
            one.floor_for(self.target_cer, f"the calibration of {one.engine}")
        return self

    def of(self, engine: str) -> Calibration | None:
        """The calibration of an engine (`ocr_engine`), None if there is none."""
        name = engine.split()[0]
        return next((one for one in self.calibration if one.engine == name), None)
