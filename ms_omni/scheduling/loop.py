"""The engine loop: one thread owns the device, others prepare inputs for it."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TypeVar
from weakref import WeakSet, ref

from ms_omni.errors import OmniError
from ms_omni.scheduling.request import EngineStopped, Request, RequestCancelled, RequestHandle, StepFailed, handle_of
from ms_omni.scheduling.scheduler import Scheduler
from ms_omni.scheduling.sequence import Stage
from ms_omni.scheduling.state import RequestState
from ms_omni.scheduling.steps import Executor, ExecutorLost, Step

# Threads that prepare inputs
NUM_READERS = 2
CLOSED = "the engine was closed"

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class _Arrival:
    """A request before it is prepared. It refers to its handle weakly: dropping the handle cancels the request."""

    number: int
    request: Request
    find_handle: Callable[[], RequestHandle | None]
    submitted: float

    @property
    def handle(self) -> RequestHandle:
        return handle_of(self.find_handle)


class EngineLoop:
    """Answers requests with an executor until it is closed. All methods may be called from any thread.

    Inputs are prepared in the order of arrival, and only for as many waiting requests as can run together. A request
    whose preparation fails, or that can never fit, fails alone; an error in a step fails the requests of that step."""

    def __init__(
        self,
        executor: Executor,
        decode: Callable[[list[int]], str],
        clock: Callable[[], float] = time.perf_counter,
        num_readers: int = NUM_READERS,
    ):
        """decode: Thinker ids to text, called by the loop's thread. Raises OmniError for limits that do not fit."""
        self._executor, self._decode, self._clock = executor, decode, clock
        self._scheduler = Scheduler(executor.limits)
        self._max_ready = executor.limits.max_num_seqs
        # Guards all below, and is notified of their changes
        self._changed = threading.Condition()
        self._numbers = count()
        self._handles: WeakSet[RequestHandle] = WeakSet()
        self._arrivals: deque[_Arrival] = deque()
        self._prepared: list[RequestState] = []
        self._num_waiting = 0  # prepared, but not running
        self._stopped = ""  # the reason, once it has stopped
        targets = [self._run, *[self._read] * num_readers]
        self._threads = [threading.Thread(target=target, name="ms-omni-engine", daemon=True) for target in targets]
        for thread in self._threads:
            thread.start()

    @property
    def free_blocks(self) -> dict[Stage, int]:
        """Free blocks of each decoder's cache."""
        return self._scheduler.free_blocks

    @property
    def num_running(self) -> int:
        """Requests that have been admitted and not finished."""
        return self._scheduler.num_running

    @property
    def stopped(self) -> str:
        """Why no more answers can come; empty while they can."""
        return self._stopped

    def submit(self, request: Request) -> RequestHandle:
        """Returns at once. Raises EngineStopped after `close`, or when the executor cannot go on."""
        handle = RequestHandle(request.progress)
        with self._changed:
            if self._stopped:
                raise EngineStopped(self._stopped)
            self._handles.add(handle)
            self._arrivals.append(_Arrival(next(self._numbers), request, ref(handle), self._clock()))
            self._changed.notify_all()
        return handle

    def close(self) -> None:
        """Ends all requests with EngineStopped, and returns when the threads have finished their current work."""
        self.stop(CLOSED)
        for thread in self._threads:
            if thread is not threading.current_thread():
                self._join(thread)

    def _join(self, thread: threading.Thread) -> None:
        thread.join()

    def stop(self, reason: str) -> None:
        """Ends all requests with EngineStopped, without waiting for the threads."""
        with self._changed:
            self._stopped = self._stopped or reason
            self._arrivals.clear()
            handles = list(self._handles)
            self._changed.notify_all()
        for handle in handles:
            handle.fail(EngineStopped(reason))

    # On the readers' threads

    def _read(self) -> None:
        while (arrival := self._next_arrival()) is not None:
            self._prepare(arrival)
            del arrival  # not kept while the next one is awaited

    def _next_arrival(self) -> _Arrival | None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopped or (self._arrivals and self._num_waiting < self._max_ready),
            )
            return None if self._stopped else self._arrivals.popleft()

    def _prepare(self, arrival: _Arrival) -> None:
        if arrival.handle.done:
            self._skip(arrival.number)
            return
        start = self._clock()
        prepared, error = _attempt(arrival.request.prepare)
        if error is not None or prepared is None:
            arrival.handle.fail(error or TypeError("prepare() returned None"))
            return
        state = RequestState(
            arrival.request,
            prepared,
            arrival.find_handle,
            self._decode,
            self._clock,
            arrival=arrival.number,
            submitted=arrival.submitted,
            prepare_s=self._clock() - start,
        )
        with self._changed:
            self._prepared.append(state)
            self._num_waiting += 1
            self._changed.notify_all()

    def _skip(self, number: int) -> None:
        """Called for a request that was cancelled before it was prepared."""

    # On the loop's own thread

    def _run(self) -> None:
        try:
            while self._take_prepared():
                self._step()
            for state in self._scheduler.states:
                self._remove(state)
        except BaseException as error:
            logger.error("the engine has stopped", exc_info=error)
            self.stop(has_stopped(error))

    def _take_prepared(self) -> bool:
        """Waits for something to do. False when the engine has stopped."""
        with self._changed:
            if self._num_waiting != (left := self._scheduler.num_waiting + len(self._prepared)):
                self._num_waiting = left
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._stopped or self._prepared or self._scheduler.states)
            prepared, self._prepared = self._prepared, []
            if self._stopped:
                return False
        for state in prepared:
            try:
                self._scheduler.add(state)
            except OmniError as error:
                state.fail(error)
        return True

    def _step(self) -> None:
        for state in self._scheduler.states:
            if state.is_cancelled:
                self._remove(state)
        step = self._scheduler.next_step()
        if step is None:
            assert not self._scheduler.states, "requests are left, but nothing to do"
            return
        error = take_step(step, self._executor, self._clock)
        for state in step.states:
            if error is not None or state.is_finished:
                self._remove(state)

    def _remove(self, state: RequestState) -> None:
        self._executor.release(state)
        self._scheduler.remove(state)


