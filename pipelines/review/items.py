"""The lines of items.jsonl: as exported, and as filled by a reviewer."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from actors.failures import FailureValue
from actors.images.rle import RleValue
from actors.lines import LineValue
from pipelines.config_files import in_words
from pipelines.decisions.finished import AnyRow, FinishedPage
from pipelines.decisions.triage import Label, Reason
from pipelines.errors import ConfigError
from pipelines.runs.refetch import RefetchedPage

ITEMS = "items.jsonl"
IMAGES = "images"
DRAWN = "drawn"
README = "README.txt"

#: Columns used for an item. Older runs lack some of them, for example `vlm_text`.
COLUMNS = (
    *("row_id", "uri", "page", "pages", "etag", "bytes", "kind", "width", "height", "rotation"),
    *("outcome", "reasons", "text", "text_source", "lines", "instances"),
    *("vlm_text", "vlm_lines", "vlm_model", "vlm_failure"),
)


class ReadingShown(TypedDict, total=False):
    """One reading of a page.

    `lines`: null if the positions are unknown. `failure`: only of the fallback: the failure kind
    if its answer was cut short or looped.
    """

    source: str | None
    text: str
    lines: list[LineValue] | None
    failure: str | None


#: A label in an item. `id`: its index in the row's `instances`.
LabelShown = TypedDict(
    "LabelShown",
    {
        "id": int,
        "class": str,
        "score": float | None,
        "box": list[float],
        "reasons": list[str],
        "mask": RleValue | None,
    },
)


class ItemValue(TypedDict, total=False):
    """One line of items.jsonl as it is exported.

    A page has `text` and `readings`, an image `instances` and `candidates`, and `drawn`: its
    picture with the boxes of `instances`, captioned with id, class and score. `row_id` is a string
    because JavaScript's numbers hold 53 bits.
    """

    row_id: str
    uri: str
    page: int
    job: str
    outcome: str
    reasons: list[str]
    gain: float
    width: int | None
    height: int | None
    image: str | None
    image_failure: FailureValue | None
    verdict: None
    note: None
    text: None
    readings: list[ReadingShown]
    drawn: str | None
    instances: list[LabelShown]
    candidates: list[LabelShown]


def item_of(row: AnyRow, job: str, gain: float, fetched: RefetchedPage) -> ItemValue:
    """The JSON object of one item.

    Args:
        row: those of `COLUMNS` that the run has.
        job: of the run.
        gain: see `pipelines.review.gain`.
        fetched: the row's page.
    """
    item: ItemValue = {
        "row_id": str(row["row_id"]),
        "uri": row["uri"],
        "page": row["page"],
        "job": job,
        "outcome": row["outcome"],
        "reasons": row["reasons"],
        "gain": gain,
        "width": row["width"] or fetched["width"],
        "height": row["height"] or fetched["height"],
        "image": None if fetched["fetch_failure"] else f"{IMAGES}/{row['row_id']}.png",
        "image_failure": fetched["fetch_failure"],
        "verdict": None,
        "note": None,
    }
    if "instances" not in row:
        return item | {"text": None, "readings": readings_of(row)}
    labels = [_shown(number, label) for number, label in enumerate(row["instances"] or [])]
    kept = kept_labels(row["instances"] or [])
    return item | {
        "drawn": None if fetched["fetch_failure"] else f"{DRAWN}/{row['row_id']}.jpg",
        "instances": [label for label in labels if label["id"] in kept],
        "candidates": [label for label in labels if label["id"] not in kept],
    }


def kept_labels(instances: Sequence[Label]) -> dict[int, Label]:
    """Index -> label, of those that are no candidates below their threshold."""
    return {
        number: label
        for number, label in enumerate(instances)
        if Reason.BELOW_THRESHOLD not in label["reasons"]
    }


def _shown(number: int, label: Label) -> LabelShown:
    return {
        "id": number,
        "class": label["class"],
        "score": label["score"],
        "box": label["box"],
        "reasons": label["reasons"],
        "mask": label["mask"],
    }


def readings_of(row: FinishedPage) -> list[ReadingShown]:
    """The readings of a page: first the OCR engine's, then the fallback's."""
    readings: list[ReadingShown] = []
    if row["text"] is not None:
        readings.append({"source": row["text_source"], "text": row["text"], "lines": row["lines"]})
    answer = row.get("vlm_text")
    if answer is not None:
        fault = row.get("vlm_failure")
        readings.append(
            {
                "source": row.get("vlm_model") or "vlm",
                "text": answer,
                "lines": row.get("vlm_lines"),
                "failure": fault and fault["kind"],
            }
        )
    return readings


def as_json(item: ItemValue) -> str:
    """One line of JSON. Floats are rounded to 4 decimals; NaN and infinity become null."""
    return json.dumps(_plain(item), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


class _Part(BaseModel):
    """Base of the filled items. Unknown keys are ignored: labelling tools add their own."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


