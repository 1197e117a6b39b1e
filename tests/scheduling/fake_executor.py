"""An executor without a model: answers come from a request's own random numbers, the protocol is checked."""

import threading
from weakref import ref

import numpy as np

from ms_omni.config import TRANSFORMERS_DEFAULTS, SamplingParams
from ms_omni.scheduling.request import Prepared, Request, RequestHandle, Speech
from ms_omni.scheduling.state import RequestState
from ms_omni.scheduling.steps import Limits, Pool

GROUPS, CODEC_END, TEXT_END, PAD = 3, 999, 7, 8
VOCABULARY = 50


def limits(num_blocks=1000, max_num_seqs=4, prefill_chunk=10, num_steps=4, talker_blocks=None, num_owners=1):
    pools = {"thinker": Pool(num_blocks, 4, 100), "talker": Pool(talker_blocks or num_blocks, 4, 10)}
    return Limits(pools, max_num_seqs, prefill_chunk, num_steps, num_owners)


def request(prompt=12, new=6, frames=None, seed=0, stop_ids=(), prepare=None, chunks=(2, 3), talker_stop=True, **more):
    """Of so many prompt and new tokens; frames: the most of them, None for no speech."""
    sampling = SamplingParams(
        **{**TRANSFORMERS_DEFAULTS, "thinker_max_new_tokens": new, "talker_max_new_tokens": (frames or 1) + 1},
        seed=seed,
    )
    speech = None if frames is None else Speech(5, CODEC_END if talker_stop else -1, GROUPS, *chunks)
    prepared = Prepared({}, np.arange(prompt), prompt + 3, {"prompt_tokens": prompt})
    return Request(prepare or (lambda: prepared), sampling, tuple(stop_ids), speech=speech, **more)


def state_of(asked, arrival=0):
    """A state with its handle, as the loop makes it."""
    handle = RequestHandle()
    state = RequestState(asked, asked.prepare(), ref(handle), decode, lambda: 0.0, arrival=arrival)
    return state, handle


def decode(ids):
    return "".join(chr(ord("A") + token) for token in ids)


class FakeExecutor:
    """steps: what was done, (name, request's seeds, more). on_step: called with each of them, before it is done."""

    def __init__(self, at_most=None, on_step=lambda *step: None):
        self.limits, self.on_step = at_most or limits(), on_step
        self.steps, self.alive, self.released = [], {}, 0
        self._thread = None

    def start(self, states, stage):
        self._note(f"start {stage}", states)
        for state in states:
            self._start(state, stage)

    def _start(self, state, stage):
        assert not state.sequence(stage).is_started
        if stage == "thinker":
            state.device_state = {}
            self.alive[id(state)] = state
        else:
            assert state.thinker.num_read >= 1
        state.device_state[stage] = 0

    def prefill(self, states, stage, spans):
        self._note(f"prefill {stage}", states, *spans)
        assert sum(stop - start for start, stop in spans) <= self.limits.prefill_chunk
        for state, span in zip(states, spans, strict=True):
            self._prefill(state, stage, *span)

    def _prefill(self, state, stage, start, stop):
        sequence = state.sequence(stage)
        assert state.device_state[stage] == start < stop <= min(sequence.num_prompt, start + self.limits.prefill_chunk)
        state.device_state[stage] = stop
        if stop == sequence.num_prompt:
            if stage == "thinker":
                state.add_tokens(self._words(state, 1))
            else:
                state.add_codec_tokens([self._code(state, sequence.draw(1)[0])])

    def decode_thinker(self, states, num_steps):
        self._note("thinker", states, num_steps)
        for state in states:
            assert state.thinker.is_decoding and state.device_state["thinker"] == state.thinker.num_prompt
            self._check_room(state.thinker, num_steps)
            state.add_tokens(self._words(state, num_steps))

    def decode_talker(self, states):
        self._note("talker", states)
        for state in states:
            self._check_room(state.talker, 1)
            numbers = state.talker.draw(GROUPS)
            codes = np.concatenate([state.talker.token_ids[-1:], (numbers[1:] * 100).astype(int)])
            codes[-1] = state.text_of_frame(TEXT_END, PAD)
            state.add_frames(codes[:, None])
            state.add_codec_tokens([self._code(state, numbers[0])])

    def vocode(self, states, counts):
        self._note("code2wav", states, *counts)
        for state, count in zip(states, counts, strict=True):
            each = state.next_codes(count)
            before = state.device_state.get("voiced", 0)
            np.testing.assert_array_equal(each, np.stack(state.frames, 1)[:, before : before + each.shape[1]])
            state.device_state["voiced"] = before + each.shape[1]
            state.add_wave(np.repeat(each.sum(0), 2).astype(np.float32) / 1000, count)

    def release(self, state):
        self.released += 1
        self.alive.pop(id(state), None)

    def names(self):
        return [step[0] for step in self.steps]

    def _note(self, name, states, *more):
        self._thread = self._thread or threading.get_ident()
        assert self._thread == threading.get_ident(), "two threads use the device"
        for state in states:
            assert name == "start thinker" or id(state) in self.alive, "a request that was released"
        self._check_blocks()
        step = (name, tuple(state.seed for state in states), *more)
        self.steps.append(step)
        self.on_step(*step)

    def _check_blocks(self):
        for stage, pool in self.limits.pools.items():
            alive = self.alive.values()
            used = [(s.owner, b) for s in alive for q in s.sequences if q.stage == stage for b in q.blocks]
            assert len(used) == len(set(used)), "a block of two requests"
            owners, blocks = range(self.limits.num_owners), range(1, pool.num_blocks)
            assert all(owner in owners and block in blocks for owner, block in used), "a block of nobody"

    def _check_room(self, sequence, num_steps):
        rows = len(sequence.blocks) * self.limits.pools[sequence.stage].block_size
        assert sequence.position + num_steps <= rows, "written behind its blocks"

    def _words(self, state, count):
        return (state.thinker.draw(count) * VOCABULARY).astype(int).tolist()

    def _code(self, state, number):
        return CODEC_END if number < 0.02 else int(number * 100)
