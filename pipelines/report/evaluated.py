"""The results of `nightjar evaluate` in a run, as tables.

This module does not know the keys of evaluation.json. Each object of plain values becomes a table
titled with the path of its keys; objects with the same keys become the rows of one table.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.report.calibrated import picture
from pipelines.report.charts import Table
from pipelines.report.pictures import Thumbnail
from pipelines.runs.directory import RunDir
from pipelines.storage.paths import listed

_MOST_BYTES = 8 << 20  # of a JSON file; an evaluation of 1,200 classes has 1 MB
#: Most tables of an evaluation, rows of a table, columns.
_TABLES, _ROWS, _COLUMNS = 40, 60, 20
_FEW = 12  #: most values of a list in one cell
_FILES = 8  #: most pictures
#: Top-level keys that the report does not repeat.
_ABOUT = ("version", "job", "run", "seed", "metadata", "legend")
_ROW_ID = 10**12  #: integers from here on are ids, printed without separators


@dataclass(frozen=True)
class Figures:
    """One table of an evaluation. `name`: the path of its keys."""

    name: str
    table: Table


@dataclass(frozen=True)
class Evaluation:
    """RUN/evaluation: evaluation.json as tables, pictures by name. `fault`: error on reading.

    `legend`: keys of the tables, and what they mean.
    """

    figures: Sequence[Figures] = ()
    pictures: Sequence[tuple[str, Thumbnail]] = ()
    fault: str = ""
    legend: Sequence[tuple[str, str]] = ()


def evaluation(run: RunDir) -> Evaluation:
    """The content of RUN/evaluation; empty if there is none."""
    folder = run.path / "evaluation"
    path = folder / "evaluation.json"
    try:
        if path.stat().st_size > _MOST_BYTES:
            return Evaluation(fault=f"{path} is larger than {_MOST_BYTES >> 20} MB")
        raw = json.loads(path.read_text())
        figures = [one for one, _ in zip(_figures(raw, ()), range(_TABLES), strict=False)]
    except FileNotFoundError:
        return Evaluation()
    except (OSError, ValueError, RecursionError) as error:
        return Evaluation(fault=f"{path} cannot be read: {error}")
    drawn = [(file.stem.replace("_", " "), file) for file in listed(folder, "*.png")]
    pictures = [(name, made) for name, file in drawn[:_FILES] if (made := picture(file))]
    return Evaluation(figures, pictures, legend=_legend(raw))


def _legend(raw: Any) -> list[tuple[str, str]]:
    found = raw.get("legend") if isinstance(raw, dict) else None
    if not isinstance(found, dict):
        return []
    pairs = [(key, text) for key, text in found.items() if isinstance(text, str)]
    return pairs[:_COLUMNS]


def _figures(value: Any, at: tuple[str, ...]) -> Iterator[Figures]:
    """A table of the plain values of an object, then the tables of its parts, without curves."""
    listed = isinstance(value, list)
    if listed:
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return
    table = _records(value, named=not listed)
    if table:
        yield Figures(" / ".join(at), table)
        return
    plain: list[list[str]] = []
    parts = []
    for key, item in value.items():
        flat = _flat(item)
        if not at and key in _ABOUT:
            continue
        if flat is not None and not (isinstance(item, dict) and _records(item)):
            plain += [[" / ".join([str(key), *deeper]), shown(v)] for deeper, v in flat.items()]
        elif not _holds_curve(item):
            parts.append((str(key), item))
    if plain:
        yield Figures(" / ".join(at), Table(("", "value"), plain[:_ROWS]))
    for key, item in parts:
        yield from _figures(item, (*at, key))


def _records(value: Mapping[Any, Any], *, named: bool = True) -> Table | None:
    """A table of two or more objects with the same keys, one per row; else None.

    `named`: show the key of each object as its first cell; not for the items of a list.
    """
    flat = [_flat(item) for item in value.values() if isinstance(item, dict)]
    records = [one for one in flat if one]
    if len(records) < max(2, len(value)) or any(set(one) != set(records[0]) for one in records):
        return None
    keys = [*records[0]][:_COLUMNS]
    last = [key[-1] for key in keys if key]
    head = [key[-1] if last.count(key[-1]) == 1 else " / ".join(key) for key in keys if key]
    rows = [
        [*([str(name)] if named else []), *(shown(record[key]) for key in keys)]
        for name, record in zip(value, records, strict=True)
    ]
    return Table(([""] if named else []) + head, rows[:_ROWS])


def _flat(value: Any, at: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any] | None:
    """Path -> plain value of an object; None if it contains anything else."""
    if _is_plain(value):
        return {at: value}
    if not isinstance(value, dict) or len(at) > 2:
        return None
    found: dict[tuple[str, ...], Any] = {}
    for key, item in value.items():
        deeper = _flat(item, (*at, str(key)))
        if deeper is None:
            return None
        found |= deeper
    return found


def _is_plain(value: object) -> bool:
    """A text, number or interval, or a short list of texts or numbers."""
    if isinstance(value, list):
        return len(value) <= _FEW and all(isinstance(one, str | int | float) for one in value)
    return value is None or isinstance(value, str | int | float | bool) or _is_interval(value)


def _holds_curve(value: object) -> bool:
    """A list that is no table, or an object with one: a curve or matrix, shown as a picture."""
    if isinstance(value, list):
        return not all(isinstance(one, dict) for one in value)
    return isinstance(value, dict) and any(
        isinstance(one, list) and not _is_plain(one) and _holds_curve(one) for one in value.values()
    )


def _is_interval(value: object) -> bool:
    """An object of `value`, `low` and `high`: all numbers, or null."""
    if not isinstance(value, dict) or set(value) != {"value", "low", "high"}:
        return False
    return all(item is None or isinstance(item, int | float) for item in value.values())


def shown(value: Any) -> str:
    """A value as text: four significant digits."""
    if isinstance(value, dict):
        between = f" ({shown(value['low'])} to {shown(value['high'])})"
        return shown(value["value"]) + (between if value["low"] is not None else "")
    if isinstance(value, list):
        return ", ".join(map(shown, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < _ROW_ID else str(value)
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "-"
    return "-" if value is None else str(value)
