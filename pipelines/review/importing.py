"""Import filled review items into RUN/reviewed. The shards are never changed.

Each import writes one Parquet file with the new and changed answers, so that a folder can be
imported again as the work goes on. The last import of a row counts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.decisions.finished import AnyRow
from pipelines.decisions.triage import LABELS, Label
from pipelines.errors import ConfigError
from pipelines.review.items import ITEMS, Filled, read_answers
from pipelines.review.judge import image_faults, page_faults, true_labels, true_text
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import ids_of, open_shard
from pipelines.storage.damage import damaged
from pipelines.storage.output_errors import output_errors
from pipelines.storage.paths import RunPath, listed, parquet, write_parquet

#: One answer. `verdict`: accept, correct or reject. `text`: true text of a page: the reading for
#: accept, the reviewer's for correct; null for images and reject. `instances`: true labels of an
#: image (`pipelines.review.judge.true_labels`); null for pages and reject. `outcome`: of the run.
#: `reviewed_at`: UTC, ISO 8601 with microseconds, later than in all earlier imports.
REVIEWED = pa.schema(
    [
        ("row_id", pa.int64()),
        ("uri", pa.string()),
        ("page", pa.int32()),
        ("outcome", pa.string()),
        ("verdict", pa.string()),
        ("text", pa.string()),
        ("instances", LABELS),
        ("note", pa.string()),
        ("reviewer", pa.string()),
        ("reviewed_at", pa.string()),
    ]
)


class JudgedRow(TypedDict):
    """A row of REVIEWED without reviewer and time."""

    row_id: int
    uri: str
    page: int
    outcome: str
    verdict: str | None
    text: str | None
    instances: list[Label] | None
    note: str | None


class ReviewedRow(JudgedRow):
    """A row of REVIEWED."""

    reviewer: str
    reviewed_at: str


_READ = (
    *("row_id", "uri", "page", "width", "height", "outcome"),
    *("text", "text_source", "lines", "vlm_text", "instances"),
)


@dataclass
class ReviewImport:
    """Counts of an import.

    Attributes:
        verdicts: verdict -> lines.
        waiting: lines without a verdict.
        new: answers for rows without an earlier answer.
        replaced: answers that differ from the earlier one.
        unchanged: answers equal to the earlier one.
        file: the file written; None if nothing is new.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    new: int = 0
    replaced: int = 0
    unchanged: int = 0
    file: RunPath | None = None


@dataclass
class CheckedAnswers:
    """Answers checked against the rows of a run.

    Attributes:
        rows: the valid answers.
        found: the run's row for each of `rows`: `row_id`, size, texts, lines or instances.
        faults: (row id, error) of the others.
    """

    rows: list[JudgedRow] = field(default_factory=list)
    found: list[AnyRow] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)


def import_review(run: RunDir, folder: Path, reviewer: str | None = None) -> ReviewImport:
    """Import `folder`/items.jsonl. Lines may have any order; lines without a verdict are skipped.

    Args:
        run: the run that the folder was exported from; its shards are only read.
        folder: as `pipelines.review.exporting.export_review` wrote it.
        reviewer: name to record; default: $USER.

    Raises:
        ConfigError: some lines are wrong; it lists them all by number, and nothing is written.
        RunNotFound, OutputUnwritable.
    """
    answers = read_answers(folder)
    filled = {row_id: item for row_id, (_, item) in answers.reviewed.items()}
    judged = checked_answers(run, filled, np.array(answers.row_ids, np.int64))
    wrong = {row_id for row_id, _ in judged.faults}
    at = {
        row_id: line
        for row_id, line in zip(answers.row_ids, answers.lines, strict=True)
        if row_id in wrong
    }
    answers.faults += [(at[row_id], fault) for row_id, fault in judged.faults]
    if answers.faults:
        listed = [f"  line {line}: {fault}" for line, fault in sorted(answers.faults)]
        raise ConfigError(
            f"{folder / ITEMS} has errors, nothing was imported:\n" + "\n".join(listed),
            f"correct these lines (see {folder}/README.txt) and import again",
        )
    summary = ReviewImport(
        verdicts=Counter(str(item.verdict) for _, item in answers.reviewed.values()),
        waiting=len(answers.row_ids) - len(answers.reviewed),
    )
    write_reviewed(run, judged.rows, reviewer, summary)
    return summary


def checked_answers(
    run: RunDir, filled: Mapping[int, Filled], listed: npt.NDArray[np.int64]
) -> CheckedAnswers:
    """Check answers against the run that they belong to.

    Args:
        run: its shards are read once; only rows with an answer are held in memory.
        filled: row id -> answer.
        listed: row ids that must exist in the run, including those of `filled`.

    Raises RunNotFound.
    """
    config = run.read_record()["config"]
    classes = list(config.get("detector", {}).get("ontology", {}).get("classes", ()))
    answered = np.array(list(filled), np.int64)
    known = np.zeros(len(listed), bool)
    judged = CheckedAnswers()
    for path in run.shard_files():
        ids = ids_of(path)
        known |= np.isin(listed, ids)
        for row in _rows(path, np.isin(ids, answered)):
            item = filled[row["row_id"]]
            faults = list(_faults(item, row, classes))
            judged.faults += [(item.row_id, f"row {item.row_id}: {fault}") for fault in faults]
            if not faults:
                judged.rows.append(_answer(item, row))
                judged.found.append(row)
    for row_id in listed[~known].tolist():
        judged.faults.append((row_id, f"row {row_id} is not in {run.path}"))
    return judged


