"""Check that a port is free before a server starts on it."""

from __future__ import annotations

import socket


def listen_error(host: str, port: int) -> OSError | None:
    """The error of listening on the port; None if it is free."""
    try:
        with socket.create_server((host, port)):  # sets SO_REUSEADDR: TIME_WAIT does not block
            return None
    except OSError as error:
        return error