def take_step(step: Step, executor: Executor, clock: Callable[[], float]) -> BaseException | None:
    """Runs a step, finishes those of its requests whose answers are complete, and fails all of them if the step fails.
    Returns the error. Raises ExecutorLost."""
    start = clock()
    _, error = _attempt(lambda: step.run(executor))
    if isinstance(error, ExecutorLost):
        raise error
    seconds = clock() - start
    for state in step.states:
        state.add_time(step.stage, seconds)
        if error is not None:
            state.fail(_failure(step, error))
        elif state.is_finished:
            state.finish()
    return error


def has_stopped(error: BaseException) -> str:
    """The message for all requests when an engine cannot go on."""
    return f"the engine has stopped ({name_of(error)}) and must be loaded again"


def name_of(error: BaseException) -> str:
    """Its type and message, for other messages."""
    return f"{type(error).__name__}: {error}"


class _Traceback(Exception):
    """The traceback of an error on another thread, as text."""


def _attempt(work: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """(result, error) of `work`. The traceback is kept as text, since its frames would keep arrays alive."""
    try:
        return work(), None
    except BaseException as error:  # any error must reach the waiting reader
        error.__cause__ = _Traceback("".join(traceback.format_exception(error)))
        error.__context__ = None
        return None, error.with_traceback(None)


def _failure(step: Step, error: BaseException) -> BaseException:
    """The error for one request of a failed step. Errors meant for the user are passed on unchanged."""
    if isinstance(error, (OmniError, RequestCancelled)):
        return error
    failure = StepFailed(f"internal error in a {step.stage} step: {name_of(error)}")
    failure.__cause__ = error
    return failure
