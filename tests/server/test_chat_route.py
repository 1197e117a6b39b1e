"""Chat completions over HTTP, with a stand-in for the engine."""

import base64
import io
import json
import socket
import threading
import time
from dataclasses import replace

import httpx
import numpy as np
import pytest
import soundfile
from serving import HELLO, StandIn, output, serving, until, web

from ms_omni.errors import OmniError
from ms_omni.outputs import AudioChunk, TextDelta
from ms_omni.scheduling.request import StepFailed
from ms_omni.server import connection
from ms_omni.server.chat import pcm16
from ms_omni.server.service import MAX_LARGEST_BODIES, SHORTEST_PACE_S

CALL = '<tool_call>\n{"name": "look", "arguments": {"at": 3}}\n</tool_call>'
TOOLS = [{"type": "function", "function": {"name": "look"}}]
SPEAK = {"modalities": ["text", "audio"]}


@pytest.fixture
def engine():
    return StandIn()


@pytest.fixture
def server(engine):
    with serving(engine, max_body_bytes=100_000, max_queue=1, timeout_s=30) as (url, service):
        yield url, service


@pytest.fixture
def ask(server):
    """ask(**body) -> response; raw: a body as it is."""
    with httpx.Client(base_url=server[0], timeout=60) as client:

        def send(raw=None, **body):
            if raw is not None:
                return client.post("/v1/chat/completions", content=raw, headers={"Content-Type": "application/json"})
            return client.post("/v1/chat/completions", json={"messages": HELLO, **body})

        yield send


@pytest.fixture
def stream(server):
    """stream(**body) -> the events, each as an object, without [DONE], which is checked."""

    def read(**body):
        with web.stream(
            "POST", f"{server[0]}/v1/chat/completions", json={"messages": HELLO, "stream": True, **body}
        ) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            lines = [line for line in response.iter_lines() if line]
        assert lines[-1] == "data: [DONE]" and all(line.startswith("data: ") for line in lines)
        return [json.loads(line[len("data: ") :]) for line in lines[:-1]]

    return read


