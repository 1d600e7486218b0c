"""Rows of cells in exports: every line keeps its place, and texts keep their rows."""

from __future__ import annotations

import json
from typing import Any

from actors.lines import LineValue, page_text
from pipelines.export.documents.prose import json_lines_of, markdown_of, text_of
from pipelines.export.page import ExportPage, page_of, placed

#: (text, x, y, row, column)
RECEIPT = [
    ("CAFÉ LUMIÈRE", 100, 20, 0, 0),
    *(
        ("1", 20, 60, 1, 0),
        ("Flat", 60, 60, 1, 1),
        ("white", 110, 60, 1, 1),
        ("7.60", 400, 60, 1, 2),
    ),
    *(("1", 20, 90, 2, 0), ("Pâté maison", 60, 90, 2, 1), ("9.80", 400, 90, 2, 2)),
    *(("TOTAL", 20, 120, 3, 0), ("17.40", 400, 120, 3, 2)),
]


def lines() -> list[LineValue]:
    return [
        {
            **{"text": text, "score": 0.9, "row": row, "column": column},
            "polygon": [x, y, x + 40, y, x + 40, y + 20, x, y + 20],
        }
        for text, x, y, row, column in RECEIPT
    ]


def page(text: str | None = None) -> ExportPage:
    row: Any = {
        **{"row_id": 1, "uri": "a.png", "page": 1, "pages": 1, "width": 500, "height": 200},
        **{"outcome": "ocr", "reasons": [], "text_source": "rapid_ocr", "lines": lines()},
        "text": page_text(lines()) if text is None else text,
    }
    return page_of(row, None, "all")


def test_lines_of_a_text_with_rows_have_their_places() -> None:
    found = page()
    assert [line.text for line in found.lines] == [text for text, *_ in RECEIPT]
    assert [line.polygon for line in found.lines] == [tuple(one["polygon"]) for one in lines()]
    assert "".join(text_of([found], "blank-line")) == (
        "CAFÉ LUMIÈRE\n1\tFlat white\t7.60\n1\tPâté maison\t9.80\nTOTAL\t17.40\n"
    )


def test_markdown_keeps_a_row_on_a_line() -> None:
    text = "".join(markdown_of([page()]))
    assert "1 Flat white 7.60\\\n1 Pâté maison 9.80\\\nTOTAL 17.40\n" in text


def test_json_lines_have_rows_and_columns() -> None:
    (row,) = map(json.loads, json_lines_of([page()]))
    found = [(one["text"], one["row"], one["column"]) for one in row["lines"]]
    assert found == [(text, row, column) for text, _, _, row, column in RECEIPT]


def test_a_corrected_cell_takes_the_place_of_its_lines_and_the_others_keep_their_scores() -> None:
    text = page_text(lines()).replace("Flat white", "Flat whites").replace("17.40", "17.41")
    found = {line.text: line for line in placed(text, [lines()])}
    assert found["Flat whites"].polygon == (60, 60, 150, 60, 150, 80, 60, 80)
    assert found["Flat whites"].score is None
    assert (found["7.60"].score, found["17.41"].score) == (0.9, None)
    assert (found["17.41"].row, found["17.41"].column) == (3, 2)


def test_a_row_with_other_cells_becomes_one_line_around_them() -> None:
    text = page_text(lines()).replace("1\tPâté maison\t9.80", "2 Pâté maison 9.80")
    (one,) = [line for line in placed(text, [lines()]) if "Pâté" in line.text]
    assert one.polygon == (20, 90, 440, 90, 440, 110, 20, 110)


def test_a_text_of_other_rows_has_no_places() -> None:
    found = placed(page_text(lines()) + "\nTHANK\tYOU", [lines()])
    assert {line.polygon for line in found} == {None}
    assert found[-1].text == "THANK YOU"


def test_rows_without_places_are_paragraphs_by_blank_lines() -> None:
    unplaced = page("CAFÉ\n\nA\tnew\tkind of text\nof two lines")
    assert "".join(markdown_of([unplaced])).endswith("CAFÉ\n\nA new kind of text\nof two lines\n")
