"""When the second reading is accepted: rules alone, with real readers, with random faults."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import pyarrow as pa
import pytest
from bad_files import SAMPLES
from chat_server import Asked, ChatServer, Entry, Reply, chat_server, page_of, said, status

from actors.endpoint.budget import Budget
from actors.escalation.vlm import Vlm, VlmConfig
from actors.failures import FailureKind
from actors.lines import LINES
from actors.ocr.rapid_ocr import RapidOcr, RapidOcrConfig
from pipelines.decisions.escalation import VlmRules, against_answer, compared

RULES = VlmRules()
IN_DOUBT = ["mean_score_below_floor"]
PAGE = "\n".join(
    """PELLING & DAUGHTERS
    GREENGROCERS SINCE 1931
    CARROTS LOOSE 1.240 kg 1.36
    LEEKS 0.815 kg 2.04
    CHESTNUTS 400 g 3.60
    TO PAY 32.98
    CASH 40.00
    CHANGE 7.02
    GOODS MAY BE RETURNED""".replace("    ", "").split("\n")
)


def lines(text: str, scores: Sequence[float | None] = (0.99,)) -> list[dict[str, Any]]:
    parts = text.split("\n")
    known = [*scores, *[scores[-1]] * len(parts)]
    box = [0.0, 0, 900, 0, 900, 30, 0, 30]
    return [
        {"text": part, "score": score, "polygon": box}
        for part, score in zip(parts, known, strict=False)
    ]


def page(text: str | None, first: list[dict[str, Any]] | None, **columns: Any) -> dict[str, Any]:
    """A row as `against_answer` sees it."""
    row = {"doubts": IN_DOUBT, "ocr_lines": first, "vlm_text": text}
    return row | {"vlm_lines": None, "vlm_failure": None} | columns


# The rules.


def test_an_answer_that_the_sure_lines_confirm_is_accepted() -> None:
    weak = lines(PAGE.replace("CHESTNUTS", "CHFSTNUIS"), [0.99] * 4 + [0.4] + [0.99])
    assert against_answer(page(PAGE, weak), RULES) == []
    assert compared(page(PAGE, weak), RULES).share == 1


@pytest.mark.parametrize(
    ("answer", "first", "reasons"),
    [
        (PAGE, lines(PAGE, [0.6]), ["nothing_vouches"]),
        (PAGE, lines(PAGE, [None]), ["nothing_vouches"]),
        (PAGE, lines(PAGE, [0.99, 0.99, 0.5]), ["nothing_vouches"]),  # two lines are too few
        (PAGE, [], ["nothing_vouches"]),
        (PAGE, None, ["nothing_vouches"]),
        (PAGE.replace("0", "8").replace("2", "7"), lines(PAGE), ["vlm_disagrees"]),
        (PAGE + "\n" + "And they all lived happily. " * 5, lines(PAGE), ["vlm_unsupported_text"]),
        (PAGE + "\n" + PAGE, lines(PAGE), ["vlm_unsupported_text"]),
        (
            "\n".join(PAGE.split("\n")[:4]),
            lines(PAGE, [0.99] * 4 + [0.5]),
            ["vlm_too_short"],
        ),
        (
            "I am sorry, but I cannot read this receipt.",
            lines(PAGE),
            ["vlm_disagrees", "vlm_unsupported_text", "vlm_too_short"],
        ),
        ("", lines(PAGE), ["vlm_empty"]),
        (" \n", lines(PAGE), ["vlm_empty"]),
        (None, lines(PAGE), ["vlm_no_answer"]),
        (PAGE + "\ufffd" * 12, lines(PAGE), ["vlm_garbled_text"]),
    ],
)
def test_an_answer_that_cannot_be_confirmed_is_not(
    answer: str | None, first: list[dict[str, Any]] | None, reasons: list[str]
) -> None:
    assert against_answer(page(answer, first), RULES) == reasons


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind.startswith("VLM_")])
def test_no_answer_with_a_failure_is_accepted(kind: FailureKind) -> None:
    """However good its text looks."""
    row = page(PAGE, lines(PAGE), vlm_failure={"kind": kind.value, "message": ""})
    assert against_answer(row, RULES) == [kind.value.lower()]


def test_other_failures_have_their_name_too() -> None:
    row = page(None, None, vlm_failure={"kind": "ENGINE_FAULT", "message": ""})
    assert against_answer(row, RULES) == ["vlm_engine_fault"]


def test_text_on_a_blank_page_is_invented() -> None:
    row = page(PAGE, lines(PAGE), doubts=["blank_page=0.0001"])
    assert against_answer(row, RULES) == ["vlm_text_on_blank_page"]


def spliced(first: list[dict[str, Any]], texts: dict[int, str], **columns: Any) -> dict[str, Any]:
    new = [
        line | {"text": texts[i], "score": None} if i in texts else line
        for i, line in enumerate(first)
    ]
    return page("\n".join(line["text"] for line in new), first, vlm_lines=new, **columns)


WEAK = lines(PAGE.replace("LEEKS 0.815", "LFFKS 0.8I5"), [0.99] * 3 + [0.5] + [0.99])


def test_a_replaced_line_must_resemble_what_stood_there() -> None:
    assert against_answer(spliced(WEAK, {3: "LEEKS 0.815 kg 2.04"}), RULES) == []
    assert against_answer(spliced(WEAK, {3: "THANK YOU COME AGAIN"}), RULES) == ["vlm_line_unlike"]
    assert against_answer(spliced(WEAK, {3: ""}), RULES) == ["vlm_line_unlike"]
    unread = [line | {"text": ""} if i == 3 else line for i, line in enumerate(WEAK)]
    assert against_answer(spliced(unread, {3: "LEEKS 0.815 kg 2.04"}), RULES) == ["vlm_line_unlike"]
    assert against_answer(spliced(unread, {3: ""}), RULES) == [], "both see nothing there"


def test_a_single_character_may_be_unlike() -> None:
    first = [*WEAK, *lines("θ", [0.3])]
    assert against_answer(spliced(first, {9: "0"}), RULES) == []
    strict = VlmRules(max_unlike=0)
    assert against_answer(spliced(first, {9: "0"}), strict) == ["vlm_line_unlike"]


def test_lines_do_not_answer_doubts_about_the_page() -> None:
    row = spliced(WEAK, {}, doubts=["ink_not_covered", *IN_DOUBT])
    assert against_answer(row, RULES) == ["ink_not_covered"]


# With a real first reader.


@pytest.fixture(scope="module")
def readings() -> dict[str, list[dict[str, Any]]]:
    """RapidOCR's lines of three sample receipts."""
    names = ["receipt_grocer.jpg", "receipt_cafe.jpg", "receipt_garage_faded.jpg"]
    images = [(SAMPLES / name).read_bytes() for name in names]
    out = RapidOcr(RapidOcrConfig())(pa.table({"image": pa.array(images, pa.binary())}))
    return dict(zip(names, out["ocr_lines"].to_pylist(), strict=True))


