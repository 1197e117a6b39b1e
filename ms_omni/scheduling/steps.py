"""The steps of the engine, and the interface of the executor that computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from ms_omni.scheduling.sequence import Stage
from ms_omni.scheduling.state import RequestState

# (start, stop) of prompt tokens
Span = tuple[int, int]


class ExecutorLost(Exception):
    """Raised by an executor that cannot go on: its device, or another process of its group, has failed."""


@dataclass(frozen=True)
class Pool:
    """One decoder's paged cache in one process. num_blocks: with block 0, for padding rows. block_bytes: keys and
    values of a block in all layers, on one device."""

    num_blocks: int
    block_size: int
    block_bytes: int


@dataclass(frozen=True)
class Limits:
    """How much an executor computes at once. max_num_seqs: requests. prefill_chunk: prompt tokens. num_steps: Thinker
    tokens of one call when a request runs alone. pools: of the Thinker and, if there is one, of the Talker. num_owners:
    processes that have such pools each; every request belongs to one of them."""

    pools: Mapping[Stage, Pool]
    max_num_seqs: int
    prefill_chunk: int
    num_steps: int
    num_owners: int = 1

    @property
    def num_blocks(self) -> dict[Stage, int]:
        """Blocks for requests in all owners' caches together."""
        return {stage: self.num_owners * (pool.num_blocks - 1) for stage, pool in self.pools.items()}


class Executor(Protocol):
    """A loaded model that computes steps; it has no queues. Called by one thread. It reports results to the states
    during a call or at its end, and may do more than was asked: an executor that answers in a single call reports the
    whole text in the Thinker's prefill and the whole speech in the Talker's."""

    limits: Limits

    def start(self, states: Sequence[RequestState], stage: Stage) -> None:
        """Comes before the prefill. Thinker: encodes and embeds `prepared`. Talker: builds its prompt. Sets the
        sequences' rope_delta."""

    def prefill(self, states: Sequence[RequestState], stage: Stage, spans: Sequence[Span]) -> None:
        """Computes one span of each request's prompt; with a prompt's last span, reports the first new token."""

    def decode_thinker(self, states: Sequence[RequestState], num_steps: int) -> None:
        """Reports `num_steps` tokens of each request. If a request ends earlier, its further tokens are dropped; the
        cache has room for them."""

    def decode_talker(self, states: Sequence[RequestState]) -> None:
        """Reports one frame of each request and the codec token that comes next."""

    def vocode(self, states: Sequence[RequestState], counts: Sequence[int]) -> None:
        """Reports the next piece of each wave, `counts` frames long, as soon as it is made."""

    def release(self, state: RequestState) -> None:
        """Releases a request, whether it has started or not. Its blocks may be reused from now on."""


@dataclass(frozen=True)
class Start:
    """Sequences get ready to be prefilled.

    Every step has `states`, the requests that it works for and that fail with it, and `stage`, whose time it takes."""

    states: tuple[RequestState, ...]
    stage: Stage

    def run(self, executor: Executor) -> None:
        """Computes it, and marks the sequences as started."""
        executor.start(self.states, self.stage)
        for state in self.states:
            state.sequence(self.stage).is_started = True


@dataclass(frozen=True)
class Prefill:
    """Tokens of several prompts, those of `spans`."""

    states: tuple[RequestState, ...]
    stage: Stage
    spans: tuple[Span, ...]

    def run(self, executor: Executor) -> None:
        """Computes it, and notes how far each prompt was read."""
        executor.prefill(self.states, self.stage, self.spans)
        for state, (_, stop) in zip(self.states, self.spans, strict=True):
            state.sequence(self.stage).num_computed = stop


@dataclass(frozen=True)
class DecodeThinker:
    """The next tokens of several requests."""

    states: tuple[RequestState, ...]
    num_steps: int
    stage: ClassVar[str] = "thinker"

    def run(self, executor: Executor) -> None:
        """Computes it; the executor reports the tokens to the states."""
        executor.decode_thinker(self.states, self.num_steps)


@dataclass(frozen=True)
class DecodeTalker:
    """The next frame of several requests."""

    states: tuple[RequestState, ...]
    stage: ClassVar[str] = "talker"

    def run(self, executor: Executor) -> None:
        """Computes it; the executor reports the frames to the states."""
        executor.decode_talker(self.states)


@dataclass(frozen=True)
class Vocode:
    """The next piece of several waves, of so many frames."""

    states: tuple[RequestState, ...]
    counts: tuple[int, ...]
    stage: ClassVar[str] = "code2wav"

    def run(self, executor: Executor) -> None:
        """Computes it; the executor reports the waves to the states."""
        executor.vocode(self.states, self.counts)


Step = Start | Prefill | DecodeThinker | DecodeTalker | Vocode
