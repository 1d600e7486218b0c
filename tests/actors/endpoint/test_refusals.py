"""An endpoint that refuses everybody stops the run; one that refuses a page fails this page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pytest
from chat_server import EMPTY, Asked, ChatServer, Entry, Reply, chat_server, page_of, said, status

from actors.escalation.vlm import Vlm, VlmConfig
from actors.failures import SetupError
from actors.lines import LINES

TEXTS = {number: f"Page number {number}" for number in range(20)}
KEY = "sk-test-77aa"


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server(TEXTS) as running:
        yield running


@contextmanager
def reader(server: ChatServer, **settings: Any) -> Iterator[Vlm]:
    quick = {"timeout_s": 3.0, "attempts": 1, "pause_s": 0.05, "concurrency": 4}
    actor = Vlm(VlmConfig(base_url=server.base_url, model="reader", **quick, **settings))
    try:
        yield actor
    finally:
        actor.close()


def read(actor: Vlm, numbers: Sequence[int]) -> dict[int, str | None]:
    """Page -> its text, or the kind of its failure."""
    rows = pa.table(
        {
            "row_id": pa.array(numbers, pa.int64()),
            "image": pa.array([page_of(number) for number in numbers], pa.binary()),
            "ocr_lines": pa.nulls(len(numbers), LINES),
            "doubts": pa.array([["no_text_found"]] * len(numbers), pa.list_(pa.string())),
        }
    )
    out = actor(rows).to_pylist()
    kinds = {row["row_id"]: row["vlm_failure"] and row["vlm_failure"]["kind"] for row in out}
    return {row["row_id"]: kinds[row["row_id"]] or row["vlm_text"] for row in out}


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (401, "check the key in READER_KEY"),
        (403, "check the key in READER_KEY"),
        (402, "check the balance"),
        (404, "check base_url and model"),
    ],
)
def test_an_endpoint_that_refuses_everybody_stops_the_run(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, code: int, remedy: str
) -> None:
    monkeypatch.setenv("READER_KEY", KEY)
    server.always = status(code, message=f"no access with {KEY}")
    with reader(server, api_key_env="READER_KEY") as actor:
        for _ in range(2):
            with pytest.raises(SetupError, match=f"refuses every request.*HTTP {code}") as caught:
                read(actor, range(8))
    assert KEY not in str(caught.value)
    assert caught.value.remedy.startswith(remedy)
    assert "start the same command again" in caught.value.remedy
    assert Counter(asked.number for asked in server.requests)[EMPTY] == 2, (
        "before and after a pause"
    )


def test_a_page_that_is_refused_alone_fails_alone(server: ChatServer) -> None:
    def strict(asked: Asked) -> Reply:
        return status(403) if asked.number in (3, 7) else said(f"Page number {asked.number}")

    server.always = strict
    with reader(server) as actor:
        refused = {3: "VLM_REFUSED", 7: "VLM_REFUSED"}
        assert read(actor, range(20)) == TEXTS | refused
        assert read(actor, [7]) == {7: "VLM_REFUSED"}
    last = [asked.number for asked in server.requests[-3:]]
    assert last == [7, EMPTY, 7], "refused, although an empty page was answered between"


def test_a_key_that_is_renewed_in_the_pause_costs_no_page(server: ChatServer) -> None:
    server.script = [status(401), status(401)]
    with reader(server) as actor:
        assert read(actor, [5]) == {5: TEXTS[5]}
    assert [asked.number for asked in server.requests] == [5, EMPTY, EMPTY, 5]


def test_an_endpoint_that_refuses_and_then_dies_does_not_stop_the_run(server: ChatServer) -> None:
    refused: list[Entry] = [status(401)]
    server.script, server.always = refused, status(503)
    with reader(server) as actor:
        assert read(actor, [5]) == {5: "VLM_UNREACHABLE"}
