"""A server of OpenAI's protocol for the page's tests: answers what it is told to, and remembers what it was asked."""

import base64
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

TONE = (np.sin(np.arange(24000) * 2 * np.pi * 440 / 24000) * 9000).astype("<i2").tobytes()  # one second


def text_event(text):
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}


def speech_event(pcm):
    return {"choices": [{"index": 0, "delta": {"audio": {"id": "a", "data": base64.b64encode(pcm).decode()}}}]}


def end_event(reason="stop"):
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}


class StandIn:
    """events: of every answer, then [DONE] where `ends`; a float among them is a pause. refusal: (status, body,
    headers) in the place of answers. gone: set once a client has left before the end."""

    def __init__(self):
        self.model, self.voices, self.health = "stand-in", ["Ethan", "Chelsie"], 200
        self.events = [text_event("I see "), text_event("a circle."), speech_event(TONE), end_event()]
        self.ends, self.refusal = True, None
        self.asked, self.keys, self.gone = [], [], threading.Event()
        self.url = ""

    def get(self, path):
        known = {
            "/health": (self.health, {"status": "ready"}),
            "/v1/models": (200, {"object": "list", "data": [{"id": self.model}]}),
            "/v1/audio/voices": (404, {}) if self.voices is None else (200, {"voices": self.voices}),
        }
        return known.get(path, (404, {}))


@contextmanager
def serving(stand_in):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def do_GET(self):
            self._send(*stand_in.get(self.path))

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            stand_in.asked.append(json.loads(body))
            stand_in.keys.append(self.headers.get("authorization"))
            if stand_in.refusal:
                self._send(*stand_in.refusal)
                return
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            self.close_connection = True
            try:
                for event in stand_in.events:
                    if isinstance(event, float):
                        self._pause(event)
                    else:
                        self._write(f"data: {json.dumps(event)}\n\n")
                if stand_in.ends:
                    self._write("data: [DONE]\n\n")
            except OSError:
                stand_in.gone.set()

        def _pause(self, seconds):
            """With comments, as servers keep connections alive: writing fails once the client has left."""
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(0.05)
                self._write(": still working\n\n")

        def _write(self, words):
            self.wfile.write(words.encode())
            self.wfile.flush()

        def _send(self, status, body, headers=None):
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"content-length": str(len(data)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
