"""What people changed in a FiftyOne dataset -> RUN/reviewed, as `nightjar review import` writes it.

Only samples that somebody touched come back, see `pipelines.curation.answers`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from actors.images.rle import Bits, RleValue
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

#: Faults that a message lists; the rest is counted.
_LISTED = 20

OnSamples = Callable[[int, int], None]  #: samples looked at, of how many


@dataclass
class Pulled:
    """What came back into one run. `counts.waiting`: samples that nobody touched."""

    run: RunDir
    counts: ReviewImport


def pull(
    name: str,
    run: RunDir | None = None,
    reviewer: str | None = None,
    on_samples: OnSamples = lambda done, total: None,
) -> list[Pulled]:
    """Take what people changed into the folder `reviewed` of the run that each sample is from.

    The dataset stays as it is; pulled again, only what was changed since is written.

    Args:
        name: of the dataset.
        run: take the samples of this run only; or where the one run of the dataset lies now.
        reviewer: who has looked; $USER without it.
        on_samples: called after every 256 samples.

    Raises:
        ConfigError: no FiftyOne, no such dataset, or answers are wrong, named by row; then nothing
            is written.
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
    """(what samples call their run, where it lies)."""
    stored: list[str] = dataset.distinct("run")
    if run is None:
        return [(path, RunDir(path)) for path in stored]
    path = str(run.path.resolve())
    if path in stored:
        return [(path, run)]
    if len(stored) == 1:
        return [(stored[0], run)]
    raise ConfigError(
        f"no sample of {name!r} is from {path}", f"its runs are {', '.join(stored) or 'none'}"
    )


def _samples(fo: Any, dataset: Any, run: str, labelled: bool) -> Iterator[Any]:
    fields = ["row_id", "note", "as_curated", *(IMAGE_PARTS if labelled else PAGE_PARTS)]
    if not labelled:
        fields.append("vlm_text")
    view = dataset.match(fo.ViewField("run") == run).select_fields(fields)
    yield from view.iter_samples()


class _Counter:
    """Calls back after every 256 samples, and at the end."""

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
    """The answers held against the run, with masks that people drew."""
    judged = checked_answers(run, answers.filled, np.array(list(answers.filled), np.int64))
    faults = [(row_id, f"row {row_id}: {fault}") for row_id, fault in answers.faults]
    judged.faults += faults
    for row, found in zip(judged.rows, judged.found, strict=True):
        row_id = row["row_id"]
        if "instances" in found:
            if row["verdict"] == "correct" and row["instances"] is not None:
                _draw(row["instances"], answers.filled[row_id], answers.masks[row_id], found)
        elif row_id in answers.from_lines and _joined(found) != found["text"]:
            fault = "lines were changed, of which its text is not made: correct the field text"
            judged.faults.append((row_id, f"row {row_id}: {fault}"))
    return judged


def _joined(found: FinishedPage) -> str:
    return "\n".join(line["text"] for line in found["lines"] or () if line["text"])


def _draw(
    labels: Sequence[Label],
    item: Filled,
    masks: Sequence[Bits | None],
    found: FinishedImage,
) -> None:
    """Put masks that are not those of the run into the labels; nobody has measured these."""
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
        f"the dataset {name!r}, nothing was taken in:\n" + "\n".join(listed),
        f"mend these samples in the app (nightjar app {name}; row_id finds them) and pull again",
    )


def _written(
    run: RunDir, answers: SampleAnswers, judged: CheckedAnswers, reviewer: str | None
) -> Pulled:
    verdicts = Counter(str(item.verdict) for item in answers.filled.values())
    counts = ReviewImport(verdicts=verdicts, waiting=answers.untouched)
    write_reviewed(run, judged.rows, reviewer, counts)
    return Pulled(run, counts)
