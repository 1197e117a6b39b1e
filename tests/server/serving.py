"""Servers of tests: the real application over HTTP, with a stand-in for the engine or a real one."""

import asyncio
import socket
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import httpx
import numpy as np
import uvicorn

from ms_omni.outputs import AudioChunk, AudioOutput, OmniOutput, TextDelta, Usage
from ms_omni.scheduling.request import EngineStopped, RequestHandle
from ms_omni.server.app import make_app
from ms_omni.server.service import ServerSettings, Service

# httpx waits for 5 s by default: a busy machine may take longer. A connection for each request, as servers come and go.
web = httpx.Client(timeout=60, limits=httpx.Limits(max_keepalive_connections=0))
HELLO = [{"role": "user", "content": "Hello"}]


def output(text="Hi there.", speaks=False, finish_reason="stop"):
    """2 frames of speech, each 1920 samples."""
    wave = np.linspace(-1, 1, 3840, dtype=np.float32)
    audio = AudioOutput(wave, np.zeros((16, 2), np.int32), "stop") if speaks else None
    return OmniOutput(text, (1, 2, 3), finish_reason, Usage(10, 3, image_tokens=4), audio)


class StandIn:
    """An engine whose answers the test gives: `asked` are (handle, conversation, options) in their order; by default
    every question is answered at once."""

    max_num_seqs = 2
    num_running = 1
    free_blocks = {"thinker": 3}
    num_blocks = {"thinker": 4}

    def __init__(self, answers=True, prompt="<|im_start|>assistant\n"):
        self.stopped, self.asked, self._answers = "", [], answers
        self.processor = SimpleNamespace(render=lambda conversation: prompt)
        self.text = "Hi there."

    def submit(self, conversation, **options):
        if self.stopped:
            raise EngineStopped(self.stopped)
        handle = RequestHandle()
        self.asked.append((handle, conversation, options))
        if self._answers:
            self.answer(handle, options.get("return_audio"))
        return handle

    def answer(self, handle, speaks=False, finish_reason="stop"):
        answer = output(self.text, speaks, finish_reason)
        for word in self.text.split(" "):
            handle.put(TextDelta(word if word == self.text.split(" ")[0] else f" {word}", (1,)))
        if speaks:
            handle.put(AudioChunk(answer.audio.samples[:1000]))
            handle.put(AudioChunk(answer.audio.samples[1000:]))
        handle.finish(answer)

    def wait(self, count=1, seconds=60):
        """The first `count` questions, once they have come."""
        until(lambda: len(self.asked) >= count, seconds)
        return self.asked[:count]


def until(is_so, seconds=60):
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.005)


@contextmanager
def serving(engine, **settings):
    """Yields the base URL and the service of a server on a thread. engine: None leaves it loading."""
    service = Service(ServerSettings(**{"model_names": ("stand-in", "alias"), **settings}))
    if engine is not None:
        service.open(engine)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(make_app(service), access_log=False, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", service
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()
