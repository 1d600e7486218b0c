"""Checks of a model's answer: loops, agreement with the first reader, plausible lines."""

from __future__ import annotations

import random
from typing import Any

import pytest
from bad_files import SAMPLES
from hypothesis import given
from hypothesis import strategies as st

from actors.endpoint.loops import LoopRules, find_loop
from actors.escalation.guards import (
    Agreement,
    AgreementRules,
    agreement,
    essence,
    implausible_line,
    likeness,
)

RULES = LoopRules()
TRUTHS = {path.name: path.read_text() for path in sorted((SAMPLES / "truth").glob("*.txt"))}

KOPITIAM = """\
RESTORAN SELERA TIMUR SDN BHD
NO 14, JALAN DAGANG 3/2, TAMAN DAGANG
68000 AMPANG, SELANGOR
GST NO : 000812347392
TAX INVOICE
TABLE 07      PAX 12      CASHIER 002
----------------------------------------
{items}
----------------------------------------
SUB TOTAL                       {total}
ROUNDING ADJ                       0.00
TOTAL (INCL. GST 6%)            {total}
CASH                             100.00
CHANGE                            52.00
----------------------------------------
GST SUMMARY      AMOUNT(RM)     TAX(RM)
SR @ 6%               45.28        2.72
THANK YOU, PLEASE COME AGAIN
"""
SAME_ITEM = "TEH TARIK   1 x 2.00   2.00 SR"


def receipt(copies: int) -> str:
    return KOPITIAM.format(items="\n".join([SAME_ITEM] * copies), total=f"{2 * copies}.00")


STATEMENT = "\n".join(
    f"{day:02d}/03 TRANSFER FEE   0.50   1,2{day:02d}.00 CR" for day in range(1, 31)
)
LEDGER = "\n".join(f"{code} 0.00 0.00 0.00 0.00 0.00 0.00" for code in range(4100, 4130))
CONTENTS = "\n".join(f"{n}. Chapter of things {'. ' * 40}{11 * n}" for n in range(1, 25))


def lines(text: str, score: float | None = 0.99) -> list[dict[str, Any]]:
    return [{"text": part, "score": score, "polygon": None} for part in text.split("\n") if part]


# Loops.


@pytest.mark.parametrize("name", TRUTHS)
def test_no_sample_document_is_a_loop(name: str) -> None:
    assert find_loop(TRUTHS[name], RULES) is None


@pytest.mark.parametrize(
    "text",
    [receipt(1), receipt(12), receipt(18), STATEMENT, LEDGER, CONTENTS, "_" * 150, "", "a", "\n"],
    ids=["1", "12", "18", "statement", "ledger", "contents", "rule", "empty", "a", "newline"],
)
def test_pages_that_repeat_themselves_honestly_are_no_loops(text: str) -> None:
    assert find_loop(text, RULES) is None


@pytest.mark.parametrize(
    ("tail", "named"),
    [
        ("TOTAL 2.00\n" * 60, "60 times"),
        ("0" * 250, "250 times"),
        ("\n" * 249, "250 times"),
        ("na" * 400, "400 times"),
        ("the customer is always right and the shop is always open, " * 12, "12 times"),
        ("目次は次の通りです。" * 70, "70 times"),
    ],
)
def test_an_answer_that_gets_stuck_is_a_loop(tail: str, named: str) -> None:
    found = find_loop(receipt(3) + tail, RULES)
    assert found is not None
    assert named in found
    assert len(found) < 300


def test_phrases_that_come_back_without_a_fixed_period_are_a_loop() -> None:
    rng = random.Random(4)
    phrase = "please note that the amount stated above is due within thirty days of receipt unless"
    phrase += " the customer and the shop have agreed on another day in writing"
    text = " ".join(f"{phrase} {rng.randrange(10**6)}" for _ in range(40))
    assert "of the answer's 8-word sequences are repeats" in (find_loop(text, RULES) or "")


