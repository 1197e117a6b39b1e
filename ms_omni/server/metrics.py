"""Metrics for Prometheus: requests by outcome, queue, tokens, times, gaps in speech, use of the caches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ms_omni.outputs import AudioChunk, OmniOutput, StreamChunk, StreamEnd, TextDelta

if TYPE_CHECKING:
    from ms_omni.engine import OmniEngine

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_GAPS = (0.0, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The metrics of one server, with a registry of their own."""

    def __init__(self, engine: Callable[[], OmniEngine | None]):
        """engine: returns the current engine, None while it is loaded."""
        self.registry = CollectorRegistry()
        own: Any = {"registry": self.registry}
        self.requests = Counter("ms_omni_requests", "requests by what they ended with", ["route", "status"], **own)
        self.in_flight = Gauge("ms_omni_requests_in_flight", "questions taken and not answered yet", **own)
        self._prompt = Counter("ms_omni_prompt_tokens", "tokens of prompts, media included", **own)
        self._tokens = Counter("ms_omni_thinker_tokens", "tokens of answers' text", **own)
        self._frames = Counter("ms_omni_talker_frames", "codec frames of answers' speech, 80 ms each", **own)
        self._first_text = Histogram(
            "ms_omni_first_text_seconds", "until the first text of a stream", buckets=_SECONDS, **own
        )
        self._first_audio = Histogram(
            "ms_omni_first_audio_seconds", "until the first sound of a stream", buckets=_SECONDS, **own
        )
        self._whole = Histogram("ms_omni_answer_seconds", "until the end of an answer", buckets=_SECONDS, **own)
        gap = "how long somebody who hears an answer as it comes has to wait within it, all together"
        self._gap = Histogram("ms_omni_audio_gap_seconds", gap, buckets=_GAPS, **own)
        self.registry.register(_EngineState(engine))

    def text(self) -> bytes:
        """In Prometheus' format."""
        return generate_latest(self.registry)

    def watch(self, streams: bool) -> Watch:
        """Times one answer, from now on. streams: the client gets the answer while it is made."""
        return Watch(self, streams)

    def note_answer(self, output: OmniOutput, seconds: float) -> None:
        """Counts a finished answer. seconds: from the question to its end."""
        self._prompt.inc(output.usage.prompt_tokens)
        self._tokens.inc(output.usage.completion_tokens)
        self._frames.inc(output.audio.num_frames if output.audio else 0)
        self._whole.observe(seconds)

    def note_first(self, chunk: TextDelta | AudioChunk, seconds: float) -> None:
        """Counts the first text or sound of a stream."""
        (self._first_text if isinstance(chunk, TextDelta) else self._first_audio).observe(seconds)

    def note_gap(self, seconds: float) -> None:
        """Counts the pauses that a listener of a streamed answer heard, all together."""
        self._gap.observe(seconds)


class Watch:
    """Measures the times of one answer."""

    def __init__(self, metrics: Metrics, streams: bool):
        self._metrics, self._streams, self._start = metrics, streams, time.monotonic()
        self._seen: set[type] = set()
        self._played_until, self._gap = 0.0, 0.0

    @property
    def seconds(self) -> float:
        """Since the question came."""
        return time.monotonic() - self._start

    def note(self, chunk: StreamChunk) -> None:
        """Counts a piece of the answer when it is sent."""
        now = self.seconds
        if isinstance(chunk, StreamEnd):
            self._metrics.note_answer(chunk.output, now)
            if AudioChunk in self._seen:
                self._metrics.note_gap(self._gap)
        if isinstance(chunk, StreamEnd) or not self._streams:
            return
        if isinstance(chunk, AudioChunk):
            if AudioChunk in self._seen:
                self._gap += max(0.0, now - self._played_until)
            self._played_until = max(now, self._played_until) + len(chunk.samples) / chunk.sample_rate
        if type(chunk) not in self._seen:
            self._seen.add(type(chunk))
            self._metrics.note_first(chunk, now)


class _EngineState(Collector):
    """The engine's state, read at every scrape."""

    def __init__(self, engine: Callable[[], OmniEngine | None]):
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        engine = self._engine()
        is_up = engine is not None and not engine.stopped
        yield GaugeMetricFamily("ms_omni_engine_up", "1 while the engine can answer", value=int(is_up))
        if engine is None:
            return
        running = "conversations that are being answered"
        yield GaugeMetricFamily("ms_omni_requests_running", running, value=engine.num_running)
        limit = "conversations that are answered at a time"
        yield GaugeMetricFamily("ms_omni_max_num_seqs", limit, value=engine.max_num_seqs)
        use = GaugeMetricFamily("ms_omni_cache_use_ratio", "blocks of keys and values in use, 0 to 1", labels=["stage"])
        free = engine.free_blocks
        for stage, total in engine.num_blocks.items():
            if stage in free:
                use.add_metric([stage], 1 - free[stage] / total)
        yield use