def _encodable(text: str) -> str:
    """Refuse lone surrogates ("\\ud800"): JSON allows them, Parquet does not."""
    text.encode()
    return text


Text = Annotated[str, AfterValidator(_encodable)]


class FilledMask(_Part):
    """As in `pipelines.decisions.triage.RLE`."""

    counts: str
    size: tuple[int, int]


class FilledInstance(_Part):
    """A label in an answer. `id`: its index in the row's `instances`; None for a new label."""

    id: int | None = None
    class_name: str = Field(alias="class")
    box: tuple[float, float, float, float]
    mask: FilledMask | None = None


class FilledReading(_Part):
    """A reading as exported in the item."""

    text: str | None


class Filled(_Part):
    """A filled line of items.jsonl. `verdict` is required, so that a misspelt key is noticed."""

    row_id: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]
    verdict: Literal["accept", "correct", "reject"] | None
    text: Text | None = None
    note: Text | None = None
    width: int | None = None
    height: int | None = None
    readings: list[FilledReading] | None = None
    instances: list[FilledInstance] | None = None


@dataclass
class Answers:
    """The content of a filled items.jsonl.

    Attributes:
        reviewed: row id -> (line number, item) of the lines with a verdict.
        row_ids: int64 row ids of all readable lines.
        lines: line number of each of `row_ids`.
        faults: (line number, error).
    """

    reviewed: dict[int, tuple[int, Filled]] = field(default_factory=dict)
    row_ids: array[int] = field(default_factory=lambda: array("q"))
    lines: array[int] = field(default_factory=lambda: array("q"))
    faults: list[tuple[int, str]] = field(default_factory=list)


def read_answers(folder: Path) -> Answers:
    """Read `folder`/items.jsonl line by line; only lines with a verdict stay in memory.

    Wrong lines are listed in `faults`. Raises ConfigError if the file cannot be read.
    """
    answers = Answers()
    seen: set[int] = set()
    try:
        with (folder / ITEMS).open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip(b"\xef\xbb\xbf \t\r\n"):
                    _take(answers, seen, number, line)
    except OSError as error:
        raise ConfigError(
            f"cannot read {folder / ITEMS}: {error.strerror}",
            "give the folder that `nightjar review export` wrote",
        ) from error
    return answers


def _take(answers: Answers, seen: set[int], number: int, line: bytes) -> None:
    try:
        raw = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_no_key_twice)
        item = Filled.model_validate(raw)
    except ValidationError as error:
        answers.faults += [(number, _said(fault)) for fault in error.errors(include_url=False)]
        return
    except (ValueError, RecursionError) as error:
        answers.faults.append((number, f"not a JSON object: {error}"))
        return
    if item.row_id in seen:
        answers.faults.append((number, f"row {item.row_id} occurs twice in this file"))
        return
    seen.add(item.row_id)
    answers.row_ids.append(item.row_id)
    answers.lines.append(number)
    if item.verdict:
        answers.reviewed[item.row_id] = (number, item)
    elif item.text:
        answers.faults.append((number, f"row {item.row_id}: has a text, but no verdict"))


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse duplicate keys: the exported `"verdict": null` would override an added verdict."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {max(names, key=names.count)!r} occurs twice")
    return found


def _said(fault: Any) -> str:
    return f"{'.'.join(map(str, fault['loc'])) or 'item'}: {in_words(fault)}"
