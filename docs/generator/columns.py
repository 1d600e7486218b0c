"""Columns of a run's shards, from the Flow of each job with its fullest config."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import pyarrow as pa

from generator.markdown import MADE, code, sentence, table
from generator.meanings import meaning
from pipelines.job import find_job

_BASE: dict[str, Any] = {"run_dir": "run", "source": {"path": "source"}}
_URL = "http://127.0.0.1/v1"
_SURFACES: dict[str, Any] = {"surfaces": {}}
_READERS = {"scene": "paddle_ocr", "document": "surya"}
_LABELS: dict[str, Any] = {
    "detector": {"model": "model", "ontology": {"classes": {"thing": {}}}},
    "segmenter": {"model": "model"},
}

#: Per job: (condition, smallest config that writes the column). Merged in this order, they are the
#: config that writes all columns.
VARIANTS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "ocr_backfill": [
        ("always", {}),
        ("with `vlm`", {"vlm": {"base_url": _URL, "model": "model"}}),
        ("with `surfaces`", _SURFACES),
        ("with `reader: surya`", {"reader": "surya", "surya": {"base_url": _URL}}),
        ("with `screens`", {**_SURFACES, "screens": {"model": "model"}}),
        ("with `reader` by surface or script", {**_SURFACES, "reader": _READERS}),
    ],
    "autolabel": [
        ("always", _LABELS),
        ("with `embedder`", {**_LABELS, "embedder": {"engine": "statistics"}}),
    ],
}
_UNIT = {"ocr_backfill": "page", "autolabel": "image"}

_HEAD = """{made}

# Columns of `{job}`

One row is one {unit}. Shards are `RUN/shards/*.parquet`; `RUN/rejects/*.parquet` repeats the failed
rows, with the same columns. Null means that a value was not measured or not made. The reasons and
failure kinds are in [troubleshooting](../troubleshooting.md).
"""


class Field(NamedTuple):
    """One column or nested field. `path`: `lines[].text`, `evidence.mean_score`."""

    path: str
    type: str
    arrow: pa.DataType


def fullest(job: str) -> pa.Schema:
    """All columns that a config of the job can write, in the order of a run."""
    config: dict[str, Any] = {}
    for _, more in VARIANTS[job]:
        config |= more
    return schema_of(job, config)


def schema_of(job: str, config: dict[str, Any]) -> pa.Schema:
    """Columns of the shards of a job with this config; it needs no `run_dir` and no `source`."""
    found = find_job(job)
    return found.flow(found.config.model_validate({**_BASE, **config})).schema


def fields(schema: pa.Schema) -> dict[str, Field]:
    """Path -> each column of a schema and each field below it."""
    return {one.path: one for field in schema for one in _below(field.name, field.type)}


def page(job: str) -> str:
    """The reference page of the job's columns."""
    schema = fullest(job)
    columns = [
        (code(one.name), code(type_name(one.type)), _when(job, one.name), _says(job, one.name))
        for one in schema
    ]
    parts = [
        _HEAD.format(made=MADE, job=job, unit=_UNIT[job]),
        table(("column", "Arrow type", "written", "meaning"), columns),
    ]
    for names, below in _nested(schema):
        rows = [
            (code(one.path.removeprefix(f"{names[0]}.").removeprefix(f"{names[0]}[].")),
             code(one.type), _says(job, one.path))
            for one in below
        ]  # fmt: skip
        heading = ", ".join(code(name) for name in names)
        parts.append(f"\n## Fields of {heading}\n\n" + table(("field", "type", "meaning"), rows))
    return "\n".join(parts) + "\n"


def type_name(arrow: pa.DataType) -> str:
    """`float32[4]` for a list of fixed size, `list<struct>`; fields of a struct have own rows."""
    if pa.types.is_struct(arrow):
        return "struct"
    if pa.types.is_fixed_size_list(arrow):
        return f"{type_name(arrow.value_type)}[{arrow.list_size}]"
    if pa.types.is_list(arrow):
        return f"list<{type_name(arrow.value_type)}>"
    names = {"halffloat": "float16", "float": "float32", "double": "float64"}
    return names.get(str(arrow), str(arrow))


@cache
def _schemas(job: str) -> list[tuple[str, pa.Schema]]:
    return [(when, schema_of(job, more)) for when, more in VARIANTS[job]]


def _when(job: str, column: str) -> str:
    return next(when for when, schema in _schemas(job) if column in schema.names)


def _says(job: str, path: str) -> str:
    return sentence(meaning(job, path.replace("[]", "")))


def _below(path: str, arrow: pa.DataType) -> Iterator[Field]:
    yield Field(path, type_name(arrow), arrow)
    if pa.types.is_list(arrow) and pa.types.is_struct(arrow.value_type):
        path, arrow = f"{path}[]", arrow.value_type
    if pa.types.is_struct(arrow):
        for field in arrow:
            yield from _below(f"{path}.{field.name}", field.type)


def _nested(schema: pa.Schema) -> Iterator[tuple[list[str], list[Field]]]:
    """(columns of the same struct type, fields of the first one) for each struct type."""
    kinds: dict[str, list[pa.Field]] = {}
    for field in schema:
        if len(list(_below(field.name, field.type))) > 1:
            kinds.setdefault(str(field.type), []).append(field)
    for same in kinds.values():
        yield [field.name for field in same], [*_below(same[0].name, same[0].type)][1:]