def test_an_answer_is_one_choice(ask, engine):
    answer = ask(model="alias").json()
    (choice,) = answer["choices"]
    assert choice == {
        "index": 0, "finish_reason": "stop", "logprobs": None,
        "message": {"role": "assistant", "content": "Hi there.", "refusal": None},
    }  # fmt: skip
    assert answer["object"] == "chat.completion" and answer["id"].startswith("chatcmpl-") and answer["model"] == "alias"
    assert abs(answer["created"] - time.time()) < 60
    usage = answer["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (10, 3, 13)
    assert usage["prompt_tokens_details"]["image_tokens"] == 4 and usage["prompt_tokens_details"]["text_tokens"] == 6
    assert ask().json()["model"] == "stand-in"
    (_, conversation, options), _ = engine.asked
    assert conversation == HELLO and options["return_audio"] is False and options["chunk_frames"] == 300


@pytest.mark.parametrize("form", ["wav", "flac", "mp3", "opus", "pcm16"])
def test_speech_is_in_the_message(ask, form):
    answer = ask(**SPEAK, audio={"format": form}).json()
    message = answer["choices"][0]["message"]
    assert message["content"] == message["audio"]["transcript"] == "Hi there."
    assert message["audio"]["id"].startswith("audio_") and message["audio"]["expires_at"] > time.time() + 3000
    data, expected = base64.b64decode(message["audio"]["data"]), np.linspace(-1, 1, 3840, dtype=np.float32)
    if form == "pcm16":
        assert data == pcm16(expected)
    else:
        samples, rate = soundfile.read(io.BytesIO(data))
        assert rate == (24_000 if form != "opus" else rate) and soundfile.info(io.BytesIO(data)).channels == 1
        if form in ("wav", "flac"):
            np.testing.assert_allclose(samples, expected, atol=1 / 32000)
        assert len(samples) >= 3840
    assert answer["usage"]["completion_tokens"] == 5
    assert answer["usage"]["completion_tokens_details"] == {"text_tokens": 3, "audio_tokens": 2}


def test_speech_of_an_earlier_answer_is_named_by_its_id(ask, engine):
    audio = ask(**SPEAK).json()["choices"][0]["message"]["audio"]["id"]
    messages = [*HELLO, {"role": "assistant", "audio": {"id": audio}}, *HELLO]
    assert ask(messages=messages).status_code == 200
    assert engine.asked[-1][1][1] == {"role": "assistant", "content": "Hi there."}


def test_calls_of_tools(ask, engine):
    engine.text = CALL
    (choice,) = ask(tools=TOOLS, **SPEAK).json()["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None
    assert "audio" not in choice["message"]  # JSON is nothing to be heard
    assert call["function"] == {"name": "look", "arguments": '{"at": 3}'} and call["id"].startswith("call_")
    assert ask().json()["choices"][0]["message"]["content"] == CALL  # nobody offered tools


def test_reasoning_is_apart():
    with serving(StandIn(prompt="<|im_start|>assistant\n<think>\n")) as (url, service):
        service.engine.text = "It is 4.\n</think>\n\nFour."
        message = web.post(f"{url}/v1/chat/completions", json={"messages": HELLO}).json()["choices"][0]["message"]
        assert message["reasoning_content"] == "It is 4." and message["content"] == "Four."


def test_a_stream(stream):
    events = stream()
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in events) == "Hi there."
    assert [event["choices"][0]["finish_reason"] for event in events] == [None] * (len(events) - 1) + ["stop"]
    assert len({event["id"] for event in events}) == 1 and {event["object"] for event in events} == {
        "chat.completion.chunk"
    }
    assert not any("usage" in event or "audio" in event["choices"][0]["delta"] for event in events)


def test_a_spoken_stream(stream, engine):
    events = stream(**SPEAK, audio={"format": "pcm16"}, stream_options={"include_usage": True})
    assert events[-1]["choices"] == [] and events[-1]["usage"]["completion_tokens"] == 5
    deltas = [event["choices"][0]["delta"] for event in events[:-1]]
    audio = [delta["audio"] for delta in deltas if "audio" in delta]
    data = b"".join(base64.b64decode(part.get("data", "")) for part in audio)
    assert data == pcm16(np.linspace(-1, 1, 3840, dtype=np.float32))
    assert "".join(part.get("transcript", "") for part in audio) == "Hi there."
    assert len({part["id"] for part in audio}) == 1 and audio[-1]["expires_at"] > time.time()
    assert "chunk_frames" not in engine.asked[0][2]  # the engine's pieces of a stream


def test_a_stream_of_calls(stream, engine):
    engine.text = f"Well.\n{CALL}\n{CALL}"
    events = stream(tools=TOOLS, **SPEAK)
    calls = [c for event in events for c in event["choices"][0]["delta"].get("tool_calls", [])]
    assert [call["index"] for call in calls] == [0, 1] and {call["function"]["name"] for call in calls} == {"look"}
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in events) == "Well."
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_what_is_spoken_of_a_call_is_not_sent(server):
    """The Talker speaks the text as it comes: of a call it begins before that is whole."""
    engine = server[1].engine
    engine._answers = False
    speech = AudioChunk(np.ones(100, np.float32))

    def answer():
        handle = engine.wait()[0][0]
        pieces = [
            TextDelta("Well.", (1,)),
            speech,
            TextDelta(CALL[:20], (2,)),
            speech,
            TextDelta(CALL[20:], (3,)),
            speech,
        ]
        for piece in pieces:
            handle.put(piece)
        handle.finish(output(speaks=True))

    thread = threading.Thread(target=answer)
    thread.start()
    body = {"messages": HELLO, "stream": True, "tools": TOOLS, **SPEAK}
    text = web.post(f"{server[0]}/v1/chat/completions", json=body).text
    thread.join()
    events = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")]
    audio = [event["choices"][0]["delta"].get("audio", {}) for event in events]
    assert [base64.b64decode(part["data"]) for part in audio if "data" in part] == [pcm16(speech.samples)]


