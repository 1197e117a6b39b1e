"""A small server in the place of `ms-omni serve`, run by test_nginx.py: what it answers, its request says.

    python stand_in_server.py PORT MODE     MODE: answering, loading (503), full (429)

POST /v1/chat/completions, JSON with `do`: "answer" at once; "wait" until released before the first byte; "stream" two
events, the second when released ("stream until closed": not in chunks); "watch" events without end. Answers name the
port. POST /release; GET /seen: what has come so far."""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, MODE = int(sys.argv[1]), sys.argv[2]
RELEASED = threading.Event()
SEEN = {"requests": [], "left": 0}  # [what to do, bytes]; streams whose client went away


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        known = {"/seen": SEEN, "/health": {}, "/metrics": {}}
        self.reply(200 if self.path in known else 404, known.get(self.path, {}))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/release":
            RELEASED.set()
            self.reply(200, {})
            return
        do = json.loads(body)["do"]
        SEEN["requests"].append([do, len(body)])
        if MODE == "loading":
            self.reply(503, {"error": {"message": "loading"}})
        elif MODE == "full":
            self.reply(429, {"error": {"message": "full"}}, {"Retry-After": "7"})
        elif do in ("answer", "wait"):
            if do == "wait":
                RELEASED.wait(60)
            self.reply(200, {"port": PORT})
        else:
            self.stream(do)

    def reply(self, status, document, headers=()):
        data = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(data), **dict(headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def stream(self, do):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.in_chunks = do != "stream until closed"
        self.send_header(*(("Transfer-Encoding", "chunked") if self.in_chunks else ("Connection", "close")))
        self.end_headers()
        try:
            self.event("first")
            if do != "watch":
                RELEASED.wait(60)
                self.event("last")
            else:
                for _ in range(600):
                    time.sleep(0.1)
                    self.event("more")
            if self.in_chunks:
                self.wfile.write(b"0\r\n\r\n")
        except OSError:
            SEEN["left"] += 1
            self.close_connection = True

    def event(self, word):
        data = f"data: {word} {PORT}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if self.in_chunks else data)
        self.wfile.flush()


ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
