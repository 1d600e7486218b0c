"""What changed between two runs over the same images or pages.

Rows go together by uri and page (`pipelines.diff.pairs`); the etag says whether the file itself is
another one. With truth, rows that got worse come first. What is written is one JSON object a line
of each row that differs, the worst first:

1. regressions, by how many errors more;  2. other changes, by how much has changed;
3. improvements, by how many errors fewer;  4. rows of one run only.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
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
        both, only: rows of both runs; rows of the first alone and of the second alone.
        alone: a uri of each of these, 0 and 1.
        changed: of `both`, those that differ in anything.
        new_files: of `both`, those whose file is another version; `unknown_files`: an etag lacks.
        outcomes: (before, after) -> rows of both.
        labels: (kind, class) -> labels, of `diff.labels.ChangeKind` and "same"; relabelled ones
            under the class that they had.
        relabelled: (before, after) -> labels.
        texts: same, changed, of these spacing (or case) only.
        characters: of the texts before and after, and `distance` between them.
        judged: rows with truth; `better`, `worse`: how many of them have fewer or more errors.
        truth: of each run, counts as the judge makes them.
        unit: what an error is.
        regressions, improvements, changes: the first `WORST` of each, as they are written.
        settings: what differs in configs and weights, `key: old -> new`.
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
        truth: COCO JSON, true texts, or reviewed rows; None: nobody says what is right.
        out: a file for the rows that differ; it appears whole or not at all. Its folder holds the
            temporary files too, without it the system's.
        on_rows: told every `_REPORT_EVERY` rows.

    Raises ConfigError where the runs are of two jobs or share no uri, or where the truth says
    nothing about one of them; OutputUnwritable.
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
            f"{one.path} is a run of {jobs[0]}, {other.path} of {jobs[1]}",
            "compare two runs of one job",
        )
    return str(jobs[0])


def _refuse_strangers(summary: DiffSummary) -> None:
    if not summary.both and all(summary.only):
        raise ConfigError(
            f"the runs have no uri in common; there are {summary.alone[0]}, {summary.alone[1]}",
            "compare runs over the same files, under the same source.path",
        )


def _columns(run: RunDir, job: str) -> tuple[str, ...]:
    if job != "autolabel":
        check_pages(run)
        return (*_COMMON, *text_columns(run))
    if "instances" not in schema_of(run).names:
        raise ConfigError(f"{run.path} holds no labels", "it is no run of autolabel")
    return (*_COMMON, "instances")


def _settings(one: RunDir, other: RunDir) -> list[str]:
    """What differs in what can change results: configs, and the models of the last session."""
    found = []
    for record in (one.read_record(), other.read_record()):
        sessions = record.get("sessions", [])
        models = next((one["models"] for one in sessions[::-1] if "models" in one), None)
        known = {**record.get("result_keys", {}), "models": models or {}}
        found.append(dict(pair for key, value in known.items() for pair in _flat(key, value)))
    return changed_keys(*found)


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}", inner)
    else:
        yield prefix, value


class _Differ:
    """Takes rows in pairs; counts, and spools what differs."""

    def __init__(self, summary: DiffSummary, judge: Judge | None) -> None:
        self._summary, self._judge = summary, judge
        self._labelled = summary.job == "autolabel"
        if judge:
            summary.unit, summary.warnings = judge.unit, list(judge.warnings)

    def take(self, before: Row | None, after: Row | None, spool: RankedLines) -> None:
        """One row of each run, or of one of them."""
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
        """What differs, for JSON, and how much."""
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
    """(group, how bad or how much): what is higher comes first in its group."""
    if verdict is None or verdict.worse == 0:
        return _CHANGE, weight
    group = _REGRESSION if verdict.worse > 0 else _IMPROVEMENT
    return group, float(abs(verdict.worse))
