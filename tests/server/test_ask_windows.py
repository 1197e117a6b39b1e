"""Windows asked together: their order, how many at a time, and how they end."""

import asyncio

import numpy as np
import pytest

from ms_omni.inputs.windows import Span, Window
from ms_omni.outputs import OmniOutput, StreamEnd, TextDelta, Usage
from ms_omni.scheduling.request import RequestHandle
from ms_omni.server.ask_windows import ask_windows
from ms_omni.server.errors import ApiError
from ms_omni.server.service import ServerSettings, Service


def windows(count):
    return iter([Window(np.zeros(1, np.float32), Span(float(i), i + 1.0)) for i in range(count)])


class Engine:
    """Answers each window with its start, the earlier ones later, and counts those under way."""

    def __init__(self, fails=()):
        self.fails, self.running, self.most, self.started = fails, 0, 0, 0

    async def ask(self, window):
        self.running += 1
        self.started += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0.05 / (1 + window.span.start))
            if window.span.start in self.fails:
                raise ValueError(f"window {window.span.start:g}")
            yield TextDelta(f"{window.span.start:g}", ())
            await asyncio.sleep(0.01)
            yield TextDelta("!", ())
        finally:
            self.running -= 1


async def told(answers):
    return [(span.start, chunk.text) async for span, chunk in answers]


def test_in_order_and_several_at_a_time():
    async def run():
        engine, turns = Engine(), asyncio.Semaphore(3)
        assert await told(ask_windows(windows(8), engine.ask, turns)) == [
            (float(i), text) for i in range(8) for text in (str(i), "!")
        ]
        assert (engine.most, engine.running, turns._value) == (3, 0, 3)

    asyncio.run(run())


def test_recordings_share_the_turns():
    async def run():
        engine, turns = Engine(), asyncio.Semaphore(2)
        results = await asyncio.gather(*(told(ask_windows(windows(5), engine.ask, turns)) for _ in range(3)))
        assert engine.most == 2 and all(len(result) == 10 for result in results)

    asyncio.run(run())


def test_an_error_comes_in_its_place_and_ends_the_others():
    async def run():
        engine, turns, heard = Engine(fails=(2.0,)), asyncio.Semaphore(3), []
        with pytest.raises(ValueError, match="window 2"):
            async for span, _ in ask_windows(windows(50), engine.ask, turns):
                heard.append(span.start)
        assert heard == [0, 0, 1, 1] and engine.started < 20
        assert (engine.running, turns._value) == (0, 3)

    asyncio.run(run())


def test_an_error_of_the_recording_comes_behind_what_was_heard():
    def broken():
        yield from windows(2)
        raise ApiError(400, "corrupt")

    async def run():
        turns, heard = asyncio.Semaphore(3), []
        with pytest.raises(ApiError, match="corrupt"):
            async for span, _ in ask_windows(broken(), Engine().ask, turns):
                heard.append(span.start)
        assert heard == [0, 0, 1, 1] and turns._value == 3

    asyncio.run(run())


@pytest.mark.parametrize("after", [0.0, 0.02, 0.07])
def test_closing_cancels_all(after):
    async def run():
        engine, turns = Engine(), asyncio.Semaphore(3)
        task = asyncio.create_task(told(ask_windows(windows(1000), engine.ask, turns)))
        await asyncio.sleep(after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(100):
            if engine.running == 0 and turns._value == 3:
                break
            await asyncio.sleep(0.01)
        assert (engine.running, turns._value) == (0, 3)

    asyncio.run(run())


class Loaded:
    """What a Service sees of an engine; answers at once."""

    stopped, max_num_seqs = "", 1

    def submit(self, conversation, **options):
        handle = RequestHandle()
        handle.finish(OmniOutput("", (), "stop", Usage(0, 0)))
        return handle


def test_what_a_taken_request_asks_is_not_refused():
    """Neither while the server drains nor while its queue is full; new requests are."""

    async def run():
        service = Service(ServerSettings(("m",), max_queue=0))
        service.engine = Loaded()
        with service.admitted() as engine:
            assert service.num_asked == 1
            with pytest.raises(ApiError) as refused:
                await anext(service.ask([], {}, streams=False, num_bytes=0))
            assert refused.value.status == 429
            service.is_draining = True
            chunks = [chunk async for chunk in service.ask_within(engine, [], {}, streams=False)]
            assert isinstance(chunks[-1], StreamEnd) and service.num_asked == 1
        assert service.num_asked == 0
        with pytest.raises(ApiError) as refused:
            await anext(service.ask([], {}, streams=False, num_bytes=0))
        assert refused.value.status == 503

    asyncio.run(run())
