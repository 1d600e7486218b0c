"""Whether a port is free, before a server that would not say so is started on it."""

from __future__ import annotations

import socket


def listen_error(host: str, port: int) -> OSError | None:
    """Why nobody can listen there; None: it is free."""
    try:
        with socket.create_server((host, port)):  # with SO_REUSEADDR: TIME_WAIT is no hindrance
            return None
    except OSError as error:
        return error