def _rows(path: RunPath, wanted: npt.NDArray[np.bool_]) -> Iterator[AnyRow]:
    if not wanted.any():
        return
    file = open_shard(path)
    columns = [name for name in _READ if name in file.schema_arrow.names]
    yield from file.read(columns=columns).filter(pa.array(wanted)).to_pylist()


def _faults(item: Filled, row: AnyRow, classes: list[str]) -> Iterator[str]:
    return image_faults(item, row, classes) if "instances" in row else page_faults(item, row)


def _answer(item: Filled, row: AnyRow) -> JudgedRow:
    return {
        "row_id": row["row_id"],
        "uri": row["uri"],
        "page": row["page"],
        "outcome": row["outcome"],
        "verdict": item.verdict,
        "text": None if "instances" in row else true_text(item, row),
        "instances": true_labels(item, row) if "instances" in row else None,
        "note": item.note,
    }


def write_reviewed(
    run: RunDir, judged: list[JudgedRow], reviewer: str | None, summary: ReviewImport
) -> None:
    """Write the new and changed answers as one file, and count them in `summary`.

    Args:
        run: the file goes to its folder `reviewed`.
        judged: `CheckedAnswers.rows`.
        reviewer: name to record; default: $USER.

    Raises OutputUnwritable.
    """
    judged = sorted(judged, key=lambda row: row["row_id"])
    who = reviewer or os.environ.get("USER") or "unknown"
    standing = reviewed_rows(run)
    before = {row["row_id"]: _key(row) for row in standing.to_pylist()}
    at = _after(standing)
    signed = [ReviewedRow(**row, reviewer=who, reviewed_at=at) for row in judged]
    table = pa.Table.from_pylist(signed, REVIEWED)
    keys = [_key(row) for row in table.to_pylist()]  # through Arrow: float32 as in the files
    fresh = [before.get(row["row_id"]) != key for row, key in zip(judged, keys, strict=True)]
    table = table.filter(pa.array(fresh, pa.bool_()))
    summary.unchanged = len(judged) - table.num_rows
    summary.replaced = sum(row_id in before for row_id in table["row_id"].to_pylist())
    summary.new = table.num_rows - summary.replaced
    if not table.num_rows:
        return
    ids = table["row_id"].to_pylist()
    digest = hashlib.blake2b(f"{at} {ids} {keys}".encode(), digest_size=8).hexdigest()
    path = run.reviewed / f"review-{digest}.parquet"
    with output_errors(path):
        path.parent.mkdir(exist_ok=True)
        write_parquet(table, path, compression="zstd")
    summary.file = path


def _key(row: JudgedRow) -> str:
    """An answer as text, to compare: as text two NaN are equal."""
    return json.dumps([row["verdict"], row["text"], row["instances"], row["note"]])


def _after(standing: pa.Table) -> str:
    """The present time, or just after the last answer if this machine's clock is behind."""
    now = datetime.now(UTC)
    if standing.num_rows:
        last = datetime.fromisoformat(max(standing["reviewed_at"].to_pylist()))
        now = max(now, last + timedelta(microseconds=1))
    return now.isoformat(timespec="microseconds")


def reviewed_rows(run: RunDir) -> pa.Table:
    """The last answer of each reviewed row: a table of REVIEWED, sorted by row id."""
    return last_answers(listed(run.reviewed, "review-*.parquet"))


def last_answers(files: Sequence[RunPath]) -> pa.Table:
    """The last answer of each row in `files`: a table of REVIEWED, sorted by row id."""
    tables = [_answers(path) for path in files]
    rows = pa.concat_tables([REVIEWED.empty_table(), *tables])
    rows = rows.sort_by([("row_id", "ascending"), ("reviewed_at", "ascending")])
    ids = rows["row_id"].to_numpy()
    return rows.filter(pa.array(np.append(ids[1:] != ids[:-1], True)[: len(ids)]))


def _answers(path: RunPath, columns: Sequence[str] | None = None) -> pa.Table:
    """One file of answers: these columns of REVIEWED, or all. Raises RunDamaged."""
    file = parquet(path)
    if not file.schema_arrow.equals(REVIEWED):
        raise damaged(path, f"its columns are {', '.join(file.schema_arrow.names)}")
    return file.read(columns=columns)


def reviewed_ids(run: RunDir) -> npt.NDArray[np.int64]:
    """Ids of the rows with an answer: int64, ascending."""
    files = listed(run.reviewed, "review-*.parquet")
    columns = [_answers(path, ["row_id"])["row_id"].to_numpy() for path in files]
    return np.unique(np.concatenate([np.empty(0, np.int64), *columns]))
