"""Several processes with one model: the leader's engine loop, whose steps all followers run too."""

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

# How long the leader waits after a failed step for the same failure of the others. A process that waits in a collective
# does not fail.
SETTLE_S = 30.0
# How long `close` waits for a step, or for a follower, once the group is lost
STUCK_S = 10.0


class SharedExecutor(Executor):
    """An executor whose steps are run by all processes of a group. Each step is sent to the followers and then run
    here, so that all processes call their collectives in the same order. The leader does not wait for replies.

    A step that fails with the same error everywhere fails its requests, as in one process. When a process has ended, or
    a step has failed on some processes only, the group is lost: their collectives no longer match."""

    def __init__(self, executor: Executor, links: Sequence[MessageLink]):
        """links: to every other process of the group."""
        self.limits = executor.limits
        self._executor, self._links = executor, links
        self._started: set[int] = set()  # numbers of the requests that the followers know
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
        """Whether the group was lost so long ago that the running step will not end any more."""
        return bool(self._lost) and time.monotonic() > self._lost_at + STUCK_S

    def watch(self, on_lost: Callable[[str], object]) -> None:
        """Calls `on_lost` with the reason when the group is lost, even during a step."""
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
        self.skip(state.arrival)
        self._executor.release(state)

    def skip(self, number: int) -> None:
        """Tells the followers that this request gets no more steps."""
        send_to_all(self._links, Released(number))

    def send_error(self, number: int, handle: RequestHandle) -> None:
        """Tells the followers that a request has failed. Finished answers they know by themselves."""
        if handle.error is not None:
            send_to_all(self._links, Failed(number, sendable(handle.error)))

    def close(self) -> None:
        """Ends the followers after all steps that were sent."""
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
            self._check_all_failed(error)
            raise
        finally:
            with self._changed:
                self._num_ended = self._num_calls
                self._changed.notify_all()

    def _check_all_failed(self, error: BaseException) -> None:
        """Checks that all processes failed alike in the last step. Raises ExecutorLost if not."""
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
        """This process's rank in the world: the leader is the first of its group."""
        return self._links[0].rank - 1

    def _lose(self, reason: str) -> None:
        if self._end(reason, Closed(reason)):
            self._on_lost(reason)

    def _end(self, reason: str, message: Closed) -> bool:
        """Allows no more steps. Returns False if that was so already."""
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
                else:  # steps that were sent are still run; the next one fails with this reason
                    self._end(f"rank {link.rank} has closed its engine", Closed())
        except EOFError:
            self._lose(f"rank {link.rank} has ended")
        except BaseException as error:
            self._lose(f"rank {link.rank} is not understood: {name_of(error)}")

    def _take(self, rank: int, report: Report) -> None:
        """Stores a follower's report. If it tells of an error that does not occur here too, the group is lost."""
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
    """The engine loop of a group's leader. Followers compute the same requests, numbered in the order of submission,
    and are told which of them failed."""

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
        handle.add_done_callback(partial(self._shared.send_error, number))
        return handle

    @override
    def close(self) -> None:
        super().close()
        self._shared.close()

    def _skip(self, number: int) -> None:
        self._shared.skip(number)

    def _join(self, thread: threading.Thread) -> None:
        while thread.is_alive() and not self._shared.is_stuck:
            thread.join(0.1)