def test_text_comes_before_the_answer_is_complete(server):
    engine = server[1].engine
    engine._answers = False
    threading.Thread(target=lambda: engine.wait()[0][0].put(TextDelta("Hi", (1,)))).start()
    with web.stream("POST", f"{server[0]}/v1/chat/completions", json={"messages": HELLO, "stream": True}) as response:
        lines = response.iter_lines()
        assert any('"content":"Hi"' in line for line in iter(lambda: next(lines), None))
        assert not engine.asked[0][0].done
        engine.answer(engine.asked[0][0])
        assert "[DONE]" in "".join(lines)


def test_a_fast_model_makes_fewer_events_than_words(server):
    """500 words within a second; a client that gets each as an event would be sent 500, and not one every 5 ms."""
    engine = server[1].engine
    engine._answers = False
    engine.text = " ".join(map(str, range(500)))
    times = []

    def answer():
        handle = engine.wait()[0][0]
        times.append(time.monotonic())
        for number in range(500):
            handle.put(TextDelta(f" {number}" if number else "0", (number,)))
            if number % 100 == 50:
                handle.put(AudioChunk(np.ones(10, np.float32)))
            time.sleep(0.001)
        handle.finish(output(engine.text))
        times.append(time.monotonic())

    thread = threading.Thread(target=answer)
    thread.start()
    text = web.post(f"{server[0]}/v1/chat/completions", json={"messages": HELLO, "stream": True}).text
    thread.join()
    events = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")]
    words = [event["choices"][0]["delta"].get("content", "") for event in events]
    assert "".join(words) == engine.text
    # one for each pace, and those of the five pieces of speech, of the beginning and of the end
    assert 10 < len(events) < (times[1] - times[0]) / SHORTEST_PACE_S + 20


def test_errors_before_the_first_piece_have_their_status(server, ask):
    engine = server[1].engine
    engine._answers = False
    for error, status, words in [
        (OmniError("image x: no such file"), 400, "image x: no such file"),
        (StepFailed("out of memory at 0x7f"), 500, "internal error"),
    ]:
        for body in ({}, {"stream": True}):
            count = len(engine.asked)
            failing = threading.Thread(target=lambda: engine.wait(count + 1)[-1][0].fail(error))
            failing.start()
            answer = ask(**body)
            failing.join()
            assert answer.status_code == status and answer.json()["error"]["message"] == words


def test_an_error_within_a_stream_is_an_event(server):
    engine = server[1].engine
    engine._answers = False

    def fail():
        handle = engine.wait()[0][0]
        handle.put(TextDelta("Hi", (1,)))
        time.sleep(0.2)
        handle.fail(StepFailed("secret"))

    thread = threading.Thread(target=fail)
    thread.start()
    text = web.post(f"{server[0]}/v1/chat/completions", json={"messages": HELLO, "stream": True}).text
    thread.join()
    events = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")]
    assert events[-1] == {
        "error": {"message": "internal error", "type": "server_error", "param": None, "code": "internal_error"}
    }
    assert "secret" not in text and text.rstrip().endswith("data: [DONE]")
    assert 'status="500"' in web.get(f"{server[0]}/metrics").text


@pytest.mark.parametrize("streams", [False, True])
def test_a_client_that_goes_away_cancels(server, streams):
    engine = server[1].engine
    engine._answers = False
    body = json.dumps({"messages": HELLO, "stream": streams}).encode()
    address = ("127.0.0.1", int(server[0].rpartition(":")[2]))
    with socket.create_connection(address) as client:
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        client.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        ((handle, _, _),) = engine.wait()
        if streams:
            handle.put(TextDelta("Hi", (1,)))
            assert b"200 OK" in client.recv(100)
        assert not handle.done
    until(lambda: handle.done)
    until(lambda: server[1].num_asked == 0)
    until(lambda: 'status="499"' in web.get(f"{server[0]}/metrics").text)


def test_too_many_questions_are_refused_and_room_comes_back(server, ask):
    engine = server[1].engine
    engine._answers = False
    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    engine.wait(3)
    refused = ask()
    assert refused.status_code == 429 and refused.json()["error"]["code"] == "queue_full"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    for handle, _, _ in engine.asked:
        engine.answer(handle)
    for thread in threads:
        thread.join()
    engine._answers = True
    assert ask().status_code == 200


