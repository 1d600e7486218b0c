"""Full-width forms become ASCII in lines of Latin text only."""

from __future__ import annotations

import pytest

from actors.ocr.pp_ocr.widths import narrowed

WIDE_COLON, WIDE_COMMA = "\uff1a", "\uff0c"


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (f"SERVER{WIDE_COLON}ODILE", "SERVER:ODILE"),
        (f"SOURDOUGH{WIDE_COMMA}SEEDED", "SOURDOUGH,SEEDED"),
        ("\uff08\uff21\uff11\uff09\uff01", "(A1)!"),
        ("Total\u3000\uffe512.00\u3002", "Total ¥12.00."),
        ("Café\u3001 crème", "Café, crème"),
        ("plain: text", "plain: text"),
        ("", ""),
    ],
)
def test_a_latin_line_has_ascii(read: str, expected: str) -> None:
    assert narrowed(read) == expected
    assert len(narrowed(read)) == len(read)


@pytest.mark.parametrize("script", ["合計", "カフェ", "ｶﾌｪ", "합계", "\u3007"])
def test_a_line_with_east_asian_letters_keeps_its_forms(script: str) -> None:
    line = f"{script}{WIDE_COLON}\uff11\u3000A\u3002"
    assert narrowed(line) == line
