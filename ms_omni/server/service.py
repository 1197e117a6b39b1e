"""The engine behind a server: loading state, admission of requests, time limits."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from ms_omni.answer_parts import opens_reasoning
from ms_omni.options import WHOLE_WAVE
from ms_omni.outputs import StreamChunk, StreamEnd, TextDelta
from ms_omni.scheduling.request import RequestHandle
from ms_omni.server.bodies import Bodies
from ms_omni.server.errors import ApiError
from ms_omni.server.metrics import Metrics
from ms_omni.server.schema import served_model

if TYPE_CHECKING:
    from ms_omni.engine import OmniEngine

MIB = 1 << 20
# How many bodies of the largest size may be queued or running: their media stay in memory
MAX_LARGEST_BODIES = 16
# Answers whose speech later requests can refer to
MAX_RECALLED = 10_000
RETRY_WHILE_LOADING_S = 5
# Pieces of answers are sent at intervals at which sending takes this share of a core, within these limits; what a fast
# model writes meanwhile becomes one piece
SHARE_OF_CORE = 0.05
SHORTEST_PACE_S, LONGEST_PACE_S = 0.005, 0.1
MAX_RETRY_S = 60


@dataclass(frozen=True)
class ServerSettings:
    """model_names: names of the model for clients; answers have the first. api_keys: a client must send one of them;
    empty: no keys are needed. max_queue: queued requests beyond the running ones. timeout_s: for a whole answer.
    grace_s: for running requests at shutdown. max_body_bytes: of one request."""

    model_names: tuple[str, ...]
    api_keys: tuple[str, ...] = ()
    max_queue: int = 64
    timeout_s: float = 3600.0
    grace_s: float = 30.0
    max_body_bytes: int = 64 * MIB


class Service:
    """Submits requests to the engine. Except for `open`, used by the event loop's thread only."""

    def __init__(self, settings: ServerSettings):
        self.settings = settings
        self.engine: OmniEngine | None = None
        self.is_draining = False
        self.metrics = Metrics(lambda: self.engine)
        self.num_asked = 0
        self._num_bytes = 0  # of admitted requests
        self._wakes = _Wakes()
        self.bodies = Bodies(settings.max_body_bytes)
        self._mean_s = 1.0  # of answers
        self._spoken: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self.reasons = False

    def open(self, engine: OmniEngine) -> None:
        """Accepts requests from now on. May be called from any thread."""
        self.reasons = opens_reasoning(engine.processor)
        self.engine = engine

    @property
    def state(self) -> Literal["loading", "ready", "draining", "stopped"]:
        """The state that /health reports."""
        if self.engine is None:
            return "loading"
        if self.engine.stopped:
            return "stopped"
        return "draining" if self.is_draining else "ready"

    def check_model(self, name: str | None) -> str:
        """The model's name for the answer. Raises ApiError 404 for a model that is not served."""
        return served_model(name, self.settings.model_names)

    def ready_engine(self) -> OmniEngine:
        """The engine. Raises ApiError 503 while it accepts no requests."""
        if self.state == "ready" and self.engine is not None:
            return self.engine
        retry = {"Retry-After": str(RETRY_WHILE_LOADING_S)}
        words = {
            "loading": "the model is being loaded",
            "draining": "the server is about to end",
            "stopped": "the engine has stopped",
        }
        raise ApiError(503, words[self.state], code=f"engine_{self.state}", headers=retry)

    async def ask(
        self, conversation: Any, options: Mapping[str, Any], streams: bool, num_bytes: int
    ) -> AsyncGenerator[StreamChunk, None]:
        """The pieces of an answer as they are made, then a StreamEnd. streams: the client gets them at once; otherwise
        the wave is made in few, large pieces. num_bytes: of the conversation. Closing the iterator cancels the request.
        Raises ApiError 503 and 429, TimeoutError, and the engine's errors."""
        with self.admitted(num_bytes) as engine:
            async with aclosing(self.ask_within(engine, conversation, options, streams)) as chunks:
                async for chunk in chunks:
                    yield chunk

    @contextmanager
    def admitted(self, num_bytes: int = 0) -> Iterator[OmniEngine]:
        """Counts one request until the block ends, however many conversations it submits. num_bytes: that it keeps in
        memory. Raises ApiError 503 and 429."""
        engine = self.ready_engine()
        self._check_queue(engine, num_bytes)
        self.num_asked += 1
        self._num_bytes += num_bytes
        self.metrics.in_flight.set(self.num_asked)
        try:
            yield engine
        finally:
            self.num_asked -= 1
            self._num_bytes -= num_bytes
            self.metrics.in_flight.set(self.num_asked)

    async def ask_within(
        self, engine: OmniEngine, conversation: Any, options: Mapping[str, Any], streams: bool
    ) -> AsyncGenerator[StreamChunk, None]:
        """As `ask`, for a request that is `admitted` already."""
        watch = self.metrics.watch(streams)
        handle = engine.submit(conversation, **(options if streams else {**WHOLE_WAVE, **options}))
        try:
            async for chunk in self._wakes.pieces(handle, self.settings.timeout_s):
                watch.note(chunk)
                yield chunk
            self._mean_s += (watch.seconds - self._mean_s) / 8
        finally:
            handle.cancel()

    def _check_queue(self, engine: OmniEngine, num_bytes: int) -> None:
        most = engine.max_num_seqs + self.settings.max_queue
        most_bytes = MAX_LARGEST_BODIES * self.settings.max_body_bytes
        if self.num_asked >= most:
            message = f"{self.num_asked} questions are being answered or wait already; at most {most} may"
        elif self._num_bytes + num_bytes > most_bytes:
            message = f"what is being answered or waits has {self._num_bytes} bytes already; at most {most_bytes} may"
        else:
            return
        wait = math.ceil(self._mean_s * max(1, self.settings.max_queue) / engine.max_num_seqs)
        headers = {"Retry-After": str(min(max(wait, 1), MAX_RETRY_S))}
        raise ApiError(429, message, code="queue_full", headers=headers)

    def remember(self, audio_id: str, expires_at: float, transcript: str) -> None:
        """Stores the transcript of an answer's speech, to which a later request may refer."""
        self._spoken[audio_id] = expires_at, transcript
        while len(self._spoken) > MAX_RECALLED:
            self._spoken.popitem(last=False)

    def recall(self, audio_id: str, now: float) -> str | None:
        """The transcript that `remember` was given, None where it is unknown or has expired."""
        expires_at, transcript = self._spoken.get(audio_id, (0.0, ""))
        return transcript if now < expires_at else None