def test_questions_that_wait_cannot_fill_the_memory(ask, engine, server):
    """2 places and a queue for more of them than their bytes may be."""
    limit, settings = 10_000, server[1].settings
    server[1].settings = replace(settings, max_body_bytes=limit, max_queue=100)
    engine._answers = False
    large = [{"role": "user", "content": "x" * (limit - 200)}]
    threads = [threading.Thread(target=ask, kwargs={"messages": large}) for _ in range(MAX_LARGEST_BODIES)]
    for thread in threads:
        thread.start()
    engine.wait(MAX_LARGEST_BODIES)
    refused = ask(messages=large + large)
    assert refused.status_code == 429 and f"at most {MAX_LARGEST_BODIES * limit} may" in refused.text
    for handle, _, _ in engine.asked:
        engine.answer(handle)
    for thread in threads:
        thread.join()
    engine._answers = True
    assert ask(messages=large + large).status_code == 200


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"", 400, "invalid_json"),
        (b"{", 400, "invalid_json"),
        (b"\xff\xfe", 400, "invalid_json"),
        (b'{"messages": NaN}', 400, "invalid_json"),
        (b"[" * 90_000, 400, "invalid_json"),
        (b'{"a": ' * 15_000, 400, "invalid_json"),
        (b'{"max_tokens": ' + b"9" * 9_000 + b"}", 400, "invalid_json"),
        (b"[]", 400, "invalid_request"),
        (b" " * 100_001, 413, "request_too_large"),
    ],
    ids=range(9),
)
def test_bodies_that_are_no_requests(ask, engine, raw, status, code):
    answer = ask(raw=raw)
    assert answer.status_code == status and answer.json()["error"]["code"] == code
    assert not engine.asked


def test_a_body_without_a_length_is_limited_too(server, engine):
    def endless():
        for _ in range(1000):
            yield b" " * 1000

    answer = web.post(
        f"{server[0]}/v1/chat/completions", content=endless(), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413 and not engine.asked


def test_other_content_types_are_refused(server, engine):
    """Pages in a browser may send text/plain anywhere without asking."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = web.post(
            f"{server[0]}/v1/chat/completions",
            content=json.dumps({"messages": HELLO}),
            headers={"Content-Type": kind},
        )
        assert answer.status_code == 415, kind
    assert not engine.asked


def test_an_unknown_model(ask):
    answer = ask(model="gpt-9")
    assert answer.status_code == 404 and answer.json()["error"]["param"] == "model"
    assert "stand-in, alias" in answer.json()["error"]["message"]


def test_a_long_silence_is_filled(server, monkeypatch):
    """So that proxies between keep the connection."""
    monkeypatch.setattr(connection, "KEEP_ALIVE_S", 0.1)
    monkeypatch.setattr(connection, "FIRST_EVENT_S", 0.1)
    engine = server[1].engine
    engine._answers = False
    with web.stream("POST", f"{server[0]}/v1/chat/completions", json={"messages": HELLO, "stream": True}) as response:
        lines = response.iter_lines()
        assert response.status_code == 200 and next(lines) == ": still working"
        engine.answer(engine.wait()[0][0])
        assert '"finish_reason":"stop"' in "".join(lines)


def test_no_answer_in_time():
    engine = StandIn(answers=False)
    with serving(engine, timeout_s=0.2) as (url, _):
        answer = web.post(f"{url}/v1/chat/completions", json={"messages": HELLO})
        assert answer.status_code == 504 and answer.json()["error"]["message"] == "no whole answer within 0.2 s"
        assert engine.asked[0][0].done


def test_a_call_before_the_maximum_of_tokens_does_not_hide_it(server):
    engine = server[1].engine
    engine._answers, engine.text = False, f"{CALL} and th"
    thread = threading.Thread(target=lambda: engine.answer(engine.wait()[0][0], finish_reason="length"))
    thread.start()
    answer = web.post(f"{server[0]}/v1/chat/completions", json={"messages": HELLO, "tools": TOOLS})
    thread.join()
    (choice,) = answer.json()["choices"]
    assert choice["finish_reason"] == "length" and len(choice["message"]["tool_calls"]) == 1