def test_real_readings_confirm_the_truth_and_no_other_page(
    readings: dict[str, list[dict[str, Any]]],
) -> None:
    truths = {name: (SAMPLES / "truth" / f"{name}.page1.txt").read_text() for name in readings}
    for name, first in readings.items():
        for other, truth in truths.items():
            against = against_answer(page(truth, first), RULES)
            if name != other:
                assert against, (name, other)
            elif "faded" not in name:  # how much of that one is read depends on the CPU
                assert against == [], name
        looping = truths[name] + "TOTAL 12.50\n" * 40
        assert "vlm_unsupported_text" in against_answer(page(looping, first), RULES)


# Chaos.

ITEMS = ["CARROTS", "LEEKS", "APPLES", "CHESTNUTS", "EGGS", "BREAD", "CHEESE", "MILK", "CANDLES"]
TRUTHS = {
    n: "\n".join(
        f"{item} {100 + n * 7 + i * 31} g {n}.{10 + i * 7}" for i, item in enumerate(ITEMS)
    )
    for n in range(80)
}


def rows_of(numbers: Sequence[int]) -> pa.Table:
    """Every fourth row is in no doubt. The first reader misread the last line of each page."""
    first = []
    for n in numbers:
        scores = [0.99] * 8 + [0.3]
        first.append(lines(TRUTHS[n % 80].replace("CANDLES", "C#NDIFS"), scores))
    return pa.table(
        {
            "row_id": pa.array(numbers, pa.int64()),
            "image": pa.array([page_of(n % 80) for n in numbers], pa.binary()),
            "ocr_lines": pa.array(first, LINES),
            "doubts": pa.array(
                [[] if n % 4 == 0 else IN_DOUBT for n in numbers], pa.list_(pa.string())
            ),
        }
    )


