"""The text of lines."""

from __future__ import annotations

from actors.lines import LineValue, page_text, text_rows


def line(text: str, row: int | None = None, column: int | None = None) -> LineValue:
    return {"text": text, "score": 1.0, "polygon": [0.0] * 8, "row": row, "column": column}


def test_rows_are_parted_by_newlines_cells_by_tabs_and_parts_of_a_cell_by_blanks() -> None:
    lines = [
        line("CAFÉ LUMIÈRE", 0, 0),
        *(line("1", 1, 0), line("Flat", 1, 1), line("white", 1, 1), line("7.60", 1, 2)),
        line("TOTAL", 2, 0),
        line("7.60", 2, 2),
    ]
    assert page_text(lines) == "CAFÉ LUMIÈRE\n1\tFlat white\t7.60\nTOTAL\t7.60"
    assert [len(row) for row in text_rows(lines)] == [1, 3, 2]


def test_parts_of_han_and_kana_have_no_blank_between_them() -> None:
    parts = ["国破", "山河在", "in", "城"]
    assert page_text([line(part, 0, 0) for part in parts]) == "国破山河在 in 城"


def test_lines_without_rows_are_rows_and_lines_without_text_are_left_out() -> None:
    equal = line("7.60")
    assert page_text([equal, equal, line(""), line("TOTAL", None, 0)]) == "7.60\n7.60\nTOTAL"
    assert page_text([line("a", 0, 0), line("", 0, 1), line("b", 0, 2)]) == "a\tb"
    assert page_text([]) == ""


def test_lines_of_older_runs_have_neither_key() -> None:
    old: LineValue = {"text": "a", "score": None, "polygon": []}
    assert page_text([old, old]) == "a\na"
