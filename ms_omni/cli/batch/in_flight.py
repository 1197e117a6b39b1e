"""The conversations of a batch that the engine is answering: a limited number at a time, answers as they come."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from threading import Semaphore
from typing import TYPE_CHECKING

from ms_omni.cli.batch.item import Answer, Item
from ms_omni.cli.batch.job import BatchJob
from ms_omni.cli.interrupt import raise_interrupt_again
from ms_omni.errors import OmniError
from ms_omni.options import WHOLE_WAVE, Options
from ms_omni.scheduling.request import EngineStopped, RequestHandle

if TYPE_CHECKING:
    from ms_omni.engine import OmniEngine

# Conversations beyond those that are answered at a time whose media are read meanwhile
NUM_AHEAD = 4
# How often a wait for answers looks whether an interrupt has come
INTERRUPT_CHECK_S = 0.5


class InFlight:
    """Conversations that were submitted and are not answered yet."""

    def __init__(self, job: BatchJob, engine: OmniEngine, debug: bool):
        self._job, self._engine, self._debug = job, engine, debug
        self._submitted: dict[RequestHandle, Item] = {}
        self._finished: SimpleQueue[RequestHandle] = SimpleQueue()
        self._slots = Semaphore(engine.max_num_seqs)

    def answer(self, items: list[Item]) -> Iterator[tuple[Item, Answer]]:
        """Yields each item with its answer as soon as there is one; its wave is written by then."""
        left = iter(items)
        limit = self._engine.max_num_seqs + NUM_AHEAD
        while True:
            while len(self._submitted) < limit and (item := next(left, None)) is not None:
                if (refusal := self._submit(item)) is not None:
                    yield item, refusal
            if not self._submitted:
                return
            handle = self._next()
            item = self._submitted.pop(handle)
            yield item, self._answer_of(item, handle)

    def cancel(self) -> None:
        """Nobody waits for the rest."""
        for handle in self._submitted:
            handle.cancel()

    def _submit(self, item: Item) -> Answer | None:
        """The answer of an item that is not even taken. The one place where conversations go to the engine."""
        options: Options = {**WHOLE_WAVE, **item.options}
        try:
            handle = item.submit(self._engine, options, self._slots)
        except EngineStopped:
            raise
        except OmniError as error:
            return self._failure(item, error)
        self._submitted[handle] = item
        handle.add_done_callback(self._finished.put)
        return None

    def _next(self) -> RequestHandle:
        while True:
            raise_interrupt_again()
            try:
                return self._finished.get(timeout=INTERRUPT_CHECK_S)
            except Empty:
                continue

    def _answer_of(self, item: Item, handle: RequestHandle) -> Answer:
        try:
            output = handle.result()
        except EngineStopped:  # no fault of the conversation, which the next run answers
            raise
        except Exception as error:
            return self._failure(item, error)
        try:
            return item.answer(output, self._engine, self._job.store.directory)
        except OmniError:  # a full disk, which the next one would meet too
            raise
        except Exception as error:
            return self._failure(item, error)

    def _failure(self, item: Item, error: Exception) -> Answer:
        if self._debug:
            traceback.print_exception(error)
        return item.failure(error)
