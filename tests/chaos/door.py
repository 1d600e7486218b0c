"""A TCP port that can be closed."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from s3_server import free_port


class Door:
    """A TCP port that leads to another one, and can be closed. `pace_s`: before each answer."""

    def __init__(self, to: int, pace_s: float) -> None:
        self._to, self._pace_s = to, pace_s
        self.port = free_port()
        self._through: set[socket.socket] = set()
        self.open()

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Break every connection and refuse new ones."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._through):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                inside, _ = listener.accept()
                outside = socket.create_connection(("127.0.0.1", self._to))
                for a, b, pace_s in ((inside, outside, 0.0), (outside, inside, self._pace_s)):
                    self._through.add(a)
                    threading.Thread(target=self._carry, args=(a, b, pace_s), daemon=True).start()

    def _carry(self, a: socket.socket, b: socket.socket, pace_s: float) -> None:
        with contextlib.suppress(OSError):
            while data := a.recv(1 << 16):
                time.sleep(pace_s)
                b.sendall(data)
        for one in (a, b):
            self._through.discard(one)
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def wait_for_port(port: int) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.1)
    raise AssertionError(f"nobody listens on {port}")
