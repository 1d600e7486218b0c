"""What a person's changes to a FiftyOne sample say, as an answer of `pipelines.review.items`.

Touched is a sample with the tag `accept` or `reject`, and one whose labels, lines or text are not
as they were curated; nothing else is an answer. The tag `reject` stands above all; what was changed
is `correct`, with or without `accept`. On single labels the same tags count: `reject` takes a
label away, `accept` makes a label of a candidate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from actors.images.rle import Bits
from pipelines.curation.changes import ACCEPT, REJECT, changed_parts, elements, line_text, place_of
from pipelines.curation.masks import mask_of
from pipelines.review.items import Filled

#: Fields that hold what was read on a page, in the order of `readings_of`.
_READINGS = ("text", "vlm_text")


@dataclass
class SampleAnswers:
    """What people said about the samples of one run.

    Attributes:
        filled: row id -> their answer.
        masks: row id -> for each of a corrected image's instances its mask as it is now, or None.
            What was accepted is as it was curated: one click on 100,000 samples holds no mask.
        from_lines: row ids whose text was put together from lines that were changed.
        faults: (row id, what is wrong).
        untouched: samples.
    """

    filled: dict[int, Filled] = field(default_factory=dict)
    masks: dict[int, list[Bits | None]] = field(default_factory=dict)
    from_lines: set[int] = field(default_factory=set)
    faults: list[tuple[int, str]] = field(default_factory=list)
    untouched: int = 0


def answers_of(samples: Iterable[Any], labelled: bool) -> SampleAnswers:
    """Look at samples one by one; only what was touched is held.

    Args:
        samples: of one run.
        labelled: whether they are images with labels; else pages.
    """
    answers = SampleAnswers()
    for sample in samples:
        row_id = int(sample["row_id"])
        changed = changed_parts(sample, labelled)
        verdict = _verdict(sample["tags"], changed)
        if verdict is None:
            answers.untouched += 1
        elif verdict == "both":
            answers.faults.append((row_id, f"the tags {ACCEPT} and {REJECT} at once"))
        else:
            item: dict[str, Any] = {"row_id": row_id, "verdict": verdict}
            item["note"] = sample["note"] or None
            if verdict == "correct" and labelled:
                item |= _image_item(answers, row_id, sample)
            elif verdict != "reject" and not labelled:
                item |= _page_item(answers, row_id, sample, verdict, changed)
            _fill(answers, item)
    return answers


def _verdict(tags: Sequence[str], changed: set[str]) -> str | None:
    if ACCEPT in tags and REJECT in tags:
        return "both"
    if REJECT in tags:
        return "reject"
    if changed:
        return "correct"
    return "accept" if ACCEPT in tags else None


def _fill(answers: SampleAnswers, item: dict[str, Any]) -> None:
    try:
        answers.filled[item["row_id"]] = Filled.model_validate(item)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        answers.faults += [(item["row_id"], _said(fault)) for fault in faults]


def _image_item(answers: SampleAnswers, row_id: int, sample: Any) -> dict[str, Any]:
    """Labels and size; their masks go to `answers`."""
    kept, size = _kept(sample), sample["metadata"]
    instances = [_instance(one, row_id, size) for one in kept]
    _no_place_twice(instances)
    answers.masks[row_id] = [mask_of(one) for one in kept]
    return {"instances": instances, "width": size.width, "height": size.height}


def _page_item(
    answers: SampleAnswers, row_id: int, sample: Any, verdict: str, changed: set[str]
) -> dict[str, Any]:
    """The readings that an `accept` saw, or the text of a `correct`."""
    if verdict == "accept":
        return {"readings": [{"text": sample[name]} for name in _READINGS if sample[name]]}
    if "text" in changed:
        return {"text": sample["text"]}
    answers.from_lines.add(row_id)
    return {"text": "\n".join(filter(None, map(line_text, elements(sample["lines"]))))}


def _kept(sample: Any) -> list[Any]:
    instances = [one for one in elements(sample["instances"]) if REJECT not in one.tags]
    candidates = [one for one in elements(sample["candidates"]) if ACCEPT in one.tags]
    return [*instances, *candidates]


def _instance(label: Any, row_id: int, size: Any) -> dict[str, Any]:
    """A label as `pipelines.review.items.FilledInstance`: pixels, what is outside is cut off."""
    x, y, width, height = label.bounding_box or (0.0, 0.0, 0.0, 0.0)
    box = (x, y, x + width, y + height)
    sides = (size.width, size.height) * 2
    instance = {
        "id": place_of(label, row_id),
        "class": label.label,
        "box": [min(max(part, 0), 1) * side for part, side in zip(box, sides, strict=True)],
    }
    return instance if label.has_mask else instance | {"mask": None}


def _no_place_twice(instances: Sequence[dict[str, Any]]) -> None:
    """A label that was copied in the app is a new one."""
    seen: set[int | None] = set()
    for one in instances:
        if one["id"] in seen:
            one["id"] = None
        seen.add(one["id"])


def _said(fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}"
