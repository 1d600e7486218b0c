"""Blanks between words: the rule on hand-made evidence."""

from __future__ import annotations

import re

import numpy as np
import pytest

from actors.ocr.pp_ocr.spaces import gaps_of, spaced

#: Log-odds of a blank: inside a word, between words that stand close, and where one was read.
INSIDE, CLOSE, READ = -14.0, -2.0, 4.0


def mended(written: str) -> str:
    """What becomes of a line, given as text: `|` is a lost blank, `_` one that the reader read.

    Characters are two columns apart, three with a blank between them, four with `||`. Two signs
    leave no room: at `^` a blank was nearly read, at `~` it was read with even odds.
    """
    text, columns, odds = "", [], []
    for one in written:
        if one in "|^":
            odds[-1] = CLOSE
            odds += [INSIDE] if one == "|" else []
            continue
        if one in "_~":
            text, one_odds = text + " ", READ if one == "_" else 0.1
            columns.append(len(odds) - 1)
            odds[-1] = one_odds
            odds += [INSIDE] if one == "_" else []
            continue
        text += one
        columns.append(len(odds))
        odds += [INSIDE, INSIDE]
    return spaced(text, np.array(columns, np.int64), np.array(odds, np.float32))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("14|March_1962", "14 March 1962"),
        ("Fare_2.40|No.00418823", "Fare 2.40 No.00418823"),
        ("will|speak", "will speak"),
        ("Tel._4949||096||200", "Tel. 4949 096 200"),
        ("Shelf_2||12.50", "Shelf 2 12.50"),
        ("Dear_Mr_Smith,|thank_you", "Dear Mr Smith, thank you"),
        ("plain_words_stay", "plain words stay"),
        ("glued", "glued"),
        ("", ""),
        ("x", "x"),
    ],
)
def test_blanks_come_where_the_recogniser_nearly_read_one(written: str, expected: str) -> None:
    assert mended(written) == expected


@pytest.mark.parametrize(
    "written",
    [
        "Total_1^2.50",
        "Total_12|.|50",
        "on_12|/|05|/2026",
        "at_10|:|42_o'clock",
        "EUR_1|,|345.00",
        "no._113^26",
        "see_www.|night|jar.org/x",
        "see_https://a|.net/b|c",
        "write_to_anna|@post|.org",
    ],
)
def test_no_blank_comes_into_a_number_a_date_a_time_or_an_address(written: str) -> None:
    assert mended(written) == re.sub("[|^]", "", written).replace("_", " ")


@pytest.mark.parametrize("written", ["合|計_は|千円", "こん|にちは", "価格|12円", "안녕|하세요"])
def test_no_blank_comes_next_to_han_kana_and_hangul(written: str) -> None:
    assert mended(written) == written.replace("|", "").replace("_", " ")


def test_a_blank_without_room_goes() -> None:
    assert mended("EUR_2,~603.44_in_all") == "EUR 2,603.44 in all"


def test_the_evidence_of_a_gap_is_compared_with_the_line() -> None:
    text, columns = "ab c", np.array([2, 4, 6, 8])
    odds = np.array([-15, -15, 0, -12, 0, -9, 5, -8, 0, -15], np.float32)
    gaps = gaps_of(text, columns, odds)
    assert gaps is not None
    assert gaps.left.tolist() == [0, 1]
    assert gaps.right.tolist() == [1, 3]
    assert gaps.evidence[:, 0].tolist() == [-12, 5]
    assert gaps.evidence[:, 2].tolist() == [-2, 0]  # two and four columns; the median is four
    assert gaps_of(" a ", np.array([1, 3, 5]), odds) is None
