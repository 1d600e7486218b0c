"""A connection that breaks in the middle of the server's answer, a few times."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class HangsUp:
    """Forwards to `port` on loopback; the first `times` connections that bring more than
    `after` bytes are cut there, the next `refusals` are closed at once."""

    def __init__(self, port: int, after: int, times: int, refusals: int = 0) -> None:
        self._to = port
        self.after = after
        self.cuts_left = times
        self.refusals_left = refusals
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._server.accept()
            except OSError:
                return
            if not self.cuts_left and self.refusals_left:
                self.refusals_left -= 1
                caller.close()
                continue
            callee = socket.create_connection(("127.0.0.1", self._to))
            threading.Thread(target=self._copy, args=(caller, callee, False), daemon=True).start()
            threading.Thread(target=self._copy, args=(callee, caller, True), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        brought = 0
        with suppress(OSError):
            while data := source.recv(256):
                brought += len(data)
                if answers and self.cuts_left and brought > self.after:
                    self.cuts_left -= 1
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def hangs_up(port: int, after: int, times: int, refusals: int = 0) -> Iterator[HangsUp]:
    line = HangsUp(port, after, times, refusals)
    try:
        yield line
    finally:
        line.close()
