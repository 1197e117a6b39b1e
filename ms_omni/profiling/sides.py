"""The sides of a comparison: each answers a task and measures the stages of its answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

from ms_omni.config import EngineConfig
from ms_omni.engine import OmniEngine
from ms_omni.outputs import OmniOutput
from ms_omni.profiling.clock import WALL, StageClock
from ms_omni.profiling.counters import Counters, resolved
from ms_omni.profiling.document import OTHER
from ms_omni.profiling.measured import FRAMES, TOKENS, Measured, Waits, answer_digest, joined_digest, made
from ms_omni.profiling.memory import PeakMemory
from ms_omni.profiling.predictor_timing import predictor_share
from ms_omni.profiling.rank_group import RankGroup
from ms_omni.profiling.roofline import device_bandwidth, thinker_reads
from ms_omni.profiling.task import Task
from ms_omni.scheduling.request import Progress
from ms_omni.speakers import FIRST_CHUNK_FRAMES, STREAM_CHUNK_FRAMES


@dataclass(frozen=True)
class About:
    """Fields of a Run, and besides: device, "CPU" or "Ascend"; versions, of the side's own packages. notes: for readers
    of the figures."""

    engine: str
    parallel: str
    cards: int
    group_size: int
    attn_implementation: str
    dtype: str
    load_s: float
    notes: tuple[str, ...] = ()
    quantize: str = "none"
    device: str = "CPU"
    versions: Mapping[str, str] = field(default_factory=dict)


class Side(Protocol):
    """A loaded model and a way to run it."""

    name: str
    about: About
    rank_group: RankGroup

    def answer(self, task: Task) -> Measured:
        """Measures the answers to all questions of the task, which are asked at once, until the last sample. Raises
        OmniError for a task that does not fit."""

    def predictor_share(self, task: Task, measured: Measured) -> float | None:
        """The code predictor's share of the Talker's decoding in a spoken answer; None if answers have a stage for
        it."""


class EngineSide:
    """An OmniEngine of this process. Speech is made in pieces as by OmniEngine.stream, so that the time to first audio
    is meaningful."""

    def __init__(
        self,
        name: str,
        config: EngineConfig,
        progress: Progress | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ):
        """Loads the model. Under msrun all ranks do so together."""
        self._set_up(name, OmniEngine(config, progress), clock)

    @classmethod
    def of(cls, name: str, engine: OmniEngine, clock: Callable[[], float] = time.perf_counter) -> EngineSide:
        """For an engine that is already loaded."""
        side = cls.__new__(cls)
        side._set_up(name, engine, clock)
        return side

    def _set_up(self, name: str, engine: OmniEngine, clock: Callable[[], float]) -> None:
        self.name, self.engine, self._clock = name, engine, clock
        self.rank_group = RankGroup.of(engine.world)
        self.rank_group.wait()  # processes of one machine share its bandwidth: measure it together
        self._bandwidth, note = device_bandwidth(engine)
        self._synchronize = _synchronizer(engine.device)
        self._counters, self._memory = Counters(), PeakMemory(engine.device)
        self.about = About(
            engine=_engine_name(engine),
            parallel=engine.parallel,
            cards=engine.world.world_size,
            group_size=engine.world.group_size,
            attn_implementation=engine.attn_implementation,
            dtype=engine.dtype,
            load_s=engine.load_s,
            notes=(note, *_device_notes(engine)),
            quantize=engine.quantize,
            device=engine.device,
        )

    def answer(self, task: Task) -> Measured:
        """As Side."""
        self._memory.start()
        with self._counters.counting():
            clock = StageClock(self._clock, self._synchronize, self._counters.read)
            outputs = clock.watch(lambda: self._ask(task))
            wall_s = clock.stop()
        host_bytes, device_bytes = self._memory.stop()
        counts = resolved(clock.counts)
        counts[OTHER] = counts.pop(WALL, {})
        usage, audio = asdict(outputs[0].usage), outputs[0].audio
        measured = Measured(
            wall_s=wall_s,
            stages_s={stage: seconds for stage, seconds in clock.own_s.items() if stage != WALL},
            marks=clock.marks,
            prompt={name: count for name, count in usage.items() if name != "completion_tokens"},
            spans=clock.spans,
            counts={stage: found for stage, found in counts.items() if found},
            waits=[_waits(output) for output in outputs] if len(outputs) > 1 else (),
            prompt_tokens=sum(output.usage.prompt_tokens for output in outputs),
            at_a_time=self.engine.max_num_seqs,
            num_code_groups=audio.codes.shape[0] if audio else 0,
            digest=joined_digest([_digest(output) for output in outputs]),
            peak_host_bytes=host_bytes,
            peak_device_bytes=device_bytes,
            bandwidth=self._bandwidth,
        )
        assert made(measured, TOKENS) == sum(len(output.token_ids) for output in outputs)
        rows = measured.rows(TOKENS, "thinker_decode") if len(outputs) > 1 else 1.0
        context = sum(map(_mean_context, outputs)) / len(outputs)
        return replace(measured, reads_bytes=thinker_reads(self.engine, context, round(rows or 1.0)))

    def _ask(self, task: Task) -> list[OmniOutput]:
        """Asks all questions at once; the answers in their order."""
        handles = [
            self.engine.submit(
                question.conversation,
                **question.options,
                first_chunk_frames=FIRST_CHUNK_FRAMES,
                chunk_frames=STREAM_CHUNK_FRAMES,
            )
            for question in task.questions
        ]
        try:
            return [handle.result() for handle in handles]
        finally:
            for handle in handles:
                handle.cancel()

    def predictor_share(self, task: Task, measured: Measured) -> float | None:
        """As Side: mindone's code predictor is a stage of its own, the fused one is part of the Talker's graph."""
        if self.about.engine != "fused" or not self.engine.has_talker:
            return None
        from ms_omni.runtime.talker_sampling import TalkerSampling

        sampling = TalkerSampling.of(task.sampling.resolved(self.engine.generation_config))
        num_rows = min(measured.answers, measured.at_a_time)
        # About as many as in the middle of the answer: the Talker's prompt is nearly as long as the Thinker's
        num_tokens = measured.prompt["prompt_tokens"] + made(measured, FRAMES) // measured.answers // 2
        talker = self.engine.executor.talker
        return predictor_share(talker, sampling, num_rows, num_tokens, self._synchronize, self._clock)


def _engine_name(engine: OmniEngine) -> str:
    from ms_omni.runtime.mindone_executor import MindoneExecutor

    return "mindone" if isinstance(engine.executor, MindoneExecutor) else "fused"


def _synchronizer(device: str) -> Callable[[], object]:
    """Waits for the device. On a CPU operators are synchronous (kernels.device), and graphs end when their result is
    read."""
    if device == "CPU":
        return lambda: None
    import mindspore as ms

    return ms.runtime.synchronize


def _device_notes(engine: OmniEngine) -> tuple[str, ...]:
    if engine.device != "CPU":
        return ()
    return ("host synchronisations: those of operators that MindSpore's CPU build lacks and numpy fills in count too",)


def _waits(output: OmniOutput) -> Waits:
    stats = output.stats
    return Waits(stats["queue_s"], stats["first_token_s"], stats.get("first_audio_s"))


def _mean_context(output: OmniOutput) -> float:
    return output.usage.prompt_tokens + output.usage.completion_tokens / 2


def _digest(output: OmniOutput) -> str:
    return answer_digest(output.token_ids, None if output.audio is None else output.audio.codes)
