"""Fetches URLs of a restricted access: the address that was checked is the one connected to, and there is one deadline.

http.client over our own sockets. Each host name is resolved once, so that a second answer cannot lead elsewhere (DNS
rebinding). Proxies of the environment are not used, since they would resolve the name themselves."""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ms_omni.inputs.access import MediaAccess, host_name
from ms_omni.inputs.addresses import is_named, may_be_asked

MAX_REDIRECTS = 5
MAX_URL_LENGTH = 8192
CONNECT_SECONDS = 10.0  # to one address, so that a dead one leaves time for the next
_PORTS = {"http": 80, "https": 443}
_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK_BYTES = 1 << 20


class RefusedError(Exception):
    """Not allowed, or unreachable. The two are not told apart, since that would disclose the inner network."""


class FetchError(Exception):
    """A transfer from an allowed host failed."""


def fetch(url: str, access: MediaAccess) -> bytes:
    """The body. Raises RefusedError and FetchError."""
    end = min(time.monotonic() + access.fetch_seconds, access.until)
    try:
        for _ in range(MAX_REDIRECTS + 1):
            target = _target(url)
            plain = _connected(target, access, end)
            connection: Any = http.client.HTTPConnection(target.host, target.port)
            connection.sock = _TimedSocket(plain, end)
            try:
                connection.request("GET", target.path, headers={"User-Agent": "ms-omni", "Host": target.authority})
                response = connection.getresponse()
                if response.status not in _REDIRECTS:
                    return _body(response, access)
                url = urllib.parse.urljoin(url, response.headers.get("Location", ""))
            finally:
                connection.close()
                plain.close()
        raise FetchError(f"more than {MAX_REDIRECTS} redirects")
    except TimeoutError as error:
        raise FetchError(f"took too long; at most {access.fetch_seconds:g} s are allowed") from error
    except ssl.SSLError as error:
        raise FetchError(f"no TLS connection ({error.reason or type(error).__name__})") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise FetchError(f"the transfer broke off ({type(error).__name__})") from error


@dataclass(frozen=True)
class _Target:
    """The parts of a URL; `path` includes the query, quoted for the request line."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def _target(url: str) -> _Target:
    """Raises RefusedError unless it is a plain http(s) URL."""
    try:
        if len(url) > MAX_URL_LENGTH or any(char <= " " or char in "\\\x7f" for char in url):
            raise RefusedError
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in _PORTS or "@" in parts.netloc or not parts.hostname or "%" in parts.netloc:
            raise RefusedError
        port = _PORTS[parts.scheme] if parts.port is None else parts.port
        path = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
        query = f"?{urllib.parse.quote(parts.query, safe='/%:@!$&()*+,;=~?')}" if parts.query else ""
        return _Target(parts.scheme, host_name(parts.hostname), port, path + query)
    except ValueError as error:
        raise RefusedError from error


def _connected(target: _Target, access: MediaAccess, end: float) -> socket.socket:
    """A socket, with TLS for https, to one of the addresses that the host name resolves to. Raises RefusedError when
    any of these is not allowed, or none answers."""
    if access.domains and target.host not in access.domains:
        raise RefusedError
    networks = [ipaddress.ip_network(text) for text in access.networks]
    addresses = _resolved(target, end)
    if not addresses or not all(may_be_asked(address, networks) for address in addresses):
        raise RefusedError
    any_port = bool(access.domains) or all(is_named(address, networks) for address in addresses)
    if target.port not in _PORTS.values() and not any_port:
        raise RefusedError
    plain = _first_that_answers(addresses, target.port, end)
    if target.scheme == "http":
        return plain
    try:
        plain.settimeout(_left(end))
        return ssl.create_default_context().wrap_socket(plain, server_hostname=target.host)
    except BaseException:
        plain.close()
        raise


def _first_that_answers(addresses: list[Any], port: int, end: float) -> socket.socket:
    for address in addresses:
        try:
            return socket.create_connection((str(address), port), min(_left(end), CONNECT_SECONDS))
        except OSError:
            continue
    raise RefusedError


def _resolved(target: _Target, end: float) -> list[Any]:
    """Every address of the host, by the system's resolver. The resolver cannot be interrupted, so it runs on a thread
    that is waited for until the deadline."""
    found: list[Any] = []

    def look_up() -> None:
        with suppress(OSError, ValueError):  # UnicodeError is a ValueError
            found.extend(socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM))

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(_left(end))
    return [ipaddress.ip_address(entry[4][0]) for entry in list(found)]


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _TimedSocket:
    """The part of a socket that http.client uses, with one deadline: a timeout alone would restart with each byte."""

    def __init__(self, plain: socket.socket, end: float) -> None:
        self._socket, self._end = plain, end

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(_left(self._end))
        self._socket.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._socket, self._end))

    def close(self) -> None:
        """Does nothing: the response may still be read. `fetch` closes the socket."""


class _TimedReader(io.RawIOBase):
    def __init__(self, plain: socket.socket, end: float) -> None:
        self._socket, self._end = plain, end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._socket.settimeout(_left(self._end))
        return self._socket.recv_into(buffer)


def _body(response: http.client.HTTPResponse, access: MediaAccess) -> bytes:
    """The body as it is received, without decompression. The size limit counts received bytes, not Content-Length."""
    with response:
        if response.status != 200:
            raise FetchError(f"HTTP {response.status}")
        data = b"".join(_chunks(response, access.max_bytes))
        promised = response.headers.get("Content-Length", "")
    if promised.isdecimal() and int(promised) != len(data) and response.chunked is False:
        raise FetchError(f"transfer ended early ({len(data)} of {int(promised)} bytes)")
    return data


def _chunks(response: http.client.HTTPResponse, limit: int) -> Iterator[bytes]:
    size = 0
    while chunk := response.read(_CHUNK_BYTES):
        size += len(chunk)
        if size > limit:
            raise FetchError(f"larger than {limit} bytes")
        yield chunk
