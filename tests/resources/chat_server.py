"""A chat completions endpoint on loopback, controlled by the test.

    with chat_server({1: "text of page 1"}) as server:
        server.script = [status(429, {"Retry-After": "1"}), said("hello")]

Each request takes the next entry of `script`; when none is left the server answers right: with the
text of the number that it sees in the picture (`page_of`, `painted`). An entry may be a function of
the request. `requests` are those that came in, `busiest` how many were under way at once at most.
"""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np

#: The number in the middle of a white page, which the client sends to test the endpoint.
EMPTY = 83
#: As a hosted API names it: the model asked for, with a date.
DATED = "reader-2026-10-01"


@dataclass
class Reply:
    """What goes over the wire: after `delay_s`; `cut`: the connection breaks in the middle;
    `drip_s`: seconds between single bytes."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    drip_s: float = 0.0
    cut: bool = False


@dataclass(frozen=True)
class Asked:
    """One request. `number`: what is painted in the middle of its picture."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    number: int
    size: tuple[int, int]
    when: float

    @property
    def prompt(self) -> str:
        return str(self.body["messages"][0]["content"][1]["text"])


Entry = Reply | Callable[[Asked], Reply]


def said(
    text: str | None, finish: str | None = "stop", delay_s: float = 0.0, **message: Any
) -> Reply:
    """A completion: 1,000 prompt tokens, a token for each word."""
    choice = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": text, **message},
    }
    usage = {"prompt_tokens": 1000, "completion_tokens": len((text or "").split())}
    return Reply(
        json.dumps({"model": DATED, "choices": [choice], "usage": usage}).encode(), delay_s=delay_s
    )


def status(code: int, headers: Mapping[str, str] | None = None, message: str = "no") -> Reply:
    """An error as OpenAI words it."""
    body = json.dumps({"error": {"message": message, "type": "test"}}).encode()
    return Reply(body, code, headers or {})


def page_of(number: int, width: int = 120, height: int = 160) -> bytes:
    """A PNG that shows a number (0..80)."""
    return painted(width, height, {number: (0, 0, width, height)})


def painted(width: int, height: int, boxes: Mapping[int, Sequence[int]]) -> bytes:
    """A white PNG with a box (x0, y0, x1, y1) for each number."""
    page = np.full((height, width, 3), 255, np.uint8)
    for number, (x0, y0, x1, y1) in boxes.items():
        page[y0:y1, x0:x1] = 3 * number + 5
    return cv2.imencode(".png", page)[1].tobytes()


def seen(jpeg: bytes) -> tuple[int, tuple[int, int]]:
    """(number in the middle, (width, height)) of a picture."""
    page = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert page is not None, "no picture came with the request"
    height, width = page.shape
    return round((float(page[height // 2, width // 2]) - 5) / 3), (width, height)


class ChatServer:
    """The endpoint. `down` and `up` let it die and come back at the same address."""

    def __init__(self, texts: Mapping[int, str]) -> None:
        self.texts = dict(texts)
        self.models = ["reader"]  # what it says it serves
        self.script: list[Entry] = []
        self.always: Entry | None = None  # instead of the right answer
        self.requests: list[Asked] = []
        self.busiest = 0
        self._busy = 0
        self._lock = threading.Lock()
        self._http = _Http(("127.0.0.1", 0), self)
        self.port = int(self._http.server_port)
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        self._serve()

    def reply(self, asked: Asked) -> Reply:
        with self._lock:
            self.requests.append(asked)
            entry = self.script.pop(0) if self.script else self.always
        if entry is None:
            return said("yes" if asked.number == EMPTY else self.texts[asked.number])
        return entry if isinstance(entry, Reply) else entry(asked)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        with self._lock:
            self._busy += 1
            self.busiest = max(self.busiest, self._busy)
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1

    def down(self) -> None:
        """Break every connection and refuse new ones."""
        self._http.shutdown()
        self._http.server_close()
        self._http.drop()

    def up(self) -> None:
        self._http = _Http(("127.0.0.1", self.port), self)
        self._serve()

    def _serve(self) -> None:
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], chat: ChatServer) -> None:
        self.chat = chat
        self.open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def drop(self) -> None:
        for connection in list(self.open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are expected."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http

    def do_GET(self) -> None:
        """`/v1/models` and `/health`, as vLLM and llama.cpp have them."""
        models = {"object": "list", "data": [{"id": one} for one in self.server.chat.models]}
        body = json.dumps(models if self.path == "/v1/models" else {}).encode()
        self.send_response(200 if self.path in ("/v1/models", "/health") else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        url = body["messages"][0]["content"][0]["image_url"]["url"]
        assert url.startswith(("data:image/jpeg;base64,", "data:image/png;base64,"))
        number, size = seen(base64.b64decode(url.partition(",")[2]))
        asked = Asked(self.path, dict(self.headers), body, number, size, time.monotonic())
        with self.server.chat.at_work():
            reply = self.server.chat.reply(asked)
            time.sleep(reply.delay_s)
        self.send_response(reply.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if reply.cut:
            self.wfile.write(reply.body[: len(reply.body) // 2])
            self.close_connection = True
            return
        step = 1 if reply.drip_s else 65536
        for start in range(0, len(reply.body), step):
            self.wfile.write(reply.body[start : start + step])
            time.sleep(reply.drip_s)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def chat_server(texts: Mapping[int, str] | None = None) -> Iterator[ChatServer]:
    """A running server; `base_url` is where."""
    server = ChatServer(texts or {})
    try:
        yield server
    finally:
        server.down()
