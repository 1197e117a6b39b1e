"""Where a server listens, found before anything is loaded."""

from __future__ import annotations

import socket

from ms_omni.errors import OmniError

BACKLOG = 2048


def listening_socket(host: str, port: int) -> socket.socket:
    """Raises OmniError for an address that cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = error.strerror or error
        raise OmniError(f"--host {host} --port {port}: cannot listen there ({reason})") from error
