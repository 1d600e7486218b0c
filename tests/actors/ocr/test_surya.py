"""Surya against a real HTTP server that speaks its protocol, right and wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from chat_server import Asked, ChatServer, Reply, chat_server, painted, said, status
from pydantic import ValidationError

from actors.failures import SetupError
from actors.ocr.html_lines import html_lines
from actors.ocr.surya import Surya, SuryaConfig
from actors.ocr.surya_protocol import fitted, is_empty, read_layout

MODEL = "datalab-to/surya-ocr-2"
WIDTH, HEIGHT = 600, 800
#: Painted on the page: a heading, a paragraph across its middle, a table, a photograph.
BOXES = {
    1: (60, 40, 540, 90),
    2: (60, 300, 540, 500),
    3: (60, 560, 540, 700),
    4: (60, 720, 300, 790),
}
TABLE = "<table><tr><th>Item</th><th>Price</th></tr><tr><td>Bread</td><td>2.50</td></tr></table>"
HTML = {1: "<h1>Annual report</h1>", 2: "<p>First &amp; last</p><p>line</p>", 3: TABLE}
LABELS = {1: "Section-Header", 2: "Text", 3: "Table", 4: "Image"}


def entry(
    number: int, label: str | None = None, bbox: Any = None, count: int = 50
) -> dict[str, Any]:
    x0, y0, x1, y1 = BOXES[number]
    sides = (x0 / WIDTH, y0 / HEIGHT, x1 / WIDTH, y1 / HEIGHT)
    said_box = " ".join(str(round(1000 * side)) for side in sides)
    return {"label": label or LABELS[number], "bbox": bbox or said_box, "count": count}


LAYOUT = [entry(1), entry(2), entry(3), entry(4)]


def completed(text: str, probability: float | None = 0.9, finish: str = "stop") -> Reply:
    """As vLLM answers a request for logprobs: one entry for each token (here: word)."""
    reply = said(text, finish)
    body = json.loads(reply.body)
    if probability is not None:
        body["choices"][0]["logprobs"] = {
            "content": [
                {"token": word, "logprob": math.log(probability), "bytes": [], "top_logprobs": []}
                for word in text.split()
            ]
        }
    return replace(reply, body=json.dumps(body).encode())


def page(*numbers: int) -> bytes:
    """The page with its boxes, or some of them; a stripe in each, since plain ones are no text."""
    shown = {number: BOXES[number] for number in numbers or BOXES}
    pixels = cv2.imdecode(np.frombuffer(painted(WIDTH, HEIGHT, shown), np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    for x0, y0, x1, _ in shown.values():
        pixels[y0 + 6 : y0 + 12, x0 + 10 : x1 - 10] = 255
    return bytes(cv2.imencode(".png", pixels)[1].tobytes())


def right(asked: Asked) -> Reply:
    if "response_format" in asked.body:
        return completed(json.dumps(LAYOUT))
    return completed(HTML[asked.number])


def answering(layout: Any = None, blocks: Mapping[int, Reply] | None = None) -> Any:
    """Right but for what is named."""

    def answer(asked: Asked) -> Reply:
        if "response_format" in asked.body:
            return right(asked) if layout is None else layout
        return (blocks or {}).get(asked.number) or right(asked)

    return answer


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as running:
        running.models = [MODEL]
        running.always = right
        yield running


@contextmanager
def reader(server: ChatServer, **settings: Any) -> Iterator[Surya]:
    quick = {"timeout_s": 3.0, "attempts": 2, "first_wait_s": 0.01, "longest_wait_s": 0.1}
    actor = Surya(SuryaConfig(**{"base_url": server.base_url, **quick, **settings}))
    try:
        yield actor
    finally:
        actor.close()


def read(server: ChatServer, *images: bytes | None, **settings: Any) -> list[dict[str, Any]]:
    pages = images or (page(),)
    rows = pa.table({"row_id": list(range(len(pages))), "image": pa.array(pages, pa.binary())})
    with reader(server, **settings) as actor:
        out = actor(rows)
        assert out.schema.equals(pa.schema([*rows.schema, *actor.writes]))
    assert out["row_id"].equals(rows["row_id"])
    return out.to_pylist()


def kind(row: dict[str, Any]) -> str | None:
    return row["ocr_failure"]["kind"] if row["ocr_failure"] else None


def texts(row: dict[str, Any]) -> list[str]:
    return [line["text"] for line in row["ocr_lines"]]


def test_a_page_is_read_block_by_block_in_reading_order(server: ChatServer) -> None:
    (row,) = read(server)
    assert texts(row) == ["Annual report", "First & last", "line", "Item Price", "Bread 2.50"]
    assert [line["score"] for line in row["ocr_lines"]] == pytest.approx([0.9] * 5)
    assert [block["type"] for block in row["ocr_blocks"]] == [
        "section_header",
        "text",
        "table",
        "image",
    ]
    for block, box in zip(row["ocr_blocks"], BOXES.values(), strict=True):
        assert block["box"] == pytest.approx(box, abs=1)
    assert row["ocr_blocks"][2]["html"] == TABLE
    assert row["ocr_lines"][0]["polygon"] == pytest.approx(
        [60, 40, 540, 40, 540, 90, 60, 90], abs=1
    )
    assert (row["ocr_engine"], row["ocr_failure"]) == (f"surya {MODEL}", None)
    assert row["ink_share"] > 0
    assert 0.5 < row["ink_covered"] < 0.8  # the photograph's ink is in no line


def test_requests_are_those_that_the_model_was_trained_for(server: ChatServer) -> None:
    read(server)
    layout, *blocks = server.requests
    assert layout.prompt.startswith("Output the layout of this image as JSON.")
    schema = layout.body["response_format"]["json_schema"]["schema"]
    assert "Table-Of-Contents" in schema["items"]["properties"]["label"]["enum"]
    assert {asked.prompt for asked in blocks} == {"OCR this block image to HTML."}
    assert sorted(asked.number for asked in blocks) == [1, 2, 3]  # no text is asked of a photograph
    for asked in server.requests:
        assert (asked.body["logprobs"], asked.body["temperature"]) == (True, 0)
        assert all(side % 28 == 0 for side in asked.size)
    assert {asked.body["max_tokens"] for asked in blocks} == {256}


def test_a_missing_probability_is_unknown_and_never_sure(server: ChatServer) -> None:
    partly = json.loads(completed(HTML[2]).body)
    partly["choices"][0]["logprobs"]["content"][0]["logprob"] = None
    blocks = {1: completed(HTML[1], None), 2: Reply(json.dumps(partly).encode())}
    server.always = answering(blocks=blocks)
    (row,) = read(server)
    assert [line["score"] for line in row["ocr_lines"][:3]] == [None, None, None]
    assert row["ocr_lines"][3]["score"] == pytest.approx(0.9)
    assert kind(row) is None


def test_a_block_cut_at_its_tokens_is_asked_for_again_with_more(server: ChatServer) -> None:
    def answer(asked: Asked) -> Reply:
        cut = asked.number == 2 and asked.body["max_tokens"] == 256
        return completed("<p>First", finish="length") if cut else right(asked)

    server.always = answer
    (row,) = read(server)
    assert "First & last" in texts(row)
    assert kind(row) is None
    again = [asked.body for asked in server.requests if asked.body["max_tokens"] == 8192]
    assert [body["temperature"] for body in again] == [pytest.approx(0.2)]


@pytest.mark.parametrize(
    ("wrong", "expected", "requests"),
    [
        (completed("<p>First", finish="length"), "VLM_TRUNCATED", 6),
        (completed("<p>" + "on and on " * 100 + "</p>"), "VLM_LOOP", 6),
        (completed("  "), "VLM_GARBAGE", 6),
        (status(400), "VLM_REFUSED", 4),
        (status(500), "VLM_UNREACHABLE", 5),
        (Reply(b"<html>bad gateway"), "VLM_GARBAGE", 6),
    ],
)
def test_a_block_that_failed_is_named_and_the_others_stay(
    server: ChatServer, wrong: Reply, expected: str, requests: int
) -> None:
    server.always = answering(blocks={2: wrong})
    (row,) = read(server)
    assert kind(row) == expected
    assert "1 of 4 blocks failed; block 2:" in row["ocr_failure"]["message"]
    assert [block["failure"] is not None for block in row["ocr_blocks"]] == [
        False,
        True,
        False,
        False,
    ]
    assert "Annual report" in texts(row)
    assert "Bread 2.50" in texts(row)
    of_block_2 = [line for line in row["ocr_lines"] if line["polygon"][1] == pytest.approx(300)]
    assert all(line["score"] is None for line in of_block_2)
    assert len(server.requests) == requests


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (completed('{"label": "Text"}'), "VLM_GARBAGE"),
        (completed("I see a page."), "VLM_GARBAGE"),
        (completed("[" * 3000), "VLM_GARBAGE"),
        (completed(""), "VLM_GARBAGE"),
        (completed(json.dumps(LAYOUT)[:-9]), "VLM_GARBAGE"),
        (completed(json.dumps(LAYOUT)[:-9], finish="length"), "VLM_TRUNCATED"),
        (status(500), "VLM_UNREACHABLE"),
        (Reply(b"{}", cut=True), "VLM_UNREACHABLE"),
    ],
)
def test_a_page_without_a_layout_fails_by_name(
    server: ChatServer, layout: Reply, expected: str
) -> None:
    server.always = answering(layout)
    (row,) = read(server, retries=1)
    assert kind(row) == expected
    assert row["ocr_failure"]["message"].startswith("the layout: ")
    assert row["ocr_lines"] is None
    assert row["ocr_blocks"] is None


def test_a_server_that_hangs_is_given_up_after_the_timeout(server: ChatServer) -> None:
    server.always = replace(completed("[]"), delay_s=30)
    (row,) = read(server, timeout_s=0.3, attempts=1)
    assert kind(row) == "VLM_TIMEOUT"


def test_boxes_beside_the_page_are_clipped_or_named(server: ChatServer) -> None:
    off = [
        entry(1, bbox="100 50 1400 113"),
        entry(2, bbox="1200 300 1400 500"),
        entry(2, bbox="500 500 100 100"),
        entry(2, bbox="1 2 3"),
    ]
    server.always = answering(completed(json.dumps([*off, "Text", LAYOUT[2]])))
    (row,) = read(server)
    boxes = [block["box"] for block in row["ocr_blocks"]]
    assert boxes[0] == pytest.approx([60, 40, 600, 90], abs=1)
    assert boxes[1:5] == [None] * 4
    assert kind(row) == "VLM_GARBAGE"
    assert (
        "4 of 6 blocks failed; block 2: the box is invalid or outside the page"
        in row["ocr_failure"]["message"]
    )
    assert "Bread 2.50" in texts(row)


def test_text_that_the_model_sees_on_empty_paper_is_not_asked_for(server: ChatServer) -> None:
    server.always = answering(completed(json.dumps([entry(1), entry(2)])))
    (row,) = read(server, page(1))
    assert texts(row) == ["Annual report"]
    assert kind(row) is None
    assert sum("response_format" not in asked.body for asked in server.requests) == 1


def test_a_blank_page_has_no_lines_and_no_failure(server: ChatServer) -> None:
    server.always = answering(completed("[]"))
    (row,) = read(server, painted(WIDTH, HEIGHT, {}))
    assert (row["ocr_lines"], row["ocr_blocks"], row["ocr_failure"]) == ([], [], None)
    assert row["ink_share"] == 0


def test_bad_pictures_and_null_rows_pass_beside_good_ones(server: ChatServer) -> None:
    server.always = lambda asked: replace(right(asked), delay_s=0.3)  # long enough to meet
    rows = read(server, page(), b"no picture", None, page())
    assert [kind(row) for row in rows] == [None, "CORRUPT_IMAGE", None, None]
    assert [row["ocr_lines"] is None for row in rows] == [False, True, True, False]
    assert server.busiest > 1


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (["other"], "serves other, not"),
        ([], "serves nothing"),
        (None, "Surya's server does not answer"),
    ],
)
def test_a_wrong_server_is_known_before_the_first_row(
    server: ChatServer, models: list[str] | None, message: str
) -> None:
    if models is None:
        server.down()
    else:
        server.models = models
    with pytest.raises(SetupError, match=message):
        Surya(SuryaConfig(base_url=server.base_url))


def test_the_address_may_come_from_surya_s_own_variable(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SURYA_INFERENCE_URL", raising=False)
    with pytest.raises(SetupError, match="SURYA_INFERENCE_URL is not set"):
        Surya(SuryaConfig())
    monkeypatch.setenv("SURYA_INFERENCE_URL", server.base_url)
    (row,) = read(server, base_url=None)
    assert kind(row) is None
    monkeypatch.setenv("SURYA_INFERENCE_URL", "ftp://example.org")
    with pytest.raises(SetupError, match="not an http or https URL"):
        Surya(SuryaConfig())
    with pytest.raises(ValidationError, match="plain http"):
        SuryaConfig(base_url="http://example.org/v1")


@pytest.mark.parametrize(
    ("html", "lines"),
    [
        ("<p>a<br>b</p><ul><li>c</li><li>d", ["a", "b", "c", "d"]),
        ("<tr><td>1</td><td colspan='2'>2</td></tr>", ["1 2"]),
        ("x < y and y > z &lt;&#8364;", ["x < y and y > z <€"]),
        ("<pre>one\n  two</pre>", ["one", "two"]),
        ("<math>x^2</math> and <b>bo</b>ld", ["x^2 and bold"]),
        ("<script>alert(1)</script>after", ["after"]),
        ('<input type="checkbox" checked> yes <input type="checkbox"> no', ["[x] yes [ ] no"]),
        ("plain\ntext", ["plain text"]),
        ("", []),
    ],
)
def test_html_is_read_line_by_line(html: str, lines: Sequence[str]) -> None:
    assert html_lines(html) == lines


def test_a_layout_may_stand_in_talk_and_hold_lists_for_strings() -> None:
    said_layout = 'Here: [{"label": "Text", "bbox": [0, 0, 500, 1000], "count": null}] done'
    (region,) = read_layout(said_layout)
    assert (region.type, region.box, region.tokens) == ("text", (0, 0, 0.5, 1), 0)


@pytest.mark.parametrize("size", [(3, 5000), (9000, 9000), (20, 20), (1123, 794)])
def test_pictures_fit_the_model_whatever_their_size(size: tuple[int, int]) -> None:
    height, width = fitted(np.zeros((*size, 3), np.uint8)).shape[:2]
    assert height % 28 == width % 28 == 0
    assert 28 * 28 <= height * width <= 3072 * 2048


def test_paper_is_empty_and_a_word_is_not() -> None:
    paper = np.full((60, 200, 3), 250, np.uint8)
    assert is_empty(paper)
    assert is_empty(np.full((60, 200, 3), (200, 50, 50), np.uint8))
    cv2.putText(paper, "word", (10, 40), cv2.FONT_HERSHEY_SIMPLEX, 1, (0, 0, 0), 2)
    assert not is_empty(paper)
