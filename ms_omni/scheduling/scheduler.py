"""Decides which step runs next, and for which requests."""

from __future__ import annotations

from bisect import insort
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from ms_omni.errors import OmniError
from ms_omni.scheduling.blocks import BlockAllocator
from ms_omni.scheduling.sequence import Sequence, Stage
from ms_omni.scheduling.state import RequestState
from ms_omni.scheduling.steps import DecodeTalker, DecodeThinker, Limits, Prefill, Start, Step, Vocode

GIB = 1 << 30


class Scheduler:
    """First come, first served: a request waits until the caches of one owner have room for its prompts and its longest
    answer, and is never preempted. A round makes one frame and one token for every request that can make one, and
    prefills at most one chunk of prompt tokens."""

    def __init__(self, limits: Limits):
        """Raises OmniError for more requests than there are blocks."""
        for stage, num_blocks in limits.num_blocks.items():
            pool = limits.pools[stage]
            if limits.max_num_seqs > num_blocks:
                raise OmniError(
                    f"--max-num-seqs {limits.max_num_seqs}: the {stage.title()}'s cache has "
                    f"{_size(num_blocks * pool.block_bytes)}, enough for {num_blocks} of the "
                    "shortest conversations; expected at most that"
                )
        self._limits = limits
        self._allocators: list[dict[Stage, BlockAllocator]] = [  # of each owner
            {stage: BlockAllocator(pool.num_blocks, pool.block_size) for stage, pool in limits.pools.items()}
            for _ in range(limits.num_owners)
        ]
        self._waiting: list[RequestState] = []
        self._running: list[RequestState] = []
        self._round: deque[Callable[[], Step | None]] = deque()  # what is left of the round

    @property
    def states(self) -> list[RequestState]:
        """All requests that were added and not removed: first the running, then the waiting ones."""
        return [*self._running, *self._waiting]

    @property
    def num_running(self) -> int:
        """Requests that have blocks of the caches."""
        return len(self._running)

    @property
    def num_waiting(self) -> int:
        """Requests that wait for free blocks."""
        return len(self._waiting)

    @property
    def free_blocks(self) -> dict[Stage, int]:
        """Free blocks of each decoder's caches, summed over all owners."""
        return {stage: sum(owner[stage].num_free for owner in self._allocators) for stage in self._limits.pools}

    def add(self, state: RequestState) -> None:
        """Queues a prepared request by its order of arrival. Raises OmniError for one that would not fit an owner's
        caches even alone."""
        for sequence in state.sequences:
            pool = self._limits.pools[sequence.stage]
            needed = self._allocators[0][sequence.stage].num_needed(self._num_rows(sequence))
            if needed > pool.num_blocks - 1:
                raise OmniError(
                    f"--{sequence.stage}-max-new-tokens {sequence.max_new_tokens}: with a prompt of "
                    f"{sequence.num_prompt} tokens the {sequence.stage.title()}'s keys and values need "
                    f"{_size(needed * pool.block_bytes)}, all of its cache has "
                    f"{_size((pool.num_blocks - 1) * pool.block_bytes)}; lower it, or shorten the conversation"
                )
        insort(self._waiting, state, key=lambda waiting: waiting.arrival)

    def remove(self, state: RequestState) -> None:
        """Removes a finished, failed or cancelled request, and frees its blocks."""
        for states in (self._running, self._waiting):
            if state in states:
                states.remove(state)
        self._free(state, state.sequences)

    def next_step(self) -> Step | None:
        """The next step, which depends on the results of the steps before. None when no request is left."""
        if (step := self._next_of_round()) is None:
            self._begin_round()
            step = self._next_of_round()
        return step

    def _next_of_round(self) -> Step | None:
        while self._round:
            if step := self._round.popleft()():
                return step
        return None

    def _begin_round(self) -> None:
        """A request that runs alone makes several Thinker tokens in one call, after as many frames."""
        self._free_finished()
        self._admit()
        num_steps = self._limits.num_steps if len(self._running) == 1 else 1
        self._round.extend([self._decode_talker, self._vocode] * num_steps)
        self._round.append(partial(self._decode_thinker, num_steps))
        self._round.append(partial(self._read_prompts, self._limits.prefill_chunk))

    def _decode_talker(self) -> Step | None:
        states = tuple(state for state in self._running if state.can_make_frame)
        return DecodeTalker(states) if states else None

    def _vocode(self) -> Step | None:
        due = [(state, count) for state in self._running if (count := state.num_due)]
        return Vocode(*map(tuple, zip(*due, strict=True))) if due else None

    def _decode_thinker(self, num_steps: int) -> Step | None:
        states = tuple(state for state in self._running if state.thinker.is_decoding)
        return DecodeThinker(states, num_steps) if states else None

    def _read_prompts(self, num_tokens: int) -> None:
        """Queues starts and prefills for the first requests whose prompts are not computed, as long as their next spans
        fit into `num_tokens`; a start counts as many tokens as its span. The Thinker's go first: several requests that
        come together then speak together too. Where a prompt is split does not depend on other requests."""
        self._admit()  # those that came during the last step
        to_start: dict[Stage, list[RequestState]] = {"thinker": [], "talker": []}
        to_read: dict[Stage, list[RequestState]] = {"thinker": [], "talker": []}
        counted = {"thinker": 0, "talker": 0}
        for state in self._running:
            if (sequence := state.to_prefill) is None:
                continue
            (start, stop), stage = sequence.next_span(self._limits.prefill_chunk), sequence.stage
            left = num_tokens - sum(counted.values())
            if stop - start > left:
                break
            counted[stage] += stop - start
            if not sequence.is_started:
                to_start[stage].append(state)
                if 2 * (stop - start) > left:
                    break
                counted[stage] += stop - start
            to_read[stage].append(state)
        stage = "thinker" if counted["thinker"] else "talker"
        if counted[stage]:
            # Encode one conversation at a time, so that an unusable one fails alone
            groups = [to_start[stage]] if stage == "talker" else [[state] for state in to_start[stage]]
            self._round.extend(partial(self._start, group, stage) for group in groups)
            self._round.append(partial(self._prefill, to_read[stage], stage))
            self._round.append(partial(self._read_prompts, num_tokens - counted[stage]))

    def _start(self, states: list[RequestState], stage: Stage) -> Step | None:
        here = tuple(state for state in states if state in self._running)
        return Start(here, stage) if here else None

    def _prefill(self, states: list[RequestState], stage: Stage) -> Step | None:
        here = tuple(state for state in states if state in self._running)
        spans = tuple(state.sequence(stage).next_span(self._limits.prefill_chunk) for state in here)
        return Prefill(here, stage, spans) if here else None

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self._limits.max_num_seqs:
            rows = {sequence.stage: self._num_rows(sequence) for sequence in self._waiting[0].sequences}
            owner = self._owner_with_room(rows)
            if owner is None:
                return
            state = self._waiting.pop(0)
            state.owner = owner
            for sequence in state.sequences:
                sequence.blocks = self._allocators[owner][sequence.stage].allocate(rows[sequence.stage])
            state.note_admitted()
            self._running.append(state)

    def _owner_with_room(self, rows: Mapping[Stage, int]) -> int | None:
        """Of the owners with so many free rows, the first of those with the fewest requests; None if there is none."""
        running = Counter(state.owner for state in self._running)
        fitting = [
            owner
            for owner, allocators in enumerate(self._allocators)
            if all(allocators[stage].can_allocate(count) for stage, count in rows.items())
        ]
        return min(fitting, key=lambda owner: running[owner], default=None)

    def _num_rows(self, sequence: Sequence) -> int:
        """Most rows of the cache that it needs. The last token is not read, but a call of several steps may write rows
        beyond the end."""
        num_steps = self._limits.num_steps if sequence.stage == "thinker" else 1
        return sequence.num_prompt + sequence.max_new_tokens - 1 + num_steps - 1

    def _free_finished(self) -> None:
        """Frees the cache of a finished text, even while its speech goes on."""
        for state in self._running:
            self._free(state, [sequence for sequence in state.sequences if sequence.finish_reason])

    def _free(self, state: RequestState, sequences: Iterable[Sequence]) -> None:
        for sequence in sequences:
            self._allocators[state.owner][sequence.stage].free(sequence.blocks)
            sequence.blocks = []


def _size(num_bytes: int) -> str:
    return f"{num_bytes} bytes ({num_bytes / GIB:.1f} GiB)"
