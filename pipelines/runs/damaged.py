"""Moves damaged files of a run to `damaged/`, so that the run can go on. Needs its lock."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.errors import RunDamaged
from pipelines.runs.directory import RunDir
from pipelines.runs.shards import SinkConfig, each, ids_of, open_shard, stage
from pipelines.runs.store import part_of
from pipelines.storage.paths import RunPath, listed, parquet


@dataclass
class Checked:
    """Result of a check. `rows`: finished rows by manifest part; `damaged`: what was moved."""

    rows: dict[str, int] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)


def check(run: RunDir, *, whole: bool = False) -> Checked:
    """Count the finished rows, and move shards that cannot be read to `damaged`: rows owed again.

    `whole`: read all columns, and write damaged rejects again. Else only the schema and the row
    ids are read; damage in other columns is found by the command that reads them. Raises
    OutputUnwritable, RunUnreadable.
    """
    files, found = run.shard_files(), Checked()
    for path, rows in zip(files, each(files, _read_all if whole else _read_ids), strict=True):
        if rows is None:
            run.set_aside(path.name)
            found.damaged.append(path.name)
        else:
            if whole:
                _mend_rejects(run, path)
            part = part_of(path.name)
            found.rows[part] = found.rows.get(part, 0) + rows
    return found


def set_aside(run: RunDir) -> list[str]:
    """Names of the files in `damaged`, sorted, without the rejects of shards."""
    names = [path.name for path in listed(run.damaged, "*")]
    return [name for name in names if not name.startswith("rejects-")]


def _mend_rejects(run: RunDir, path: RunPath) -> None:
    """Replace a shard by itself if its rejects are damaged: they follow from its rows."""
    rejects = run.rejects / path.name
    try:
        if rejects.is_file():
            _ = parquet(rejects).read()
    except RunDamaged:
        stage(run, path.name, open_shard(path).read(), SinkConfig())
        run.replace(path.name)


def _read_ids(path: RunPath) -> int | None:
    """Number of rows; None if the shard is damaged."""
    try:
        return len(ids_of(path))
    except RunDamaged:
        return None


def _read_all(path: RunPath) -> int | None:
    try:
        return sum(batch.num_rows for batch in open_shard(path).iter_batches())
    except RunDamaged:
        return None
