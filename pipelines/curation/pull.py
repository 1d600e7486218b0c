"""Write the changes in a FiftyOne dataset to RUN/reviewed, like `nightjar review import`.

Only samples with an answer are written, see `pipelines.curation.answers`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from actors.images.rle import Bits, RleValue
from actors.lines import page_text
from pipelines.curation.answers import SampleAnswers, answers_of
from pipelines.curation.changes import IMAGE_PARTS, PAGE_PARTS
from pipelines.curation.dataset import fiftyone, is_labelled, load_dataset
from pipelines.curation.masks import cropped, whole
from pipelines.decisions.finished import FinishedImage, FinishedPage
from pipelines.decisions.triage import Label
from pipelines.errors import ConfigError
from pipelines.review.importing import CheckedAnswers, ReviewImport, checked_answers, write_reviewed
from pipelines.review.items import Filled
from pipelines.review.judge import REVIEWER
from pipelines.runs.directory import RunDir

#: Most errors that a message lists; the others are counted.
_LISTED = 20

OnSamples = Callable[[int, int], None]  #: (samples read, total)


@dataclass
class Pulled:
    """Answers pulled into one run. `counts.waiting`: samples without an answer."""

    run: RunDir
    counts: ReviewImport


def pull(
    name: str,
    run: RunDir | None = None,
    reviewer: str | None = None,
    on_samples: OnSamples = lambda done, total: None,
) -> list[Pulled]:
    """Write the answers of each sample to the folder `reviewed` of its run.

    The dataset is not changed. A second pull writes only newer changes.

    Args:
        name: of the dataset.
        run: only samples of this run; or the new path if the dataset's only run was moved.
        reviewer: name to record; default: $USER.
        on_samples: called after every 256 samples.

    Raises:
        ConfigError: no FiftyOne, no such dataset, or some answers are wrong; it lists them by
            row, and nothing is written.
        RunNotFound, OutputUnwritable.
    """
    fo = fiftyone()
    dataset = load_dataset(fo, name)
    labelled = is_labelled(dataset)
    runs = _runs(dataset, name, run)
    counted = _Counter(dataset.count(), on_samples)
    judged = []
    for stored, where in runs:
        samples = _samples(fo, dataset, stored, labelled)
        answers = answers_of(counted(samples), labelled)
        judged.append((where, answers, _judged(where, answers)))
    _refuse([fault for _, _, one in judged for fault in one.faults], name)
    return [_written(where, answers, one, reviewer) for where, answers, one in judged]


def _runs(dataset: Any, name: str, run: RunDir | None) -> list[tuple[str, RunDir]]:
    """(path of the run as stored in the samples, the run)."""
    stored: list[str] = dataset.distinct("run")
    if run is None:
        return [(path, RunDir(path)) for path in stored]
    path = str(run.path.resolve())
    if path in stored:
        return [(path, run)]
    if len(stored) == 1:
        return [(stored[0], run)]
    raise ConfigError(
        f"no sample of {name!r} comes from {path}",
        f"runs of this dataset: {', '.join(stored) or 'none'}",
    )


def _samples(fo: Any, dataset: Any, run: str, labelled: bool) -> Iterator[Any]:
    fields = ["row_id", "note", "as_curated", *(IMAGE_PARTS if labelled else PAGE_PARTS)]
    if not labelled:
        fields.append("vlm_text")
    view = dataset.match(fo.ViewField("run") == run).select_fields(fields)
    yield from view.iter_samples()


class _Counter:
    """Calls `on_samples` after every 256 samples and at the end."""

    def __init__(self, total: int, on_samples: OnSamples) -> None:
        self._total = total
        self._on_samples = on_samples
        self._done = 0

    def __call__(self, samples: Iterable[Any]) -> Iterator[Any]:
        for sample in samples:
            yield sample
            self._done += 1
            if self._done % 256 == 0 or self._done == self._total:
                self._on_samples(self._done, self._total)


def _judged(run: RunDir, answers: SampleAnswers) -> CheckedAnswers:
    """The answers checked against the run, with the masks that people drew."""
    judged = checked_answers(run, answers.filled, np.array(list(answers.filled), np.int64))
    faults = [(row_id, f"row {row_id}: {fault}") for row_id, fault in answers.faults]
    judged.faults += faults
    for row, found in zip(judged.rows, judged.found, strict=True):
        row_id = row["row_id"]
        if "instances" in found:
            if row["verdict"] == "correct" and row["instances"] is not None:
                _draw(row["instances"], answers.filled[row_id], answers.masks[row_id], found)
        elif row_id in answers.from_lines and _joined(found) != found["text"]:
            fault = "lines were changed, but the text is not made of lines: edit the field text"
            judged.faults.append((row_id, f"row {row_id}: {fault}"))
    return judged


def _joined(found: FinishedPage) -> str:
    return page_text(found["lines"] or ())


def _draw(
    labels: Sequence[Label],
    item: Filled,
    masks: Sequence[Bits | None],
    found: FinishedImage,
) -> None:
    """Put changed masks into the labels and clear their measured values."""
    before = found["instances"] or []
    width, height = found["width"] or item.width, found["height"] or item.height
    for label, one, mask in zip(labels, item.instances or (), masks, strict=True):
        old = None if one.id is None else before[one.id]
        if mask is None or (old and old["mask"] and _same(mask, old["mask"], old["box"])):
            continue
        label["mask"] = whole(mask, label["box"], int(width or 0), int(height or 0))
        label["source"] = REVIEWER
        label["mask_iou"] = label["box_agreement"] = None


def _same(mask: Bits, before: RleValue, box: Sequence[float]) -> bool:
    return np.array_equal(mask, cropped(before, box))


def _refuse(faults: Sequence[tuple[int, str]], name: str) -> None:
    if not faults:
        return
    listed = [f"  {fault}" for _, fault in sorted(faults)[:_LISTED]]
    if len(faults) > _LISTED:
        listed.append(f"  and {len(faults) - _LISTED:,} more")
    raise ConfigError(
        f"the dataset {name!r} has errors, nothing was pulled:\n" + "\n".join(listed),
        f"correct these samples in the app (nightjar app {name}; search row_id) and pull again",
    )


def _written(
    run: RunDir, answers: SampleAnswers, judged: CheckedAnswers, reviewer: str | None
) -> Pulled:
    verdicts = Counter(str(item.verdict) for item in answers.filled.values())
    counts = ReviewImport(verdicts=verdicts, waiting=answers.untouched)
    write_reviewed(run, judged.rows, reviewer, counts)
    return Pulled(run, counts)
