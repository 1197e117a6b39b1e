"""The page's client: states, answers as they come, errors in words, and requests that end when nobody waits."""

import asyncio

import pytest
from stand_in import TONE, end_event, speech_event, text_event

from ms_omni.demo.client import Client, Delta, ServerError
from ms_omni.demo.running import Running

BODY = b'{"messages": []}'


def state_of(server):
    return asyncio.run(Client(server.url).state())


def answer_of(server, api_key=None):
    async def ask():
        return [delta async for delta in Client(server.url + "/v1/", api_key).ask(BODY)]

    return asyncio.run(ask())


def refusal_of(server):
    with pytest.raises(ServerError) as caught:
        answer_of(server)
    return str(caught.value)


def test_the_state_of_a_server(server):
    state = state_of(server)
    assert (state.problem, state.model, state.voices, state.captions) == ("", "stand-in", ("Ethan", "Chelsie"), False)
    server.voices = []
    assert state_of(server).voices == ()
    server.voices = None  # OpenAI's protocol has no such list
    assert state_of(server).voices is None
    server.voices = [{"name": "Ryan"}]
    assert state_of(server).voices == ("Ryan",)
    server.model = "/data/Qwen3-Omni-30B-A3B-Captioner"
    assert state_of(server).captions
    server.health = 503
    assert "loaded" in state_of(server).problem


def test_a_server_that_is_not_there():
    state = asyncio.run(Client("http://127.0.0.1:9").state())
    assert state.problem == "No server answers at http://127.0.0.1:9."


def test_pieces_of_an_answer(server):
    deltas = answer_of(server, api_key="secret")
    whole = sum(deltas[1:], start=deltas[0])
    assert len(deltas) == 4 and whole == Delta(text="I see a circle.", pcm=TONE, finish="stop")
    assert server.keys == ["Bearer secret"]


def test_reasoning_and_chunks_without_a_choice(server):
    server.events = [
        {"choices": [{"delta": {"role": "assistant", "content": None, "reasoning_content": "Hm."}}]},
        {"choices": [], "usage": {"total_tokens": 3}},
        end_event("length"),
    ]
    deltas = answer_of(server)
    assert [delta.reasoning for delta in deltas] == ["Hm.", "", ""] and deltas[-1].finish == "length"


def test_refusals_in_words(server):
    error = {"error": {"message": "messages: message 0: no such file", "type": "invalid_request_error"}}
    server.refusal = 400, error
    assert refusal_of(server) == "The server cannot answer this: messages: message 0: no such file."
    server.refusal = 429, {"error": {"message": "full"}}, {"retry-after": "7"}
    assert "busy" in (words := refusal_of(server)) and "in 7 s" in words
    server.refusal = 401, {"error": {"message": "no key"}}
    assert "--api-key" in refusal_of(server)
    server.refusal = 413, {"error": {"message": "larger"}}
    assert "too large" in refusal_of(server)
    server.refusal = 502, {}
    assert "HTTP status 502" in refusal_of(server)


def test_errors_and_ends_within_an_answer(server):
    server.events = [text_event("I"), {"error": {"message": "internal error"}}]
    assert refusal_of(server) == "The answer broke off: internal error."
    server.events, server.ends = [text_event("I")], False
    assert "before the end" in refusal_of(server)


def test_a_stopped_answer_ends_and_its_request_is_cancelled(server):
    server.events = [text_event("I see "), speech_event(TONE), 120.0, text_event("too late")]

    async def ask():
        running, got = Running(), []
        async for delta in running.answer("tab", Client(server.url).ask(BODY)):
            got.append(delta)
            if delta.pcm:
                running.stop("another tab")
                running.stop("tab")
        return got

    got = asyncio.run(ask())
    assert sum(got[1:], start=got[0]) == Delta(text="I see ", pcm=TONE)
    assert server.gone.wait(60)


def test_an_answer_that_nobody_reads_on_is_cancelled(server):
    server.events = [text_event("I see "), 120.0]

    async def ask():
        deltas = Running().answer("tab", Client(server.url).ask(BODY))
        await anext(deltas)
        await deltas.aclose()
        return await asyncio.to_thread(server.gone.wait, 60)

    assert asyncio.run(ask())


def test_errors_come_through(server):
    server.refusal = 400, {"error": {"message": "no"}}

    async def ask():
        return [delta async for delta in Running().answer("tab", Client(server.url).ask(BODY))]

    with pytest.raises(ServerError, match="no"):
        asyncio.run(ask())
