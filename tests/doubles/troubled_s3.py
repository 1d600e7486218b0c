"""A proxy in front of a real S3 server that fails on request. Others fit, too.

Troubles: "internal error" (500), "slow down" (503), "reset" (the connection breaks before the
request is passed on), "lost answer" (it breaks after it was passed on, and done), "silence" (no
answer within the client's patience), "cut" (half of the body), "expired" (400 ExpiredToken, as AWS
answers), "denied" (403 AccessDenied), "invalid key", "bad signature", "all access disabled" (403).
"""

from __future__ import annotations

import http.client
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_CODES = {
    "internal error": (500, "InternalError"),
    "slow down": (503, "SlowDown"),
    "expired": (400, "ExpiredToken"),
    "denied": (403, "AccessDenied"),
    "invalid key": (403, "InvalidAccessKeyId"),
    "bad signature": (403, "SignatureDoesNotMatch"),
    "all access disabled": (403, "AllAccessDisabled"),
    "account problem": (403, "AccountProblem"),
}
#: How the other stores say the same.
GOOGLE_CODES = _CODES | {
    "slow down": (429, "SlowDown"),
    "expired": (401, "AuthenticationRequired"),
}
AZURE_CODES = _CODES | {
    "slow down": (503, "ServerBusy"),
    "expired": (401, "InvalidAuthenticationInfo"),
    "denied": (403, "AuthorizationPermissionMismatch"),
}
_CONDITIONS = ("if-match", "if-none-match", "x-goog-if-generation-match")
#: What a request may meet at random, all of which a client should get over.
PASSING = ("internal error", "slow down", "reset", "lost answer", "cut")


class TroubledS3(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, backend: str, codes: dict[str, tuple[int, str]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.codes = codes
        self.backend = urlsplit(backend).netloc
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.met: Counter[str] = Counter()  #: troubles that were made
        self.requests: list[str] = []  #: "METHOD /path?query", in order
        self.share, self.chance = 0.0, random.Random(0)  #: of requests with a PASSING trouble
        self.down_until = 0.0  #: time.monotonic()
        self.expired_keys: set[str] = set()  #: access keys that are refused
        self.everybody = ""  #: the trouble that every request meets
        self.pace_s = 0.0  #: before each answer
        self.ignores_conditions = False
        self.stale = False  #: listings are answered as they were when this was set
        self._planned: list[tuple[str, str]] = []
        self._last: tuple[tuple[str, ...], int] | None = (
            None  #: requests that still pass, and how many
        )
        self._listings: dict[str, tuple[int, list[tuple[str, str]], bytes]] = {}
        self._lock = threading.Lock()

    def plan(self, request: str, trouble: str, times: int = 1) -> None:
        """The next requests whose "METHOD /path" holds `request` meet `trouble`."""
        self._planned += [(request, trouble)] * times

    def down_after(self, requests: str | tuple[str, ...], times: int) -> None:
        """Down for good once `times` requests that hold one of these in "METHOD /path" passed."""
        self._last = (requests,) if isinstance(requests, str) else requests, times

    def up(self) -> None:
        """Answer again, and forget `down_after`."""
        self.down_until, self._last = 0.0, None

    def trouble_of(self, line: str, authorization: str) -> str:
        """What this request meets, "" for nothing."""
        with self._lock:
            self.requests.append(line)
            found = self._trouble_of(line, authorization)
            if found:
                self.met[found] += 1
            return found

    def _trouble_of(self, line: str, authorization: str) -> str:
        if self.everybody:
            return self.everybody
        if time.monotonic() < self.down_until:
            return "reset"
        if self._last and any(request in line for request in self._last[0]):
            requests, times = self._last
            self._last = (requests, times - 1) if times else None
            if not times:
                self.down_until = float("inf")
                return "reset"
        if any(re.search(rf"[= ]{key}(?=[/:]|$)", authorization) for key in self.expired_keys):
            return "expired"
        for number, (request, trouble) in enumerate(self._planned):
            if request in line:
                del self._planned[number]
                return trouble
        return self.chance.choice(PASSING) if self.chance.random() < self.share else ""

    def remembered(
        self, line: str, answer: tuple[int, list[tuple[str, str]], bytes]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """The answer to a listing: the fresh one, or the one from before it went stale."""
        with self._lock:
            if not self.stale:
                self._listings[line] = answer
            return self._listings.get(line, answer)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: TroubledS3

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        line = f"{self.command} {self.path}"
        if "x-amz-copy-source" in self.headers or "x-goog-copy-source" in self.headers:
            line = f"COPY {self.path}"
        trouble = self.server.trouble_of(line, self.headers.get("Authorization") or "")
        time.sleep(1.5 if trouble == "silence" else self.server.pace_s)
        if trouble in self.server.codes:
            status, code = self.server.codes[trouble]
            text = f"<Error><Code>{code}</Code><Message>in trouble</Message></Error>".encode()
            self._answer(status, [], text if self.command != "HEAD" else b"")
        elif trouble in ("reset", "silence"):
            self._reset()
        else:
            answer = self._passed_on(body)
            if "list-type=2" in self.path:
                answer = self.server.remembered(line, answer)
            if trouble == "lost answer":
                self._reset()
            else:
                self._answer(*answer, cut=trouble == "cut")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle

    def _passed_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        headers = {name: value for name, value in self.headers.items() if name != "Expect"}
        if self.server.ignores_conditions:
            headers = {n: v for n, v in headers.items() if n.lower() not in _CONDITIONS}
        backend = http.client.HTTPConnection(self.server.backend, timeout=30)
        try:
            backend.request(self.command, self.path, body, headers)
            reply = backend.getresponse()
            return reply.status, reply.getheaders(), reply.read()
        finally:
            backend.close()

    def _answer(
        self, status: int, headers: list[tuple[str, str]], body: bytes, *, cut: bool = False
    ) -> None:
        self.send_response_only(status)
        given = {name.lower() for name, _ in headers}
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        if "content-length" not in given:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True

    def _reset(self) -> None:
        """Close with RST instead of FIN, as a machine that went away does."""
        now = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def troubled_s3(
    backend: str, codes: dict[str, tuple[int, str]] | None = None
) -> Iterator[TroubledS3]:
    """The running proxy before the server at `backend`; its own address is `url`."""
    server = TroubledS3(backend, codes or _CODES)
    server.socket.settimeout(None)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