@given(st.text(max_size=300), st.integers(2, 40), st.integers(0, 9))
def test_any_unit_said_often_enough_is_found_wherever_it_stands(
    before: str, period: int, seed: int
) -> None:
    unit = "".join(random.Random(seed).choices("abcdefghij", k=period - 1)) + "z"
    assert find_loop(before + unit * (1 + 640 // period), RULES) is not None


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    assert find_loop(text, LoopRules(ngrams=1)) is None or len(text) > 8


def test_the_numbers_of_the_rule_are_its_bounds() -> None:
    rules = LoopRules(run=10, unit=5, repeats=3, covered=12, ngrams=10**6)
    verdicts = {
        text: find_loop(text, rules) is not None
        for text in ("a" * 9, "a" * 10, "abcd" * 2, "abcd" * 3, "abc" * 3, "abcdefg" * 9)
    }
    assert list(verdicts.values()) == [False, True, False, True, False, False]


# Agreement.


def test_the_same_text_agrees_whatever_its_spaces_case_and_rules() -> None:
    answer = receipt(3).upper().replace(" ", "").replace("-" * 40, "|---|")
    got = agreement(answer, lines(receipt(3).replace("TEH", "Teh")))
    assert got.share == got.supported == got.length_ratio == 1
    assert got.sure_lines == got.found > 10


def test_the_order_of_the_lines_plays_no_part() -> None:
    parts = receipt(2).split("\n")
    random.Random(0).shuffle(parts)
    assert agreement("\n".join(parts), lines(receipt(2))).share == 1


def test_another_page_does_not_agree() -> None:
    answers = [TRUTHS[n] for n in TRUTHS if n.startswith("receipt") and "grocer" not in n]
    assert answers
    for answer in answers:
        got = agreement(answer, lines(TRUTHS["receipt_grocer.jpg.page1.txt"]))
        assert got.share is not None
        assert got.share < 0.4


def test_only_sure_lines_of_some_length_vouch() -> None:
    mixed = [
        *lines("TOTAL 12.50"),
        *lines("garbage !", 0.6),
        *lines("CHANGE 7.50", None),
        *lines("SR"),
    ]
    got = agreement("TOTAL 12.50\nCHANGE 7.50", mixed)
    assert (got.sure_lines, got.found, got.share) == (1, 1, 1.0)
    assert agreement("TOTAL 12.50", lines("TOTAL 12.50", 0.8)).share is None
    assert agreement("TOTAL 12.50", []) == Agreement(0, 0, None, 0.0, None)
    assert agreement("", lines("TOTAL 12.50")) == Agreement(1, 0, 0.0, None, 0.0)
    loose = AgreementRules(sure_score=0.5)
    assert agreement("TOTAL 12.50", mixed, loose).sure_lines == 2


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("TOTAL PAYABLE 12.50", 1),
        ("TOTAL PAYABLE 12 .50 EUR", 1),
        ("TOTAI PAYABLE 12.50", 1),
        ("TOTAL PAYABLE 72.50", 0),
        ("TOTAL PAYABLE 12.5", 0),
        ("TOTAL PAYABLE", 0),
        ("PAYABLE", 0),
    ],
)
def test_a_letter_may_differ_a_digit_may_not(answer: str, found: int) -> None:
    assert agreement(answer, lines("TOTAL PAYABLE 12.50")).found == found


def test_each_line_needs_its_own_copy_and_a_copy_too_many_has_no_support() -> None:
    thrice = lines("\n".join([SAME_ITEM] * 3))
    once = agreement(SAME_ITEM, thrice)
    assert (once.found, once.sure_lines) == (1, 3)
    often = agreement("\n".join([SAME_ITEM] * 12), thrice)
    assert often.share == 1
    assert often.supported == pytest.approx(0.25)
    assert often.length_ratio == pytest.approx(4)


def test_invented_text_has_no_support_and_misread_lines_give_some() -> None:
    story = "Our shop was founded by two sisters who loved to bake bread for the neighbourhood."
    honest = receipt(2)
    got = agreement(honest + story * 6, lines(honest))
    assert got.share == 1
    assert got.supported is not None
    assert got.supported < 0.55
    misread = lines(honest.replace("E", "F").replace("0", "O"), 0.5)
    support = agreement(honest, misread).supported
    assert support is not None
    assert support > 0.9


@given(st.text(max_size=60), st.lists(st.tuples(st.text(max_size=20), st.floats(0, 1)), max_size=6))
def test_shares_are_shares_for_any_text(answer: str, first: list[tuple[str, float]]) -> None:
    got = agreement(answer, [{"text": text, "score": score} for text, score in first])
    assert 0 <= got.found <= got.sure_lines <= len(first)
    assert got.supported is None or 0 <= got.supported <= 1
    assert (got.share is None) == (got.sure_lines == 0)


@given(st.lists(st.text("abcdefgh 123", min_size=6), min_size=1, max_size=6))
def test_a_text_agrees_with_itself(parts: list[str]) -> None:
    got = agreement("\n".join(parts), [{"text": part, "score": 1.0} for part in parts])
    assert got.found == got.sure_lines


@pytest.mark.parametrize(
    ("text", "reduced"),
    [
        ("**TOTAL**  | 1,250.00 |", "total1,250.00"),
        ("End. Next, 5.", "endnext5"),
        ("\uff34\uff2f\uff34\uff21\uff2c \uff11\uff12", "total12"),
        ("----- _____ ..... =", ""),
        ("Größe\0", "grösse"),
    ],
)
def test_texts_are_reduced_before_comparison(text: str, reduced: str) -> None:
    assert essence(text) == reduced


def test_likeness_of_two_readings_of_one_line() -> None:
    assert likeness("T0TAL 12.5O", "TOTAL 12.50") > 0.75
    assert likeness("TOTAL 12.50", "THANK YOU") < 0.4
    assert likeness("", "TOTAL") == 0
    assert likeness("", "") == 1


# Lines.


def box(width: float, height: float) -> list[float]:
    return [10, 10, 10 + width, 10, 10 + width, 10 + height, 10, 10 + height]


@pytest.mark.parametrize(
    ("text", "polygon", "complaint"),
    [
        ("TOTAL 12.50", box(180, 30), None),
        ("Total 6% supplies (excl. GST):", box(365, 56), None),  # 4.6 characters a height
        ("5", box(8, 30), None),
        ("RUNS DOWN", box(30, 180), None),
        ("", box(180, 30), None),
        ("The image shows a line of text which I cannot read.", box(180, 30), "51 characters"),
        ("TOTAL\n12.50", box(180, 30), "line breaks"),
        ("twelve letter", [5.0] * 8, "13 characters"),
    ],
)
def test_a_line_fits_into_its_box(text: str, polygon: list[float], complaint: str | None) -> None:
    found = implausible_line(text, polygon)
    assert (complaint is None) == (found is None), found
    assert (complaint or "") in (found or "")
