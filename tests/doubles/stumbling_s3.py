"""An S3 endpoint that answers the first requests for an object badly, then well.

Speaks just enough HTTP for GET of one object. Each of `stumbles` is one bad answer:
"slow down" (503), "cut" (the connection breaks in the middle of the body) or "silence" (no answer
within the client's read timeout).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your rate</Message></Error>"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, body: bytes, stumbles: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.body = body
        self.stumbles = stumbles
        self.requests = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self.server.requests += 1
        stumble = self.server.stumbles.pop(0) if self.server.stumbles else ""
        if stumble == "silence":
            time.sleep(1.0)
        if stumble == "slow down":
            self._answer(503, _SLOW_DOWN, _SLOW_DOWN)
        elif stumble == "cut":
            self._answer(200, self.server.body, self.server.body[: len(self.server.body) // 2])
            self.close_connection = True
        else:
            self._answer(200, self.server.body, self.server.body)

    def _answer(self, status: int, promised: bytes, sent: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(promised)))
        self.send_header("ETag", '"v1"')
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def stumbling_s3(body: bytes, *stumbles: str) -> Iterator[_Server]:
    """The running server; ``http://127.0.0.1:{server.server_port}``, `requests` seen so far."""
    server = _Server(body, list(stumbles))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