BAD_MOODS = {1, 2, 3, 5, 6, 7, 9}


def moody(asked: Asked) -> Reply:
    """Right for most pages; each bad mood has pages of its own."""
    truth = TRUTHS[asked.number]
    moods: dict[int, Reply] = {
        1: said(TRUTHS[(asked.number + 40) % 80]),  # of another page
        2: said(truth[: len(truth) // 2], finish="length"),
        3: said(truth + "\n" + "MILK 1.00\n" * 99),
        5: said(truth + "\nThe shop was founded by two sisters who loved to bake bread. " * 3),
        6: said(None, refusal="no"),
        7: Reply(b"<html>gateway</html>"),
        9: said(""),
    }
    assert moods.keys() == BAD_MOODS
    return moods.get(asked.number % 20, said(truth, delay_s=0.01))


def trouble(server: ChatServer) -> None:
    """Dies in the middle of answers, comes back, limits the rate, stumbles; and once more."""
    for asked_before in (15, 60):
        while len(server.requests) < asked_before:
            time.sleep(0.002)
        server.down()
        time.sleep(0.15)
        limits: list[Entry] = [status(429, {"Retry-After": "0.05"}), status(503)] * 6
        server.script = limits
        server.up()


def test_in_chaos_no_row_is_lost_and_nothing_wrong_is_accepted() -> None:
    with chat_server() as server:
        server.always = moody
        patience = {"attempts": 3, "first_wait_s": 0.02, "longest_wait_s": 0.1, "timeout_s": 5}
        breaker = {"concurrency": 4, "give_up_after": 3, "pause_s": 0.1}
        actor = Vlm(VlmConfig(base_url=server.base_url, model="m", **patience, **breaker))

        def read(start: int) -> list[dict[str, Any]]:
            time.sleep(0.02)  # the first reader has its pace, too
            out: list[dict[str, Any]] = actor(rows_of(range(start, start + 8))).to_pylist()
            return out

        meddler = threading.Thread(target=trouble, args=(server,), daemon=True)
        meddler.start()
        rows: list[dict[str, Any]] = []
        with ThreadPoolExecutor(4) as threads:
            while (meddler.is_alive() or not rows) and len(rows) < 80 * 100:
                rows += chain(*threads.map(read, range(len(rows), len(rows) + 80, 8)))
        assert not meddler.is_alive(), "it died and came back twice while rows came in"
        server.script.clear()
        time.sleep(0.15)
        chaos = len(rows) + 8
        rows += read(len(rows))  # the probe is among these
        rows += chain(*map(read, range(chaos, chaos + 80, 8)))
        actor.close()
    assert [row["row_id"] for row in rows] == list(range(chaos + 80)), "every row once, in order"
    asked = [row for row in rows if row["doubts"]]
    verdicts = [against_answer(row, RULES) for row in asked]
    for row, against in zip(asked, verdicts, strict=True):
        number = row["row_id"] % 80
        first = "\n".join(line["text"] for line in row["ocr_lines"])
        assert first == TRUTHS[number].replace("CANDLES", "C#NDIFS"), "the first reading is kept"
        assert against or row["vlm_text"] == TRUTHS[number], "only the right text is accepted"
    reasons = Counter(chain(*verdicts))
    assert {"vlm_unreachable", "vlm_disagrees", "vlm_truncated", "vlm_loop"} <= reasons.keys()
    assert {"vlm_unsupported_text", "vlm_refused", "vlm_garbage", "vlm_empty"} <= reasons.keys()
    after = [
        against
        for row, against in zip(asked, verdicts, strict=True)
        if row["row_id"] >= chaos and row["row_id"] % 20 not in BAD_MOODS
    ]
    assert after == [[]] * 32, "it came back, and so did its right answers"


def test_when_the_budget_is_spent_the_rest_goes_to_review_with_its_first_reading() -> None:
    with chat_server(TRUTHS) as server:
        config = VlmConfig(
            base_url=server.base_url, model="m", budget=Budget(requests=5), concurrency=2
        )
        actor = Vlm(config)
        rows = actor(rows_of(range(1, 17))).to_pylist()
        actor.close()
    verdicts = Counter(tuple(against_answer(row, RULES)) for row in rows if row["doubts"])
    assert verdicts == {(): 5, ("vlm_budget",): 7}
    assert len(server.requests) == 5
    assert all(len(row["ocr_lines"]) == len(ITEMS) for row in rows)
