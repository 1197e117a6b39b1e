"""Opens listening sockets, before anything is loaded."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

from ms_omni.errors import OmniError

BACKLOG = 2048


def listening_socket(host: str, port: int) -> socket.socket:
    """Raises OmniError for an address that cannot be used."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or error
        raise OmniError(f"--host {host} --port {port}: cannot listen there ({reason})") from error


def unix_socket(path: str) -> socket.socket:
    """Replaces the socket at this path. Raises OmniError for a path that cannot be used."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):
            os.unlink(path)
        listener.bind(path)
        listener.listen(BACKLOG)
    except OSError as error:
        raise OmniError(f"--uds {path}: cannot listen there ({error.strerror or error})") from error
    return listener


def shown_address(host: str, listener: socket.socket) -> str:
    """The URL of a socket that listens at `host`."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}"
