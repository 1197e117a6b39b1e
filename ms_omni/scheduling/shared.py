"""Several processes with one model: the leader's engine loop, whose followers do every step with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any

from typing_extensions import override

from ms_omni.parallel.message_links import MessageLink, send_to_all
from ms_omni.scheduling.loop import CLOSED, EngineLoop, has_stopped, name_of
from ms_omni.scheduling.messages import Check, Closed, Failed, NewRequest, Released, Report, StepCall, sendable
from ms_omni.scheduling.request import Request, RequestHandle
from ms_omni.scheduling.sequence import Stage
from ms_omni.scheduling.state import RequestState
from ms_omni.scheduling.steps import (
    DecodeTalker,
    DecodeThinker,
    Executor,
    ExecutorLost,
    Prefill,
    Span,
    Start,
    Step,
    Vocode,
)

# How long a process whose call has failed waits for the same from the others. One that waits for it in a collective
# does not fail.
SETTLE_S = 30.0
# How long `close` waits for a call, or for a follower, once the group is lost
STUCK_S = 10.0


class SharedExecutor(Executor):
    """An executor whose every call is done by all processes of a group: first sent to the followers, then done here, so
    that their collectives come in one order. Nobody waits for an answer.

    A call that fails with one error everywhere fails its requests, as in one process. When a process has ended, or a
    call has failed on some only, the group is lost: what they had still to compute together nobody will."""

    def __init__(self, executor: Executor, links: Sequence[MessageLink]):
        """links: to every other process of the group."""
        self.limits = executor.limits
        self._executor, self._links = executor, links
        self._started: set[int] = set()  # numbers of requests that the followers have
        # Guards all below, and is notified of their changes
        self._changed = threading.Condition()
        self._num_calls = 0
        self._num_ended = 0
        self._failed: set[int] = set()
        self._reports: dict[int, Report] = {}  # the last of each rank
        self._lost, self._lost_at = "", 0.0
        self._on_lost: Callable[[str], object] = lambda reason: None
        self._threads = [
            threading.Thread(target=self._listen, args=(link,), name="ms-omni-group", daemon=True) for link in links
        ]
        for thread in self._threads:
            thread.start()

    @property
    def is_stuck(self) -> bool:
        """Whether the group is lost so long that a call which is under way need not be waited for."""
        return bool(self._lost) and time.monotonic() > self._lost_at + STUCK_S

    def watch(self, on_lost: Callable[[str], object]) -> None:
        """Calls `on_lost` with the reason when the group is lost, while a call may wait for processes that are gone."""
        with self._changed:
            self._on_lost, lost = on_lost, self._lost
        if lost:
            on_lost(lost)

    @override
    def start(self, states: Sequence[RequestState], stage: Stage) -> None:
        first = states[0]
        new_request = None if first.arrival in self._started else NewRequest.of(first)
        self._started.add(first.arrival)
        self._share(Start(tuple(states), stage), new_request)

    @override
    def prefill(self, states: Sequence[RequestState], stage: Stage, spans: Sequence[Span]) -> None:
        self._share(Prefill(tuple(states), stage, tuple(spans)))

    @override
    def decode_thinker(self, states: Sequence[RequestState], num_steps: int) -> None:
        self._share(DecodeThinker(tuple(states), num_steps))

    @override
    def decode_talker(self, states: Sequence[RequestState]) -> None:
        self._share(DecodeTalker(tuple(states)))

    @override
    def vocode(self, states: Sequence[RequestState], counts: Sequence[int]) -> None:
        self._share(Vocode(tuple(states), tuple(counts)))

    @override
    def release(self, state: RequestState) -> None:
        self._started.discard(state.arrival)
        self.pass_over(state.arrival)
        self._executor.release(state)

    def pass_over(self, number: int) -> None:
        """The request with this number gets no more calls."""
        send_to_all(self._links, Released(number))

    def tell(self, number: int, handle: RequestHandle) -> None:
        """That the request with this number has ended. Of an answer the followers know by themselves."""
        if handle.error is not None:
            send_to_all(self._links, Failed(number, sendable(handle.error)))

    def close(self) -> None:
        """Lets the followers go when they have done all that was sent."""
        self._end(CLOSED, Closed())
        deadline = time.monotonic() + STUCK_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for link in self._links:
            link.close()

    def _share(self, step: Step, new_request: NewRequest | None = None) -> None:
        """Runs a step here and on the followers. new_request: the step's request, where they do not have it yet."""
        with self._changed:
            if self._lost:
                raise ExecutorLost(self._lost)
            self._num_calls += 1
            send_to_all(self._links, StepCall.of(step, self._num_calls, new_request))
        try:
            step.run(self._executor)
        except BaseException as error:
            self._settle(error)
            raise
        finally:
            with self._changed:
                self._num_ended = self._num_calls
                self._changed.notify_all()

    def _settle(self, error: BaseException) -> None:
        """Whether all have failed alike in the last call. Raises ExecutorLost if not."""
        here = Report(self._num_calls, name_of(error))
        with self._changed:
            self._failed.add(here.count)
            self._changed.notify_all()
            send_to_all(self._links, Check())
            is_known = self._changed.wait_for(lambda: self._lost or self._have_reported(here.count), SETTLE_S)
            agree = not self._lost and all(report == here for report in self._reports.values())
        if not (is_known and agree) or isinstance(error, ExecutorLost):
            self._lose(f"rank {self._rank} failed: {here.error}")
            raise ExecutorLost(self._lost) from error

    def _have_reported(self, count: int) -> bool:
        return all(link.rank in self._reports and self._reports[link.rank].count == count for link in self._links)

    @property
    def _rank(self) -> int:
        """Of this process in the world: the leader has the first of its group."""
        return self._links[0].rank - 1

    def _lose(self, reason: str) -> None:
        if self._end(reason, Closed(reason)):
            self._on_lost(reason)

    def _end(self, reason: str, message: Closed) -> bool:
        """No more calls. False where that was so before."""
        with self._changed:
            if self._lost:
                return False
            self._lost, self._lost_at = reason, time.monotonic()
            self._changed.notify_all()
            send_to_all(self._links, message)
        return True

    # On a thread for each link

    def _listen(self, link: MessageLink) -> None:
        try:
            while True:
                message = link.receive()
                if isinstance(message, Report):
                    self._take(link.rank, message)
                elif message.reason:
                    self._lose(f"rank {link.rank} failed: {message.reason}")
                else:  # what was sent is done by all, the next call will say why it cannot
                    self._end(f"rank {link.rank} has closed its engine", Closed())
        except EOFError:
            self._lose(f"rank {link.rank} has ended")
        except BaseException as error:
            self._lose(f"rank {link.rank} is not understood: {name_of(error)}")

    def _take(self, rank: int, report: Report) -> None:
        """A failure that does not come here as well, before or after it, loses the group."""
        with self._changed:
            self._reports[rank] = report
            self._changed.notify_all()
            if report.error is None:
                return
            self._changed.wait_for(
                lambda: self._lost or report.count in self._failed or self._num_ended >= report.count, SETTLE_S
            )
            fails_here = report.count in self._failed
        if not fails_here:
            self._lose(f"rank {rank} failed: {report.error}")


class LeaderLoop(EngineLoop):
    """The engine loop of a group's leader. Followers answer the same requests, in the order of their submission, and
    are told of those that end without an answer."""

    def __init__(self, executor: SharedExecutor, decode: Callable[[list[int]], str], **settings: Any):
        """settings: of EngineLoop."""
        self._shared, self._submitting, self._counter = executor, threading.Lock(), count()
        super().__init__(executor, decode, **settings)
        executor.watch(lambda reason: self.stop(has_stopped(ExecutorLost(reason))))

    @override
    def submit(self, request: Request) -> RequestHandle:
        with self._submitting:
            handle = super().submit(request)
            number = next(self._counter)
        handle.add_done_callback(partial(self._shared.tell, number))
        return handle

    @override
    def close(self) -> None:
        super().close()
        self._shared.close()

    def _pass_over(self, number: int) -> None:
        self._shared.pass_over(number)

    def _join(self, thread: threading.Thread) -> None:
        while thread.is_alive() and not self._shared.is_stuck:
            thread.join(0.1)
