"""A process that runs every step of its group's leader."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from itertools import count
from queue import SimpleQueue
from typing import Any

from ms_omni.parallel.message_links import MessageLink
from ms_omni.scheduling.loop import CLOSED, has_stopped, name_of, take_step
from ms_omni.scheduling.messages import Check, Closed, Failed, NewRequest, Released, Report, StepCall
from ms_omni.scheduling.request import SIGNAL_CHECK_S, EngineStopped, Request, RequestCancelled, RequestHandle
from ms_omni.scheduling.sequence import Stage
from ms_omni.scheduling.shared import STUCK_S
from ms_omni.scheduling.state import RequestState
from ms_omni.scheduling.steps import Executor, ExecutorLost

logger = logging.getLogger(__name__)


class FollowerState(RequestState):
    """A follower's copy of one of its leader's requests."""

    @property
    def is_cancelled(self) -> bool:
        """False: the leader decides, since the other ranks would wait for a step that one leaves out."""
        return False

    def fail(self, error: BaseException) -> None:
        """Nothing: the leader tells which requests have failed."""


class Follower:
    """Runs the leader's steps until it closes its engine. Takes the place of the leader's EngineLoop.

    When all processes run the same program, the n-th request submitted here is the n-th of the leader: its inputs are
    not prepared again, and its handle gets the same answer. A process that submits nothing calls `follow`."""

    def __init__(
        self,
        executor: Executor,
        link: MessageLink,
        decode: Callable[[list[int]], str],
        clock: Callable[[], float] = time.perf_counter,
    ):
        """link: to the leader. decode: Thinker ids to text."""
        self._executor, self._link, self._decode, self._clock = executor, link, decode, clock
        self._states: dict[int, FollowerState] = {}
        self._last = Report(0, None)
        self._messages: SimpleQueue[Any] = SimpleQueue()
        # Guards all below
        self._lock = threading.Lock()
        self._numbers = count()
        self._num_submitted = 0
        self._only_follows = False
        # By number: handles of requests that have not ended, or that may still be submitted here
        self._handles: dict[int, RequestHandle] = {}
        self._stopped, self._is_lost = "", False
        self._threads = [
            threading.Thread(target=target, name="ms-omni-follower", daemon=True)
            for target in (self._receive, self._work)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def free_blocks(self) -> dict[Stage, int]:
        """Empty: only the leader allocates blocks."""
        return {}

    @property
    def num_running(self) -> int:
        """0: only the leader counts."""
        return 0

    @property
    def stopped(self) -> str:
        """Why no more answers can come; empty while they can."""
        return self._stopped

    def submit(self, request: Request) -> RequestHandle:
        """The handle of the leader's next request. Raises EngineStopped if the engine has stopped."""
        with self._lock:
            number = next(self._numbers)
            self._num_submitted = number + 1
            handle = self._handles.setdefault(number, RequestHandle())
            handle.progress = request.progress
            if handle.done:
                del self._handles[number]
            elif self._stopped:
                raise EngineStopped(self._stopped)
        return handle

    def follow(self) -> None:
        """Returns when the leader has closed its engine. Raises EngineStopped when another process has failed."""
        with self._lock:
            self._only_follows = True
            self._handles = {number: handle for number, handle in self._handles.items() if not handle.done}
        while self._threads[1].is_alive() and not self._is_lost:
            self._threads[1].join(SIGNAL_CHECK_S)
        if self._is_lost:
            raise EngineStopped(self._stopped)

    def close(self) -> None:
        """Stops the whole group, since the leader cannot go on alone. Returns when the running step has ended."""
        self._link.send(Closed())
        while self._threads[1].is_alive() and not self._is_lost:
            self._threads[1].join(SIGNAL_CHECK_S)
        self._threads[1].join(STUCK_S)

    # On a thread that only receives, so that a closed engine or a failure is noticed during a step

    def _receive(self) -> None:
        message: Any = None
        while not isinstance(message, Closed):
            try:
                message = self._link.receive()
            except EOFError:
                message = Closed(f"rank {self._link.rank} has ended")
            except BaseException as error:
                message = Closed(f"rank {self._link.rank} is not understood: {name_of(error)}")
            if isinstance(message, Failed):
                self._handle(message.number).fail(message.error)
                self._forget(message.number)
                continue
            if isinstance(message, Closed) and message.reason:
                self._lose(ExecutorLost(message.reason))
            self._messages.put(message)

    # On the thread that owns the device

    def _work(self) -> None:
        try:
            while not isinstance(message := self._messages.get(), Closed):
                self._do(message)
                del message  # do not keep it while waiting for the next
            self._stop(CLOSED)
        except BaseException as error:
            logger.error("the engine has stopped", exc_info=error)
            self._lose(error)
            self._link.send(Closed(name_of(error)))
        finally:
            for state in self._states.values():
                self._executor.release(state)
            self._states.clear()
            self._link.close()

    def _do(self, message: Any) -> None:
        if isinstance(message, StepCall):
            self._take_step(message)
        elif isinstance(message, Released):
            self._release(message.number)
        elif isinstance(message, Check):
            self._link.send(self._last)
        else:
            raise TypeError(f"unknown message {message!r}")

    def _take_step(self, call: StepCall) -> None:
        if call.new_request is not None:
            (number,) = call.numbers
            self._free_finished()
            self._states[number] = self._new_state(number, call.new_request)
        states = tuple(self._states[number] for number in call.numbers)
        error = take_step(call.kind(states, *call.arguments), self._executor, self._clock)
        self._last = Report(call.count, None if error is None else name_of(error))
        if error is not None:
            self._link.send(self._last)

    def _new_state(self, number: int, new: NewRequest) -> FollowerState:
        handle = self._handle(number)
        state = FollowerState(
            new.request,
            new.prepared,
            lambda: handle,
            self._decode,
            self._clock,
            arrival=number,
            submitted=self._clock() - sum(new.waited.values()),
            prepare_s=new.waited.get("prepare_s", 0.0),
        )
        state.owner = new.owner
        state.note_admitted()
        for sequence in state.sequences:
            sequence.blocks = list(new.blocks[sequence.stage])
        return state

    def _free_finished(self) -> None:
        """Finished sequences lose their blocks, which the scheduler gives to a new request."""
        for state in self._states.values():
            for sequence in state.sequences:
                if sequence.finish_reason:
                    sequence.blocks = []

    def _release(self, number: int) -> None:
        if state := self._states.pop(number, None):
            self._executor.release(state)
        self._handle(number).fail(RequestCancelled("the request was dropped on its leader"))
        self._forget(number)

    def _handle(self, number: int) -> RequestHandle:
        with self._lock:
            return self._handles.setdefault(number, RequestHandle())

    def _forget(self, number: int) -> None:
        """Drops a handle that was given out already, or will never be asked for."""
        with self._lock:
            if self._only_follows or number < self._num_submitted:
                self._handles.pop(number, None)

    def _lose(self, error: BaseException) -> None:
        self._stop(has_stopped(error))
        self._is_lost = True

    def _stop(self, reason: str) -> None:
        with self._lock:
            self._stopped = self._stopped or reason
            handles = list(self._handles.values())
        for handle in handles:
            handle.fail(EngineStopped(reason))
