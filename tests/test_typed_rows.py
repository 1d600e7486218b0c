"""Typed dicts name the fields of the Arrow types that they stand for, in the same order."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from actors.instances import CONFLICT, INSTANCE, MASK, Conflict, Instance, MaskValue
from pipelines.decisions.triage import (
    LABEL,
    RLE,
    ImageRow,
    ImageVerdict,
    Label,
    RleValue,
    triage,
)

#: (typed dict, the struct or schema of the rows that it stands for)
PAIRS: list[tuple[Any, pa.StructType | pa.Schema]] = [
    (Conflict, CONFLICT),
    (Instance, INSTANCE),
    (MaskValue, MASK),
    (RleValue, RLE),
    (Label, LABEL),
    (ImageRow, triage.reads),
    (ImageVerdict, triage.writes),
]


@pytest.mark.parametrize(("typed", "arrow"), PAIRS, ids=[typed.__name__ for typed, _ in PAIRS])
def test_a_typed_dict_has_the_fields_of_its_arrow_type(
    typed: Any, arrow: pa.StructType | pa.Schema
) -> None:
    assert list(typed.__annotations__) == [field.name for field in arrow]
