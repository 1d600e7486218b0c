"""The fallback reader against a real HTTP endpoint that misbehaves on request."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email.utils import formatdate
from itertools import chain, pairwise
from typing import Any

import pyarrow as pa
import pytest
from chat_server import (
    DATED,
    Asked,
    ChatServer,
    Reply,
    chat_server,
    page_of,
    painted,
    said,
    status,
)
from pydantic import ValidationError

from actors.endpoint.budget import Budget
from actors.escalation.vlm import Vlm, VlmConfig
from actors.failures import FAILURE, FailureKind, SetupError
from actors.lines import LINES

TEXTS = {number: f"Page number {number}\nTOTAL {number}.50" for number in range(60)}
KEY = "sk-test-3f9a/b+c=="
IN_DOUBT = ["mean_score_below_floor"]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server(TEXTS) as running:
        yield running


@contextmanager
def reader(server: ChatServer, **settings: Any) -> Iterator[Vlm]:
    quick = {"timeout_s": 3.0, "attempts": 3, "first_wait_s": 0.01, "longest_wait_s": 0.5}
    config = {"base_url": server.base_url, "model": "reader", **quick, **settings}
    actor = Vlm(VlmConfig(**config))
    try:
        yield actor
    finally:
        actor.close()


def line(text: str, score: float | None, box: Sequence[float] = (0, 0, 90, 20)) -> dict[str, Any]:
    x0, y0, x1, y1 = box
    return {"text": text, "score": score, "polygon": [x0, y0, x1, y0, x1, y1, x0, y1]}


def table(
    numbers: Sequence[int], doubts: Sequence[list[str] | None] | None = None, **columns: Any
) -> pa.Table:
    images = [page_of(number) for number in numbers]
    lines = [[line("page", 0.9)] for _ in numbers]
    return pa.table(
        {
            "row_id": pa.array(numbers, pa.int64()),
            "image": pa.array(columns.get("image", images), pa.binary()),
            "ocr_lines": pa.array(columns.get("ocr_lines", lines), LINES),
            "doubts": pa.array(doubts or [IN_DOUBT] * len(numbers), pa.list_(pa.string())),
        }
    )


def read(actor: Vlm, rows: pa.Table) -> list[dict[str, Any]]:
    out = actor(rows)
    assert out.schema.equals(pa.schema([*rows.schema, *actor.writes]))
    assert out["row_id"].equals(rows["row_id"])
    return out.to_pylist()


def kind(row: dict[str, Any]) -> str | None:
    return row["vlm_failure"]["kind"] if row["vlm_failure"] else None


def one(server: ChatServer, **settings: Any) -> dict[str, Any]:
    with reader(server, **settings) as actor:
        (row,) = read(actor, table([7]))
    return row


def test_a_page_in_doubt_is_read(server: ChatServer) -> None:
    row = one(server, temperature=0.0, max_tokens=321)
    assert row["vlm_text"] == TEXTS[7]
    assert (row["vlm_lines"], row["vlm_failure"], row["vlm_model"]) == (None, None, DATED)
    usage = row["vlm_usage"]
    assert (usage["requests"], usage["prompt_tokens"], usage["completion_tokens"]) == (1, 1000, 5)
    assert usage["money"] is None
    assert usage["seconds"] > 0
    (asked,) = server.requests
    assert asked.path == "/v1/chat/completions"
    assert (asked.body["model"], asked.body["max_tokens"]) == ("reader", 321)
    assert asked.body["temperature"] == 0
    assert "exactly as it is written" in asked.prompt


def test_rows_that_are_not_in_doubt_cause_no_request_and_no_work(server: ChatServer) -> None:
    doubts = [None, [], ["blank_page"], ["blank_page=0.001", "no_scores"], IN_DOUBT]
    no_picture = [b"no picture"] * 4 + [None]  # would be CORRUPT_IMAGE if anything looked at them
    with reader(server) as actor:
        rows = read(actor, table([1, 2, 3, 4, 5], doubts, image=no_picture))
    assert server.requests == []
    assert all(row[name] is None for row in rows for name in actor.writes.names)


def test_an_empty_batch_keeps_its_columns(server: ChatServer) -> None:
    with reader(server) as actor:
        assert read(actor, table([1]).slice(0, 0)) == []


def test_answers_come_back_in_the_order_of_their_rows(server: ChatServer) -> None:
    """The first rows are answered last; every third row is in no doubt."""
    numbers = list(range(12))
    doubts = [None if n % 3 == 0 else IN_DOUBT for n in numbers]
    server.always = lambda asked: said(TEXTS[asked.number], delay_s=0.02 * (12 - asked.number))
    with reader(server, concurrency=12) as actor:
        rows = read(actor, table(numbers, doubts))
    assert [row["vlm_text"] for row in rows] == [None if n % 3 == 0 else TEXTS[n] for n in numbers]
    assert sorted(asked.number for asked in server.requests) == [n for n in numbers if n % 3]


def test_no_more_requests_are_under_way_than_the_config_allows(server: ChatServer) -> None:
    server.always = lambda asked: said(TEXTS[asked.number], delay_s=0.05)
    with reader(server, concurrency=3) as actor, ThreadPoolExecutor(4) as threads:
        batches = [table(range(start, start + 5)) for start in range(0, 20, 5)]
        results = list(threads.map(lambda rows: read(actor, rows), batches))
    texts = [row["vlm_text"] for rows in results for row in rows]
    assert texts == [TEXTS[n] for n in range(20)], "four threads at once, each its own rows"
    assert server.busiest == 3


def test_confident_rows_pass_while_others_wait_for_slow_answers(server: ChatServer) -> None:
    answer = threading.Event()

    def held(asked: Asked) -> Reply:
        answer.wait()
        return said(TEXTS[asked.number])

    server.always = held
    with reader(server, timeout_s=60) as actor, ThreadPoolExecutor(1) as threads:
        slow = threads.submit(read, actor, table([1, 2]))
        while len(server.requests) < 2:
            time.sleep(0.005)
        for _ in range(10):
            read(actor, table(range(16), [[]] * 16))
        answer.set()
        assert [row["vlm_text"] for row in slow.result()] == [TEXTS[1], TEXTS[2]]


# Failures, each by its name.

BODY_OF_7 = said(TEXTS[7]).body
FAULTY: dict[str, tuple[Reply, str, int]] = {
    "always 500": (status(500, message="boom"), "VLM_UNREACHABLE", 3),
    "always 429": (status(429), "VLM_UNREACHABLE", 3),
    "408": (status(408), "VLM_UNREACHABLE", 3),
    "409": (status(409), "VLM_UNREACHABLE", 3),
    "hangs": (said("late", delay_s=0.5), "VLM_TIMEOUT", 3),
    "drips": (Reply(BODY_OF_7, drip_s=0.05), "VLM_TIMEOUT", 3),
    "cut in the middle": (Reply(BODY_OF_7, cut=True), "VLM_UNREACHABLE", 3),
    "400": (status(400, message="too many images"), "VLM_REFUSED", 1),
    "413": (Reply(b"<html>Request Entity Too Large</html>", 413), "VLM_REFUSED", 1),
    "redirect": (Reply(b"", 307, {"Location": "http://127.0.0.1:9/v1"}), "VLM_REFUSED", 1),
    "content filter": (said("The rec", finish="content_filter"), "VLM_REFUSED", 1),
    "refusal": (said(None, refusal="I can't help with that"), "VLM_REFUSED", 1),
    "truncated": (said("Page num", finish="length"), "VLM_TRUNCATED", 1),
    "all its tokens": (said(" ".join(map(str, range(200)))), "VLM_TRUNCATED", 1),
    "loop": (said("TOTAL 7.50\n" * 90, finish="length"), "VLM_LOOP", 1),
    "one character": (said("-" * 500), "VLM_LOOP", 1),
    "no JSON": (Reply(b'{"choices": [{"mess'), "VLM_GARBAGE", 1),
    "deep JSON": (Reply(b"[" * 200_000), "VLM_GARBAGE", 1),
    "no object": (Reply(b"[]"), "VLM_GARBAGE", 1),
    "no choices": (Reply(b'{"choices": []}'), "VLM_GARBAGE", 1),
    "error with 200": (Reply(b'{"error": {"message": "overloaded"}}'), "VLM_GARBAGE", 1),
    "no text": (said(None, content={"a": 1}), "VLM_GARBAGE", 1),
    "unknown end": (said("Page number", finish=None), "VLM_GARBAGE", 1),
    "huge body": (Reply(b'{"x": "' + b"x" * 3_000_000 + b'"}'), "VLM_GARBAGE", 1),
    "endless text": (said("".join(chr(0x4E00 + i % 9973) for i in range(4000))), "VLM_GARBAGE", 1),
}


@pytest.mark.parametrize("name", FAULTY)
def test_every_fault_has_its_failure_kind(server: ChatServer, name: str) -> None:
    server.always, expected, requests = FAULTY[name]
    timeout_s = 0.2 if expected == "VLM_TIMEOUT" else 3.0
    row = one(server, timeout_s=timeout_s, max_tokens=200)
    assert kind(row) == expected, row["vlm_failure"]
    assert len(server.requests) == row["vlm_usage"]["requests"] == requests
    assert expected in FailureKind.__members__
    assert len(row["vlm_failure"]["message"]) <= 2000


def test_messages_say_what_the_endpoint_said(server: ChatServer) -> None:
    server.script = [status(400, message="image has 7 channels")]
    assert "HTTP 400: image has 7 channels" in one(server)["vlm_failure"]["message"]
    server.script = [Reply(b'{"error": {"message": "overloaded"}}')]
    assert "overloaded" in one(server)["vlm_failure"]["message"]


@pytest.mark.parametrize("name", ["truncated", "loop", "content filter", "unknown end"])
def test_a_doubtful_text_is_kept_for_review(server: ChatServer, name: str) -> None:
    server.always = FAULTY[name][0]
    said_by_server = json.loads(FAULTY[name][0].body)["choices"][0]["message"]["content"]
    assert one(server)["vlm_text"] == said_by_server.strip()


def test_a_loop_that_the_first_reader_saw_as_well_stands_on_the_page(server: ChatServer) -> None:
    labels = "\n".join(["THE WHISKERS REPAIR COMPANY", "12 Harbour Street, Marlow Regis"] * 24)
    server.always = said(labels)
    first = [line(text, 0.9) for text in labels.split("\n")]
    with reader(server) as actor:
        seen_twice, seen_once = read(actor, table([1, 2], ocr_lines=[first, first[:2]]))
    assert (kind(seen_twice), kind(seen_once)) == (None, "VLM_LOOP")


@pytest.mark.parametrize(
    "stumbles",
    [
        [status(500)],
        [status(503), status(502)],
        [status(429)],
        [Reply(BODY_OF_7, cut=True)],
        [said("late", delay_s=0.9)],
    ],
)
def test_temporary_faults_are_retried(server: ChatServer, stumbles: list[Reply]) -> None:
    server.script = list(stumbles)
    row = one(server, timeout_s=0.7)
    assert (row["vlm_text"], kind(row)) == (TEXTS[7], None)
    assert len(server.requests) == row["vlm_usage"]["requests"] == len(stumbles) + 1


@pytest.mark.parametrize(
    ("header", "at_least", "at_most"),
    [
        ("0.3", 0.3, 0.45),
        (lambda: formatdate(time.time() + 30, usegmt=True), 0.5, 0.65),  # bounded
        ("3600", 0.5, 0.65),
        ("-5", 0.0, 0.2),
        ("soon", 0.0, 0.2),
    ],
)
def test_retry_after_is_honoured_up_to_a_bound(
    server: ChatServer, header: Any, at_least: float, at_most: float
) -> None:
    server.script = [status(429, {"Retry-After": header() if callable(header) else header})]
    assert one(server)["vlm_text"] == TEXTS[7]
    first, second = (asked.when for asked in server.requests)
    assert at_least <= second - first < at_most + 0.3  # other work on this machine


def test_waits_between_attempts_grow(server: ChatServer) -> None:
    server.always = status(500)
    one(server, attempts=4, first_wait_s=0.05)
    times = [asked.when for asked in server.requests]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert len(waits) == 3
    assert all(wait > bound for wait, bound in zip(waits, (0.05, 0.1, 0.2), strict=True))


def test_nobody_listens(server: ChatServer) -> None:
    server.down()
    try:
        row = one(server)
        assert kind(row) == "VLM_UNREACHABLE"
        assert "ConnectError" in row["vlm_failure"]["message"]
        assert row["vlm_usage"]["requests"] == 3
    finally:
        server.up()


# The breaker.


def test_a_dead_endpoint_is_given_up_and_found_again(server: ChatServer) -> None:
    with reader(server, attempts=2, give_up_after=3, pause_s=2.0, concurrency=1) as actor:
        server.down()
        rows = read(actor, table(range(40)))
        requests = Counter(row["vlm_usage"]["requests"] for row in rows)
        assert {kind(row) for row in rows} == {"VLM_UNREACHABLE"}
        assert requests == {2: 3, 0: 37}, "three rows met it, the others were not sent"
        messages = [row["vlm_failure"]["message"] for row in rows]
        assert sum("not sent" in message for message in messages) == 37
        time.sleep(2.05)
        rows = read(actor, table(range(5)))  # still dead: one row probes
        assert Counter(row["vlm_usage"]["requests"] for row in rows) == {2: 1, 0: 4}
        server.up()
        (too_early,) = read(actor, table([7]))
        assert kind(too_early) == "VLM_UNREACHABLE"
        assert server.requests == []
        time.sleep(2.05)
        assert [row["vlm_text"] for row in read(actor, table(range(5)))] == [
            TEXTS[n] for n in range(5)
        ]


def test_only_one_call_probes(server: ChatServer) -> None:
    with reader(server, attempts=1, give_up_after=1, pause_s=0.1, concurrency=8) as actor:
        server.script = [status(503)]
        read(actor, table([1]))
        time.sleep(0.15)
        server.always = lambda asked: said(TEXTS[asked.number], delay_s=0.5)
        rows = read(actor, table(range(8)))
    assert Counter(map(kind, rows)) == {None: 1, "VLM_UNREACHABLE": 7}
    assert len(server.requests) == 2


def test_hangs_and_errors_count_as_dead_and_bad_pages_do_not(server: ChatServer) -> None:
    dead = [said("late", delay_s=3.0), status(500), status(429)]
    for reply in dead:
        server.requests.clear()
        server.always = reply
        with reader(server, attempts=1, give_up_after=2, concurrency=1, timeout_s=1.0) as actor:
            read(actor, table(range(6)))
        assert len(server.requests) == 2, reply.status
    for reply in [status(400), said("x", finish="length"), Reply(b"no JSON")]:
        server.requests.clear()
        server.always = reply
        with reader(server, attempts=1, give_up_after=2, concurrency=1) as actor:
            read(actor, table(range(6)))
        assert len(server.requests) == 6, reply.status


# The budget.


@pytest.mark.parametrize("script", [[], [status(500)] * 3], ids=["well", "with retries"])
def test_the_budget_of_requests_is_never_passed(server: ChatServer, script: list[Reply]) -> None:
    server.script = list(script)
    with reader(server, budget=Budget(requests=7), concurrency=4) as actor:
        with ThreadPoolExecutor(3) as threads:
            batches = [table(range(start, start + 6)) for start in range(0, 18, 6)]
            rows = list(chain(*threads.map(lambda rows: read(actor, rows), batches)))
        after = read(actor, table([3]))
    assert len(server.requests) == 7
    assert sum(row["vlm_usage"]["requests"] for row in rows) == 7
    assert sum(kind(row) is None for row in rows) == 7 - len(script)
    assert {kind(row) for row in rows} == {None, "VLM_BUDGET"}
    assert kind(after[0]) == "VLM_BUDGET"
    assert "budget.requests is spent: 7 of 7" in after[0]["vlm_failure"]["message"]


def test_tokens_and_money_are_counted_with_the_answer(server: ChatServer) -> None:
    prices = {"prompt_price": 2.0, "completion_price": 10.0}
    with reader(server, budget=Budget(tokens=2500, **prices), concurrency=1) as actor:
        rows = read(actor, table(range(5)))
    assert Counter(map(kind, rows)) == {None: 3, "VLM_BUDGET": 2}
    spent = [row["vlm_usage"]["money"] for row in rows if not kind(row)]
    assert spent == pytest.approx([(1000 * 2 + 5 * 10) / 1e6] * 3)
    server.requests.clear()
    with reader(server, budget=Budget(money=0.004, **prices), concurrency=1) as actor:
        rows = read(actor, table(range(5)))
    assert Counter(map(kind, rows)) == {None: 2, "VLM_BUDGET": 3}
    assert any("budget.money" in (row["vlm_failure"] or {}).get("message", "") for row in rows)


def test_answers_without_token_counts_are_charged_at_the_limit(server: ChatServer) -> None:
    uncounted = json.loads(BODY_OF_7) | {"usage": None}
    for usage in (None, {"prompt_tokens": -1, "completion_tokens": 2**70}, {"prompt_tokens": True}):
        server.always = Reply(json.dumps(uncounted | {"usage": usage}).encode())
        with reader(server, budget=Budget(tokens=1000), max_tokens=900, concurrency=1) as actor:
            rows = read(actor, table([1, 2, 3]))
        assert Counter(map(kind, rows)) == {None: 1, "VLM_BUDGET": 2}
        (answered,) = (row["vlm_usage"] for row in rows if not kind(row))
        assert (answered["prompt_tokens"], answered["completion_tokens"]) == (None, None)


def test_a_limit_of_money_needs_prices() -> None:
    with pytest.raises(ValidationError, match="needs prompt_price"):
        Budget(money=5)


# Key and endpoint.


def test_the_key_is_in_one_header_and_nowhere_else(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("READER_KEY", f" {KEY}\n")
    caplog.set_level("DEBUG")
    quoting = [status(code, message=f"wrong key {KEY}, tried {KEY}") for code in (422, 400, 500)]
    quoting += [said(None, refusal=KEY), Reply(json.dumps({"error": KEY}).encode())]
    with reader(server, api_key_env="READER_KEY", attempts=1, give_up_after=1) as actor:
        server.script = [*quoting[1:], said(TEXTS[7])]
        rows = [read(actor, table([7]))[0] for _ in range(2)]  # 400, then 500: given up
        rows += read(actor, table([7, 8]))
    with reader(server, api_key_env="READER_KEY", attempts=1) as actor:
        server.script = list(quoting)
        rows += read(actor, table(range(6)))
        left = [actor.provenance(), actor.config.model_dump(), repr(actor.config)]
    assert [asked.headers["Authorization"] for asked in server.requests] == [f"Bearer {KEY}"] * len(
        server.requests
    )
    assert KEY not in json.dumps([asked.body for asked in server.requests])
    assert sum("***" in (row["vlm_failure"] or {}).get("message", "") for row in rows) >= 7
    assert KEY not in repr(rows) + repr(left) + caplog.text
    assert "vlm reader" in actor.provenance()["engine"]


def test_without_a_key_there_is_no_header(server: ChatServer) -> None:
    one(server)
    assert "Authorization" not in server.requests[0].headers


@pytest.mark.parametrize("value", ["", "  ", "two\nlines", "schlüssel"])
def test_a_missing_or_broken_key_is_a_fault_of_the_setup(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("READER_KEY", value)
    config = VlmConfig(base_url="https://api.example.com/v1", model="m", api_key_env="READER_KEY")
    with pytest.raises(SetupError, match="READER_KEY") as caught:
        Vlm(config)
    assert not value.strip() or value not in caught.value.message


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"base_url": "ftp://host/v1"}, "not an http"),
        ({"base_url": "https://"}, "not an http"),
        ({"base_url": f"https://me:{KEY[:7]}@api.example.com/v1"}, "only host and path"),
        ({"base_url": "https://api.example.com/v1?key=1"}, "only host and path"),
        ({"base_url": "http://api.example.com/v1"}, "plain http"),
        ({"base_url": "http://8.8.8.8/v1"}, "plain http"),
        ({"api_key_env": "sk-abcdef"}, "not the API key"),
        ({"extra_body": {"stream": True, "messages": []}}, "messages, stream"),
    ],
)
def test_configs_that_would_leak_or_lie_are_refused(settings: Any, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        VlmConfig(**{"base_url": "https://api.example.com/v1", "model": "m", **settings})


@pytest.mark.parametrize(
    "host", ["localhost:8000", "10.1.2.3", "[::1]:80", "vllm", "vllm.ray.svc", "gpu1.internal"]
)
def test_plain_http_is_for_hosts_nearby(host: str) -> None:
    assert VlmConfig(base_url=f"http://{host}/v1", model="m").is_near()
    far = VlmConfig(base_url="http://api.example.com/v1", model="m", allow_plain_http=True)
    assert not far.is_near()


# What is sent, and what comes back.


def test_the_picture_is_reduced_as_configured_and_never_enlarged(server: ChatServer) -> None:
    images = [page_of(1, 400, 1000), page_of(2, 1000, 400), page_of(3, 40, 30)]
    with reader(
        server, max_side=200, concurrency=1, extra_body={"seed": 5, "temperature": None}
    ) as actor:
        read(actor, table([1, 2, 3], image=images))
    sizes = {asked.number: asked.size for asked in server.requests}
    assert sizes == {1: (80, 200), 2: (200, 80), 3: (40, 30)}
    body = server.requests[0].body
    assert body["seed"] == 5
    assert "temperature" not in body


def test_an_undecodable_page_is_named_and_not_sent(server: ChatServer) -> None:
    with reader(server) as actor:
        bad, good = read(actor, table([1, 2], image=[b"no picture", page_of(2)]))
    assert (kind(bad), bad["vlm_usage"]["requests"]) == ("CORRUPT_IMAGE", 0)
    assert good["vlm_text"] == TEXTS[2]
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("```text\nTOTAL 7.50\nCASH\n```", "TOTAL 7.50\nCASH"),
        ("\n TOTAL 7.50\r\nCASH \n\n", "TOTAL 7.50\nCASH"),
        ([{"type": "text", "text": "TOTAL"}, {"type": "text", "text": " 7"}], "TOTAL 7"),
        ("half a pair \ud83d here", "half a pair \ufffd here"),
        ("", ""),
        (None, ""),
    ],
)
def test_the_text_is_taken_out_of_its_wrapping(server: ChatServer, content: Any, text: str) -> None:
    server.always = said("x", content=content)
    row = one(server)
    assert (row["vlm_text"], kind(row)) == (text, None)


def test_every_failure_value_has_the_arrow_type(server: ChatServer) -> None:
    server.always = said(None, refusal="no \ud83d")
    with reader(server) as actor:
        out = actor(table([1]))
    assert out.schema.field("vlm_failure").type == FAILURE


# Regions.

BOXES = {
    20: (10, 10, 190, 40),
    21: (10, 60, 190, 90),
    22: (10, 110, 190, 140),
    23: (10, 160, 40, 320),
}
SCORES = {20: 0.99, 21: 0.5, 22: None, 23: 0.3}
FIRST = [line(f"first {n}", SCORES[n], box) for n, box in BOXES.items()]
LINE_TEXTS = {number: f"second {number}" for number in BOXES}


def regions(server: ChatServer, doubts: list[str] | None = None, **settings: Any) -> dict[str, Any]:
    image = painted(200, 340, BOXES)
    with reader(server, mode="regions", **settings) as actor:
        rows = table([9], [doubts or IN_DOUBT], image=[image], ocr_lines=[FIRST])
        return read(actor, rows)[0]


def test_weak_lines_are_sent_alone_and_spliced_into_their_places(server: ChatServer) -> None:
    server.texts = LINE_TEXTS
    row = regions(server)
    assert kind(row) is None
    assert sorted(asked.number for asked in server.requests) == [21, 22, 23]
    assert {"one line of text" in asked.prompt for asked in server.requests} == {True}
    texts = [line["text"] for line in row["vlm_lines"]]
    assert texts == ["first 20", "second 21", "second 22", "second 23"]
    assert row["vlm_text"] == "\n".join(texts)
    assert [line["score"] for line in row["vlm_lines"]] == pytest.approx([0.99, None, None, None])
    assert [line["polygon"] for line in row["vlm_lines"]] == [x["polygon"] for x in FIRST]
    usage = row["vlm_usage"]
    assert (usage["requests"], usage["prompt_tokens"], usage["completion_tokens"]) == (3, 3000, 6)
    sizes = {asked.number: asked.size for asked in server.requests}
    assert sizes[21] == (277, 64), "180 x 30 pixels and a quarter of 30 around them, 64 high"
    assert sizes[23][0] > 3 * sizes[23][1], "a line that runs downwards is turned"


@pytest.mark.parametrize(
    ("doubts", "settings"),
    [
        (["ink_not_covered=0.4", *IN_DOUBT], {}),
        (["no_text_found"], {}),
        (IN_DOUBT, {"max_regions": 2}),
        (IN_DOUBT, {"mode": "page"}),
    ],
)
def test_where_crops_cannot_help_the_page_is_sent(
    server: ChatServer, doubts: list[str], settings: dict[str, Any]
) -> None:
    server.always = said("whole page")
    with reader(server, **{"mode": "regions", **settings}) as actor:
        (row,) = read(actor, table([9], [doubts], image=[page_of(9)], ocr_lines=[FIRST]))
    assert (row["vlm_text"], row["vlm_lines"]) == ("whole page", None)
    assert len(server.requests) == 1


def test_a_line_that_failed_or_cannot_be_so_long_stays_as_it_was(server: ChatServer) -> None:
    def reply(asked: Asked) -> Reply:
        if asked.number == 21:
            return said("The image shows a line of text that is too blurred to be read at all")
        return status(400) if asked.number == 22 else said("second 23")

    server.always = reply
    row = regions(server)
    assert [line["text"] for line in row["vlm_lines"]] == [
        "first 20",
        "first 21",
        "first 22",
        "second 23",
    ]
    assert row["vlm_lines"][1]["score"] == pytest.approx(0.5)
    assert kind(row) == "VLM_GARBAGE"
    assert "2 of 3 lines failed; line 2: 68 characters" in row["vlm_failure"]["message"]


def test_a_line_with_nothing_on_it_is_spliced_as_nothing(server: ChatServer) -> None:
    server.texts = LINE_TEXTS | {22: ""}
    row = regions(server)
    assert (row["vlm_lines"][2]["text"], row["vlm_lines"][2]["score"]) == ("", None)
    assert "first 22" not in row["vlm_text"]


def test_a_line_with_a_line_break_is_no_line(server: ChatServer) -> None:
    server.texts = LINE_TEXTS | {23: "a\nb"}
    row = regions(server)
    assert (kind(row), row["vlm_lines"][3]["text"]) == ("VLM_GARBAGE", "first 23")


# The thread.


def test_an_actor_that_is_let_go_ends_its_thread(server: ChatServer) -> None:
    def threads() -> int:
        return sum(thread.name == "vlm" for thread in threading.enumerate())

    before = threads()
    actor = Vlm(VlmConfig(base_url=server.base_url, model="m"))
    assert threads() == before + 1
    del actor
    assert threads() == before