class _Wakes:
    """Wakes coroutines from the engine's thread. Wake-ups are collected into one call of the event loop, since each
    call costs the engine's thread a system call and the interpreter lock, and each piece is an event to a client.
    rest_until: the event loop's time before which there is no further call."""

    def __init__(self) -> None:
        self._lock, self._woken = threading.Lock(), set[asyncio.Event]()
        self.rest_until, self._is_urgent = -math.inf, False

    def wake(self, loop: asyncio.AbstractEventLoop, sleeper: asyncio.Event, is_urgent: bool = False) -> None:
        """is_urgent: at once, for the end of an answer, after which its client may send another request."""
        with self._lock:
            is_scheduled = self._is_urgent if is_urgent else bool(self._woken)
            self._woken.add(sleeper)
            self._is_urgent |= is_urgent
        if not is_scheduled:
            with suppress(RuntimeError):  # the event loop has ended
                loop.call_soon_threadsafe(self._wake_all if is_urgent else self._schedule, loop)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop.time() < self.rest_until:
            loop.call_at(self.rest_until, self._schedule, loop)
        else:
            self._wake_all(loop)

    def _wake_all(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            woken, self._woken, self._is_urgent = self._woken, set(), False
        for sleeper in woken:
            sleeper.set()
        if woken:
            loop.call_soon(self._rest, loop, time.thread_time())  # runs after those that were woken

    def _rest(self, loop: asyncio.AbstractEventLoop, start: float) -> None:
        """Sets the next pause. start: thread time when the woken work began. Never shortens an earlier pause."""
        seconds = (time.thread_time() - start) / SHARE_OF_CORE
        rest = min(max(seconds, SHORTEST_PACE_S), LONGEST_PACE_S)
        self.rest_until = max(self.rest_until, loop.time() + rest)

    async def pieces(self, handle: RequestHandle, seconds: float) -> AsyncGenerator[StreamChunk, None]:
        """The pieces of a whole answer. Raises TimeoutError after `seconds`."""
        loop, there_is_more = asyncio.get_running_loop(), asyncio.Event()
        deadline = loop.time() + seconds
        timer = loop.call_at(deadline, there_is_more.set)
        handle.listen(lambda handle: self.wake(loop, there_is_more, is_urgent=handle.done))
        try:
            while True:
                await there_is_more.wait()
                there_is_more.clear()
                while chunks := handle.take():
                    for chunk in _joined(chunks):
                        yield chunk
                        if isinstance(chunk, StreamEnd):
                            return
                if loop.time() >= deadline:
                    raise TimeoutError(f"no whole answer within {seconds:g} s")
        finally:
            timer.cancel()


def _joined(chunks: list[StreamChunk]) -> Iterator[StreamChunk]:
    """The same pieces, with consecutive texts joined."""
    for kind, group in groupby(chunks, type):
        if kind is TextDelta:
            texts = [chunk for chunk in group if isinstance(chunk, TextDelta)]
            ids = tuple(number for text in texts for number in text.token_ids)
            yield TextDelta("".join(text.text for text in texts), ids)
        else:
            yield from group
