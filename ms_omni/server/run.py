"""Runs a server: it listens at once, loads the model, answers, and shuts down gracefully."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.types import ASGIApp

from ms_omni.server.app import make_app
from ms_omni.server.service import ServerSettings, Service

if TYPE_CHECKING:
    from ms_omni.engine import OmniEngine

# Interval at which the main thread checks the engine
LOOK_S = 0.2
# Seconds for sending the last errors to clients
LAST_WORDS_S = 2.0


class HttpThread:
    """An HTTP server on its own thread, so that the main thread can load a model and handle signals."""

    def __init__(self, app: ASGIApp, listener: socket.socket):
        self._listener = listener
        config = uvicorn.Config(
            app,
            access_log=False,
            log_level="error",
            lifespan="off",
            server_header=False,
            # Peers whose X-Forwarded-For is trusted: those of a Unix socket are on this machine and have no address
            forwarded_allow_ips="*" if listener.family == socket.AF_UNIX else "127.0.0.1,::1",
            timeout_graceful_shutdown=int(LAST_WORDS_S),
        )
        self._http = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="ms-omni-http", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether the server's thread still runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begins to listen, on a thread."""
        self._thread.start()

    def close(self) -> None:
        """Gives running requests a moment to end, then closes all connections."""
        self._http.should_exit = True
        self._thread.join(2 * LAST_WORDS_S + 1)
        self._listener.close()

    def _serve(self) -> None:
        self._http.run(sockets=[self._listener])


class Server:
    """Answers HTTP with an engine."""

    def __init__(self, listener: socket.socket, settings: ServerSettings):
        self.service = Service(settings)
        self._settings = settings
        self._http = HttpThread(make_app(self.service), listener)
        self._ends, self._ends_now = threading.Event(), False

    def start(self) -> None:
        """Begins to listen; /health is 503 until `answer`."""
        self._http.start()

    def answer(self, engine: OmniEngine, say: Callable[[str], object]) -> bool:
        """Answers with this engine until SIGTERM or SIGINT, then lets running requests finish within the grace period.
        Returns False if the engine has stopped by itself. Call it on the main thread."""
        before = [signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)]
        try:
            self.service.open(engine)
            while not self._ends.wait(LOOK_S) and not engine.stopped and self._http.is_alive:
                pass
            in_order = not engine.stopped and self._http.is_alive
            if in_order:
                self._drain(say)
            else:
                say(f"the server ends: {engine.stopped or 'its thread has ended'}")
            engine.close()
            return in_order
        finally:
            for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
                signal.signal(number, handler)

    def close(self) -> None:
        """Closes all connections."""
        self._http.close()

    def _on_signal(self, number: int, frame: Any) -> None:
        if self._ends.is_set():  # a second signal ends the grace period
            self._ends_now = True
        self._ends.set()

    def _drain(self, say: Callable[[str], object]) -> None:
        self.service.is_draining = True
        if not self.service.num_asked:
            return
        say(f"no new questions; {self.service.num_asked} under way have {self._settings.grace_s:g} s to end")
        deadline = time.monotonic() + self._settings.grace_s
        while self.service.num_asked and time.monotonic() < deadline and not self._ends_now:
            time.sleep(LOOK_S / 4)
        if self.service.num_asked:
            say(f"{self.service.num_asked} were not answered in time")
