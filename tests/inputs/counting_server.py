"""A web server of this machine that counts what it is asked for, with answers that try to hurt whoever asks."""

from __future__ import annotations

import gzip
import ssl
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# For so long bytes come one by one, unless whoever asked goes away
DRIP_S = 120


class CountingServer:
    """`asked`: every path, as it comes. `files`: path -> body. Other paths are those of `_Handler`."""

    def __init__(self, certificate=None):
        self.asked: list[str] = []
        self.hosts: list[str] = []
        self.files: dict[str, bytes] = {}
        self.stop = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": self}))
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self):
        self.stop.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    owner: CountingServer
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.owner.asked.append(self.path)
        self.owner.hosts.append(self.headers.get("Host"))
        path, _, query = self.path.partition("?")
        if path in self.owner.files:
            self._send(self.owner.files[path])
        elif path == "/to":
            self._head(302, ("Location", urllib.parse.unquote(query)), ("Content-Length", "0"))
        elif path == "/loop":
            self._head(302, ("Location", "/loop"), ("Content-Length", "0"))
        elif path in ("/slow-head", "/slow-body", "/endless", "/lying", "/packed"):
            getattr(self, path[1:].replace("-", "_"))()
        else:
            self._head(404, ("Content-Length", "0"))

    def slow_head(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        self._repeat(b"X: ", 0.02)

    def slow_body(self):
        self._head(200, ("Content-Length", "1000000"))
        self._repeat(b"x", 0.02)

    def endless(self):
        self._head(200, ("Connection", "close"))
        self._repeat(b"x" * 65536, 0)

    def lying(self):
        """Promises little and sends much."""
        self._head(200, ("Transfer-Encoding", "chunked"), ("Content-Length", "10"))
        self._repeat(b"10000\r\n" + b"x" * 65536 + b"\r\n", 0)

    def packed(self):
        """A few bytes that unpack to ten million."""
        body = gzip.compress(bytes(10_000_000))
        self._head(200, ("Content-Encoding", "gzip"), ("Content-Length", str(len(body))))
        self.wfile.write(body)

    def _repeat(self, data, pause):
        end = time.monotonic() + DRIP_S
        try:
            while not self.owner.stop.is_set() and time.monotonic() < end:
                self.wfile.write(data)
                self.wfile.flush()
                time.sleep(pause)
        except OSError:  # whoever asked has gone away
            pass
        self.close_connection = True

    def _send(self, body):
        self._head(200, ("Content-Length", str(len(body))))
        self.wfile.write(body)

    def _head(self, status, *headers):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args):
        pass
