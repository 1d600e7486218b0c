"""Turn a person's changes to FiftyOne samples into answers of `pipelines.review.items`.

| sample | verdict |
|---|---|
| tag `reject` | reject |
| labels, lines or text changed since it was curated | correct |
| tag `accept`, unchanged | accept |
| otherwise | no answer |

The same tags work on single labels: `reject` removes a label, `accept` turns a candidate into a
label.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from actors.images.rle import Bits
from actors.lines import page_text
from pipelines.config_files import in_words
from pipelines.curation.changes import ACCEPT, REJECT, changed_parts, elements, line_of, place_of
from pipelines.curation.masks import mask_of
from pipelines.review.items import Filled

#: Fields with the readings of a page, in the order of `readings_of`.
_READINGS = ("text", "vlm_text")


@dataclass
class SampleAnswers:
    """Answers to the samples of one run.

    Attributes:
        filled: row id -> answer.
        masks: row id -> present mask (or None) of each instance of a corrected image. Accepted
            images are unchanged and need none, so that accepting 100,000 samples takes no memory.
        from_lines: row ids whose text was joined from changed lines.
        faults: (row id, error).
        untouched: number of samples without an answer.
    """

    filled: dict[int, Filled] = field(default_factory=dict)
    masks: dict[int, list[Bits | None]] = field(default_factory=dict)
    from_lines: set[int] = field(default_factory=set)
    faults: list[tuple[int, str]] = field(default_factory=list)
    untouched: int = 0


def answers_of(samples: Iterable[Any], labelled: bool) -> SampleAnswers:
    """Read the samples one by one; only those with an answer are held in memory.

    Args:
        samples: of one run.
        labelled: True for images with labels, False for pages.
    """
    answers = SampleAnswers()
    for sample in samples:
        row_id = int(sample["row_id"])
        changed = changed_parts(sample, labelled)
        verdict = _verdict(sample["tags"], changed)
        if verdict is None:
            answers.untouched += 1
        elif verdict == "both":
            answers.faults.append((row_id, f"has both tags, {ACCEPT} and {REJECT}"))
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
    """Labels and size of a corrected image. Its masks go to `answers`."""
    kept, size = _kept(sample), sample["metadata"]
    instances = [_instance(one, row_id, size) for one in kept]
    _no_place_twice(instances)
    answers.masks[row_id] = [mask_of(one) for one in kept]
    return {"instances": instances, "width": size.width, "height": size.height}


def _page_item(
    answers: SampleAnswers, row_id: int, sample: Any, verdict: str, changed: set[str]
) -> dict[str, Any]:
    """The readings of an accepted page, or the text of a corrected one."""
    if verdict == "accept":
        return {"readings": [{"text": sample[name]} for name in _READINGS if sample[name]]}
    if "text" in changed:
        return {"text": sample["text"]}
    answers.from_lines.add(row_id)
    return {"text": page_text(map(line_of, elements(sample["lines"])))}


def _kept(sample: Any) -> list[Any]:
    instances = [one for one in elements(sample["instances"]) if REJECT not in one.tags]
    candidates = [one for one in elements(sample["candidates"]) if ACCEPT in one.tags]
    return [*instances, *candidates]


def _instance(label: Any, row_id: int, size: Any) -> dict[str, Any]:
    """A label as `pipelines.review.items.FilledInstance`: in pixels, clipped to the image."""
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
    """Drop repeated ids: a label that was copied in the app is a new label."""
    seen: set[int | None] = set()
    for one in instances:
        if one["id"] in seen:
            one["id"] = None
        seen.add(one["id"])


def _said(fault: Any) -> str:
    return f"{'.'.join(map(str, fault['loc']))}: {in_words(fault)}"
