"""Differences between two runs over the same images or pages.

Rows are joined by uri and page (`pipelines.diff.pairs`); the etag tells whether the file changed.
The output has a JSON object for each row that differs, in this order:

1. regressions (with truth), most additional errors first;  2. other changes, largest first;
3. improvements, most removed errors first;  4. rows of one run only.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pipelines.config import changed_keys
from pipelines.decisions.finished import FinishedImage, FinishedPage
from pipelines.diff.labels import LabelDiff, diff_labels
from pipelines.diff.pages import TextDiff, diff_text
from pipelines.diff.pairs import Pair, Row, pairs
from pipelines.diff.ranked_lines import RankedLines
from pipelines.diff.truth import Judge, Verdict, judge_of
from pipelines.errors import ConfigError
from pipelines.runs.directory import RunDir
from pipelines.secrets import masked
from pipelines.storage.output_errors import output_errors
from pipelines.truth.pages import check_pages, text_columns
from pipelines.truth.slices import schema_of

_COMMON = ("row_id", "uri", "page", "etag", "outcome", "reasons")
_REGRESSION, _CHANGE, _IMPROVEMENT, _ALONE = range(4)
_REPORT_EVERY = 500  #: rows

OnRows = Callable[[int], None]  #: rows of both runs so far


@dataclass
class DiffSummary:
    """Counts over all rows.

    Attributes:
        job: of both runs.
        both, only: rows in both runs; rows in the first run only and in the second only.
        alone: 0 and 1 -> an example uri of a row in one run only.
        changed: rows of `both` with any difference.
        new_files: rows of `both` whose file changed; `unknown_files`: an etag is missing.
        outcomes: (before, after) -> rows of `both`.
        labels: (kind, class) -> labels; the kind is a `diff.labels.ChangeKind` or "same".
            Relabelled labels count under their old class.
        relabelled: (class before, class after) -> labels.
        texts: counts of same, changed, and of changes of spacing (or case) only.
        characters: of the texts before and after, and `distance` between them.
        judged: rows with truth; `better`, `worse`: rows with fewer or more errors.
        truth: counts of each run, for its totals; see `diff.truth.Verdict.counts`.
        unit: the unit of errors.
        regressions, improvements, changes: the first `WORST` records of each.
        settings: differences in configs and weights, `key: old -> new`.
    """

    job: str
    both: int = 0
    only: list[int] = field(default_factory=lambda: [0, 0])
    alone: dict[int, str] = field(default_factory=dict)
    changed: int = 0
    new_files: int = 0
    unknown_files: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    labels: Counter[tuple[str, str]] = field(default_factory=Counter)
    relabelled: Counter[tuple[str, str]] = field(default_factory=Counter)
    texts: Counter[str] = field(default_factory=Counter)
    characters: Counter[str] = field(default_factory=Counter)
    judged: int = 0
    better: int = 0
    worse: int = 0
    truth: tuple[Counter[str], Counter[str]] = field(default_factory=lambda: (Counter(), Counter()))
    unit: str = ""
    regressions: list[dict[str, Any]] = field(default_factory=list)
    improvements: list[dict[str, Any]] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def diff_runs(
    one: RunDir,
    other: RunDir,
    truth: str | Path | None = None,
    out: Path | None = None,
    on_rows: OnRows = lambda rows: None,
) -> DiffSummary:
    """Compare two runs of one job.

    Args:
        one, other: before and after; finished or not, neither is changed.
        truth: COCO JSON, true texts, or reviewed rows; None: no truth.
        out: file for the rows that differ; it appears only when it is complete. Temporary files
            are in its folder, or in that of the system.
        on_rows: called every `_REPORT_EVERY` rows.

    Raises ConfigError if the runs are of different jobs or share no uri, or if the truth does not
    fit one of them; OutputUnwritable.
    """
    job = _job_of(one, other)
    judge = judge_of(one, other, truth, job) if truth is not None else None
    summary = DiffSummary(job=job, settings=_settings(one, other))
    columns = tuple(_columns(run, job) for run in (one, other))
    differ = _Differ(summary, judge)
    where = out.parent if out else Path(tempfile.gettempdir())
    with output_errors(where):
        where.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(prefix=".nightjar-diff-", dir=where) as spooled:
            spool = RankedLines(spooled if out else None)
            rows = pairs(one, other, (columns[0], columns[1]), scratch=where)
            for before, after in _counted(rows, on_rows):
                differ.take(before, after, spool)
            _refuse_strangers(summary)
            if out:
                spool.write(out)
    summary.regressions, summary.improvements, summary.changes = (
        spool.first(group) for group in (_REGRESSION, _IMPROVEMENT, _CHANGE)
    )
    return summary


def _counted(rows: Iterator[Pair], on_rows: OnRows) -> Iterator[Pair]:
    for count, pair in enumerate(rows, 1):
        yield pair
        if count % _REPORT_EVERY == 0:
            on_rows(count)


def _job_of(one: RunDir, other: RunDir) -> str:
    jobs = [run.read_record()["job"] for run in (one, other)]
    if jobs[0] != jobs[1]:
        raise ConfigError(
            f"{one.path} is a run of {jobs[0]}, {other.path} is a run of {jobs[1]}",
            "compare two runs of the same job",
        )
    return str(jobs[0])


def _refuse_strangers(summary: DiffSummary) -> None:
    if not summary.both and all(summary.only):
        raise ConfigError(
            f"the runs have no uri in common: one has {summary.alone[0]}, the other "
            f"{summary.alone[1]}",
            "compare runs over the same files, under the same source.path",
        )


def _columns(run: RunDir, job: str) -> tuple[str, ...]:
    if job != "autolabel":
        check_pages(run)
        return (*_COMMON, *text_columns(run))
    if "instances" not in schema_of(run).names:
        raise ConfigError(f"{run.path} holds no labels", "give a run of autolabel")
    return (*_COMMON, "instances")


def _settings(one: RunDir, other: RunDir) -> list[str]:
    """Differences in the keys that can change results, and in the models of the last session."""
    found = []
    for record in (one.read_record(), other.read_record()):
        sessions = record.get("sessions", [])
        models = next((one["models"] for one in sessions[::-1] if "models" in one), None)
        found.append(masked({**record.get("result_keys", {}), "models": models or {}}))
    before, after = found
    return changed_keys(before, after)


class _Differ:
    """Counts pairs of rows, and hands on those that differ."""

    def __init__(self, summary: DiffSummary, judge: Judge | None) -> None:
        self._summary, self._judge = summary, judge
        self._labelled = summary.job == "autolabel"
        if judge:
            summary.unit, summary.warnings = judge.unit, list(judge.warnings)

    def take(self, before: Row | None, after: Row | None, spool: RankedLines) -> None:
        """Take one row of each run, or a row that only one run has."""
        if before is None or after is None:
            self._alone(before, after, spool)
            return
        total = self._summary
        total.both += 1
        total.outcomes[before["outcome"], after["outcome"]] += 1
        version = _same_file(before, after)
        total.new_files += version is False
        total.unknown_files += version is None
        record, weight = self._compared(before, after)
        verdict = self._judge.of(before, after) if self._judge else None
        if verdict:
            self._judged(verdict)
        moved = before["outcome"] != after["outcome"] or before["reasons"] != after["reasons"]
        if not (record or moved or version is False or (verdict and verdict.worse)):
            return
        total.changed += 1
        head = {
            "uri": after["uri"],
            "page": after["page"],
            "row_id": [str(before["row_id"]), str(after["row_id"])],
            "file": {True: "same", False: "changed", None: "unknown"}[version],
            "outcome": [before["outcome"], after["outcome"]],
            "reasons": [before["reasons"], after["reasons"]],
        }
        extra = {"truth": verdict.detail} if verdict else {}
        spool.add(*_rank(verdict, weight + moved), head | record | extra)

    def _alone(self, before: Row | None, after: Row | None, spool: RankedLines) -> None:
        row, side = (before, 0) if before is not None else (after, 1)
        if row is None:
            raise ValueError("a pair holds a row")
        self._summary.only[side] += 1
        self._summary.alone.setdefault(side, row["uri"])
        record = {
            "uri": row["uri"],
            "page": row["page"],
            "outcome": row["outcome"],
            "reasons": row["reasons"],
            "row_id": str(row["row_id"]),
            "only_in": "ab"[side],
        }
        spool.add(_ALONE, float(-side), record)

    def _compared(self, before: Row, after: Row) -> tuple[dict[str, Any], float]:
        """The differences, for JSON, and their weight."""
        if self._labelled:
            return self._labels(cast(FinishedImage, before), cast(FinishedImage, after))
        return self._text(cast(FinishedPage, before), cast(FinishedPage, after))

    def _labels(self, before: FinishedImage, after: FinishedImage) -> tuple[dict[str, Any], float]:
        found = diff_labels(before["instances"], after["instances"])
        self._count_labels(found)
        changes = [one.as_dict() for one in found.changes]
        return ({"labels": changes} if changes else {}), found.weight

    def _text(self, before: FinishedPage, after: FinishedPage) -> tuple[dict[str, Any], float]:
        found = diff_text(before["text"], after["text"])
        self._count_text(before, found)
        return ({"text": found.as_dict()}, float(found.distance)) if found else ({}, 0.0)

    def _count_labels(self, found: LabelDiff) -> None:
        total = self._summary
        total.labels.update(("same", name) for name in found.same)
        for one in found.changes:
            old, new = one.classes
            total.labels.update((kind.value, old or new or "") for kind in one.kinds)
            if old and new and old != new:
                total.relabelled[old, new] += 1

    def _count_text(self, before: FinishedPage, found: TextDiff | None) -> None:
        total = self._summary
        if found is None:
            size = len(before["text"] or "")
            total.texts["same"] += 1
            total.characters.update(before=size, after=size)
            return
        total.texts["changed"] += 1
        total.texts["spacing"] += found.folded == 0
        size, now = found.characters
        total.characters.update(before=size, after=now, distance=found.distance)

    def _judged(self, verdict: Verdict) -> None:
        total = self._summary
        total.judged += 1
        total.worse += verdict.worse > 0
        total.better += verdict.worse < 0
        for side, counts in zip(total.truth, verdict.counts, strict=True):
            side.update(counts)


def _same_file(before: Row, after: Row) -> bool | None:
    if not before["etag"] or not after["etag"]:
        return None
    return before["etag"] == after["etag"]


def _rank(verdict: Verdict | None, weight: float) -> tuple[int, float]:
    """(group, rank): higher ranks come first in their group."""
    if verdict is None or verdict.worse == 0:
        return _CHANGE, weight
    group = _REGRESSION if verdict.worse > 0 else _IMPROVEMENT
    return group, float(abs(verdict.worse))
